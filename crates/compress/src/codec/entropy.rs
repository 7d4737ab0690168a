//! Sections at the entropy of their content.
//!
//! The first byte is 0xff before a section in fixed-width fields, which is taken if it is not longer. Otherwise a head follows,
//! and one code for all chunks of the section.

use crate::codec::ans::{Coding, Writer, lanes};
use crate::codec::fixed;
use crate::codec::model::{ChunkAt, Geometry, Group, Model, Spare, fit};
use crate::compress::Part;
use crate::kernel::Level;
use crate::layout::{Band, Layout, Section};
use crate::settings::Settings;

/// First byte of a section in fixed-width fields.
pub(super) const FIXED: u8 = 0xff;

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
        let mut model = Model::new((geometry, quantiser), head, &marks, (Spare::default(), level));
        model.rank(&marks);
        let mut content = Content::new(parts);
        let (mut groups, mut chunks) =
            (Groups::new(layout, (section, geometry), (settings.top_k, writer.lanes())), Vec::new());
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
pub(super) struct Groups<'a> {
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
    pub(super) fn new(
        layout: &'a Layout,
        (section, geometry): (&Section, Geometry),
        (top_k, lanes): (usize, usize),
    ) -> Groups<'a> {
        let bands = &layout.bands()[section.bands.clone()];
        Groups { bands, layout, geometry, top_k, lanes, next: (0, 0), row: Vec::new(), rows: 0 }
    }

    /// Fills in the next chunks; there are none after the last.
    #[inline(always)]
    pub(super) fn fill<'b>(&mut self, chunks: &'b mut Vec<ChunkAt>) -> Option<&'b [ChunkAt]> {
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
