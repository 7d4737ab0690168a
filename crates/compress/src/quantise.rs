//! Selected values to codes and scales.
//!
//! A code's lowest bit is the sign (1: negative), the others say which magnitude. Sums of selected values run in sixteen
//! lanes (value `i` in lane `i mod 16`) that are then added pairwise, halves first, so that vector and scalar code agree
//! to the bit.

use crate::scale::{code_of, value_of};
use crate::settings::Quantiser;

/// Rounds of Lloyd's algorithm for two levels; more change the error by less than one part in a hundred.
const ROUNDS: usize = 4;
const LANES: usize = 16;

/// Scale codes of one chunk, the lower first; a quantiser with one scale uses the second alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Scales {
    pub(crate) low: u16,
    pub(crate) high: u16,
}

impl Scales {
    /// No magnitude of a chunk is smaller, but for zero: the lower scale, or one of eight steps up to the upper one.
    #[inline(always)]
    pub(crate) fn least(self) -> f32 {
        if self.low > 0 { value_of(self.low) } else { value_of(self.high) / 8.0 }
    }
}

/// Values of the codes of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Table {
    values: [f32; 16],
    /// There are codes beyond the first four.
    many: bool,
}

impl Table {
    /// The table of a chunk with these scales.
    #[inline(always)]
    pub(crate) fn of_scales(quantiser: Quantiser, scales: Scales) -> Table {
        let (low, high) = (value_of(scales.low), value_of(scales.high));
        let mut table = Table { many: quantiser == Quantiser::FourBits, ..Table::default() };
        match quantiser {
            Quantiser::SignScale => table.values[..2].copy_from_slice(&[high, -high]),
            Quantiser::TwoLevels => table.values[..4].copy_from_slice(&[low, -low, high, -high]),
            Quantiser::FourBits => {
                let step = step_of(low, high);
                for (place, pair) in table.values.chunks_exact_mut(2).enumerate() {
                    let value = low + place as f32 * step;
                    pair.copy_from_slice(&[value, -value]);
                }
            }
            Quantiser::Compatible | Quantiser::Exact => {}
        }
        table
    }

    /// The table of a tensor with these four values.
    pub(crate) fn of_levels(levels: [f32; 4]) -> Table {
        let mut table = Table::default();
        table.values[..4].copy_from_slice(&levels);
        table
    }

    /// The values of some codes.
    pub(crate) fn all<'a>(&self, codes: &[u8], values: &'a mut Vec<f32>) -> &'a [f32] {
        values.clear();
        values.extend(codes.iter().map(|&code| self.value(code)));
        values
    }

    /// The values of all codes, if they are four or fewer.
    #[inline(always)]
    pub(crate) fn few(self) -> Option<[f32; 4]> {
        let [a, b, c, d, ..] = self.values;
        (!self.many).then_some([a, b, c, d])
    }

    /// What becomes of the value of each code.
    #[inline(always)]
    pub(crate) fn map<T>(self, of: impl Fn(f32) -> T) -> [T; 16] {
        self.values.map(of)
    }

    #[inline(always)]
    pub(crate) fn value(&self, code: u8) -> f32 {
        self.values[usize::from(code & 15)]
    }
}

/// Chooses the scales for the selected values of one chunk and appends their codes. If the quantiser has scales and the
/// upper one is zero, the chunk is better left out; no code is appended then.
#[inline(always)]
pub(crate) fn quantise(quantiser: Quantiser, selected: &[f32], codes: &mut Vec<u8>) -> Scales {
    let scales = match quantiser {
        Quantiser::SignScale => Scales { low: 0, high: code_of(mean(selected, |_| true)) },
        Quantiser::TwoLevels => two_levels(selected),
        Quantiser::FourBits => extremes(selected),
        Quantiser::Compatible | Quantiser::Exact => Scales::default(),
    };
    match quantiser {
        Quantiser::Exact => codes.extend(selected.iter().map(sign)),
        _ if scales.high == 0 => {}
        Quantiser::SignScale => codes.extend(selected.iter().map(sign)),
        Quantiser::TwoLevels => {
            let border = border(scales);
            codes.extend(selected.iter().map(|value| sign(value) | u8::from(value.abs() >= border) << 1));
        }
        Quantiser::FourBits => {
            let low = value_of(scales.low);
            let step = step_of(low, value_of(scales.high));
            codes.extend(selected.iter().map(|value| sign(value) | place_of(value.abs() - low, step) << 1));
        }
        // The codes depend on the whole tensor and come later.
        Quantiser::Compatible => {}
    }
    scales
}

/// Distance of two of the eight magnitudes from `low` to `high`.
#[inline(always)]
fn step_of(low: f32, high: f32) -> f32 {
    (high - low) / 7.0
}

