//! A network that sorts the 64 numbers of as many chunks as a vector has quarters of 128 bits: the same for all vectors.
//!
//! A vector holds eight numbers of each chunk, of which it makes a row: eight columns are sorted, made rows, and merged.

use std::hint::black_box;

/// Comparisons of those that are four, two and one apart.
const FAR: [[usize; 2]; 4] = [[0, 4], [1, 5], [2, 6], [3, 7]];
const AFTER_NEXT: [[usize; 2]; 4] = [[0, 2], [1, 3], [4, 6], [5, 7]];
const NEXT: [[usize; 2]; 4] = [[0, 1], [2, 3], [4, 5], [6, 7]];

/// The bytes of eight halves, the last half first.
pub(super) const FALLING: [u8; 16] = [14, 15, 12, 13, 10, 11, 8, 9, 6, 7, 4, 5, 2, 3, 0, 1];

/// Vectors of quarters of 128 bits. A value of an implementing type proves that the machine has the instructions.
pub(crate) trait Quarters: Copy {
    type Vector: Copy;

    /// Sixteen bytes in each quarter.
    fn table(self, bytes: [u8; 16]) -> Self::Vector;
    /// What each quarter of a table has at places below sixteen; nothing at those from 128 on.
    fn look_up(self, table: Self::Vector, places: Self::Vector) -> Self::Vector;
    /// The smaller and the larger halves, without signs.
    fn least(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn most(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    /// Halves of each quarter, or words, or pairs of them, in turn: those of the quarter's lower part, and those of the upper one.
    fn zip_halves(self, one: Self::Vector, other: Self::Vector) -> [Self::Vector; 2];
    fn zip_words(self, one: Self::Vector, other: Self::Vector) -> [Self::Vector; 2];
    fn zip_pairs(self, one: Self::Vector, other: Self::Vector) -> [Self::Vector; 2];
}

/// Sorts the numbers of each chunk: the first row has the smallest.
#[inline(always)]
pub(super) fn sort<I: Quarters>(i: I, rows: &mut [I::Vector; 8]) {
    compare(i, rows, &AFTER_NEXT);
    compare(i, rows, &FAR);
    compare(i, rows, &NEXT);
    compare(i, rows, &[[2, 4], [3, 5]]);
    compare(i, rows, &[[1, 4], [3, 6]]);
    compare(i, rows, &[[1, 2], [3, 4], [5, 6]]);
    turn(i, rows);
    // Runs of one row, of two, of four. What is not known to the compiler is not taken apart by it into three shuffles.
    let falling = black_box(i.table(FALLING));
    cross(i, rows, &NEXT, falling);
    clean(i, rows);
    cross(i, rows, &[[0, 3], [1, 2], [4, 7], [5, 6]], falling);
    rows.swap(2, 3);
    rows.swap(6, 7);
    compare(i, rows, &NEXT);
    clean(i, rows);
    cross(i, rows, &[[0, 7], [1, 6], [2, 5], [3, 4]], falling);
    rows[4..].reverse();
    compare(i, rows, &AFTER_NEXT);
    compare(i, rows, &NEXT);
    clean(i, rows);
}

/// Puts the smaller of each two numbers into the first of two rows.
#[inline(always)]
fn compare<I: Quarters, const N: usize>(i: I, rows: &mut [I::Vector; 8], pairs: &[[usize; 2]; N]) {
    for &[first, second] in pairs {
        let (one, other) = (rows[first], rows[second]);
        (rows[first], rows[second]) = (i.least(one, other), i.most(one, other));
    }
}

/// The same of a row's numbers and those of another one, the last first.
#[inline(always)]
fn cross<I: Quarters>(i: I, rows: &mut [I::Vector; 8], pairs: &[[usize; 2]; 4], falling: I::Vector) {
    for &[_, second] in pairs {
        rows[second] = i.look_up(rows[second], falling);
    }
    compare(i, rows, pairs);
}

/// Sorts rows that rise and then fall, or fall and then rise.
#[inline(always)]
fn clean<I: Quarters>(i: I, rows: &mut [I::Vector; 8]) {
    turn(i, rows);
    compare(i, rows, &FAR);
    compare(i, rows, &AFTER_NEXT);
    compare(i, rows, &NEXT);
    turn(i, rows);
}

/// Makes rows of the columns of each chunk.
#[inline(always)]
pub(super) fn turn<I: Quarters>(i: I, rows: &mut [I::Vector; 8]) {
    let [a, b, c, d, e, f, g, h] = *rows;
    let (upper, lower) = (four(i, [a, b, c, d]), four(i, [e, f, g, h]));
    for (pair, (upper, lower)) in rows.as_chunks_mut().0.iter_mut().zip(upper.into_iter().zip(lower)) {
        *pair = i.zip_pairs(upper, lower);
    }
}

/// Makes pairs of words of the columns of four rows.
#[inline(always)]
fn four<I: Quarters>(i: I, [a, b, c, d]: [I::Vector; 4]) -> [I::Vector; 4] {
    let ([one, two], [three, four]) = (i.zip_halves(a, b), i.zip_halves(c, d));
    let ([one, two], [three, four]) = (i.zip_words(one, three), i.zip_words(two, four));
    [one, two, three, four]
}
