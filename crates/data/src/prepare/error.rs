use crate::EncodeError;
use crate::source::Skipped;
use std::io;
use std::path::PathBuf;

/// Why a dataset could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// An option is out of range.
    #[error("{reason}")]
    Option {
        /// Which one, and its range.
        reason: &'static str,
    },
    /// An input is missing or cannot be looked at.
    #[error("cannot open {}: {source}; name an existing file or folder", path.display())]
    Input {
        /// The input.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No input holds text.
    #[error("none of the {files} files found is usable text{first}; name files of UTF-8 text or gzip of it")]
    NothingUsable {
        /// Files that were found.
        files: usize,
        /// The first that was left out and why, or nothing.
        first: String,
    },
    /// The text is shorter than one training and one held-out sample.
    #[error(
        "the text has {tokens} tokens, but a context of {context} needs at least {needed}: add text or choose a shorter context"
    )]
    TooShort {
        /// Tokens found.
        tokens: u64,
        /// The context asked for.
        context: usize,
        /// Tokens that suffice.
        needed: u64,
    },
    /// A file was changed while it was read.
    #[error("{} changed while it was read: try again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// An input is a pipe or a device, which can be read only once.
    #[error("{} is a pipe or a device, and text is read twice: write it to a file first", path.display())]
    Pipe {
        /// The input.
        path: PathBuf,
    },
    /// The caller did not want to go on.
    #[error("stopped before the dataset was complete; an older one in its folder is as it was")]
    Stopped,
    /// The tokenizer cannot encode a file.
    #[error("cannot encode {}: {source}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// What the tokenizer said.
        source: EncodeError,
    },
    /// Another process prepares a dataset in the folder.
    #[error("another process is preparing a dataset in {}: wait for it or choose another folder", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// The dataset could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl PrepareError {
    pub(super) fn nothing(files: usize, skipped: &[Skipped]) -> Self {
        let first = skipped.first().map(|file| format!(" ({}: {})", file.path.display(), file.reason));
        Self::NothingUsable { files, first: first.unwrap_or_default() }
    }

    pub(super) fn too_short(tokens: u64, context: usize) -> Self {
        Self::TooShort { tokens, context, needed: 2 * (context as u64 + 1) }
    }
}
