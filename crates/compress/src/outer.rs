//! Many updates in, one step of the parameters out.

use rayon::prelude::*;

use crate::clip::{clip, lower_median};
use crate::kernel::{Level, prefetch};
use crate::layout::{Band, Layout};
use crate::quantise::Scales;
use crate::section::SectionData;
use crate::update::SparseUpdate;

/// By what the sum over peers is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mean {
    /// By the weight of all peers.
    Peers,
    /// Coordinate by coordinate, by the weight of the peers that sent it.
    Contributors,
}

/// One peer's update and its weight in the mean.
#[derive(Debug, Clone, Copy)]
pub struct Weighted<'a> {
    /// The decoded update.
    pub update: &'a SparseUpdate,
    /// Its weight, usually 1. A weight that is not positive and finite leaves the update out.
    pub weight: f32,
}

/// What an outer step did besides changing the parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OuterReport {
    /// Tensors left alone since their step is not finite (or so large that it is not known to be).
    pub skipped: Vec<usize>,
    /// For each update, in how many tensors it was scaled down to the median norm.
    pub clipped: Vec<usize>,
    /// Updates left out since their weight is not positive and finite.
    pub ignored: Vec<usize>,
}

/// How many chunks before its turn a run of a peer is asked for.
const AHEAD: usize = 4;
/// Sums beyond this could overflow on the way.
const STEP_MAX: f64 = f32::MAX as f64 / 4.0;

