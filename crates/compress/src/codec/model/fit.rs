//! What a writer says of a section's lines and columns. Whatever it says can be read: here is chosen what makes the section short.

use crate::codec::ans::SHARE_BITS;
use crate::codec::model::cut::Geometry;
use crate::codec::model::ground::{CLASSES, LEANS, Marks};
use crate::codec::model::head::Head;
use crate::compress::Part;
use crate::layout::Band;
use crate::quantise::Scales;
use crate::settings::Quantiser;

/// Bits are counted in 256ths.
const BIT: i64 = 256;
/// `log2(e)`.
const LOG2_E: i64 = 369;
/// The class of weight one.
const MIDDLE: usize = 2;
/// Rounds in which lines and columns agree on their signs, and in which classes get their shares.
const ROUNDS: usize = 3;
/// How many values are looked at first, and how many are to be foretold by them.
const SAMPLE: usize = 2048;
/// Most that a leaning counts in a vote.
const VOTE_MAX: i32 = 4;
/// Slots of a sign as expected until more is known, and what such a sign and another cost.
const AGREE: (i64, i64) = (82, 594);

/// One value: twice its line, and 1 if it is negative; its column.
#[derive(Clone, Copy)]
struct Entry {
    line: u32,
    column: u32,
}

impl Entry {
    #[inline(always)]
    fn line(self) -> usize {
        (self.line >> 1) as usize
    }

    #[inline(always)]
    fn column(self) -> usize {
        self.column as usize
    }

    /// The number, or its negative if the value is negative.
    #[inline(always)]
    fn signed(self, number: i32) -> i32 {
        let mask = -((self.line & 1) as i32);
        (number ^ mask) - mask
    }
}

/// The head of a section, and the marks of its lines and columns.
#[inline(always)]
pub(crate) fn fit(geometry: &Geometry, bands: &[Band], parts: &[Part], quantiser: Quantiser) -> (Head, Marks) {
    let (mut head, mut marks) = (Head::default(), Marks::new(geometry));
    let (mut of_lines, mut of_columns) = (vec![0; marks.lines.len()], vec![0; marks.columns.len()]);
    let entries = entries(geometry, bands, parts, (&mut of_lines, &mut of_columns));
    head.lines.classes = classes(&mut marks.lines, &of_lines);
    head.columns.classes = classes(&mut marks.columns, &of_columns);
    lean(&entries, &mut head, &mut marks);
    head.falls = falls(parts);
    head.levels = levels(parts, quantiser);
    (head, marks)
}

/// The values of a section, which are counted by line and by column too.
#[inline(always)]
fn entries(
    geometry: &Geometry,
    bands: &[Band],
    parts: &[Part],
    (lines, columns): (&mut [u32], &mut [u32]),
) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(parts.iter().map(|part| part.indices.len()).sum());
    for ((number, band), part) in bands.iter().enumerate().zip(parts) {
        let mut values = part.indices.iter().zip(&part.codes);
        for (chunk, &count) in part.counts.iter().enumerate() {
            let cut = geometry.cut(chunk, &band.block(chunk));
            entries.extend(values.by_ref().take(count.into()).map(|(&index, code)| {
                let line = cut.line_of(index);
                let column = cut.base + usize::from(index) - line * cut.length;
                let line = number * geometry.lines + line;
                lines[line] += 1;
                columns[column] += 1;
                Entry { line: (line as u32) << 1 | u32::from(code & 1), column: column as u32 }
            }));
        }
    }
    entries
}

/// `256 log2(number)`, linear between powers of two: the same on every machine.
fn log2(number: usize) -> i64 {
    i64::from((number.max(1) as f32).to_bits() >> 15) - (127 << 8)
}

/// Slots for symbols that were seen so often, of all but the last.
fn shares<const N: usize>(seen: &[usize]) -> [u8; N] {
    let (sum, room) = (seen.iter().sum::<usize>().max(1), (1 << SHARE_BITS) - seen.len());
    std::array::from_fn(|symbol| (1 + room * seen[symbol] / sum) as u8)
}

