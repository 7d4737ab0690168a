//! The fields of a chunk, as many at once as a vector has lanes.

use crate::codec::{FIELDS_ROOM, Field, WALK_ROOM};
use crate::kernel::vectors::{Job, Vectors};

/// Lays out the fields of those pairs of which there are elements, and tells how many they are. There are at most `2^17` elements of a pair, and none
/// of those behind the pairs.
pub(crate) struct Lay<'a> {
    pub(crate) pairs: &'a [Field; FIELDS_ROOM],
    /// How many pairs there are.
    pub(crate) known: usize,
    pub(crate) lines: &'a [u16; FIELDS_ROOM],
    pub(crate) columns: &'a [u16; FIELDS_ROOM],
    pub(crate) fields: &'a mut [Field; WALK_ROOM],
}

impl Job for Lay<'_> {
    type Result = usize;

    #[inline(always)]
    fn run<I: Vectors>(self, i: I) -> usize {
        let Lay { pairs, known, lines, columns, fields } = self;
        let (pairs, fields) = (Field::numbers(pairs), Field::numbers_mut(fields));
        let mut used = 0;
        for from in (0..known.min(FIELDS_ROOM)).step_by(I::COUNT) {
            let len = i.multiply(i.widen(&lines[from..]), i.widen(&columns[from..]));
            let some = i.reach(len, i.number(1));
            used += i.pack(some, i.or(i.load(&pairs[from..]), len), &mut fields[used..]);
        }
        used
    }
}

impl Field {
    fn numbers(fields: &[Field]) -> &[u32] {
        // SAFETY: a field is a number.
        unsafe { std::slice::from_raw_parts(fields.as_ptr().cast(), fields.len()) }
    }

    fn numbers_mut(fields: &mut [Field]) -> &mut [u32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(fields.as_mut_ptr().cast(), fields.len()) }
    }
}
