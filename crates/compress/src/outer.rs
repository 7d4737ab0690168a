//! Many updates in, one step of the parameters out.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::clip::{clip, lower_median};
use crate::kernel::{Level, Plain, Term, prefetch_any};
use crate::layout::{Band, Block, Layout};
use crate::quantise::Scales;
use crate::section::{Run, SectionData};
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
/// The same for parameters.
const CHUNKS_AHEAD: usize = 4;
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
    let Plan { peers, coefficients, all, report } = Plan::new((layout, updates), mean, rate);
    let work = layout.bands().par_iter().zip(layout.split_mut(theta));
    let (level, pool) = (Level::detect(), Pool::default());
    work.for_each_init(
        || Lent::new(&pool),
        |lent, (band, slice)| {
            if let Some(coefficients) = &coefficients[band.tensor] {
                let sums = lent.sums.get_or_insert_default();
                let step = Step { band, peers: &peers, coefficients, rate };
                level.outer_step(StepWork { step, all, slice }, sums);
            }
        },
    );
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
    let Plan { peers, coefficients, all, report } = Plan::new((layout, updates), mean, 1.0);
    let pool = Pool::default();
    let sections = layout.sections().par_iter().map_init(
        || Lent::new(&pool),
        |lent, section| {
            let (mut data, sums) = (SectionData::plain(), lent.sums.get_or_insert_default());
            for band in &layout.bands()[section.bands.clone()] {
                let step = Step { band, peers: &peers, coefficients: &[], rate: 1.0 };
                match &coefficients[band.tensor] {
                    Some(coefficients) => Step { coefficients, ..step }.collect(all, sums, &mut data),
                    None => (0..band.across).for_each(|_| data.close_chunk(Scales::default())),
                }
            }
            data
        },
    );
    (SparseUpdate::new(layout.clone(), sections.collect()), report)
}

/// Who takes part with what factor.
struct Plan<'a> {
    peers: Vec<(usize, Weighted<'a>)>,
    /// For each tensor the factors of the peers; none if the tensor is to be left alone.
    coefficients: Vec<Option<Vec<f32>>>,
    /// By what all sums are divided: the weight of all peers; or nothing, since each is divided by its own.
    all: Option<f32>,
    report: OuterReport,
}

impl<'a> Plan<'a> {
    fn new((layout, updates): (&Layout, &[Weighted<'a>]), mean: Mean, rate: f32) -> Plan<'a> {
        assert!(updates.iter().all(|peer| peer.update.layout() == layout), "an update was decoded for another layout");
        let mut report = OuterReport { clipped: vec![0; updates.len()], ..OuterReport::default() };
        let peers = accepted(updates, &mut report);
        let tensors = 0..layout.tensors().len();
        let coefficients = match peers.is_empty() {
            true => vec![None; tensors.len()],
            false => tensors.map(|tensor| plan(tensor, &peers, rate, &mut report)).collect(),
        };
        let total = peers.iter().fold(0.0, |sum, (_, peer)| sum + peer.weight);
        Plan { peers, coefficients, all: (mean == Mean::Peers).then_some(total), report }
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
    all: Option<f32>,
    slice: &'a mut [f32],
}

/// The sum of the values that peers sent of a coordinate, and their weight.
pub(crate) type Sum = [f32; 2];

/// Sums of the elements of a panel's chunks: zeros but while they are added up. There is one for every index that can be written, so
/// that none is asked whether it is inside.
pub(crate) struct Sums(Box<Aligned>);

#[repr(align(64))]
struct Aligned([Sum; PANEL_MAX + EVERY_INDEX]);

/// Most elements of a panel, unless it is a single larger chunk.
pub(crate) const PANEL_MAX: usize = 1 << 14;
/// A sum for every index.
pub(crate) type EverySum = [Sum; EVERY_INDEX];
const EVERY_INDEX: usize = 1 << u16::BITS;

impl Default for Sums {
    fn default() -> Sums {
        Sums(Box::new(Aligned([[0.0; 2]; PANEL_MAX + EVERY_INDEX])))
    }
}

impl Sums {
    /// Those of a chunk behind so many elements of the panel.
    #[inline(always)]
    fn behind(&mut self, elements: usize) -> &mut EverySum {
        &mut self.0.0[elements..].as_chunks_mut().0[0]
    }
}

/// Sums that nobody uses: work is cut into many more pieces than there are threads, and half a megabyte of zeros for each takes long.
type Pool = Mutex<Vec<Sums>>;

/// Sums that go back into a pool.
struct Lent<'a> {
    sums: Option<Sums>,
    pool: &'a Pool,
}

impl Lent<'_> {
    fn new(pool: &Pool) -> Lent<'_> {
        let sums = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Lent { sums, pool }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).extend(self.sums.take());
    }
}

