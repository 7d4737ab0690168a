//! Sections at the entropy of their content.
//!
//! The first byte is 0xff before a section in fixed-width fields, which is taken if it is not longer. Otherwise a head follows,
//! and one code for all chunks of the section.

use crate::codec::ans::{Coding, Reader, Source, Writer, lanes};
use crate::codec::gauge::Gauge;
use crate::codec::model::{ChunkAt, Fault, Geometry, Group, Head, Marks, Model, fit};
use crate::codec::{CodecError, Expected, fixed};
use crate::compress::Part;
use crate::kernel::Level;
use crate::layout::{Band, Layout, Section};
use crate::quantise::Scales;
use crate::scale::{CODE_MAX, value_of};
use crate::section::SectionData;
use crate::settings::{Quantiser, Settings};

/// First byte of a section in fixed-width fields.
const FIXED: u8 = 0xff;

/// Appends a section to `bytes`.
pub(crate) fn encode(
    (layout, settings): (&Layout, &Settings),
    section: &Section,
    parts: &[Part],
    level: Level,
    bytes: &mut Vec<u8>,
) {
    let start = bytes.len();
    level.write_section(SectionWriter { layout, settings, section, parts }, bytes);
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
    pub(crate) fn write(self, level: Level, bytes: &mut Vec<u8>) {
        let SectionWriter { layout, settings, section, parts } = self;
        let (geometry, quantiser) = (Geometry::new(layout, section, settings.top_k), settings.quantiser);
        let (head, mut marks) = fit(&geometry, &layout.bands()[section.bands.clone()], parts, quantiser);
        head.write(quantiser, bytes);
        let mut writer = Writer::new(lanes(geometry.values), level);
        marks.code(&mut writer, &head);
        let mut model = Model::new(geometry, head, &marks, quantiser);
        model.rank(&marks);
        let mut content = Content::new(parts);
        let (mut groups, mut chunks) = (Groups::new(layout, section, settings.top_k, writer.lanes()), Vec::new());
        while let Some(chunks) = groups.fill(&mut chunks) {
            content.fill(chunks, &mut model.group);
            let sound = model.code(&mut writer, chunks);
            debug_assert!(sound.is_ok(), "what was selected can be coded");
        }
        writer.finish(bytes);
    }
}

/// What was selected in a section, from which groups are taken one after the other.
struct Content<'a> {
    parts: &'a [Part],
    band: usize,
    /// Values and magnitudes of the band that were taken.
    taken: (usize, usize),
}

impl Content<'_> {
    fn new(parts: &[Part]) -> Content<'_> {
        Content { parts, band: 0, taken: (0, 0) }
    }

    #[inline(always)]
    fn fill(&mut self, chunks: &[ChunkAt], group: &mut Group) {
        group.clear();
        for (lane, at) in chunks.iter().enumerate() {
            if at.band != self.band {
                (self.band, self.taken) = (at.band, (0, 0));
            }
            let (part, (values, magnitudes)) = (&self.parts[at.band], self.taken);
            let end = values + usize::from(part.counts[at.chunk]);
            (group.counts[lane], group.scales[lane]) = (end - values, part.scales[at.chunk]);
            group.indices.extend_from_slice(&part.indices[values..end]);
            group.codes.extend_from_slice(&part.codes[values..end]);
            // There are values only where a quantiser needs them.
            let last = (magnitudes + end - values).min(part.values.len());
            group.magnitudes.extend(part.values[magnitudes..last].iter().map(|value| value.abs().to_bits()));
            self.taken = (end, last);
        }
    }
}

/// The chunks of a section, as many at a time as there are states.
struct Groups<'a> {
    bands: &'a [Band],
    layout: &'a Layout,
    geometry: Geometry,
    top_k: usize,
    lanes: usize,
    /// The next chunk, and its band.
    next: (usize, usize),
    /// The chunks of a band of so many rows.
    row: Vec<ChunkAt>,
    rows: usize,
}

