//! A door to the network that sends other headers than it is given.

use std::cell::Cell;

use pactum_node::Network;
use pactum_protocol::{Digest, Neuron, Proposal, SignedHeader, Window};
use pactum_round::{Exchange, Stray, Submission};

/// A network, and whether to forge.
pub(super) struct Forger {
    forges: bool,
    network: Network,
    /// The true header of the window before.
    last: Cell<Option<SignedHeader>>,
}

impl Forger {
    pub(super) fn new(forges: bool, network: Network) -> Self {
        Self { forges, network, last: Cell::new(None) }
    }

    /// The header with a false signature, the one of the window before, or with something else than it announces.
    fn forge(&self, header: &SignedHeader, mut payload: Vec<u8>) -> (SignedHeader, Vec<u8>) {
        let before = self.last.replace(Some(*header)).filter(|_| self.forges);
        let mut forged = *header;
        match (before, header.header.window.0 % 3) {
            (None, _) => {}
            (Some(_), 0) => forged.signature.0[0] ^= 1,
            (Some(old), 1) => forged = old,
            (Some(_), _) => payload.reverse(),
        }
        (forged, payload)
    }
}

impl Exchange for Forger {
    async fn submit(&self, header: &SignedHeader, payload: Vec<u8>, validators: &[Neuron]) -> usize {
        let (header, payload) = self.forge(header, payload);
        self.network.submit(&header, payload, validators).await
    }

    async fn reveal(&self, payload: &Digest) {
        self.network.reveal(payload).await;
    }

    fn submissions(&self, window: Window) -> Vec<Submission> {
        self.network.submissions(window)
    }

    fn strays(&self) -> Vec<Stray> {
        self.network.strays()
    }

    async fn propose(&self, proposal: &Proposal, to: &[Neuron]) {
        self.network.propose(proposal, to).await;
    }

    fn proposals(&self, window: Window) -> Vec<Proposal> {
        self.network.proposals(window)
    }

    async fn local(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.network.local(digest).await
    }

    async fn fetch(&self, from: &Neuron, digest: &Digest, bytes_max: u64) -> Option<Vec<u8>> {
        self.network.fetch(from, digest, bytes_max).await
    }

    async fn keep(&self, blob: Vec<u8>) {
        self.network.keep(blob).await;
    }
}
