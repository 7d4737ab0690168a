//! Reading a checkpoint, hostile files included: nothing is allocated that a file's true length does not cover.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{CONFIG, INDEX, SINGLE, config};
use crate::config::{ConfigError, ModelConfig};
use crate::layout::ParameterSpec;

/// Longest JSON text that is read: a header, an index or a configuration.
const JSON_BYTES_MAX: u64 = 8 << 20;
/// Values converted at once.
const BLOCK: usize = 16_384;

/// Why a checkpoint was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what its name says, or a configuration describes another kind of model.
    #[error("{} is not usable: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The configuration describes no model.
    #[error("{} is not usable: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What it describes.
        source: ConfigError,
    },
    /// A tensor of the model is in no file.
    #[error("the checkpoint has no tensor {name}")]
    Missing {
        /// Name of the tensor.
        name: String,
    },
    /// A tensor is there that the model does not have, or that another file has too.
    #[error("the checkpoint has a tensor {name} that this model does not have or that came before")]
    Unexpected {
        /// Name of the tensor.
        name: String,
    },
    /// A tensor has other dimensions than the configuration says.
    #[error("tensor {name} has shape {found:?} but the configuration says {expected:?}")]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Dimensions in the file.
        found: Vec<usize>,
        /// Dimensions of the model.
        expected: Vec<usize>,
    },
    /// A tensor holds NaN or infinity.
    #[error("tensor {name} holds a value that is not finite")]
    NotFinite {
        /// Name of the tensor.
        name: String,
    },
}

/// Reads `config.json` and the parameters of a folder in Hugging Face's layout: f32, f16 or bf16, one file or shards.
///
/// # Errors
/// If a file is missing, damaged, or holds another model; nothing is returned in part.
pub fn load_hf(folder: &Path) -> Result<(ModelConfig, Vec<f32>), LoadError> {
    let (config, found) = open(folder)?;
    // The tensors lie side by side in files of that length, so the files cover this allocation.
    let mut parameters = vec![0.0; config.count()];
    for tensor in found {
        tensor.read(&mut parameters)?;
    }
    Ok((config, parameters))
}

/// What [`inspect_hf`] finds in a folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// What `config.json` says.
    pub config: ModelConfig,
    /// Number of files with tensors.
    pub files: usize,
    /// Bytes of all tensors in them, in the form in which they are stored.
    pub bytes: u64,
}

/// What a folder holds that [`load_hf`] would read: configuration and headers are checked, no tensor is read.
///
/// # Errors
/// If a file is missing, damaged, or holds another model.
pub fn inspect_hf(folder: &Path) -> Result<Checkpoint, LoadError> {
    let (config, found) = open(folder)?;
    let files: BTreeSet<&PathBuf> = found.iter().map(|tensor| &tensor.path).collect();
    let bytes = found.iter().map(|tensor| (tensor.spec.len() * tensor.kind.size()) as u64).sum();
    Ok(Checkpoint { config, files: files.len(), bytes })
}

/// The configuration and the place of every tensor of the model.
fn open(folder: &Path) -> Result<(ModelConfig, Vec<Found>), LoadError> {
    let path = folder.join(CONFIG);
    let file: config::File = parse(&path, &read_text(&path)?)?;
    let config = file.into_config().map_err(|reason| malformed(&path, reason))?;
    config.validate().map_err(|source| LoadError::Config { path, source })?;
    let mut wanted: BTreeMap<String, ParameterSpec> =
        config.parameters().into_iter().map(|spec| (spec.name.clone(), spec)).collect();
    let mut found = Vec::with_capacity(wanted.len());
    for name in files(folder)? {
        found.extend(Shard::open(folder.join(name))?.into_tensors(&config, &mut wanted)?);
    }
    match wanted.pop_first() {
        Some((name, _)) => Err(LoadError::Missing { name }),
        None => Ok((config, found)),
    }
}

/// Names of the tensor files in a folder.
fn files(folder: &Path) -> Result<BTreeSet<String>, LoadError> {
    if folder.join(SINGLE).exists() {
        return Ok(BTreeSet::from([SINGLE.to_owned()]));
    }
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let path = folder.join(INDEX);
    let index: Index = parse(&path, &read_text(&path)?)?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    let plain = |name: &&String| !name.ends_with(".safetensors") || name.contains(['/', '\\', ':']);
    match names.iter().find(plain) {
        Some(name) => Err(malformed(&path, format!("it names {name:?}, which is not a plain .safetensors file name"))),
        None => Ok(names),
    }
}

fn read_text(path: &Path) -> Result<Vec<u8>, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(JSON_BYTES_MAX + 1).read_to_end(&mut text)).map_err(failed)?;
    if text.len() as u64 > JSON_BYTES_MAX {
        return Err(malformed(path, "it is far too long for a JSON text"));
    }
    Ok(text)
}

