//! Where in its line each value is.

use std::ops::Range;

use crate::codec::range::{Coding, ONE};

/// Probabilities of a half are told apart in steps of `1 / SHARES`.
const SHARES: usize = 64;
/// Most values that are divided between two halves at once.
const GROUP: usize = 16;

/// Codes the ascending positions of one or more values within `range`, where a position has the weight of its column.
/// A single value is coded directly; several are divided between the halves of the range first, since their order is no
/// information. False if a decoder read something impossible.
pub(crate) fn place(coding: &mut impl Coding, sums: &[u16], range: Range<usize>, positions: &mut [u16]) -> bool {
    let held = positions.len();
    if let [position] = positions {
        let start = range.start as u16;
        *position =
            start + coding.pick(&sums[range.start..=range.end], usize::from(position.wrapping_sub(start))) as u16;
        return true;
    }
    if held == range.len() {
        positions.iter_mut().zip(range).for_each(|(position, place)| *position = place as u16);
        return true;
    }
    let middle = range.start + range.len() / 2;
    let weight = |range: Range<usize>| u32::from(sums[range.end] - sums[range.start]);
    let share = weight(range.start..middle) * SHARES as u32 / weight(range.clone());
    let before = positions.iter().take_while(|&&position| usize::from(position) < middle).count();
    let before = divide(coding, held, (share as usize).clamp(1, SHARES - 1), before);
    if before > middle - range.start || held - before > range.end - middle {
        return false;
    }
    let (lower, upper) = positions.split_at_mut(before);
    (lower.is_empty() || place(coding, sums, range.start..middle, lower))
        && (upper.is_empty() || place(coding, sums, middle..range.end, upper))
}

/// Codes how many of `held` values are in a part that each of them is in with probability `share / SHARES`: in groups of
/// at most [`GROUP`], of which the first ones take their proportion of `before`, rounded down, as far as possible.
fn divide(coding: &mut impl Coding, held: usize, share: usize, before: usize) -> usize {
    let (mut left, mut rest, mut sum) = (held, before, 0);
    while left > 0 {
        let group = left.min(GROUP);
        let least = rest.saturating_sub(left - group);
        let mine = (rest * group / left).max(least).min(group);
        let coded = coding.choose(&BINOMIALS[share - 1][group - 1][..group + 2], mine);
        sum += coded;
        rest = rest.saturating_sub(coded);
        left -= group;
    }
    sum
}

/// Running sums, up to 2^16, of the binomial weights: of `held` values, each in a part with probability
/// `share / SHARES`, `k` are in it. At `[share - 1][held - 1]`.
static BINOMIALS: [[[u32; GROUP + 2]; GROUP]; SHARES - 1] = {
    let mut table = [[[0; GROUP + 2]; GROUP]; SHARES - 1];
    let mut share = 1;
    while share < SHARES {
        let mut held = 1;
        while held <= GROUP {
            table[share - 1][held - 1] = binomial(share as u128, held);
            held += 1;
        }
        share += 1;
    }
    table
};

/// Every number is given the weight 1 and its part of what is left of 2^16, rounded down; the largest takes the rest.
const fn binomial(share: u128, held: usize) -> [u32; GROUP + 2] {
    let mut weights = [0; GROUP + 1];
    let (mut k, mut choose, mut sum, mut largest) = (0, 1_u128, 0, 0);
    while k <= held {
        let parts = choose * share.pow(k as u32) * (SHARES as u128 - share).pow((held - k) as u32);
        weights[k] = 1 + (parts * (ONE as u128 - 1 - held as u128) / (SHARES as u128).pow(held as u32)) as u32;
        sum += weights[k];
        if weights[k] > weights[largest] {
            largest = k;
        }
        choose = choose * (held - k) as u128 / (k as u128 + 1);
        k += 1;
    }
    weights[largest] += ONE - sum;
    let mut sums = [0; GROUP + 2];
    k = 0;
    while k <= held {
        sums[k + 1] = sums[k] + weights[k];
        k += 1;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binomials_are_complete_and_centred() {
        for share in 1..SHARES {
            for held in 1..=GROUP {
                let sums = &BINOMIALS[share - 1][held - 1][..held + 2];
                assert_eq!((sums[0], sums[held + 1]), (0, ONE));
                assert!(sums.windows(2).all(|pair| pair[0] < pair[1]));
                let mean =
                    (0..=held).map(|k| k as f64 * f64::from(sums[k + 1] - sums[k])).sum::<f64>() / f64::from(ONE);
                let expected = held as f64 * share as f64 / SHARES as f64;
                assert!((mean - expected).abs() < 0.01, "{share} {held}: {mean} {expected}");
            }
        }
    }
}
