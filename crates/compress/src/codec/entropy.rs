//! Sections at the entropy of their content.
//!
//! The first byte names the two priors (three bits each), or is 0xff before a section in fixed-width fields, which is
//! taken if it is not longer. Then follows one code for all chunks of the section.

use crate::codec::ans::{Reader, Source, Writer, lanes};
use crate::codec::gauge::Gauge;
use crate::codec::model::{Fault, Geometry, Model, Priors, Slot};
use crate::codec::{CodecError, Expected, fixed};
use crate::compress::Part;
use crate::kernel::Level;
use crate::layout::{Layout, Section};
use crate::quantise::Scales;
use crate::scale::{CODE_MAX, value_of};
use crate::section::SectionData;
use crate::settings::{Quantiser, Settings};

/// First byte of a section in fixed-width fields.
const FIXED: u8 = 0xff;

/// Appends a section to `bytes`.
pub(crate) fn encode(layout: &Layout, settings: &Settings, section: &Section, parts: &[Part], bytes: &mut Vec<u8>) {
    let start = bytes.len();
    Level::detect().write_section(SectionWriter { layout, settings, section, parts }, bytes);
    let plain = fixed::length(layout, settings, section, parts);
    if plain < bytes.len() - start - 1 {
        bytes.truncate(start);
        bytes.push(FIXED);
        fixed::encode(layout, settings, section, parts, bytes);
    }
}

/// A section to be written with entropy coding.
pub(crate) struct SectionWriter<'a> {
    layout: &'a Layout,
    settings: &'a Settings,
    section: &'a Section,
    parts: &'a [Part],
}

impl SectionWriter<'_> {
    /// Compiled once for each level of vector instructions, hence inlined.
    #[inline(always)]
    pub(crate) fn write(self, bytes: &mut Vec<u8>) {
        let SectionWriter { layout, settings, section, parts } = self;
        let geometry = Geometry::new(layout, section);
        let priors = Priors::measure(&geometry, layout, section, parts);
        bytes.push(priors.byte());
        let mut writer = Writer::new(lanes(section.values(layout, settings.top_k)));
        let mut model = Model::new(geometry, priors, settings.quantiser, false);
        for (band, part) in layout.bands()[section.bands.clone()].iter().zip(parts) {
            let (mut indices, mut codes, mut values) = (&part.indices[..], &part.codes[..], &part.values[..]);
            let kept = band.kept(layout, settings.top_k);
            for (chunk, (&count, &scales)) in part.counts.iter().zip(&part.scales).enumerate() {
                let block = band.block(chunk);
                let kept = kept(block.len());
                let count = usize::from(count);
                model.slot.fill(scales, &indices[..count], &codes[..count]);
                (indices, codes) = (&indices[count..], &codes[count..]);
                // There are values only where a quantiser needs them.
                let (mine, rest) = values.split_at(count.min(values.len()));
                model.slot.fill_magnitudes(mine);
                values = rest;
                let sound = model.chunk(&mut writer, chunk, &block, kept);
                debug_assert!(sound.is_ok(), "what was selected can be coded");
            }
            model.close_band();
        }
        writer.finish(bytes);
    }
}

pub(crate) fn decode(bytes: &[u8], expected: Expected<'_>, data: &mut SectionData) -> Result<(), CodecError> {
    match content(bytes, expected)? {
        Content::Fixed(rest) => fixed::decode(rest, expected, data),
        Content::Coded(reader) => Level::detect().read_section(reader, data),
    }
}

/// Bits of a section by the shares of its symbols.
pub(crate) fn information(bytes: &[u8], expected: Expected<'_>) -> Result<f64, CodecError> {
    match content(bytes, expected)? {
        Content::Fixed(rest) => fixed::information(rest, expected),
        Content::Coded(reader) => {
            let mut gauge = Gauge::new(reader.open()?);
            reader.read_from(&mut gauge, &mut expected.room())?;
            Ok(gauge.bits)
        }
    }
}

