#![doc = include_str!("../README.md")]

mod config;
mod learner;
mod memory;

mod compute;
mod delay;
mod inner;
mod outer;

mod judge;
mod probe;

mod bytes;
mod optimizer;
mod shelf;
mod snapshot;

mod join;

mod alone;

pub use alone::{AloneError, AloneOptions, AloneReport, train_alone};
pub use config::{CompressionConfig, InnerConfig, LearnerConfig, LearnerError, OuterConfig};
pub use inner::{InnerError, InnerReport};
pub use join::AdoptError;
pub use judge::{JudgeError, LossPair};
pub use learner::Learner;
pub use memory::MemoryPlan;
pub use outer::{ApplyError, ApplyReport};
pub use shelf::Scratch;
pub use snapshot::{RestoreError, Snapshot};

// What appears in this crate's interface, so that a program needs no other crate to name it.
pub use pactum_compress::{CodecError, Layout, Mean, OuterReport, Quantiser, Settings, SparseUpdate, Weighted};
pub use pactum_model::{
    Accelerator, AdamWConfig, GenerateError, GenerateOptions, ModelConfig, RateSchedule, StepError, bytes_text,
};
