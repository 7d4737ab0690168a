//! The places of as many chunks as there can be states at once, where vectors have 256 bits or are two of 128.
//!
//! States are words of 32 bits, numbers of elements have 16 and all else has 8, so that a step takes four vectors of states, two of
//! numbers and one of everything else. Bytes lie in the order of the lanes. What comes of unpacking and packing them has
//! the lanes 0 to 7 and 16 to 23 in the first vector of halves, and 0 to 3 and 16 to 19 in the first vector of words.

use crate::codec::{DISTANCE_BITS, Ground, LANES, Stream, Walk};
use crate::kernel::gather::{Append, FOUND, LARGEST, Lay, Lists, OCTAVES, Row};
use crate::kernel::narrow::Put;
use crate::kernel::network::Quarters;
use crate::kernel::places::{STEPS, suits};
use crate::kernel::tables::{EIGHT, LANE, RANKS};
use crate::kernel::twins::{Task, Twins};

/// A group of chunks, of which the indices are to be read from a stream.
pub(crate) struct Group<'a, 'b> {
    pub(crate) stream: &'a mut Stream<'b>,
    pub(crate) ground: &'a Ground,
    pub(crate) walks: &'a mut [Walk],
    pub(crate) indices: &'a mut [u16],
}

/// Reads the indices of a group, or of two of which each has half of the lanes; tells whether they are such as this can read.
pub(crate) struct Places<'a, 'b, const N: usize> {
    /// Memory, which is made when it is needed.
    pub(crate) lists: &'a mut Option<Box<Lists>>,
    pub(crate) groups: [Group<'a, 'b>; N],
}

impl<const N: usize> Task for Places<'_, '_, N> {
    type Result = bool;

    #[inline(always)]
    fn run<I: Twins>(self, i: I) -> bool {
        let Places { lists, mut groups } = self;
        let suits = groups.iter().all(|group| suits(group.ground, group.walks) && group.walks.len() <= LANES / N);
        if suits {
            take(i, lists.get_or_insert_default(), &mut groups);
        }
        suits
    }
}

/// Two vectors of halves.
type Halves<I> = [<I as Quarters>::Vector; 2];
/// Four vectors of words.
type Wide<I> = [<I as Quarters>::Vector; 4];

/// Takes steps until all values are found.
#[inline(always)]
fn take<I: Twins, const N: usize>(i: I, lists: &mut Lists, groups: &mut [Group<'_, '_>; N]) {
    for (Group { ground, walks, .. }, first) in groups.iter_mut().zip(firsts::<N>()) {
        i.apart(Lay { lists, ground, first, walks });
    }
    let (mut lanes, table) = (Lanes::new(i, lists, groups), Table::new(i, [groups[0].ground, groups[N - 1].ground]));
    let mut ends = [[[0; 2]; WORDS]; N];
    let mut rows = [Row { ranks: [[0; LANES]; 2], fields: [0; LANES] }; EIGHT];
    for _ in 0..STEPS / EIGHT {
        if lanes.none_left(i) {
            break;
        }
        let (mut ahead, before) = (lanes.look_ahead(i, lists), lanes.left);
        let mut streams: [_; N] = std::array::from_fn(|_| Words { all: &[[0; 2]; WORDS], used: 0 });
        for ((words, group), end) in streams.iter_mut().zip(&*groups).zip(&mut ends) {
            words.all = group.stream.window(end);
        }
        for (rest, row) in (0..EIGHT).rev().zip(&mut rows) {
            if lanes.none_left(i) {
                row.fields = [0; LANES];
                continue;
            }
            let (ranks, fields) = lanes.turn(i, (rest, &mut ahead), &table, &mut streams);
            i.keep(ranks[0], &mut row.ranks[0]);
            i.keep(ranks[1], &mut row.ranks[1]);
            i.keep(fields, &mut row.fields);
        }
        for (words, group) in streams.iter().zip(&mut *groups) {
            group.stream.next += words.used;
        }
        i.apart(Append { lists, rows: &rows, counts: i.bytes(i.sub_bytes(lanes.first, before)) });
    }
    let (left, states) = (i.bytes(lanes.left), lanes.states(i));
    for (Group { stream, ground, walks, indices }, first) in groups.iter_mut().zip(firsts::<N>()) {
        stream.states[..LANES / N].copy_from_slice(&states[first..first + LANES / N]);
        walks.iter_mut().zip(&left[first..]).for_each(|(walk, &left)| walk.fault |= left != u8::MAX);
        i.apart(Put { ground, found: &mut lists.found()[first..], walks, indices });
    }
}

