//! Yuma consensus in its second form: what validators' weights are worth once the majority of stake has clipped them.
//!
//! The steps and the rounding are those of the subtensor runtime with its defaults: kappa 32767/65535, a bonds moving
//! average of 0.9, a bonds penalty of one, no liquid alpha, no subnet owner.

use crate::fixed::{Fixed, normalise};

#[cfg(test)]
mod tests;

const KAPPA: (u64, u64) = (32_767, 65_535);
/// One minus the bonds' moving average.
const BONDS_ALPHA: (u64, u64) = (1, 10);

/// What consensus needs to know of one neuron; its uid is its position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voter {
    /// Its stake; zero if it is below what a validator needs.
    pub stake: u64,
    /// Whether it holds a validator's permit.
    pub permit: bool,
    /// Whether it set weights lately.
    pub active: bool,
    /// The block in which it registered.
    pub registered: u64,
    /// The block of its newest weights.
    pub updated: u64,
    /// (uid, weight) with each uid once; only the proportions count.
    pub weights: Vec<(u16, u16)>,
    /// (uid, bond) with each uid once, as the last epoch left them.
    pub bonds: Vec<(u16, u16)>,
}

/// What consensus came to. Every list has one entry for each neuron.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// The weight that the majority of stake supports at least, in 1/65535.
    pub consensus: Vec<u16>,
    /// What it earns as a miner, in 1/65535 of all that miners earn.
    pub incentive: Vec<u16>,
    /// What it earns as a validator, in 1/65535 of all that validators earn.
    pub dividends: Vec<u16>,
    /// The bonds to hand to the next epoch.
    pub bonds: Vec<Vec<(u16, u16)>>,
    parts: Vec<Fixed>,
}

type Matrix = Vec<Vec<Fixed>>;

/// One epoch of consensus. Bonds on neurons that registered at or after block `last_epoch` belong to those they
/// replaced and are dropped.
#[must_use]
pub fn yuma(voters: &[Voter], last_epoch: u64) -> Shares {
    let total = voters.iter().fold(0u64, |sum, voter| sum.saturating_add(voter.stake));
    let stake: Vec<Fixed> = voters.iter().map(|voter| Fixed::ratio(voter.stake, total)).collect();
    let mut active = stake.clone();
    for (share, voter) in active.iter_mut().zip(voters) {
        *share = if voter.permit && voter.active { *share } else { Fixed::ZERO };
    }
    normalise(&mut active);

    let mut weights = weight_rows(voters);
    let consensus = consensus(&active, &weights);
    clip(&mut weights, &consensus);
    let mut incentive = column_sums(&weights, &active);
    normalise(&mut incentive);

    let bonds = next_bonds(voters, &weights, &active, last_epoch);
    let mut dividends: Vec<Fixed> =
        bonds.iter().map(|row| row.iter().zip(&incentive).map(|(bond, share)| bond.times(*share)).sum()).collect();
    normalise(&mut dividends);

    Shares {
        consensus: consensus.iter().map(|share| share.to_u16()).collect(),
        incentive: incentive.iter().map(|share| share.to_u16()).collect(),
        dividends: dividends.iter().map(|share| share.to_u16()).collect(),
        bonds: stored(&bonds, voters),
        parts: parts(&incentive, &dividends, &active, &stake),
    }
}

impl Shares {
    /// What each neuron gets of `total`, rounded down. Never more than `total` in sum; nothing without any stake.
    #[must_use]
    pub fn divide(&self, total: u64) -> Vec<u64> {
        self.parts.iter().map(|part| part.of(total)).collect()
    }
}

fn parts(incentive: &[Fixed], dividends: &[Fixed], active: &[Fixed], stake: &[Fixed]) -> Vec<Fixed> {
    let mut parts: Vec<Fixed> = incentive.iter().zip(dividends).map(|(one, other)| one.plus(*other)).collect();
    let empty = |shares: &[Fixed]| shares.iter().all(|share| *share == Fixed::ZERO);
    if empty(&parts) {
        parts = if empty(active) { stake.to_vec() } else { active.to_vec() };
    }
    normalise(&mut parts);
    parts
}

/// Normalised rows of permitted validators, without self-weights and without weights for a uid's former owner.
fn weight_rows(voters: &[Voter]) -> Matrix {
    let mut rows = vec![vec![Fixed::ZERO; voters.len()]; voters.len()];
    for (i, voter) in voters.iter().enumerate().filter(|(_, voter)| voter.permit) {
        for (uid, weight) in &voter.weights {
            let j = usize::from(*uid);
            if j != i && voters.get(j).is_some_and(|target| voter.updated > target.registered) {
                rows[i][j] = Fixed::ratio((*weight).into(), u16::MAX.into());
            }
        }
        normalise(&mut rows[i]);
    }
    rows
}

