//! The steps to the values of a chunk, several at once.
//!
//! Steps inside fields begin where a value was found, or behind segments that were passed over, and there is one step out of each field before that of
//! the last value: all of them have their turns in the order of places, so that the number of each is known without the one before.

use crate::codec::{Bounds, Ground, Step, Targets};
use crate::kernel::Level;
use crate::kernel::tables::LANE;
use crate::kernel::vectors::{Job, Vectors};

/// Rows of steps, of which each has one for each state, and where in the first row a state has its own.
pub(crate) struct Rows<'a> {
    pub(crate) steps: &'a mut Vec<Step>,
    pub(crate) lanes: usize,
    pub(crate) first: usize,
}

impl Rows<'_> {
    /// Puts a step into its row, which may be a new one.
    #[inline(always)]
    pub(crate) fn put(&mut self, number: usize, step: Step) {
        let place = number * self.lanes;
        self.grow(number + 1)[place] = step;
    }

    /// Makes as many rows as there are steps. In what is returned, steps are as far apart as there are states.
    #[inline(always)]
    fn grow(&mut self, steps: usize) -> &mut [Step] {
        let end = self.first + (steps - 1) * self.lanes;
        if self.steps.len() <= end {
            self.steps.resize((end / self.lanes + 1) * self.lanes, Step::default());
        }
        &mut self.steps[self.first..]
    }
}

/// Memory for [`plan_at_once`]: of each step inside a field that leads to a value, or passes over segments before it,
#[derive(Debug, Default)]
pub(crate) struct Planned {
    /// the place of that value, with the number of its field above;
    values: Vec<u32>,
    /// the place where the step begins;
    places: Vec<u32>,
    /// the number of the field where it begins (from bit 8 on), and its octaves.
    fields: Vec<u32>,
}

const NUMBER: u32 = Targets::NUMBER;
const PLACE: u32 = (1 << NUMBER) - 1;
const MORE: usize = Targets::MORE;
const _: () = assert!(MORE > LANE, "a vector may begin at the last value, and is stored one place behind it");

/// Puts the steps to all values of a chunk into rows, if there are such vectors and places; tells whether it was done.
#[inline(always)]
pub(crate) fn plan_at_once(
    level: Level,
    ground: &Ground,
    targets: &mut Targets,
    planned: &mut Planned,
    rows: &mut Rows<'_>,
) -> bool {
    let suits = targets.count > 0 && targets.starts[targets.used] < Bounds::PLACES;
    suits && level.run(Plan { ground, targets, planned, rows }).is_some()
}

struct Plan<'a, 'b> {
    ground: &'a Ground,
    targets: &'a mut Targets,
    planned: &'a mut Planned,
    rows: &'a mut Rows<'b>,
}

impl Job for Plan<'_, '_> {
    type Result = ();

    #[inline(always)]
    fn run<I: Vectors>(self, i: I) {
        let Plan { ground, targets, planned, rows } = self;
        let (segments, count) = (Segments::new(i, ground), targets.count);
        planned.begin(i, targets);
        for first in (0..count).step_by(I::COUNT).rev() {
            if i.any(segments.from(i, planned, first).passed) {
                (first..count.min(first + I::COUNT)).rev().for_each(|value| planned.pass(ground, targets, value));
            }
        }
        let (count, lanes) = (planned.count(), rows.lanes);
        let last = (planned.values[count - 1] >> NUMBER) as usize;
        let steps = rows.grow(count + last);
        planned.leave(targets, last, |number, step| steps[number * lanes] = step);
        for first in (0..count).step_by(I::COUNT) {
            let mut some = [[0; LANE]; 2];
            inside(i, &segments, planned, (first, lanes), &mut some);
            let some = some[0].iter().zip(some[1]).take(I::COUNT.min(count - first));
            some.for_each(|(&place, step)| steps[place as usize] = Step(step));
        }
    }
}

impl Planned {
    /// Finds where the steps begin that lead to values, each behind the value before.
    #[inline(always)]
    fn begin<I: Vectors>(&mut self, i: I, targets: &Targets) {
        let Planned { values, places, fields } = self;
        for numbers in [&mut *values, places, fields] {
            numbers.resize(targets.count + MORE, 0);
        }
        (places[0], fields[0]) = (0, targets.bounds[0].octaves());
        for first in (0..targets.count).step_by(I::COUNT) {
            let bounds = i.load(&targets.fields[first..]);
            let octaves = i.and(bounds, i.number(Bounds::OCTAVES));
            let rank = i.left_by(i.widen(&targets.sorted[first..]), octaves);
            let value = i.add(i.load(&targets.begins[first..]), rank);
            let place = i.add(i.and(value, i.number(PLACE)), i.left_by(i.number(1), octaves));
            let at_end = i.reach(place, i.right(bounds, Bounds::END));
            let finer = i.and(i.right(bounds, Bounds::FINER), i.number(Bounds::OCTAVES));
            let octaves = i.sub(octaves, i.only(at_end, finer));
            let number = i.add(i.right(value, NUMBER), i.only(at_end, i.number(1)));
            i.store(value, &mut values[first..]);
            i.store(place, &mut places[first + 1..]);
            i.store(i.or(i.left(number, 8), octaves), &mut fields[first + 1..]);
        }
    }

