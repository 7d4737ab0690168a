//! The chain as one thing to start, use and close.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::server::ServerHandle;
use pactum_chain::{Genesis, GenesisError, Head};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::engine::Engine;
use crate::server;
use crate::store::{FILE, Store, StoreError};

/// What a chain is started with.
#[derive(Clone, Debug)]
pub struct DevChainConfig {
    /// The folder that holds the chain, made if it is not there.
    pub dir: PathBuf,
    /// The rules of a new chain, whose time is set when it starts. For a chain that exists they must be the same;
    /// `None` takes the chain as it is.
    pub genesis: Option<Genesis>,
    /// Where to listen: a loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// When blocks are made.
    pub production: Production,
    /// How many clients may be connected at a time.
    pub connections_max: u32,
}

/// When blocks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Production {
    /// Every [`Genesis::block_millis`] milliseconds.
    Timed,
    /// When [`DevChain::produce`] is called.
    OnDemand,
}

impl DevChainConfig {
    /// A chain in `dir` with timed blocks, on a free loopback port, for at most 256 clients.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, genesis: Option<Genesis>) -> Self {
        Self {
            dir: dir.into(),
            genesis,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            production: Production::Timed,
            connections_max: 256,
        }
    }
}

/// Why a chain does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The chain trusts whoever can connect, so it listens for this machine alone.
    #[error("the chain listens on loopback only, not on {address}: use 127.0.0.1 or [::1]")]
    NotLoopback {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Somebody else listens there.
    #[error("port {} is in use: choose another one, or 0 for any", address.port())]
    PortInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The system refuses the address.
    #[error("the chain cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The rules cannot be.
    #[error("the genesis is not valid: {0}")]
    Genesis(#[from] GenesisError),
    /// The chain's file cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server cannot be set up.
    #[error("the chain's server cannot be set up: {0}")]
    Server(String),
}

/// Why a running chain stopped by itself: a block could not be made durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chain stopped: {reason}")]
pub struct Halted {
    /// What went wrong.
    pub reason: String,
}

/// A chain that runs, is kept on disk and served. Dropped without [`close`](Self::close) it stops as if killed, which
/// loses nothing that it had confirmed to anybody.
#[derive(Debug)]
pub struct DevChain {
    engine: Arc<Engine>,
    server: ServerHandle,
    producer: Option<JoinHandle<()>>,
    address: SocketAddr,
}

impl DevChain {
    /// Opens or makes the chain in the folder and serves it.
    ///
    /// # Errors
    /// [`StartError`]; nothing is written if the address cannot be had or the rules cannot be.
    pub async fn start(config: DevChainConfig) -> Result<Self, StartError> {
        if let Some(genesis) = &config.genesis {
            genesis.validate()?;
        }
        let listener = server::bind(config.listen, config.connections_max).await?;
        let address = listener.local_addr().map_err(|source| StartError::Listen { address: config.listen, source })?;

        let opening = move || Store::open(&config.dir, config.genesis);
        let (store, ledger) = tokio::task::spawn_blocking(opening).await.map_err(|e| StoreError::crashed(&e))??;
        let block_millis = ledger.genesis().block_millis;
        let engine = Arc::new(Engine::new(ledger, store));
        let methods = server::methods(engine.clone()).map_err(|error| StartError::Server(error.to_string()))?;
        let server = listener.start(methods);
        let producer = (config.production == Production::Timed)
            .then(|| tokio::spawn(produce_timed(engine.clone(), Duration::from_millis(block_millis))));
        tracing::info!(%address, head = %engine.head().number, "chain started");
        Ok(Self { engine, server, producer, address })
    }

    /// Whether there is a chain in `dir`.
    ///
    /// # Errors
    /// If the folder cannot be looked into.
    pub fn exists(dir: &Path) -> io::Result<bool> {
        dir.join(FILE).try_exists()
    }

    /// Where the chain listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What clients connect to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// The newest block.
    #[must_use]
    pub fn head(&self) -> Head {
        self.engine.head()
    }

    /// Makes a block now.
    ///
    /// # Errors
    /// [`Halted`] if it cannot be made durable; the chain stops then.
    pub async fn produce(&self) -> Result<Head, Halted> {
        produce(self.engine.clone()).await
    }

    /// Waits until the chain stops by itself, which it does only when the disk refuses a block.
    pub async fn halted(&self) -> Halted {
        self.engine.halted().await
    }

    /// Stops serving and closes the file. Whoever waits for a block is told that the chain is closing.
    pub async fn close(mut self) {
        self.engine.stop("the chain is closing");
        if let Some(producer) = self.producer.take() {
            // A block that is being written is finished: the task ends by itself.
            if let Err(error) = producer.await {
                tracing::debug!(%error, "block production ended");
            }
        }
        if self.server.stop().is_ok() {
            self.server.clone().stopped().await;
        }
        self.engine.release();
        tracing::info!("chain closed");
    }
}

impl Drop for DevChain {
    fn drop(&mut self) {
        if let Some(producer) = &self.producer {
            producer.abort();
        }
        self.engine.stop("the chain is gone");
        // An error says that the server has stopped already.
        self.server.stop().unwrap_or_default();
        self.engine.release();
    }
}

async fn produce(engine: Arc<Engine>) -> Result<Head, Halted> {
    let sealed = tokio::task::spawn_blocking(move || engine.seal()).await;
    sealed.unwrap_or_else(|error| Err(Halted { reason: error.to_string() }))
}

async fn produce_timed(engine: Arc<Engine>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = engine.halted() => return,
        }
        if let Err(halted) = produce(engine.clone()).await {
            tracing::error!("{halted}");
            return;
        }
    }
}
