use super::*;
use crate::frame::{REPLY_HEAD, Reply, Request};
use crate::link::MISBEHAVED;

const BLOB: &[u8] = b"what was asked for";

/// What a rogue sends in reply, and what it does then.
#[derive(Clone, Copy, Debug)]
enum Then {
    Finish,
    Reset,
    Hang,
    CloseAll,
}

/// Asks a rogue for `BLOB` with at most 100 bytes; it replies with `bytes`.
async fn fetch_from_rogue(bytes: &[u8], then: Then) -> Result<Vec<u8>, FetchError> {
    let (client, rogue) = (endpoint_with(1, Toy::with(&[]), impatient()), Raw::new(2));
    let listen = async {
        let connection = rogue.accept().await;
        let (mut send, recv) = connection.accept_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        match then {
            Then::Finish => send.finish().unwrap(),
            Then::Reset => send.reset(quinn::VarInt::from_u32(1)).unwrap(),
            Then::Hang => {}
            Then::CloseAll => connection.close(quinn::VarInt::from_u32(0), b""),
        }
        std::future::pending::<()>().await;
        drop((send, recv));
    };
    let (from, digest) = (rogue.address(), Digest::of(BLOB));
    tokio::select! {
        fetched = client.fetch(&from, &digest, 100) => fetched,
        () = listen => unreachable!(),
    }
}

fn reply(head: Reply, body: &[u8]) -> Vec<u8> {
    [&head.encode()[..], body].concat()
}

#[tokio::test]
async fn whatever_a_rogue_replies_is_told_apart() {
    let length = BLOB.len() as u64;
    let cut = |arrived| Err(FetchError::Truncated { bytes: length, arrived });
    let too_large = |bytes| Err(FetchError::TooLarge { bytes, bytes_max: 100 });
    let not_admitted = FetchError::Unreachable(ConnectError::Refused(Objection::NotAdmitted));
    let cases = [
        (reply(Reply::Found(length), BLOB), Then::Finish, Ok(BLOB.to_vec())),
        (reply(Reply::Found(length), b"what was not asked"), Then::Finish, Err(FetchError::WrongDigest)),
        (reply(Reply::Found(length), &BLOB[..7]), Then::Finish, cut(7)),
        (reply(Reply::Found(length), b""), Then::Finish, cut(0)),
        (reply(Reply::Found(length - 1), BLOB), Then::Finish, Err(FetchError::Broken)),
        (reply(Reply::Found(101), BLOB), Then::Finish, too_large(101)),
        (reply(Reply::Found(u64::MAX), BLOB), Then::Finish, too_large(u64::MAX)),
        (reply(Reply::TooLarge(101), b""), Then::Finish, too_large(101)),
        (reply(Reply::Found(length), &BLOB[..7]), Then::Hang, Err(FetchError::TimedOut)),
        (reply(Reply::Found(length), BLOB), Then::Hang, Err(FetchError::TimedOut)),
        (Vec::new(), Then::Hang, Err(FetchError::TimedOut)),
        (reply(Reply::Absent, b"")[..5].to_vec(), Then::Finish, Err(FetchError::Broken)),
        (Vec::new(), Then::Reset, Err(FetchError::Broken)),
        (vec![99; REPLY_HEAD], Then::Finish, Err(FetchError::Broken)),
        (reply(Reply::Accepted, b""), Then::Finish, Err(FetchError::Broken)),
        (reply(Reply::Refused(3), b""), Then::Finish, Err(FetchError::Broken)),
        (reply(Reply::NotAdmitted, b""), Then::Finish, Err(not_admitted)),
        (reply(Reply::Busy(5), b""), Then::Finish, Err(FetchError::Busy { retry_after: Duration::from_millis(5) })),
    ];
    for (bytes, then, expected) in cases {
        assert_eq!(fetch_from_rogue(&bytes, then).await, expected, "{bytes:?} {then:?}");
    }
}

#[tokio::test]
async fn a_rogue_that_hangs_up_is_unreachable() {
    let fetched = fetch_from_rogue(b"", Then::CloseAll).await;
    assert!(matches!(fetched, Err(FetchError::Unreachable(ConnectError::Lost(_)))), "{fetched:?}");
}

