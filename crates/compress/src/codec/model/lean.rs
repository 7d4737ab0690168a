//! To which signs the lines and columns of a section lean.

use std::ops::AddAssign;

use crate::codec::model::fit::{BIT, log2, shares};
use crate::codec::model::head::Head;
use crate::codec::model::marks::Marks;

/// Most rounds in which lines and columns decide which of them lean.
const ROUNDS: usize = 8;
/// A round that saves less than such a part more than the one before it is the last.
const WORTH: i64 = 64;
/// How many values are looked at first: half of them are to foretell the others.
pub(super) const LOOKED_AT: usize = 1 << 14;
/// Most that a leaning counts in a vote.
const VOTE_MAX: i32 = 4;
/// Signs as expected, and others, until more is known.
const SIGNS: [usize; 2] = [4, 1];

/// One value: twice its line and twice its column, each with 1 added if it is negative.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    line: u32,
    column: u32,
}

impl Entry {
    #[inline(always)]
    pub(crate) fn new(line: usize, column: usize, negative: u8) -> Entry {
        let twice = |place: usize| (place as u32) << 1 | u32::from(negative);
        Entry { line: twice(line), column: twice(column) }
    }
}

/// What each line or column says of a value of its own, and of a negative one.
type Signed<T> = Vec<[T; 2]>;

/// Finds to which signs lines and columns lean, and keeps that if it is worth it.
#[inline(always)]
pub(crate) fn lean(entries: &[Entry], head: &mut Head, marks: &mut Marks) {
    let mut votes = Votes::new(marks.lines.len(), marks.columns.len());
    votes.begin(entries);
    votes.round(entries);
    let signs = votes.columns.iter().map(|[column, _]| column.signum()).collect();
    let mut columns = Leans::new(signs);
    let mut lines = Leans::new(vec![0; marks.lines.len()]);
    let mut saved = i64::MIN / 2;
    for _ in 0..ROUNDS {
        lines.decide(&columns, entries, |entry| (entry.column, entry.line));
        columns.decide(&lines, entries, |entry| (entry.line, entry.column));
        let before = std::mem::replace(&mut saved, columns.saved() - lines.cost - columns.cost);
        if saved - before < saved.abs() / WORTH {
            break;
        }
    }
    if saved <= 3 * 8 * BIT {
        return;
    }
    for (marks, leans) in [(&mut marks.lines, &lines.leans), (&mut marks.columns, &columns.leans)] {
        marks.iter_mut().zip(leans).for_each(|([_, mark], &lean)| *mark = lean.rem_euclid(3) as u8);
    }
    [head.agree] = shares(&columns.signs);
    (head.lines.leans, head.columns.leans) = (Some(lines.none), Some(columns.none));
}

/// Whether some values, which lie in the first lines, tell the signs of some others.
#[inline(always)]
pub(super) fn is_foretold(sample: &[Entry], columns: usize) -> bool {
    let (some, others) = sample.split_at(sample.len() / 2);
    let lines = sample.iter().map(|entry| entry.line as usize / 2 + 1).max().unwrap_or(0);
    let mut votes = Votes::new(lines, columns);
    votes.begin(some);
    votes.round(some);
    votes.round(some);
    votes.foretell(&others[..some.len()])
}

/// Adds up for each line or column what the other one of each of its values says of it.
///
/// There are two sums of each, so that values of the same line one after the other do not wait for each other.
#[inline(always)]
fn add_up<T: Copy + AddAssign>(
    entries: &[Entry],
    said: &[[T; 2]],
    sums: &mut [[T; 2]],
    places: impl Fn(Entry) -> (u32, u32),
) {
    let (said, sums) = (said.as_flattened(), sums.as_flattened_mut());
    let (pairs, rest) = entries.as_chunks::<2>();
    let mut add = |entry: Entry, part: usize| {
        let (from, to) = places(entry);
        sums[to as usize & !1 | part] += said[from as usize];
    };
    for &[one, two] in pairs {
        add(one, 0);
        add(two, 1);
    }
    rest.iter().for_each(|&entry| add(entry, 0));
}

/// To which sign each line and column leans, and how strongly.
struct Votes {
    lines: Signed<i32>,
    columns: Signed<i32>,
}

impl Votes {
    fn new(lines: usize, columns: usize) -> Votes {
        Votes { lines: vec![[0; 2]; lines], columns: vec![[0; 2]; columns] }
    }

    /// Columns vote with the signs of their values.
    #[inline(always)]
    fn begin(&mut self, entries: &[Entry]) {
        self.columns.fill([0; 2]);
        add_up(entries, &[[1, -1]], &mut self.columns, |entry| (entry.column & 1, entry.column));
        settle(&mut self.columns);
    }

