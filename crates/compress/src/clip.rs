//! By how much an update is scaled down among its peers.

use crate::update::SparseUpdate;

/// The factor of each tensor of `update` in the aggregate of `among`: `c = min(1, median / norm)`, where the median is the
/// lower one of the norms of `among` in that tensor. Without peers it is 1.
///
/// # Panics
/// If the updates are of different layouts.
#[must_use]
pub fn clips(update: &SparseUpdate, among: &[&SparseUpdate]) -> Vec<f32> {
    assert!(among.iter().all(|peer| peer.layout() == update.layout()), "the updates are of different layouts");
    let factor = |(tensor, &norm): (usize, &f64)| {
        let mut norms: Vec<f64> = among.iter().map(|peer| peer.norms()[tensor]).collect();
        lower_median(&mut norms).map_or(1.0, |median| clip(norm, median))
    };
    update.norms().iter().enumerate().map(factor).collect()
}

/// The lower of the two in the middle, if there is any.
pub(crate) fn lower_median(norms: &mut [f64]) -> Option<f64> {
    norms.sort_by(f64::total_cmp);
    norms.get(norms.len().saturating_sub(1) / 2).copied()
}

pub(crate) fn clip(norm: f64, median: f64) -> f32 {
    if norm > median { (median / norm) as f32 } else { 1.0 }
}
