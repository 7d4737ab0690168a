//! The steps to values of which it is known where they are.

use crate::codec::model::ground::{Ground, Walk};
use crate::kernel::Level;
use crate::kernel::ranks::rank;

/// What a step takes: a raw number (bits 0 to 15), its bits (16 to 23), and a segment of the table of distances by its number, or 0 (24 to 31).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Step(pub(crate) u32);

impl Step {
    /// Where the raw number's bits, and the segment, begin.
    pub(crate) const WIDTH: u32 = 16;
    pub(crate) const SEGMENT: u32 = 24;

    pub(crate) fn new(segment: u8, raw: u32, width: u32) -> Step {
        Step(raw | width << Step::WIDTH | u32::from(segment) << Step::SEGMENT)
    }

    pub(crate) fn raw(self) -> u32 {
        self.0 & ((1 << Step::WIDTH) - 1)
    }

    pub(crate) fn width(self) -> u32 {
        self.0 >> Step::WIDTH & 0xff
    }

    pub(crate) fn segment(self) -> u8 {
        (self.0 >> Step::SEGMENT) as u8
    }
}

/// A field among those of a chunk: its octaves (bits 0 to 3), how many more they are than those of the next field (4 to 7), and the place where it ends
/// (8 to 31), if all places are below [`Bounds::PLACES`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bounds(pub(crate) u32);

impl Bounds {
    pub(crate) const OCTAVES: u32 = 0xf;
    pub(crate) const FINER: u32 = 4;
    pub(crate) const END: u32 = 8;
    pub(crate) const PLACES: u32 = 1 << (u32::BITS - Bounds::END);

    pub(crate) fn octaves(self) -> u32 {
        self.0 & Bounds::OCTAVES
    }

    pub(crate) fn finer(self) -> u32 {
        self.0 >> Bounds::FINER & Bounds::OCTAVES
    }
}

/// More than there are fields, and than numbers of two classes.
const ROOM: usize = 64;

/// The values of a chunk field by field. All elements have places in that order, and each takes `2^octaves` of them.
#[derive(Debug)]
pub(crate) struct Targets {
    /// In the order of indices, the classes of each value's column (from bit 3 on) and line, and its number among the elements of both.
    pub(crate) pairs: Vec<u8>,
    pub(crate) ranks: Vec<u16>,
    /// How many values there are. What follows is of each in the order of places, and has room for [`Targets::MORE`]:
    pub(crate) count: usize,
    /// the same numbers;
    pub(crate) sorted: Vec<u16>,
    /// where its field begins, with the number of the field above ([`Targets::NUMBER`]);
    pub(crate) begins: Vec<u32>,
    /// what is known of that field, as [`Bounds`].
    pub(crate) fields: Vec<u32>,
    /// How many fields there are; of each where it begins, and how many values there are before its end; and where the last one ends.
    pub(crate) used: usize,
    pub(crate) bounds: [Bounds; ROOM],
    pub(crate) starts: [u32; ROOM],
    pub(crate) ends: [u32; ROOM],
}

impl Default for Targets {
    fn default() -> Targets {
        Targets {
            pairs: Vec::new(),
            ranks: Vec::new(),
            count: 0,
            sorted: Vec::new(),
            begins: Vec::new(),
            fields: Vec::new(),
            used: 0,
            bounds: [Bounds::default(); ROOM],
            starts: [0; ROOM],
            ends: [0; ROOM],
        }
    }
}

impl Targets {
    /// Where the number of a field begins: elements of a chunk have 16 bits, and octaves are at most 10.
    pub(crate) const NUMBER: u32 = 26;
    /// How far vectors go beyond the last value, at most.
    pub(crate) const MORE: usize = 17;

    /// Finds the values of a chunk, whose indices rise, and puts them in order.
    #[inline(always)]
    pub(crate) fn find(&mut self, level: Level, ground: &Ground, walk: &Walk, indices: &[u16]) {
        if !rank(level, ground, walk, indices, self) {
            self.rank(ground, walk, indices);
        }
        self.sort(walk, indices.len());
    }

    /// Finds the number of each value in its field.
    #[inline(always)]
    fn rank(&mut self, ground: &Ground, walk: &Walk, indices: &[u16]) {
        let (lines, columns) = ground.sides(walk);
        self.pairs.resize(indices.len(), 0);
        self.ranks.resize(indices.len(), 0);
        for (&index, (pair, number)) in indices.iter().zip(self.pairs.iter_mut().zip(&mut self.ranks)) {
            let (line, column) = walk.line_and_column(index);
            let ((line, row), (column, rank)) = (lines.ranks[line], columns.ranks[column]);
            *pair = column << 3 | line;
            *number = row * columns.count(column.into()) as u16 + rank;
        }
    }

