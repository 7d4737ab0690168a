//! A decoded payload.

use rayon::prelude::*;

use crate::layout::{Band, Block, Layout};

/// Lanes in which the squares of a chunk's values are summed.
const LANES: usize = 8;

/// The values of one section: per chunk a run of ascending indices and their values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SectionData {
    /// Where each chunk's run begins, and the end of the last.
    starts: Vec<u32>,
    indices: Vec<u16>,
    values: Vec<f32>,
}

impl SectionData {
    /// Room for so many chunks and values.
    pub(crate) fn with_capacity(chunks: usize, values: usize) -> SectionData {
        let mut starts = Vec::with_capacity(chunks + 1);
        starts.push(0);
        SectionData { starts, indices: Vec::with_capacity(values), values: Vec::with_capacity(values) }
    }

    pub(crate) fn push(&mut self, index: u16, value: f32) {
        self.indices.push(index);
        self.values.push(value);
    }

    pub(crate) fn extend(&mut self, indices: &[u16], values: impl Iterator<Item = f32>) {
        self.indices.extend_from_slice(indices);
        self.values.extend(values);
    }

    pub(crate) fn close_chunk(&mut self) {
        self.starts.push(self.indices.len() as u32);
    }

    /// Indices and values of the section's chunk `chunk`.
    pub(crate) fn chunk(&self, chunk: usize) -> (&[u16], &[f32]) {
        let run = self.starts[chunk] as usize..self.starts[chunk + 1] as usize;
        (&self.indices[run.clone()], &self.values[run])
    }

    fn chunks(&self) -> impl Iterator<Item = (&[u16], &[f32])> {
        (0..self.starts.len() - 1).map(|chunk| self.chunk(chunk))
    }
}

/// One peer's update: for each chunk of the layout the coordinates that were sent and their values.
///
/// Every index is in range and ascending, every value finite and bounded: only [`crate::decode`] makes one, and
/// [`crate::aggregate`] out of others.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseUpdate {
    layout: Layout,
    sections: Vec<SectionData>,
    norms: Vec<f64>,
    peaks: Vec<f32>,
}

impl SparseUpdate {
    pub(crate) fn new(layout: Layout, sections: Vec<SectionData>) -> SparseUpdate {
        let sums = sections.par_iter().map(|data| data.chunks().map(|(_, v)| square_sum(v)).collect::<Vec<_>>());
        let sums = sums.collect::<Vec<_>>();
        let (mut norms, mut peaks) = (vec![0.0; layout.tensors().len()], vec![0.0_f32; layout.tensors().len()]);
        for ((section, sums), data) in layout.sections().iter().zip(&sums).zip(&sections) {
            let norm: &mut f64 = &mut norms[section.tensor];
            sums.iter().for_each(|sum| *norm += sum);
            let peak = &mut peaks[section.tensor];
            *peak = data.values.iter().fold(*peak, |peak, value| peak.max(value.abs()));
        }
        norms.iter_mut().for_each(|norm| *norm = norm.sqrt());
        SparseUpdate { layout, sections, norms, peaks }
    }

    /// The layout it was decoded for.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of coordinates.
    #[must_use]
    pub fn selected(&self) -> usize {
        self.sections.iter().map(|data| data.indices.len()).sum()
    }

    /// L2 norm of each tensor. The squares of a chunk are summed in `f64` in eight lanes (value `i` in lane
    /// `i mod 8`) that are added pairwise, halves first; the chunks are added in order.
    #[must_use]
    pub fn norms(&self) -> &[f64] {
        &self.norms
    }

    /// Largest absolute value in each tensor.
    #[must_use]
    pub fn peaks(&self) -> &[f32] {
        &self.peaks
    }

    /// All coordinates in the order of chunks: position in the flat parameter vector, value.
    pub fn entries(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        self.blocks().flat_map(|(offset, block, indices, values)| {
            let positions = indices.iter().map(move |&index| offset + block.position(usize::from(index)));
            positions.zip(values.iter().copied())
        })
    }

    /// `dense += scale * update`.
    ///
    /// # Panics
    /// If the slice is not as long as the layout.
    pub fn add_to(&self, dense: &mut [f32], scale: f32) {
        self.each_band_mut(dense, |_, slot, value| *slot += scale * value);
    }

