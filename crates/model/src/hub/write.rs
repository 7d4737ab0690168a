//! Writing a checkpoint.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::{Dtype, View};

use super::{CONFIG, INDEX, SINGLE, config};
use crate::config::ModelConfig;
use crate::layout::ParameterSpec;

/// Most bytes of tensors in one file, as Hugging Face's default.
const SHARD_BYTES: usize = 5_000_000_000;

/// Why a checkpoint was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The parameter vector does not fit the model.
    #[error("parameter vector has {found} values but the model has {expected} parameters")]
    WrongLength {
        /// Values given.
        found: usize,
        /// Parameters of the model.
        expected: usize,
    },
    /// A file could not be written.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// Writes `config.json` and the parameters in f32 into a folder, which is made if needed, under the names that
/// Hugging Face's `LlamaForCausalLM` reads. Above 5 GB the tensors are spread over shards with an index.
///
/// Each file is written beside its place and then renamed; `config.json` comes last.
///
/// # Errors
/// If the length does not fit or a file cannot be written.
pub fn save_hf(folder: &Path, config: &ModelConfig, parameters: &[f32]) -> Result<(), SaveError> {
    save_hf_sharded(folder, config, parameters, SHARD_BYTES)
}

/// As [`save_hf`], with at most `shard_bytes` of tensors in one file, or one tensor.
///
/// # Errors
/// If the length does not fit or a file cannot be written.
pub fn save_hf_sharded(
    folder: &Path,
    config: &ModelConfig,
    parameters: &[f32],
    shard_bytes: usize,
) -> Result<(), SaveError> {
    let (found, expected) = (parameters.len(), config.count());
    if found != expected {
        return Err(SaveError::WrongLength { found, expected });
    }
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let specs = config.parameters();
    let shards = shards(&specs, shard_bytes);
    let mut index = Index::default();
    for (number, shard) in shards.iter().enumerate() {
        let name = match shards.len() {
            1 => SINGLE.to_owned(),
            count => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
        };
        write_tensors(&folder.join(&name), shard, parameters)?;
        index.add(&name, shard);
    }
    if shards.len() > 1 {
        write_text(&folder.join(INDEX), &index.to_json().map_err(|error| failed(&folder.join(INDEX), error))?)?;
    }
    let json = config::to_json(config).map_err(|error| failed(&folder.join(CONFIG), error))?;
    write_text(&folder.join(CONFIG), &json)
}

/// Groups of neighbouring tensors of at most `bytes` each, or one tensor.
fn shards(specs: &[ParameterSpec], bytes: usize) -> Vec<&[ParameterSpec]> {
    let mut shards = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (at, spec) in specs.iter().enumerate() {
        let len = spec.len() * size_of::<f32>();
        if at > start && size + len > bytes {
            shards.push(&specs[start..at]);
            (start, size) = (at, 0);
        }
        size += len;
    }
    shards.push(&specs[start..]);
    shards
}

fn write_tensors(path: &Path, specs: &[ParameterSpec], parameters: &[f32]) -> Result<(), SaveError> {
    let tensors = specs.iter().map(|spec| (&spec.name, Tensor { spec, values: &parameters[spec.range()] }));
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let draft = draft(path);
    let written = safetensors::serialize_to_file(tensors, Some(metadata), &draft);
    written.map_err(|error| failed(path, error))?;
    settle(&draft, path)
}

fn write_text(path: &Path, text: &str) -> Result<(), SaveError> {
    let draft = draft(path);
    std::fs::write(&draft, text).map_err(|error| failed(path, error))?;
    settle(&draft, path)
}

/// Puts the draft in its place once it has reached the disk.
fn settle(draft: &Path, path: &Path) -> Result<(), SaveError> {
    let synced = std::fs::File::open(draft).and_then(|file| file.sync_all());
    synced.and_then(|()| std::fs::rename(draft, path)).map_err(|error| failed(path, error))
}

fn draft(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn failed(path: &Path, error: impl std::fmt::Display) -> SaveError {
    SaveError::Write { path: path.to_owned(), reason: error.to_string() }
}

#[derive(Default, serde::Serialize)]
struct Index {
    metadata: Metadata,
    weight_map: BTreeMap<String, String>,
}

#[derive(Default, serde::Serialize)]
struct Metadata {
    total_size: usize,
}

impl Index {
    fn add(&mut self, file: &str, shard: &[ParameterSpec]) {
        for spec in shard {
            self.metadata.total_size += spec.len() * size_of::<f32>();
            self.weight_map.insert(spec.name.clone(), file.to_owned());
        }
    }

    fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

struct Tensor<'a> {
    spec: &'a ParameterSpec,
    values: &'a [f32],
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.spec.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
    }

    fn data_len(&self) -> usize {
        self.spec.len() * size_of::<f32>()
    }
}
