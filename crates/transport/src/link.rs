//! One connection whose hotkey is proven.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pactum_protocol::Hotkey;
use quinn::{Connection, VarInt};
use tokio::sync::Semaphore;

use crate::TransportLimits;
use crate::hello::Proven;

/// Said when closing for no fault of the peer.
pub(crate) const DONE: VarInt = VarInt::from_u32(0);
/// Said when a newer connection takes the place of this one.
pub(crate) const REPLACED: VarInt = VarInt::from_u32(100);
/// Said when the peer sends what no honest peer sends.
pub(crate) const MISBEHAVED: VarInt = VarInt::from_u32(101);

/// A connection in the pool.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    pub(crate) proven: Proven,
    /// The address that this side dialed; `None` if the peer opened the connection.
    pub(crate) dialed: Option<SocketAddr>,
    /// One permit per byte of the messages that are being read.
    pub(crate) bodies: Arc<Semaphore>,
    /// The peer may be gone: if there is another way to it, that is preferred.
    suspect: AtomicBool,
}

impl Link {
    /// Takes over a proven connection and opens it for requests.
    pub(crate) fn new(
        connection: Connection,
        proven: Proven,
        dialed: Option<SocketAddr>,
        limits: &TransportLimits,
    ) -> Self {
        connection.set_receive_window(VarInt::from_u32(limits.window_bytes));
        connection.set_max_concurrent_bi_streams(VarInt::from_u32(limits.streams_max));
        let bodies = Arc::new(Semaphore::new((limits.message_bytes_max as usize).min(Semaphore::MAX_PERMITS)));
        Self { connection, proven, dialed, bodies, suspect: AtomicBool::new(false) }
    }

    pub(crate) fn hotkey(&self) -> &Hotkey {
        &self.proven.hotkey
    }

    pub(crate) fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    pub(crate) fn set_suspect(&self, suspect: bool) {
        self.suspect.store(suspect, Ordering::Relaxed);
    }

    /// Whether this is a way to a peer that is said to be at `address`.
    pub(crate) fn leads_to(&self, address: Option<SocketAddr>) -> bool {
        self.dialed.is_none() || address.is_none() || self.dialed == address
    }
}
