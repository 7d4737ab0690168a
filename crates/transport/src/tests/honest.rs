use super::*;

#[tokio::test]
async fn messages_arrive_once_and_are_acknowledged() {
    let service = Toy::with(&[]);
    let (one, other) = (endpoint(1, Toy::with(&[])), endpoint(2, Arc::clone(&service) as _));
    let to = address_of(&other);
    one.send(&to, 5, b"first").await.unwrap();
    one.send(&to, 0, b"").await.unwrap();
    assert_eq!(one.send(&to, 13, b"unlucky").await, Err(SendError::Refused(Refusal(1313))));
    let expected = [(one.hotkey(), 5, b"first".to_vec()), (one.hotkey(), 0, Vec::new())];
    assert_eq!(*service.messages.lock().unwrap(), expected);
    assert_eq!((one.connected(), other.connected()), (vec![other.hotkey()], vec![one.hotkey()]));
}

#[tokio::test]
async fn blobs_of_all_lengths_arrive_and_their_absence_is_told() {
    let large = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>();
    let service = Toy::with(&[b"", b"x", &large]);
    service.blobs.lock().unwrap().insert(Digest::of(b"hidden"), Blob::Withheld);
    let (one, other) = (endpoint(1, Toy::with(&[])), endpoint(2, service));
    let from = address_of(&other);
    for blob in [&b""[..], b"x", &large] {
        let length = blob.len() as u64;
        assert_eq!(one.fetch(&from, &Digest::of(blob), length).await.unwrap(), blob);
        if length > 0 {
            let error = FetchError::TooLarge { bytes: length, bytes_max: length - 1 };
            assert_eq!(one.fetch(&from, &Digest::of(blob), length - 1).await, Err(error));
        }
    }
    assert_eq!(one.fetch(&from, &Digest::of(b"none"), 9).await, Err(FetchError::NotThere));
    assert_eq!(one.fetch(&from, &Digest::of(b"hidden"), 9).await, Err(FetchError::Withheld));
    assert_eq!(dials_of(&one.shared), 1, "one connection serves all");
}

/// A service on a folder, as a node has it.
struct Folder(BlobStore);

impl Service for Folder {
    fn admit(&self, _peer: &Hotkey) -> bool {
        true
    }

    fn message(&self, _from: &Hotkey, _topic: u8, _bytes: Vec<u8>) -> Result<(), Refusal> {
        Err(Refusal(0))
    }

    fn blob(&self, _from: &Hotkey, digest: &Digest) -> Blob {
        self.0.serve(digest)
    }
}

#[tokio::test]
async fn a_payload_cannot_be_had_before_its_release_not_even_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let payload = vec![42; 100_000];
    let digest = Digest::of(&payload);
    let thief = endpoint(1, Toy::with(&[]));
    let first = Arc::new(Folder(BlobStore::open(dir.path(), 1 << 20).unwrap()));
    let owner = endpoint(2, Arc::clone(&first) as _);
    first.0.insert_withheld(&payload).unwrap();
    assert_eq!(thief.fetch(&address_of(&owner), &digest, 1 << 20).await, Err(FetchError::Withheld));
    owner.close().await;
    drop((owner, first));

    let second = Arc::new(Folder(BlobStore::open(dir.path(), 1 << 20).unwrap()));
    let owner = endpoint(2, Arc::clone(&second) as _);
    assert_eq!(thief.fetch(&address_of(&owner), &digest, 1 << 20).await, Err(FetchError::Withheld));
    assert!(second.0.release(&digest).unwrap());
    assert_eq!(thief.fetch(&address_of(&owner), &digest, 1 << 20).await.unwrap(), payload);
}

#[tokio::test]
async fn a_peer_without_address_is_reached_over_its_own_connection() {
    let (hidden, open) = (endpoint(1, Toy::with(&[b"payload"])), endpoint(2, Toy::with(&[])));
    let digest = Digest::of(b"payload");
    let unreachable = Err(FetchError::Unreachable(ConnectError::NoAddress));
    assert_eq!(open.fetch(&unaddressed(&hidden), &digest, 100).await, unreachable);
    hidden.send(&address_of(&open), 1, b"here I am").await.unwrap();
    assert_eq!(open.fetch(&unaddressed(&hidden), &digest, 100).await.unwrap(), b"payload");
    open.send(&unaddressed(&hidden), 2, b"thanks").await.unwrap();
    assert_eq!(dials_of(&open.shared), 0);
}

#[tokio::test]
async fn an_address_where_nobody_answers_does_not_hide_an_open_connection() {
    let (hidden, open) = (endpoint(1, Toy::with(&[b"payload"])), endpoint_with(2, Toy::with(&[]), impatient()));
    hidden.send(&address_of(&open), 1, b"here I am").await.unwrap();
    let deaf = std::net::UdpSocket::bind(loopback()).unwrap();
    for _ in 0..2 {
        let from = PeerAddress { hotkey: hidden.hotkey(), address: Some(deaf.local_addr().unwrap()) };
        assert_eq!(open.fetch(&from, &Digest::of(b"payload"), 100).await.unwrap(), b"payload");
    }
    assert_eq!(dials_of(&open.shared), 0, "an address that was never another one is no news");
    let moved = std::net::UdpSocket::bind(loopback()).unwrap();
    let from = PeerAddress { hotkey: hidden.hotkey(), address: Some(moved.local_addr().unwrap()) };
    assert_eq!(open.fetch(&from, &Digest::of(b"payload"), 100).await.unwrap(), b"payload");
    assert_eq!(dials_of(&open.shared), 1, "a new address is tried first");
}

