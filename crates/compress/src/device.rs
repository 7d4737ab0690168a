//! Compression and the outer step on a device, with the bytes and bits of the processor.
//!
//! The device accumulates, selects, quantises and keeps the residual; entropy coding stays on the processor, where it
//! runs while the device works on the next tensor. With [`Quantiser::Compatible`], whose codes depend on a whole tensor, the
//! device gives the selected values, the processor quantises them as it does its own, and what they became goes back to be
//! taken off the feedback.

use std::ops::Range;
use std::rc::Rc;

use pactum_kernels::{
    Buffer, Compress, Device, DeviceError, Divisor, Feedback, Levels, Mark, Matrix, Outer, Peer, Picked, Tensor, Update,
};
use rayon::in_place_scope;
use rayon::prelude::*;
use thiserror::Error;

use crate::codec::{encode_section, join};
use crate::compat::{Member, quantise_tensor};
use crate::compress::{CompressReport, Part};
use crate::kernel::Level;
use crate::layout::{Layout, Section, TensorLayout};
use crate::outer::{Mean, OuterReport, Weighted, accepted, plan};
use crate::quantise::{Scales, Table};
use crate::settings::{Quantiser, Settings, SettingsError};
use crate::update::SparseUpdate;

/// Why work on a device was not done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OnDeviceError {
    /// The settings do not fit the layout.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The device, or what was given to it.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// An update was decoded for another layout.
    #[error("an update was decoded for another layout")]
    Layout,
}

/// A [`crate::Compressor`] for error feedback in the memory of a device: the same payloads and the same residual.
#[derive(Debug)]
pub struct DeviceCompressor {
    layout: Layout,
    settings: Settings,
    groups: Vec<Group>,
    picked: Picked,
    report: CompressReport,
}

/// Consecutive tensors that are compressed together: sections of one group are coded while the next is at work.
#[derive(Debug)]
struct Group {
    work: Compress,
    tensors: Range<usize>,
}

/// A group is closed once it has this many elements: enough to fill any device.
const GROUP_ELEMENTS: usize = 1 << 26;

/// What a section became on the device.
struct Chosen {
    heads: Vec<u64>,
    indices: Vec<u16>,
    /// Empty where they are chosen later.
    codes: Vec<u8>,
    /// Empty where the quantiser does without.
    values: Vec<f32>,
    slots: usize,
}

impl DeviceCompressor {
    /// A compressor for one layout. It takes about `3 * top_k / edge^2` bytes of the device's memory for each parameter, with
    /// [`Quantiser::Compatible`] and [`Quantiser::Exact`] 7 instead of 3; while it works the former takes nearly as
    /// much again.
    ///
    /// # Errors
    /// If the settings do not fit the layout, or the device has too little memory.
    pub fn new(device: &Device, layout: Layout, settings: Settings) -> Result<DeviceCompressor, OnDeviceError> {
        settings.check(&layout)?;
        let levels = levels_of(settings.quantiser);
        let lengths = layout.tensors().iter().map(|tensor| matrix_of(tensor).longest());
        let slots = lengths.map(|length| layout.kept(length, settings.top_k)).max().unwrap_or(0);
        let picked = Picked::new(device, layout.chunks(), slots)?.with_values(levels)?;
        let groups = groups_of(&layout).into_iter().map(|tensors| {
            let kept = |matrix: &Matrix| matrix.lengths().map(|length| layout.kept(length, settings.top_k));
            let matrices = layout.tensors()[tensors.clone()].iter().map(matrix_of);
            let matrices = matrices.map(|matrix| (matrix, kept(&matrix))).collect::<Vec<_>>();
            Ok(Group { work: Compress::new(device, &matrices, levels)?, tensors })
        });
        let groups = groups.collect::<Result<_, DeviceError>>()?;
        Ok(DeviceCompressor { layout, settings, groups, picked, report: CompressReport::default() })
    }

    /// The layout it was made for.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What the last call did.
    #[must_use]
    pub fn report(&self) -> CompressReport {
        self.report
    }