fn consensus(active: &[Fixed], weights: &Matrix) -> Vec<Fixed> {
    let rows: Vec<usize> = (0..active.len()).filter(|i| active[*i] > Fixed::ZERO).collect();
    let mut stake: Vec<Fixed> = rows.iter().map(|i| active[*i]).collect();
    normalise(&mut stake);
    let minority = stake.iter().copied().sum::<Fixed>().minus(Fixed::ratio(KAPPA.0, KAPPA.1));
    (0..active.len())
        .map(|j| {
            let votes: Vec<(Fixed, Fixed)> = rows.iter().zip(&stake).map(|(i, s)| (weights[*i][j], *s)).collect();
            weighted_median(votes, minority)
        })
        .collect()
}

/// The score up to which more than `minority` of the stake lies, by quick-select over (score, stake).
fn weighted_median(mut votes: Vec<(Fixed, Fixed)>, minority: Fixed) -> Fixed {
    let mut below = Fixed::ZERO;
    let mut up_to: Fixed = votes.iter().map(|(_, stake)| *stake).sum();
    while votes.len() > 1 {
        let pivot = votes[votes.len() / 2].0;
        let part = |keep: &dyn Fn(Fixed) -> bool| -> (Vec<(Fixed, Fixed)>, Fixed) {
            let part: Vec<_> = votes.iter().copied().filter(|(score, _)| keep(*score)).collect();
            let stake = part.iter().map(|(_, stake)| *stake).sum();
            (part, stake)
        };
        let (lower, lower_stake) = part(&|score| score < pivot);
        let (upper, upper_stake) = part(&|score| score > pivot);
        if minority < below.plus(lower_stake) && !lower.is_empty() {
            up_to = below.plus(lower_stake);
            votes = lower;
        } else if up_to.minus(upper_stake) <= minority && !upper.is_empty() {
            below = up_to.minus(upper_stake);
            votes = upper;
        } else {
            return pivot;
        }
    }
    votes.first().map_or(Fixed::ZERO, |(score, _)| *score)
}

fn clip(weights: &mut Matrix, consensus: &[Fixed]) {
    for row in weights {
        for (weight, most) in row.iter_mut().zip(consensus) {
            *weight = (*weight).min(*most);
        }
    }
}

fn column_sums(rows: &Matrix, active: &[Fixed]) -> Vec<Fixed> {
    (0..active.len()).map(|j| rows.iter().zip(active).map(|(row, share)| row[j].times(*share)).sum()).collect()
}

/// The moving average of column-normalised bonds towards the column-normalised stake-weighted clipped weights.
fn next_bonds(voters: &[Voter], clipped: &Matrix, active: &[Fixed], last_epoch: u64) -> Matrix {
    let mut old = vec![vec![Fixed::ZERO; voters.len()]; voters.len()];
    for (row, voter) in old.iter_mut().zip(voters) {
        for (uid, bond) in &voter.bonds {
            let j = usize::from(*uid);
            if voters.get(j).is_some_and(|target| target.registered < last_epoch) {
                row[j] = Fixed::ratio((*bond).into(), u16::MAX.into());
            }
        }
    }
    normalise_columns(&mut old);
    let mut new: Matrix =
        clipped.iter().zip(active).map(|(row, share)| row.iter().map(|w| w.times(*share)).collect()).collect();
    normalise_columns(&mut new);
    let alpha = Fixed::ratio(BONDS_ALPHA.0, BONDS_ALPHA.1);
    for (new_row, old_row) in new.iter_mut().zip(&old) {
        for (bond, before) in new_row.iter_mut().zip(old_row) {
            *bond = alpha.times(*bond).plus(Fixed::ONE.minus(alpha).times(*before));
        }
    }
    normalise_columns(&mut new);
    new
}

fn normalise_columns(rows: &mut Matrix) {
    for j in 0..rows.len() {
        let sum: Fixed = rows.iter().map(|row| row[j]).sum();
        for row in rows.iter_mut() {
            row[j] = row[j].over(sum);
        }
    }
}

/// The bonds as they are kept: each column divided by its greatest, for those with a permit.
fn stored(bonds: &Matrix, voters: &[Voter]) -> Vec<Vec<(u16, u16)>> {
    let greatest: Vec<Fixed> =
        (0..bonds.len()).map(|j| bonds.iter().map(|row| row[j]).max().unwrap_or(Fixed::ZERO)).collect();
    let kept = |row: &[Fixed]| {
        let scaled = row.iter().zip(&greatest).map(|(bond, most)| bond.over(*most).to_u16());
        (0..=u16::MAX).zip(scaled).filter(|(_, bond)| *bond > 0).collect()
    };
    bonds.iter().zip(voters).map(|(row, voter)| if voter.permit { kept(row) } else { Vec::new() }).collect()
}
