//! The values of one section of an update.

use std::ops::Range;

use crate::kernel::prefetch_any;
use crate::quantise::{Scales, Table};
use crate::scale::value_of;
use crate::settings::Quantiser;

/// Lanes in which the squares of a chunk's values are summed.
const LANES: usize = 8;

/// The values of one section: per chunk a run of ascending indices and their values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SectionData {
    /// Where each chunk's run begins, and the end of the last.
    starts: Vec<u32>,
    indices: Vec<u16>,
    values: Values,
}

/// Quantised values stay what they were on the wire: a byte is read faster from memory than an `f32`.
#[derive(Debug, Clone, PartialEq)]
enum Values {
    Plain(Vec<f32>),
    /// Codes, and of each chunk what they stand for.
    OfChunks(Vec<u8>, Quantiser, Vec<Scales>),
    /// Codes, and what they stand for in the whole section.
    OfSection(Vec<u8>, Table),
}

/// Indices and values of one chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) indices: &'a [u16],
    pub(crate) values: RunValues<'a>,
    /// A magnitude that all values but zeros have at least; zero if that is not known without looking at each.
    pub(crate) least: f32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum RunValues<'a> {
    Plain(&'a [f32]),
    Coded(&'a [u8], Table),
}

impl SectionData {
    /// A section of values as they are.
    pub(crate) fn plain() -> SectionData {
        SectionData { starts: vec![0], indices: Vec::new(), values: Values::Plain(Vec::new()) }
    }

    /// An empty section for what a quantiser sends, in the memory of this one: room for so many chunks and values. The
    /// table is for a quantiser whose codes mean the same in all chunks.
    pub(crate) fn reset(&mut self, quantiser: Quantiser, table: Table, (chunks, values): (usize, usize)) {
        self.starts.clear();
        self.starts.reserve(chunks + 1);
        self.starts.push(0);
        self.indices.clear();
        self.indices.reserve(values);
        let (mut codes, mut scales) = match std::mem::replace(&mut self.values, Values::Plain(Vec::new())) {
            Values::Plain(_) => (Vec::new(), Vec::new()),
            Values::OfChunks(codes, _, scales) => (codes, scales),
            Values::OfSection(codes, _) => (codes, Vec::new()),
        };
        codes.clear();
        scales.clear();
        self.values = match quantiser {
            Quantiser::Exact => Values::Plain(Vec::with_capacity(values)),
            _ if quantiser.scales() == 0 => {
                codes.reserve(values);
                Values::OfSection(codes, table)
            }
            _ => {
                codes.reserve(values);
                scales.reserve(chunks);
                Values::OfChunks(codes, quantiser, scales)
            }
        };
    }

    /// Appends a value as it is.
    pub(crate) fn push(&mut self, index: u16, value: f32) {
        if let Values::Plain(values) = &mut self.values {
            self.indices.push(index);
            values.push(value);
        }
    }

    /// Appends coded values, to be filled in.
    pub(crate) fn room(&mut self, count: usize) -> (&mut [u16], &mut [u8]) {
        let (Values::OfChunks(codes, ..) | Values::OfSection(codes, _)) = &mut self.values else {
            return (&mut [], &mut []);
        };
        let start = self.indices.len();
        self.indices.resize(start + count, 0);
        codes.resize(start + count, 0);
        (&mut self.indices[start..], &mut codes[start..])
    }

    /// Its indices and codes, of which there are none where values are sent as they are: for who appends to them, and ends the chunks.
    pub(crate) fn lend(&mut self) -> (Vec<u16>, Vec<u8>) {
        let codes = match &mut self.values {
            Values::Plain(_) => Vec::new(),
            Values::OfChunks(codes, ..) | Values::OfSection(codes, _) => std::mem::take(codes),
        };
        (std::mem::take(&mut self.indices), codes)
    }

    /// Takes back what was lent.
    pub(crate) fn take_back(&mut self, (indices, codes): (Vec<u16>, Vec<u8>)) {
        self.indices = indices;
        if let Values::OfChunks(own, ..) | Values::OfSection(own, _) = &mut self.values {
            *own = codes;
        }
    }

    /// Appends a value as it is, whose index is elsewhere.
    pub(crate) fn push_value(&mut self, value: f32) {
        if let Values::Plain(values) = &mut self.values {
            values.push(value);
        }
    }

    /// Ends several chunks of so many values. Scales say nothing if a chunk has no values, or a quantiser has none.
    pub(crate) fn close_chunks(&mut self, counts: &[usize], scales: &[Scales]) {
        let mut end = self.starts.last().copied().unwrap_or(0);
        self.starts.extend(counts.iter().map(|&count| {
            end += count as u32;
            end
        }));
        if let Values::OfChunks(_, _, all) = &mut self.values {
            let scales = counts.iter().zip(scales);
            all.extend(scales.map(|(&count, &scales)| if count > 0 { scales } else { Scales::default() }));
        }
    }

    /// Ends a chunk. Its scales say nothing if it has no values, or a quantiser without scales.
    pub(crate) fn close_chunk(&mut self, scales: Scales) {
        self.starts.push(self.indices.len() as u32);
        if let Values::OfChunks(_, _, all) = &mut self.values {
            all.push(scales);
        }
    }

    /// Number of chunks.
    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of values.
    pub(crate) fn selected(&self) -> usize {
        self.indices.len()
    }

    /// Where the values of chunk number `chunk` are.
    fn range(&self, chunk: usize) -> Range<usize> {
        self.starts[chunk] as usize..self.starts[chunk + 1] as usize
    }

    /// The section's chunk number `chunk`.
    #[inline(always)]
    pub(crate) fn run(&self, chunk: usize) -> Run<'_> {
        let range = self.range(chunk);
        let (values, least) = match &self.values {
            Values::Plain(values) => (RunValues::Plain(&values[range.clone()]), 0.0),
            Values::OfChunks(codes, quantiser, scales) => {
                let table = Table::of_scales(*quantiser, scales[chunk]);
                (RunValues::Coded(&codes[range.clone()], table), scales[chunk].least())
            }
            Values::OfSection(codes, table) => (RunValues::Coded(&codes[range.clone()], *table), 0.0),
        };
        Run { indices: &self.indices[range], values, least }
    }

    /// Asks for the section's chunk number `chunk`, if there is one.
    #[inline(always)]
    pub(crate) fn prefetch(&self, chunk: usize) {
        let Some(&[start, end]) = self.starts.get(chunk..chunk + 2) else { return };
        let (first, count) = (start as usize, (end - start) as usize);
        prefetch_any(&self.indices, first, count);
        match &self.values {
            Values::Plain(values) => prefetch_any(values, first, count),
            Values::OfChunks(codes, ..) | Values::OfSection(codes, _) => prefetch_any(codes, first, count),
        }
    }

    /// All chunks in order.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        (0..self.len()).map(|chunk| self.run(chunk))
    }
}

