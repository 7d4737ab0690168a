//! Many updates in, one step of the parameters out.

use rayon::prelude::*;

use crate::clip::{clip, lower_median};
use crate::layout::{Band, Layout};
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
    assert!(updates.iter().all(|peer| peer.update.layout() == layout), "an update was decoded for another layout");
    let mut report = OuterReport { clipped: vec![0; updates.len()], ..OuterReport::default() };
    let peers = accepted(updates, &mut report);
    if peers.is_empty() {
        return report;
    }
    let plans = (0..layout.tensors().len()).map(|tensor| plan(tensor, &peers, rate, &mut report)).collect::<Vec<_>>();
    let total = peers.iter().fold(0.0, |sum, (_, peer)| sum + peer.weight);
    let work = layout.bands().par_iter().zip(layout.split_mut(theta));
    work.for_each_init(Vec::new, |sums, (band, slice)| {
        if let Some(coefficients) = &plans[band.tensor] {
            let step = Step { band, peers: &peers, coefficients, rate };
            match mean {
                Mean::Peers => step.over_peers(slice, total, sums),
                Mean::Contributors => step.over_contributors(slice, sums),
            }
        }
    });
    report
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

struct Step<'a> {
    band: &'a Band,
    peers: &'a [(usize, Weighted<'a>)],
    coefficients: &'a [f32],
    rate: f32,
}

impl Step<'_> {
    /// Adds the peers' values of a chunk, in their order.
    fn sum(&self, chunk: usize, sums: &mut [f32]) {
        for ((_, peer), coefficient) in self.peers.iter().zip(self.coefficients) {
            let (indices, values) = peer.update.band_chunk(self.band, chunk);
            indices.iter().zip(values).for_each(|(&index, value)| sums[usize::from(index)] += coefficient * value);
        }
    }

    /// Adds the weights of the peers that sent each coordinate of a chunk.
    fn weigh(&self, chunk: usize, weights: &mut [f32]) {
        for (_, peer) in self.peers {
            let (indices, _) = peer.update.band_chunk(self.band, chunk);
            indices.iter().for_each(|&index| weights[usize::from(index)] += peer.weight);
        }
    }

    fn over_peers(&self, slice: &mut [f32], total: f32, sums: &mut Vec<f32>) {
        for chunk in 0..self.band.across {
            let block = self.band.block(chunk);
            sums.clear();
            sums.resize(block.len(), 0.0);
            self.sum(chunk, sums);
            for (run, sums) in block.runs().zip(sums.chunks_exact(block.width)) {
                let parameters = slice[run].iter_mut().zip(sums);
                parameters.for_each(|(parameter, sum)| *parameter -= self.rate * (sum / total));
            }
        }
    }

    fn over_contributors(&self, slice: &mut [f32], sums: &mut Vec<f32>) {
        for chunk in 0..self.band.across {
            let block = self.band.block(chunk);
            sums.clear();
            sums.resize(2 * block.len(), 0.0);
            let (sums, weights) = sums.split_at_mut(block.len());
            self.sum(chunk, sums);
            self.weigh(chunk, weights);
            // Where nobody sent anything the sum is zero; dividing by one keeps it so without a branch.
            weights.iter_mut().for_each(|weight| *weight = if *weight > 0.0 { *weight } else { 1.0 });
            let rows = sums.chunks_exact(block.width).zip(weights.chunks_exact(block.width));
            for (run, (sums, weights)) in block.runs().zip(rows) {
                let parameters = slice[run].iter_mut().zip(sums.iter().zip(weights));
                parameters.for_each(|(parameter, (sum, weight))| *parameter -= self.rate * (sum / weight));
            }
        }
    }
}