impl<'a> Groups<'a> {
    fn new(layout: &'a Layout, section: &Section, top_k: usize, lanes: usize) -> Groups<'a> {
        let (bands, geometry) = (&layout.bands()[section.bands.clone()], Geometry::new(layout, section, top_k));
        Groups { bands, layout, geometry, top_k, lanes, next: (0, 0), row: Vec::new(), rows: 0 }
    }

    /// Fills in the next chunks; there are none after the last.
    #[inline(always)]
    fn fill<'b>(&mut self, chunks: &'b mut Vec<ChunkAt>) -> Option<&'b [ChunkAt]> {
        chunks.clear();
        while let Some(band) = self.bands.get(self.next.1).filter(|_| chunks.len() < self.lanes) {
            if band.rows != self.rows {
                self.cut(band);
            }
            let (chunk, number) = self.next;
            let end = (chunk + self.lanes - chunks.len()).min(band.across);
            chunks.extend(self.row[chunk..end].iter().map(|at| ChunkAt { band: number, ..*at }));
            self.next = if end < band.across { (end, number) } else { (0, number + 1) };
        }
        (!chunks.is_empty()).then_some(chunks)
    }

    /// Finds how the chunks of a band are cut: as those of all bands of so many rows. It takes divisions, which are slow.
    fn cut(&mut self, band: &Band) {
        let chunks = (0..band.across).map(|chunk| {
            let block = band.block(chunk);
            let (cut, kept) = (self.geometry.cut(chunk, &block), self.layout.kept(block.len(), self.top_k));
            ChunkAt { band: 0, chunk, cut, kept }
        });
        (self.row, self.rows) = (chunks.collect(), band.rows);
    }
}

pub(crate) fn decode(
    bytes: &[u8],
    expected: Expected<'_>,
    level: Level,
    data: &mut SectionData,
) -> Result<(), CodecError> {
    match bytes.split_first() {
        Some((&FIXED, rest)) => fixed::decode(rest, expected, level, data),
        _ => level.read_section(SectionReader { bytes, expected }, data),
    }
}

/// Bits of a section by the shares of its symbols.
pub(crate) fn information(bytes: &[u8], expected: Expected<'_>) -> Result<f64, CodecError> {
    if let Some((&FIXED, rest)) = bytes.split_first() {
        return fixed::information(rest, expected);
    }
    let mut bits = 0.0;
    let (head, reader) = SectionReader { bytes, expected }.open(Level::Plain)?;
    let mut gauge = Gauge::new(reader, &mut bits);
    SectionReader { bytes, expected }.read_from(head, &mut gauge, &mut expected.room())?;
    Ok(bits)
}

/// An entropy-coded section to be read.
pub(crate) struct SectionReader<'a> {
    bytes: &'a [u8],
    expected: Expected<'a>,
}

impl<'a> SectionReader<'a> {
    /// Compiled once for each level of vector instructions, hence inlined.
    #[inline(always)]
    pub(crate) fn read(self, level: Level, data: &mut SectionData) -> Result<(), CodecError> {
        let (head, mut reader) = self.open(level)?;
        self.read_from(head, &mut reader, data)
    }

    fn open(&self, level: Level) -> Result<(Head, Reader<'a>), CodecError> {
        let Expected { layout, section, limits, .. } = self.expected;
        let fault = CodecError::SectionEnd { tensor: section.tensor };
        let (head, rest) = Head::read(self.bytes, limits.settings.quantiser).ok_or(fault.clone())?;
        let lanes = lanes(section.values(layout, limits.settings.top_k));
        Ok((head, Reader::new(rest, lanes, level).ok_or(fault)?))
    }

