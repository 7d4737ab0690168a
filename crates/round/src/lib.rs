#![doc = include_str!("../README.md")]

mod follow;
mod ports;
mod report;

mod node;

mod collect;
mod gather;
mod join;
mod miner;
mod score;
mod seal;
mod settle;
mod validator;

/// The types that the ports speak in.
pub use pactum_protocol as protocol;

pub use follow::{Step, follow};
pub use node::{Doors, Identity, Node, Role, RoundError, Rules, Standing};
pub use ports::{
    BoxError, Chain, Clock, Entry, Evidence, Exchange, Head, InnerReport, Journal, JudgeJob, Learner, Own, Ports,
    Receipt, Snapshot, Stray, Submission, Submitted, TrainJob,
};
pub use report::{Outcome, SubmissionReport, WindowReport};
pub use seal::{SEAL_BYTES, unseal};
