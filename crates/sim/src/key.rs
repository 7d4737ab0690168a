//! Signatures without cryptography.

use pactum_protocol::{Digest, Hotkey, Sign, Signature, Verify};

/// A toy key: its signature is a keyed hash that anybody could compute who knows the hotkey.
///
/// It binds message and key as a real signature does, and costs a hundredth of it. Nobody in a simulation forges what
/// the simulator does not tell them to forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimKey(Hotkey);

/// Believes what a [`SimKey`] signs.
#[derive(Clone, Copy, Debug)]
pub struct SimOracle;

impl SimKey {
    /// The key of the node with this number in the simulation with this seed.
    #[must_use]
    pub fn new(seed: u64, node: u64) -> Self {
        Self(Hotkey(Digest::derive("pactum sim 1 hotkey", &[&seed.to_le_bytes(), &node.to_le_bytes()]).0))
    }
}

impl Sign for SimKey {
    fn hotkey(&self) -> Hotkey {
        self.0
    }

    fn sign(&self, message: &[u8]) -> Signature {
        seal(&self.0, message)
    }
}

impl Verify for SimOracle {
    fn verify(&self, hotkey: &Hotkey, message: &[u8], signature: &Signature) -> bool {
        seal(hotkey, message) == *signature
    }
}

fn seal(hotkey: &Hotkey, message: &[u8]) -> Signature {
    let mut hasher = blake3::Hasher::new_keyed(&hotkey.0);
    let mut bytes = [0; 64];
    hasher.update(message).finalize_xof().fill(&mut bytes);
    Signature(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_and_message_alone() {
        let (mine, other) = (SimKey::new(1, 2), SimKey::new(1, 3));
        let signature = mine.sign(b"message");
        assert!(SimOracle.verify(&mine.hotkey(), b"message", &signature));
        assert!(!SimOracle.verify(&mine.hotkey(), b"massage", &signature));
        assert!(!SimOracle.verify(&other.hotkey(), b"message", &signature));
        assert_ne!(mine, SimKey::new(2, 2));
    }
}