/// Gives each line or column a class by its number of values, if that is worth it; then the slots of the classes.
#[inline(always)]
fn classes(marks: &mut [(u8, u8)], seen: &[u32]) -> Option<[u8; CLASSES - 1]> {
    let expected = LOG2_E * seen.iter().copied().map(i64::from).sum::<i64>() / marks.len() as i64;
    let (mut sides, mut gain, mut used) = ([0; CLASSES], 0, [0; CLASSES]);
    for _ in 0..=ROUNDS {
        (gain, used) = (0, [0; CLASSES]);
        for ((class, _), &seen) in marks.iter_mut().zip(seen) {
            // The cost of a Poisson variable of a mean `2^(class - MIDDLE)` times the expected one, and of saying so.
            let cost = |class: usize| {
                (expected << class >> MIDDLE) - i64::from(seen) * BIT * (class as i64 - MIDDLE as i64) + sides[class]
            };
            let best = (0..CLASSES).min_by_key(|&class| cost(class)).unwrap_or(MIDDLE);
            *class = best as u8;
            gain += expected - cost(best);
            used[best] += 1;
        }
        sides = used.map(|used| log2(marks.len()) - log2(used));
    }
    if gain > 8 * BIT * CLASSES as i64 {
        return Some(shares(&used));
    }
    marks.iter_mut().for_each(|(class, _)| *class = 0);
    None
}

/// Finds to which signs lines and columns lean, and keeps that if it is worth it.
#[inline(always)]
fn lean(entries: &[Entry], head: &mut Head, marks: &mut Marks) {
    let mut votes = Votes { lines: vec![[0; 2]; marks.lines.len()], columns: vec![0; marks.columns.len()] };
    let (some, others) = entries.split_at(entries.len().min(2 * SAMPLE) / 2);
    votes.begin(some);
    votes.round(some);
    votes.round(some);
    if !votes.foretell(&others[..some.len()]) {
        return;
    }
    votes.begin(entries);
    for _ in 0..ROUNDS {
        votes.round(entries);
    }
    let mut columns = votes.columns;
    columns.iter_mut().for_each(|column| *column = column.signum());
    let by_line = entries.iter().map(|entry| (entry.line(), entry.signed(columns[entry.column()])));
    let lines = decide(marks.lines.len(), by_line);
    let by_column = entries.iter().map(|entry| (entry.column(), entry.signed(lines.leans[entry.line()])));
    let columns = decide(marks.columns.len(), by_column);
    let [agree, other] = columns.signs;
    let strong = agree + other;
    let cost = |seen: usize| (seen as i64) * (log2(strong) - log2(seen));
    if cost(agree) + cost(other) + lines.cost + columns.cost + 3 * 8 * BIT >= strong as i64 * BIT {
        return;
    }
    for (marks, leans) in [(&mut marks.lines, &lines.leans), (&mut marks.columns, &columns.leans)] {
        marks.iter_mut().zip(leans).for_each(|((_, mark), &lean)| *mark = LEANS[lean.rem_euclid(3) as usize]);
    }
    [head.agree] = shares(&[agree, other]);
    (head.lines.leans, head.columns.leans) = (Some(lines.none), Some(columns.none));
}

/// To which sign each line and column leans, and how strongly.
struct Votes {
    /// In two parts, so that values of the same line one after the other do not wait for each other.
    lines: Vec<[i32; 2]>,
    columns: Vec<i32>,
}

impl Votes {
    /// Columns vote with the signs of their values.
    #[inline(always)]
    fn begin(&mut self, entries: &[Entry]) {
        self.columns.fill(0);
        entries.iter().for_each(|entry| self.columns[entry.column()] += entry.signed(1));
    }

    /// Lines vote with the columns of their values, and columns then with the lines.
    #[inline(always)]
    fn round(&mut self, entries: &[Entry]) {
        let vote = |number: i32| number.clamp(-VOTE_MAX, VOTE_MAX);
        self.lines.fill([0; 2]);
        for (number, entry) in entries.iter().enumerate() {
            self.lines[entry.line()][number & 1] += entry.signed(vote(self.columns[entry.column()]));
        }
        self.columns.fill(0);
        for entry in entries {
            let [one, two] = self.lines[entry.line()];
            self.columns[entry.column()] += entry.signed(vote(one + two));
        }
    }

