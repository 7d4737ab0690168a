use crate::Tokenizer;
use crate::index::{
    DatasetIndex, INDEX_FILE, INDEX_VERSION, ShardEntry, SourceSummary, TOKENIZER_FILE, TokenizerEntry,
};
use crate::shard::{self, SHARD_EXTENSION, ShardWriter};
use crate::source::{SkipReason, Skipped, list_files};
use crate::text::{TextBlocks, TextError};
use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

mod error;
pub use error::PrepareError;

/// How text becomes a dataset.
#[derive(Debug, Clone)]
pub struct PrepareOptions {
    /// How text becomes tokens.
    pub tokenizer: Tokenizer,
    /// Bytes of text to read at most, after decompression; what lies beyond is left out.
    pub bytes_max: u64,
    /// Part of the tokens that is never trained on, above 0 and below 0.5.
    pub heldout_fraction: f64,
    /// The longest context, in tokens, that samples will be taken with.
    pub context: usize,
    /// Tokens in one shard.
    pub shard_tokens: u64,
}

impl Default for PrepareOptions {
    /// Bytes as tokens, at most 16 GiB of text, one part in fifty held out, context 64, shards of 16 Mi tokens.
    fn default() -> Self {
        Self {
            tokenizer: Tokenizer::Bytes,
            bytes_max: 16 << 30,
            heldout_fraction: 0.02,
            context: 64,
            shard_tokens: 1 << 24,
        }
    }
}

/// What [`prepare`] made, and what it left out.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The index that was written.
    pub index: DatasetIndex,
    /// Files that gave no document.
    pub skipped: Vec<Skipped>,
    /// Whether text was left out because of `bytes_max`.
    pub truncated: bool,
}

/// How far [`prepare`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Files looked at.
    pub files_done: u64,
    /// Files in all.
    pub files: u64,
    /// Bytes of text read.
    pub bytes: u64,
    /// Tokens made (while reading) or written (while writing).
    pub tokens: u64,
}

/// The two phases of [`prepare`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Text is read and becomes tokens.
    Reading,
    /// The tokens are cut into shards.
    Writing,
}

/// Tells how far the preparation is, and asks whether to go on.
struct Pace<'a> {
    progress: &'a mut dyn FnMut(Progress) -> bool,
    now: Progress,
}

impl<'a> Pace<'a> {
    fn new(progress: &'a mut dyn FnMut(Progress) -> bool, files: usize) -> Self {
        let now = Progress { phase: Phase::Reading, files_done: 0, files: files as u64, bytes: 0, tokens: 0 };
        Self { progress, now }
    }

    fn tell(&mut self, bytes: u64, tokens: u64) -> Result<(), PrepareError> {
        self.now = Progress { bytes, tokens, ..self.now };
        if (self.progress)(self.now) { Ok(()) } else { Err(PrepareError::Stopped) }
    }
}