    /// Encodes the largest values of `feedback` (already `decay * E + delta`) and leaves the residual in it.
    ///
    /// # Errors
    /// If the buffer is not as long as the layout, or the device fails; then the feedback is not to be used any more.
    pub fn compress(&mut self, feedback: &mut Buffer<f32>) -> Result<Vec<u8>, OnDeviceError> {
        self.run(Feedback { values: feedback, step: None, subtract: true })
    }

    /// Adds `before - after` to the decayed feedback, encodes the largest values and leaves the residual.
    ///
    /// # Errors
    /// As [`DeviceCompressor::compress`].
    pub fn accumulate_and_compress(
        &mut self,
        feedback: &mut Buffer<f32>,
        before: &Buffer<f32>,
        after: &Buffer<f32>,
        decay: f32,
    ) -> Result<Vec<u8>, OnDeviceError> {
        self.run(Feedback { values: feedback, step: Some((before, after, decay)), subtract: true })
    }

    /// The same, but the feedback keeps what the payload carries: see [`crate::Compressor::accumulate_and_encode`].
    ///
    /// # Errors
    /// As [`DeviceCompressor::compress`].
    pub fn accumulate_and_encode(
        &mut self,
        feedback: &mut Buffer<f32>,
        before: &Buffer<f32>,
        after: &Buffer<f32>,
        decay: f32,
    ) -> Result<Vec<u8>, OnDeviceError> {
        self.run(Feedback { values: feedback, step: Some((before, after, decay)), subtract: false })
    }

    fn run(&mut self, mut feedback: Feedback<'_>) -> Result<Vec<u8>, OnDeviceError> {
        same_length(&self.layout, feedback.values)?;
        let device = feedback.values.device().clone();
        self.picked.rejected.write(&[0])?;
        let mut marks = Vec::with_capacity(self.layout.tensors().len());
        for group in &self.groups {
            group.work.run(&mut feedback, &mut self.picked)?;
            let mark = Rc::new(device.mark()?);
            marks.extend(group.tensors.clone().map(|_| Rc::clone(&mark)));
        }
        let (sections, selected) = match self.settings.quantiser {
            Quantiser::Compatible => self.quantise_then_encode(&marks, &mut feedback)?,
            _ => self.encode(&marks)?,
        };
        let rejected = self.picked.rejected.read()?.first().map_or(0, |&count| count as usize);
        self.report = CompressReport { selected, rejected };
        Ok(join(&self.layout, &self.settings, &sections))
    }

    /// Reads sections as they become ready, and codes them while others are still being selected. Each tensor has a mark.
    fn encode(&self, marks: &[Rc<Mark>]) -> Result<(Vec<Vec<u8>>, usize), DeviceError> {
        let (layout, settings, level) = (&self.layout, &self.settings, Level::detect());
        let mut encoded = vec![Vec::new(); layout.sections().len()];
        let selected = in_place_scope(|scope| {
            let mut selected = 0;
            for (section, bytes) in layout.sections().iter().zip(&mut encoded) {
                let chosen = self.read(section, &marks[section.tensor])?;
                selected += chosen.heads.iter().map(|&head| count_of(head)).sum::<usize>();
                let parts = move || chosen.parts(layout, section);
                scope.spawn(move |_| *bytes = encode_section((layout, settings), section, &parts(), level));
            }
            Ok::<_, DeviceError>(selected)
        })?;
        Ok((encoded, selected))
    }

    /// The same where codes depend on all that was selected in a tensor, so that all is read before any of it is coded.
    fn quantise_then_encode(
        &self,
        marks: &[Rc<Mark>],
        feedback: &mut Feedback<'_>,
    ) -> Result<(Vec<Vec<u8>>, usize), DeviceError> {
        let (layout, settings, level) = (&self.layout, &self.settings, Level::detect());
        let mut parts = Vec::with_capacity(layout.bands().len());
        for section in layout.sections() {
            parts.extend(self.read(section, &marks[section.tensor])?.parts(layout, section));
        }
        let members = layout.bands().iter().zip(&mut parts).map(|(band, part)| Member { band, part, feedback: None });
        let mut members = members.collect::<Vec<_>>();
        members.chunk_by_mut(|a, b| a.band.tensor == b.band.tensor).for_each(quantise_tensor);
        if feedback.subtract {
            let update = upload_parts(feedback.values.device(), &parts)?;
            update.add_to(feedback.values, &layout.tensors().iter().map(matrix_of).collect::<Vec<_>>(), -1.0)?;
        }
        let sections = layout.sections().par_iter();
        let encode =
            |section: &Section| encode_section((layout, settings), section, &parts[section.bands.clone()], level);
        let sections = sections.map(encode);
        Ok((sections.collect(), parts.iter().map(|part| part.indices.len()).sum()))
    }

