use crate::Tokenizer;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What `index.json` says: which shards form the dataset, and how the text became tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetIndex {
    /// Version of the format, [`INDEX_VERSION`].
    pub version: u32,
    /// How the text became tokens.
    pub tokenizer: TokenizerEntry,
    /// Number of token ids: each token is below it.
    pub vocab: u32,
    /// The id that ends every document.
    pub end_of_text: u32,
    /// Bytes of one token in the shards: 2 or 4.
    pub token_bytes: u8,
    /// The training tokens, in order.
    pub shards: Vec<ShardEntry>,
    /// The tokens that are never trained on.
    pub heldout: ShardEntry,
    /// Where the text came from; not part of the digest.
    pub source: SourceSummary,
}

/// The tokenizer of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum TokenizerEntry {
    /// The byte-level tokenizer.
    Bytes,
    /// A `tokenizer.json` that lies beside the index.
    File {
        /// BLAKE3 of the file, 64 hexadecimal digits.
        digest: String,
    },
}

/// One file of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// Name inside the dataset's folder.
    pub file: String,
    /// Number of tokens.
    pub tokens: u64,
    /// BLAKE3 of the whole file, 64 hexadecimal digits.
    pub digest: String,
}

/// Where the text came from, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SourceSummary {
    /// Names of the inputs, without their folders.
    pub inputs: Vec<String>,
    /// Number of documents.
    pub documents: u64,
    /// Bytes of text.
    pub bytes: u64,
    /// Files that were left out.
    pub skipped: u64,
}

/// Version of `index.json` that this crate writes, and the newest that it reads.
pub const INDEX_VERSION: u32 = 1;

pub(crate) const INDEX_FILE: &str = "index.json";
pub(crate) const TOKENIZER_FILE: &str = "tokenizer.json";
const INDEX_BYTES_MAX: u64 = 256 << 20;

impl DatasetIndex {
    /// BLAKE3 over what decides the training samples: the tokenizer, the ids, and every shard's digest and length. Names
    /// of files and the description of the source do not change it.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("pactum-data 1 dataset index");
        let tokenizer = match &self.tokenizer {
            TokenizerEntry::Bytes => "bytes",
            TokenizerEntry::File { digest } => digest,
        };
        hasher.update(&self.version.to_le_bytes());
        hasher.update(&(tokenizer.len() as u64).to_le_bytes()).update(tokenizer.as_bytes());
        hasher.update(&self.vocab.to_le_bytes()).update(&self.end_of_text.to_le_bytes()).update(&[self.token_bytes]);
        hasher.update(&(self.shards.len() as u64).to_le_bytes());
        for shard in self.shards.iter().chain([&self.heldout]) {
            hasher.update(&shard.tokens.to_le_bytes()).update(shard.digest.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// Training tokens in all shards.
    pub fn tokens(&self) -> u64 {
        self.shards.iter().fold(0, |sum, shard| sum.saturating_add(shard.tokens))
    }

    /// Reads and validates `index.json` in `folder`, without opening the shards.
    pub(crate) fn read(folder: &Path) -> Result<Self, IndexError> {
        let path = folder.join(INDEX_FILE);
        if std::fs::metadata(&path)?.len() > INDEX_BYTES_MAX {
            return Err(IndexError::Malformed("the file is too large".to_owned()));
        }
        let text = std::fs::read(&path)?;
        let malformed = |error: serde_json::Error| IndexError::Malformed(error.to_string());
        let version: VersionOnly = serde_json::from_slice(&text).map_err(malformed)?;
        if version.version > INDEX_VERSION {
            return Err(IndexError::Newer(version.version));
        }
        let index: Self = serde_json::from_slice(&text).map_err(malformed)?;
        index.validate().map_err(|reason| IndexError::Malformed(reason.to_owned()))?;
        Ok(index)
    }

    fn validate(&self) -> Result<(), &'static str> {
        let fits = match self.token_bytes {
            2 => self.vocab <= 1 << 16,
            4 => true,
            _ => return Err("token_bytes must be 2 or 4"),
        };
        if !fits || self.vocab < 2 || self.end_of_text >= self.vocab {
            return Err("vocab, end_of_text and token_bytes do not fit together");
        }
        if self.shards.is_empty() {
            return Err("there is no shard");
        }
        if self.shards.iter().chain([&self.heldout]).any(|shard| !shard.is_plain()) {
            return Err("a shard has a bad name, length or digest");
        }
        Ok(())
    }
}

impl TokenizerEntry {
    pub(crate) fn of(tokenizer: &Tokenizer) -> Self {
        match tokenizer {
            Tokenizer::Bytes => Self::Bytes,
            Tokenizer::File(file) => Self::File { digest: hex(&file.digest()) },
        }
    }
}

impl ShardEntry {
    /// A name that cannot leave the folder, a length whose bytes and sums fit, and a digest in canonical form (upper-case
    /// digits would give the same dataset a second digest).
    fn is_plain(&self) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let named = !self.file.starts_with('.') && !self.file.is_empty() && self.file.bytes().all(plain);
        let canonical = blake3::Hash::from_hex(&self.digest).is_ok_and(|digest| hex(digest.as_bytes()) == self.digest);
        named && canonical && (1..1 << 48).contains(&self.tokens)
    }
}

