use super::*;
use crate::hello::{HELLO_BYTES, Proven};

#[tokio::test]
async fn whoever_is_not_the_expected_one_is_refused_by_name() {
    let (client, server) = (endpoint(1, Toy::with(&[])), endpoint(2, Toy::with(&[b"blob"])));
    let imposter = PeerAddress { hotkey: TestKey(3).hotkey(), ..address_of(&server) };
    let objected = ConnectError::Objected(Objection::WrongHotkey);
    assert_eq!(client.send(&imposter, 1, b"").await, Err(SendError::Unreachable(objected.clone())));
    let fetched = client.fetch(&imposter, &Digest::of(b"blob"), 9).await;
    assert_eq!(fetched, Err(FetchError::Unreachable(objected)));
    assert!(client.connected().is_empty());
}

#[tokio::test]
async fn whoever_is_not_admitted_is_refused_and_told() {
    let (stranger, server) = (endpoint(200, Toy::with(&[])), endpoint(2, Toy::with(&[])));
    let refused = SendError::Unreachable(ConnectError::Refused(Objection::NotAdmitted));
    assert_eq!(stranger.send(&address_of(&server), 1, b"").await, Err(refused));
    assert!(server.connected().is_empty());
    // The stranger may be asked, for that is this side's own wish, but gets nothing over that connection either.
    server.send(&address_of(&stranger), 1, b"").await.unwrap();
    let refused = SendError::Unreachable(ConnectError::Refused(Objection::NotAdmitted));
    assert_eq!(stranger.send(&unaddressed(&server), 1, b"").await, Err(refused));
}

#[tokio::test]
async fn nodes_of_different_runs_part() {
    let server = endpoint(2, Toy::with(&[]));
    let config = EndpointConfig { listen: loopback(), run: Digest([8; 32]), limits: TransportLimits::default() };
    let client = Endpoint::bind(config, Arc::new(TestKey(1)), Arc::new(TestVerify), Toy::with(&[])).unwrap();
    let refused = SendError::Unreachable(ConnectError::Refused(Objection::WrongRun));
    assert_eq!(client.send(&address_of(&server), 1, b"").await, Err(refused));
}

/// What a good hello of `key` would be on this connection, in this role.
fn good_hello(raw: &Raw, connection: &quinn::Connection, role: Role) -> Vec<u8> {
    let who = Proven { hotkey: raw.key.hotkey(), certificate: raw.certificate };
    let text = crate::hello::signed_text(connection, &RUN, role, &who).ok().unwrap();
    let hello = [&b"PCTM\x01\x00"[..], &RUN.0, &who.hotkey.0, &raw.key.sign(&text).0].concat();
    assert_eq!(hello.len(), HELLO_BYTES);
    hello
}

/// Changes a good hello of key 1 on a connection to `server` and tells what the server thinks of it.
async fn objection_to(server: &Endpoint, role: Role, spoil: impl FnOnce(&mut Vec<u8>)) -> Option<Objection> {
    let raw = Raw::new(1);
    let connection = raw.dial_mutely(server).await;
    let mut hello = good_hello(&raw, &connection, role);
    spoil(&mut hello);
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&hello).await.unwrap();
    send.finish().unwrap();
    match recv.read_exact(&mut [0; HELLO_BYTES]).await {
        Ok(()) => None,
        Err(_) => match connection.closed().await {
            quinn::ConnectionError::ApplicationClosed(close) => Some(Objection::from_code(close.error_code).unwrap()),
            other => panic!("{other}"),
        },
    }
}

#[tokio::test]
async fn a_hello_that_is_not_right_in_every_part_is_refused_with_the_reason() {
    let server = endpoint(2, Toy::with(&[]));
    assert_eq!(objection_to(&server, Role::Dialer, |_| {}).await, None);
    assert_eq!(objection_to(&server, Role::Listener, |_| {}).await, Some(Objection::BadSignature));
    let other_key = |hello: &mut Vec<u8>| hello[38..70].copy_from_slice(&[3; 32]);
    assert_eq!(objection_to(&server, Role::Dialer, other_key).await, Some(Objection::BadSignature));
    assert_eq!(objection_to(&server, Role::Dialer, |hello| hello[70] ^= 1).await, Some(Objection::BadSignature));
    assert_eq!(objection_to(&server, Role::Dialer, |hello| hello[6] ^= 1).await, Some(Objection::WrongRun));
    assert_eq!(objection_to(&server, Role::Dialer, |hello| hello[4] = 2).await, Some(Objection::WrongVersion));
    assert_eq!(objection_to(&server, Role::Dialer, |hello| hello[0] = 0).await, Some(Objection::BadHello));
    assert_eq!(objection_to(&server, Role::Dialer, |hello| hello.truncate(133)).await, Some(Objection::BadHello));
    assert_eq!(objection_to(&server, Role::Dialer, Vec::clear).await, Some(Objection::BadHello));
    assert_eq!(objection_to(&server, Role::Dialer, |hello| hello.push(0)).await, None, "what follows is not read");
}

#[tokio::test]
async fn a_listener_that_signs_for_another_key_is_refused() {
    let (client, raw) = (endpoint(1, Toy::with(&[])), Raw::new(2));
    let listener = async {
        let (connection, mut send, _recv) = raw.accept_mutely().await;
        let mut hello = good_hello(&raw, &connection, Role::Listener);
        hello[70..].copy_from_slice(&TestKey(3).sign(b"whatever").0);
        send.write_all(&hello).await.unwrap();
        connection.closed().await
    };
    let (sent, closed) = tokio::join!(async { client.send(&raw.address(), 1, b"").await }, listener);
    let objected = ConnectError::Objected(Objection::BadSignature);
    assert_eq!(sent, Err(SendError::Unreachable(objected)));
    assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(close)
        if Objection::from_code(close.error_code) == Some(Objection::BadSignature)));
}

#[tokio::test]
async fn a_hello_cannot_be_passed_on_by_somebody_in_between() {
    let (client, server, between) = (endpoint(1, Toy::with(&[])), endpoint(2, Toy::with(&[])), Raw::new(9));
    let relay = async {
        let (_near, _near_send, mut near_recv) = between.accept_mutely().await;
        let far = between.dial_mutely(&server).await;
        let mut hello = [0; HELLO_BYTES];
        near_recv.read_exact(&mut hello).await.unwrap();
        let (mut far_send, _far_recv) = far.open_bi().await.unwrap();
        far_send.write_all(&hello).await.unwrap();
        far.closed().await
    };
    let to = PeerAddress { hotkey: server.hotkey(), ..between.address() };
    let (closed, sent) = tokio::join!(relay, client.send(&to, 1, b""));
    assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(close)
        if Objection::from_code(close.error_code) == Some(Objection::BadSignature)));
    assert!(matches!(sent, Err(SendError::Unreachable(_))));
    assert!(server.connected().is_empty());
}

#[tokio::test]
async fn a_hello_cannot_be_thrown_back() {
    let (client, mirror) = (endpoint(1, Toy::with(&[])), Raw::new(1));
    let reflect = async {
        let (connection, mut send, mut recv) = mirror.accept_mutely().await;
        let mut hello = [0; HELLO_BYTES];
        recv.read_exact(&mut hello).await.unwrap();
        send.write_all(&hello).await.unwrap();
        connection.closed().await
    };
    let to = mirror.address();
    let (sent, _) = tokio::join!(client.send(&to, 1, b""), reflect);
    assert_eq!(sent, Err(SendError::Unreachable(ConnectError::Objected(Objection::BadSignature))));
}
