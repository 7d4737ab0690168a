//! House rules as tests: `cargo test -p xtask`.
//!
//! Each checker is a pure function from what the tree says to a list of sentences, one for each breach; `tests/tidy.rs`
//! applies them to this repository. The rules themselves stand in `docs/architecture.md`.

mod edges;
mod graph;
mod hosts;
mod links;
mod mentions;
mod publish;
mod readme;
mod sources;
mod tree;

pub use edges::{check_edges, check_pure};
pub use graph::{Dependency, Graph, GraphError, Kind, Package};
pub use hosts::check_hosts;
pub use links::check_links;
pub use mentions::check_mentions;
pub use publish::{check_manifests, check_publish, publish_order};
pub use readme::check_readmes;
pub use sources::{check_reach, check_root, check_sources};
pub use tree::Tree;
