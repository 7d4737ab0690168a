//! What thirty-two lanes found, as the indices of chunks in order: what `arrange` does, with vectors half as wide.

use crate::codec::{Ground, LANES, Tables, Walk};
use crate::kernel::gather::Found;
use crate::kernel::network;
use crate::kernel::places::MOST;
use crate::kernel::tables::{EIGHT, LANE};
use crate::kernel::twins::{Task, Twins};

/// Vectors of the indices of a chunk.
const PARTS: usize = MOST / LANE;

/// Turns what was found into the indices of all chunks, in order.
pub(super) struct Put<'a> {
    pub(super) ground: &'a Ground,
    pub(super) found: &'a mut [Found],
    pub(super) walks: &'a mut [Walk],
    pub(super) indices: &'a mut [u16],
}

impl Task for Put<'_> {
    type Result = ();

    #[inline(always)]
    fn run<I: Twins>(self, i: I) {
        let Put { ground, found, walks, indices } = self;
        for (walks, found) in walks.chunks_mut(2).zip(found.chunks_mut(2)) {
            let mut both = [[i.byte(u8::MAX); PARTS]; 2];
            for ((walk, found), parts) in walks.iter_mut().zip(found).zip(&mut both) {
                *parts = indices_of(i, ground, walk, found);
            }
            let rows = sorted(i, &both);
            let (one, other) = walks.split_at_mut(1);
            keep(i, rows.map(|row| i.one(row)), &mut one[0], indices);
            if let [other] = other {
                keep(i, rows.map(|row| i.other(row)), other, indices);
            }
        }
    }
}

/// The 64 numbers of each of two chunks in order, eight of each in a row.
#[inline(always)]
fn sorted<I: Twins>(i: I, [one, other]: &[[I::Vector; PARTS]; 2]) -> [I::Vector; 8] {
    let mut rows = [i.nothing(); 8];
    for ((pair, &one), &other) in rows.as_chunks_mut().0.iter_mut().zip(one).zip(other) {
        *pair = [i.join(i.one(one), i.one(other)), i.join(i.other(one), i.other(other))];
    }
    network::sort(i, &mut rows);
    rows
}

/// Keeps the numbers of a chunk. One that is too large is a fault.
#[inline(always)]
fn keep<I: Twins>(i: I, rows: [I::Twin; 8], walk: &mut Walk, indices: &mut [u16]) {
    let (indices, mut few) = (&mut indices[walk.values()], [0; MOST]);
    let all = if let ([all], []) = indices.as_chunks_mut() { all } else { &mut few };
    for (row, all) in rows.into_iter().zip(all.as_chunks_mut::<EIGHT>().0) {
        // SAFETY: there is room for eight.
        unsafe { i.store(row, all.as_mut_ptr()) };
    }
    if indices.len() < MOST {
        indices.copy_from_slice(&few[..indices.len()]);
    }
    walk.fault |= indices.last().is_some_and(|&last| usize::from(last) >= walk.cut.elements);
}

/// The indices of a chunk in no order, and `u16::MAX`.
#[inline(always)]
fn indices_of<I: Twins>(i: I, ground: &Ground, walk: &mut Walk, found: &mut Found) -> [I::Vector; PARTS] {
    let mut parts = [i.byte(u8::MAX); PARTS];
    let (lines, columns) = ground.sides(walk);
    let (Some(lines), Some(columns)) = (lines.tables, columns.tables) else {
        walk.fault = true;
        return parts;
    };
    if walk.count < MOST {
        found.fields[walk.count..].fill(0);
    }
    let Some(classes) = found.classes.first_chunk() else { return parts };
    let chunk = Chunk { lines, columns, classes, few: walk.used <= LANE, length: walk.cut.length };
    let (ranks, fields) = (found.ranks.as_chunks().0, found.fields.as_chunks().0);
    let mut last = i.nothing();
    for ((parts, ranks), fields) in parts.as_chunks_mut().0.iter_mut().zip(ranks).zip(fields) {
        let fields = i.and(i.vector(fields), i.byte(MOST as u8 - 1));
        *parts = chunk.indices(i, ranks, fields);
        last = i.most_bytes(last, fields);
    }
    // What is behind all fields has no elements.
    walk.fault |= i.bits(i.above_bytes(last, i.byte((walk.used as u8).wrapping_sub(1)))) != 0;
    if walk.count < MOST {
        leave_out(i, &mut parts, walk.count);
    }
    parts
}

