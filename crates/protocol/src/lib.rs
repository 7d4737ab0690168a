#![doc = include_str!("../README.md")]

mod ids;

mod hparams;
mod preset;
mod schedule;

mod header;
mod limits;
mod manifest;
mod proposal;
mod wire;

mod eligibility;
mod gather;

mod metagraph;
#[cfg(test)]
mod toy;
mod verdict;

pub use eligibility::{
    HeaderRules, Ineligible, Malformation, Reveal, judge_header, judge_payload, judge_probe, judge_replays, probe_seed,
};
pub use gather::{Action, Event, Gather, GatherLimits, Unfetched, Want};
pub use header::{Header, SignedHeader, VERSION};
pub use hparams::{
    Compression, DataRules, Hparams, HparamsError, Inner, Mean, ModelShape, Outer, PRESET_BYTES_MAX, Quantiser,
    ScoringRules, Time, run_digest,
};
pub use ids::{BlockNumber, Digest, HexError, Hotkey, Sign, Signature, Timestamp, Uid, Verify, Window};
pub use limits::Limits;
pub use manifest::{Draft, Entry, Manifest};
pub use metagraph::{Metagraph, Neuron, proposers};
pub use preset::PRESETS;
pub use proposal::{Proposal, ProposalError};
pub use schedule::{Schedule, WindowPlan};
pub use verdict::{ACTIVE_WINDOWS, Attestation, Record, verdict};
pub use wire::WireError;