#[tokio::test]
async fn random_replies_are_errors_and_nothing_worse() {
    let mut noise = blake3::Hasher::new().update(b"replies").finalize_xof();
    for status in 0..16 {
        let mut bytes = [0; 40];
        noise.fill(&mut bytes);
        bytes[0] = status % 9;
        // Half of them with a length that could be one.
        if status % 2 == 0 {
            bytes[2..REPLY_HEAD].fill(0);
        }
        fetch_from_rogue(&bytes, Then::Finish).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_reply_that_fits_no_message_is_broken() {
    for head in [Reply::Found(0), Reply::Absent, Reply::Withheld] {
        let (client, rogue) = (endpoint(1, Toy::with(&[])), Raw::new(2));
        let listen = async {
            let connection = rogue.accept().await;
            let (mut send, _recv) = connection.accept_bi().await.unwrap();
            send.write_all(&head.encode()).await.unwrap();
            connection.closed().await
        };
        let to = rogue.address();
        tokio::select! {
            sent = client.send(&to, 1, b"hello") => assert_eq!(sent, Err(SendError::Broken)),
            end = listen => panic!("{end}"),
        }
    }
}

/// Writes `bytes` on a new stream of a proven connection, and reads what comes back.
async fn ask_raw(connection: &quinn::Connection, bytes: &[u8]) -> Result<Vec<u8>, quinn::ReadToEndError> {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    // The other side may have had enough before the end.
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    recv.read_to_end(1000).await
}

async fn ends_as_misbehaved(bytes: &[u8]) -> bool {
    let (server, rogue) = (endpoint(2, Toy::with(&[])), Raw::new(1));
    let connection = rogue.dial(&server).await;
    assert!(ask_raw(&connection, bytes).await.is_err(), "{bytes:?}");
    let end = connection.closed().await;
    matches!(end, quinn::ConnectionError::ApplicationClosed(close) if close.error_code == MISBEHAVED)
}

#[tokio::test]
async fn what_is_no_request_ends_the_connection() {
    let message = |bytes, body: &[u8]| [&Request::Message { topic: 1, bytes }.encode()[..], body].concat();
    let fetch = Request::Fetch { digest: Digest::of(BLOB), bytes_max: 9 }.encode();
    let cases =
        [vec![0], vec![3; 100], vec![1], fetch[..40].to_vec(), message(5, b"four"), message(5, b"sixsix"), vec![]];
    for bytes in cases {
        assert!(ends_as_misbehaved(&bytes).await, "{bytes:?}");
    }
}

#[tokio::test]
async fn an_oversized_message_is_refused_by_its_length_alone() {
    let (server, rogue) = (endpoint(2, Toy::with(&[])), Raw::new(1));
    let connection = rogue.dial(&server).await;
    for bytes in [(1 << 20) + 1, u32::MAX] {
        let head = Request::Message { topic: 1, bytes }.encode();
        assert_eq!(ask_raw(&connection, &head).await.unwrap(), Reply::TooLarge(1 << 20).encode());
    }
    let client = endpoint(3, Toy::with(&[]));
    let too_large = Err(SendError::TooLarge { bytes_max: 1 << 20 });
    assert_eq!(client.send(&address_of(&server), 1, &vec![0; (1 << 20) + 1]).await, too_large);
    assert_eq!(dials_of(&client.shared), 0);
    client.send(&address_of(&server), 1, &vec![0; 1 << 20]).await.unwrap();
}

#[tokio::test]
async fn random_bytes_harm_nobody() {
    let server = endpoint(2, Toy::with(&[BLOB]));
    let mut noise = blake3::Hasher::new().update(b"noise").finalize_xof();
    for _ in 0..20 {
        let rogue = Raw::new(1);
        let connection = rogue.dial(&server).await;
        let (mut length, mut bytes) = ([0; 2], [0; 300]);
        noise.fill(&mut length);
        noise.fill(&mut bytes);
        // Half of the streams start like a request.
        bytes[0] %= 4;
        let end = usize::from(u16::from_le_bytes(length)) % bytes.len();
        let _ = ask_raw(&connection, &bytes[..end]).await;
    }
    let client = endpoint(3, Toy::with(&[]));
    assert_eq!(client.fetch(&address_of(&server), &Digest::of(BLOB), 100).await.unwrap(), BLOB);
}

#[tokio::test]
async fn a_request_that_stops_half_way_is_given_up_and_frees_its_place() {
    let limits = TransportLimits { streams_max: 1, ..impatient() };
    let (server, rogue) = (endpoint_with(2, Toy::with(&[BLOB]), limits), Raw::new(1));
    let connection = rogue.dial(&server).await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&Request::Message { topic: 1, bytes: 0 }.encode()[..3]).await.unwrap();
    assert!(recv.read_to_end(10).await.is_err(), "the server gives up");
    // Its own half of the stream is all that a rogue who does not give up keeps from itself.
    drop(send);
    let fetch = Request::Fetch { digest: Digest::of(BLOB), bytes_max: 100 }.encode();
    assert_eq!(ask_raw(&connection, &fetch).await.unwrap(), reply(Reply::Found(BLOB.len() as u64), BLOB));
}
