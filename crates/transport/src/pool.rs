//! The open connections by hotkey, and what each hotkey has used up.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pactum_protocol::Hotkey;

use crate::bucket::Bucket;
use crate::dial::ConnectError;
use crate::hello::Objection;
use crate::link::{Link, REPLACED};
use crate::{PeerAddress, TransportLimits};

/// Held by whoever dials a peer, so that nobody else does; with the newest failure.
pub(crate) type Gate = Arc<tokio::sync::Mutex<Option<(Instant, ConnectError)>>>;

/// Everything known of the peers, for as long as it matters.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: TransportLimits,
    started: Instant,
    peers: Mutex<BTreeMap<Hotkey, Peer>>,
}

#[derive(Debug)]
struct Peer {
    /// Oldest first.
    links: Vec<Arc<Link>>,
    /// Where the peer was last said to be.
    address: Option<SocketAddr>,
    gate: Gate,
    requests: Bucket,
    bytes: Bucket,
}

impl Pool {
    pub(crate) fn new(limits: TransportLimits) -> Self {
        Self { limits, started: Instant::now(), peers: Mutex::new(BTreeMap::new()) }
    }

    /// The newest connection that leads to the peer, if there is one that is worth trying before a dial.
    pub(crate) fn pick(&self, to: &PeerAddress) -> Option<Arc<Link>> {
        let mut peers = self.lock();
        let peer = peers.get_mut(&to.hotkey)?;
        peer.moved(to.address);
        let open = peer.links.iter().rev().filter(|link| link.is_open());
        let usable = |link: &&Arc<Link>| to.address.is_none() || (!link.is_suspect() && link.leads_to(to.address));
        open.clone().find(|link| !link.is_suspect() && usable(link)).or_else(|| open.clone().find(usable)).cloned()
    }

    /// The newest open connection with the peer, however doubtful.
    pub(crate) fn last_resort(&self, hotkey: &Hotkey) -> Option<Arc<Link>> {
        self.lock().get(hotkey)?.links.iter().rev().find(|link| link.is_open()).cloned()
    }

    /// The lock under which the peer is dialed.
    pub(crate) fn gate(&self, to: &PeerAddress) -> Gate {
        let mut peers = self.lock();
        let peer = self.entry(&mut peers, &to.hotkey);
        peer.moved(to.address);
        Arc::clone(&peer.gate)
    }

    /// Adds a connection. It takes the place of those that another process with the same hotkey left behind, and of the
    /// oldest one if there are too many.
    pub(crate) fn insert(&self, link: &Arc<Link>) -> Result<(), Objection> {
        let mut peers = self.lock();
        let inbound = peers.values().flat_map(|peer| &peer.links).filter(|old| old.dialed.is_none() && old.is_open());
        let replaces = |old: &&Arc<Link>| old.hotkey() == link.hotkey();
        if link.dialed.is_none() && inbound.filter(|old| !replaces(old)).count() >= self.limits.inbound_max {
            return Err(Objection::Full);
        }
        let links = &mut self.entry(&mut peers, link.hotkey()).links;
        links.retain(|old| old.is_open());
        let surplus = (links.len() + 1).saturating_sub(self.limits.per_peer_max.max(1));
        let mut position = 0;
        links.retain(|old| {
            position += 1;
            let stays = position > surplus && old.proven.certificate == link.proven.certificate;
            if !stays {
                old.connection.close(REPLACED, b"replaced by a newer connection");
            }
            stays
        });
        links.push(Arc::clone(link));
        Ok(())
    }

    /// Forgets a connection that is no longer served.
    pub(crate) fn remove(&self, link: &Arc<Link>) {
        if let Some(peer) = self.lock().get_mut(link.hotkey()) {
            peer.links.retain(|other| !Arc::ptr_eq(other, link));
        }
    }

    /// The hotkeys with an open connection, in order.
    pub(crate) fn connected(&self) -> Vec<Hotkey> {
        let peers = self.lock();
        let open = peers.iter().filter(|(_, peer)| peer.links.iter().any(|link| link.is_open()));
        open.map(|(hotkey, _)| *hotkey).collect()
    }

    /// Counts one request of a peer, or says how long the peer has to wait.
    pub(crate) fn charge_request(&self, hotkey: &Hotkey) -> Result<(), Duration> {
        let now = self.started.elapsed();
        let mut peers = self.lock();
        let peer = self.entry(&mut peers, hotkey);
        peer.bytes.check(now)?;
        peer.requests.take(1, now)
    }

    /// Counts bytes that a peer's request moved.
    pub(crate) fn charge_bytes(&self, hotkey: &Hotkey, bytes: u64) {
        let now = self.started.elapsed();
        let mut peers = self.lock();
        // An overdraft was ruled out when the request was let in; a second one beside it only deepens the debt.
        self.entry(&mut peers, hotkey).bytes.force(bytes, now);
    }

    /// The connections with the peer, oldest first.
    #[cfg(test)]
    pub(crate) fn links(&self, hotkey: &Hotkey) -> Vec<Arc<Link>> {
        self.lock().get(hotkey).map(|peer| peer.links.clone()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Hotkey, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry<'a>(&self, peers: &'a mut BTreeMap<Hotkey, Peer>, hotkey: &Hotkey) -> &'a mut Peer {
        let now = self.started.elapsed();
        if !peers.contains_key(hotkey) {
            peers.retain(|_, peer| !peer.is_forgettable(now));
        }
        peers.entry(*hotkey).or_insert_with(|| Peer {
            links: Vec::new(),
            address: None,
            gate: Gate::default(),
            requests: Bucket::new(self.limits.requests_per_second, self.limits.requests_burst, now),
            bytes: Bucket::new(self.limits.bytes_per_second, self.limits.bytes_burst, now),
        })
    }
}

impl Peer {
    /// Notes where the peer is said to be. If that is a new place, connections from before may be a dead process's.
    fn moved(&mut self, address: Option<SocketAddr>) {
        if address.is_none() || address == self.address {
            return;
        }
        if self.address.is_some() {
            let elsewhere = self.links.iter().filter(|link| link.dialed != address);
            elsewhere.for_each(|link| link.set_suspect(true));
        }
        self.address = address;
    }

    /// Whether a new entry would be just the same.
    fn is_forgettable(&mut self, now: Duration) -> bool {
        let idle = self.links.is_empty() && Arc::strong_count(&self.gate) == 1;
        idle && self.requests.is_full(now) && self.bytes.is_full(now)
    }
}
