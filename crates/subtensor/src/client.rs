//! Questions and calls, each asked again until the chain has answered.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jsonrpsee::core::client::{ClientT, Error};
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::rpc_params;
use jsonrpsee::types::ErrorObjectOwned;
use jsonrpsee::ws_client::WsClient;
use pactum_chain::rpc::{self, Refusal};
use pactum_chain::{Chain, ChainError, Genesis, Head, SignedCall};
use pactum_protocol::{BlockNumber, Digest, Hotkey, Metagraph, Record, Uid, WindowPlan};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::link::{Link, Shared, State, follow};

/// A client of a chain, whose clones share one connection.
///
/// It connects again for as long as it lives. What is asked while the chain is away waits until it is back;
/// [`link`](Self::link) tells how things stand. The connection ends with the last clone.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    _driver: Arc<Driver>,
}

/// Why a client cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is of another kind.
    #[error("{url} is not the address of a chain: it looks like ws://127.0.0.1:9944")]
    BadUrl {
        /// What was given.
        url: String,
    },
}

struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// A client of the chain at `url`, such as `ws://127.0.0.1:9944`. It returns at once, whether the chain is there or
    /// not. The chain must be the one with that genesis hash; without one, the first chain met is the one to follow.
    ///
    /// Runs in the present tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`] if nothing can ever be reached under that address.
    pub fn connect(url: &str, genesis: Option<Digest>) -> Result<Self, ConnectError> {
        let rest = url.strip_prefix("ws://").ok_or_else(|| ConnectError::BadUrl { url: url.into() })?;
        if rest.is_empty() || rest.contains(char::is_whitespace) {
            return Err(ConnectError::BadUrl { url: url.into() });
        }
        let shared = Arc::new(Shared::new(url));
        let driver = tokio::spawn(follow(shared.clone(), genesis));
        Ok(Self { shared, _driver: Arc::new(Driver(driver)) })
    }

    /// How things stand between this client and the chain, now and from now on.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    /// The address given.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    async fn ask<T: DeserializeOwned>(&self, method: &str, params: ArrayParams) -> Result<T, ChainError> {
        let mut states = self.shared.state.subscribe();
        let mut lost: Option<Arc<WsClient>> = None;
        loop {
            let client = connected(&mut states, lost.as_ref()).await?;
            match client.request::<T, _>(method, params.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(Error::Call(error)) if error.code() != rpc::CLOSING => return Err(refusal(&error)),
                Err(Error::ParseError(error)) => return Err(ChainError::Unreadable { reason: error.to_string() }),
                Err(Error::RequestTimeout) => tracing::debug!(method, "no answer yet, asking again"),
                Err(error) => {
                    tracing::debug!(method, %error, "connection lost, will ask again");
                    lost = Some(client);
                }
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.shared.url).field("link", &*self.shared.link.borrow()).finish()
    }
}

impl Chain for Client {
    async fn genesis(&self) -> Result<Genesis, ChainError> {
        self.ask(rpc::GENESIS, rpc_params![]).await
    }

    async fn head(&self) -> Result<Head, ChainError> {
        self.ask(rpc::HEAD, rpc_params![]).await
    }

    async fn until(&self, block: BlockNumber) -> Result<Head, ChainError> {
        let mut heads = self.shared.head.subscribe();
        let mut states = self.shared.state.subscribe();
        tokio::select! {
            head = heads.wait_for(|head| head.is_some_and(|head| head.number >= block)) => {
                head.ok().and_then(|head| *head).ok_or(ChainError::Closed)
            }
            state = states.wait_for(|state| matches!(state, State::Other { .. })) => {
                Err(state.map_or(ChainError::Closed, |state| state.failure()))
            }
        }
    }

    async fn block_hash(&self, block: BlockNumber) -> Result<Digest, ChainError> {
        self.ask(rpc::BLOCK_HASH, rpc_params![block.0]).await
    }

    async fn metagraph(&self, block: BlockNumber) -> Result<Metagraph, ChainError> {
        self.ask(rpc::METAGRAPH, rpc_params![block.0]).await
    }

    async fn record(&self, plan: &WindowPlan) -> Result<Record, ChainError> {
        self.ask(rpc::RECORD, rpc_params![plan.window.0, plan.attest_by.0]).await
    }

    async fn emission(&self) -> Result<BTreeMap<Uid, u64>, ChainError> {
        self.ask(rpc::EMISSION, rpc_params![]).await
    }

    async fn weights(&self) -> Result<BTreeMap<Uid, Vec<(Uid, u16)>>, ChainError> {
        self.ask(rpc::WEIGHTS, rpc_params![]).await
    }

    async fn nonce(&self, hotkey: &Hotkey) -> Result<u64, ChainError> {
        self.ask(rpc::NONCE, rpc_params![hotkey.to_string()]).await
    }

    async fn submit(&self, call: &SignedCall) -> Result<BlockNumber, ChainError> {
        self.ask(rpc::SUBMIT, rpc_params![rpc::to_hex(&call.encode())]).await
    }
}

/// Waits for a connection other than the one that is known to be lost.
async fn connected(
    states: &mut watch::Receiver<State>,
    lost: Option<&Arc<WsClient>>,
) -> Result<Arc<WsClient>, ChainError> {
    let usable = |state: &State| match state {
        State::Up(client) => lost.is_none_or(|lost| !Arc::ptr_eq(lost, client)),
        State::Away => false,
        State::Other { .. } => true,
    };
    let state = states.wait_for(usable).await.map_err(|_| ChainError::Closed)?;
    match &*state {
        State::Up(client) => Ok(client.clone()),
        other => Err(other.failure()),
    }
}

fn refusal(error: &ErrorObjectOwned) -> ChainError {
    let data = error.data().filter(|_| error.code() == rpc::REFUSED);
    match data.and_then(|data| serde_json::from_str(data.get()).ok()) {
        Some(Refusal::Call(refusal)) => refusal.into(),
        Some(Refusal::History(refusal)) => refusal.into(),
        None => ChainError::Unreadable { reason: error.message().to_owned() },
    }
}
