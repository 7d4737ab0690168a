use super::*;

/// A service, and what ends when nobody holds the service any more.
fn mortal(blobs: &[&[u8]]) -> (Arc<Toy>, tokio::sync::oneshot::Receiver<()>) {
    let (alive, ended) = tokio::sync::oneshot::channel();
    let toy = Toy::with(blobs);
    *toy.alive.lock().unwrap() = Some(alive);
    (toy, ended)
}

#[tokio::test]
async fn closing_tells_the_peers_and_fails_what_is_under_way() {
    let (server, raw) = (endpoint(2, Toy::with(&[])), Raw::new(1));
    let watching = raw.dial(&server).await;
    let to_raw = raw.address();
    let waiting = server.fetch(&to_raw, &Digest::ZERO, 9);
    let ending = async {
        let (_send, _recv) = watching.accept_bi().await.unwrap();
        server.close().await;
        watching.closed().await
    };
    let (fetched, end) = tokio::join!(waiting, ending);
    assert_eq!(fetched, Err(FetchError::Unreachable(ConnectError::Closed)));
    assert!(matches!(end, quinn::ConnectionError::ApplicationClosed(_)), "{end}");
    assert_eq!(server.send(&to_raw, 1, b"").await, Err(SendError::Unreachable(ConnectError::Closed)));
    server.close().await;
}

#[tokio::test]
async fn after_closing_port_and_service_are_free_at_once() {
    let (service, mut ended) = mortal(&[b"blob"]);
    let server = endpoint(2, service);
    let client = endpoint(1, Toy::with(&[]));
    client.fetch(&address_of(&server), &Digest::of(b"blob"), 9).await.unwrap();
    server.send(&address_of(&client), 1, b"").await.unwrap();
    let address = server.local_addr().unwrap();
    server.close().await;
    drop(server);
    assert_eq!(ended.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Closed));
    std::net::UdpSocket::bind(address).unwrap();
}

#[tokio::test]
async fn dropping_leaves_no_task_behind() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    let (service, ended) = mortal(&[b"blob"]);
    let server = endpoint(2, service);
    let client = endpoint(1, Toy::with(&[]));
    client.fetch(&address_of(&server), &Digest::of(b"blob"), 9).await.unwrap();
    let address = server.local_addr().unwrap();
    drop((server, client));
    ended.await.unwrap_err();
    while metrics.num_alive_tasks() > before {
        tokio::task::yield_now().await;
    }
    std::net::UdpSocket::bind(address).unwrap();
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let config = EndpointConfig { listen: loopback(), run: RUN, limits: TransportLimits::default() };
    let bound = Endpoint::bind(config, Arc::new(TestKey(1)), Arc::new(TestVerify), Toy::with(&[]));
    assert!(matches!(bound, Err(BindError::NoRuntime)));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = std::net::UdpSocket::bind(loopback()).unwrap();
    let listen = taken.local_addr().unwrap();
    let config = EndpointConfig { listen, run: RUN, limits: TransportLimits::default() };
    let error = Endpoint::bind(config, Arc::new(TestKey(1)), Arc::new(TestVerify), Toy::with(&[])).unwrap_err();
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
}
