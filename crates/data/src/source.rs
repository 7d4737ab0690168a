use crate::index::{INDEX_FILE, TOKENIZER_FILE};
use crate::prepare::PrepareError;
use crate::shard::SHARD_EXTENSION;
use std::fmt;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// A file that gave no document, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// Why it was left out.
    pub reason: SkipReason,
}

/// Why a file gave no document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// It holds NUL bytes or is not UTF-8.
    Binary,
    /// It holds no text.
    Empty,
    /// An earlier file has the same text. (Else a held-out text could be trained on through its twin.)
    Duplicate,
    /// It could not be read or decompressed.
    Unreadable(String),
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary => f.write_str("not UTF-8 text"),
            Self::Empty => f.write_str("empty"),
            Self::Duplicate => f.write_str("same text as an earlier file"),
            Self::Unreadable(reason) => write!(f, "unreadable: {reason}"),
        }
    }
}

/// The files below `inputs`: the inputs in the given order, each folder in the order of its names, without hidden entries
/// and without following links inside it. So the order depends on no absolute path. What a dataset in `out` consists of is
/// no text to make it from, wherever `out` lies.
pub(crate) fn list_files(
    inputs: &[PathBuf],
    out: &Path,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<PathBuf>, PrepareError> {
    let mut files = Vec::new();
    let out = out.canonicalize().map_err(|source| PrepareError::Write { path: out.to_owned(), source })?;
    for input in inputs {
        let found = std::fs::metadata(input);
        let kind = found.map_err(|source| PrepareError::Input { path: input.clone(), source })?;
        if kind.is_dir() {
            list_folder(input, &out, &mut files, skipped);
        } else if kind.is_file() {
            files.push(input.clone());
        } else {
            return Err(PrepareError::Pipe { path: input.clone() });
        }
    }
    Ok(files)
}

fn list_folder(folder: &Path, out: &Path, files: &mut Vec<PathBuf>, skipped: &mut Vec<Skipped>) {
    let visible =
        |entry: &walkdir::DirEntry| entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b".");
    for entry in WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(visible) {
        match entry {
            Ok(entry) if entry.file_type().is_file() && !is_of_dataset(entry.path(), out) => {
                files.push(entry.into_path());
            }
            Ok(_) => {}
            Err(error) => skipped.push(Skipped {
                path: error.path().unwrap_or(folder).to_owned(),
                reason: SkipReason::Unreadable(error.to_string()),
            }),
        }
    }
}

/// Whether a file is one that a preparation leaves in `out`, a canonical path.
fn is_of_dataset(file: &Path, out: &Path) -> bool {
    let named = [INDEX_FILE, TOKENIZER_FILE].iter().any(|name| file.ends_with(name));
    let ends = |end: &str| file.extension().is_some_and(|extension| extension == end);
    let candidate = named || ends(SHARD_EXTENSION) || ends("partial");
    candidate && file.parent().and_then(|parent| parent.canonicalize().ok()).is_some_and(|parent| parent == out)
}
