#![doc = include_str!("../README.md")]

mod loss;
mod overlap;
mod penalty;
mod proof;
mod rating;

mod book;
mod choice;
mod weight;

#[cfg(test)]
mod contest;

pub use book::{Evidence, Peer, ScoreBook, ScoreLine};
pub use loss::LossScore;
pub use overlap::{Overlap, judge_overlaps};
pub use pactum_protocol::{Digest, Hotkey, Hparams, ScoringRules, Uid, Window};
pub use penalty::Penalty;
pub use proof::DataProof;
pub use rating::{Rating, rate};
pub use weight::{normalised, weights_u16};
