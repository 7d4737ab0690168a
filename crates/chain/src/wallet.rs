//! Keys, and the files they are kept in.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pactum_protocol::{Hotkey, Sign, Signature, Verify};
use serde::{Deserialize, Serialize};
use sp_core::crypto::{Ss58AddressFormat, Ss58Codec};
use sp_core::{Pair, sr25519};

#[cfg(test)]
mod tests;

/// The network prefix of addresses that belong to no particular chain, as Bittensor uses it.
const SS58_PREFIX: u16 = 42;
/// Longer than any wallet file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// An sr25519 key pair that can sign.
#[derive(Clone)]
pub struct Wallet {
    pair: sr25519::Pair,
    secret: Secret,
}

#[derive(Clone)]
enum Secret {
    Phrase(String),
    Seed([u8; 32]),
}

/// Why a wallet cannot be made, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// The words are not a valid mnemonic.
    #[error("the secret phrase is not valid: it has 12, 15, 18, 21 or 24 words of the BIP-39 English list")]
    BadPhrase,
    /// Writing would destroy another key.
    #[error("{path} exists already: choose another name, or move that file away")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file is no wallet.
    #[error("{path} is not a wallet: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be read or written.
    #[error("the wallet {path} cannot be read or written: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyFile {
    account_id: String,
    public_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_phrase: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_seed: Option<String>,
    ss58_address: String,
}

impl Wallet {
    /// A new random key with a mnemonic of twelve words.
    #[must_use]
    pub fn generate() -> Self {
        let (pair, phrase, _) = sr25519::Pair::generate_with_phrase(None);
        Self { pair, secret: Secret::Phrase(phrase) }
    }

    /// The key of a mnemonic, derived as `substrate-bip39` does.
    ///
    /// # Errors
    /// [`WalletError::BadPhrase`] if the words are not a mnemonic.
    pub fn from_mnemonic(phrase: &str) -> Result<Self, WalletError> {
        let phrase = phrase.split_whitespace().collect::<Vec<_>>().join(" ");
        let (pair, _) = sr25519::Pair::from_phrase(&phrase, None).map_err(|_| WalletError::BadPhrase)?;
        Ok(Self { pair, secret: Secret::Phrase(phrase) })
    }

    /// The key of a mini-secret of 32 bytes.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { pair: sr25519::Pair::from_seed(&seed), secret: Secret::Seed(seed) }
    }

    /// The mnemonic, if the key has one. Whoever sees it owns the key.
    #[must_use]
    pub fn secret_phrase(&self) -> Option<&str> {
        match &self.secret {
            Secret::Phrase(phrase) => Some(phrase),
            Secret::Seed(_) => None,
        }
    }

    /// The ss58 form of the public key.
    #[must_use]
    pub fn address(&self) -> String {
        ss58(&self.hotkey())
    }

    /// Writes the key, unencrypted, to a new file that only its owner may read. The file is there whole or not at all.
    ///
    /// # Errors
    /// [`WalletError::Exists`] rather than destroy another key; [`WalletError::File`] if the disk refuses.
    pub fn save(&self, path: &Path) -> Result<(), WalletError> {
        let failed = |source| WalletError::File { path: path.to_path_buf(), source };
        if path.try_exists().map_err(failed)? {
            return Err(WalletError::Exists { path: path.to_path_buf() });
        }
        let mut text = serde_json::to_string_pretty(&self.key_file()).map_err(|e| failed(e.into()))?;
        text.push('\n');
        write_new(path, text.as_bytes()).map_err(failed)
    }

    /// Reads a key file, as [`save`](Self::save) or a Bittensor wallet wrote it unencrypted.
    ///
    /// # Errors
    /// [`WalletError::File`] if it cannot be read, [`WalletError::Malformed`] if it is no wallet or contradicts itself.
    pub fn load(path: &Path) -> Result<Self, WalletError> {
        let failed = |source| WalletError::File { path: path.to_path_buf(), source };
        let malformed = |reason: String| WalletError::Malformed { path: path.to_path_buf(), reason };
        if fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
            return Err(malformed("the file is too long".into()));
        }
        let text = fs::read(path).map_err(failed)?;
        let file: KeyFile = serde_json::from_slice(&text).map_err(|e| malformed(e.to_string()))?;
        let wallet = Self::from_file(&file).map_err(malformed)?;
        if file.public_key.trim_start_matches("0x") != wallet.hotkey().to_string() {
            return Err(malformed("its public key does not belong to its secret".into()));
        }
        Ok(wallet)
    }

    fn from_file(file: &KeyFile) -> Result<Self, String> {
        if let Some(phrase) = &file.secret_phrase {
            return Self::from_mnemonic(phrase).map_err(|error| error.to_string());
        }
        let seed = file.secret_seed.as_deref().ok_or("it holds neither secretPhrase nor secretSeed")?;
        let seed: Hotkey = seed.trim_start_matches("0x").parse().map_err(|e| format!("secretSeed: {e}"))?;
        Ok(Self::from_seed(seed.0))
    }

    fn key_file(&self) -> KeyFile {
        let public = format!("0x{}", self.hotkey());
        let (secret_phrase, secret_seed) = match &self.secret {
            Secret::Phrase(phrase) => (Some(phrase.clone()), None),
            Secret::Seed(seed) => (None, Some(format!("0x{}", Hotkey(*seed)))),
        };
        KeyFile {
            account_id: public.clone(),
            public_key: public,
            secret_phrase,
            secret_seed,
            ss58_address: self.address(),
        }
    }
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wallet({})", self.address())
    }
}

impl Sign for Wallet {
    fn hotkey(&self) -> Hotkey {
        Hotkey(self.pair.public().0)
    }

    fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.pair.sign(message).0)
    }
}

/// Tells true sr25519 signatures from false ones (Schnorr over ristretto255, signing context `substrate`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sr25519;

impl Verify for Sr25519 {
    fn verify(&self, hotkey: &Hotkey, message: &[u8], signature: &Signature) -> bool {
        let public = sr25519::Public::from_raw(hotkey.0);
        sr25519::Pair::verify(&sr25519::Signature::from_raw(signature.0), message, &public)
    }
}

/// A text that is not the ss58 form of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ss58 address: it begins with 5 and has 48 letters and digits")]
pub struct Ss58Error;

/// The ss58 form of a key, with prefix 42.
#[must_use]
pub fn ss58(hotkey: &Hotkey) -> String {
    sr25519::Public::from_raw(hotkey.0).to_ss58check_with_version(Ss58AddressFormat::custom(SS58_PREFIX))
}

/// The key of an ss58 address with prefix 42.
///
/// # Errors
/// [`Ss58Error`] if the text is not one, its checksum is wrong, or it belongs to another network.
pub fn parse_ss58(text: &str) -> Result<Hotkey, Ss58Error> {
    let (public, format) = sr25519::Public::from_ss58check_with_version(text).map_err(|_| Ss58Error)?;
    if u16::from(format) != SS58_PREFIX {
        return Err(Ss58Error);
    }
    Ok(Hotkey(public.0))
}

/// Writes beside `path` and links it into place, so that a crash leaves no half-written key and no key is overwritten.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let partial = dir.join(format!(".{name}.{}.partial", std::process::id()));
    let written = write_private(&partial, bytes).and_then(|()| fs::hard_link(&partial, path));
    fs::remove_file(&partial)?;
    written?;
    File::open(dir)?.sync_all()
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
