//! Error feedback in, payload bytes out.

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use crate::codec::{encode_section, join};
use crate::compat::{Member, quantise_tensor};
use crate::kernel::{
    Candidates, Compact, Copied, Elements, GROUPS, Instructions, Level, ROW, key, prefetch_any, select,
};
use crate::layout::{Band, Block, Layout, Section};
use crate::quantise::{Scales, Table, quantise};
use crate::scale::LARGEST;
use crate::settings::{Quantiser, Settings, SettingsError};

/// What the last call of a [`Compressor`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CompressReport {
    /// Values in the payload.
    pub selected: usize,
    /// Coordinates that were not finite or above [`crate::LARGEST`]; they are zero in the feedback now.
    pub rejected: usize,
}

/// Turns error feedback into payloads. Holds working memory, so that one compressor should serve all windows.
#[derive(Debug)]
pub struct Compressor {
    layout: Layout,
    settings: Settings,
    level: Level,
    parts: Vec<Part>,
    report: CompressReport,
}

/// What was selected in one band, chunk by chunk.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) counts: Vec<u16>,
    pub(crate) scales: Vec<Scales>,
    pub(crate) indices: Vec<u16>,
    pub(crate) codes: Vec<u8>,
    /// The values themselves, where the quantiser needs them after selection.
    pub(crate) values: Vec<f32>,
    /// Values of the codes, where a tensor has them in common.
    pub(crate) levels: [f32; 4],
    rejected: usize,
}

impl Part {
    fn clear(&mut self) {
        self.counts.clear();
        self.scales.clear();
        self.indices.clear();
        self.codes.clear();
        self.values.clear();
        self.rejected = 0;
    }
}

/// What is added to the decayed feedback before selection: `before - after`.
#[derive(Clone, Copy)]
pub(crate) struct Delta<'a> {
    before: &'a [f32],
    after: &'a [f32],
    decay: f32,
}

impl<'a> Delta<'a> {
    #[inline(always)]
    fn of(self, range: Range<usize>) -> Delta<'a> {
        Delta { before: &self.before[range.clone()], after: &self.after[range], decay: self.decay }
    }

    /// Applies it to a row of the feedback, shows each whole piece then, and asks for what is so many elements behind it.
    #[inline(always)]
    fn apply(self, feedback: &mut [f32], ahead: usize, mut show: impl FnMut(usize, &[f32; ROW])) {
        let (pieces, rest) = feedback.as_chunks_mut();
        let ((before, before_rest), (after, after_rest)) = (self.before.as_chunks(), self.after.as_chunks());
        for (number, (piece, (before, after))) in pieces.iter_mut().zip(before.iter().zip(after)).enumerate() {
            [&*piece, before, after].into_iter().for_each(|values| prefetch_any(values, ahead, ROW));
            self.add(piece, before, after);
            show(number, piece);
        }
        self.add(rest, before_rest, after_rest);
    }

    #[inline(always)]
    fn add(&self, feedback: &mut [f32], before: &[f32], after: &[f32]) {
        for (e, (before, after)) in feedback.iter_mut().zip(before.iter().zip(after)) {
            *e = self.decay * *e + (before - after);
        }
    }
}

/// Whether the feedback keeps what the payload carries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Residual {
    Subtract,
    Keep,
}

/// Working space of one thread.
#[derive(Default)]
pub(crate) struct Scratch {
    /// For each 64 columns of the panel, row by row, the largest magnitudes of each eight elements, as bits.
    maxima: Vec<u32>,
    copied: Copied,
    candidates: Candidates,
    /// Where what was selected lies in the band, and the values.
    positions: Vec<usize>,
    selected: Vec<f32>,
}

/// One band to compress.
pub(crate) struct BandWork<'a> {
    layout: &'a Layout,
    settings: &'a Settings,
    band: &'a Band,
    feedback: &'a mut [f32],
    delta: Option<Delta<'a>>,
    residual: Residual,
    part: &'a mut Part,
}

thread_local! {
    /// The working space of the thread's last band, since to ask the system for it again for each band takes time.
    static SCRATCH: Cell<Scratch> = Cell::default();
}

impl BandWork<'_> {
    fn run(self, level: Level) {
        let mut scratch = SCRATCH.take();
        level.compress_band(self, &mut scratch);
        SCRATCH.set(scratch);
    }
}

