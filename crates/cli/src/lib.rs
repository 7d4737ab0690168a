#![doc = include_str!("../README.md")]

mod failure;
mod log;
mod output;
mod program;
mod progress;
mod screen;
mod stop;

pub use failure::Failure;
pub use log::Verbosity;
pub use output::output;
pub use program::Program;
pub use progress::Progress;
pub use stop::Stop;
