#![doc = include_str!("../README.md")]

mod stream;
mod tokenizer;

mod prepare;
mod registry;
mod source;
mod text;

mod index;
mod shard;

mod dataset;

mod assignment;
mod shuffle;

pub use assignment::{Assignment, AssignmentError, draw_samples};
pub use dataset::{Dataset, OpenError, SampleError};
pub use index::{DatasetIndex, INDEX_VERSION, ShardEntry, SourceSummary, TokenizerEntry};
pub use prepare::{Phase, PrepareError, PrepareOptions, Prepared, Progress, prepare};
pub use registry::{REGISTRY_BYTES, RegistryError, registry_corpus, registry_corpus_in};
pub use shuffle::Shuffle;
pub use source::{SkipReason, Skipped};
pub use stream::TextStream;
pub use text::{ReadError, read_text};
pub use tokenizer::{EncodeError, FileTokenizer, Tokenizer, TokenizerError};
