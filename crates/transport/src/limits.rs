//! What a stranger may use up.

use std::time::Duration;

/// Safety bounds of an [`Endpoint`](crate::Endpoint). They are local: two nodes with different bounds still understand each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportLimits {
    /// Connections whose hotkey is not proven yet; a further one is refused.
    pub handshakes_max: usize,
    /// Proven connections that others opened; a further one is refused. Connections opened by this side come on top.
    pub inbound_max: usize,
    /// Connections with one hotkey, whoever opened them; the oldest gives way.
    pub per_peer_max: usize,
    /// Requests of one connection that are answered at the same time; further ones wait at the peer.
    pub streams_max: u32,
    /// Calls into the [`Service`](crate::Service) at the same time, over all connections; further ones wait.
    pub calls_max: usize,
    /// Bytes of one message, and of all messages that one connection delivers at the same time.
    pub message_bytes_max: u32,
    /// Bytes that one connection may have in flight towards this side.
    pub window_bytes: u32,

    /// From the first packet until the hotkeys are proven, or a dial is given up.
    pub handshake_timeout: Duration,
    /// From a request until the head of its answer, and the longest silence inside a blob.
    pub request_timeout: Duration,
    /// The slowest transfer that is put up with, bytes per second: a blob of `n` bytes may take `request_timeout` plus `n / rate_min`.
    pub rate_min: u64,
    /// A connection on which nothing at all arrives for so long is dead. Kept alive at a third of it. Shorter than `request_timeout`,
    /// so that a request to a peer that has restarted is tried again in time.
    pub idle_timeout: Duration,

    /// Requests that one hotkey may make, per second on average.
    pub requests_per_second: u64,
    /// Requests that one hotkey may make at once after a rest.
    pub requests_burst: u64,
    /// Bytes that one hotkey may move by its own requests in either direction, per second on average.
    pub bytes_per_second: u64,
    /// Bytes that one hotkey may move at once after a rest. One request may overdraw it; the next then waits.
    pub bytes_burst: u64,
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self {
            handshakes_max: 64,
            inbound_max: 512,
            per_peer_max: 3,
            streams_max: 16,
            calls_max: 64,
            message_bytes_max: 1 << 20,
            window_bytes: 8 << 20,
            handshake_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            rate_min: 64 << 10,
            idle_timeout: Duration::from_secs(8),
            requests_per_second: 100,
            requests_burst: 1000,
            bytes_per_second: 64 << 20,
            bytes_burst: 1 << 30,
        }
    }
}

impl TransportLimits {
    /// How long a transfer of `bytes` bytes may take in all.
    #[must_use]
    pub fn transfer_time(&self, bytes: u64) -> Duration {
        self.request_timeout.saturating_add(Duration::from_secs(bytes.div_ceil(self.rate_min.max(1))))
    }
}