    /// `dense += scale * update`, with a scale for each tensor.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn add_scaled(&self, dense: &mut [f32], scales: &[f32]) {
        assert_eq!(scales.len(), self.layout.tensors().len(), "there is not one scale for each tensor");
        self.each_band_mut(dense, |band, slot, value| *slot += scales[band.tensor] * value);
    }

    /// `dense -= update`: error feedback once the payload made from it is accepted.
    ///
    /// # Panics
    /// If the slice is not as long as the layout.
    pub fn subtract_from(&self, dense: &mut [f32]) {
        self.each_band_mut(dense, |_, slot, value| *slot -= value);
    }

    /// The values of `dense` at the update's coordinates, in the order of [`SparseUpdate::entries`].
    ///
    /// # Panics
    /// If the slice is not as long as the layout.
    #[must_use]
    pub fn read_from(&self, dense: &[f32]) -> Vec<f32> {
        assert_eq!(dense.len(), self.layout.len(), "the dense vector is not as long as the layout");
        self.entries().map(|(position, _)| dense[position]).collect()
    }

    /// Puts back what [`SparseUpdate::read_from`] read.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn write_to(&self, dense: &mut [f32], saved: &[f32]) {
        assert_eq!(dense.len(), self.layout.len(), "the dense vector is not as long as the layout");
        assert_eq!(saved.len(), self.selected(), "the saved values are not those of this update");
        self.entries().zip(saved).for_each(|((position, _), &value)| dense[position] = value);
    }

    /// Inner product with a dense vector such as a gradient, without densifying; in `f64`, the same on every machine.
    ///
    /// # Panics
    /// If the slice is not as long as the layout.
    #[must_use]
    pub fn dot(&self, dense: &[f32]) -> f64 {
        assert_eq!(dense.len(), self.layout.len(), "the dense vector is not as long as the layout");
        let bands = self.layout.bands();
        let sums = bands.par_iter().map(|band| {
            let slice = &dense[band.offset..band.offset + band.len()];
            let products = self.band_blocks(band).flat_map(|(block, indices, values)| {
                let chosen = indices.iter().map(move |&index| f64::from(slice[block.position(usize::from(index))]));
                chosen.zip(values).map(|(dense, &value)| dense * f64::from(value))
            });
            products.sum::<f64>()
        });
        sums.collect::<Vec<_>>().into_iter().sum()
    }

    /// Share of the smaller update's coordinates that the other one holds too; 0 if one is empty.
    ///
    /// # Panics
    /// If the updates are of different layouts.
    #[must_use]
    pub fn overlap(&self, other: &SparseUpdate) -> f64 {
        assert_eq!(self.layout.digest(), other.layout.digest(), "the updates are of different layouts");
        let smaller = self.selected().min(other.selected());
        if smaller == 0 {
            return 0.0;
        }
        let pairs = self.sections.par_iter().zip(&other.sections);
        let common = pairs.map(|(a, b)| a.chunks().zip(b.chunks()).map(|(a, b)| common(a.0, b.0)).sum::<usize>());
        common.sum::<usize>() as f64 / smaller as f64
    }

    /// Indices and values of chunk `chunk` of a band.
    pub(crate) fn band_chunk(&self, band: &Band, chunk: usize) -> (&[u16], &[f32]) {
        let first = self.layout.sections()[band.section].chunks.start;
        self.sections[band.section].chunk(band.chunk - first + chunk)
    }

    fn band_blocks<'a>(&'a self, band: &'a Band) -> impl Iterator<Item = (Block, &'a [u16], &'a [f32])> {
        (0..band.across).map(move |chunk| {
            let (indices, values) = self.band_chunk(band, chunk);
            (band.block(chunk), indices, values)
        })
    }

    fn blocks(&self) -> impl Iterator<Item = (usize, Block, &[u16], &[f32])> {
        let bands = self.layout.bands().iter();
        bands.flat_map(|band| self.band_blocks(band).map(move |(block, i, v)| (band.offset, block, i, v)))
    }

    fn each_band_mut(&self, dense: &mut [f32], change: impl Fn(&Band, &mut f32, f32) + Sync) {
        assert_eq!(dense.len(), self.layout.len(), "the dense vector is not as long as the layout");
        let work = self.layout.bands().par_iter().zip(self.layout.split_mut(dense));
        work.for_each(|(band, slice)| {
            let entries = self.band_blocks(band).flat_map(|(block, indices, values)| {
                indices.iter().map(move |&index| block.position(usize::from(index))).zip(values)
            });
            entries.for_each(|(position, &value)| change(band, &mut slice[position], value));
        });
    }
}

fn square_sum(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    for run in values.chunks(LANES) {
        lanes.iter_mut().zip(run).for_each(|(lane, &value)| *lane += f64::from(value) * f64::from(value));
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// Number of equal elements of two ascending runs.
fn common(a: &[u16], b: &[u16]) -> usize {
    let (mut i, mut j, mut count) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        count += usize::from(a[i] == b[j]);
        (i, j) = (i + usize::from(a[i] <= b[j]), j + usize::from(a[i] >= b[j]));
    }
    count
}