/// By what sums are divided: their weights, or one for all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Divisor {
    pub(crate) all: Option<f32>,
    /// Weights are known to be whole numbers up to [`COUNT_MAX`], and what was added to be zero or at least [`LEAST`].
    pub(crate) plain: bool,
}

/// Most peers that are counted.
pub(crate) const COUNT_MAX: usize = 31;
/// A sum of nothing smaller is zero or at least a last place of this: what is left of it by a division is never too small to be a number.
const LEAST: f32 = f32::from_bits((127 - 80) << 23);

impl Divisor {
    fn new(all: Option<f32>, peers: &[(usize, Weighted<'_>)]) -> Divisor {
        let alike = peers.len() <= COUNT_MAX && peers.iter().all(|(_, peer)| peer.weight == 1.0);
        Divisor { all, plain: alike }
    }

    /// Steps the parameters of a row, and makes its sums zeros.
    #[inline(always)]
    pub(crate) fn step(self, parameters: &mut [f32], sums: &mut [Sum], rate: f32) {
        if parameters.is_empty() {
            return;
        }
        match self.all {
            None => step_row(parameters, sums, |[sum, weight]| rate * mean_of(sum, weight)),
            Some(total) => step_row(parameters, sums, |[sum, _]| rate * (sum / total)),
        }
        sums.fill([0.0; 2]);
    }
}

#[inline(always)]
fn step_row(parameters: &mut [f32], sums: &[Sum], step: impl Fn(Sum) -> f32) {
    for (parameter, &sum) in parameters.iter_mut().zip(sums) {
        *parameter -= step(sum);
    }
}

/// What a peer sent of a band.
struct Sent<'a> {
    section: &'a SectionData,
    /// The number of the band's first chunk in the section.
    first: usize,
    coefficient: f32,
    weight: f32,
}

/// What is done to sums and parameters: as every machine does it, or with the instructions of a level.
pub(crate) trait Arithmetic: Copy {
    /// Elements of a panel, of which all sums are added up before any parameter is stepped: a chunk, whose sums fill a first cache.
    const PANEL: usize = 1 << 12;

    /// Adds what a peer sent of a chunk, times its coefficient, and its weight.
    #[inline(always)]
    fn add(self, run: Run<'_>, [coefficient, weight]: [f32; 2], sums: &mut EverySum) {
        run.each(
            |value| Term::new([coefficient * value, weight]),
            |index, term| term.add(&mut sums[usize::from(index)]),
        );
    }

    /// Does what [`Divisor::step`] does.
    #[inline(always)]
    fn step(self, divisor: Divisor, parameters: &mut [f32], sums: &mut [Sum], rate: f32) {
        divisor.step(parameters, sums, rate);
    }
}

impl Arithmetic for Plain {}

/// Steps the parameters of a band. Compiled once for each level of vector instructions, hence inlined.
#[inline(always)]
pub(crate) fn step_band<A: Arithmetic>(arithmetic: A, work: StepWork<'_>, sums: &mut Sums) {
    let StepWork { step, all, slice } = work;
    let (sent, divisor) = (step.sent(), Divisor::new(all, step.peers));
    for panel in step.band.panels(A::PANEL) {
        let first = step.band.block(panel.start).start;
        let elements_before = |chunk: usize| step.band.rows * (step.band.block(chunk).start - first);
        let mut plain = divisor.plain;
        for chunk in panel.clone() {
            plain &= step.sum(arithmetic, (&sent, chunk), Some(slice), sums.behind(elements_before(chunk)));
        }
        let divisor = Divisor { plain, ..divisor };
        for chunk in panel {
            step.step_chunk(arithmetic, (divisor, chunk), slice, sums.behind(elements_before(chunk)));
        }
    }
}

/// Asks for a row of parameters of a block of a band that begins so many elements behind theirs.
#[inline(always)]
fn ask(parameters: &[f32], (band, block): (usize, Block), row: usize) {
    prefetch_any(parameters, band + block.run(row).start, block.width);
}

impl<'a> Step<'a> {
    /// What each peer sent of the band.
    fn sent(&self) -> Vec<Sent<'a>> {
        let sent = |(&(_, Weighted { update, weight }), &coefficient): (&(usize, Weighted<'a>), &f32)| {
            let (section, first) = update.section_of(self.band, 0);
            Sent { section, first, coefficient, weight }
        };
        self.peers.iter().zip(self.coefficients).map(sent).collect()
    }