pub(crate) fn hex(digest: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*digest).to_hex().to_string()
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

/// Why an index was not accepted.
#[derive(Debug)]
pub(crate) enum IndexError {
    Io(std::io::Error),
    Newer(u32),
    Malformed(String),
}

impl From<std::io::Error> for IndexError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn index() -> DatasetIndex {
        let shard = |name: &str| ShardEntry { file: name.to_owned(), tokens: 100, digest: hex(&[3; 32]) };
        DatasetIndex {
            version: INDEX_VERSION,
            tokenizer: TokenizerEntry::Bytes,
            vocab: 256,
            end_of_text: 0,
            token_bytes: 2,
            shards: vec![shard("a.shard"), shard("b.shard")],
            heldout: shard("h.shard"),
            source: SourceSummary::default(),
        }
    }

    #[test]
    fn digest_covers_what_matters() {
        let base = index();
        let changed = |change: fn(&mut DatasetIndex)| {
            let mut index = index();
            change(&mut index);
            index.digest()
        };
        assert_eq!(changed(|i| i.source.documents = 7), base.digest());
        assert_eq!(changed(|i| i.shards[0].file = "other".to_owned()), base.digest());
        let different = [
            changed(|i| i.vocab = 300),
            changed(|i| i.end_of_text = 1),
            changed(|i| i.token_bytes = 4),
            changed(|i| i.shards[1].tokens = 101),
            changed(|i| i.shards[0].digest = hex(&[4; 32])),
            changed(|i| i.heldout.digest = hex(&[4; 32])),
            changed(|i| i.shards.truncate(1)),
            changed(|i| i.tokenizer = TokenizerEntry::File { digest: hex(&[1; 32]) }),
        ];
        let all: std::collections::BTreeSet<_> = different.iter().chain([&base.digest()]).copied().collect();
        assert_eq!(all.len(), different.len() + 1);
        assert_eq!(hex(&base.digest()), GOLDEN, "the digest stands in every header: changing it forks a run");
    }

    const GOLDEN: &str = "157b969640a4f45a056e117aef3072894e80494a432c778af711f7cb7afe5f87";

    #[test]
    fn hostile_entries_are_refused() {
        let refused = |change: fn(&mut DatasetIndex)| {
            let mut index = index();
            change(&mut index);
            assert!(index.validate().is_err(), "{index:?}");
        };
        assert_eq!(index().validate(), Ok(()));
        refused(|i| i.shards[0].file = "../secret".to_owned());
        refused(|i| i.shards[0].file = "/etc/passwd".to_owned());
        refused(|i| i.heldout.file = String::new());
        refused(|i| i.shards[0].digest = "abc".to_owned());
        refused(|i| i.shards[0].digest = hex(&[0xab; 32]).to_uppercase());
        refused(|i| i.shards[0].tokens = 0);
        refused(|i| i.shards[0].tokens = u64::MAX);
        refused(|i| i.shards.clear());
        refused(|i| i.token_bytes = 3);
        refused(|i| i.vocab = 1 << 20);
        refused(|i| i.end_of_text = 256);
    }
}
