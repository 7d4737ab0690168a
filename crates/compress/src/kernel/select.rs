//! The `k` largest values of a chunk.
//!
//! 1. The elements are dealt to groups, of which eight elements in a row are the smallest. The `k`-th largest of the maxima of at least `k` groups is at
//!    most the `k`-th largest element, since `k` different elements reach it.
//! 2. The smallest groups that reach that bound are listed, and of these the keys that reach it, usually about a hundred.
//! 3. Bisection finds a threshold that exactly `k` of them reach, or the key at which ties have to be broken.

use std::hint::select_unpredictable;

use crate::kernel::compact::Compact;
use crate::layout::Block;

pub(super) const MAGNITUDE: u32 = 0x7fff_ffff;

/// What values are compared by: the bits of the magnitude.
#[inline(always)]
pub(crate) fn key(value: f32) -> u32 {
    value.to_bits() & MAGNITUDE
}

/// Elements of a row, of which each has a bit in a word.
pub(crate) const ROW: usize = u64::BITS as usize;
/// Elements of a smallest group, and such groups of a row.
pub(crate) const GROUP: usize = 8;
pub(crate) const GROUPS: usize = ROW / GROUP;
/// Groups that are listed without asking; lists have room for as many more than they need.
const FEW: usize = 16;
/// Keys that are counted at once, in as many vectors as a machine can add at a time.
const FULL: usize = 32;

/// The elements of a chunk in rows of 64, of which the last may be shorter, and the largest key of each group of eight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elements<'a> {
    pub(crate) values: &'a [f32],
    /// Elements between the end of a row and the beginning of the next.
    pub(crate) gap: usize,
    pub(crate) maxima: &'a [u32],
}

impl Elements<'_> {
    /// The largest key of all.
    #[inline(always)]
    pub(crate) fn largest(&self) -> u32 {
        self.maxima.iter().fold(0, |largest, &key| largest.max(key))
    }

    /// Where a group begins.
    #[inline(always)]
    pub(super) fn first_of(&self, group: u32) -> usize {
        let group = group as usize;
        GROUP * group + group / GROUPS * self.gap
    }
}

/// A chunk in one piece, where it does not lie in such rows.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    values: Vec<f32>,
    maxima: Vec<u32>,
}

impl Copied {
    #[inline(always)]
    pub(crate) fn copy(&mut self, compact: impl Compact, band: &[f32], block: Block) {
        self.values.clear();
        block.runs().for_each(|run| self.values.extend_from_slice(&band[run]));
        self.values.resize(block.len().next_multiple_of(ROW), 0.0);
        self.maxima.clear();
        self.values.as_chunks().0.iter().for_each(|row| self.maxima.extend(compact.maxima(row)));
    }

    pub(crate) fn elements(&self) -> Elements<'_> {
        Elements { values: &self.values, gap: 0, maxima: &self.maxima }
    }
}

/// Candidates for selection, in the order of their positions.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// The largest keys of larger groups.
    maxima: Vec<u32>,
    /// Groups that have candidates.
    groups: Vec<u32>,
    pub(super) keys: Vec<u32>,
    pub(super) places: Vec<u32>,
    pub(super) count: usize,
}

impl Candidates {
    /// Finds the elements whose key is at least `least`, in order, but for those from `len` on.
    #[inline(always)]
    fn find(&mut self, compact: impl Compact, elements: Elements<'_>, len: usize, least: u32) {
        let listed = self.list(compact, elements.maxima, least);
        let room = GROUP * listed + FULL;
        if self.keys.len() < room {
            self.keys.resize(room, 0);
            self.places.resize(room, 0);
        }
        let Candidates { groups, keys, places, count, .. } = self;
        *count = compact.collect(elements, &groups[..listed], least, [keys, places]);
        while *count > 0 && places[*count - 1] as usize >= len {
            *count -= 1;
        }
        keys[*count..][..FULL].fill(0);
    }

    /// Lists the groups whose largest key is at least `least`: some in any case, since a branch for each would be foretold badly. Tells how many they are.
    #[inline(always)]
    fn list(&mut self, compact: impl Compact, maxima: &[u32], least: u32) -> usize {
        if self.groups.len() < maxima.len() + FEW {
            self.groups.resize(maxima.len() + FEW, 0);
        }
        let (words, rest) = maxima.as_chunks();
        let mut last = [0; ROW];
        last[..rest.len()].copy_from_slice(rest);
        let there = (1 << rest.len()) - 1;
        let words = words.iter().map(|word| compact.reach(word, least));
        let last = (!rest.is_empty()).then(|| compact.reach(&last, least) & there);
        let mut count = 0;
        for (first, mut word) in (0..).step_by(ROW).zip(words.chain(last)) {
            let end = count + word.count_ones() as usize;
            for group in &mut self.groups[count..count + FEW] {
                *group = first + word.trailing_zeros();
                word &= word.wrapping_sub(1);
            }
            for group in &mut self.groups[(count + FEW).min(end)..end] {
                *group = first + word.trailing_zeros();
                word &= word.wrapping_sub(1);
            }
            count = end;
        }
        count
    }