    /// The block whose parameters are asked for while chunk `chunk` is stepped, and where its band begins behind this one, which it may be. Half of the
    /// rows are asked for while sums are added up, half while parameters are stepped, since memory should never rest.
    #[inline(always)]
    fn ahead(&self, chunk: usize) -> (usize, Block) {
        let (ahead, across) = (chunk + CHUNKS_AHEAD, self.band.across);
        (ahead / across * self.band.len(), self.band.block(ahead % across))
    }

    /// Adds the peers' values of a chunk, in their order. What comes next is asked for meanwhile, a little with each peer: so
    /// many rows of parameters, and a run of every peer, are as many streams as no machine follows by itself. Tells whether all that was added is zero or
    /// at least [`LEAST`].
    #[inline(always)]
    fn sum(
        &self,
        arithmetic: impl Arithmetic,
        (sent, chunk): (&[Sent<'_>], usize),
        parameters: Option<&[f32]>,
        sums: &mut EverySum,
    ) -> bool {
        let mut plain = true;
        let (ahead, half) = (self.ahead(chunk), self.band.rows / 2);
        let rows = half.div_ceil(sent.len());
        for (place, &Sent { section, first, coefficient, weight }) in sent.iter().enumerate() {
            if let Some(parameters) = parameters {
                let rows = place * rows..half.min((place + 1) * rows);
                rows.for_each(|row| ask(parameters, ahead, row));
            }
            section.prefetch(first + chunk + AHEAD);
            let run = section.run(first + chunk);
            plain &= run.indices.is_empty() || coefficient * run.least >= LEAST;
            arithmetic.add(run, [coefficient, weight], sums);
        }
        plain
    }

    /// Steps the parameters of a chunk by its sums, which are zeros then.
    #[inline(always)]
    fn step_chunk(
        &self,
        arithmetic: impl Arithmetic,
        (divisor, chunk): (Divisor, usize),
        parameters: &mut [f32],
        sums: &mut EverySum,
    ) {
        let (block, ahead) = (self.band.block(chunk), self.ahead(chunk));
        let rows = sums[..block.len()].chunks_exact_mut(block.width);
        // What `for_each` calls would not be inlined, and not be compiled for the level.
        for (number, (run, sums)) in block.runs().zip(rows).enumerate() {
            if number % 2 == 0 {
                ask(parameters, ahead, self.band.rows / 2 + number / 2);
            }
            arithmetic.step(divisor, &mut parameters[run], sums, self.rate);
        }
    }

    /// Appends the means of the band's coordinates that somebody sent.
    fn collect(&self, all: Option<f32>, sums: &mut Sums, data: &mut SectionData) {
        let sent = self.sent();
        for chunk in 0..self.band.across {
            let sums = sums.behind(0);
            self.sum(Plain, (&sent, chunk), None, sums);
            let sums = &mut sums[..self.band.block(chunk).len()];
            let sent = sums.iter().zip(0_u16..).filter(|([_, weight], _)| *weight > 0.0);
            sent.for_each(|(&[sum, weight], index)| data.push(index, sum / all.unwrap_or(weight)));
            sums.fill([0.0; 2]);
            data.close_chunk(Scales::default());
        }
    }
}

/// A sum over its weight. Where nobody sent anything the sum is zero; dividing by one keeps it so without a branch.
#[inline(always)]
fn mean_of(sum: f32, weight: f32) -> f32 {
    sum / if weight > 0.0 { weight } else { 1.0 }
}