impl Compressor {
    /// A compressor for one layout.
    ///
    /// # Errors
    /// If the settings do not fit the layout.
    pub fn new(layout: Layout, settings: Settings) -> Result<Compressor, SettingsError> {
        settings.check(&layout)?;
        let mut parts = Vec::new();
        parts.resize_with(layout.bands().len(), Part::default);
        Ok(Compressor { layout, settings, level: Level::detect(), parts, report: CompressReport::default() })
    }

    /// Uses other vector instructions than the best of this machine, to measure and to test: no byte of any result
    /// depends on them. `None` if the machine lacks them.
    #[must_use]
    pub fn with_instructions(self, instructions: Instructions) -> Option<Compressor> {
        Some(Compressor { level: Level::of(instructions)?, ..self })
    }

    /// The layout it was made for.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The settings it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What the last call did.
    #[must_use]
    pub fn report(&self) -> CompressReport {
        self.report
    }

    /// Encodes the largest values of `feedback` (already `decay * E + delta`) and leaves the residual in it.
    ///
    /// # Panics
    /// If the slice is not as long as the layout.
    #[must_use]
    pub fn compress(&mut self, feedback: &mut [f32]) -> Vec<u8> {
        self.run(feedback, None, Residual::Subtract)
    }

    /// `feedback = decay * feedback + (before - after)`, then as [`Compressor::compress`], in one pass over memory.
    ///
    /// # Panics
    /// If a slice is not as long as the layout.
    #[must_use]
    pub fn accumulate_and_compress(
        &mut self,
        feedback: &mut [f32],
        before: &[f32],
        after: &[f32],
        decay: f32,
    ) -> Vec<u8> {
        self.run(feedback, Some(Delta { before, after, decay }), Residual::Subtract)
    }

    /// Like [`Compressor::accumulate_and_compress`], but the payload's values stay in the feedback too. If the payload
    /// is accepted later, [`crate::SparseUpdate::subtract_from`] yields the residual, with the same bits; if not, the
    /// feedback is already what it must be.
    ///
    /// # Panics
    /// If a slice is not as long as the layout.
    #[must_use]
    pub fn accumulate_and_encode(
        &mut self,
        feedback: &mut [f32],
        before: &[f32],
        after: &[f32],
        decay: f32,
    ) -> Vec<u8> {
        self.run(feedback, Some(Delta { before, after, decay }), Residual::Keep)
    }

    fn run(&mut self, feedback: &mut [f32], delta: Option<Delta<'_>>, residual: Residual) -> Vec<u8> {
        let len = self.layout.len();
        assert_eq!(feedback.len(), len, "the feedback is not as long as the layout");
        if let Some(Delta { before, after, .. }) = delta {
            assert_eq!((before.len(), after.len()), (len, len), "the parameters are not as long as the layout");
        }
        let sections = if self.settings.quantiser == Quantiser::Compatible {
            self.select_then_quantise(feedback, delta, residual)
        } else {
            self.compress_sections(feedback, delta, residual)
        };
        let bytes = join(&self.layout, &self.settings, &sections);
        self.report = CompressReport {
            selected: self.parts.iter().map(|part| part.indices.len()).sum(),
            rejected: self.parts.iter().map(|part| part.rejected).sum(),
        };
        bytes
    }

    /// Compresses section by section: one is coded as soon as it is selected, since coding keeps the processor busy while
    /// other threads wait for memory.
    fn compress_sections(
        &mut self,
        feedback: &mut [f32],
        delta: Option<Delta<'_>>,
        residual: Residual,
    ) -> Vec<Vec<u8>> {
        let (layout, settings, level) = (&self.layout, &self.settings, self.level);
        let sections = sections_of(layout, feedback, &mut self.parts).into_par_iter();
        let sections = sections.map(|SectionWork { section, feedback, parts }| {
            let bands = &layout.bands()[section.bands.clone()];
            let work = (parts.par_iter_mut(), bands, feedback).into_par_iter();
            work.for_each(|(part, band, feedback)| {
                let delta = delta.map(|delta| delta.of(band.offset..band.offset + band.len()));
                BandWork { layout, settings, band, feedback, delta, residual, part }.run(level);
            });
            encode_section((layout, settings), section, parts, level)
        });
        sections.collect()
    }