/// Clips every update tensor by tensor to the lower median of the norms, takes the mean, and steps:
/// `theta -= rate * G` (protocol: `c_p = min(1, median / norm_p)`, never scaled up).
///
/// The order of all operations is fixed: updates as given, `f32`, product then sum, never fused; so the same inputs
/// yield the same bits whatever the number of threads. A coordinate that no peer sent has `G = 0`.
///
/// # Panics
/// If `theta` is not as long as the layout or an update was decoded for another layout.
pub fn outer_step(theta: &mut [f32], layout: &Layout, updates: &[Weighted<'_>], mean: Mean, rate: f32) -> OuterReport {
    assert_eq!(theta.len(), layout.len(), "the parameters are not as long as the layout");
    let Plan { peers, coefficients, total, report } = Plan::new(layout, updates, rate);
    let work = layout.bands().par_iter().zip(layout.split_mut(theta));
    let level = Level::detect();
    work.for_each_init(Sums::default, |sums, (band, slice)| {
        if let Some(coefficients) = &coefficients[band.tensor] {
            let step = Step { band, peers: &peers, coefficients, rate };
            level.outer_step(StepWork { step, mean, total, slice }, sums);
        }
    });
    report
}

/// The aggregate `G` of [`outer_step`] alone, as an update that holds the union of all coordinates: for replay, and to
/// take inner products with it. `aggregate.add_to(theta, -rate)` gives the bits that [`outer_step`] gives for a positive
/// `rate`, as long as that leaves out no more tensors. Its memory follows the number of coordinates that were sent.
///
/// # Panics
/// If an update was decoded for another layout.
#[must_use]
pub fn aggregate(layout: &Layout, updates: &[Weighted<'_>], mean: Mean) -> (SparseUpdate, OuterReport) {
    let Plan { peers, coefficients, total, report } = Plan::new(layout, updates, 1.0);
    let sections = layout.sections().par_iter().map_init(Sums::default, |sums, section| {
        let mut data = SectionData::plain();
        for band in &layout.bands()[section.bands.clone()] {
            let step = Step { band, peers: &peers, coefficients: &[], rate: 1.0 };
            match &coefficients[band.tensor] {
                Some(coefficients) => Step { coefficients, ..step }.collect(mean, total, sums, &mut data),
                None => (0..band.across).for_each(|_| data.close_chunk(Scales::default())),
            }
        }
        data
    });
    (SparseUpdate::new(layout.clone(), sections.collect()), report)
}

/// Who takes part with what factor.
struct Plan<'a> {
    peers: Vec<(usize, Weighted<'a>)>,
    /// For each tensor the factors of the peers; none if the tensor is to be left alone.
    coefficients: Vec<Option<Vec<f32>>>,
    /// Weight of all peers.
    total: f32,
    report: OuterReport,
}

impl<'a> Plan<'a> {
    fn new(layout: &Layout, updates: &[Weighted<'a>], rate: f32) -> Plan<'a> {
        assert!(updates.iter().all(|peer| peer.update.layout() == layout), "an update was decoded for another layout");
        let mut report = OuterReport { clipped: vec![0; updates.len()], ..OuterReport::default() };
        let peers = accepted(updates, &mut report);
        let tensors = 0..layout.tensors().len();
        let coefficients = match peers.is_empty() {
            true => vec![None; tensors.len()],
            false => tensors.map(|tensor| plan(tensor, &peers, rate, &mut report)).collect(),
        };
        let total = peers.iter().fold(0.0, |sum, (_, peer)| sum + peer.weight);
        Plan { peers, coefficients, total, report }
    }
}

/// Updates with usable weights, with their positions.
pub(crate) fn accepted<'a>(updates: &[Weighted<'a>], report: &mut OuterReport) -> Vec<(usize, Weighted<'a>)> {
    let usable = |peer: &Weighted<'_>| peer.weight.is_finite() && peer.weight > 0.0;
    let (accepted, ignored) = updates.iter().copied().enumerate().partition::<Vec<_>, _>(|(_, peer)| usable(peer));
    report.ignored = ignored.into_iter().map(|(index, _)| index).collect();
    accepted
}

/// The factor of each peer in one tensor, `weight * c_p`; none if the step could overflow.
pub(crate) fn plan(
    tensor: usize,
    peers: &[(usize, Weighted<'_>)],
    rate: f32,
    report: &mut OuterReport,
) -> Option<Vec<f32>> {
    let norm = |peer: &Weighted<'_>| peer.update.norms()[tensor];
    let mut norms = peers.iter().map(|(_, peer)| norm(peer)).collect::<Vec<_>>();
    let median = lower_median(&mut norms)?;
    let (mut coefficients, mut bound, mut weights) = (Vec::with_capacity(peers.len()), 0.0, 0.0);
    for (index, peer) in peers {
        report.clipped[*index] += usize::from(norm(peer) > median);
        coefficients.push(peer.weight * clip(norm(peer), median));
        let peak = f64::from(peer.update.peaks()[tensor]);
        bound += f64::from(peer.weight).max(1.0) * peak * f64::from(rate).abs().max(1.0);
        weights += f64::from(peer.weight);
    }
    let known_finite = bound < STEP_MAX && weights < STEP_MAX && rate.is_finite();
    if !known_finite {
        report.skipped.push(tensor);
    }
    known_finite.then_some(coefficients)
}

#[derive(Clone, Copy)]
struct Step<'a> {
    band: &'a Band,
    peers: &'a [(usize, Weighted<'a>)],
    coefficients: &'a [f32],
    rate: f32,
}

/// A band of parameters to be changed.
pub(crate) struct StepWork<'a> {
    step: Step<'a>,
    mean: Mean,
    total: f32,
    slice: &'a mut [f32],
}

/// Something for each element of a chunk. There is one for every index that can be written, so that none is asked whether
/// it is inside.
type PerElement<T> = [T; EVERY_INDEX];
const EVERY_INDEX: usize = 1 << u16::BITS;

/// What is added up beside the values of the peers that sent a coordinate.
trait Share: Copy + Default {
    fn add(&mut self, weight: f32);
}

/// Nothing.
impl Share for () {
    #[inline(always)]
    fn add(&mut self, _: f32) {}
}

/// How many there are: their weight if each weighs one, in a quarter of the memory.
impl Share for u8 {
    #[inline(always)]
    fn add(&mut self, _: f32) {
        *self = self.wrapping_add(1);
    }
}

/// Their weight.
impl Share for f32 {
    #[inline(always)]
    fn add(&mut self, weight: f32) {
        *self += weight;
    }
}

/// Sums over peers of the elements of a chunk, and what those are that sent them.
pub(crate) struct Sums {
    sums: Box<PerElement<f32>>,
    counts: Box<PerElement<u8>>,
    weights: Box<PerElement<f32>>,
}

