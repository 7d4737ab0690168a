//! How much of a chunk is kept and how it is written.

use thiserror::Error;

use crate::codec::fixed::chunk_bits;
use crate::codec::{HEADER_BYTES, TABLE_BYTES};
use crate::layout::Layout;

/// What a selected value becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Quantiser {
    /// Its sign times one scale per chunk (the mean absolute value): 1 bit.
    SignScale,
    /// Its sign times one of two scales per chunk, the nearer one: 2 bits.
    TwoLevels,
}

impl Quantiser {
    pub(crate) const ALL: [Quantiser; 2] = [Quantiser::SignScale, Quantiser::TwoLevels];

    pub(crate) fn tag(self) -> u8 {
        match self {
            Quantiser::SignScale => 1,
            Quantiser::TwoLevels => 2,
        }
    }

    pub(crate) fn of_tag(tag: u8) -> Option<Quantiser> {
        Quantiser::ALL.into_iter().find(|quantiser| quantiser.tag() == tag)
    }

    /// Bits of one value's code.
    pub(crate) fn code_bits(self) -> u32 {
        match self {
            Quantiser::SignScale => 1,
            Quantiser::TwoLevels => 2,
        }
    }

    /// Scales of one chunk.
    pub(crate) fn scales(self) -> usize {
        match self {
            Quantiser::SignScale => 1,
            Quantiser::TwoLevels => 2,
        }
    }
}

/// How selected values become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Coder {
    /// Every index in the fewest whole bits that hold it (12 of 4096), every code likewise.
    Fixed,
    /// Arithmetic coding with a model that learns rows, columns and signs as it goes.
    Entropy,
}

impl Coder {
    pub(crate) const ALL: [Coder; 2] = [Coder::Fixed, Coder::Entropy];

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
        let bits = bands.iter().flat_map(|band| (0..band.across).map(|i| bits(band.block(i).len()))).sum::<usize>();
        TABLE_BYTES + marker + bits.div_ceil(8)
    });
    HEADER_BYTES + sections.sum::<usize>()
}
