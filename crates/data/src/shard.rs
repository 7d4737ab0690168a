use crate::index::{ShardEntry, hex};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// A verified file of tokens, read by position.
///
/// Layout, little-endian: magic (8 bytes), version u16, bytes per token u16, zero u32, number of tokens u64, then the
/// tokens.
#[derive(Debug)]
pub(crate) struct Shard {
    file: File,
    tokens: u64,
    token_bytes: u8,
}

impl Shard {
    /// Opens and reads the whole file once: header, length, digest, and every token below `vocab`.
    pub(crate) fn open(folder: &Path, entry: &ShardEntry, token_bytes: u8, vocab: u32) -> Result<Self, ShardError> {
        let mut file = File::open(folder.join(&entry.file)).map_err(ShardError::Io)?;
        let length = file.metadata().map_err(ShardError::Io)?.len();
        if length != HEADER_BYTES as u64 + entry.tokens * u64::from(token_bytes) {
            return Err(ShardError::Corrupt("its length is wrong"));
        }
        verify(&mut file, entry, token_bytes, vocab)?;
        Ok(Self { file, tokens: entry.tokens, token_bytes })
    }

    pub(crate) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Appends `count` tokens from `start` on to `out`. The range must lie inside the shard.
    pub(crate) fn read(&self, start: u64, count: usize, out: &mut Vec<u32>) -> io::Result<()> {
        let mut bytes = vec![0; count * usize::from(self.token_bytes)];
        let offset = HEADER_BYTES as u64 + start * u64::from(self.token_bytes);
        read_exact_at(&self.file, &mut bytes, offset)?;
        out.extend(decode(&bytes, self.token_bytes));
        Ok(())
    }
}

fn verify(file: &mut File, entry: &ShardEntry, token_bytes: u8, vocab: u32) -> Result<(), ShardError> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact(&mut header).map_err(ShardError::Io)?;
    if header != header_of(token_bytes, entry.tokens) {
        return Err(ShardError::Corrupt("its header is wrong"));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&header);
    let mut block = vec![0; 1 << 20];
    let mut left = entry.tokens * u64::from(token_bytes);
    while left > 0 {
        let part = &mut block[..usize::try_from(left).unwrap_or(usize::MAX).min(1 << 20)];
        file.read_exact(part).map_err(ShardError::Io)?;
        hasher.update(part);
        if decode(part, token_bytes).any(|token| token >= vocab) {
            return Err(ShardError::Corrupt("a token is outside the vocabulary"));
        }
        left -= part.len() as u64;
    }
    if hex(hasher.finalize().as_bytes()) != entry.digest {
        return Err(ShardError::Corrupt("its digest is wrong"));
    }
    Ok(())
}

/// Writes one shard; the number of tokens is known before.
pub(crate) struct ShardWriter {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    partial: PathBuf,
    tokens: u64,
    bytes_left: u64,
}

impl ShardWriter {
    pub(crate) fn create(partial: PathBuf, tokens: u64, token_bytes: u8) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 16, File::create(&partial)?);
        let bytes_left = HEADER_BYTES as u64 + tokens * u64::from(token_bytes);
        let mut writer = Self { file, hasher: blake3::Hasher::new(), partial, tokens, bytes_left };
        writer.write(&header_of(token_bytes, tokens))?;
        Ok(writer)
    }

    /// Writes as much of `bytes` as the shard has room for, and returns the rest.
    pub(crate) fn write<'a>(&mut self, bytes: &'a [u8]) -> io::Result<&'a [u8]> {
        let room = usize::try_from(self.bytes_left).unwrap_or(usize::MAX).min(bytes.len());
        let (now, rest) = bytes.split_at(room);
        self.file.write_all(now)?;
        self.hasher.update(now);
        self.bytes_left -= now.len() as u64;
        Ok(rest)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes_left == 0
    }

    /// Makes the file durable and gives it its name: `prefix` and the beginning of its digest, so that a new dataset in
    /// the same folder never overwrites a shard of the old one.
    pub(crate) fn finish(self, prefix: &str) -> io::Result<ShardEntry> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let digest = hex(self.hasher.finalize().as_bytes());
        let name = format!("{prefix}-{}.{SHARD_EXTENSION}", &digest[..16]);
        std::fs::rename(&self.partial, self.partial.with_file_name(&name))?;
        Ok(ShardEntry { file: name, tokens: self.tokens, digest })
    }
}

/// Bytes per token for ids below `vocab`.
pub(crate) fn token_bytes(vocab: u32) -> u8 {
    if vocab <= 1 << 16 { 2 } else { 4 }
}

/// Appends `tokens` in little-endian form. Each must fit.
pub(crate) fn encode(tokens: &[u32], token_bytes: u8, out: &mut Vec<u8>) {
    for token in tokens {
        out.extend_from_slice(&token.to_le_bytes()[..usize::from(token_bytes)]);
    }
}

fn decode(bytes: &[u8], token_bytes: u8) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(usize::from(token_bytes)).map(|chunk| {
        let mut token = [0; 4];
        token[..chunk.len()].copy_from_slice(chunk);
        u32::from_le_bytes(token)
    })
}

fn header_of(token_bytes: u8, tokens: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(b"PACTSHRD");
    header[8..10].copy_from_slice(&1_u16.to_le_bytes());
    header[10..12].copy_from_slice(&u16::from(token_bytes).to_le_bytes());
    header[16..].copy_from_slice(&tokens.to_le_bytes());
    header
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[read..];
        offset += read as u64;
    }
    Ok(())
}

const HEADER_BYTES: usize = 24;
pub(crate) const SHARD_EXTENSION: &str = "shard";

/// Why a shard was not accepted.
#[derive(Debug)]
pub(crate) enum ShardError {
    Io(io::Error),
    Corrupt(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ShardWriter::create(folder.path().join("p"), 3, 2).unwrap();
        let mut bytes = Vec::new();
        encode(&[1, 0x203, 255], 2, &mut bytes);
        assert!(writer.write(&bytes).unwrap().is_empty() && writer.is_full());
        let entry = writer.finish("train").unwrap();
        let found = std::fs::read(folder.path().join(&entry.file)).unwrap();
        assert_eq!(found, *b"PACTSHRD\x01\0\x02\0\0\0\0\0\x03\0\0\0\0\0\0\0\x01\0\x03\x02\xff\0");
        let shard = Shard::open(folder.path(), &entry, 2, 1000).unwrap();
        let mut tokens = Vec::new();
        shard.read(1, 2, &mut tokens).unwrap();
        assert_eq!(tokens, [0x203, 255]);
        assert!(matches!(Shard::open(folder.path(), &entry, 2, 500), Err(ShardError::Corrupt(_))));
    }

    #[test]
    fn wide_tokens_round_trip() {
        assert_eq!([token_bytes(256), token_bytes(1 << 16), token_bytes((1 << 16) + 1)], [2, 2, 4]);
        let mut bytes = Vec::new();
        encode(&[70_000, u32::MAX], 4, &mut bytes);
        assert_eq!(decode(&bytes, 4).collect::<Vec<_>>(), [70_000, u32::MAX]);
    }
}