/// Makes a dataset in the folder `out` from `inputs`: files, or folders with all text files below them; `.gz` files are
/// decompressed. Files that are no text, or whose text came before, are left out and reported.
///
/// The same text in the same order gives the same bytes, whatever the folders are called. An older dataset in `out`
/// is replaced at one point, when the new one is complete. `progress` is told after each block of text, and ends the
/// preparation by `false`.
///
/// # Errors
/// If an input is missing, changes meanwhile or gives nothing, if the text is too short, if `out` cannot be written, or
/// [`PrepareError::Stopped`].
pub fn prepare(
    inputs: &[PathBuf],
    out: &Path,
    options: &PrepareOptions,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Prepared, PrepareError> {
    options.validate()?;
    std::fs::create_dir_all(out).map_err(|source| PrepareError::Write { path: out.to_owned(), source })?;
    let mut skipped = Vec::new();
    let files = list_files(inputs, out, &mut skipped)?;
    let mut staging = Staging::create(out, options)?;
    let truncated = staging.read_all(&files, &mut skipped, &mut Pace::new(progress, files.len()))?;
    if staging.summary.documents == 0 {
        return Err(PrepareError::nothing(files.len(), &skipped));
    }
    staging.summary.inputs = inputs.iter().map(|path| name_of(path)).collect();
    staging.summary.skipped = skipped.len() as u64;
    let documents = staging.summary.documents as usize;
    let index = staging.cut(&mut Pace::new(progress, documents))?;
    Ok(Prepared { index, skipped, truncated })
}

impl PrepareOptions {
    fn validate(&self) -> Result<(), PrepareError> {
        let wrong = |reason| Err(PrepareError::Option { reason });
        if !(self.heldout_fraction > 0.0 && self.heldout_fraction < 0.5) {
            return wrong("the held-out fraction must be above 0 and below 0.5");
        }
        if self.context == 0 || self.context > 1 << 24 {
            return wrong("the context must be between 1 and 16777216 tokens");
        }
        if self.shard_tokens == 0 || self.shard_tokens > 1 << 40 {
            return wrong("a shard must hold between 1 and 2^40 tokens");
        }
        if self.bytes_max == 0 {
            return wrong("the bound on bytes must be at least 1");
        }
        Ok(())
    }
}

/// All tokens in one file, before the total is known and the held-out pieces can be placed.
struct Staging<'a> {
    out: &'a Path,
    options: &'a PrepareOptions,
    path: PathBuf,
    file: BufWriter<File>,
    tokens: u64,
    summary: SourceSummary,
    seen: BTreeSet<[u8; 32]>,
}

impl<'a> Staging<'a> {
    /// The lock on the staging file keeps a second preparation out of the folder, and ends with the process.
    fn create(out: &'a Path, options: &'a PrepareOptions) -> Result<Self, PrepareError> {
        let path = out.join("staging.partial");
        let write = |source| PrepareError::Write { path: path.clone(), source };
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(write)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PrepareError::Busy { folder: out.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(write(source)),
        }
        file.set_len(0).map_err(write)?;
        let file = BufWriter::with_capacity(1 << 16, file);
        let (summary, seen) = (SourceSummary::default(), BTreeSet::new());
        Ok(Self { out, options, path, file, tokens: 0, summary, seen })
    }

    /// Returns whether the bound on bytes ended the reading.
    fn read_all(
        &mut self,
        files: &[PathBuf],
        skipped: &mut Vec<Skipped>,
        pace: &mut Pace<'_>,
    ) -> Result<bool, PrepareError> {
        for (number, path) in files.iter().enumerate() {
            if self.summary.bytes >= self.options.bytes_max {
                return Ok(true);
            }
            if let Some(reason) = self.read_document(path, pace)? {
                skipped.push(Skipped { path: path.clone(), reason });
            }
            pace.now.files_done = number as u64 + 1;
            pace.tell(self.summary.bytes, self.tokens)?;
        }
        Ok(self.summary.bytes >= self.options.bytes_max)
    }

    /// Reads a file twice: first to learn whether it is text and new, then for its tokens. So nothing of a file that turns
    /// out binary at its end gets in, and no file is held in memory.
    fn read_document(&mut self, path: &Path, pace: &mut Pace<'_>) -> Result<Option<SkipReason>, PrepareError> {
        let bytes_max = self.options.bytes_max - self.summary.bytes;
        let seen = match inspect(path, bytes_max, &mut |_| pace.tell(self.summary.bytes, self.tokens))? {
            Ok(seen) => seen,
            Err(TextError::NotText) => return Ok(Some(SkipReason::Binary)),
            Err(TextError::Io(error)) => return Ok(Some(SkipReason::Unreadable(error.to_string()))),
        };
        if seen.bytes == 0 {
            return Ok(Some(SkipReason::Empty));
        }
        if !self.seen.insert(seen.digest) {
            return Ok(Some(SkipReason::Duplicate));
        }
        let again = inspect(path, bytes_max, &mut |block| {
            let tokens = self.options.tokenizer.encode(block);
            self.push(&tokens.map_err(|source| PrepareError::Encode { path: path.to_owned(), source })?)?;
            self.summary.bytes += block.len() as u64;
            pace.tell(self.summary.bytes, self.tokens)
        })?;
        if again.ok() != Some(seen) {
            return Err(PrepareError::Changed { path: path.to_owned() });
        }
        self.push(&[self.options.tokenizer.end_of_text()])?;
        self.summary.documents += 1;
        Ok(None)
    }