/// What follows the first byte.
enum Content<'a> {
    Fixed(&'a [u8]),
    Coded(SectionReader<'a>),
}

fn content<'a>(bytes: &'a [u8], expected: Expected<'a>) -> Result<Content<'a>, CodecError> {
    let fault = CodecError::SectionEnd { tensor: expected.section.tensor };
    match bytes.split_first() {
        Some((&FIXED, rest)) => Ok(Content::Fixed(rest)),
        Some((&first, rest)) => {
            let priors = Priors::of_byte(first).ok_or(fault)?;
            Ok(Content::Coded(SectionReader { bytes: rest, priors, expected }))
        }
        None => Err(fault),
    }
}

/// An entropy-coded section to be read.
pub(crate) struct SectionReader<'a> {
    bytes: &'a [u8],
    priors: Priors,
    expected: Expected<'a>,
}

impl SectionReader<'_> {
    /// Compiled once for each level of vector instructions, hence inlined.
    #[inline(always)]
    pub(crate) fn read(self, data: &mut SectionData) -> Result<(), CodecError> {
        let mut reader = self.open()?;
        self.read_from(&mut reader, data)
    }

    fn open(&self) -> Result<Reader, CodecError> {
        let Expected { layout, section, limits, .. } = self.expected;
        let lanes = lanes(section.values(layout, limits.settings.top_k));
        Reader::new(self.bytes, lanes).ok_or(CodecError::SectionEnd { tensor: section.tensor })
    }

    #[inline(always)]
    fn read_from(self, source: &mut impl Source, data: &mut SectionData) -> Result<(), CodecError> {
        let Expected { layout, section, limits, .. } = self.expected;
        let (tensor, settings) = (section.tensor, &limits.settings);
        let mut model = Model::new(Geometry::new(layout, section), self.priors, settings.quantiser, true);
        for band in &layout.bands()[section.bands.clone()] {
            let kept = band.kept(layout, settings.top_k);
            for chunk in 0..band.across {
                let block = band.block(chunk);
                model.chunk(source, chunk, &block, kept(block.len())).map_err(|fault| fault.in_tensor(tensor))?;
                take(&model.slot, &self.expected, data)?;
            }
            // What comes after the end is zeros: harmless, but not to be read for long.
            if source.reader().is_overrun() {
                break;
            }
            model.close_band();
        }
        if source.reader().is_exhausted() { Ok(()) } else { Err(CodecError::SectionEnd { tensor }) }
    }
}

impl Fault {
    fn in_tensor(self, tensor: usize) -> CodecError {
        match self {
            Fault::Count => CodecError::Count { tensor },
            Fault::Index => CodecError::Index { tensor },
        }
    }
}

/// Moves a decoded chunk over, if its scales or values are within the limits.
fn take(slot: &Slot, expected: &Expected<'_>, data: &mut SectionData) -> Result<(), CodecError> {
    let (limits, tensor, scales) = (expected.limits, expected.section.tensor, slot.scales);
    let quantiser = limits.settings.quantiser;
    if slot.indices.is_empty() {
        data.close_chunk(Scales::default());
        return Ok(());
    }
    if quantiser == Quantiser::Exact {
        for (&index, (&code, bits)) in slot.indices.iter().zip(slot.codes.iter().zip(&slot.magnitudes)) {
            let value = limits.admit(f32::from_bits(u32::from(code & 1) << 31 | bits));
            data.push(index, value.ok_or(CodecError::Value { tensor })?);
        }
    } else {
        let ordered = 0 < scales.high && scales.low <= scales.high && scales.high <= CODE_MAX;
        if quantiser.scales() > 0 && (!ordered || value_of(scales.high) > limits.scale_max) {
            return Err(CodecError::Scale { tensor });
        }
        data.extend(&slot.indices, &slot.codes);
    }
    data.close_chunk(scales);
    Ok(())
}
