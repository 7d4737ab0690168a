//! The payload: header, table of section lengths, sections.
//!
//! `docs/payload.md` specifies the format. All numbers are little-endian.

mod ans;
mod entropy;
pub(crate) mod fixed;
mod gauge;
mod levels;
mod model;
mod reading;

pub(crate) use entropy::SectionWriter;
pub(crate) use fixed::FixedReader;
pub(crate) use model::quotient;
pub(crate) use reading::{Queue, read_sections};
pub(crate) use {
    ans::{LANES, Output, RAW_MAX, Round, SHARE_BITS, Slots, Stream, Zeros},
    model::{
        Bounds, ByClass, CLASSES, DISTANCE_BITS, Distances, FIELDS_ROOM, Field, Ground, Members, Step, Tables, Targets,
        WALK_ROOM, Walk,
    },
};

use rayon::prelude::*;
use thiserror::Error;

use crate::codec::reading::{Pool, Work};
use crate::compress::Part;
use crate::kernel::{Instructions, Level};
use crate::layout::{Layout, Section};
use crate::quantise::Table;
use crate::scale::{CODE_MAX, value_of};
use crate::section::SectionData;
use crate::settings::{Coder, Quantiser, Settings, payload_bytes_max};
use crate::update::SparseUpdate;

/// Version of the payload format that this crate writes and reads.
const VERSION: u8 = 4;
/// Version, coder, quantiser, zero, `top_k` (4 bytes), the first bytes of the layout's digest.
pub(crate) const HEADER_BYTES: usize = 32;
const DIGEST_BYTES: usize = 24;
/// Bytes of one entry of the table of section lengths.
pub(crate) const TABLE_BYTES: usize = 4;

/// Why bytes are not a payload for a layout. The sender is at fault, whichever it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes end inside the header or the table.
    #[error("payload of {0} bytes is too short for its header")]
    Truncated(usize),
    /// Longer than any payload of this layout and these settings.
    #[error("payload of {bytes} bytes is longer than the {max} that the layout allows")]
    TooLong {
        /// Length found.
        bytes: usize,
        /// Longest length allowed.
        max: usize,
    },
    /// A version that this crate does not read.
    #[error("payload version {0} is not known, version {VERSION} is")]
    Version(u8),
    /// Made for other tensors or another cut.
    #[error("payload was made for another layout")]
    Layout,
    /// Another `top_k`, quantiser or coder than the limits ask for.
    #[error("payload was made with other settings than the limits ask for")]
    Settings,
    /// The section lengths do not add up to the payload's.
    #[error("section lengths do not add up to the payload's length")]
    Sections,
    /// The section ends too early or has bytes or bits left over.
    #[error("section of tensor {tensor} does not end where its content does")]
    SectionEnd {
        /// Tensor of the section.
        tensor: usize,
    },
    /// More values in a chunk than `top_k` allows, or fewer where the quantiser always sends all.
    #[error("chunk of tensor {tensor} has a wrong number of values")]
    Count {
        /// Tensor of the chunk.
        tensor: usize,
    },
    /// Indices not strictly ascending inside their chunk.
    #[error("chunk of tensor {tensor} has an index out of range or out of order")]
    Index {
        /// Tensor of the chunk.
        tensor: usize,
    },
    /// A value that is sent as it is and is zero, not finite or beyond the limit.
    #[error("chunk of tensor {tensor} has a value that is zero or out of range")]
    Value {
        /// Tensor of the chunk.
        tensor: usize,
    },
    /// A scale beyond the limit, zero where values follow, or two scales out of order.
    #[error("chunk of tensor {tensor} has a scale that is out of range or out of order")]
    Scale {
        /// Tensor of the chunk.
        tensor: usize,
    },
}

/// What a payload may contain.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// The settings it must have been made with.
    pub settings: Settings,
    /// Largest scale, or value where values are sent without one.
    pub scale_max: f32,
}

impl Limits {
    /// Accepts payloads of exactly these settings with every scale that the format can express (up to 2^32).
    #[must_use]
    pub fn new(settings: Settings) -> Limits {
        Limits { settings, scale_max: value_of(CODE_MAX) }
    }

    /// The same with a lower bound for scales.
    #[must_use]
    pub fn with_scale_max(self, scale_max: f32) -> Limits {
        Limits { scale_max, ..self }
    }

    /// A value that is sent as it is, if it is one that would be.
    #[inline]
    pub(crate) fn admit(&self, value: f32) -> Option<f32> {
        // A comparison with a NaN is false.
        (value.abs() <= self.scale_max && value != 0.0).then_some(value)
    }
}

/// Reads the settings that a payload says it was made with.
///
/// # Errors
/// If the header is cut short or holds something unknown.
pub fn read_settings(bytes: &[u8]) -> Result<Settings, CodecError> {
    let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(CodecError::Truncated(bytes.len()))?;
    let [version, coder, quantiser, zero, k0, k1, k2, k3, ..] = *header;
    if version != VERSION {
        return Err(CodecError::Version(version));
    }
    let (Some(coder), Some(quantiser), 0) = (Coder::of_tag(coder), Quantiser::of_tag(quantiser), zero) else {
        return Err(CodecError::Settings);
    };
    let top_k = u32::from_le_bytes([k0, k1, k2, k3]) as usize;
    Ok(Settings::new(top_k, quantiser).with_coder(coder))
}