    fn push(&mut self, tokens: &[u32]) -> Result<(), PrepareError> {
        let mut bytes = Vec::with_capacity(tokens.len() * 4);
        shard::encode(tokens, shard::token_bytes(self.options.tokenizer.vocab()), &mut bytes);
        self.tokens += tokens.len() as u64;
        self.file.write_all(&bytes).map_err(|source| PrepareError::Write { path: self.path.clone(), source })
    }

    /// Cuts the staged tokens into training shards and the held-out shard, and writes the index as the last thing.
    fn cut(mut self, pace: &mut Pace<'_>) -> Result<DatasetIndex, PrepareError> {
        let pieces = heldout_pieces(self.tokens, self.options)?;
        let (shards, mut heldout) = self.write_shards(&pieces, pace)?;
        let tokenizer = &self.options.tokenizer;
        let index = DatasetIndex {
            version: INDEX_VERSION,
            tokenizer: TokenizerEntry::of(tokenizer),
            vocab: tokenizer.vocab(),
            end_of_text: tokenizer.end_of_text(),
            token_bytes: shard::token_bytes(tokenizer.vocab()),
            shards,
            heldout: heldout.pop().ok_or_else(|| PrepareError::too_short(self.tokens, self.options.context))?,
            source: std::mem::take(&mut self.summary),
        };
        if let Tokenizer::File(file) = tokenizer {
            write_atomically(&self.out.join(TOKENIZER_FILE), file.json())?;
        }
        let json = serde_json::to_vec_pretty(&index)
            .map_err(|error| PrepareError::Write { path: self.out.join(INDEX_FILE), source: error.into() })?;
        write_atomically(&self.out.join(INDEX_FILE), &json)?;
        remove_leftovers(self.out, &index);
        Ok(index)
    }

    fn write_shards(
        &mut self,
        pieces: &[Range<u64>],
        pace: &mut Pace<'_>,
    ) -> Result<(Vec<ShardEntry>, Vec<ShardEntry>), PrepareError> {
        let write = |source| PrepareError::Write { path: self.out.to_owned(), source };
        let (out, token_bytes) = (self.out, shard::token_bytes(self.options.tokenizer.vocab()));
        let held: u64 = pieces.iter().map(|piece| piece.end - piece.start).sum();
        let mut training = Cutter::new(out, TRAINING, token_bytes, self.options.shard_tokens, self.tokens - held);
        let mut heldout = Cutter::new(out, HELDOUT, token_bytes, held, held);
        self.file.flush().map_err(write)?;
        let mut reader = io::BufReader::with_capacity(1 << 16, self.file.get_ref());
        reader.rewind().map_err(write)?;
        let mut position = 0;
        pace.now = Progress { phase: Phase::Writing, files_done: self.summary.documents, ..pace.now };
        for piece in pieces {
            training.take(&mut reader, piece.start - position).map_err(write)?;
            heldout.take(&mut reader, piece.end - piece.start).map_err(write)?;
            position = piece.end;
            pace.tell(self.summary.bytes, position)?;
        }
        training.take(&mut reader, self.tokens - position).map_err(write)?;
        Ok((training.done, heldout.done))
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // A file that cannot be removed costs space only: the next preparation empties it.
        let _ = std::fs::remove_file(&self.path);
        for prefix in [TRAINING, HELDOUT] {
            let _ = std::fs::remove_file(self.out.join(format!("{prefix}.partial")));
        }
    }
}

/// How the names of shards begin.
const TRAINING: &str = "train";
const HELDOUT: &str = "heldout";

/// Spreads a stream of tokens over shards of fixed length.
struct Cutter<'a> {
    out: &'a Path,
    prefix: &'static str,
    token_bytes: u8,
    shard_tokens: u64,
    tokens_left: u64,
    current: Option<ShardWriter>,
    done: Vec<ShardEntry>,
}