/// As many words as eight steps can take, and what a vector goes beyond.
const WORDS: usize = EIGHT * LANES + EIGHT;

/// The next words of a stream, and how many of them were taken.
struct Words<'a> {
    all: &'a [[u8; 2]; WORDS],
    used: usize,
}

/// The first lane of each group.
fn firsts<const N: usize>() -> impl Iterator<Item = usize> {
    (0..LANES).step_by(LANES / N)
}

/// The table of distances in registers, and the bits of a place in a unit.
struct Table<I: Twins> {
    /// The numbers of the slots' segments.
    segments: [I::Vector; 4],
    /// What a segment has, by its number.
    share: I::Vector,
    start: I::Vector,
    base: I::Vector,
    /// The number of the last segment of one unit, and of the one that is passed over.
    single: I::Vector,
    passed: I::Vector,
    low: I::Vector,
}

impl<I: Twins> Table<I> {
    #[inline(always)]
    fn new(i: I, [one, other]: [&Ground; 2]) -> Table<I> {
        let (a, b) = (&one.distances.bytes, &other.distances.bytes);
        // SAFETY: there are sixteen of each.
        unsafe {
            Table {
                segments: [
                    i.pair(&a.segments[0], &b.segments[0]),
                    i.pair(&a.segments[1], &b.segments[1]),
                    i.pair(&a.segments[2], &b.segments[2]),
                    i.pair(&a.segments[3], &b.segments[3]),
                ],
                share: i.pair(&a.share, &b.share),
                start: i.pair(&a.start, &b.start),
                base: i.pair(&a.base, &b.base),
                single: i.pair(&[a.single; LANE], &[b.single; LANE]),
                passed: i.pair(&[a.passed; LANE], &[b.passed; LANE]),
                low: i.pair(&[one.low as u8; LANE], &[other.low as u8; LANE]),
            }
        }
    }
}

/// All chunks on their way.
struct Lanes<I: Twins> {
    /// The lower and the upper halves of the states.
    states: [Halves<I>; 2],
    /// The field, and by how much the number of its next element is beyond its end: inside negative, and never so in a lane that has no values left.
    field: Halves<I>,
    beyond: Halves<I>,
    octaves: I::Vector,
    /// The number of the field, and that of what is behind all fields.
    number: I::Vector,
    last: I::Vector,
    /// One less than how many values are still to be found, and than how many there are.
    left: I::Vector,
    first: I::Vector,
    /// Whether the next element has a value.
    pending: I::Vector,
}

/// The fields that follow.
type Ahead<I> = [Halves<I>; EIGHT];

impl<I: Twins> Lanes<I> {
    #[inline(always)]
    fn new<const N: usize>(i: I, lists: &Lists, groups: &[Group<'_, '_>; N]) -> Lanes<I> {
        let (mut last, mut first, mut states) = ([0; LANES], [u8::MAX; LANES], [0; LANES]);
        for (Group { stream, walks, .. }, lane) in groups.iter().zip(firsts::<N>()) {
            states[lane..lane + LANES / N].copy_from_slice(&stream.states[..LANES / N]);
            for ((last, first), walk) in last[lane..].iter_mut().zip(&mut first[lane..]).zip(walks.iter()) {
                (*last, *first) = (walk.used as u8, (walk.count as u8).wrapping_sub(1));
            }
        }
        let (first, field) = (i.vector(&first), lists.firsts(i));
        Lanes {
            states: halves_of_words(i, &states),
            field,
            beyond: open(i, [less(i, field[0]), less(i, field[1])], first),
            octaves: octaves(i, field),
            number: i.nothing(),
            last: i.vector(&last),
            left: first,
            first,
            pending: i.nothing(),
        }
    }

    #[inline(always)]
    fn none_left(&self, i: I) -> bool {
        i.bits(self.left) == u32::MAX
    }

    /// Looks up the next fields.
    #[inline(always)]
    fn look_ahead(&mut self, i: I, lists: &Lists) -> Ahead<I> {
        self.number = i.least_bytes(self.number, self.last);
        // SAFETY: what is behind all fields has no larger number.
        unsafe { lists.fields_behind(i, self.number) }
    }

