use super::*;

#[tokio::test]
async fn a_peer_that_asks_too_often_is_told_to_wait() {
    let limits = TransportLimits { requests_burst: 3, requests_per_second: 0, ..TransportLimits::default() };
    let server = endpoint_with(100, Toy::with(&[]), limits);
    let (greedy, modest) = (endpoint(1, Toy::with(&[])), endpoint(2, Toy::with(&[])));
    let to = address_of(&server);
    for _ in 0..3 {
        greedy.send(&to, 1, b"").await.unwrap();
    }
    let busy = Duration::from_secs(3600);
    assert_eq!(greedy.send(&to, 1, b"").await, Err(SendError::Busy { retry_after: busy }));
    let fetched = greedy.fetch(&to, &Digest::ZERO, 9).await;
    assert_eq!(fetched, Err(FetchError::Busy { retry_after: busy }));
    modest.send(&to, 1, b"").await.unwrap();
    // A new process of the same key does not start afresh.
    let again = endpoint(1, Toy::with(&[]));
    assert_eq!(again.send(&to, 1, b"").await, Err(SendError::Busy { retry_after: busy }));
}

#[tokio::test]
async fn a_peer_that_takes_too_many_bytes_is_told_to_wait() {
    let limits = TransportLimits { bytes_burst: 100, bytes_per_second: 0, ..TransportLimits::default() };
    let blob = vec![1; 101];
    let server = endpoint_with(100, Toy::with(&[&blob]), limits);
    let (greedy, modest) = (endpoint(1, Toy::with(&[])), endpoint(2, Toy::with(&[])));
    let from = address_of(&server);
    let digest = Digest::of(&blob);
    assert_eq!(greedy.fetch(&from, &digest, 200).await.unwrap(), blob);
    assert!(matches!(greedy.fetch(&from, &digest, 200).await, Err(FetchError::Busy { .. })));
    assert_eq!(modest.send(&from, 1, &[0; 60]).await, Ok(()));
    assert_eq!(modest.send(&from, 1, &[0; 60]).await, Ok(()), "one request may overdraw");
    assert!(matches!(modest.send(&from, 1, b"").await, Err(SendError::Busy { .. })));
}

#[tokio::test]
async fn one_peer_has_only_so_many_connections_and_the_oldest_gives_way() {
    let limits = TransportLimits { per_peer_max: 2, ..TransportLimits::default() };
    let (server, peer) = (endpoint_with(100, Toy::with(&[]), limits), Raw::new(1));
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(peer.dial(&server).await);
    }
    for old in &connections[..2] {
        let end = old.closed().await;
        assert!(matches!(end, quinn::ConnectionError::ApplicationClosed(close)
            if close.error_code == crate::link::REPLACED));
    }
    assert_eq!(server.shared.pool.links(&TestKey(1).hotkey()).len(), 2);
    assert!(connections[2..].iter().all(|young| young.close_reason().is_none()));
}

#[tokio::test]
async fn connections_of_strangers_are_bounded_over_all() {
    let limits = TransportLimits { inbound_max: 2, ..TransportLimits::default() };
    let server = endpoint_with(100, Toy::with(&[]), limits);
    let to = address_of(&server);
    let [one, two, three] = [1, 2, 3].map(|key| endpoint(key, Toy::with(&[])));
    one.send(&to, 1, b"").await.unwrap();
    two.send(&to, 1, b"").await.unwrap();
    let full = SendError::Unreachable(ConnectError::Refused(Objection::Full));
    assert_eq!(three.send(&to, 1, b"").await, Err(full));
    server.send(&address_of(&three), 1, b"").await.expect("own connections come on top");
    one.send(&to, 1, b"").await.expect("those who are in stay in");
}

#[tokio::test]
async fn strangers_who_say_nothing_hold_no_place_for_long() {
    let limits = TransportLimits { handshakes_max: 1, ..impatient() };
    let (server, mute) = (endpoint_with(100, Toy::with(&[]), limits), Raw::new(1));
    let silent = mute.dial_mutely(&server).await;
    let refused = mute.quinn.connect(server.local_addr().unwrap(), SERVER_NAME).unwrap().await;
    assert!(matches!(refused, Err(quinn::ConnectionError::ConnectionClosed(_))), "{refused:?}");
    silent.closed().await;
    mute.dial(&server).await;
}

#[tokio::test]
async fn in_a_crowd_strangers_first_show_that_they_are_where_they_say() {
    let limits = TransportLimits { handshakes_max: 2, ..TransportLimits::default() };
    let (server, mute, honest) = (endpoint_with(100, Toy::with(&[]), limits), Raw::new(1), Raw::new(2));
    let _silent = mute.dial_mutely(&server).await;
    let _proven = honest.dial(&server).await;
    assert_eq!(server.shared.quinn.stats().accepted_handshakes, 2);
    assert_eq!(server.connected(), [TestKey(2).hotkey()]);
}

#[tokio::test]
async fn a_stranger_may_open_one_stream_and_send_little() {
    let (server, stranger) = (endpoint(100, Toy::with(&[])), Raw::new(1));
    let connection = stranger.dial_mutely(&server).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    assert!(send.write(&[0; 100_000]).await.unwrap() <= 4096);
    let second = tokio::time::timeout(Duration::from_millis(50), connection.open_bi()).await;
    assert!(!matches!(second, Ok(Ok(_))));
}

#[tokio::test]
async fn callers_share_a_dial_that_fails() {
    let client = endpoint_with(1, Toy::with(&[]), impatient());
    let deaf = std::net::UdpSocket::bind(loopback()).unwrap();
    let address = deaf.local_addr().unwrap();
    let to = PeerAddress { hotkey: TestKey(2).hotkey(), address: Some(address) };
    let sends = [1, 2, 3].map(|topic| client.send(&to, topic, b""));
    let [one, two, three] = sends;
    let (one, two, three) = tokio::join!(one, two, three);
    let timed_out = Err(SendError::Unreachable(ConnectError::TimedOut(address)));
    assert_eq!([one, two, three], [timed_out.clone(), timed_out.clone(), timed_out]);
    assert_eq!(dials_of(&client.shared), 1);
}
