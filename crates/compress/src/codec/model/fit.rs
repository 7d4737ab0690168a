//! What a writer says of a section's lines and columns. Whatever it says can be read: here is chosen what makes the section short.

use std::cell::Cell;

use crate::codec::ans::SHARE_BITS;
use crate::codec::model::cut::{Cut, Geometry};
use crate::codec::model::head::Head;
use crate::codec::model::lean::{Entry, LOOKED_AT, is_foretold, lean};
use crate::codec::model::marks::{CLASSES, Marks};
use crate::compress::Part;
use crate::layout::Band;
use crate::quantise::Scales;
use crate::settings::Quantiser;

/// Bits are counted in 256ths.
pub(super) const BIT: i64 = 256;
/// `log2(e)`.
const LOG2_E: i64 = 369;
/// The class of weight one.
const MIDDLE: usize = 2;
/// Rounds in which classes get their shares.
const ROUNDS: usize = 3;

thread_local! {
    /// The memory of the thread's last section, since to ask the system for it again each time takes time.
    static ENTRIES: Cell<Vec<Entry>> = const { Cell::new(Vec::new()) };
}

/// The head of a section, and the marks of its lines and columns.
#[inline(always)]
pub(crate) fn fit(geometry: &Geometry, bands: &[Band], parts: &[Part], quantiser: Quantiser) -> (Head, Marks) {
    let (mut head, mut marks) = (Head::default(), Marks::new(geometry));
    let values = Values { geometry, bands, parts };
    let [of_lines, of_columns] = values.count([marks.lines.len(), marks.columns.len()]);
    head.lines.classes = classes(&mut marks.lines, &of_lines);
    head.columns.classes = classes(&mut marks.columns, &of_columns);
    let mut entries = ENTRIES.take();
    values.list(&mut entries, LOOKED_AT);
    if is_foretold(&entries[..LOOKED_AT.min(entries.len())], marks.columns.len()) {
        values.list(&mut entries, usize::MAX);
        lean(&entries, &mut head, &mut marks);
    }
    ENTRIES.set(entries);
    head.falls = falls(parts);
    head.levels = levels(parts, quantiser);
    (head, marks)
}

/// The values of a section.
struct Values<'a> {
    geometry: &'a Geometry,
    bands: &'a [Band],
    parts: &'a [Part],
}

impl Values<'_> {
    /// For each chunk the number of its first line, its cut, and the indices and codes of its values.
    #[inline(always)]
    fn chunks(&self) -> impl Iterator<Item = (usize, Cut, &[u16], &[u8])> {
        let geometry = self.geometry;
        self.bands.iter().zip(self.parts).enumerate().flat_map(move |(number, (band, part))| {
            let (mut indices, mut codes) = (&part.indices[..], &part.codes[..]);
            part.counts.iter().enumerate().map(move |(chunk, &count)| {
                let (mine, mine_codes);
                ((mine, indices), (mine_codes, codes)) = (indices.split_at(count.into()), codes.split_at(count.into()));
                let cut = geometry.cut(chunk, &band.block(chunk));
                (number * geometry.lines, cut, mine, mine_codes)
            })
        })
    }

    /// How many there are in each line and in each column.
    #[inline(always)]
    fn count(&self, [lines, columns]: [usize; 2]) -> [Vec<u32>; 2] {
        let (mut of_lines, mut of_columns) = (vec![[0_u32; 4]; lines], vec![0; columns]);
        for (first, cut, indices, _) in self.chunks() {
            count(cut, indices, &mut of_lines[first..], &mut of_columns[cut.base..]);
        }
        [of_lines.iter().map(|number| number.iter().sum()).collect(), of_columns]
    }

    /// Lists at least so many, if there are.
    #[inline(always)]
    fn list(&self, entries: &mut Vec<Entry>, least: usize) {
        entries.clear();
        for (first, cut, indices, codes) in self.chunks() {
            if entries.len() >= least {
                return;
            }
            entries.extend(indices.iter().zip(codes).map(|(&index, code)| {
                let line = cut.line_of(index);
                let column = cut.base + usize::from(index) - line * cut.length;
                Entry::new(first + line, column, code & 1)
            }));
        }
    }
}

