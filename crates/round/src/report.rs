//! What a round says of itself: returned, never logged.

use pactum_protocol::{Digest, Malformation, Uid, Unfetched, Window};
use pactum_scoring::LossScore;

use crate::ports::{InnerReport, Receipt};

/// How a window ended for this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The manifest's contributions were applied.
    Applied {
        /// How many.
        peers: usize,
    },
    /// The chain decided on no manifest: no parameter changed.
    Empty,
    /// The chain decided on a manifest that does not fit the record, so that every node leaves it out.
    Void(&'static str),
    /// Something could not be fetched: nothing was applied, and the window is to be replayed.
    Incomplete(Vec<Unfetched>),
}

/// What a validator found out about one submission.
#[derive(Clone, Debug, PartialEq)]
pub struct SubmissionReport {
    /// Whose.
    pub uid: Uid,
    /// Why it was refused, if it was.
    pub refused: Option<String>,
    /// The length that its header states, in bytes.
    pub payload_bytes: u64,
    /// The improvement of the loss on assigned samples, if it was judged.
    pub loss_score: Option<LossScore>,
    /// The rating's ordinal μ − 3σ after this window.
    pub ordinal: f64,
    /// The share of the weights after this window, in 0..=1.
    pub weight: f64,
}

/// The story of one window on one node.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowReport {
    /// The window.
    pub window: Window,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the window was replayed rather than lived through.
    pub replayed: bool,
    /// The manifest that the chain decided on.
    pub manifest: Option<Digest>,
    /// The digest of the parameters after the window.
    pub state: Digest,
    /// Why a miner did not train, if it could not.
    pub idle: Option<&'static str>,
    /// A miner's training.
    pub inner: Option<InnerReport>,
    /// The length of this node's own payload, in bytes.
    pub payload_bytes: Option<u64>,
    /// How many validators took this node's header.
    pub delivered: usize,
    /// Whether the manifest names this node's own payload.
    pub included: bool,
    /// What a validator found out about each submission.
    pub submissions: Vec<SubmissionReport>,
    /// Entries whose payload every node refuses alike, and why.
    pub malformed: Vec<(Uid, Malformation)>,
    /// Tensors left alone since their aggregate was not finite.
    pub skipped: Vec<usize>,
    /// The loss on held-out samples after the window, on validators, in nats per token.
    pub heldout_loss: Option<f32>,
    /// What the chain said to the new weights.
    pub weights: Option<Receipt>,
    /// What the chain said to this validator's attestation.
    pub attested: Option<Receipt>,
}

impl WindowReport {
    pub(crate) fn new(window: Window, state: Digest) -> Self {
        Self {
            window,
            outcome: Outcome::Empty,
            replayed: false,
            manifest: None,
            state,
            idle: None,
            inner: None,
            payload_bytes: None,
            delivered: 0,
            included: false,
            submissions: Vec::new(),
            malformed: Vec::new(),
            skipped: Vec::new(),
            heldout_loss: None,
            weights: None,
            attested: None,
        }
    }
}