    #[inline(always)]
    fn read_from(self, head: Head, source: &mut impl Source, data: &mut SectionData) -> Result<(), CodecError> {
        let Expected { layout, section, limits, .. } = self.expected;
        let (tensor, settings) = (section.tensor, &limits.settings);
        let geometry = Geometry::new(layout, section, settings.top_k);
        let mut marks = Marks::new(&geometry);
        marks.code(source, &head);
        let mut model = Model::new(geometry, head, &marks, settings.quantiser);
        if source.plans() {
            model.rank(&marks);
        }
        let (mut groups, mut chunks) = (Groups::new(layout, section, settings.top_k, source.lanes()), Vec::new());
        while let Some(chunks) = groups.fill(&mut chunks) {
            // What comes after the end is zeros: harmless, but not to be read for long.
            if source.is_overrun() {
                return Err(CodecError::SectionEnd { tensor });
            }
            model.group.reset();
            data.prefetch_room(chunks.iter().map(|at| at.kept).sum());
            model.code(source, chunks).map_err(|fault| fault.in_tensor(tensor))?;
            take(&model.group, chunks.len(), &self.expected, data)?;
        }
        if source.is_exhausted() { Ok(()) } else { Err(CodecError::SectionEnd { tensor }) }
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

/// Moves decoded chunks over, if their scales or values are within the limits.
#[inline(always)]
fn take(group: &Group, chunks: usize, expected: &Expected<'_>, data: &mut SectionData) -> Result<(), CodecError> {
    let (limits, tensor) = (expected.limits, expected.section.tensor);
    let (quantiser, counts) = (limits.settings.quantiser, &group.counts[..chunks]);
    let sound = |(&count, scales): (&usize, &Scales)| {
        let ordered = 0 < scales.high && scales.low <= scales.high && scales.high <= CODE_MAX;
        count == 0 || quantiser.scales() == 0 || ordered && value_of(scales.high) <= limits.scale_max
    };
    if !counts.iter().zip(&group.scales).all(sound) {
        return Err(CodecError::Scale { tensor });
    }
    if quantiser != Quantiser::Exact {
        data.append((&group.indices, &group.codes), counts, &group.scales);
        return Ok(());
    }
    let mut values = group.indices.iter().zip(&group.codes).zip(&group.magnitudes);
    for &count in counts {
        for ((&index, &code), bits) in values.by_ref().take(count) {
            let value = limits.admit(f32::from_bits(u32::from(code & 1) << 31 | bits));
            data.push(index, value.ok_or(CodecError::Value { tensor })?);
        }
        data.close_chunk(Scales::default());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Instructions;
    use crate::laws::gradient;
    use crate::quantise::Table;
    use crate::{Compressor, Limits};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn all_instructions_read_the_same_of_whatever_comes(
            shape in prop::sample::select(vec![vec![250, 400], vec![700, 512], vec![90, 4000]]), seed in 1_u64..,
            damage in prop::option::of((any::<prop::sample::Index>(), 1_u8..)), settings in prop::sample::select(vec![
                Settings::new(64, Quantiser::SignScale), Settings::new(64, Quantiser::TwoLevels),
                Settings::new(700, Quantiser::SignScale), Settings::new(9, Quantiser::FourBits),
            ]),
        ) {
            let layout = Layout::new(64, [shape]).unwrap();
            let mut values = gradient(seed, layout.len());
            // Crowded rows and columns, and signs that follow them.
            let columns = layout.tensors()[0].shape[1];
            for (place, value) in values.iter_mut().enumerate() {
                let (row, column) = (place / columns, place % columns);
                *value = value.abs() * (1 + row % 5 * (column % 7)) as f32 * if (row % 3 == 0) == (column % 2 == 0) { 1.0 } else { -1.0 };
            }
            let payload = Compressor::new(layout.clone(), settings).unwrap().compress(&mut values);
            let mut bytes = payload[crate::codec::HEADER_BYTES + crate::codec::TABLE_BYTES..].to_vec();
            if let Some((place, change)) = damage {
                bytes[place.index(payload.len() - 36)] ^= change;
            }
            let limits = Limits::new(settings);
            let expected =
                Expected { layout: &layout, section: &layout.sections()[0], limits: &limits, table: Table::default() };
            let read = |level: Level| {
                let mut data = expected.room();
                level.read_section(SectionReader { bytes: &bytes, expected }, &mut data).map(|()| data)
            };
            let plain = read(Level::Plain);
            prop_assert!(damage.is_some() || plain.is_ok());
            for level in [Instructions::Avx2, Instructions::Avx512].into_iter().filter_map(Level::of) {
                prop_assert_eq!(&read(level), &plain);
            }
        }
    }
}