/// Counts the values of a chunk. There are four numbers of each line, since values of the same one follow each other and would wait for each other.
#[inline(always)]
fn count(cut: Cut, indices: &[u16], of_lines: &mut [[u32; 4]], of_columns: &mut [u32]) {
    for indices in indices.chunks(4) {
        for (place, &index) in indices.iter().enumerate() {
            let line = cut.line_of(index);
            of_lines[line][place] += 1;
            of_columns[usize::from(index) - line * cut.length] += 1;
        }
    }
}

/// `256 log2(number)`, rounded down, by whole numbers: the same on every machine.
pub(super) fn log2(number: usize) -> i64 {
    let number = number.max(1) as u64;
    // From 2^31 to below 2^32, of which each square tells one more bit of the logarithm.
    let mut part = number << number.leading_zeros() >> 32;
    (0..8).fold(number.ilog2().into(), |sum, _| {
        let square = part * part;
        let double = square >> 63;
        part = square >> (31 + double);
        2 * sum + double as i64
    })
}

/// Slots for symbols that were seen so often, of all but the last.
pub(super) fn shares<const N: usize>(seen: &[usize]) -> [u8; N] {
    let (sum, room) = (seen.iter().sum::<usize>().max(1), (1 << SHARE_BITS) - seen.len());
    std::array::from_fn(|symbol| (1 + room * seen[symbol] / sum) as u8)
}

/// Gives each line or column a class by its number of values, if that is worth it; then the slots of the classes.
#[inline(always)]
fn classes(marks: &mut [[u8; 2]], seen: &[u32]) -> Option<[u8; CLASSES - 1]> {
    let expected = LOG2_E * seen.iter().copied().map(i64::from).sum::<i64>() / marks.len() as i64;
    // Those with the same number of values get the same class.
    let most = seen.iter().copied().max().unwrap_or(0) as usize;
    let (mut alike, mut best) = (vec![0; most + 1], vec![0; most + 1]);
    seen.iter().for_each(|&seen| alike[seen as usize] += 1);
    let (mut sides, mut gain, mut used) = ([0; CLASSES], 0, [0; CLASSES]);
    for _ in 0..=ROUNDS {
        (gain, used) = (0, [0; CLASSES]);
        for ((values, &number), best) in (0..).zip(&alike).zip(&mut best).filter(|((_, number), _)| **number > 0) {
            // The cost of a Poisson variable of a mean `2^(class - MIDDLE)` times the expected one, and of saying so.
            let cost = |class: usize| {
                (expected << class >> MIDDLE) - values * BIT * (class as i64 - MIDDLE as i64) + sides[class]
            };
            *best = (0..CLASSES).min_by_key(|&class| cost(class)).unwrap_or(MIDDLE);
            gain += number as i64 * (expected - cost(*best));
            used[*best] += number;
        }
        sides = used.map(|used| log2(marks.len()) - log2(used));
    }
    if gain <= 8 * BIT * (CLASSES as i64 - 1) {
        return None;
    }
    marks.iter_mut().zip(seen).for_each(|([class, _], &seen)| *class = best[seen as usize] as u8);
    Some(shares(&used))
}

/// How fast the shares of differences fall, by the mean difference from the scale to the left.
fn falls(parts: &[Part]) -> [u8; 2] {
    let (mut sums, mut number) = ([0_u32; 2], 0_u32);
    for part in parts {
        for pair in part.scales.windows(2) {
            let gap = |Scales { low, high }: Scales| high - low;
            sums[0] += u32::from(pair[0].high.abs_diff(pair[1].high));
            sums[1] += u32::from(gap(pair[0]).abs_diff(gap(pair[1])));
            number += 1;
        }
    }
    sums.map(|sum| {
        // If both signs fall alike by `r` for each step, the mean difference is `2 r / (1 - r^2)`.
        let mean = f64::from(sum.max(1)) / f64::from(number.max(1));
        (((1.0 + mean * mean).sqrt() - 1.0) / mean * 256.0).clamp(1.0, 255.0) as u8
    })
}

