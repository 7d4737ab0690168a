//! What thirty-two lanes go through and find, chunk by chunk.

use std::hint::black_box;

use crate::codec::{FIELDS_ROOM, Field, Ground, LANES, Walk};
use crate::kernel::network::turn;
use crate::kernel::places::MOST;
use crate::kernel::tables::{BYTES_OF, EIGHT, HALVES_OF, LANE};
use crate::kernel::twins::{Task, Twins};

/// What was found in a step, as vectors: the numbers of elements, and of their fields with [`FOUND`].
#[derive(Clone, Copy)]
#[repr(align(32))]
pub(super) struct Row {
    pub(super) ranks: [[u8; LANES]; 2],
    pub(super) fields: [u8; LANES],
}

/// The bit of a lane that found something.
pub(super) const FOUND: u8 = 1 << 7;

/// A field has 16 bits here: in those from this one on how many octaves more probable than the least ones its elements are, and below by how many
/// elements it is smaller than the largest.
pub(super) const OCTAVES: i32 = 12;
/// Elements of the largest field.
pub(super) const LARGEST: u16 = 1 << OCTAVES;
/// What is behind all fields.
const BEHIND: u16 = 0;
/// Fields of a chunk, what is behind them, and as much as vectors go beyond.
const ROOM: usize = FIELDS_ROOM + LANE;

/// The fields of each chunk, and what was found in it.
#[derive(Debug)]
pub(crate) struct Lists {
    fields: [[u16; ROOM]; LANES],
    chunks: [Found; LANES],
}

/// What was found in a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// By the number of a field what is said of it.
    pub(super) classes: [u8; ROOM],
    /// The numbers of elements, and of their fields, or what has no [`FOUND`].
    pub(super) ranks: [u16; MOST + EIGHT],
    pub(super) fields: [u8; MOST + EIGHT],
}

impl Default for Lists {
    fn default() -> Lists {
        let none = Found { classes: [0; ROOM], ranks: [0; MOST + EIGHT], fields: [0; MOST + EIGHT] };
        Lists { fields: [[BEHIND; ROOM]; LANES], chunks: [none; LANES] }
    }
}

impl Lists {
    /// The first field of each lane.
    #[inline(always)]
    pub(super) fn firsts<I: Twins>(&self, i: I) -> [I::Vector; 2] {
        // SAFETY: there are enough fields.
        unsafe { self.eight_from(i, &[0; LANES])[0] }
    }

    /// The fields behind those of some numbers.
    ///
    /// # Safety
    /// No number is above [`FIELDS_ROOM`].
    #[inline(always)]
    pub(super) unsafe fn fields_behind<I: Twins>(&self, i: I, numbers: I::Vector) -> [[I::Vector; 2]; EIGHT] {
        // SAFETY: as the caller guarantees.
        unsafe { self.eight_from(i, &i.bytes(i.add_bytes(numbers, i.byte(1)))) }
    }

    /// Eight fields of each lane from a number on.
    ///
    /// # Safety
    /// There are as many.
    #[inline(always)]
    unsafe fn eight_from<I: Twins>(&self, i: I, first: &[u8; LANES]) -> [[I::Vector; 2]; EIGHT] {
        debug_assert!(first.iter().all(|&first| usize::from(first) + EIGHT <= ROOM));
        let (mut all, mut ahead) = ([[i.nothing(); EIGHT]; 2], [[i.nothing(); 2]; EIGHT]);
        for (lane, vector) in all.as_flattened_mut().iter_mut().enumerate() {
            let [one, other] = [lane, LANE + lane];
            // SAFETY: as the caller guarantees.
            *vector = unsafe {
                let one = i.load(self.fields[one].as_ptr().add(first[one].into()));
                i.join(one, i.load(self.fields[other].as_ptr().add(first[other].into())))
            };
        }
        let [one, other] = &mut all;
        turn(i, one);
        turn(i, other);
        for (ahead, (&one, &other)) in ahead.iter_mut().zip(one.iter().zip(&*other)) {
            *ahead = [one, other];
        }
        ahead
    }

