#![doc = include_str!("../README.md")]

mod config;
mod layout;
mod plan;

mod init;

mod executor;

mod engine;
mod kernel;
mod matmul;
mod team;

mod reference;

#[cfg(feature = "cuda")]
mod device;

mod accelerator;
mod adamw;
mod rate;

mod digest;
mod generate;
mod hub;
mod score;

pub use accelerator::{Accelerator, TrainStep};
pub use adamw::{AdamW, AdamWConfig, MomentStore, MomentsError, StepReport, StreamedAdamW};
pub use config::{ConfigError, ModelConfig, RopeScaling};
#[cfg(feature = "cuda")]
pub use device::{DeviceEngine, DeviceEngineError, DeviceTrainer, Precision, RestoreError};
pub use digest::state_digest;
pub use engine::{Engine, EngineError};
pub use executor::{Executor, StepError, Tokens};
pub use generate::{GenerateError, GenerateOptions, generate, generate_each};
pub use hub::{Checkpoint, LoadError, SaveError, inspect_hf, load_hf, save_hf, save_hf_sharded};
pub use init::initial_parameters;
pub use layout::ParameterSpec;
pub use plan::{Plan, bytes_text};
pub use rate::RateSchedule;
pub use reference::Reference;
pub use score::{Continuation, Likelihood, ScoreError, log_likelihoods, text_windows};

// What an engine on a device is made of, so that a program needs no other crate to name it.
#[cfg(feature = "cuda")]
pub use pactum_kernels::{Device, DeviceError};