impl SectionData {
    /// Of each chunk the sum of the squares of its values, in `f64`: value `i` is added in lane `i mod 8`, the lanes are
    /// added pairwise, halves first. And the largest magnitude of all.
    pub(crate) fn squares(&self) -> (Vec<f64>, f32) {
        if let Values::OfChunks(_, Quantiser::SignScale, scales) = &self.values {
            return self.squares_of_signs(scales);
        }
        let (mut sums, mut peak, mut scratch) = (Vec::with_capacity(self.len()), 0.0_f32, Vec::new());
        for chunk in 0..self.len() {
            let (sum, largest) = self.squares_of(chunk, &mut scratch);
            sums.push(sum);
            peak = peak.max(largest);
        }
        (sums, peak)
    }

    /// The same where all values of a chunk have one magnitude: no order of the additions would round.
    fn squares_of_signs(&self, scales: &[Scales]) -> (Vec<f64>, f32) {
        let ends = self.starts.windows(2);
        let sums = scales.iter().zip(ends).map(|(scales, ends)| square(value_of(scales.high), ends[1] - ends[0]));
        let highest = scales.iter().map(|scales| scales.high).max().unwrap_or(0);
        (sums.collect(), value_of(highest))
    }

    fn squares_of(&self, chunk: usize, scratch: &mut Vec<f32>) -> (f64, f32) {
        if let Values::OfChunks(codes, quantiser, scales) = &self.values
            && let Some(known) = squares_of_scales(*quantiser, scales[chunk], &codes[self.range(chunk)])
        {
            return known;
        }
        match self.run(chunk).values {
            RunValues::Plain(values) => squares(values),
            RunValues::Coded(codes, table) => squares(table.all(codes, scratch)),
        }
    }
}

impl<'a> Run<'a> {
    /// Gives `put` each index with what `of` makes of its value; where values are coded `of` is asked for each code only once.
    #[inline(always)]
    pub(crate) fn each<T: Copy>(self, of: impl Fn(f32) -> T, mut put: impl FnMut(u16, T)) {
        match self.values {
            RunValues::Plain(values) => {
                self.indices.iter().zip(values).for_each(|(&index, &value)| put(index, of(value)));
            }
            RunValues::Coded(codes, table) => match table.few() {
                Some(values) => each_code((self.indices, codes), values.map(of), put),
                None => each_code((self.indices, codes), table.map(of), put),
            },
        }
    }

