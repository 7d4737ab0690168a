//! Error feedback in, payload bytes out.

use rayon::prelude::*;

use crate::codec::encode;
use crate::layout::{Band, Block, Layout};
use crate::quantise::{Scales, quantise};
use crate::select::{reject_unusable, select};
use crate::settings::{Settings, SettingsError};

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
    rejected: usize,
}

impl Part {
    fn clear(&mut self) {
        self.counts.clear();
        self.scales.clear();
        self.indices.clear();
        self.codes.clear();
        self.rejected = 0;
    }
}

/// What becomes of a coordinate of the feedback before selection.
#[derive(Clone, Copy)]
struct Delta<'a> {
    before: &'a [f32],
    after: &'a [f32],
    decay: f32,
}

/// Whether the feedback keeps what the payload carries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Residual {
    Subtract,
    Keep,
}

/// Working space of one thread.
#[derive(Default)]
struct Scratch {
    chunk: Vec<f32>,
    keys: Vec<u32>,
    selected: Vec<f32>,
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
        Ok(Compressor { layout, settings, parts, report: CompressReport::default() })
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
        let (layout, settings) = (&self.layout, &self.settings);
        let slices = layout.split_mut(feedback);
        let work = (self.parts.par_iter_mut(), layout.bands().par_iter(), slices);
        work.into_par_iter().for_each_init(Scratch::default, |scratch, (part, band, slice)| {
            let delta = delta.map(|d| Delta {
                before: &d.before[band.offset..band.offset + band.len()],
                after: &d.after[band.offset..band.offset + band.len()],
                decay: d.decay,
            });
            let context = Context { layout, settings, band, residual };
            context.compress_band(slice, delta, part, scratch);
        });
        self.report = CompressReport {
            selected: self.parts.iter().map(|part| part.indices.len()).sum(),
            rejected: self.parts.iter().map(|part| part.rejected).sum(),
        };
        encode(layout, settings, &self.parts)
    }
}

struct Context<'a> {
    layout: &'a Layout,
    settings: &'a Settings,
    band: &'a Band,
    residual: Residual,
}

impl Context<'_> {
    fn compress_band(&self, slice: &mut [f32], delta: Option<Delta<'_>>, part: &mut Part, scratch: &mut Scratch) {
        part.clear();
        for index in 0..self.band.across {
            let block = self.band.block(index);
            gather(slice, delta, block, &mut scratch.chunk);
            part.rejected += reject_unusable(&mut scratch.chunk);
            self.compress_chunk(part, scratch);
            for (run, values) in block.runs().zip(scratch.chunk.chunks_exact(block.width)) {
                slice[run].copy_from_slice(values);
            }
        }
    }

    /// Selects and quantises `scratch.chunk` and subtracts what was selected.
    fn compress_chunk(&self, part: &mut Part, scratch: &mut Scratch) {
        let Scratch { chunk, keys, selected } = scratch;
        let first = part.indices.len();
        select(chunk, self.layout.kept(chunk.len(), self.settings.top_k), keys, &mut part.indices);
        selected.clear();
        selected.extend(part.indices[first..].iter().map(|&index| chunk[usize::from(index)]));
        let code = part.codes.len();
        let scales = quantise(self.settings.quantiser, selected, &mut part.codes);
        if scales.high == 0 {
            part.indices.truncate(first);
        }
        if self.residual == Residual::Subtract {
            let table = scales.table(self.settings.quantiser);
            for (&index, &code) in part.indices[first..].iter().zip(&part.codes[code..]) {
                chunk[usize::from(index)] -= table[usize::from(code)];
            }
        }
        part.scales.push(scales);
        part.counts.push((part.indices.len() - first) as u16);
    }
}

/// Copies a chunk out of its band, with `delta` applied.
fn gather(slice: &[f32], delta: Option<Delta<'_>>, block: Block, chunk: &mut Vec<f32>) {
    chunk.clear();
    let Some(Delta { before, after, decay }) = delta else {
        block.runs().for_each(|run| chunk.extend_from_slice(&slice[run]));
        return;
    };
    for run in block.runs() {
        let steps = before[run.clone()].iter().zip(&after[run.clone()]).map(|(b, a)| b - a);
        chunk.extend(slice[run].iter().zip(steps).map(|(e, step)| decay * e + step));
    }
}