    /// A step of each lane that has values left, after which so many follow before fields are looked up again. Returns the numbers of elements, and of their
    /// fields with [`FOUND`].
    #[inline(always)]
    fn turn<const N: usize>(
        &mut self,
        i: I,
        (rest, ahead): (usize, &mut Ahead<I>),
        table: &Table<I>,
        streams: &mut [Words<'_>; N],
    ) -> (Halves<I>, I::Vector) {
        let [one, other] = self.beyond;
        let inside = [i.negative_halves(one), i.negative_halves(other)];
        let within = i.pack_masks(inside[0], inside[1]);
        // Inside a field: the slot's segment. Behind it: the next field. Nobody goes on behind the last.
        let [one, other] = self.states[0];
        let slots = i.pack_halves(i.and(one, i.half(SLOT)), i.and(other, i.half(SLOT)));
        let segments = i.look_up_far(&table.segments, slots);
        let pending = i.choose(within, i.above_bytes(table.passed, segments), self.pending);
        let field = choose(i, inside, self.field, ahead[0]);
        let octaves = octaves(i, field);
        // The bits that follow, and how far they lead.
        let from = i.choose(within, table.low, self.octaves);
        let to = i.choose(within, self.octaves, octaves);
        let finer = i.sub_bytes(from, to);
        let double = i.and(i.above_bytes(segments, table.single), within);
        let width = i.and(pending, i.sub_bytes(finer, double));
        let share = i.look_up(table.share, segments);
        let above = i.sub_bytes(slots, i.look_up(table.start, segments));
        let (mut states, mut raw) = (words(i, self.states), [i.nothing(); 4]);
        let all_inside = words(i, [inside, inside]);
        for (place, ((states, raw), inside)) in states.iter_mut().zip(&mut raw).zip(all_inside).enumerate() {
            let whole = i.multiply_words(i.right_words::<{ DISTANCE_BITS as i32 }>(*states), word(i, share, place));
            let state = i.choose(inside, i.add_words(whole, word(i, above, place)), *states);
            let width = word(i, width, place);
            *states = i.right_by(state, width);
            *raw = i.sub_words(state, i.left_by(*states, width));
        }
        let raw = [i.pack_words(raw[0], raw[1]), i.pack_words(raw[2], raw[3])];
        self.states = refill(i, states, streams);
        for place in 0..rest {
            ahead[place] = choose(i, inside, ahead[place], ahead[place + 1]);
        }
        let number = i.add_bytes(self.number, i.add_bytes(within, i.byte(1)));
        let mut beyond = [i.nothing(); 2];
        let (bases, powers) = (i.zip_bytes(i.look_up(table.base, segments), i.nothing()), powers(i, finer));
        for place in 0..2 {
            let (old, less) = (self.beyond[place], less(i, field[place]));
            let further = i.multiply_halves(i.choose(inside[place], bases[place], old), powers[place]);
            let from = i.choose(inside[place], old, less);
            beyond[place] = i.add_halves(i.add_halves(further, from), raw[place]);
        }
        let found = i.and(pending, i.negative(beyond[0], beyond[1]));
        let ranks = [i.sub_halves(beyond[0], less(i, field[0])), i.sub_halves(beyond[1], less(i, field[1]))];
        let counts = i.zip_bytes(found, found);
        let left = i.add_bytes(self.left, found);
        (self.field, self.octaves, self.number) = (field, octaves, number);
        (self.left, self.pending) = (left, i.without(found, pending));
        self.beyond = open(i, [i.sub_halves(beyond[0], counts[0]), i.sub_halves(beyond[1], counts[1])], left);
        (ranks, i.or(number, i.and(found, i.byte(FOUND))))
    }

    /// The states in order.
    #[inline(always)]
    fn states(&self, i: I) -> [u32; LANES] {
        let mut all = [0; LANES];
        let quarters: &mut [[u32; 4]] = all.as_chunks_mut().0;
        for (place, states) in words(i, self.states).into_iter().enumerate() {
            // SAFETY: there are four each.
            unsafe {
                i.store(i.one(states), quarters[place].as_mut_ptr());
                i.store(i.other(states), quarters[4 + place].as_mut_ptr());
            }
        }
        all
    }
}

/// The bits of a slot.
const SLOT: u16 = (1 << DISTANCE_BITS) - 1;

/// The lower and the upper halves of words.
#[inline(always)]
fn halves_of_words<I: Twins>(i: I, all: &[u32; LANES]) -> [Halves<I>; 2] {
    let (quarters, mut words): (&[[u32; 4]], _) = (all.as_chunks().0, [i.nothing(); 4]);
    for (place, words) in words.iter_mut().enumerate() {
        // SAFETY: there are four.
        *words = unsafe { i.pair(&quarters[place], &quarters[4 + place]) };
    }
    both_halves(i, words)
}

#[inline(always)]
fn both_halves<I: Twins>(i: I, [a, b, c, d]: Wide<I>) -> [Halves<I>; 2] {
    [[i.lower(a, b), i.lower(c, d)], [i.upper(a, b), i.upper(c, d)]]
}

/// Gives each state that has become small a word.
#[inline(always)]
fn refill<I: Twins, const N: usize>(i: I, states: Wide<I>, streams: &mut [Words<'_>; N]) -> [Halves<I>; 2] {
    let [lower, upper] = both_halves(i, states);
    let small = [i.zero_halves(upper[0]), i.zero_halves(upper[1])];
    let mask = i.bits(i.pack_masks(small[0], small[1]));
    let mut eights = [i.one(i.nothing()); 4];
    for (place, eight) in eights.iter_mut().enumerate() {
        *eight = next(i, &mut streams[place * N / 4], mask >> (EIGHT * place) & 0xff);
    }
    let [a, b, c, d] = eights;
    [choose(i, small, [i.join(a, c), i.join(b, d)], lower), choose(i, small, lower, upper)]
}

/// The next words, one for each of some lanes of eight.
#[inline(always)]
fn next<I: Twins>(i: I, words: &mut Words<'_>, mask: u32) -> I::Twin {
    debug_assert!(words.used + EIGHT <= WORDS);
    // SAFETY: no lane takes more than a word in each of eight steps, and there are eight more; there are sixteen bytes.
    let (next, ranks) =
        unsafe { (i.load(words.all.as_ptr().add(words.used)), i.load(RANKS[mask as usize % RANKS.len()].as_ptr())) };
    words.used += mask.count_ones() as usize;
    i.shuffle(next, ranks)
}

/// How far the next elements are beyond the ends of their fields: of a lane that has no values left they are not inside.
#[inline(always)]
fn open<I: Twins>(i: I, beyond: Halves<I>, left: I::Vector) -> Halves<I> {
    let least = i.zip_bytes(i.nothing(), i.without(left, i.byte(0x80)));
    [i.most_halves(beyond[0], least[0]), i.most_halves(beyond[1], least[1])]
}

/// The negative number of a field's elements.
#[inline(always)]
fn less<I: Twins>(i: I, field: I::Vector) -> I::Vector {
    i.or(field, i.half(LARGEST.wrapping_neg()))
}

/// The octaves of fields.
#[inline(always)]
fn octaves<I: Twins>(i: I, [one, other]: Halves<I>) -> I::Vector {
    i.pack_halves(i.right_halves::<OCTAVES>(one), i.right_halves::<OCTAVES>(other))
}

/// Two to the power of numbers below 16.
#[inline(always)]
fn powers<I: Twins>(i: I, numbers: I::Vector) -> Halves<I> {
    const FEW: [u8; LANE] = [1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0, 0, 0, 0, 0, 0];
    const MANY: [u8; LANE] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128];
    i.zip_bytes(i.look_up(i.table(FEW), numbers), i.look_up(i.table(MANY), numbers))
}

#[inline(always)]
fn choose<I: Twins>(i: I, mask: Halves<I>, one: Halves<I>, other: Halves<I>) -> Halves<I> {
    [i.choose(mask[0], one[0], other[0]), i.choose(mask[1], one[1], other[1])]
}

/// Lower and upper halves as words.
#[inline(always)]
fn words<I: Twins>(i: I, [[a, b], [c, d]]: [Halves<I>; 2]) -> Wide<I> {
    let ([e, f], [g, h]) = (i.zip_halves(a, c), i.zip_halves(b, d));
    [e, f, g, h]
}

/// The bytes of a vector of words.
#[inline(always)]
fn word<I: Twins>(i: I, bytes: I::Vector, place: usize) -> I::Vector {
    i.look_up(bytes, i.table(WORD[place]))
}

/// For each quarter of a twin its bytes as the lowest of words.
const WORD: [[u8; LANE]; 4] = {
    let (mut all, mut byte) = ([[0x80; LANE]; 4], 0);
    while byte < LANE {
        all[byte / 4][byte % 4 * 4] = byte as u8;
        byte += 1;
    }
    all
};
