//! The reference run's quantiser: four levels for all selected values of a tensor.
//!
//! With `v` the `n` selected values of the tensor:
//!
//! ```text
//! shift  = mean(v)                  c     = v - shift
//! scale  = 6 / 4 * |c| / sqrt(n-1)  (1 if that is zero or not finite)
//! code   = clamp(round(c / scale + 2), 0, 3), halves to even
//! level  = mean of c over the values of the code (0 if there are none) + shift
//! ```
//!
//! Sums run in `f64`, band by band and then over bands in their order; everything else in `f32`. A framework's `f32` sums
//! differ from these in their last bits.
//!
//! On the wire a code's lowest bit is 1 for the two lower levels and the next one is 1 for the two outer ones, so that
//! codes look like those of the other quantisers: codes 3, 1, 0, 2 for the levels in ascending order.

use rayon::prelude::*;

use crate::compress::Part;
use crate::layout::Band;
use crate::quantise::Table;

/// Code on the wire of each of the reference's codes.
const WIRE: [u8; 4] = [3, 1, 0, 2];

/// One band of the tensor: what was selected, and the feedback if what is sent is to be subtracted.
pub(crate) struct Member<'a> {
    pub(crate) band: &'a Band,
    pub(crate) part: &'a mut Part,
    pub(crate) feedback: Option<&'a mut [f32]>,
}

/// Quantises the selected values of all bands of one tensor.
pub(crate) fn quantise_tensor(members: &mut [Member<'_>]) {
    let count = members.iter().map(|member| member.part.values.len()).sum::<usize>();
    let shift = (total(members, &|value| f64::from(value)) / count as f64) as f32;
    let squares = total(members, &|value| f64::from(value - shift).powi(2));
    let scale = scale_of(squares, count);
    let mut levels = [0.0; 4];
    for (code, wire) in WIRE.into_iter().enumerate() {
        let holds = |value: f32| code_of(value - shift, scale) == code;
        let number = total(members, &|value| f64::from(u8::from(holds(value))));
        let sum = total(members, &|value| if holds(value) { f64::from(value - shift) } else { 0.0 });
        let mean = if number > 0.0 { (sum / number) as f32 } else { 0.0 };
        levels[usize::from(wire)] = mean + shift;
    }
    members.par_iter_mut().for_each(|member| {
        let Part { values, codes, .. } = &mut *member.part;
        codes.extend(values.iter().map(|&value| WIRE[code_of(value - shift, scale)]));
        member.part.levels = levels;
        subtract(member, &Table::of_levels(levels));
    });
}

/// Sum over all values in a fixed order.
fn total(members: &[Member<'_>], of: &(impl Fn(f32) -> f64 + Sync)) -> f64 {
    let sums = members.par_iter().map(|member| member.part.values.iter().map(|&value| of(value)).sum::<f64>());
    sums.collect::<Vec<_>>().into_iter().sum()
}

fn scale_of(squares: f64, count: usize) -> f32 {
    let deviation = squares.sqrt() as f32 / ((count as f64 - 1.0).sqrt() as f32);
    let scale = 6.0 * deviation / 4.0;
    if scale > 0.0 && scale.is_finite() { scale } else { 1.0 }
}

fn code_of(centred: f32, scale: f32) -> usize {
    (centred / scale + 2.0).round_ties_even().clamp(0.0, 3.0) as usize
}

fn subtract(member: &mut Member<'_>, table: &Table) {
    let Some(feedback) = &mut member.feedback else { return };
    let (part, mut value) = (&*member.part, 0);
    for (chunk, &count) in part.counts.iter().enumerate() {
        let block = member.band.block(chunk);
        for _ in 0..count {
            feedback[block.position(usize::from(part.indices[value]))] -= table.value(part.codes[value]);
            value += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::{FromStr, SplitWhitespace};

    use crate::laws::gradient;
    use crate::{Compressor, Grid, Layout, Limits, Quantiser, Settings, decode};

    fn numbers<T: FromStr<Err: std::fmt::Debug>>(words: SplitWhitespace<'_>) -> Vec<T> {
        words.map(|word| word.parse().unwrap()).collect()
    }

    /// Compares a tensor with what the reference's pipeline made of it.
    fn check(seed: u64, shape: &[usize], levels: &[f32], chunks: &str) {
        let layout = Layout::with_grid(Grid::Divisor, 64, [shape.to_vec()]).unwrap();
        let settings = Settings::new(64, Quantiser::Compatible);
        let before = gradient(seed, layout.len());
        let mut after = before.clone();
        let bytes = Compressor::new(layout.clone(), settings).unwrap().compress(&mut after);
        let update = decode(&bytes, &layout, &Limits::new(settings)).unwrap();
        let blocks = layout.bands().iter().flat_map(|band| (0..band.across).map(move |i| (band, band.block(i))));
        let mut expected = Vec::new();
        for ((band, block), entries) in blocks.zip(chunks.split('|')) {
            for entry in entries.split_whitespace() {
                let (index, code) = entry.split_once(':').unwrap();
                let position = band.offset + block.position(index.parse().unwrap());
                expected.push((position, levels[code.parse::<usize>().unwrap()]));
            }
        }
        let found = update.entries().collect::<Vec<_>>();
        let places = |entries: &[(usize, f32)]| entries.iter().map(|entry| entry.0).collect::<Vec<_>>();
        assert_eq!(places(&found), places(&expected), "{shape:?}");
        for (found, expected) in found.into_iter().zip(expected) {
            // The framework adds in another order.
            assert!((found.1 - expected.1).abs() < 1e-7, "{shape:?}: {found:?} is not {expected:?}");
            assert_eq!(after[found.0], before[found.0] - found.1);
        }
    }

    #[test]
    fn outputs_are_those_recorded_from_the_reference() {
        let mut lines = include_str!("../testdata/reference.txt").lines().map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap(), words, line)
        });
        let mut seed = 0;
        while let Some((name, shape, _)) = lines.next() {
            seed += 1;
            let (levels, chunks) = (lines.next().unwrap(), lines.next().unwrap());
            assert_eq!((name, levels.0, chunks.0), ("shape", "levels", "chunks"));
            check(seed, &numbers(shape), &numbers(levels.1), chunks.2.trim_start_matches("chunks"));
        }
        assert_eq!(seed, 8);
    }

    #[test]
    fn a_tensor_of_zeros_sends_zeros() {
        let layout = Layout::with_grid(Grid::Divisor, 8, [vec![16, 8]]).unwrap();
        let settings = Settings::new(6, Quantiser::Compatible);
        let mut feedback = vec![0.0; layout.len()];
        let bytes = Compressor::new(layout.clone(), settings).unwrap().compress(&mut feedback);
        let update = decode(&bytes, &layout, &Limits::new(settings)).unwrap();
        assert_eq!(update.selected(), 12);
        assert!(update.entries().all(|(_, value)| value == 0.0) && feedback.iter().all(|&value| value == 0.0));
    }
}