/// Slots of the lower level, or of each magnitude but the last.
fn levels(parts: &[Part], quantiser: Quantiser) -> [u8; 7] {
    let mut seen = [0; 8];
    if matches!(quantiser, Quantiser::TwoLevels | Quantiser::Compatible | Quantiser::FourBits) {
        parts.iter().flat_map(|part| &part.codes).for_each(|code| seen[usize::from(code >> 1 & 7)] += 1);
    }
    match quantiser {
        Quantiser::FourBits => shares(&seen),
        _ => {
            let [lower] = shares(&seen[..2]);
            [lower, 0, 0, 0, 0, 0, 0]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compressor, Layout, Limits, Settings, information};

    /// Bits of a value of a matrix whose rows and columns are as strong as `strength` says and whose signs are the product of
    /// those of both in so many of a hundred places, but for rows and columns whose sign is 0: those have any.
    fn bits(side: usize, strength: impl Fn(usize) -> f32, (sign, alike): (fn(usize) -> i8, u64)) -> f64 {
        let layout = Layout::new(64, [vec![side, side]]).unwrap();
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let value = |place: usize| {
            let (row, column) = (place / side, place % side);
            let size = (random() % 1000 + 1) as f32 * 1e-6 * strength(row) * strength(column);
            let same = random() % 100 < if sign(row) * sign(column) == 0 { 50 } else { alike };
            if same == (sign(row) == sign(column)) { size } else { -size }
        };
        let mut values = (0..layout.len()).map(value).collect::<Vec<_>>();
        let settings = Settings::new(64, Quantiser::SignScale);
        let bytes = Compressor::new(layout.clone(), settings).unwrap().compress(&mut values);
        information(&bytes, &layout, &Limits::new(settings)).unwrap() / (side * side / 64) as f64
    }

    fn sign(place: usize) -> i8 {
        if (place * place) % 7 < 3 { -1 } else { 1 }
    }

    #[test]
    fn what_is_uneven_costs_less() {
        let plain = bits(512, |_| 1.0, (sign, 50));
        assert!(bits(512, |line| if line % 5 == 0 { 1.4 } else { 1.0 }, (sign, 50)) < plain - 1.0);
        // All signs alike, but for what it costs to say which.
        assert!(bits(512, |_| 1.0, (sign, 100)) < plain - 0.6);
        assert!(bits(512, |_| 1.0, (sign, 85)) < plain - 0.05);
    }

    #[test]
    fn lines_that_do_not_lean_are_told_from_those_that_do() {
        let some = |place: usize| if place.is_multiple_of(3) { 0 } else { sign(place) };
        // Four values in nine can be foretold, at 0.29 bits each; of 2048 lines and columns it takes 0.92 bits to say whether they lean, and
        // one bit of two thirds of them to say to which sign.
        let best = 4.0 / 9.0 * (1.0 - 0.286) - 2048.0 * (0.918 + 2.0 / 3.0) / 16384.0;
        let saved = bits(1024, |_| 1.0, (some, 50)) - bits(1024, |_| 1.0, (some, 95));
        assert!(saved > best, "{saved} bits of {best}");
    }

    #[test]
    fn logarithms_are_those_of_mathematics_rounded_down() {
        for number in (1..5000).chain([1 << 20, (1 << 31) - 1, u32::MAX as usize]) {
            assert_eq!(log2(number), ((number as f64).log2() * 256.0).floor() as i64, "{number}");
        }
        assert_eq!(log2(0), 0);
    }
}