    /// Whether the columns, as other values have them lean, and the other values of a line tell the sign of a value.
    #[inline(always)]
    fn foretell(&mut self, entries: &[Entry]) -> bool {
        self.lines.fill([0; 2]);
        let vote = |entry: &Entry, columns: &[i32]| entry.signed(columns[entry.column()].clamp(-VOTE_MAX, VOTE_MAX));
        entries.iter().for_each(|entry| self.lines[entry.line()][0] += vote(entry, &self.columns));
        let (mut right, mut wrong) = (0, 0);
        for entry in entries {
            let own = vote(entry, &self.columns);
            let told = (self.lines[entry.line()][0] - own).signum() * own.signum();
            right += usize::from(told > 0);
            wrong += usize::from(told < 0);
        }
        16 * right > 17 * wrong
    }
}

/// How lines, or columns, lean.
struct Leans {
    leans: Vec<i32>,
    /// Slots of those that do not.
    none: u8,
    /// What it costs to say so.
    cost: i64,
    /// How many signs are as those that lean have it, and how many are not.
    signs: [usize; 2],
}

/// Decides for each line or column whether it leans and to which sign, by the signs that it would have its values have.
#[inline(always)]
fn decide(number: usize, votes: impl Iterator<Item = (usize, i32)>) -> Leans {
    let mut counts = vec![[0_i32; 2]; number];
    for (place, vote) in votes {
        counts[place][usize::from(vote < 0)] += vote;
    }
    let mut decided = Leans { leans: vec![0; number], none: 0, cost: 0, signs: [0; 2] };
    let (mut sides, mut used) = ([BIT, BIT * 3 / 2], [0; 2]);
    for _ in 0..2 {
        (decided.signs, used) = ([0; 2], [0; 2]);
        for (lean, &[plus, minus]) in decided.leans.iter_mut().zip(&counts) {
            let (agree, other) = (i64::from(plus.max(-minus)), i64::from(plus.min(-minus)));
            let leans = agree * AGREE.0 + other * AGREE.1 + sides[1] < (agree + other) * BIT + sides[0];
            *lean = if leans { (plus + minus).signum() } else { 0 };
            used[usize::from(*lean != 0)] += 1;
            if *lean != 0 {
                decided.signs = [decided.signs[0] + agree as usize, decided.signs[1] + other as usize];
            }
        }
        let cost = used.map(|used| log2(number) - log2(used));
        sides = [cost[0], cost[1] + BIT];
    }
    [decided.none] = shares(&used);
    decided.cost = used[0] as i64 * sides[0] + used[1] as i64 * sides[1];
    decided
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
    /// those of both in so many of a hundred places.
    fn bits(strength: impl Fn(usize) -> f32, alike: u64) -> f64 {
        let (rows, columns) = (512, 512);
        let layout = Layout::new(64, [vec![rows, columns]]).unwrap();
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let sign = |place: usize| if (place * place) % 7 < 3 { -1.0 } else { 1.0 };
        let value = |place: usize| {
            let (row, column) = (place / columns, place % columns);
            let size = (random() % 1000 + 1) as f32 * 1e-6 * strength(row) * strength(column);
            let same = random() % 100 < alike;
            size * sign(row) * sign(column) * if same { 1.0 } else { -1.0 }
        };
        let mut values = (0..layout.len()).map(value).collect::<Vec<_>>();
        let settings = Settings::new(64, Quantiser::SignScale);
        let bytes = Compressor::new(layout.clone(), settings).unwrap().compress(&mut values);
        information(&bytes, &layout, &Limits::new(settings)).unwrap() / (64.0 * 64.0)
    }

    #[test]
    fn what_is_uneven_costs_less() {
        let plain = bits(|_| 1.0, 50);
        assert!(bits(|line| if line % 5 == 0 { 1.4 } else { 1.0 }, 50) < plain - 1.0);
        // All signs alike, but for what it costs to say which.
        assert!(bits(|_| 1.0, 100) < plain - 0.6);
        assert!(bits(|_| 1.0, 85) < plain - 0.05);
    }
}
