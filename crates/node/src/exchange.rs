//! The network of peers as the round sees it.

use std::sync::Arc;

use futures_util::future::join_all;
use pactum_protocol::{Digest, Hotkey, Neuron, Proposal, SignedHeader, Window};
use pactum_round::{Exchange, Stray, Submission};
use pactum_transport::{BlobStore, Endpoint, PeerAddress};
use tracing::{debug, warn};

use crate::inbox::{HEADER, Inbox, PROPOSAL};

/// One node's door to its peers: its endpoint, its inbox and its blobs.
pub struct Network {
    pub(crate) endpoint: Endpoint,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) blobs: Arc<BlobStore>,
    pub(crate) hotkey: Hotkey,
}

impl Network {
    fn place_of(&self, neuron: &Neuron) -> PeerAddress {
        PeerAddress { hotkey: neuron.hotkey, address: self.inbox.address_of(neuron) }
    }

    /// Delivers one message to many at once and returns how many took it.
    async fn deliver(&self, to: &[Neuron], topic: u8, message: &[u8]) -> usize {
        let others = to.iter().filter(|neuron| neuron.hotkey != self.hotkey);
        let sent = join_all(others.map(|neuron| async move {
            match self.endpoint.send(&self.place_of(neuron), topic, message).await {
                Ok(()) => true,
                Err(error) => {
                    debug!(uid = %neuron.uid, %error, "not delivered");
                    false
                }
            }
        }));
        sent.await.into_iter().filter(|taken| *taken).count()
    }
}

impl Exchange for Network {
    async fn submit(&self, header: &SignedHeader, payload: Vec<u8>, validators: &[Neuron]) -> usize {
        if let Err(error) = self.blobs.insert_withheld(&payload) {
            warn!(%error, "the payload cannot be kept, so nobody could fetch it");
            return 0;
        }
        self.deliver(validators, HEADER, &header.encode()).await
    }

    async fn reveal(&self, payload: &Digest) {
        if let Err(error) = self.blobs.release(payload) {
            warn!(%error, "the payload cannot be served");
        }
    }

    fn submissions(&self, window: Window) -> Vec<Submission> {
        self.inbox.submissions(window)
    }

    fn strays(&self) -> Vec<Stray> {
        self.inbox.strays()
    }

    async fn propose(&self, proposal: &Proposal, to: &[Neuron]) {
        self.deliver(to, PROPOSAL, &proposal.encode()).await;
    }

    fn proposals(&self, window: Window) -> Vec<Proposal> {
        self.inbox.proposals(window)
    }

    async fn local(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.blobs.read(digest).map(Vec::from)
    }

    async fn fetch(&self, from: &Neuron, digest: &Digest, bytes_max: u64) -> Option<Vec<u8>> {
        match self.endpoint.fetch(&self.place_of(from), digest, bytes_max).await {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                debug!(uid = %from.uid, blob = %digest.short(), %error, "not fetched");
                None
            }
        }
    }

    async fn keep(&self, blob: Vec<u8>) {
        if let Err(error) = self.blobs.insert(&blob) {
            warn!(%error, "a blob cannot be kept for others");
        }
    }
}