async fn length_and_dials(
    client: Arc<Endpoint>,
    from: PeerAddress,
    digest: Digest,
) -> (Result<usize, FetchError>, u64) {
    let fetched = client.fetch(&from, &digest, 1 << 20).await;
    (fetched.map(|blob| blob.len()), dials_of(&client.shared))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_fetches_of_one_blob_at_once_share_one_connection() {
    let blob = vec![9; 400_000];
    let digest = Digest::of(&blob);
    let server = endpoint(100, Toy::with(&[&blob]));
    let from = address_of(&server);
    let mut fetches = tokio::task::JoinSet::new();
    let clients = [1, 2, 3].map(|key| Arc::new(endpoint(key, Toy::with(&[]))));
    for client in &clients {
        for _ in 0..20 {
            fetches.spawn(length_and_dials(Arc::clone(client), from, digest));
        }
    }
    assert_eq!(fetches.join_all().await, vec![(Ok(400_000), 1); 60]);
    assert_eq!(server.connected().len(), 3);
}

#[tokio::test]
async fn both_sides_may_ask_at_the_same_time() {
    let one = endpoint(1, Toy::with(&[b"one"]));
    let other = endpoint(2, Toy::with(&[b"other"]));
    let (to_one, to_other) = (address_of(&one), address_of(&other));
    let (digest_one, digest_other) = (Digest::of(b"one"), Digest::of(b"other"));
    for _ in 0..10 {
        let (from_other, from_one) =
            tokio::join!(one.fetch(&to_other, &digest_other, 9), other.fetch(&to_one, &digest_one, 9));
        assert_eq!((from_other.unwrap(), from_one.unwrap()), (b"other".to_vec(), b"one".to_vec()));
    }
}

#[tokio::test]
async fn a_peer_that_restarts_elsewhere_is_found_again() {
    let client = endpoint(1, Toy::with(&[]));
    let before = endpoint(2, Toy::with(&[b"blob"]));
    let old = address_of(&before);
    // The peer dials too, so that a connection is left which only looks alive.
    before.send(&address_of(&client), 1, b"").await.unwrap();
    client.fetch(&old, &Digest::of(b"blob"), 9).await.unwrap();
    // Ends without a word, like a process that is killed.
    before.tasks.end().await;
    let after = endpoint(2, Toy::with(&[b"blob"]));
    let new = address_of(&after);
    assert_ne!(old, new);
    assert_eq!(client.fetch(&new, &Digest::of(b"blob"), 9).await.unwrap(), b"blob");
    after.send(&address_of(&client), 1, b"").await.unwrap();
    let links = client.shared.pool.links(&after.hotkey());
    assert!(
        links.iter().all(|link| link.proven.certificate == after.shared.certificate),
        "the dead process is forgotten"
    );
}

#[tokio::test]
async fn a_peer_that_restarts_in_the_same_place_is_found_again_within_the_call() {
    let client = endpoint_with(1, Toy::with(&[]), impatient());
    let before = endpoint(2, Toy::with(&[b"blob"]));
    let to = address_of(&before);
    client.fetch(&to, &Digest::of(b"blob"), 9).await.unwrap();
    before.tasks.end().await;
    drop(before);
    let config = EndpointConfig { listen: to.address.unwrap(), run: RUN, limits: TransportLimits::default() };
    let after = Endpoint::bind(config, Arc::new(TestKey(2)), Arc::new(TestVerify), Toy::with(&[b"blob"])).unwrap();
    assert_eq!(client.fetch(&to, &Digest::of(b"blob"), 9).await.unwrap(), b"blob");
    assert_eq!(after.connected(), [client.hotkey()]);
}

#[tokio::test]
async fn a_broken_connection_is_made_anew_within_the_call() {
    let (client, server) = (endpoint(1, Toy::with(&[])), endpoint(2, Toy::with(&[b"blob"])));
    let from = address_of(&server);
    for dials in 1..=3 {
        assert_eq!(client.fetch(&from, &Digest::of(b"blob"), 9).await.unwrap(), b"blob");
        assert_eq!(dials_of(&client.shared), dials);
        for link in server.shared.pool.links(&client.hotkey()) {
            link.connection.close(quinn::VarInt::from_u32(0), b"");
        }
    }
}

#[tokio::test]
async fn a_service_that_panics_costs_one_request() {
    let (client, server) = (endpoint(1, Toy::with(&[])), endpoint(2, Toy::with(&[])));
    let to = address_of(&server);
    assert_eq!(client.send(&to, 14, b"").await, Err(SendError::Broken));
    client.send(&to, 1, b"").await.unwrap();
    assert_eq!(dials_of(&client.shared), 1);
}