    fn read(&self, section: &Section, mark: &Mark) -> Result<Chosen, DeviceError> {
        let slots = self.picked.slots();
        let places = section.chunks.start * slots..section.chunks.end * slots;
        let levels = levels_of(self.settings.quantiser);
        Ok(Chosen {
            heads: self.picked.heads.read_after(mark, section.chunks.clone())?,
            indices: self.picked.indices.read_after(mark, places.clone())?,
            codes: match levels {
                Levels::Later => Vec::new(),
                _ => self.picked.codes.read_after(mark, places.clone())?,
            },
            values: match levels.gives_values() {
                true => self.picked.values.read_after(mark, places)?,
                false => Vec::new(),
            },
            slots,
        })
    }
}

impl Chosen {
    /// The same in the form that the codec takes.
    fn parts(&self, layout: &Layout, section: &Section) -> Vec<Part> {
        let mut chunks = self.heads.iter().enumerate();
        let bands = &layout.bands()[section.bands.clone()];
        let part = |across| {
            let mut part = Part::default();
            for (chunk, &head) in chunks.by_ref().take(across) {
                let count = count_of(head).min(self.slots);
                let taken = chunk * self.slots..chunk * self.slots + count;
                part.counts.push(count as u16);
                part.scales.push(Scales { low: (head >> 16) as u16, high: (head >> 32) as u16 });
                part.indices.extend_from_slice(&self.indices[taken.clone()]);
                part.codes.extend_from_slice(self.codes.get(taken.clone()).unwrap_or_default());
                part.values.extend_from_slice(self.values.get(taken).unwrap_or_default());
            }
            part
        };
        bands.iter().map(|band| band.across).map(part).collect()
    }
}

/// What the parts of all bands stand for, brought to a device.
fn upload_parts(device: &Device, parts: &[Part]) -> Result<Update, DeviceError> {
    let (mut starts, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    let mut end = 0;
    for part in parts {
        let table = Table::of_levels(part.levels);
        starts.extend(part.counts.iter().map(|&count| {
            end += u64::from(count);
            end
        }));
        indices.extend_from_slice(&part.indices);
        values.extend(part.codes.iter().map(|&code| table.value(code)));
    }
    Update::upload(device, &starts, &indices, &values)
}

/// An update whose values were brought to a device.
#[derive(Debug)]
pub struct Uploaded<'a> {
    update: &'a SparseUpdate,
    there: Update,
}

impl<'a> Uploaded<'a> {
    /// Brings a decoded update to a device: about six bytes for each value.
    ///
    /// # Errors
    /// If the device has too little memory.
    pub fn new(device: &Device, update: &'a SparseUpdate) -> Result<Uploaded<'a>, OnDeviceError> {
        let (mut starts, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for band in update.layout().bands() {
            for chunk in 0..band.across {
                let run = update.band_run(band, chunk);
                indices.extend_from_slice(run.indices);
                values.extend(run.entries().map(|(_, value)| value));
                starts.push(indices.len() as u64);
            }
        }
        Ok(Uploaded { update, there: Update::upload(device, &starts, &indices, &values)? })
    }

    /// The update.
    #[must_use]
    pub fn update(&self) -> &'a SparseUpdate {
        self.update
    }

    /// Norms and largest magnitudes as the device finds them: the same bits as [`SparseUpdate::norms`] and
    /// [`SparseUpdate::peaks`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn norms(&self) -> Result<(Vec<f64>, Vec<f32>), OnDeviceError> {
        let layout = self.update.layout();
        let firsts = layout.tensors().iter().map(|tensor| tensor.chunk).chain([layout.chunks()]);
        Ok(self.there.norms(&firsts.map(|first| first as u64).collect::<Vec<_>>())?)
    }

