//! What sixteen lanes find, step by step, and where they begin.

use std::mem::offset_of;

use crate::codec::{LANES, Walk};
use crate::kernel::places::{MOST, STEPS};
use crate::kernel::tables::LANE;

/// What a lane found in a step in which it found nothing.
pub(super) const NONE: u32 = 0;
/// What sixteen lanes found in a step.
pub(super) type Row = [u32; LANE];

/// What a lane found, one thing after the other.
pub(super) type List = [u32; MOST + LANE];

/// What was found: of each step one row, or two one after the other.
#[derive(Debug)]
pub(crate) struct Found {
    rows: Vec<Row>,
    used: usize,
    lists: Box<[List; LANES]>,
}

impl Default for Found {
    fn default() -> Found {
        Found { rows: Vec::new(), used: 0, lists: Box::new([[NONE; MOST + LANE]; LANES]) }
    }
}

impl Found {
    /// Room for more steps than there can be.
    pub(super) fn room(&mut self, vectors: usize) -> &mut [Row] {
        let rows = vectors * STEPS;
        if self.rows.len() < rows {
            self.rows.resize(rows, [NONE; LANE]);
        }
        &mut self.rows[..rows]
    }

    /// Keeps the first rows, and so many in which nothing is found that steps fill vectors.
    pub(super) fn keep(&mut self, rows: usize, vectors: usize) {
        self.used = rows.next_multiple_of(vectors * LANE);
        self.rows[rows..self.used].fill([NONE; LANE]);
    }

    /// The rows, and memory to put together what each lane found.
    pub(super) fn parts(&mut self) -> (&[Row], &mut [List; LANES]) {
        (&self.rows[..self.used], &mut self.lists)
    }
}

/// Where sixteen chunks begin: the first field, where the next one lies behind the first walk and where the one behind all others lies, and
/// how many values are to be found.
pub(super) struct Begin {
    pub(super) field: [u32; LANE],
    pub(super) at: [u32; LANE],
    pub(super) last: [u32; LANE],
    pub(super) left: [u32; LANE],
}

impl Begin {
    pub(super) fn new(walks: &[Walk], vector: usize) -> Begin {
        const WALK: usize = size_of::<Walk>() / size_of::<u32>();
        const FIELDS: usize = offset_of!(Walk, fields) / size_of::<u32>();
        let none = [0; LANE];
        let mut begin = Begin { field: none, at: none, last: none, left: none };
        for (lane, (number, walk)) in walks.iter().enumerate().skip(LANE * vector).take(LANE).enumerate() {
            begin.field[lane] = walk.fields[0].0;
            begin.at[lane] = (number * WALK + FIELDS + 1) as u32;
            begin.last[lane] = (number * WALK + FIELDS + walk.used) as u32;
            begin.left[lane] = walk.count as u32;
        }
        begin
    }
}