    /// Lines vote with the columns of their values, and columns then with the lines.
    #[inline(always)]
    fn round(&mut self, entries: &[Entry]) {
        self.lines.fill([0; 2]);
        add_up(entries, &self.columns, &mut self.lines, |entry| (entry.column, entry.line));
        settle(&mut self.lines);
        self.columns.fill([0; 2]);
        add_up(entries, &self.lines, &mut self.columns, |entry| (entry.line, entry.column));
        settle(&mut self.columns);
    }

    /// Whether the columns, as other values have them lean, and the other values of a line tell the sign of a value.
    #[inline(always)]
    fn foretell(&mut self, entries: &[Entry]) -> bool {
        self.lines.fill([0; 2]);
        add_up(entries, &self.columns, &mut self.lines, |entry| (entry.column, entry.line));
        let (mut right, mut wrong) = (0, 0);
        for entry in entries {
            let own = self.columns.as_flattened()[entry.column as usize];
            let [one, two] = self.lines[entry.line as usize >> 1];
            let told = (one + two - own) * own;
            right += usize::from(told > 0);
            wrong += usize::from(told < 0);
        }
        // Of signs that nothing foretells chance alone makes that of one sample in fifty.
        20 * right > 21 * wrong
    }
}

/// Makes votes of sums.
#[inline(always)]
fn settle(sums: &mut Signed<i32>) {
    for sum in sums {
        let vote = (sum[0] + sum[1]).clamp(-VOTE_MAX, VOTE_MAX);
        *sum = [vote, -vote];
    }
}

/// Bits of a sign as expected, and of another, in 256ths.
struct Price {
    agree: i64,
    other: i64,
}

impl Price {
    /// Where so many signs are as expected, and so many are not.
    fn of([agree, other]: [usize; 2]) -> Price {
        let all = log2(agree + other);
        Price { agree: all - log2(agree), other: all - log2(other) }
    }
}

/// How lines, or columns, lean.
struct Leans {
    leans: Vec<i32>,
    /// Slots of those that do not.
    none: u8,
    /// What it costs to say so.
    cost: i64,
    /// How many signs are as those that lean have it, and how many are not.
    signs: [usize; 2],
    /// What it costs of one that does not lean, and of one that does.
    sides: [i64; 2],
}

impl Leans {
    fn new(leans: Vec<i32>) -> Leans {
        Leans { leans, none: 0, cost: 0, signs: SIGNS, sides: [BIT, BIT * 3 / 2] }
    }

    /// What is saved of the signs of those that lean.
    fn saved(&self) -> i64 {
        let [agree, other] = self.signs.map(|seen| seen as i64);
        let price = Price::of(self.signs);
        agree * (BIT - price.agree) + other * (BIT - price.other)
    }

    /// Decides for each line whether it leans and to which sign, by the signs that the columns would have its values have; or for each
    /// column by the lines.
    #[inline(always)]
    fn decide(&mut self, others: &Leans, entries: &[Entry], places: impl Fn(Entry) -> (u32, u32)) {
        // Signs are added up in the lower half, and their number in the upper.
        let said =
            others.leans.iter().map(|&lean| [lean, -lean].map(|sign| i64::from(sign) + (i64::from(sign.abs()) << 32)));
        let (said, mut sums) = (said.collect::<Vec<_>>(), vec![[0_i64; 2]; self.leans.len()]);
        add_up(entries, &said, &mut sums, places);
        let price = Price::of(others.signs);
        for _ in 0..2 {
            self.settle(&sums, &price);
        }
    }

    /// Decides by the sums of signs, and tells what follows.
    fn settle(&mut self, sums: &[[i64; 2]], price: &Price) {
        let (mut signs, mut used) = ([0; 2], [0; 2]);
        for (lean, &[one, two]) in self.leans.iter_mut().zip(sums) {
            let sum = i64::from((one + two) as i32);
            let all = (one + two - sum) >> 32;
            let (agree, other) = ((all + sum.abs()) / 2, (all - sum.abs()) / 2);
            let leans = agree * price.agree + other * price.other + self.sides[1] < all * BIT + self.sides[0];
            *lean = if leans { sum.signum() as i32 } else { 0 };
            used[usize::from(*lean != 0)] += 1;
            if *lean != 0 {
                signs = [signs[0] + agree as usize, signs[1] + other as usize];
            }
        }
        let cost = used.map(|used| log2(self.leans.len()) - log2(used));
        (self.signs, self.sides) = (signs, [cost[0], cost[1] + BIT]);
        [self.none] = shares(&used);
        self.cost = used[0] as i64 * self.sides[0] + used[1] as i64 * self.sides[1];
    }
}