    /// `dense += scale * update`: the bits of [`SparseUpdate::add_to`], and with a scale of -1 those of
    /// [`SparseUpdate::subtract_from`].
    ///
    /// # Errors
    /// If the buffer is not as long as the layout, or the device fails.
    pub fn add_to(&self, dense: &mut Buffer<f32>, scale: f32) -> Result<(), OnDeviceError> {
        let layout = self.update.layout();
        same_length(layout, dense)?;
        let matrices = layout.tensors().iter().map(matrix_of).collect::<Vec<_>>();
        Ok(self.there.add_to(dense, &matrices, scale)?)
    }
}

/// [`crate::outer_step`] of parameters in the memory of a device: the same bits. Peers are updates and their weights.
///
/// # Errors
/// If the parameters are not as long as the layout, an update was decoded for another layout or lies on another device,
/// or the device fails; then the parameters are not to be used any more.
pub fn outer_step_on_device(
    theta: &mut Buffer<f32>,
    layout: &Layout,
    peers: &[(&Uploaded<'_>, f32)],
    mean: Mean,
    rate: f32,
) -> Result<OuterReport, OnDeviceError> {
    same_length(layout, theta)?;
    if !peers.iter().all(|(peer, _)| peer.update.layout() == layout) {
        return Err(OnDeviceError::Layout);
    }
    let updates = peers.iter().map(|&(peer, weight)| Weighted { update: peer.update, weight }).collect::<Vec<_>>();
    let mut report = OuterReport { clipped: vec![0; peers.len()], ..OuterReport::default() };
    let counted = accepted(&updates, &mut report);
    if counted.is_empty() {
        return Ok(report);
    }
    let mut tensors = Vec::with_capacity(layout.tensors().len());
    for (number, tensor) in layout.tensors().iter().enumerate() {
        if let Some(factors) = plan(number, &counted, rate, &mut report) {
            tensors.push(Tensor { matrix: matrix_of(tensor), factors });
        }
    }
    let divisor = match mean {
        Mean::Peers => Divisor::Total(counted.iter().fold(0.0, |sum, (_, peer)| sum + peer.weight)),
        Mean::Contributors => Divisor::Contributors,
    };
    let there = counted.iter().map(|&(place, peer)| Peer { update: &peers[place].0.there, weight: peer.weight });
    Outer { divisor, rate }.run(theta, &there.collect::<Vec<_>>(), &tensors)?;
    Ok(report)
}

fn levels_of(quantiser: Quantiser) -> Levels {
    match quantiser {
        Quantiser::SignScale => Levels::One,
        Quantiser::TwoLevels => Levels::Two,
        Quantiser::Compatible => Levels::Later,
        Quantiser::FourBits => Levels::Eight,
        Quantiser::Exact => Levels::Exact,
    }
}

/// Consecutive tensors with enough elements together.
fn groups_of(layout: &Layout) -> Vec<Range<usize>> {
    let (mut groups, mut start, mut elements) = (Vec::new(), 0, 0);
    for (number, tensor) in layout.tensors().iter().enumerate() {
        elements += tensor.len();
        if elements >= GROUP_ELEMENTS || number + 1 == layout.tensors().len() {
            groups.push(start..number + 1);
            (start, elements) = (number + 1, 0);
        }
    }
    groups
}

fn matrix_of(tensor: &TensorLayout) -> Matrix {
    let TensorLayout { offset, chunk, rows, columns, bands, across, .. } = *tensor;
    Matrix { offset, chunk, rows, columns, bands, across }
}

/// How many values a chunk has.
fn count_of(head: u64) -> usize {
    (head & 0xffff) as usize
}

fn same_length(layout: &Layout, buffer: &Buffer<f32>) -> Result<(), DeviceError> {
    let (expected, found) = (layout.len(), buffer.len());
    let what = "a vector of all parameters";
    if expected == found { Ok(()) } else { Err(DeviceError::Length { what, expected, found }) }
}