    /// The same where codes depend on all that was selected in a tensor.
    fn select_then_quantise(
        &mut self,
        feedback: &mut [f32],
        delta: Option<Delta<'_>>,
        residual: Residual,
    ) -> Vec<Vec<u8>> {
        let (layout, settings, level) = (&self.layout, &self.settings, self.level);
        let slices = layout.split_mut(feedback);
        let work = (&mut self.parts, layout.bands(), slices).into_par_iter();
        let members = work.map(|(part, band, feedback)| {
            let delta = delta.map(|delta| delta.of(band.offset..band.offset + band.len()));
            BandWork { layout, settings, band, feedback, delta, residual, part }.run(level);
            Member { band, part, feedback: (residual == Residual::Subtract).then_some(feedback) }
        });
        let mut members = members.collect::<Vec<_>>();
        members.chunk_by_mut(|a, b| a.band.tensor == b.band.tensor).for_each(quantise_tensor);
        let parts = &self.parts;
        let sections = layout.sections().par_iter();
        let encode =
            |section: &Section| encode_section((layout, settings), section, &parts[section.bands.clone()], level);
        sections.map(encode).collect()
    }
}

/// What belongs to one section: the slices of the feedback by band, and the parts to fill.
struct SectionWork<'a> {
    section: &'a Section,
    feedback: Vec<&'a mut [f32]>,
    parts: &'a mut [Part],
}

fn sections_of<'a>(layout: &'a Layout, feedback: &'a mut [f32], mut parts: &'a mut [Part]) -> Vec<SectionWork<'a>> {
    let mut slices = layout.split_mut(feedback).into_iter();
    let sections = layout.sections().iter().map(|section| {
        let (mine, rest) = std::mem::take(&mut parts).split_at_mut(section.bands.len());
        parts = rest;
        let feedback = slices.by_ref().take(section.bands.len()).collect();
        SectionWork { section, feedback, parts: mine }
    });
    sections.collect()
}

/// Elements of a panel: what selection finds in the second cache.
const PANEL: usize = 1 << 16;

/// Compresses a band panel by panel. Compiled once for each level of vector instructions, hence inlined.
///
/// A panel is some chunks side by side. Memory is read along its long rows, as the machine expects it, and only once: what
/// selection and residual need is then in the second cache.
#[inline(always)]
pub(crate) fn compress_band(compact: impl Compact, mut work: BandWork<'_>, scratch: &mut Scratch) {
    work.part.clear();
    for panel in work.band.panels(PANEL) {
        let (first, last) = (work.band.block(panel.start), work.band.block(panel.end - 1));
        accumulate(compact, &mut work, first.start..last.start + last.width, &mut scratch.maxima);
        for chunk in panel {
            let block = work.band.block(chunk);
            compress_chunk(compact, &mut work, (block, first.start), scratch);
        }
    }
}

/// Rows between what is computed and what is asked for.
const ROWS_AHEAD: usize = 4;

/// Applies `delta` to some columns of the feedback, and finds the largest of each eight elements while they are at hand.
#[inline(always)]
fn accumulate(compact: impl Compact, work: &mut BandWork<'_>, columns: Range<usize>, maxima: &mut Vec<u32>) {
    let (rows, stride) = (work.band.rows, work.band.columns);
    maxima.resize(columns.len() / ROW * rows * GROUPS, 0);
    let maxima = maxima.as_chunks_mut().0;
    for row in 0..rows {
        let range = row * stride + columns.start..row * stride + columns.end;
        let feedback = &mut work.feedback[range.clone()];
        let mut largest = |piece: usize, values: &[f32; ROW]| maxima[piece * rows + row] = compact.maxima(values);
        match work.delta {
            Some(delta) => delta.of(range).apply(feedback, ROWS_AHEAD * stride, largest),
            None => feedback.as_chunks().0.iter().enumerate().for_each(|(piece, values)| {
                prefetch_any(values, ROWS_AHEAD * stride, ROW);
                largest(piece, values);
            }),
        }
    }
}

/// The elements of a chunk as they lie in a panel, if they are such as selection wants, and if all values are usable.
#[inline(always)]
fn elements_of<'a>(feedback: &'a [f32], (block, first): (Block, usize), maxima: &'a [u32]) -> Option<Elements<'a>> {
    let piece = block.start - first;
    if block.width != ROW || !piece.is_multiple_of(ROW) {
        return None;
    }
    let maxima = &maxima[piece / ROW * block.rows * GROUPS..][..block.rows * GROUPS];
    let elements = Elements { values: &feedback[block.start..], gap: block.stride - ROW, maxima };
    (elements.largest() <= LARGEST.to_bits()).then_some(elements)
}