    /// How many steps there are inside fields.
    fn count(&self) -> usize {
        self.values.len() - MORE
    }

    /// Where a value's step begins behind segments that are passed over, puts the steps that pass them before it.
    fn pass(&mut self, ground: &Ground, targets: &mut Targets, first: usize) {
        let Planned { values, places, fields, .. } = self;
        let (value, mut at, mut place, mut number) = (values[first], first, places[first], fields[first] >> 8);
        loop {
            let segment = ground.distances.segment(((value & PLACE) - place) >> ground.low);
            if !segment.skip {
                break;
            }
            place += u32::from(segment.base) << ground.low;
            while place >= targets.starts[number as usize + 1] {
                number += 1;
            }
            at += 1;
            values.insert(at, value);
            places.insert(at, place);
            fields.insert(at, number << 8 | targets.bounds[number as usize].octaves());
        }
        let more = (at - first) as u32;
        if more > 0 {
            let ends = &mut targets.ends[..targets.used];
            ends.iter_mut().for_each(|end| *end += if *end as usize >= first { more } else { 0 });
        }
    }

    /// Shows the steps out of fields, and their numbers. Where none is taken, which nobody could predict, it is one that says nothing; the number may be
    /// that of a step inside a field then, which is to be put over it.
    #[inline(always)]
    fn leave(&self, targets: &Targets, last: usize, mut visit: impl FnMut(usize, Step)) {
        let Targets { starts, bounds, ends, .. } = targets;
        let fields = ends.iter().zip(bounds.windows(2)).zip(&starts[1..]).take(last);
        for (number, ((&end, bounds), &start)) in (1..).zip(fields) {
            let (rest, width) = ((self.values[end as usize] & PLACE).wrapping_sub(start), bounds[0].finer());
            let step = Step::new(0, rest >> bounds[1].octaves() & ((1 << width) - 1), width);
            let taken = 0_u32.wrapping_sub((self.places[end as usize] < start).into());
            visit(end as usize + number, Step(step.0 & taken));
        }
    }
}

/// The table of distances.
struct Segments<I: Vectors> {
    low: u32,
    /// How many units there are.
    all: I::Vector,
    /// The number of a unit's segment.
    numbers: I::Vector,
    /// The first unit of a segment, by its number.
    bases: I::Vector,
    /// The number of the first segment of two units, and of the one that is passed over.
    double: I::Vector,
    passed: I::Vector,
}

/// How far values are away, and of which all segments are passed over.
struct Distances<I: Vectors> {
    distances: I::Vector,
    units: I::Vector,
    passed: I::Mask,
}

impl<I: Vectors> Segments<I> {
    #[inline(always)]
    fn new(i: I, ground: &Ground) -> Segments<I> {
        let bytes = &ground.distances.bytes;
        Segments {
            low: ground.low,
            all: i.number(bytes.base[usize::from(bytes.passed)].into()),
            numbers: i.table(bytes.units),
            bases: i.table(bytes.base),
            double: i.number(u32::from(bytes.single) + 1),
            passed: i.number(u32::from(bytes.passed) << Step::SEGMENT),
        }
    }

    #[inline(always)]
    fn from(&self, i: I, planned: &Planned, first: usize) -> Distances<I> {
        let values = i.and(i.load(&planned.values[first..]), i.number(PLACE));
        let distances = i.sub(values, i.load(&planned.places[first..]));
        let units = i.right(distances, self.low);
        Distances { distances, units, passed: i.reach(units, self.all) }
    }
}

/// Where some steps inside fields have their places among the rows, and what they take.
#[inline(always)]
fn inside<I: Vectors>(
    i: I,
    segments: &Segments<I>,
    planned: &Planned,
    (first, lanes): (usize, usize),
    [places, steps]: &mut [[u32; LANE]; 2],
) {
    let Distances { distances, units, passed } = segments.from(i, planned, first);
    let segment = i.look_up(segments.numbers, units);
    let base = i.left(i.look_up(segments.bases, segment), segments.low);
    let double = i.only(i.reach(segment, segments.double), i.number(1));
    let field = i.load(&planned.fields[first..]);
    let octaves = i.and(field, i.number(0xff));
    let width = i.sub(i.add(i.number(segments.low), double), octaves);
    let raw = i.right_by(i.sub(distances, base), octaves);
    let step = i.or(i.or(raw, i.left(width, Step::WIDTH)), i.left(segment, Step::SEGMENT));
    i.store(i.choose(passed, segments.passed, step), steps);
    let number = i.add(i.add(i.number(first as u32), i.load(&IN_TURN)), i.right(field, 8));
    i.store(i.multiply(number, i.number(lanes as u32)), places);
}

const IN_TURN: [u32; LANE] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