impl Default for Sums {
    fn default() -> Sums {
        let zeros = || Box::new([0.0; EVERY_INDEX]);
        Sums { sums: zeros(), counts: Box::new([0; EVERY_INDEX]), weights: zeros() }
    }
}

/// Steps the parameters of a band. Compiled once for each level of vector instructions, hence inlined.
#[inline(always)]
pub(crate) fn step_band(work: StepWork<'_>, sums: &mut Sums) {
    let StepWork { step, mean, total, slice } = work;
    let Sums { sums, counts, weights } = sums;
    let alike = step.peers.len() <= usize::from(u8::MAX) && step.peers.iter().all(|(_, peer)| peer.weight == 1.0);
    match mean {
        Mean::Peers => step.chunks(slice, (sums, &mut [(); EVERY_INDEX]), |sum, ()| sum / total),
        Mean::Contributors if alike => step.chunks(slice, (sums, counts), |sum, n: u8| mean_of(sum, f32::from(n))),
        Mean::Contributors => step.chunks(slice, (sums, weights), mean_of),
    }
}

impl Step<'_> {
    /// Sums the peers' values of each chunk of the band and steps its parameters by what becomes of the sums.
    #[inline(always)]
    fn chunks<S: Share>(
        &self,
        slice: &mut [f32],
        (sums, shares): (&mut PerElement<f32>, &mut PerElement<S>),
        mean: impl Fn(f32, S) -> f32,
    ) {
        for chunk in 0..self.band.across {
            self.sum(chunk, Some(slice), (sums, shares));
            let block = self.band.block(chunk);
            let of_rows = sums.chunks_exact(block.width).zip(shares.chunks_exact(block.width));
            for (run, (sums, shares)) in block.runs().zip(of_rows) {
                let steps = sums.iter().zip(shares).map(|(&sum, &share)| self.rate * mean(sum, share));
                slice[run].iter_mut().zip(steps).for_each(|(parameter, step)| *parameter -= step);
            }
        }
    }

    /// Adds the peers' values of a chunk, in their order. What comes next is asked for meanwhile, a little with each peer: so
    /// many rows of parameters, and a run of every peer, are as many streams as no machine follows by itself.
    #[inline(always)]
    fn sum<S: Share>(
        &self,
        chunk: usize,
        parameters: Option<&[f32]>,
        (sums, shares): (&mut PerElement<f32>, &mut PerElement<S>),
    ) {
        let len = self.band.block(chunk).len();
        sums[..len].fill(0.0);
        shares[..len].fill(S::default());
        let ahead = self.band.block((chunk + 1).min(self.band.across - 1));
        let rows = ahead.rows.div_ceil(self.peers.len());
        for (place, ((_, peer), &coefficient)) in self.peers.iter().zip(self.coefficients).enumerate() {
            if let Some(parameters) = parameters {
                let rows = place * rows..ahead.rows.min((place + 1) * rows);
                rows.for_each(|row| prefetch(&parameters[ahead.run(row)]));
            }
            let (section, chunk) = peer.update.section_of(self.band, chunk);
            section.prefetch(chunk + AHEAD);
            let add = |index, product| {
                sums[usize::from(index)] += product;
                shares[usize::from(index)].add(peer.weight);
            };
            section.run(chunk).each(|value| coefficient * value, add);
        }
    }

    /// Appends the means of the band's coordinates that somebody sent.
    fn collect(&self, mean: Mean, total: f32, Sums { sums, weights, .. }: &mut Sums, data: &mut SectionData) {
        let divide = |sum: f32, weight: f32| sum / if mean == Mean::Peers { total } else { weight };
        for chunk in 0..self.band.across {
            let len = self.band.block(chunk).len();
            self.sum(chunk, None, (sums, weights));
            let sent = sums.iter().zip(&**weights).zip(0_u16..).take(len).filter(|((_, weight), _)| **weight > 0.0);
            sent.for_each(|((&sum, &weight), index)| data.push(index, divide(sum, weight)));
            data.close_chunk(Scales::default());
        }
    }
}

/// A sum over its weight. Where nobody sent anything the sum is zero; dividing by one keeps it so without a branch.
#[inline(always)]
fn mean_of(sum: f32, weight: f32) -> f32 {
    sum / if weight > 0.0 { weight } else { 1.0 }
}
