//! How much of a chunk is kept and how it is written.

use thiserror::Error;

use crate::codec::fixed::chunk_bits;
use crate::codec::{HEADER_BYTES, TABLE_BYTES};
use crate::layout::{Band, Layout};

/// What a selected value becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Quantiser {
    /// Its sign times one scale per chunk (the mean absolute value): 1 bit.
    SignScale,
    /// Its sign times one of two scales per chunk, the nearer one: 2 bits.
    TwoLevels,
    /// One of four levels per tensor, as the reference run has them: 2 bits. With it every chunk sends exactly as many
    /// values as it may, zeros among them where it has not enough others. To compare; its error is large.
    Compatible,
    /// Its sign times one of eight evenly spaced magnitudes from the least to the largest of the chunk: 4 bits. For
    /// research.
    FourBits,
    /// The value as it is: 32 bits. For research, and to see what quantising costs.
    Exact,
}

impl Quantiser {
    /// All of them.
    pub const ALL: [Quantiser; 5] =
        [Quantiser::SignScale, Quantiser::TwoLevels, Quantiser::Compatible, Quantiser::FourBits, Quantiser::Exact];

    pub(crate) fn tag(self) -> u8 {
        match self {
            Quantiser::SignScale => 1,
            Quantiser::TwoLevels => 2,
            Quantiser::Compatible => 3,
            Quantiser::FourBits => 4,
            Quantiser::Exact => 5,
        }
    }

    pub(crate) fn of_tag(tag: u8) -> Option<Quantiser> {
        Quantiser::ALL.into_iter().find(|quantiser| quantiser.tag() == tag)
    }

    /// Bits of one value in a fixed section, besides its index.
    pub(crate) fn code_bits(self) -> u32 {
        match self {
            Quantiser::SignScale => 1,
            Quantiser::TwoLevels | Quantiser::Compatible => 2,
            Quantiser::FourBits => 4,
            Quantiser::Exact => 32,
        }
    }

    /// Scales of one chunk.
    pub(crate) fn scales(self) -> usize {
        match self {
            Quantiser::SignScale => 1,
            Quantiser::TwoLevels | Quantiser::FourBits => 2,
            Quantiser::Compatible | Quantiser::Exact => 0,
        }
    }

    /// Bytes at the start of each section that hold what all its chunks share.
    pub(crate) fn section_bytes(self) -> usize {
        if self == Quantiser::Compatible { 16 } else { 0 }
    }

    /// The least number of values of a chunk that may hold `kept`.
    pub(crate) fn count_min(self, kept: usize) -> usize {
        if self == Quantiser::Compatible { kept } else { 0 }
    }
}

/// How selected values become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Coder {
    /// Every index in the fewest whole bits that hold it (12 of 4096), every code likewise.
    Fixed,
    /// Entropy coding, with a model that says of rows and columns how crowded they are and to which sign they lean.
    Entropy,
}

impl Coder {
    /// All of them.
    pub const ALL: [Coder; 2] = [Coder::Fixed, Coder::Entropy];

    pub(crate) fn tag(self) -> u8 {
        match self {
            Coder::Fixed => 0,
            Coder::Entropy => 1,
        }
    }

    pub(crate) fn of_tag(tag: u8) -> Option<Coder> {
        Coder::ALL.into_iter().find(|coder| coder.tag() == tag)
    }
}

/// Why settings do not fit a layout.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// `top_k` is zero or more than a full chunk holds.
    #[error("top_k of {top_k} is not in 1..={area}, the elements of a full chunk")]
    TopK {
        /// What was asked for.
        top_k: usize,
        /// Elements of a full chunk.
        area: usize,
    },
}

/// How a pseudo-gradient is compressed. The same on every peer of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Settings {
    /// Values kept of a full chunk of `edge * edge`; of a smaller one in proportion (see [`crate::Grid`]).
    pub top_k: usize,
    /// What a kept value becomes.
    pub quantiser: Quantiser,
    /// How it is written.
    pub coder: Coder,
}

impl Settings {
    /// Settings with the default coder.
    #[must_use]
    pub fn new(top_k: usize, quantiser: Quantiser) -> Settings {
        Settings { top_k, quantiser, coder: Coder::Entropy }
    }

    /// The same with another coder.
    #[must_use]
    pub fn with_coder(self, coder: Coder) -> Settings {
        Settings { coder, ..self }
    }

    /// Checks the settings against a layout.
    ///
    /// # Errors
    /// If `top_k` is zero or above the size of a full chunk.
    pub fn check(&self, layout: &Layout) -> Result<(), SettingsError> {
        let area = layout.edge() * layout.edge();
        if (1..=area).contains(&self.top_k) { Ok(()) } else { Err(SettingsError::TopK { top_k: self.top_k, area }) }
    }
}

/// Length of the longest payload that the settings allow for a layout, in bytes.
#[must_use]
pub fn payload_bytes_max(layout: &Layout, settings: &Settings) -> usize {
    let bits = |length: usize| {
        let kept = layout.kept(length, settings.top_k);
        chunk_bits(length, kept, kept, settings.quantiser)
    };
    // An entropy-coded section falls back to fixed-width fields behind one byte.
    let marker = usize::from(settings.coder == Coder::Entropy);
    let sections = layout.sections().iter().map(|section| {
        let bands = &layout.bands()[section.bands.clone()];
        let lengths = bands.iter().flat_map(Band::lengths);
        let bits = lengths.map(|(chunks, length)| chunks * bits(length)).sum::<usize>();
        TABLE_BYTES + marker + settings.quantiser.section_bytes() + bits.div_ceil(8)
    });
    HEADER_BYTES + sections.sum::<usize>()
}
