//! Whole endpoints on loopback, honest ones and others.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::endpoint::Shared;
use crate::hello::{Role, Terms, introduce, meet};
use crate::tls::{SERVER_NAME, Tls};
use crate::*;

mod bounds;
mod ending;
mod hellos;
mod honest;
mod rogue;

const RUN: Digest = Digest([7; 32]);

/// A signer for tests alone: whoever knows the hotkey can forge its signatures.
#[derive(Clone, Copy, Debug)]
struct TestKey(u8);

impl TestKey {
    fn hotkey(self) -> Hotkey {
        Hotkey([self.0; 32])
    }
}

impl Sign for TestKey {
    fn hotkey(&self) -> Hotkey {
        Self::hotkey(*self)
    }

    fn sign(&self, message: &[u8]) -> Signature {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(blake3::keyed_hash(&[self.0; 32], message).as_bytes());
        Signature(signature)
    }
}

struct TestVerify;

impl Verify for TestVerify {
    fn verify(&self, hotkey: &Hotkey, message: &[u8], signature: &Signature) -> bool {
        signature.0[..32] == blake3::keyed_hash(&hotkey.0, message).as_bytes()[..]
    }
}

/// Admits the keys below 200, takes every topic but 13, serves blobs from memory.
#[derive(Default)]
struct Toy {
    messages: Mutex<Vec<(Hotkey, u8, Vec<u8>)>>,
    blobs: Mutex<BTreeMap<Digest, Blob>>,
    /// Dropped with the service, so that its other end tells when nobody holds the service any more.
    alive: Mutex<Option<tokio::sync::oneshot::Sender<()>>>,
}

impl Toy {
    fn with(blobs: &[&[u8]]) -> Arc<Self> {
        let toy = Self::default();
        for blob in blobs {
            toy.blobs.lock().unwrap().insert(Digest::of(blob), Blob::Found(Bytes::copy_from_slice(blob)));
        }
        Arc::new(toy)
    }
}

impl Service for Toy {
    fn admit(&self, peer: &Hotkey) -> bool {
        peer.0[0] < 200
    }

    fn message(&self, from: &Hotkey, topic: u8, bytes: Vec<u8>) -> Result<(), Refusal> {
        assert_ne!(topic, 14, "a service that panics at this topic");
        if topic == 13 {
            return Err(Refusal(1313));
        }
        self.messages.lock().unwrap().push((*from, topic, bytes));
        Ok(())
    }

    fn blob(&self, _from: &Hotkey, digest: &Digest) -> Blob {
        self.blobs.lock().unwrap().get(digest).cloned().unwrap_or(Blob::Absent)
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// Time-outs short enough for a test that waits for them, and long enough for a busy machine.
fn impatient() -> TransportLimits {
    TransportLimits {
        handshake_timeout: Duration::from_millis(700),
        request_timeout: Duration::from_millis(700),
        ..TransportLimits::default()
    }
}

fn endpoint_with(key: u8, service: Arc<dyn Service>, limits: TransportLimits) -> Endpoint {
    let config = EndpointConfig { listen: loopback(), run: RUN, limits };
    Endpoint::bind(config, Arc::new(TestKey(key)), Arc::new(TestVerify), service).unwrap()
}

fn endpoint(key: u8, service: Arc<dyn Service>) -> Endpoint {
    endpoint_with(key, service, TransportLimits::default())
}

fn address_of(endpoint: &Endpoint) -> PeerAddress {
    PeerAddress { hotkey: endpoint.hotkey(), address: Some(endpoint.local_addr().unwrap()) }
}

/// How to reach a peer only over a connection that it has opened.
fn unaddressed(endpoint: &Endpoint) -> PeerAddress {
    PeerAddress { hotkey: endpoint.hotkey(), address: None }
}

/// A QUIC socket with our TLS, whose owner says and answers what a test wants.
struct Raw {
    quinn: quinn::Endpoint,
    certificate: Digest,
    key: TestKey,
    run: Digest,
}

impl Raw {
    fn new(key: u8) -> Self {
        let tls = Tls::new(&TransportLimits::default()).unwrap();
        let mut quinn = quinn::Endpoint::server(tls.server, loopback()).unwrap();
        quinn.set_default_client_config(tls.client);
        Self { quinn, certificate: tls.certificate, key: TestKey(key), run: RUN }
    }

    fn terms(&self) -> Terms<'_> {
        Terms { run: &self.run, identity: &self.key, verify: &TestVerify, certificate: &self.certificate }
    }

    fn address(&self) -> PeerAddress {
        PeerAddress { hotkey: self.key.hotkey(), address: Some(self.quinn.local_addr().unwrap()) }
    }

    async fn dial_mutely(&self, to: &Endpoint) -> quinn::Connection {
        self.quinn.connect(to.local_addr().unwrap(), SERVER_NAME).unwrap().await.unwrap()
    }

    /// Dials and behaves until the hotkeys are proven.
    async fn dial(&self, to: &Endpoint) -> quinn::Connection {
        let connection = self.dial_mutely(to).await;
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        assert!(introduce(&self.terms(), &connection, Role::Dialer, &mut send).await.is_ok());
        let met = meet(&self.terms(), &connection, Role::Listener, &mut recv).await;
        assert_eq!(met.ok().unwrap().hotkey, to.hotkey());
        connection.set_max_concurrent_bi_streams(quinn::VarInt::from_u32(16));
        connection
    }

    async fn accept_mutely(&self) -> (quinn::Connection, quinn::SendStream, quinn::RecvStream) {
        let connection = self.quinn.accept().await.unwrap().await.unwrap();
        let (send, recv) = connection.accept_bi().await.unwrap();
        (connection, send, recv)
    }

    /// Listens and behaves until the hotkeys are proven.
    async fn accept(&self) -> quinn::Connection {
        let (connection, mut send, mut recv) = self.accept_mutely().await;
        assert!(meet(&self.terms(), &connection, Role::Dialer, &mut recv).await.is_ok());
        assert!(introduce(&self.terms(), &connection, Role::Listener, &mut send).await.is_ok());
        connection.set_receive_window(quinn::VarInt::from_u32(1 << 20));
        connection
    }
}

fn dials_of(shared: &Shared) -> u64 {
    shared.quinn.stats().outgoing_handshakes
}
