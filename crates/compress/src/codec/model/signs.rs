//! Which sign a value has, given the leanings of its row and its column.
//!
//! A gradient is a sum of few outer products, so that signs follow the product of a sign of the row and one of the column.
//! Both are learned: a value votes for its row as its column leans, and after the band for its column as its row leans.

use crate::codec::ans::{Coding, SLOTS};

/// Largest strength of a leaning.
const STRENGTH_MAX: u32 = 5;
/// The strength of a line, three bits, above that of a column.
const CONTEXTS: usize = 64;
/// Most that a column can lean.
const LEAN_MAX: i32 = 1 << 14;
/// Most that the leaning of a column counts for a line, and that of a line for a column.
const COLUMN_VOTE_MAX: i32 = 4;
const LINE_VOTE_MAX: i32 = 2;
/// Rounds in which lines and columns of the first band agree on their signs.
const FIRST_ROUNDS: usize = 3;
/// What a sign adds to its count, and what each begins with.
const SEEN: u32 = 16;
const PRIOR: u32 = 64;
/// Counts are halved when they add up to this.
const COUNTS_MAX: u32 = 1 << 20;

/// One value of the current band.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// Twice the line, and 1 for a negative value.
    line: u32,
    column: u32,
}

/// What is known of signs in a section.
#[derive(Debug)]
pub(crate) struct Signs {
    lines: Vec<i32>,
    columns: Vec<i32>,
    /// What their leanings mean for the next chunk and the next band: all at once, since vectors can do that.
    of_lines: Vec<u8>,
    of_columns: Vec<u8>,
    column_votes: Vec<i32>,
    /// How often a sign was as expected and how often not, by the strengths of both leanings.
    counts: [[u32; 2]; CONTEXTS],
    /// The first slot of what was not expected.
    borders: [u32; CONTEXTS],
    entries: Vec<Entry>,
    is_first: bool,
}

impl Signs {
    pub(crate) fn new(lines: usize, columns: usize) -> Signs {
        let mut signs = Signs {
            lines: vec![0; lines],
            columns: vec![0; columns],
            of_lines: vec![0; lines],
            of_columns: vec![0; columns],
            column_votes: vec![0; columns],
            counts: [[PRIOR; 2]; CONTEXTS],
            borders: [0; CONTEXTS],
            entries: Vec::new(),
            is_first: true,
        };
        signs.settle();
        signs
    }

    /// Codes the lowest bits of the codes of a chunk, whose values are in these lines and columns.
    #[inline(always)]
    pub(crate) fn code(&mut self, coding: &mut impl Coding, places: &[(u32, u32)], codes: &mut [u8]) {
        self.of_lines.iter_mut().zip(&self.lines).for_each(|(of, &lean)| *of = leaning(lean));
        let first = self.entries.len();
        self.entries.resize(first + codes.len(), Entry::default());
        let values = codes.iter_mut().zip(places).zip(&mut self.entries[first..]);
        for (turn, ((code, &(line, column)), entry)) in values.enumerate() {
            let (of_line, of_column) = (self.of_lines[line as usize], self.of_columns[column as usize]);
            let context = usize::from((of_line & 7) << 3 | of_column & 7) & (CONTEXTS - 1);
            let expected = u32::from(of_line ^ of_column) >> 7;
            let surprise = coding.bit(turn, self.borders[context], u32::from(*code & 1) ^ expected);
            self.counts[context][surprise as usize & 1] += SEEN;
            let sign = surprise ^ expected;
            *code = *code & !1 | sign as u8;
            *entry = Entry { line: line << 1 | sign, column };
            // Leanings are those from before the chunk, so that votes may be cast at once.
            vote_for_line(entry, &self.column_votes, &mut self.lines);
        }
    }

    /// The expected sign gets its part of all slots but two, rounded down, and one more.
    #[inline(always)]
    pub(crate) fn settle(&mut self) {
        for (counts, border) in self.counts.iter_mut().zip(&mut self.borders) {
            let (free, total) = (u64::from(SLOTS) - 2, counts[0] + counts[1]);
            *border = 1 + (free * u64::from(counts[0]) / u64::from(total)) as u32;
            if total >= COUNTS_MAX {
                counts.iter_mut().for_each(|count| *count = count.div_ceil(2));
            }
        }
    }

    /// Forgets the signs of the lines, since others follow.
    #[inline(always)]
    pub(crate) fn restart(&mut self) {
        self.lines.fill(0);
    }

    /// Learns from the band that ends.
    #[inline(always)]
    pub(crate) fn close_band(&mut self) {
        if std::mem::take(&mut self.is_first) {
            for _ in 0..FIRST_ROUNDS {
                self.entries.iter().for_each(|entry| vote_for_line(entry, &self.column_votes, &mut self.lines));
                self.columns.fill(0);
                self.vote_for_columns();
            }
        } else {
            self.vote_for_columns();
        }
        self.of_columns.iter_mut().zip(&self.columns).for_each(|(of, &lean)| *of = leaning(lean));
        self.entries.clear();
        self.restart();
    }

    /// A line that does not lean counts as positive: one sign of a pair of vectors is free.
    #[inline(always)]
    fn vote_for_columns(&mut self) {
        for lean in &mut self.lines {
            *lean = (*lean).clamp(-LINE_VOTE_MAX, LINE_VOTE_MAX) + i32::from(*lean == 0);
        }
        for entry in &self.entries {
            self.columns[entry.column as usize] += signed(self.lines[entry.line as usize >> 1], entry.line & 1);
        }
        for (vote, lean) in self.column_votes.iter_mut().zip(&mut self.columns) {
            *lean = (*lean).clamp(-LEAN_MAX, LEAN_MAX);
            *vote = (*lean).clamp(-COLUMN_VOTE_MAX, COLUMN_VOTE_MAX);
        }
    }
}

#[inline(always)]
fn vote_for_line(entry: &Entry, votes: &[i32], lines: &mut [i32]) {
    lines[entry.line as usize >> 1] += signed(votes[entry.column as usize], entry.line & 1);
}

/// The vote, or its negative for a sign of 1, without a branch that nobody could predict.
#[inline(always)]
fn signed(vote: i32, sign: u32) -> i32 {
    let mask = 0_i32.wrapping_sub(sign as i32);
    (vote ^ mask) - mask
}

/// Number of bits of a leaning's size, 5 at most, and 128 if it is negative.
#[inline(always)]
fn leaning(lean: i32) -> u8 {
    let strength = (u32::BITS - lean.unsigned_abs().leading_zeros()).min(STRENGTH_MAX);
    strength as u8 | ((lean as u32 >> 31) as u8) << 7
}
