use std::fmt;
use std::path::{Path, PathBuf};

/// Text to token ids and back.
#[derive(Clone, Debug, Default)]
pub enum Tokenizer {
    /// Every byte of the UTF-8 text is a token: 256 ids, and byte 0 (which never stands in text) is the end of text.
    #[default]
    Bytes,
    /// A `tokenizer.json` in the format of Hugging Face.
    File(Box<FileTokenizer>),
}

impl Tokenizer {
    /// Reads a `tokenizer.json` file.
    ///
    /// # Errors
    /// If the file cannot be read or understood, or names no end-of-text token.
    pub fn open(path: &Path) -> Result<Self, TokenizerError> {
        let read = |source| TokenizerError::Read { path: path.to_owned(), source };
        let length = std::fs::metadata(path).map_err(read)?.len();
        if length > FILE_BYTES_MAX {
            return Err(TokenizerError::TooLarge { path: path.to_owned(), bytes: length, bytes_max: FILE_BYTES_MAX });
        }
        let json = std::fs::read(path).map_err(read)?;
        FileTokenizer::parse(path, json).map(|file| Self::File(Box::new(file)))
    }

    /// Token ids of `text`, without any token of beginning or end. Names of special tokens that happen to stand in the
    /// text are ordinary text, so that a document cannot forge the end of text.
    ///
    /// # Errors
    /// If the tokenizer file has no rule for the text. The byte tokenizer never fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, EncodeError> {
        match self {
            Self::Bytes => Ok(text.bytes().map(u32::from).collect()),
            Self::File(file) => {
                let encoding = file.inner.encode_fast(text, false);
                encoding
                    .map(|found| found.get_ids().to_vec())
                    .map_err(|error| EncodeError { reason: error.to_string() })
            }
        }
    }

    /// The text of `ids`. Ids that stand for no text are left out, and bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        match self {
            Self::Bytes => {
                let bytes: Vec<u8> =
                    ids.iter().filter_map(|&id| u8::try_from(id).ok()).filter(|&byte| byte != 0).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            Self::File(file) => file.inner.decode(ids, true).unwrap_or_default(),
        }
    }

    /// Number of ids: each id is below it.
    pub fn vocab(&self) -> u32 {
        match self {
            Self::Bytes => 256,
            Self::File(file) => file.vocab,
        }
    }

    /// The id that ends every document. It is a training target like any other.
    pub fn end_of_text(&self) -> u32 {
        match self {
            Self::Bytes => 0,
            Self::File(file) => file.end_of_text,
        }
    }
}

/// A tokenizer that was read from a `tokenizer.json` file.
#[derive(Clone)]
pub struct FileTokenizer {
    inner: tokenizers::Tokenizer,
    json: Vec<u8>,
    vocab: u32,
    end_of_text: u32,
}

impl FileTokenizer {
    fn parse(path: &Path, json: Vec<u8>) -> Result<Self, TokenizerError> {
        let mut inner = tokenizers::Tokenizer::from_bytes(&json)
            .map_err(|error| TokenizerError::Malformed { path: path.to_owned(), reason: error.to_string() })?;
        inner.set_encode_special_tokens(true);
        // Ids may have gaps, so that the number of words is not the bound of the ids.
        let vocab = inner.get_vocab(true).values().max().map_or(0, |&id| id.saturating_add(1));
        let end_of_text = END_OF_TEXT
            .iter()
            .find_map(|name| inner.token_to_id(name))
            .ok_or_else(|| TokenizerError::NoEndOfText { path: path.to_owned() })?;
        Ok(Self { inner, json, vocab, end_of_text })
    }

    /// BLAKE3 of the file.
    pub fn digest(&self) -> [u8; 32] {
        *blake3::hash(&self.json).as_bytes()
    }

    /// The file's bytes.
    pub fn json(&self) -> &[u8] {
        &self.json
    }
}

impl fmt::Debug for FileTokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileTokenizer").field("vocab", &self.vocab).field("end_of_text", &self.end_of_text).finish()
    }
}

/// The largest known tokenizers (262 k words) are near 35 MB.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Names under which published tokenizers carry their end of text, the unambiguous ones first.
const END_OF_TEXT: [&str; 6] = ["<|endoftext|>", "<|end_of_text|>", "<eos>", "</s>", "<|eot_id|>", "[SEP]"];

/// Why a tokenizer file was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file could not be read.
    #[error("cannot read the tokenizer {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any tokenizer.
    #[error("{} has {bytes} bytes, more than the {bytes_max} of any tokenizer: choose a tokenizer.json file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// The file is no tokenizer.
    #[error("{} is not a tokenizer.json file: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// No known end-of-text token is in the vocabulary.
    #[error("the tokenizer {} has no end-of-text token: add one such as <|endoftext|> to its added_tokens", path.display())]
    NoEndOfText {
        /// The file.
        path: PathBuf,
    },
}

/// The tokenizer file has no rule for a text.
#[derive(Debug, thiserror::Error)]
#[error("the tokenizer cannot encode the text: {reason}")]
#[non_exhaustive]
pub struct EncodeError {
    /// What the tokenizer said.
    pub reason: String,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_round_trip(text in "[^\0]{0,200}") {
            let ids = Tokenizer::Bytes.encode(&text).unwrap();
            prop_assert_eq!(ids.len(), text.len());
            prop_assert!(ids.iter().all(|&id| id < 256 && id != Tokenizer::Bytes.end_of_text()));
            prop_assert_eq!(Tokenizer::Bytes.decode(&ids), text);
        }

        #[test]
        fn any_ids_decode(ids in prop::collection::vec(any::<u32>(), 0..50)) {
            let text = Tokenizer::Bytes.decode(&ids);
            prop_assert!(!text.contains('\0'));
        }
    }

    pub(crate) const WORDS: &str = r#"{"version":"1.0","truncation":null,"padding":null,
        "added_tokens":[{"id":5,"content":"<|endoftext|>","single_word":false,"lstrip":false,"rstrip":false,
        "normalized":false,"special":true}],"normalizer":null,"pre_tokenizer":{"type":"Whitespace"},
        "post_processor":null,"decoder":null,
        "model":{"type":"WordLevel","vocab":{"[UNK]":0,"to":1,"be":2,"or":3,"not":4},"unk_token":"[UNK]"}}"#;

    fn parse(json: &str) -> Result<FileTokenizer, TokenizerError> {
        FileTokenizer::parse(Path::new("t.json"), json.as_bytes().to_vec())
    }

    #[test]
    fn file_tokenizer_encodes_and_cannot_be_forged() {
        let tokenizer = Tokenizer::File(Box::new(parse(WORDS).unwrap()));
        assert_eq!(tokenizer.vocab(), 6);
        assert_eq!(tokenizer.end_of_text(), 5);
        assert_eq!(tokenizer.encode("to be or not to be").unwrap(), [1, 2, 3, 4, 1, 2]);
        assert_eq!(tokenizer.decode(&[1, 2, 5]), "to be");
        assert!(!tokenizer.encode("to <|endoftext|> be").unwrap().contains(&5));
    }

    #[test]
    fn bad_files_are_refused() {
        assert!(matches!(parse("{}"), Err(TokenizerError::Malformed { .. })));
        let nameless = WORDS.replace("<|endoftext|>", "<other>");
        assert!(matches!(parse(&nameless), Err(TokenizerError::NoEndOfText { .. })));
        assert!(matches!(Tokenizer::open(Path::new("/no/such/file")), Err(TokenizerError::Read { .. })));
    }
}