    #[inline(always)]
    fn keep_ranks<I: Twins>(&mut self, i: I, lane: usize, counts: &[u8; LANES], ranks: I::Twin) {
        // SAFETY: no count is above `MOST`: there is room for eight more.
        unsafe { i.store(ranks, self.chunks[lane].ranks.as_mut_ptr().add(counts[lane].into())) };
    }

    /// The same of the fields of two lanes.
    #[inline(always)]
    fn keep_fields<I: Twins>(&mut self, i: I, lane: usize, counts: &[u8; LANES], fields: I::Twin) {
        for (lane, fields) in [(lane, fields), (lane + 1, i.behind(fields))] {
            // SAFETY: as above.
            unsafe { i.store_eight(fields, self.chunks[lane].fields.as_mut_ptr().add(counts[lane].into())) };
        }
    }

    /// What was found in each chunk.
    pub(super) fn found(&mut self) -> &mut [Found; LANES] {
        &mut self.chunks
    }
}

/// Lays out the fields of some chunks, of which the first has a lane.
pub(super) struct Lay<'a> {
    pub(super) lists: &'a mut Lists,
    pub(super) ground: &'a Ground,
    pub(super) first: usize,
    pub(super) walks: &'a mut [Walk],
}

impl Task for Lay<'_> {
    type Result = ();

    #[inline(always)]
    fn run<I: Twins>(self, i: I) {
        let Lay { lists, ground, first, walks } = self;
        let pairs = Pairs::new(&ground.pairs);
        let (all, chunks) = (&mut lists.fields[first..], &mut lists.chunks[first..]);
        for ((walk, fields), found) in walks.iter_mut().zip(&mut *all).zip(chunks) {
            let (counts, mut used) = (ground.counts(walk), 0);
            for from in (0..ground.known.min(FIELDS_ROOM)).step_by(LANE) {
                used += pairs.lay(i, counts, from, (&mut fields[used..], &mut found.classes[used..]));
            }
            fields[used..used + LANE].fill(BEHIND);
            found.classes[used..used + LANE].fill(u8::MAX);
            walk.used = used;
        }
        for fields in &mut all[walks.len()..] {
            fields[..LANE].fill(BEHIND);
        }
    }
}

/// Appends what was found in eight steps behind so many things of each chunk.
pub(super) struct Append<'a> {
    pub(super) lists: &'a mut Lists,
    pub(super) rows: &'a [Row; EIGHT],
    pub(super) counts: [u8; LANES],
}

impl Task for Append<'_> {
    type Result = ();

    #[inline(always)]
    fn run<I: Twins>(self, i: I) {
        let Append { lists, rows, counts } = self;
        let counts = i.bytes(i.least_bytes(i.vector(&counts), i.byte(MOST as u8)));
        let mut masks = [[0; 4]; EIGHT];
        let (mut fields, mut ranks) = ([i.nothing(); EIGHT], [[i.nothing(); EIGHT]; 2]);
        for (number, row) in rows.iter().enumerate() {
            fields[number] = i.vector(&row.fields);
            (ranks[0][number], ranks[1][number]) = (i.vector(&row.ranks[0]), i.vector(&row.ranks[1]));
        }
        let fields = columns(i, fields);
        for (&fields, masks) in fields.iter().zip(&mut masks) {
            *masks = i.bits(fields).to_le_bytes();
        }
        let masks = black_box(&masks);
        for (number, (&fields, &[a, b, c, d])) in fields.iter().zip(masks).enumerate() {
            let [a, b, c, d] = [a, b, c, d].map(|mask| &BYTES_OF[usize::from(mask)]);
            let packed = i.look_up(fields, i.join(i.places(a, b), i.places(c, d)));
            lists.keep_fields(i, 2 * number, &counts, i.one(packed));
            lists.keep_fields(i, LANE + 2 * number, &counts, i.other(packed));
        }
        for (half, ranks) in ranks.iter_mut().enumerate() {
            turn(i, ranks);
            for (number, &ranks) in ranks.iter().enumerate() {
                let lane = EIGHT * half + number;
                let mask = &masks[lane / 2];
                let packed = i.look_up(ranks, i.join(places_of(i, mask[lane % 2]), places_of(i, mask[2 + lane % 2])));
                lists.keep_ranks(i, lane, &counts, i.one(packed));
                lists.keep_ranks(i, LANE + lane, &counts, i.other(packed));
            }
        }
    }
}

