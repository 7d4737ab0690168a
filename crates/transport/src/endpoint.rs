//! The endpoint: one socket that dials, listens, asks and answers.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pactum_protocol::{Digest, Hotkey, Sign, Verify};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::hello::Terms;
use crate::link::{DONE, Link};
use crate::pool::Pool;
use crate::runtime::Tasks;
use crate::serve::{Handshake, serve, welcome};
use crate::tls::Tls;
use crate::{FetchError, SendError, Service, TransportLimits, request};

/// How long closing waits for the peers to hear of it.
const FAREWELL: Duration = Duration::from_millis(500);

/// Where and how an [`Endpoint`] works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointConfig {
    /// The UDP address to listen on and to dial from. Port 0 takes any free port.
    pub listen: SocketAddr,
    /// The run that this node takes part in; peers of other runs are refused.
    pub run: Digest,
    /// What strangers may use up.
    pub limits: TransportLimits,
}

/// Whom to reach, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// The key that whoever answers has to prove.
    pub hotkey: Hotkey,
    /// Where the peer listens. Without it, or if nobody answers there, a connection that the peer opened is used.
    pub address: Option<SocketAddr>,
}

/// A QUIC socket on which every connection is proven to belong to a hotkey at both ends.
///
/// It needs a Tokio runtime with time and I/O enabled. Dropping it ends all its tasks at once; [`close`](Self::close) lets the
/// peers know first.
pub struct Endpoint {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tasks: Arc<Tasks>,
    driver: Mutex<Option<JoinHandle<()>>>,
}

/// Why no endpoint could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address or port")]
    Listen {
        /// The address in question.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// There is no runtime to work on.
    #[error("no runtime; call this from within a Tokio runtime")]
    NoRuntime,
    /// No TLS settings could be made.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

impl Endpoint {
    /// Starts to listen. `identity` proves this node to others, `verify` others to this node; `service` answers them.
    pub fn bind(
        config: EndpointConfig,
        identity: Arc<dyn Sign + Send + Sync>,
        verify: Arc<dyn Verify + Send + Sync>,
        service: Arc<dyn Service>,
    ) -> Result<Self, BindError> {
        let EndpointConfig { listen, run, limits } = config;
        tokio::runtime::Handle::try_current().map_err(|_| BindError::NoRuntime)?;
        let Tls { server, client, certificate } =
            Tls::new(&limits).map_err(|error| BindError::Tls(error.to_string()))?;
        let tasks = Arc::new(Tasks::default());
        let quinn = UdpSocket::bind(listen)
            .and_then(|socket| {
                quinn::Endpoint::new(quinn::EndpointConfig::default(), Some(server), socket, Arc::clone(&tasks) as _)
            })
            .map_err(|source| BindError::Listen { address: listen, source })?;
        let (serving, links) = mpsc::channel(16);
        let shared = Arc::new(Shared {
            quinn,
            client,
            certificate,
            run,
            identity,
            verify,
            service,
            serving,
            pool: Pool::new(limits.clone()),
            handshakes: Arc::new(Semaphore::new(limits.handshakes_max)),
            calls: Arc::new(Semaphore::new(limits.calls_max.max(1))),
            limits,
        });
        let driver = tokio::spawn(drive(Arc::clone(&shared), links));
        Ok(Self { shared, tasks, driver: Mutex::new(Some(driver)) })
    }

    /// The address that this endpoint listens on.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.quinn.local_addr()
    }

    /// The hotkey that this endpoint proves to its peers.
    #[must_use]
    pub fn hotkey(&self) -> Hotkey {
        self.shared.identity.hotkey()
    }

    /// The hotkeys with an open connection, whoever opened it, in order.
    #[must_use]
    pub fn connected(&self) -> Vec<Hotkey> {
        self.shared.pool.connected()
    }

    /// Delivers one message; `Ok` once the peer has taken it. It may arrive twice if a connection breaks on the way.
    pub async fn send(&self, to: &PeerAddress, topic: u8, message: &[u8]) -> Result<(), SendError> {
        request::send(&self.shared, to, topic, message).await
    }

    /// Fetches the blob named `digest`, if it has at most `bytes_max` bytes. What comes back has that digest.
    pub async fn fetch(&self, from: &PeerAddress, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>, FetchError> {
        request::fetch(&self.shared, from, digest, bytes_max).await
    }

    /// Ends all connections and tasks and tells the peers. Requests under way fail. Takes at most half a second.
    pub async fn close(&self) {
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.shared.quinn.close(DONE, b"");
        if let Some(driver) = driver {
            // A driver that panicked has ended too, and its tasks with it.
            let _ = driver.await;
        }
        let _ = timeout(FAREWELL, self.shared.quinn.wait_idle()).await;
        self.tasks.end().await;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.quinn.close(DONE, b"");
        if let Some(driver) = self.driver.lock().unwrap_or_else(PoisonError::into_inner).take() {
            driver.abort();
        }
        self.tasks.abort();
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("hotkey", &self.hotkey()).field("address", &self.local_addr()).finish()
    }
}

/// What all tasks of an endpoint work with.
pub(crate) struct Shared {
    pub(crate) quinn: quinn::Endpoint,
    pub(crate) client: quinn::ClientConfig,
    pub(crate) certificate: Digest,
    pub(crate) run: Digest,
    pub(crate) identity: Arc<dyn Sign + Send + Sync>,
    pub(crate) verify: Arc<dyn Verify + Send + Sync>,
    pub(crate) service: Arc<dyn Service>,
    pub(crate) limits: TransportLimits,
    pub(crate) pool: Pool,
    /// Hands dialed connections to the driver, which serves them like the others.
    pub(crate) serving: mpsc::Sender<Arc<Link>>,
    /// One permit per connection that is not proven yet.
    pub(crate) handshakes: Arc<Semaphore>,
    /// One permit per call into the service.
    pub(crate) calls: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn terms(&self) -> Terms<'_> {
        Terms { run: &self.run, identity: &*self.identity, verify: &*self.verify, certificate: &self.certificate }
    }
}

/// The one place where an endpoint's tasks start; they end with it.
async fn drive(shared: Arc<Shared>, mut links: mpsc::Receiver<Arc<Link>>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            incoming = shared.quinn.accept() => {
                let Some(incoming) = incoming else { break };
                if let Some(handshake) = Handshake::begin(&shared, incoming) {
                    tasks.spawn(welcome(Arc::clone(&shared), handshake));
                }
            }
            Some(link) = links.recv() => {
                tasks.spawn(serve(Arc::clone(&shared), link));
            }
            Some(_) = tasks.join_next() => {}
        }
    }
    tasks.shutdown().await;
}
