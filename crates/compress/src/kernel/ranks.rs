//! Where values lie in their fields, thirty-two at once.

use crate::codec::{Ground, LANES, Members, Targets, Walk, quotient};
use crate::kernel::Level;
use crate::kernel::narrow::member;
use crate::kernel::places::MOST;
use crate::kernel::tables::{EIGHT, LANE};
use crate::kernel::twins::{Task, Twins};

/// Finds the number of each value in its field, if there are such vectors and chunks; tells whether it was done.
#[inline(always)]
pub(crate) fn rank(level: Level, ground: &Ground, walk: &Walk, indices: &[u16], targets: &mut Targets) -> bool {
    let (lines, columns) = ground.sides(walk);
    let (Some(lines), Some(columns)) = (lines.members, columns.members) else { return false };
    let chunk = Chunk { lines, columns, length: walk.cut.length };
    ground.widest <= MOST && level.narrowed().run_twins(Rank { chunk, indices, targets }).is_some()
}

struct Rank<'a> {
    chunk: Chunk<'a>,
    indices: &'a [u16],
    targets: &'a mut Targets,
}

/// What tells where elements lie.
struct Chunk<'a> {
    lines: &'a Members,
    columns: &'a Members,
    /// Elements of a line.
    length: usize,
}

impl Task for Rank<'_> {
    type Result = ();

    #[inline(always)]
    fn run<I: Twins>(self, i: I) {
        let Rank { chunk, indices, targets: Targets { pairs, ranks, .. } } = self;
        let room = indices.len().next_multiple_of(LANES);
        pairs.resize(room, 0);
        ranks.resize(room, 0);
        let rooms = pairs.as_chunks_mut().0.iter_mut().zip(ranks.as_chunks_mut().0);
        let (whole, rest) = indices.as_chunks::<LANES>();
        let mut last = [0; LANES];
        last[..rest.len()].copy_from_slice(rest);
        for (indices, (pairs, ranks)) in whole.iter().chain([&last]).zip(rooms) {
            chunk.rank(i, indices, pairs, ranks);
        }
    }
}

impl Chunk<'_> {
    #[inline(always)]
    fn rank<I: Twins>(&self, i: I, indices: &[u16; LANES], pairs: &mut [u8; LANES], ranks: &mut [u16; LANES]) {
        let (line, column) = lines_and_columns(i, self.length, indices);
        let (class_of_line, row) = (member(i, &self.lines.classes, line), member(i, &self.lines.ranks, line));
        let (class, rank) = (member(i, &self.columns.classes, column), member(i, &self.columns.ranks, column));
        let twice = i.add_bytes(class, class);
        let four_times = i.add_bytes(twice, twice);
        i.keep(i.add_bytes(class_of_line, i.add_bytes(four_times, four_times)), pairs);
        let wide = i.zip_bytes(i.look_up(i.table(self.columns.counts), class), i.nothing());
        let (row, rank) = (i.zip_bytes(row, i.nothing()), i.zip_bytes(rank, i.nothing()));
        let mut numbers = [i.nothing(); 2];
        for place in 0..2 {
            numbers[place] = i.add_halves(i.multiply_halves(row[place], wide[place]), rank[place]);
        }
        let [one, other] = numbers;
        let eights = [i.one(one), i.one(other), i.other(one), i.other(other)];
        for (eight, ranks) in eights.into_iter().zip(ranks.as_chunks_mut::<EIGHT>().0) {
            // SAFETY: there is room for eight.
            unsafe { i.store(eight, ranks.as_mut_ptr()) };
        }
    }
}

/// The lines and the columns of elements, of which so many are in a line.
#[inline(always)]
pub(super) fn lines_and_columns<I: Twins>(i: I, length: usize, indices: &[u16; LANES]) -> (I::Vector, I::Vector) {
    let (length, quotient) = (length as u16, quotient(length as u16));
    // The line, or one less, and what is left of the index.
    let (mut lines, mut rests) = ([i.nothing(); 2], [i.nothing(); 2]);
    for (place, (lines, rests)) in lines.iter_mut().zip(&mut rests).enumerate() {
        let (one, other) = (&indices[EIGHT * place..], &indices[LANE + EIGHT * place..]);
        // SAFETY: there are eight of both.
        let index = unsafe { i.pair(one, other) };
        *lines = i.high(index, i.half(quotient));
        *rests = i.sub_halves(index, i.multiply_halves(*lines, i.half(length)));
    }
    let (line, rest) = (i.pack_halves(lines[0], lines[1]), i.pack_halves(rests[0], rests[1]));
    let length = i.byte(length as u8);
    let less = i.above_bytes(length, rest);
    (i.add_bytes(i.add_bytes(line, i.byte(1)), less), i.sub_bytes(rest, i.without(less, length)))
}
