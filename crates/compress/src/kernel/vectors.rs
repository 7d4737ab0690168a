//! Vectors of a code's states, whatever their width: what is written once for all.

use crate::codec::{RAW_MAX, Round};
use crate::kernel::Level;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
use crate::kernel::neon;
use crate::kernel::tables::LANE;
#[cfg(target_arch = "x86_64")]
use crate::kernel::{avx2, avx512};

/// Something to be done with the vectors of a machine.
pub(crate) trait Job {
    /// What comes of it.
    type Result;

    /// Does it. Compiled once for each level, hence to be inlined with all that it calls.
    fn run<I: Vectors>(self, vectors: I) -> Self::Result;
}

impl Level {
    /// Does it, if the machine has vectors.
    #[inline(always)]
    pub(crate) fn run<J: Job>(self, job: J) -> Option<J::Result> {
        match self {
            Level::Plain => {
                let _ = job;
                None
            }
            // SAFETY: the value proves that the machine has the instructions.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(proof) => Some(unsafe { avx2::run(job, proof) }),
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(proof) => Some(unsafe { avx512::run(job, proof) }),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Level::Neon(proof) => Some(neon::run(job, proof)),
        }
    }
}

/// Of four bytes, all but the lowest are such as no table has.
pub(super) const NO_UPPER: u32 = 0x8080_8000;

/// Vectors of numbers of 32 bits. A value of an implementing type proves that the machine has the instructions.
pub(crate) trait Vectors: Copy {
    /// How many numbers a vector has.
    const COUNT: usize;
    /// A vector.
    type Vector: Copy;
    /// Some of its lanes.
    type Mask: Copy;
    /// Sixteen numbers to look up.
    type Numbers: Copy;

    /// One number in all lanes.
    fn number(self, number: u32) -> Self::Vector;
    /// The first numbers of a slice.
    fn load(self, numbers: &[u32]) -> Self::Vector;
    /// The first numbers of a slice of shorter ones.
    fn widen(self, numbers: &[u16]) -> Self::Vector;
    /// Puts the numbers of some lanes at the beginning of a slice that has room for all, and tells how many they are.
    fn pack(self, mask: Self::Mask, vector: Self::Vector, numbers: &mut [u32]) -> usize;
    /// Puts the numbers at the beginning of a slice.
    fn store(self, vector: Self::Vector, numbers: &mut [u32]);
    /// The same with their lower halves.
    fn store_halves(self, vector: Self::Vector, numbers: &mut [[u8; 2]]);
    /// The same with the lower halves of some lanes, one after the other; tells how many they are.
    fn pack_halves(self, mask: Self::Mask, vector: Self::Vector, numbers: &mut [[u8; 2]]) -> usize;
    fn and(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn or(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn add(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn sub(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    /// The lower halves of products.
    fn multiply(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    /// The upper halves of products.
    fn high(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn left(self, vector: Self::Vector, places: u32) -> Self::Vector;
    fn right(self, vector: Self::Vector, places: u32) -> Self::Vector;
    /// By as many places as each lane says; by 32 all that is left is zero.
    fn left_by(self, vector: Self::Vector, places: Self::Vector) -> Self::Vector;
    fn right_by(self, vector: Self::Vector, places: Self::Vector) -> Self::Vector;
    /// Where numbers are at least others: both are below `2^31`.
    fn reach(self, one: Self::Vector, other: Self::Vector) -> Self::Mask;
    /// The numbers of some lanes, zeros in the others.
    fn only(self, mask: Self::Mask, vector: Self::Vector) -> Self::Vector;
    /// The numbers of some lanes, and others in the others.
    fn choose(self, mask: Self::Mask, vector: Self::Vector, others: Self::Vector) -> Self::Vector;
    fn any(self, mask: Self::Mask) -> bool;
    fn either(self, one: Self::Mask, other: Self::Mask) -> Self::Mask;
    /// The lanes of one mask that another one has not.
    fn without(self, one: Self::Mask, other: Self::Mask) -> Self::Mask;
    /// Sixteen bytes to look up.
    fn table(self, bytes: [u8; LANE]) -> Self::Vector;
    /// What a table has at places below sixteen.
    fn look_up(self, table: Self::Vector, places: Self::Vector) -> Self::Vector;
    fn numbers(self, numbers: [u32; LANE]) -> Self::Numbers;
    /// The same of sixteen numbers.
    fn look_up_number(self, numbers: &Self::Numbers, places: Self::Vector) -> Self::Vector;
    /// The four bytes at the beginning of each of as many pieces as there are lanes.
    fn fours<const PIECE: usize>(self, pieces: &[u8]) -> Self::Vector;
    /// Bits as bytes.
    fn spread(self, bits: u64, bytes: &mut [u8; 64]);
    /// Which of some states have become small.
    fn small(self, states: Self::Vector) -> Self::Mask;
    /// The next words, one for each of some lanes.
    fn words(self, mask: Self::Mask, round: &mut Round<'_>) -> Self::Vector;

    /// States, some of which are given their words.
    #[inline(always)]
    fn filled(self, states: Self::Vector, mask: Self::Mask, words: Self::Vector) -> Self::Vector {
        self.choose(mask, self.or(self.left(states, RAW_MAX), words), states)
    }

    /// Gives each state that has become small a word.
    #[inline(always)]
    fn refill(self, states: Self::Vector, round: &mut Round<'_>) -> Self::Vector {
        let short = self.small(states);
        let words = self.words(short, round);
        self.filled(states, short, words)
    }
}

/// Methods of few instructions each.
macro_rules! methods {
    ($($name:ident $(<$piece:ident>)? ($($argument:ident: $type:ty),*) -> $result:ty { $($body:tt)* })*) => {
        $(
            #[inline(always)]
            fn $name $(<const $piece: usize>)? (self, $($argument: $type),*) -> $result {
                // SAFETY: the value proves that the machine has the instructions; slices are cut to what is read or written.
                unsafe { $($body)* }
            }
        )*
    };
}

pub(super) use methods;