/// The places of those of eight halves that are set.
#[inline(always)]
fn places_of<I: Twins>(i: I, mask: u8) -> I::Twin {
    // SAFETY: there are sixteen bytes.
    unsafe { i.load(HALVES_OF[usize::from(mask)].as_ptr()) }
}

/// What is said of each pair of classes: its octaves as a field has them, and the classes.
struct Pairs {
    octaves: [u16; FIELDS_ROOM],
    classes: [u8; FIELDS_ROOM],
}

impl Pairs {
    #[inline(always)]
    fn new(pairs: &[Field; FIELDS_ROOM]) -> Pairs {
        Pairs {
            octaves: pairs.map(|pair| (pair.octaves() as u16) << OCTAVES),
            classes: pairs.map(|pair| (pair.0 >> (Field::LINE - 1)) as u8 & 0x7e),
        }
    }

    /// Lays out the fields of sixteen pairs, and tells how many they are.
    #[inline(always)]
    fn lay<I: Twins>(
        &self,
        i: I,
        [lines, columns]: [&[u16; FIELDS_ROOM]; 2],
        from: usize,
        (fields, classes): (&mut [u16], &mut [u8]),
    ) -> usize {
        let [lines, columns, octaves] = [lines, columns, &self.octaves].map(|numbers| &numbers[from..from + LANE]);
        // SAFETY: there are sixteen of all.
        let [lines, columns, octaves] = unsafe {
            [i.pair(lines, &lines[EIGHT..]), i.pair(columns, &columns[EIGHT..]), i.pair(octaves, &octaves[EIGHT..])]
        };
        let elements = i.multiply_halves(lines, columns);
        let none = i.zero_halves(elements);
        let mask = !i.bits(i.pack_masks(none, none));
        let packed = i.or(octaves, i.sub_halves(i.half(LARGEST), elements));
        let mut used = 0;
        for (half, (packed, mask)) in
            [i.one(packed), i.other(packed)].into_iter().zip([mask as u8, (mask >> LANE) as u8]).enumerate()
        {
            let room: &mut [u16] = &mut fields[used..used + EIGHT];
            let of_room: &mut [u8] = &mut classes[used..used + EIGHT];
            let of_pairs: &[u8] = &self.classes[from + EIGHT * half..][..EIGHT];
            // SAFETY: there are eight of all, and there is room for as many.
            unsafe {
                i.store(i.shuffle(packed, places_of(i, mask)), room.as_mut_ptr());
                let (places, bytes) =
                    (i.load_eight(BYTES_OF[usize::from(mask)].as_ptr()), i.load_eight(of_pairs.as_ptr()));
                i.store_eight(i.shuffle(bytes, places), of_room.as_mut_ptr());
            }
            used += mask.count_ones() as usize;
        }
        used
    }
}

/// Makes columns of rows of bytes: vector `n` has those of the lanes `2 n` and `2 n + 1`, and of those 16 behind them.
#[inline(always)]
fn columns<I: Twins>(i: I, [a, b, c, d, e, f, g, h]: [I::Vector; EIGHT]) -> [I::Vector; EIGHT] {
    let (upper, lower) = (fours(i, [a, b, c, d]), fours(i, [e, f, g, h]));
    let mut columns = [i.nothing(); EIGHT];
    for (pair, (upper, lower)) in columns.as_chunks_mut().0.iter_mut().zip(upper.into_iter().zip(lower)) {
        *pair = i.zip_words(upper, lower);
    }
    columns
}

/// The same of four rows.
#[inline(always)]
fn fours<I: Twins>(i: I, [a, b, c, d]: [I::Vector; 4]) -> [I::Vector; 4] {
    let ([a, b], [c, d]) = (i.zip_bytes(a, b), i.zip_bytes(c, d));
    let ([a, b], [c, d]) = (i.zip_halves(a, c), i.zip_halves(b, d));
    [a, b, c, d]
}