/// Selects and quantises a chunk of a panel that begins at `first`, and subtracts what was selected from the feedback.
#[inline(always)]
fn compress_chunk(
    compact: impl Compact,
    work: &mut BandWork<'_>,
    (block, first): (Block, usize),
    scratch: &mut Scratch,
) {
    let Scratch { maxima, copied, candidates, positions, selected } = scratch;
    let (quantiser, part) = (work.settings.quantiser, &mut *work.part);
    let elements = match elements_of(work.feedback, (block, first), maxima) {
        Some(elements) => elements,
        None => {
            copied.copy(compact, work.feedback, block);
            if copied.elements().largest() > LARGEST.to_bits() {
                part.rejected += reject_unusable(work.feedback, block);
                copied.copy(compact, work.feedback, block);
            }
            copied.elements()
        }
    };
    let first = part.indices.len();
    let kept = work.layout.kept(block.len(), work.settings.top_k);
    // Zeros say nothing, but a quantiser that always sends the same number of values may need them.
    let least = u32::from(quantiser.count_min(kept) == 0);
    select(compact, (elements, block.len()), (kept, least), candidates, &mut part.indices);
    let places = block.places();
    positions.clear();
    positions.extend(part.indices[first..].iter().map(|&index| places.of(index)));
    selected.clear();
    selected.extend(positions.iter().map(|&position| work.feedback[position]));
    let code = part.codes.len();
    let scales = quantise(quantiser, selected, &mut part.codes);
    if scales.high == 0 && quantiser.scales() > 0 {
        part.indices.truncate(first);
        positions.clear();
    }
    if matches!(quantiser, Quantiser::Compatible | Quantiser::Exact) {
        part.values.extend_from_slice(selected);
    }
    if work.residual == Residual::Subtract && quantiser != Quantiser::Compatible {
        let table = Table::of_scales(quantiser, scales);
        for ((&position, &value), &code) in positions.iter().zip(&*selected).zip(&part.codes[code..]) {
            work.feedback[position] = if quantiser == Quantiser::Exact { 0.0 } else { value - table.value(code) };
        }
    }
    part.scales.push(scales);
    part.counts.push((part.indices.len() - first) as u16);
}

/// Sets values of a chunk that cannot be compressed to zero, and says how many there were.
fn reject_unusable(feedback: &mut [f32], block: Block) -> usize {
    let mut rejected = 0;
    for run in block.runs() {
        for value in feedback[run].iter_mut().filter(|value| key(**value) > LARGEST.to_bits()) {
            *value = 0.0;
            rejected += 1;
        }
    }
    rejected
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Quantiser;

    #[test]
    fn unusable_values_become_zero() {
        let mut feedback = [9.0, 1.0, f32::NAN, f32::INFINITY, 9.0, -f32::INFINITY, LARGEST, LARGEST * 1.01];
        let block = Block { start: 1, rows: 2, width: 3, stride: 4 };
        assert_eq!(reject_unusable(&mut feedback, block), 4);
        assert_eq!(feedback, [9.0, 1.0, 0.0, 0.0, 9.0, 0.0, LARGEST, 0.0]);
    }

    #[test]
    fn every_level_yields_the_same_bytes_and_bits() {
        let layout = Layout::new(64, [vec![130, 200], vec![4097], vec![3, 700]]).unwrap();
        let before =
            (0..layout.len() as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 9) as f32 * 1e-9).collect::<Vec<_>>();
        let after = before.iter().rev().copied().collect::<Vec<_>>();
        let all = [Instructions::Neon, Instructions::Avx2, Instructions::Avx512];
        for quantiser in Quantiser::ALL {
            let run = |level| {
                let mut compressor = Compressor::new(layout.clone(), Settings::new(64, quantiser)).unwrap();
                compressor.level = level;
                let mut feedback = before.clone();
                let bytes = compressor.accumulate_and_compress(&mut feedback, &before, &after, 0.95);
                (bytes, feedback.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
            };
            let plain = run(Level::Plain);
            assert!(all.into_iter().filter_map(Level::of).all(|level| run(level) == plain));
        }
    }
}
