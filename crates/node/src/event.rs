//! What a node says of itself while it runs: one JSON object a line, for whoever watches it.

use std::fmt;

use pactum_protocol::{Digest, Hotkey, Uid, Window};
use pactum_round::{Outcome, Receipt, SubmissionReport, WindowReport};
use serde::{Deserialize, Serialize};

use crate::trainer::{Memory, Reading};

/// Something that happened on a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The node is up.
    Started(Started),
    /// The node goes over to doing something else.
    Phase {
        /// What it does now, in a few words.
        phase: String,
    },
    /// A window ended for this node.
    Window(Box<WindowEvent>),
}

impl Event {
    pub(crate) fn phase(phase: &str) -> Self {
        Self::Phase { phase: phase.to_owned() }
    }
}

/// For a person who watches one node.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(started) => write!(
                f,
                "uid {} at {}, {} parameters, next window {}",
                started.uid, started.address, started.parameters, started.next
            ),
            Self::Phase { phase } => f.write_str(phase),
            Self::Window(window) => window.fmt(f),
        }
    }
}

impl fmt::Display for WindowEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "window {} {}", self.window, self.outcome)?;
        if self.outcome == "applied" {
            write!(f, " {} contributions", self.peers)?;
        }
        if let Some(loss) = self.inner_loss {
            write!(f, ", {} steps to inner loss {loss:.4}", self.steps)?;
        }
        if let Some(bytes) = self.payload_bytes {
            write!(f, ", sent {bytes} bytes{}", if self.included { "" } else { " (left out)" })?;
        }
        if let Some(loss) = self.heldout_loss {
            write!(f, ", held-out loss {loss:.4}")?;
        }
        self.remarks.iter().try_for_each(|remark| write!(f, "; {remark}"))
    }
}

/// Who came up, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its key.
    pub hotkey: Hotkey,
    /// Its uid.
    pub uid: Uid,
    /// The address it serves.
    pub address: String,
    /// The first window it has not committed.
    pub next: Window,
    /// Parameters of the model.
    pub parameters: u64,
}

/// The report of one window, flat, with plain numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WindowEvent {
    /// The window.
    pub window: u64,
    /// `applied`, `empty`, `void` or `incomplete`; `recovered` for the window that a node which starts again stood at;
    /// `joined` for the window whose parameters a node took over as a checkpoint.
    pub outcome: String,
    /// How many contributions were applied.
    pub peers: usize,
    /// Whether the window was replayed.
    pub replayed: bool,
    /// The digest of the parameters after the window.
    pub state: Option<Digest>,
    /// Inner steps made.
    pub steps: u32,
    /// Sequences trained on.
    pub samples: u32,
    /// Seconds spent on them.
    pub train_seconds: f64,
    /// What the node carries into the next window besides the parameters.
    #[serde(default)]
    pub memory: Memory,
    /// The mean loss of the inner steps, in nats per token.
    pub inner_loss: Option<f32>,
    /// The length of the node's own payload.
    pub payload_bytes: Option<u64>,
    /// Whether the manifest names it.
    pub included: bool,
    /// The loss on held-out samples after the window, in nats per token.
    pub heldout_loss: Option<f32>,
    /// What a validator found out about each submission.
    pub submissions: Vec<SubmissionEvent>,
    /// What did not go as it should, in sentences.
    pub remarks: Vec<String>,
}

/// What a validator found out about one submission.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubmissionEvent {
    /// Whose.
    pub uid: Uid,
    /// `accepted` or `refused`.
    pub status: String,
    /// Why it was refused.
    pub reason: Option<String>,
    /// The length of the payload.
    pub payload_bytes: u64,
    /// The improvement of the loss on assigned samples, in nats per token.
    pub loss_score: Option<f64>,
    /// The rating's ordinal.
    pub ordinal: f64,
    /// The share of the weights.
    pub weight: f64,
}

impl WindowEvent {
    /// The report as an event, with the reading of what the round does not know.
    #[must_use]
    pub fn new(report: &WindowReport, reading: &Reading) -> Self {
        let inner = report.inner.unwrap_or_default();
        let (outcome, peers) = match &report.outcome {
            Outcome::Applied { peers } => ("applied", *peers),
            Outcome::Empty => ("empty", 0),
            Outcome::Void(_) => ("void", 0),
            Outcome::Incomplete(_) => ("incomplete", 0),
        };
        Self {
            window: report.window.0,
            outcome: outcome.to_owned(),
            peers,
            replayed: report.replayed,
            state: Some(report.state),
            steps: inner.steps,
            samples: inner.samples,
            train_seconds: reading.train_seconds,
            memory: reading.memory,
            inner_loss: report.inner.map(|inner| inner.loss),
            payload_bytes: report.payload_bytes,
            included: report.included,
            heldout_loss: report.heldout_loss,
            submissions: report.submissions.iter().map(SubmissionEvent::from).collect(),
            remarks: remarks(report),
        }
    }
}

impl WindowEvent {
    /// Whether the window is behind the node for good.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.outcome != "incomplete"
    }
}

impl From<&SubmissionReport> for SubmissionEvent {
    fn from(submission: &SubmissionReport) -> Self {
        Self {
            uid: submission.uid,
            status: if submission.refused.is_none() { "accepted" } else { "refused" }.to_owned(),
            reason: submission.refused.clone(),
            payload_bytes: submission.payload_bytes,
            loss_score: submission.loss_score.map(|score| score.mean),
            ordinal: submission.ordinal,
            weight: submission.weight,
        }
    }
}

/// Everything in a report that somebody should read.
fn remarks(report: &WindowReport) -> Vec<String> {
    let mut remarks = Vec::new();
    match &report.outcome {
        Outcome::Void(why) => remarks.push((*why).to_owned()),
        Outcome::Incomplete(unfetched) => {
            remarks.extend(unfetched.iter().map(|blob| format!("could not fetch {}", blob.digest.short())));
        }
        Outcome::Applied { .. } | Outcome::Empty => {}
    }
    remarks.extend(report.idle.map(str::to_owned));
    remarks.extend(report.malformed.iter().map(|(uid, why)| format!("the payload of uid {uid} is malformed: {why}")));
    remarks.extend(report.skipped.iter().map(|tensor| format!("tensor {tensor} had no finite update")));
    for (what, receipt) in [("attestation", &report.attested), ("weights", &report.weights)] {
        if let Some(Receipt::Refused(why)) = receipt {
            remarks.push(format!("the chain refused the {what}: {why}"));
        }
    }
    let unheard = report.payload_bytes.is_some() && report.delivered == 0;
    if unheard {
        remarks.push("no validator took the submission".to_owned());
    }
    remarks
}
