//! A decoded payload.

use rayon::prelude::*;

use crate::layout::{Band, Layout};
use crate::section::{Run, SectionData};

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
        let sums = sections.par_iter().map(SectionData::squares).collect::<Vec<_>>();
        let (mut norms, mut peaks) = (vec![0.0; layout.tensors().len()], vec![0.0_f32; layout.tensors().len()]);
        for (section, (sums, largest)) in layout.sections().iter().zip(&sums) {
            let (norm, peak): (&mut f64, &mut f32) = (&mut norms[section.tensor], &mut peaks[section.tensor]);
            sums.iter().for_each(|sum| *norm += sum);
            *peak = peak.max(*largest);
        }
        norms.iter_mut().for_each(|norm| *norm = norm.sqrt());
        SparseUpdate { layout, sections, norms, peaks }
    }

    /// Its sections, for their memory.
    pub(crate) fn into_sections(self) -> Vec<SectionData> {
        self.sections
    }

    /// The layout it was decoded for.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of coordinates.
    #[must_use]
    pub fn selected(&self) -> usize {
        self.sections.iter().map(SectionData::selected).sum()
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
        self.layout.bands().iter().flat_map(|band| {
            let entries = self.band_entries(band);
            entries.map(move |(position, value)| (band.offset + position, value))
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
            let entries = self.band_entries(band);
            entries.map(|(position, value)| f64::from(slice[position]) * f64::from(value)).sum::<f64>()
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
        let common =
            pairs.map(|(a, b)| a.runs().zip(b.runs()).map(|(a, b)| common(a.indices, b.indices)).sum::<usize>());
        common.sum::<usize>() as f64 / smaller as f64
    }

    /// The section of chunk `chunk` of a band, and the chunk's number there.
    #[inline]
    pub(crate) fn section_of(&self, band: &Band, chunk: usize) -> (&SectionData, usize) {
        (&self.sections[band.section], band.chunk - self.layout.sections()[band.section].chunks.start + chunk)
    }

    /// Indices and values of chunk `chunk` of a band.
    pub(crate) fn band_run(&self, band: &Band, chunk: usize) -> Run<'_> {
        let (section, chunk) = self.section_of(band, chunk);
        section.run(chunk)
    }

    /// Positions in the slice of a band, and values.
    fn band_entries<'a>(&'a self, band: &'a Band) -> impl Iterator<Item = (usize, f32)> + 'a {
        (0..band.across).flat_map(move |chunk| {
            let places = band.block(chunk).places();
            self.band_run(band, chunk).entries().map(move |(index, value)| (places.of(index), value))
        })
    }

    fn each_band_mut(&self, dense: &mut [f32], change: impl Fn(&Band, &mut f32, f32) + Sync) {
        assert_eq!(dense.len(), self.layout.len(), "the dense vector is not as long as the layout");
        let work = self.layout.bands().par_iter().zip(self.layout.split_mut(dense));
        work.for_each(|(band, slice)| {
            self.band_entries(band).for_each(|(position, value)| change(band, &mut slice[position], value));
        });
    }
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