    /// A key that at least `k` elements reach (or 0), and the largest key.
    #[inline(always)]
    fn bounds(&mut self, maxima: &[u32], k: usize) -> (u32, u32) {
        // Twice as many groups as are needed are enough.
        let halves = |groups: usize| (groups >= 4 * k.max(1) && groups.is_multiple_of(2)).then_some(groups / 2);
        let Some(half) = halves(maxima.len()) else { return bounds_of(maxima, k) };
        self.maxima.clear();
        let (some, others) = maxima.split_at(half);
        self.maxima.extend(some.iter().zip(others).map(|(&one, &other)| one.max(other)));
        while let Some(half) = halves(self.maxima.len()) {
            let (some, others) = self.maxima.split_at_mut(half);
            some.iter_mut().zip(others).for_each(|(one, other)| *one = (*one).max(*other));
            self.maxima.truncate(half);
        }
        bounds_of(&self.maxima, k)
    }

    fn keys(&self) -> &[u32] {
        &self.keys[..self.count]
    }

    /// The same, filled up with zeros: whole vectors are searched faster.
    fn filled(&self) -> &[u32] {
        &self.keys[..self.count.next_multiple_of(FULL)]
    }
}

/// Appends the positions of the `k` values of largest magnitude of a chunk of so many elements in ascending order; of equal ones the lower position
/// wins. Magnitudes whose bits are below `floor` are left out: 1 leaves out zeros. The values must be finite.
#[inline(always)]
pub(crate) fn select(
    compact: impl Compact,
    (elements, len): (Elements<'_>, usize),
    (k, floor): (usize, u32),
    candidates: &mut Candidates,
    indices: &mut Vec<u16>,
) {
    let (bound, largest) = candidates.bounds(elements.maxima, k);
    let least = bound.max(floor);
    candidates.find(compact, elements, len, least);
    let threshold = match candidates.count <= k {
        true => Threshold { least, ties: usize::MAX },
        false => bisect(candidates.filled(), k, least, largest + 1),
    };
    match threshold.ties {
        usize::MAX => compact.choose(candidates, threshold.least, indices),
        _ => emit(candidates, threshold, indices),
    }
}

/// Keys from `least` on are selected, but only the first `ties` of those equal to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Threshold {
    pub(super) least: u32,
    pub(super) ties: usize,
}

#[inline(always)]
pub(super) fn emit(candidates: &Candidates, threshold: Threshold, indices: &mut Vec<u16>) {
    let Threshold { least, mut ties } = threshold;
    let start = indices.len();
    indices.resize(start + candidates.count, 0);
    let mut count = start;
    for (&key, &place) in candidates.keys().iter().zip(&candidates.places) {
        let tie = key == least;
        let take = key > least || (tie && ties > 0);
        ties -= usize::from(tie && ties > 0);
        indices[count] = place as u16;
        count += usize::from(take);
    }
    indices.truncate(count);
}

/// A key that the largest keys of at least `k` of some groups reach, or 0, and the largest of all. A few more may reach it: to find the best takes
/// longer.
#[inline(always)]
fn bounds_of(maxima: &[u32], k: usize) -> (u32, u32) {
    let (mut bound, largest) = maxima.iter().fold((u32::MAX, 0), |(least, most), &key| (key.min(least), key.max(most)));
    if maxima.len() < k {
        return (0, largest);
    }
    // Invariant: at least `k` reach `bound`, fewer than `k` reach `end`.
    let (mut end, mut count) = (largest + 1, maxima.len());
    while count > k + k / 8 && end - bound > 1 {
        let middle = bound + (end - bound) / 2;
        let reached = reaching(maxima, middle);
        // Nobody could predict it.
        let less = reached < k;
        end = select_unpredictable(less, middle, end);
        bound = select_unpredictable(less, bound, middle);
        count = select_unpredictable(less, count, reached);
    }
    (bound, largest)
}

/// A threshold that `k` of more than `k` keys in `least..end` reach.
#[inline(always)]
fn bisect(keys: &[u32], k: usize, mut least: u32, mut end: u32) -> Threshold {
    // Invariant: more than `k` keys reach `least`, fewer than `k` reach `end`.
    while end - least > 1 {
        let middle = least + (end - least) / 2;
        let count = reaching(keys, middle);
        if count == k {
            return Threshold { least: middle, ties: usize::MAX };
        }
        // Nobody could predict it.
        let more = count > k;
        least = select_unpredictable(more, middle, least);
        end = select_unpredictable(more, end, middle);
    }
    Threshold { least, ties: k - reaching(keys, end) }
}

