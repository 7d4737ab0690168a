use crate::index::{DatasetIndex, IndexError, TOKENIZER_FILE, TokenizerEntry, hex};
use crate::shard::{Shard, ShardError};
use crate::{Tokenizer, TokenizerError};
use std::path::{Path, PathBuf};

/// A prepared dataset on disk, verified, and read by position.
///
/// Sample `i` of context length `T` is the tokens `i*T ..= i*T + T` of the stream: `T` inputs and, one later, `T` targets.
#[derive(Debug)]
pub struct Dataset {
    folder: PathBuf,
    index: DatasetIndex,
    tokenizer: Tokenizer,
    training: Stream,
    heldout: Stream,
}

impl Dataset {
    /// Opens the dataset in `folder` and verifies the digest of every file of it.
    ///
    /// # Errors
    /// If there is no dataset, if it was written by a newer version, or if a file is missing or was changed.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let index = DatasetIndex::read(folder).map_err(|error| OpenError::of_index(folder, error))?;
        let shard = |entry| {
            Shard::open(folder, entry, index.token_bytes, index.vocab)
                .map_err(|error| OpenError::of_shard(folder.join(&entry.file), error))
        };
        let training = Stream::new(index.shards.iter().map(shard).collect::<Result<_, _>>()?);
        let heldout = Stream::new(vec![shard(&index.heldout)?]);
        let tokenizer = open_tokenizer(folder, &index)?;
        Ok(Self { folder: folder.to_owned(), index, tokenizer, training, heldout })
    }

    /// The folder it was opened from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What `index.json` says.
    pub fn index(&self) -> &DatasetIndex {
        &self.index
    }

    /// The dataset's identity: [`DatasetIndex::digest`].
    pub fn digest(&self) -> [u8; 32] {
        self.index.digest()
    }

    /// The tokenizer that made it.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Number of training samples of `context` inputs each.
    pub fn samples(&self, context: usize) -> u64 {
        self.training.samples(context)
    }

    /// Training sample `index`: `context + 1` tokens.
    ///
    /// # Errors
    /// If there is no such sample, or if a shard cannot be read any more.
    pub fn sample(&self, context: usize, index: u64) -> Result<Vec<u32>, SampleError> {
        self.training.sample(context, index)
    }

    /// The training samples `indices`, one after the other: `indices.len() * (context + 1)` tokens.
    ///
    /// # Errors
    /// As [`Dataset::sample`].
    pub fn batch(&self, context: usize, indices: &[u64]) -> Result<Vec<u32>, SampleError> {
        let mut batch = Vec::new();
        for &index in indices {
            batch.extend(self.training.sample(context, index)?);
        }
        Ok(batch)
    }

    /// Number of held-out samples of `context` inputs each.
    pub fn heldout_samples(&self, context: usize) -> u64 {
        self.heldout.samples(context)
    }

    /// At most `count` held-out samples, spread evenly over the held-out text, one after the other: a multiple of
    /// `context + 1` tokens. The same call gives the same samples on every node.
    ///
    /// # Errors
    /// If there is no held-out sample of this length, or if the shard cannot be read any more.
    pub fn heldout(&self, context: usize, count: usize) -> Result<Vec<u32>, SampleError> {
        let samples = self.heldout.samples(context);
        let count = (count as u64).min(samples);
        if samples == 0 {
            return Err(SampleError::OutOfRange { index: 0, samples });
        }
        let mut batch = Vec::new();
        for number in 0..count {
            // Both factors are far below 2^48 tokens, and the count is bounded by the samples: 128 bits never overflow.
            let index = u128::from(number) * u128::from(samples) / u128::from(count);
            batch.extend(self.heldout.sample(context, u64::try_from(index).unwrap_or(u64::MAX))?);
        }
        Ok(batch)
    }
}

fn open_tokenizer(folder: &Path, index: &DatasetIndex) -> Result<Tokenizer, OpenError> {
    let TokenizerEntry::File { digest } = &index.tokenizer else {
        return Ok(Tokenizer::Bytes);
    };
    let path = folder.join(TOKENIZER_FILE);
    let tokenizer = Tokenizer::open(&path)?;
    match &tokenizer {
        Tokenizer::File(file) if hex(&file.digest()) == *digest => Ok(tokenizer),
        _ => Err(OpenError::Corrupt { path, reason: "its digest is wrong".to_owned() }),
    }
}

/// Shards as one stream of tokens.
#[derive(Debug)]
struct Stream {
    /// Each shard with the position of its first token.
    shards: Vec<(u64, Shard)>,
    tokens: u64,
}

impl Stream {
    fn new(shards: Vec<Shard>) -> Self {
        let mut tokens = 0_u64;
        let mut placed = Vec::with_capacity(shards.len());
        for shard in shards {
            let start = tokens;
            tokens = tokens.saturating_add(shard.tokens());
            placed.push((start, shard));
        }
        Self { shards: placed, tokens }
    }

    fn samples(&self, context: usize) -> u64 {
        self.tokens.saturating_sub(1).checked_div(context as u64).unwrap_or(0)
    }

    fn sample(&self, context: usize, index: u64) -> Result<Vec<u32>, SampleError> {
        let samples = self.samples(context);
        if index >= samples {
            return Err(SampleError::OutOfRange { index, samples });
        }
        let (mut start, wanted) = (index * context as u64, context + 1);
        let mut tokens = Vec::with_capacity(wanted);
        let first = self.shards.partition_point(|(begin, _)| *begin <= start).saturating_sub(1);
        for (begin, shard) in &self.shards[first..] {
            let inside = start - begin;
            let here = (shard.tokens() - inside).min((wanted - tokens.len()) as u64);
            shard.read(inside, here as usize, &mut tokens).map_err(|source| SampleError::Read { source })?;
            start += here;
            if tokens.len() == wanted {
                break;
            }
        }
        Ok(tokens)
    }
}

/// Why a dataset could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no dataset in the folder.
    #[error("there is no dataset in {}: prepare one there first", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// The dataset is of a newer format.
    #[error("the dataset in {} has format {version}, which is newer than this program: update the program", folder.display())]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A file of the dataset is missing or not what it was.
    #[error("{} is corrupt ({reason}): prepare the dataset again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file of the dataset could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The dataset's tokenizer was not accepted.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl OpenError {
    fn of_index(folder: &Path, error: IndexError) -> Self {
        let path = folder.join(crate::index::INDEX_FILE);
        match error {
            IndexError::Io(source) if source.kind() == std::io::ErrorKind::NotFound => {
                Self::Missing { folder: folder.to_owned() }
            }
            IndexError::Io(source) => Self::Read { path, source },
            IndexError::Newer(version) => Self::Newer { folder: folder.to_owned(), version },
            IndexError::Malformed(reason) => Self::Corrupt { path, reason },
        }
    }

    fn of_shard(path: PathBuf, error: ShardError) -> Self {
        match error {
            ShardError::Io(source) if source.kind() == std::io::ErrorKind::NotFound => {
                Self::Corrupt { path, reason: "the file is missing".to_owned() }
            }
            ShardError::Io(source) => Self::Read { path, source },
            ShardError::Corrupt(reason) => Self::Corrupt { path, reason: reason.to_owned() },
        }
    }
}

/// Why a sample could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// There is no such sample.
    #[error("sample {index} is outside the dataset, which has {samples} of this length")]
    OutOfRange {
        /// The sample that was asked for.
        index: u64,
        /// Number of samples.
        samples: u64,
    },
    /// The shard cannot be read any more.
    #[error("cannot read a shard of the dataset: {source}")]
    Read {
        /// What the system said.
        source: std::io::Error,
    },
}
