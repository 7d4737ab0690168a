//! The names of things: blocks, windows, peers, keys and digests.

use std::fmt;

/// The height of a block of the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct BlockNumber(pub u64);

/// The ordinal number of an interval of blocks in which one round takes place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Window(pub u64);

impl Window {
    /// The window after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The number of a neuron in its subnet; given to somebody else once its owner is pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Uid(pub u16);

/// Milliseconds since the Unix epoch, as the chain tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The instant `millis` milliseconds later.
    #[must_use]
    pub fn after(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

macro_rules! plain_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
plain_number!(BlockNumber, Window, Uid, Timestamp);

/// Why a text is not the hexadecimal form of an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits")]
pub struct HexError {
    /// How many digits the identifier has.
    pub expected: usize,
}

macro_rules! bytes_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                parse_hex(text).map(Self)
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

bytes_newtype!(
    /// A BLAKE3 digest.
    Digest,
    32
);
bytes_newtype!(
    /// The sr25519 public key by which a neuron is known.
    Hotkey,
    32
);
bytes_newtype!(
    /// An sr25519 signature.
    Signature,
    64
);

impl Digest {
    /// The digest of nothing: what stands where no manifest came before.
    pub const ZERO: Self = Self([0; 32]);

    /// The BLAKE3 digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// A digest of `parts` that no other `context` gives: BLAKE3 in key derivation mode over the parts, each after its
    /// length, so that no two lists of parts run together.
    #[must_use]
    pub fn derive(context: &str, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The first eight digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

/// Whoever can sign for one hotkey. The protocol never sees a private key.
pub trait Sign {
    /// The public key that the signatures belong to.
    fn hotkey(&self) -> Hotkey;

    /// Signs `message`.
    fn sign(&self, message: &[u8]) -> Signature;
}

/// Whoever can tell a true signature from a false one.
pub trait Verify {
    /// Whether `signature` over `message` was made by the owner of `hotkey`.
    fn verify(&self, hotkey: &Hotkey, message: &[u8], signature: &Signature) -> bool;
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let error = HexError { expected: 2 * N };
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return Err(error);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0]).ok_or(error)? << 4 | nibble(pair[1]).ok_or(error)?;
    }
    Ok(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_written_and_read_as_hexadecimal() {
        let digest = Digest::of(b"");
        let text = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(text.to_uppercase().parse(), Ok(digest));
        assert_eq!(digest.short(), "af1349b9");
        for wrong in ["", "af", &text[1..], &text.replace('a', "g"), &text.replace('a', "ä")] {
            assert_eq!(wrong.parse::<Digest>(), Err(HexError { expected: 64 }), "{wrong}");
        }
    }

    #[test]
    fn derived_digests_depend_on_context_and_cuts() {
        let all = [
            Digest::derive("a", &[b"xy"]),
            Digest::derive("b", &[b"xy"]),
            Digest::derive("a", &[b"x", b"y"]),
            Digest::derive("a", &[b"", b"xy"]),
            Digest::of(b"xy"),
        ];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn identifiers_survive_json() {
        let json = serde_json::to_string(&(Uid(3), Digest::ZERO)).unwrap();
        assert_eq!(json, format!("[3,\"{}\"]", "0".repeat(64)));
        assert_eq!(serde_json::from_str::<(Uid, Digest)>(&json).unwrap(), (Uid(3), Digest::ZERO));
    }
}
