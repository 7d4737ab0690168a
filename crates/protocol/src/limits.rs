//! Bounds on everything that a stranger can send.

/// Safety bounds, checked before anything is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest signed header, in bytes.
    pub header_bytes_max: usize,
    /// The longest manifest, in bytes.
    pub manifest_bytes_max: usize,
    /// The longest proposal, in bytes.
    pub proposal_bytes_max: usize,
    /// The longest encoded settings, in bytes.
    pub hparams_bytes_max: usize,
    /// The most entries in a manifest.
    pub entries_max: usize,
    /// The longest payload, in bytes; follows from the shape of the model.
    pub payload_bytes_max: u64,
}

impl Limits {
    /// The bounds for manifests of at most `max_entries` payloads of at most `payload_bytes_max` bytes.
    #[must_use]
    pub fn new(payload_bytes_max: u64, max_entries: u32) -> Self {
        let entries_max = usize::try_from(max_entries).unwrap_or(usize::MAX);
        let manifest_bytes_max = entries_max.saturating_mul(ENTRY_BYTES).saturating_add(BASE_BYTES);
        Self {
            header_bytes_max: HEADER_BYTES,
            manifest_bytes_max,
            proposal_bytes_max: entries_max.saturating_mul(HEADER_BYTES).saturating_add(manifest_bytes_max),
            hparams_bytes_max: BASE_BYTES,
            entries_max,
            payload_bytes_max,
        }
    }
}

impl Default for Limits {
    /// 64 entries of at most 1 GiB.
    fn default() -> Self {
        Self::new(1 << 30, 64)
    }
}

const HEADER_BYTES: usize = 384;
const ENTRY_BYTES: usize = 96;
const BASE_BYTES: usize = 1024;
