//! Sections in fixed-width fields.
//!
//! Per chunk: the number of values; if it is not zero the scales, then per value its index and its code. Every field
//! has the fewest bits that hold its largest value, and the section ends with zero bits to a whole byte.

use crate::bits::{BitReader, BitWriter, width_of};
use crate::codec::{CodecError, Expected};
use crate::compress::Part;
use crate::kernel::Level;
use crate::layout::{Band, Layout, Section};
use crate::quantise::Scales;
use crate::scale::{CODE_BITS, CODE_MAX, value_of};
use crate::section::SectionData;
use crate::settings::{Quantiser, Settings};

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

pub(crate) fn decode(
    bytes: &[u8],
    expected: Expected<'_>,
    level: Level,
    data: &mut SectionData,
) -> Result<(), CodecError> {
    level.read_fixed(FixedReader { bytes, expected }, data)
}

/// A section to be read.
pub(crate) struct FixedReader<'a> {
    bytes: &'a [u8],
    expected: Expected<'a>,
}

impl FixedReader<'_> {
    /// Compiled once for each level of vector instructions, hence inlined.
    #[inline(always)]
    pub(crate) fn read(self, data: &mut SectionData) -> Result<(), CodecError> {
        let Expected { layout, section, limits, .. } = self.expected;
        let mut decoder = Decoder { reader: BitReader::new(self.bytes), expected: self.expected, fields: Vec::new() };
        for band in &layout.bands()[section.bands.clone()] {
            let kept = band.kept(layout, limits.settings.top_k);
            for chunk in 0..band.across {
                let length = band.block(chunk).len();
                decoder.chunk(length, kept(length), data)?;
            }
        }
        if decoder.reader.is_exhausted() { Ok(()) } else { Err(CodecError::SectionEnd { tensor: section.tensor }) }
    }
}

/// Bits of a section, if it is sound.
pub(crate) fn information(bytes: &[u8], expected: Expected<'_>) -> Result<f64, CodecError> {
    decode(bytes, expected, Level::detect(), &mut expected.room())?;
    Ok(8.0 * bytes.len() as f64)
}

struct Decoder<'a> {
    reader: BitReader<'a>,
    expected: Expected<'a>,
    /// Index and code of each value of a chunk.
    fields: Vec<u32>,
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

    #[inline(always)]
    fn chunk(&mut self, length: usize, kept: usize, data: &mut SectionData) -> Result<(), CodecError> {
        let count = self.take(width_of(kept + 1))? as usize;
        if !(self.quantiser().count_min(kept)..=kept).contains(&count) {
            return Err(CodecError::Count { tensor: self.tensor() });
        }
        let scales = if count > 0 { self.scales()? } else { Scales::default() };
        match self.quantiser() {
            Quantiser::Exact => self.exact(length, count, data)?,
            _ => self.coded(length, count, data)?,
        }
        data.close_chunk(scales);
        Ok(())
    }

    fn scales(&mut self) -> Result<Scales, CodecError> {
        let scales = self.quantiser().scales();
        let low = if scales == 2 { self.take(CODE_BITS)? as u16 } else { 0 };
        let high = if scales > 0 { self.take(CODE_BITS)? as u16 } else { 0 };
        let ordered = 0 < high && low <= high && high <= CODE_MAX;
        if scales == 0 || (ordered && value_of(high) <= self.expected.limits.scale_max) {
            Ok(Scales { low, high })
        } else {
            Err(CodecError::Scale { tensor: self.tensor() })
        }
    }

    /// Indices and codes are read together, and the order of the indices is looked at when all are there.
    #[inline(always)]
    fn coded(&mut self, length: usize, count: usize, data: &mut SectionData) -> Result<(), CodecError> {
        let (index_bits, code_bits) = (width_of(length), self.quantiser().code_bits());
        self.fields.resize(count, 0);
        let all = self.reader.take_all(index_bits + code_bits, &mut self.fields);
        all.ok_or(CodecError::SectionEnd { tensor: self.tensor() })?;
        let mask = (1 << index_bits) - 1;
        let (indices, codes) = data.room(count);
        for ((index, code), field) in indices.iter_mut().zip(codes).zip(&self.fields) {
            (*index, *code) = ((field & mask) as u16, (field >> index_bits) as u8);
        }
        let ascends = indices.iter().zip(indices.iter().skip(1)).fold(true, |ascends, (a, b)| ascends & (a < b));
        let inside = indices.last().is_none_or(|&last| usize::from(last) < length);
        if ascends && inside { Ok(()) } else { Err(CodecError::Index { tensor: self.tensor() }) }
    }

    fn exact(&mut self, length: usize, count: usize, data: &mut SectionData) -> Result<(), CodecError> {
        let mut least = 0;
        for _ in 0..count {
            let index = self.take(width_of(length))? as usize;
            if index < least || index >= length {
                return Err(CodecError::Index { tensor: self.tensor() });
            }
            least = index + 1;
            let value = f32::from_bits(self.take(self.quantiser().code_bits())?);
            data.push(
                index as u16,
                self.expected.limits.admit(value).ok_or(CodecError::Value { tensor: self.tensor() })?,
            );
        }
        Ok(())
    }
}
