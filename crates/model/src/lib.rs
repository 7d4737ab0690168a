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

mod adamw;
mod rate;

mod digest;
mod generate;
mod hub;

pub use adamw::{AdamW, AdamWConfig, MomentsError, StepReport};
pub use config::{ConfigError, ModelConfig, RopeScaling};
pub use digest::state_digest;
pub use engine::{Engine, EngineError};
pub use executor::{Executor, StepError, Tokens};
pub use generate::{GenerateError, GenerateOptions, generate, generate_each};
pub use hub::{LoadError, SaveError, load_hf, save_hf};
pub use init::initial_parameters;
pub use layout::ParameterSpec;
pub use plan::Plan;
pub use rate::RateSchedule;
pub use reference::Reference;