/// How many keys reach a bound; both are below `2^31`, since machines compare numbers with signs.
#[inline(always)]
fn reaching(keys: &[u32], least: u32) -> usize {
    let less = least as i32 - 1;
    keys.iter().map(|&key| u32::from(key as i32 > less)).sum::<u32>() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Plain;
    #[cfg(target_arch = "x86_64")]
    use crate::kernel::{Avx2, Avx512};
    use proptest::prelude::*;

    fn check(chunk: &[f32], k: usize, expected: &[u16]) {
        check_with(Plain, chunk, k, expected);
        #[cfg(target_arch = "x86_64")]
        {
            Avx2::detect().into_iter().for_each(|avx2| check_with(avx2, chunk, k, expected));
            Avx512::detect().into_iter().for_each(|avx512| check_with(avx512, chunk, k, expected));
        }
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        if let Some(crate::kernel::Level::Neon(neon)) = crate::kernel::Level::of(crate::Instructions::Neon) {
            check_with(neon, chunk, k, expected);
        }
    }

    fn check_with(compact: impl Compact, chunk: &[f32], k: usize, expected: &[u16]) {
        let mut indices = vec![7];
        let mut select = |elements: Elements<'_>| {
            select(compact, (elements, chunk.len()), (k, 1), &mut Candidates::default(), &mut indices);
            assert_eq!(&indices[1..], expected);
            indices.truncate(1);
        };
        // In one row, or in some that lie apart.
        let whole = Block { start: 0, rows: 1, width: chunk.len(), stride: chunk.len() };
        let rows = (1..=70).rev().find(|&rows| chunk.len().is_multiple_of(rows)).unwrap();
        let width = chunk.len() / rows;
        let some = Block { start: GAP, rows, width, stride: width + GAP };
        for (band, block) in [(chunk, whole), (&apart(chunk, width), some)] {
            let mut copied = Copied::default();
            copied.copy(compact, band, block);
            select(copied.elements());
        }
        if chunk.len().is_multiple_of(ROW) {
            let maxima = chunk.as_chunks().0.iter().flat_map(|row| compact.maxima(row)).collect::<Vec<_>>();
            select(Elements { values: &apart(chunk, ROW)[GAP..], gap: GAP, maxima: &maxima });
        }
    }

    /// Elements between rows.
    const GAP: usize = 3;

    fn apart(chunk: &[f32], width: usize) -> Vec<f32> {
        chunk.chunks(width).flat_map(|row| [&[f32::NAN; GAP][..], row].concat()).collect()
    }

    /// By sorting: magnitude descending, then position ascending.
    fn expected(chunk: &[f32], k: usize) -> Vec<u16> {
        let mut order = (0..chunk.len() as u16).filter(|&i| chunk[i as usize] != 0.0).collect::<Vec<_>>();
        order.sort_by(|&a, &b| chunk[b as usize].abs().total_cmp(&chunk[a as usize].abs()).then(a.cmp(&b)));
        order.truncate(k);
        order.sort_unstable();
        order
    }

    #[test]
    fn the_lower_position_wins_a_tie() {
        check(&[1.0, -2.0, 2.0, 2.0, -1.0], 2, &[1, 2]);
        check(&[1.0, 1.0, 1.0], 1, &[0]);
        check(&[0.0, -0.0, 3.0], 2, &[2]);
        check(&[0.0; 5], 3, &[]);
        check(&[1.0; 4096], 64, &(0..64).collect::<Vec<_>>());
        check(&[f32::MIN_POSITIVE / 2.0, 1.0], 2, &[0, 1]);
    }

    #[test]
    fn zeros_are_taken_if_asked_for() {
        let mut indices = Vec::new();
        let mut copied = Copied::default();
        copied.copy(Plain, &[0.0, -0.0, 3.0, 0.0], Block { start: 0, rows: 1, width: 4, stride: 4 });
        select(Plain, (copied.elements(), 4), (3, 0), &mut Candidates::default(), &mut indices);
        assert_eq!(indices, [0, 1, 2]);
    }

    /// Values of any number, or of whole rows.
    fn values<T: std::fmt::Debug>(value: impl Strategy<Value = T> + Clone) -> impl Strategy<Value = Vec<T>> {
        let rows = (1_usize..=70).prop_map(|rows| ROW * rows);
        prop_oneof![1_usize..700, rows].prop_flat_map(move |count| prop::collection::vec(value.clone(), count))
    }

    proptest! {
        #[test]
        fn selection_is_that_of_a_sort(small in values(-4_i8..=4), k in 1_usize..700) {
            let chunk = small.iter().map(|&v| f32::from(v) / 2.0).collect::<Vec<_>>();
            let k = k.min(chunk.len());
            check(&chunk, k, &expected(&chunk, k));
        }

        #[test]
        fn selection_of_distinct_values(chunk in values(-1e3_f32..1e3), k in 1_usize..700) {
            let k = k.min(chunk.len());
            check(&chunk, k, &expected(&chunk, k));
        }

        #[test]
        fn maxima_are_those_of_groups(bits in prop::collection::vec(any::<u32>(), ROW)) {
            let row = bits.iter().map(|&bits| f32::from_bits(bits)).collect::<Vec<_>>();
            let maxima = bits.chunks(GROUP).map(|group| group.iter().map(|bits| bits & MAGNITUDE).max().unwrap());
            let (row, maxima) = (row.first_chunk().unwrap(), maxima.collect::<Vec<_>>());
            prop_assert_eq!(&Plain.maxima(row)[..], &maxima);
            #[cfg(target_arch = "x86_64")]
            if let Some(avx2) = Avx2::detect() {
                prop_assert_eq!(&avx2.maxima(row)[..], &maxima);
            }
        }
    }
}
