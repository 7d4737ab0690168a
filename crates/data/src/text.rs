use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// A text file read in bounded blocks, decompressed if it is gzip.
pub(crate) struct TextBlocks {
    reader: Box<dyn Read>,
    buffer: Vec<u8>,
    /// Decompressed bytes that may still be read.
    left: u64,
    ended: bool,
}

impl TextBlocks {
    /// Opens `path` and reads at most `bytes_max` bytes of text from it.
    pub(crate) fn open(path: &Path, bytes_max: u64) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
        let gzip = file.fill_buf()?.starts_with(&GZIP_MAGIC);
        let reader: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        Ok(Self { reader, buffer: Vec::new(), left: bytes_max, ended: false })
    }

    /// The next block, cut after a line if there is one; `None` at the end or where the bound lies.
    pub(crate) fn next_block(&mut self) -> Result<Option<String>, TextError> {
        self.fill()?;
        let line_end = self.buffer.iter().rposition(|&byte| byte == b'\n').map_or(self.buffer.len(), |last| last + 1);
        let cut = if self.ended { self.buffer.len() } else { line_end };
        let whole = self.whole_characters(cut)?;
        let rest = self.buffer.split_off(whole);
        let block = String::from_utf8(std::mem::replace(&mut self.buffer, rest)).map_err(|_| TextError::NotText)?;
        Ok((!block.is_empty()).then_some(block))
    }

    fn fill(&mut self) -> io::Result<()> {
        let room = (BLOCK_BYTES - self.buffer.len().min(BLOCK_BYTES)) as u64;
        let wanted = room.min(self.left);
        let read = self.reader.by_ref().take(wanted).read_to_end(&mut self.buffer)? as u64;
        self.left -= read;
        self.ended = read < room;
        Ok(())
    }

    /// Length of the valid text in the first `cut` bytes. A character may be incomplete at the end of a block, and where
    /// the bound on bytes cut it.
    fn whole_characters(&self, cut: usize) -> Result<usize, TextError> {
        let part = &self.buffer[..cut];
        if part.contains(&0) {
            return Err(TextError::NotText);
        }
        match std::str::from_utf8(part) {
            Ok(_) => Ok(cut),
            Err(error) if error.error_len().is_none() && (!self.ended || self.left == 0) => Ok(error.valid_up_to()),
            Err(_) => Err(TextError::NotText),
        }
    }
}

const BLOCK_BYTES: usize = 1 << 20;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The text of a file, decompressed if it is gzip: at most its first `bytes_max` bytes, cut at a character.
///
/// # Errors
/// If the file cannot be read or decompressed, or is not text.
pub fn read_text(path: &Path, bytes_max: u64) -> Result<String, ReadError> {
    let whole = || -> Result<String, TextError> {
        let mut blocks = TextBlocks::open(path, bytes_max)?;
        let mut text = String::new();
        while let Some(block) = blocks.next_block()? {
            text.push_str(&block);
        }
        Ok(text)
    };
    whole().map_err(|error| match error {
        TextError::Io(source) => ReadError::Io { path: path.to_owned(), source },
        TextError::NotText => ReadError::NotText { path: path.to_owned() },
    })
}

/// Why [`read_text`] gave no text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file could not be read or decompressed.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds NUL bytes or is not UTF-8.
    #[error("{} is not text: choose a file in UTF-8, as it is or compressed by gzip", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

/// Why a file gave no text.
#[derive(Debug)]
pub(crate) enum TextError {
    /// It could not be read or decompressed.
    Io(io::Error),
    /// It holds NUL bytes or is not UTF-8.
    NotText,
}

impl From<io::Error> for TextError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn read(bytes: &[u8], bytes_max: u64) -> Result<Vec<String>, TextError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut blocks = TextBlocks::open(file.path(), bytes_max).unwrap();
        let mut found = Vec::new();
        while let Some(block) = blocks.next_block()? {
            found.push(block);
        }
        Ok(found)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn long_files_come_in_blocks_that_join_to_the_whole() {
        let lines = "dieſe Zeile iſt länger\n".repeat(120_000);
        let no_lines = "ä".repeat(1_300_001);
        for text in [&lines, &no_lines] {
            for bytes in [text.clone().into_bytes(), gzip(text.as_bytes())] {
                let blocks = read(&bytes, u64::MAX).unwrap();
                assert!(blocks.len() > 2 && blocks.iter().all(|block| block.len() <= BLOCK_BYTES));
                assert!(blocks.concat() == *text);
            }
        }
    }

    #[test]
    fn a_file_is_read_whole_or_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.gz");
        let check = |bytes: &[u8], expected: Result<&str, &str>| {
            std::fs::write(&path, bytes).unwrap();
            let found = read_text(&path, 8).map_err(|error| error.to_string());
            match expected {
                Ok(text) => assert_eq!(found.unwrap(), text),
                Err(says) => assert!(found.as_ref().unwrap_err().contains(says), "{found:?}"),
            }
        };
        check(b"plain", Ok("plain"));
        check(&gzip("abcdefghij".as_bytes()), Ok("abcdefgh"));
        check(b"\xff\xff", Err("text.gz is not text: choose a file in UTF-8"));
        check(&gzip("torn ".repeat(1000).as_bytes())[..20], Err("cannot read "));
        std::fs::remove_file(&path).unwrap();
        assert!(read_text(&path, 8).unwrap_err().to_string().contains("text.gz: "));
    }

    #[test]
    fn decompression_is_bounded() {
        let bomb = gzip(&vec![b'a'; 50 << 20]);
        assert!(bomb.len() < 1 << 20);
        assert_eq!(read(&bomb, 1000).unwrap().concat().len(), 1000);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for bytes in [&b"a\0b"[..], b"\xff\xfe", b"ok\n\xc3", &gzip(b"\0")] {
            assert!(matches!(read(bytes, u64::MAX), Err(TextError::NotText)));
        }
        let mut torn = gzip("text ".repeat(1000).as_bytes());
        torn.truncate(20);
        assert!(matches!(read(&torn, u64::MAX), Err(TextError::Io(_))));
    }

    proptest! {
        #[test]
        fn the_bound_cuts_at_a_character(text in "[^\0]{0,40}", bytes_max in 0_u64..200) {
            let found = read(text.as_bytes(), bytes_max).unwrap().concat();
            prop_assert!(text.starts_with(&found));
            prop_assert!(found.len() as u64 <= bytes_max);
            prop_assert!(found.len() as u64 + 4 > bytes_max.min(text.len() as u64));
        }
    }
}