/// The nearest of eight magnitudes that are a step apart; the first if all are the same.
#[inline(always)]
fn place_of(above: f32, step: f32) -> u8 {
    if step > 0.0 { (above / step + 0.5).clamp(0.0, 7.0) as u8 } else { 0 }
}

#[inline(always)]
fn extremes(selected: &[f32]) -> Scales {
    let least = selected.iter().fold(f32::MAX, |least, value| least.min(value.abs()));
    let largest = selected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    Scales { low: code_of(least.min(largest)), high: code_of(largest) }
}

#[inline(always)]
fn sign(value: &f32) -> u8 {
    u8::from(value.is_sign_negative())
}

/// The least magnitude that takes the upper scale; every one does if both are the same.
#[inline(always)]
fn border(scales: Scales) -> f32 {
    if scales.low == scales.high { 0.0 } else { middle(value_of(scales.low), value_of(scales.high)) }
}

#[inline(always)]
fn middle(low: f32, high: f32) -> f32 {
    0.5 * (low + high)
}

/// The two levels of least squared error, by Lloyd's algorithm from the mean.
#[inline(always)]
fn two_levels(selected: &[f32]) -> Scales {
    let mut border = mean(selected, |_| true);
    let (mut low, mut high) = (border, border);
    for _ in 0..ROUNDS {
        let above = mean(selected, |magnitude| magnitude >= border);
        // The mean of equal values may round to just above them.
        if above == 0.0 {
            break;
        }
        let below = mean(selected, |magnitude| magnitude < border);
        (low, high) = (if below > 0.0 { below } else { above }, above);
        border = middle(low, high);
    }
    let (low, high) = (code_of(low), code_of(high));
    Scales { low: low.min(high), high }
}

/// Mean magnitude of the values that satisfy a condition; zero if none does.
#[inline(always)]
fn mean(selected: &[f32], condition: impl Fn(f32) -> bool) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let mut count = 0_u32;
    for run in selected.chunks(LANES) {
        for (sum, value) in sums.iter_mut().zip(run) {
            let magnitude = value.abs();
            let holds = condition(magnitude);
            *sum += if holds { magnitude } else { 0.0 };
            count += u32::from(holds);
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    if count == 0 { 0.0 } else { sums[0] / count as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(quantiser: Quantiser, selected: &[f32]) -> f64 {
        let mut codes = Vec::new();
        let table = Table::of_scales(quantiser, quantise(quantiser, selected, &mut codes));
        let squares = |difference: f32| f64::from(difference).powi(2);
        let lost = selected.iter().zip(&codes).map(|(v, &c)| squares(v - table.value(c))).sum::<f64>();
        (lost / selected.iter().map(|&v| squares(v)).sum::<f64>()).sqrt()
    }

    const SCALED: [Quantiser; 3] = [Quantiser::SignScale, Quantiser::TwoLevels, Quantiser::FourBits];

    #[test]
    fn equal_magnitudes_are_exact() {
        for quantiser in SCALED {
            assert_eq!(error(quantiser, &[0.5, -0.5, 0.5]), 0.0);
        }
    }

    #[test]
    fn two_groups_are_exact_with_two_levels() {
        assert_eq!(error(Quantiser::TwoLevels, &[0.5, -2.0, 0.5, 2.0, -0.5]), 0.0);
        assert!(error(Quantiser::SignScale, &[0.5, -2.0, 0.5, 2.0, -0.5]) > 0.3);
    }

    #[test]
    fn values_below_the_smallest_scale_are_left_out() {
        for quantiser in SCALED {
            let mut codes = Vec::new();
            assert_eq!(quantise(quantiser, &[1e-30, -1e-38], &mut codes), Scales::default());
            assert!(codes.is_empty());
        }
    }

    #[test]
    fn eight_even_magnitudes_are_exact_with_four_bits() {
        assert_eq!(error(Quantiser::FourBits, &[1.0, -2.0, 3.0, 4.0, -5.0, 6.0, 7.0, -8.0]), 0.0);
    }

    proptest! {
        #[test]
        fn four_bits_are_within_half_a_step_and_the_rounding_of_scales(
            selected in prop::collection::vec(0.01_f32..10.0, 2..100),
        ) {
            let mut codes = Vec::new();
            let table = Table::of_scales(Quantiser::FourBits, quantise(Quantiser::FourBits, &selected, &mut codes));
            let largest = selected.iter().copied().fold(0.0, f32::max);
            for (value, &code) in selected.iter().zip(&codes) {
                prop_assert!((value - table.value(code)).abs() <= largest * (1.0 / 14.0 + 1.0 / 16.0));
            }
        }

        #[test]
        fn two_levels_are_never_much_worse_than_one(selected in prop::collection::vec(0.01_f32..10.0, 2..100)) {
            // One level may by luck fall on a better scale: allow its rounding.
            prop_assert!(error(Quantiser::TwoLevels, &selected) <= error(Quantiser::SignScale, &selected) + 0.02);
        }
    }
}
