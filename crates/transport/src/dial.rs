//! Ways to a peer: a connection that is open already, or a new one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use pactum_protocol::Hotkey;
use quinn::{Connection, ConnectionError};
use tokio::time::timeout;

use crate::PeerAddress;
use crate::endpoint::Shared;
use crate::hello::{HelloFailure, Objection, Role, introduce, meet};
use crate::link::{DONE, Link};
use crate::tls::SERVER_NAME;

/// Why there is no connection with a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The peer has told no address and has opened no connection itself.
    #[error("the peer has no address; wait until it connects")]
    NoAddress,
    /// Nobody answered in time.
    #[error("nobody answered at {0} in time")]
    TimedOut(SocketAddr),
    /// This side will not talk to whoever answered.
    #[error("whoever answered is not acceptable: {0}")]
    Objected(Objection),
    /// The peer will not talk to this side.
    #[error("the peer refuses this node: {0}")]
    Refused(Objection),
    /// The connection could not be made, or broke.
    #[error("the connection failed: {0}")]
    Lost(String),
    /// This endpoint was closed.
    #[error("this endpoint is closed")]
    Closed,
}

impl ConnectError {
    /// What the end of a connection means to whoever wanted to use it.
    pub(crate) fn from_end(end: &ConnectionError) -> Self {
        match end {
            ConnectionError::LocallyClosed => Self::Closed,
            ConnectionError::ApplicationClosed(close) => {
                Objection::from_code(close.error_code).map_or_else(|| Self::Lost(end.to_string()), Self::Refused)
            }
            _ => Self::Lost(end.to_string()),
        }
    }
}

/// An open connection with the peer.
pub(crate) struct Way {
    pub(crate) link: Arc<Link>,
    /// Dialed just now, so that the peer was certainly there.
    pub(crate) fresh: bool,
}

impl Way {
    fn old(link: Arc<Link>) -> Self {
        Self { link, fresh: false }
    }
}

/// A way to the peer, dialed if need be. Callers that ask at the same time share one dial.
pub(crate) async fn way_to(shared: &Arc<Shared>, to: &PeerAddress) -> Result<Way, ConnectError> {
    if let Some(link) = shared.pool.pick(to) {
        return Ok(Way::old(link));
    }
    let address = to.address.ok_or(ConnectError::NoAddress)?;
    let asked = Instant::now();
    let gate = shared.pool.gate(to);
    let mut newest_failure = gate.lock().await;
    if let Some(link) = shared.pool.pick(to) {
        return Ok(Way::old(link));
    }
    let failed_meanwhile = newest_failure.as_ref().filter(|(when, _)| *when >= asked);
    let dialed = match failed_meanwhile {
        Some((_, error)) => Err(error.clone()),
        None => dial(shared, &to.hotkey, address).await,
    };
    dialed.map(|link| Way { link, fresh: true }).or_else(|error| {
        tracing::debug!(peer = %to.hotkey, %address, %error, "dial failed");
        *newest_failure = Some((Instant::now(), error.clone()));
        shared.pool.last_resort(&to.hotkey).map(Way::old).ok_or(error)
    })
}

async fn dial(shared: &Arc<Shared>, expected: &Hotkey, address: SocketAddr) -> Result<Arc<Link>, ConnectError> {
    let greeting = timeout(shared.limits.handshake_timeout, greet(shared, expected, address));
    let link = greeting.await.map_err(|_| ConnectError::TimedOut(address))??;
    let server = shared.serving.reserve().await.map_err(|_| ConnectError::Closed)?;
    shared.pool.insert(&link).map_err(ConnectError::Objected)?;
    server.send(Arc::clone(&link));
    Ok(link)
}

/// Opens a connection and proves both hotkeys.
async fn greet(shared: &Shared, expected: &Hotkey, address: SocketAddr) -> Result<Arc<Link>, ConnectError> {
    let connecting = shared.quinn.connect_with(shared.client.clone(), address, SERVER_NAME);
    let connection = connecting
        .map_err(|error| match error {
            quinn::ConnectError::EndpointStopping => ConnectError::Closed,
            other => ConnectError::Lost(other.to_string()),
        })?
        .await
        .map_err(|end| ConnectError::from_end(&end))?;
    let met = exchange_hellos(shared, &connection).await;
    let objection = match met {
        Ok(proven) if proven.hotkey == *expected => {
            return Ok(Arc::new(Link::new(connection, proven, Some(address), &shared.limits)));
        }
        Ok(_) => Objection::WrongHotkey,
        Err(HelloFailure::Objection(objection)) => objection,
        Err(HelloFailure::Lost) => {
            let end = connection.close_reason();
            connection.close(DONE, b"");
            let unknown = || ConnectError::Lost("the hello broke off".to_owned());
            return Err(end.map_or_else(unknown, |end| ConnectError::from_end(&end)));
        }
    };
    connection.close(objection.code(), b"");
    Err(ConnectError::Objected(objection))
}

async fn exchange_hellos(shared: &Shared, connection: &Connection) -> Result<crate::hello::Proven, HelloFailure> {
    let terms = shared.terms();
    let (mut send, mut recv) = connection.open_bi().await.map_err(|_| HelloFailure::Lost)?;
    introduce(&terms, connection, Role::Dialer, &mut send).await?;
    meet(&terms, connection, Role::Listener, &mut recv).await
}
