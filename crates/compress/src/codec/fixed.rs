//! Sections in fixed-width fields.
//!
//! Per chunk: the number of values; if it is not zero the scales, then per value its index and its code. Every field
//! has the fewest bits that hold its largest value, and the section ends with zero bits to a whole byte.

use crate::bits::{BitReader, BitWriter, width_of};
use crate::codec::{CodecError, Expected};
use crate::compress::Part;
use crate::layout::{Band, Layout, Section};
use crate::quantise::{Scales, Table};
use crate::scale::{CODE_BITS, CODE_MAX, value_of};
use crate::settings::{Quantiser, Settings};
use crate::update::SectionData;

/// Appends a section to `bytes`.
pub(crate) fn encode(layout: &Layout, settings: &Settings, section: &Section, parts: &[Part], bytes: &mut Vec<u8>) {
    let mut writer = BitWriter::new(bytes);
    for (band, part) in layout.bands()[section.bands.clone()].iter().zip(parts) {
        encode_band(layout, settings, (band, part), &mut writer);
    }
    writer.finish();
}

/// Bytes of a section.
pub(crate) fn length(layout: &Layout, settings: &Settings, section: &Section, parts: &[Part]) -> usize {
    let mut bits = 0;
    for (band, part) in layout.bands()[section.bands.clone()].iter().zip(parts) {
        for (chunk, &count) in part.counts.iter().enumerate() {
            let length = band.block(chunk).len();
            bits += chunk_bits(length, layout.kept(length, settings.top_k), usize::from(count), settings.quantiser);
        }
    }
    bits.div_ceil(8)
}

/// Bits of a chunk with `count` values.
pub(crate) fn chunk_bits(length: usize, kept: usize, count: usize, quantiser: Quantiser) -> usize {
    let scales = if count > 0 { quantiser.scales() as u32 * CODE_BITS } else { 0 };
    let value = width_of(length) + quantiser.code_bits();
    (width_of(kept + 1) + scales) as usize + count * value as usize
}

fn encode_band(layout: &Layout, settings: &Settings, (band, part): (&Band, &Part), writer: &mut BitWriter<'_>) {
    let quantiser = settings.quantiser;
    let mut indices = &part.indices[..];
    let (mut codes, mut values) = (part.codes.iter(), part.values.iter());
    for (chunk, (&count, scales)) in part.counts.iter().zip(&part.scales).enumerate() {
        let length = band.block(chunk).len();
        writer.put(u32::from(count), width_of(layout.kept(length, settings.top_k) + 1));
        if count > 0 {
            if quantiser.scales() == 2 {
                writer.put(u32::from(scales.low), CODE_BITS);
            }
            if quantiser.scales() > 0 {
                writer.put(u32::from(scales.high), CODE_BITS);
            }
        }
        let (mine, rest) = indices.split_at(usize::from(count));
        indices = rest;
        for &index in mine {
            writer.put(u32::from(index), width_of(length));
            let code = match quantiser {
                Quantiser::Exact => values.next().map(|value| value.to_bits()),
                _ => codes.next().map(|&code| u32::from(code)),
            };
            writer.put(code.unwrap_or_default(), quantiser.code_bits());
        }
    }
}

pub(crate) fn decode(bytes: &[u8], expected: Expected<'_>) -> Result<SectionData, CodecError> {
    let Expected { layout, section, limits, .. } = expected;
    let mut decoder = Decoder { reader: BitReader::new(bytes), expected };
    let settings = &limits.settings;
    let mut data = SectionData::with_capacity(section.chunks.len(), section.values(layout, settings.top_k));
    for band in &layout.bands()[section.bands.clone()] {
        for chunk in 0..band.across {
            let length = band.block(chunk).len();
            decoder.chunk(length, layout.kept(length, settings.top_k), &mut data)?;
        }
    }
    if decoder.reader.is_exhausted() { Ok(data) } else { Err(CodecError::SectionEnd { tensor: section.tensor }) }
}

struct Decoder<'a> {
    reader: BitReader<'a>,
    expected: Expected<'a>,
}

impl Decoder<'_> {
    fn tensor(&self) -> usize {
        self.expected.section.tensor
    }

    fn quantiser(&self) -> Quantiser {
        self.expected.limits.settings.quantiser
    }

    fn take(&mut self, width: u32) -> Result<u32, CodecError> {
        self.reader.take(width).ok_or(CodecError::SectionEnd { tensor: self.tensor() })
    }

    fn chunk(&mut self, length: usize, kept: usize, data: &mut SectionData) -> Result<(), CodecError> {
        let count = self.take(width_of(kept + 1))? as usize;
        if !(self.quantiser().count_min(kept)..=kept).contains(&count) {
            return Err(CodecError::Count { tensor: self.tensor() });
        }
        if count > 0 {
            let table = match self.quantiser().scales() {
                0 => self.expected.table,
                _ => Table::of_scales(self.quantiser(), self.scales()?),
            };
            self.values(length, count, &table, data)?;
        }
        data.close_chunk();
        Ok(())
    }

    fn scales(&mut self) -> Result<Scales, CodecError> {
        let low = if self.quantiser().scales() == 2 { self.take(CODE_BITS)? as u16 } else { 0 };
        let high = self.take(CODE_BITS)? as u16;
        let ordered = 0 < high && low <= high && high <= CODE_MAX;
        if ordered && value_of(high) <= self.expected.limits.scale_max {
            Ok(Scales { low, high })
        } else {
            Err(CodecError::Scale { tensor: self.tensor() })
        }
    }

    fn values(&mut self, length: usize, count: usize, table: &Table, data: &mut SectionData) -> Result<(), CodecError> {
        let (quantiser, mut least) = (self.quantiser(), 0);
        for _ in 0..count {
            let index = self.take(width_of(length))? as usize;
            if index < least || index >= length {
                return Err(CodecError::Index { tensor: self.tensor() });
            }
            least = index + 1;
            let code = self.take(quantiser.code_bits())?;
            let value = match quantiser {
                Quantiser::Exact => {
                    let value = f32::from_bits(code);
                    self.expected.limits.admit(value).ok_or(CodecError::Value { tensor: self.tensor() })?
                }
                _ => table.value(code as u8),
            };
            data.push(index as u16, value);
        }
        Ok(())
    }
}
