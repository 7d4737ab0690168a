#![doc = include_str!("../README.md")]

mod config;
mod learner;
mod memory;

mod inner;
mod outer;

mod judge;
mod probe;

mod bytes;
mod snapshot;

mod alone;

pub use alone::{AloneError, AloneOptions, AloneReport, train_alone};
pub use config::{CompressionConfig, InnerConfig, LearnerConfig, LearnerError, OuterConfig};
pub use inner::InnerReport;
pub use judge::{JudgeError, LossPair};
pub use learner::Learner;
pub use memory::MemoryPlan;
pub use outer::{ApplyError, ApplyReport};
pub use snapshot::{AdoptError, RestoreError};

// What appears in this crate's interface, so that a program needs no other crate to name it.
pub use pactum_compress::{CodecError, Layout, Mean, OuterReport, Quantiser, Settings, SparseUpdate, Weighted};
pub use pactum_model::{AdamWConfig, GenerateError, GenerateOptions, ModelConfig, RateSchedule, StepError};