    /// Lays out the fields, and puts the values in their order.
    #[inline(always)]
    fn sort(&mut self, walk: &Walk, count: usize) {
        let (mut next, mut end, mut place) = ([0; ROOM], 0, 0);
        for &pair in &self.pairs[..count] {
            next[usize::from(pair) % ROOM] += 1;
        }
        self.used = walk.used;
        let mut known = [[0; 2]; ROOM];
        for (number, pair) in walk.fields[..=walk.used].windows(2).enumerate().take(ROOM - 1) {
            let (field, octaves) = (pair[0], pair[0].octaves());
            let next = &mut next[field.pair() % ROOM];
            (*next, end) = (end, end + *next);
            let start = place;
            place += field.len() << octaves;
            let bounds = Bounds(place << Bounds::END | (octaves - pair[1].octaves()) << Bounds::FINER | octaves);
            known[field.pair() % ROOM] = [(number as u32) << Targets::NUMBER | start, bounds.0];
            (self.starts[number], self.ends[number], self.bounds[number]) = (start, end, bounds);
        }
        self.starts[walk.used] = place;
        self.grow(count);
        let (sorted, begins, fields) =
            (&mut self.sorted[..count], &mut self.begins[..count], &mut self.fields[..count]);
        for (&pair, &rank) in self.pairs.iter().zip(&self.ranks[..count]) {
            let pair = usize::from(pair) % ROOM;
            let place = next[pair] as usize;
            next[pair] += 1;
            (sorted[place], [begins[place], fields[place]]) = (rank, known[pair]);
        }
    }

    fn grow(&mut self, count: usize) {
        self.count = count;
        if self.sorted.len() < count + Targets::MORE {
            self.sorted.resize(count + Targets::MORE, 0);
            self.begins.resize(count + Targets::MORE, 0);
            self.fields.resize(count + Targets::MORE, 0);
        }
    }
}

/// Shows the steps to all values.
#[inline(always)]
pub(crate) fn plan(ground: &Ground, targets: &Targets, mut visit: impl FnMut(Step)) {
    let (mut way, mut first) = (Way::default(), 0);
    for (own, &end) in targets.ends[..targets.used].iter().enumerate() {
        let (start, octaves) = (targets.starts[own], targets.bounds[own].octaves());
        for &rank in &targets.sorted[first..end as usize] {
            let target = start + (u32::from(rank) << octaves);
            way.lead(ground, targets, (own, target), &mut visit);
            way.place = target + (1 << octaves);
        }
        first = end as usize;
    }
}

/// A field, and a place in it or behind it.
#[derive(Default)]
struct Way {
    number: usize,
    place: u32,
}

impl Way {
    /// Shows the steps to a field's place.
    #[inline(always)]
    fn lead(
        &mut self,
        ground: &Ground,
        Targets { starts, bounds, .. }: &Targets,
        (own, target): (usize, u32),
        mut visit: impl FnMut(Step),
    ) {
        loop {
            if self.place >= starts[self.number + 1] {
                visit(Step::default());
                self.number += 1;
                continue;
            }
            let distance = target - self.place;
            let segment = ground.distances.segment(distance >> ground.low);
            let base = u32::from(segment.base) << ground.low;
            if segment.skip {
                visit(Step::new(segment.number, 0, 0));
                self.place += base;
                continue;
            }
            let octaves = bounds[self.number].octaves();
            let width = ground.low + u32::from(segment.double) - octaves;
            visit(Step::new(segment.number, (distance - base) >> octaves, width));
            break;
        }
        while self.number < own {
            let width = bounds[self.number].finer();
            self.number += 1;
            let rest = (target - starts[self.number]) >> bounds[self.number].octaves();
            visit(Step::new(0, rest & ((1 << width) - 1), width));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::model::{ChunkAt, Geometry, Marks};
    use crate::kernel::plan::{Planned, Rows, plan_at_once};
    use crate::{Instructions, Layout};
    use proptest::prelude::*;

    /// The steps to some values of the first chunk of a tensor whose lines and columns have so many classes.
    fn steps(shape: &[usize], classes: usize, indices: &[u16], level: Level) -> Vec<Step> {
        let layout = Layout::new(64, [shape.to_vec()]).unwrap();
        let geometry = Geometry::new(&layout, &layout.sections()[0], 64);
        let mut marks = Marks::new(&geometry);
        let all = marks.lines.iter_mut().chain(&mut marks.columns).enumerate();
        all.for_each(|(place, [class, _])| *class = (place * 7 % classes) as u8);
        let mut ground = Ground::new(geometry, &marks, level);
        ground.rank(&marks);
        let (mut walk, block) = (Walk::default(), layout.bands()[0].block(0));
        let indices = &indices[..indices.iter().take_while(|&&index| usize::from(index) < block.len()).count()];
        let at = ChunkAt { band: 0, chunk: 0, cut: geometry.cut(0, &block), kept: 64 };
        walk.begin(&at, (0, indices.len()));
        ground.lay(&mut walk, level);
        let (mut targets, mut steps) = (Targets::default(), Vec::new());
        targets.find(level, &ground, &walk, indices);
        let mut rows = Rows { steps: &mut steps, lanes: 1, first: 0 };
        if !plan_at_once(level, &ground, &mut targets, &mut Planned::default(), &mut rows) {
            assert!(level == Level::Plain || indices.is_empty());
            plan(&ground, &targets, |step| steps.push(step));
        }
        steps
    }

    proptest! {
        #[test]
        fn all_instructions_plan_the_same_steps(
            shape in prop::sample::select(vec![vec![64, 64], vec![128, 640], vec![37, 59], vec![118, 50], vec![5000], vec![3, 700]]),
            classes in 1_usize..=6,
            indices in prop::collection::btree_set(0_u16..4096, 0..200),
            few in any::<bool>(),
        ) {
            let indices = indices.into_iter().step_by(if few { 20 } else { 1 }).collect::<Vec<_>>();
            let plain = steps(&shape, classes, &indices, Level::Plain);
            let all = [Instructions::Neon, Instructions::Avx2, Instructions::Avx512];
            for level in all.into_iter().filter_map(Level::of) {
                prop_assert_eq!(&plain, &steps(&shape, classes, &indices, level));
            }
        }
    }
}