    /// Indices and values.
    #[inline]
    pub(crate) fn entries(self) -> impl Iterator<Item = (u16, f32)> + 'a {
        let value = move |place: usize| match self.values {
            RunValues::Plain(values) => values[place],
            RunValues::Coded(codes, table) => table.value(codes[place]),
        };
        self.indices.iter().enumerate().map(move |(place, &index)| (index, value(place)))
    }
}

/// Gives `put` each index with what there is for its code.
#[inline(always)]
fn each_code<T: Copy, const CODES: usize>(
    (indices, codes): (&[u16], &[u8]),
    all: [T; CODES],
    mut put: impl FnMut(u16, T),
) {
    let of = |code: u8| all[usize::from(code) % CODES];
    let ((runs, rest), (code_runs, rest_codes)) = (indices.as_chunks::<8>(), codes.as_chunks::<8>());
    for (indices, codes) in runs.iter().zip(code_runs) {
        indices.iter().zip(codes).for_each(|(&index, &code)| put(index, of(code)));
    }
    rest.iter().zip(rest_codes).for_each(|(&index, &code)| put(index, of(code)));
}

/// The sum of the squares of the values of these codes, and the largest magnitude, where no order of the additions would round:
/// a scale has five significant bits and its square ten; there are fewer than 2^16 values, and the square of the lower scale
/// begins at most 24 bits below that of the upper one.
fn squares_of_scales(quantiser: Quantiser, scales: Scales, codes: &[u8]) -> Option<(f64, f32)> {
    const GAP_MAX: u16 = 12 * 16;
    let (low, high) = (value_of(scales.low), value_of(scales.high));
    match quantiser {
        _ if codes.is_empty() => Some((0.0, 0.0)),
        Quantiser::TwoLevels if scales.high - scales.low <= GAP_MAX => {
            let upper = upper(codes) as u32;
            let sum = square(low, codes.len() as u32 - upper) + square(high, upper);
            Some((sum, if upper > 0 { high } else { low }))
        }
        _ => None,
    }
}

/// The square of a scale, so many times.
fn square(scale: f32, count: u32) -> f64 {
    f64::from(scale) * f64::from(scale) * f64::from(count)
}

/// How many codes of two levels say the upper one: counted eight at a time, each in a byte of its own, which holds what 255 of them say.
fn upper(codes: &[u8]) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const PAIRS: u64 = 0x00ff_00ff_00ff_00ff;
    let ((eights, rest), bit) = (codes.as_chunks(), |code: &u8| usize::from(code >> 1 & 1));
    let in_eights = eights.chunks(255).map(|eights| {
        let bytes = eights.iter().map(|&eight| u64::from_le_bytes(eight) >> 1 & EACH).sum::<u64>();
        let pairs = (bytes & PAIRS) + (bytes >> 8 & PAIRS);
        (pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48) as usize
    });
    in_eights.sum::<usize>() + rest.iter().map(bit).sum::<usize>()
}

fn squares(values: &[f32]) -> (f64, f32) {
    let mut lanes = [0.0_f64; LANES];
    for run in values.chunks(LANES) {
        lanes.iter_mut().zip(run).for_each(|(lane, &value)| *lane += f64::from(value) * f64::from(value));
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    let peak = values.iter().fold(0.0_f32, |peak, value| peak.max(value.abs()));
    (((a + e) + (c + g)) + ((b + f) + (d + h)), peak)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn upper_codes_are_counted(codes in prop::collection::vec(any::<u8>(), 0..5000)) {
            prop_assert_eq!(upper(&codes), codes.iter().filter(|&code| code & 2 != 0).count());
            prop_assert_eq!(upper(&vec![2; codes.len()]), codes.len());
        }

        #[test]
        fn squares_by_scales_are_those_of_the_values(
            codes in prop::collection::vec(0_u8..4, 0..300), high in 1_u16..=1793, gap in 0_u16..300, one in any::<bool>(),
        ) {
            let quantiser = if one { Quantiser::SignScale } else { Quantiser::TwoLevels };
            let codes = codes.into_iter().map(|code| if one { code & 1 } else { code }).collect::<Vec<_>>();
            let scales = Scales { low: if one { 0 } else { high.saturating_sub(gap) }, high };
            let table = Table::of_scales(quantiser, scales);
            let (mut data, count) = (SectionData::plain(), codes.len());
            data.reset(quantiser, table, (2, 2 * count));
            data.room(2 * count).1.copy_from_slice(&codes.repeat(2));
            data.close_chunks(&[count; 2], &[scales; 2]);
            let expected = squares(table.all(&codes, &mut Vec::new()));
            prop_assert_eq!(data.squares(), (vec![expected.0; 2], expected.1));
        }
    }
}