/// Reads a payload, checking everything. Work is linear in the bytes and the layout's chunks; memory is bounded by
/// what the layout and the limits imply, whatever the bytes say.
///
/// # Errors
/// If the bytes are not exactly one payload for this layout and within the limits.
pub fn decode(bytes: &[u8], layout: &Layout, limits: &Limits) -> Result<SparseUpdate, CodecError> {
    Decoder::new(layout.clone(), *limits).decode(bytes)
}

/// [`decode`] for one payload after the other: it reads into the memory of updates that were given back to it, which is
/// faster than asking the system for new.
#[derive(Debug)]
pub struct Decoder {
    layout: Layout,
    limits: Limits,
    level: Level,
    spare: Vec<Vec<SectionData>>,
    pool: Pool,
}

impl Decoder {
    /// A decoder of payloads for this layout and within these limits.
    #[must_use]
    pub fn new(layout: Layout, limits: Limits) -> Decoder {
        Decoder { layout, limits, level: Level::detect(), spare: Vec::new(), pool: Pool::default() }
    }

    /// Uses other vector instructions than the best of this machine, to measure and to test: no byte of any result
    /// depends on them. `None` if the machine lacks them.
    #[must_use]
    pub fn with_instructions(self, instructions: Instructions) -> Option<Decoder> {
        Some(Decoder { level: Level::of(instructions)?, ..self })
    }

    /// Reads a payload as [`decode`] does.
    ///
    /// # Errors
    /// If the bytes are not exactly one payload for this layout and within the limits.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<SparseUpdate, CodecError> {
        self.decode_all(&[bytes]).swap_remove(0)
    }

    /// Reads several payloads, each as [`decode`] does: threads go on to the next one where one alone would leave them without work. What is wrong with
    /// one does not matter to the others, and their results are in the order of the payloads. All are in memory at once.
    pub fn decode_all(&mut self, payloads: &[impl AsRef<[u8]>]) -> Vec<Result<SparseUpdate, CodecError>> {
        let (layout, limits, spare) = (&self.layout, &self.limits, &mut self.spare);
        let opened = payloads.iter().map(|bytes| Opened::new(bytes.as_ref(), (layout, limits), spare));
        let mut opened = opened.collect::<Vec<_>>();
        let work = opened.iter_mut().flatten().flat_map(Opened::work).collect();
        reading::read_all(work, (limits.settings.coder, self.level), &self.pool);
        let read = opened.into_par_iter().map(|opened| opened.map(|opened| opened.close(layout)));
        // Who sends nonsense costs nobody memory.
        let mut keep = |(error, sections)| {
            spare.push(sections);
            error
        };
        read.collect::<Vec<_>>().into_iter().map(|read| read?.map_err(&mut keep)).collect()
    }

    /// Takes an update that is no longer needed, to read a payload into its memory. One of another layout is dropped.
    pub fn recycle(&mut self, update: SparseUpdate) {
        if *update.layout() == self.layout {
            self.spare.push(update.into_sections());
        }
    }
}

/// Bits of a payload's content under the model of its coder: the sum of `-log2 p` over all that its sections tell. The bytes
/// are as many as that and what the coder wastes: the header, the states of each section, rounding. With [`Coder::Fixed`]
/// it is the length of the sections.
///
/// # Errors
/// As [`decode`].
pub fn information(bytes: &[u8], layout: &Layout, limits: &Limits) -> Result<f64, CodecError> {
    let levels = 8.0 * limits.settings.quantiser.section_bytes() as f64;
    let bits = sections_of(bytes, layout, limits)?.into_par_iter().map(|part| {
        let (bytes, expected) = part?;
        match limits.settings.coder {
            Coder::Fixed => fixed::information(bytes, expected),
            Coder::Entropy => reading::information(bytes, expected),
        }
    });
    // Collected before the first error is taken, so that which one it is does not depend on threads.
    let bits = bits.collect::<Vec<_>>().into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(bits.iter().map(|bits| levels + bits).sum())
}

/// The content of a section, and what is known of it.
type SectionPart<'a> = (&'a [u8], Expected<'a>);