impl<'a> Cutter<'a> {
    fn new(out: &'a Path, prefix: &'static str, token_bytes: u8, shard_tokens: u64, tokens_left: u64) -> Self {
        Self { out, prefix, token_bytes, shard_tokens, tokens_left, current: None, done: Vec::new() }
    }

    fn take(&mut self, reader: &mut impl Read, tokens: u64) -> io::Result<()> {
        let mut left = tokens * u64::from(self.token_bytes);
        let mut block = vec![0; 1 << 16];
        while left > 0 {
            let part = &mut block[..usize::try_from(left).unwrap_or(usize::MAX).min(1 << 16)];
            reader.read_exact(part)?;
            self.write(part)?;
            left -= part.len() as u64;
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut shard = match self.current.take() {
                Some(shard) => shard,
                None => self.next_shard()?,
            };
            bytes = shard.write(bytes)?;
            if shard.is_full() {
                self.done.push(shard.finish(&format!("{}-{:05}", self.prefix, self.done.len()))?);
            } else {
                self.current = Some(shard);
            }
        }
        Ok(())
    }

    fn next_shard(&mut self) -> io::Result<ShardWriter> {
        let tokens = self.shard_tokens.min(self.tokens_left);
        self.tokens_left -= tokens;
        ShardWriter::create(self.out.join(format!("{}.partial", self.prefix)), tokens, self.token_bytes)
    }
}

/// Pieces of the stream that are never trained on: contiguous, in equal distances, each long enough for a sample.
fn heldout_pieces(tokens: u64, options: &PrepareOptions) -> Result<Vec<Range<u64>>, PrepareError> {
    let sample = options.context as u64 + 1;
    let held = ((tokens as f64 * options.heldout_fraction).ceil() as u64).max(sample);
    if tokens < 2 * sample || tokens - held < sample {
        return Err(PrepareError::too_short(tokens, options.context));
    }
    let count = (held / sample.max(PIECE_TOKENS)).clamp(1, PIECES_MAX);
    let (distance, length) = (tokens / count, held / count);
    Ok((0..count)
        .map(|number| number * distance + (distance - length) / 2)
        .map(|start| start..start + length)
        .collect())
}

/// Shorter pieces would be mostly edges, where a training sample ends in the middle of the held-out text's sentence.
const PIECE_TOKENS: u64 = 1024;
const PIECES_MAX: u64 = 256;

/// What a file's text was when it was read.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    digest: [u8; 32],
    bytes: u64,
}

/// Reads a file's text and shows each block to `each`; the inner error says why the file gives none.
fn inspect(
    path: &Path,
    bytes_max: u64,
    each: &mut dyn FnMut(&str) -> Result<(), PrepareError>,
) -> Result<Result<Seen, TextError>, PrepareError> {
    let mut blocks = match TextBlocks::open(path, bytes_max) {
        Ok(blocks) => blocks,
        Err(error) => return Ok(Err(error.into())),
    };
    let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
    loop {
        match blocks.next_block() {
            Ok(Some(block)) => {
                each(&block)?;
                hasher.update(block.as_bytes());
                bytes += block.len() as u64;
            }
            Ok(None) => return Ok(Ok(Seen { digest: *hasher.finalize().as_bytes(), bytes })),
            Err(error) => return Ok(Err(error)),
        }
    }
}

fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), PrepareError> {
    let partial = path.with_extension("json.partial");
    let written = (|| {
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)
    })();
    written.map_err(|source| PrepareError::Write { path: path.to_owned(), source })
}

/// Removes the shards of an older dataset. One that cannot be removed costs space only.
fn remove_leftovers(out: &Path, index: &DatasetIndex) {
    let kept: BTreeSet<&str> = index.shards.iter().chain([&index.heldout]).map(|shard| shard.file.as_str()).collect();
    for entry in std::fs::read_dir(out).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_shard = path.extension().is_some_and(|extension| extension == SHARD_EXTENSION);
        if is_shard && !kept.contains(name_of(&path).as_str()) {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