fn parse<T: for<'a> Deserialize<'a>>(path: &Path, text: &[u8]) -> Result<T, LoadError> {
    serde_json::from_slice(text).map_err(|error| malformed(path, error))
}

fn malformed(path: &Path, reason: impl std::fmt::Display) -> LoadError {
    LoadError::Malformed { path: path.to_owned(), reason: reason.to_string() }
}

/// One safetensors file whose header was read.
struct Shard {
    path: PathBuf,
    /// Where the tensors' bytes start.
    start: u64,
    /// How many there are.
    bytes: u64,
    header: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Entry {
    dtype: Kind,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

#[derive(Clone, Copy, Deserialize)]
enum Kind {
    F32,
    F16,
    BF16,
}

/// A tensor that was found in a file and fits.
struct Found {
    path: PathBuf,
    position: u64,
    kind: Kind,
    spec: ParameterSpec,
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Read { path: path.clone(), source };
        let mut file = File::open(&path).map_err(failed)?;
        let total = file.metadata().map_err(failed)?.len();
        let mut size = [0; 8];
        file.read_exact(&mut size).map_err(failed)?;
        let size = u64::from_le_bytes(size);
        if size > JSON_BYTES_MAX || size > total.saturating_sub(8) {
            return Err(malformed(&path, format!("its header claims {size} bytes")));
        }
        let mut text = vec![0; size as usize];
        file.read_exact(&mut text).map_err(failed)?;
        let mut header: BTreeMap<String, serde_json::Value> = parse(&path, &text)?;
        header.remove("__metadata__");
        Ok(Self { path, start: 8 + size, bytes: total.saturating_sub(8 + size), header })
    }

    /// The shard's tensors, each taken from those wanted.
    fn into_tensors(
        self,
        config: &ModelConfig,
        wanted: &mut BTreeMap<String, ParameterSpec>,
    ) -> Result<Vec<Found>, LoadError> {
        let mut tensors = Vec::new();
        let mut places = BTreeMap::new();
        for (name, value) in self.header {
            if is_redundant(&name, config) {
                continue;
            }
            let spec = wanted.remove(&name).ok_or_else(|| LoadError::Unexpected { name: name.clone() })?;
            let at = |error: serde_json::Error| malformed(&self.path, format!("tensor {name}: {error}"));
            let entry: Entry = serde_json::from_value(value).map_err(at)?;
            if entry.shape != spec.shape {
                return Err(LoadError::Shape { name, found: entry.shape, expected: spec.shape });
            }
            let [from, to] = entry.data_offsets;
            let len = (spec.len() * entry.dtype.size()) as u64;
            if to > self.bytes || from.checked_add(len) != Some(to) {
                return Err(malformed(&self.path, format!("tensor {name} does not lie within it")));
            }
            let before = places.range(..to).next_back().is_some_and(|(_, end)| *end > from);
            if before || places.insert(from, to).is_some() {
                return Err(malformed(&self.path, format!("tensor {name} overlaps another")));
            }
            tensors.push(Found { path: self.path.clone(), position: self.start + from, kind: entry.dtype, spec });
        }
        Ok(tensors)
    }
}

/// Tensors that some writers add and that say nothing new.
fn is_redundant(name: &str, config: &ModelConfig) -> bool {
    name.ends_with("rotary_emb.inv_freq") || (config.tied && name == "lm_head.weight")
}

impl Kind {
    fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    fn convert(self, values: &mut [f32], bytes: &[u8]) {
        let pairs = || bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        match self {
            Self::F32 => {
                let quads = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                values.iter_mut().zip(quads).for_each(|(to, from)| *to = from);
            }
            Self::F16 => values.iter_mut().zip(pairs()).for_each(|(to, bits)| *to = half::f16::from_bits(bits).into()),
            Self::BF16 => {
                values.iter_mut().zip(pairs()).for_each(|(to, bits)| *to = half::bf16::from_bits(bits).into())
            }
        }
    }
}

impl Found {
    fn read(self, parameters: &mut [f32]) -> Result<(), LoadError> {
        let failed = |source| LoadError::Read { path: self.path.clone(), source };
        let mut file = File::open(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(self.position)).map_err(failed)?;
        let mut bytes = vec![0; BLOCK * self.kind.size()];
        for block in parameters[self.spec.range()].chunks_mut(BLOCK) {
            let bytes = &mut bytes[..block.len() * self.kind.size()];
            file.read_exact(bytes).map_err(failed)?;
            self.kind.convert(block, bytes);
            if block.iter().any(|value| !value.is_finite()) {
                return Err(LoadError::NotFinite { name: self.spec.name });
            }
        }
        Ok(())
    }
}
