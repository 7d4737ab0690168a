#![doc = include_str!("../README.md")]

mod failure;
mod log;
mod memory;
mod output;
mod program;
mod progress;
mod screen;
mod stop;

pub use failure::Failure;
pub use log::Verbosity;
pub use memory::available_memory;
pub use output::{output, output_part};
pub use program::Program;
pub use progress::Progress;
pub use stop::Stop;
