#![doc = include_str!("../README.md")]

mod config;
mod event;
mod place;
mod runner;

mod trainer;

mod exchange;
mod inbox;
mod journal;
mod public;
mod scribe;

#[cfg(feature = "clap")]
mod flags;

pub use config::{Config, ConfigError};
pub use event::{Event, Started, SubmissionEvent, WindowEvent};
pub use exchange::Network;
#[cfg(feature = "clap")]
pub use flags::Flags;
pub use journal::{DiskJournal, JournalError, Recovered};
pub use pactum_round::Role;
pub use place::{Device, Place, PlaceError, Precision};
pub use runner::{NodeError, Runner};
pub use scribe::Scribe;
pub use trainer::{Memory, Meter, Reading, Trainer, TrainerError, latest_parameters, learner_config, model_config};