/// The sections of a payload whose frame is sound.
fn sections_of<'a>(
    bytes: &'a [u8],
    layout: &'a Layout,
    limits: &'a Limits,
) -> Result<Vec<Result<SectionPart<'a>, CodecError>>, CodecError> {
    if read_settings(bytes)? != limits.settings || limits.settings.check(layout).is_err() {
        return Err(CodecError::Settings);
    }
    let (header, rest) = bytes.split_at(HEADER_BYTES);
    if header[HEADER_BYTES - DIGEST_BYTES..] != layout.digest()[..DIGEST_BYTES] {
        return Err(CodecError::Layout);
    }
    let max = payload_bytes_max(layout, &limits.settings);
    if bytes.len() > max {
        return Err(CodecError::TooLong { bytes: bytes.len(), max });
    }
    let slices = cut(rest, layout.sections().len())?;
    let sections = layout.sections().iter().zip(slices).map(|(section, bytes)| {
        let (table, bytes) = match limits.settings.quantiser.section_bytes() {
            0 => (Table::default(), bytes),
            _ => levels::read(bytes, limits, section.tensor)?,
        };
        Ok((bytes, Expected { layout, section, limits, table }))
    });
    Ok(sections.collect())
}

/// A payload whose frame is sound, and what comes of its sections.
struct Opened<'a> {
    parts: Vec<Result<SectionPart<'a>, CodecError>>,
    sections: Vec<SectionData>,
    results: Vec<Result<(), CodecError>>,
}

impl<'a> Opened<'a> {
    fn new(
        bytes: &'a [u8],
        (layout, limits): (&'a Layout, &'a Limits),
        spare: &mut Vec<Vec<SectionData>>,
    ) -> Result<Opened<'a>, CodecError> {
        let parts = sections_of(bytes, layout, limits)?;
        let sections = spare.pop().unwrap_or_else(|| vec![SectionData::plain(); parts.len()]);
        let results = vec![Ok(()); parts.len()];
        Ok(Opened { parts, sections, results })
    }

    /// What is to be read.
    fn work(&mut self) -> impl Iterator<Item = Work<'_>> {
        let parts = self.parts.iter().zip(self.sections.iter_mut().zip(&mut self.results));
        parts.filter_map(|(part, (data, result))| match part {
            Ok((bytes, expected)) => Some(Work { bytes, expected: *expected, data, result }),
            Err(fault) => {
                *result = Err(fault.clone());
                None
            }
        })
    }

    /// The update, or what is wrong with the payload, and memory: which fault is told of does not depend on threads.
    fn close(self, layout: &Layout) -> Result<SparseUpdate, (CodecError, Vec<SectionData>)> {
        match self.results.into_iter().collect() {
            Ok(()) => Ok(SparseUpdate::new(layout.clone(), self.sections)),
            Err(fault) => Err((fault, self.sections)),
        }
    }
}

/// What is known of a section before it is read.
#[derive(Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) section: &'a Section,
    pub(crate) limits: &'a Limits,
    /// Values of the codes, where the section has them in common.
    pub(crate) table: Table,
}

impl Expected<'_> {
    /// Empties a section and makes room for all that this one may hold.
    fn make_room(&self, data: &mut SectionData) {
        let Settings { top_k, quantiser, .. } = self.limits.settings;
        data.reset(quantiser, self.table, (self.section.chunks.len(), self.section.values(self.layout, top_k)));
    }

    /// The same in new memory.
    fn room(&self) -> SectionData {
        let mut data = SectionData::plain();
        self.make_room(&mut data);
        data
    }
}

/// Cuts what follows the header into sections by the table at its start.
fn cut(bytes: &[u8], sections: usize) -> Result<Vec<&[u8]>, CodecError> {
    let truncated = CodecError::Truncated(HEADER_BYTES + bytes.len());
    let (table, mut rest) = bytes.split_at_checked(sections * TABLE_BYTES).ok_or(truncated)?;
    let mut slices = Vec::with_capacity(sections);
    for length in table.chunks_exact(TABLE_BYTES) {
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let (slice, after) = rest.split_at_checked(length).ok_or(CodecError::Sections)?;
        slices.push(slice);
        rest = after;
    }
    if rest.is_empty() { Ok(slices) } else { Err(CodecError::Sections) }
}

/// Writes a section from what was selected in each of its bands.
pub(crate) fn encode_section(
    (layout, settings): (&Layout, &Settings),
    section: &Section,
    parts: &[Part],
    level: Level,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    if settings.quantiser.section_bytes() > 0 {
        levels::write(parts, &mut bytes);
    }
    match settings.coder {
        Coder::Fixed => fixed::encode(layout, settings, section, parts, &mut bytes),
        Coder::Entropy => entropy::encode((layout, settings), section, parts, level, &mut bytes),
    }
    bytes
}

/// Writes a payload of finished sections.
pub(crate) fn join(layout: &Layout, settings: &Settings, sections: &[Vec<u8>]) -> Vec<u8> {
    let content = sections.iter().map(Vec::len).sum::<usize>();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + sections.len() * TABLE_BYTES + content);
    bytes.extend_from_slice(&[VERSION, settings.coder.tag(), settings.quantiser.tag(), 0]);
    bytes.extend_from_slice(&(settings.top_k as u32).to_le_bytes());
    bytes.extend_from_slice(&layout.digest()[..DIGEST_BYTES]);
    sections.iter().for_each(|section| bytes.extend_from_slice(&(section.len() as u32).to_le_bytes()));
    sections.iter().for_each(|section| bytes.extend_from_slice(section));
    bytes
}
