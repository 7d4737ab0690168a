//! Hugging Face files: `config.json` and safetensors, one file or shards with an index.

mod config;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{Checkpoint, LoadError, inspect_hf, load_hf};
pub use write::{SaveError, save_hf, save_hf_sharded};

const CONFIG: &str = "config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
