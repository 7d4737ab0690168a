//! The blob that a payload travels in: its owner's key, then the payload.
//!
//! A header shows its payload's digest to every validator before `submit_by`. Were that the digest of the payload alone,
//! another miner could announce it as its own, and be served the victim's work once it is public.

use pactum_protocol::{Hotkey, Malformation};

/// By how much a blob is longer than the payload in it, in bytes.
pub const SEAL_BYTES: u64 = 32;

/// The blob in which `owner` sends `payload`.
pub(crate) fn seal(owner: &Hotkey, payload: &[u8]) -> Vec<u8> {
    [&owner.0, payload].concat()
}

/// The payload in a blob that `owner` announced.
///
/// # Errors
/// [`Malformation::Header`] if the blob is somebody else's.
pub fn unseal<'a>(owner: &Hotkey, blob: &'a [u8]) -> Result<&'a [u8], Malformation> {
    blob.strip_prefix(&owner.0).ok_or(Malformation::Header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_owner_can_announce_a_blob() {
        let (owner, thief) = (Hotkey([1; 32]), Hotkey([2; 32]));
        let blob = seal(&owner, b"payload");
        assert_eq!(blob.len() as u64, 7 + SEAL_BYTES);
        assert_eq!(unseal(&owner, &blob), Ok(&b"payload"[..]));
        assert_eq!(unseal(&thief, &blob), Err(Malformation::Header));
        assert_eq!(unseal(&owner, &blob[..31]), Err(Malformation::Header));
    }
}