/// Makes the indices behind the first ones `u16::MAX`.
#[inline(always)]
fn leave_out<I: Twins>(i: I, parts: &mut [I::Vector; PARTS], count: usize) {
    const NONE: [u16; 2 * MOST] = {
        let (mut none, mut place) = ([0; 2 * MOST], MOST);
        while place < none.len() {
            none[place] = u16::MAX;
            place += 1;
        }
        none
    };
    let none = &NONE[MOST - count.min(MOST)..];
    for (part, none) in parts.as_chunks_mut::<2>().0.iter_mut().zip(none.chunks(LANES)) {
        // SAFETY: there are 32.
        let [one, other] = unsafe { in_turn(i, none) };
        *part = [i.or(part[0], one), i.or(part[1], other)];
    }
}

/// Of 32 numbers the first and the third eight, and the second and the last.
///
/// # Safety
/// There must be as many.
#[inline(always)]
unsafe fn in_turn<I: Twins>(i: I, numbers: &[u16]) -> [I::Vector; 2] {
    // SAFETY: as the caller guarantees.
    unsafe { [i.pair(numbers, &numbers[LANE..]), i.pair(&numbers[EIGHT..], &numbers[LANE + EIGHT..])] }
}

/// What tells the index of an element from its number and its field.
struct Chunk<'a> {
    lines: &'a Tables,
    columns: &'a Tables,
    /// The classes of each field.
    classes: &'a [u8; MOST],
    /// Whether no field is behind the first that a vector looks up at once.
    few: bool,
    /// Elements of a line.
    length: usize,
}

impl Chunk<'_> {
    /// The indices of 32 elements.
    #[inline(always)]
    fn indices<I: Twins>(&self, i: I, ranks: &[u16; LANES], fields: I::Vector) -> [I::Vector; 2] {
        let first = self.classes.first_chunk().copied().unwrap_or([0; LANE]);
        let classes = if self.few { i.look_up(i.table(first), fields) } else { member(i, self.classes, fields) };
        let of_line = i.and(classes, i.byte(CLASS));
        let of_column = i.and(i.right_halves::<3>(classes), i.byte(CLASS));
        let columns = i.look_up(i.table(self.columns.counts), of_column);
        let [low, high] = self.columns.quotients;
        let quotients = i.zip_bytes(i.look_up(i.table(low), of_column), i.look_up(i.table(high), of_column));
        // The row, or one less, and what is left of the number.
        let wide = i.zip_bytes(columns, i.nothing());
        let (mut rows, mut rests) = ([i.nothing(); 2], [i.nothing(); 2]);
        // SAFETY: there are 32.
        for (place, number) in unsafe { in_turn(i, ranks) }.into_iter().enumerate() {
            rows[place] = i.high(number, quotients[place]);
            rests[place] = i.sub_halves(number, i.multiply_halves(rows[place], wide[place]));
        }
        let (row, rest) = (i.pack_halves(rows[0], rows[1]), i.pack_halves(rests[0], rests[1]));
        let less = i.above_bytes(columns, rest);
        let row = i.add_bytes(i.add_bytes(row, i.byte(1)), less);
        let rest = i.sub_bytes(rest, i.without(less, columns));
        let line = member(i, &self.lines.sorted, i.add_bytes(i.look_up(i.table(self.lines.starts), of_line), row));
        let column =
            member(i, &self.columns.sorted, i.add_bytes(i.look_up(i.table(self.columns.starts), of_column), rest));
        i.indices(line, column, self.length as u8)
    }
}

/// Twice a class.
const CLASS: u8 = 7 << 1;

/// What a table of 64 has at some places.
#[inline(always)]
pub(super) fn member<I: Twins>(i: I, table: &[u8; MOST], places: I::Vector) -> I::Vector {
    let parts: &[[u8; LANE]] = table.as_chunks().0;
    i.look_up_far(&[i.table(parts[0]), i.table(parts[1]), i.table(parts[2]), i.table(parts[3])], places)
}
