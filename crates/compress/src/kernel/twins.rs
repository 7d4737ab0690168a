//! Vectors of 32 bytes that are two of sixteen: instructions do the same in both, whatever machine has them.

use crate::codec::LANES;
#[cfg(target_arch = "x86_64")]
use crate::kernel::Avx2;
use crate::kernel::Level;
use crate::kernel::network::Quarters;
use crate::kernel::tables::LANE;

/// Something to be done with such vectors.
pub(crate) trait Task {
    /// What comes of it.
    type Result;

    /// Does it. Compiled once for each level, hence to be inlined with all that it calls.
    fn run<I: Twins>(self, twins: I) -> Self::Result;
}

impl Level {
    /// Whether such vectors are the best that the machine has.
    #[inline(always)]
    pub(crate) fn has_twins(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => true,
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Level::Neon(_) => true,
            _ => false,
        }
    }

    /// The level of such vectors, if the machine has them: they come with AVX-512.
    #[inline(always)]
    pub(crate) fn narrowed(self) -> Level {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) => Level::Avx2(Avx2(())),
            _ => self,
        }
    }

    /// Does it, if such vectors are the best that the machine has.
    #[inline(always)]
    pub(crate) fn run_twins<T: Task>(self, task: T) -> Option<T::Result> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(proof) => Some(proof.apart(task)),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Level::Neon(proof) => Some(proof.apart(task)),
            _ => {
                let _ = task;
                None
            }
        }
    }
}

/// A vector's lanes are bytes, or halves of words, or words. A mask has all bits of a lane set or none. Where vectors are zipped or packed, that is
/// done twin by twin: 32 bytes become halves of which the first vector has the lanes 0 to 7 and 16 to 23.
pub(crate) trait Twins: Quarters {
    /// One of the two.
    type Twin: Copy;

    /// Does a task in a function of its own.
    fn apart<T: Task>(self, task: T) -> T::Result;

    fn join(self, one: Self::Twin, other: Self::Twin) -> Self::Vector;
    fn one(self, vector: Self::Vector) -> Self::Twin;
    fn other(self, vector: Self::Vector) -> Self::Twin;
    /// The second eight bytes.
    fn behind(self, twin: Self::Twin) -> Self::Twin;
    /// Sixteen bytes from a place on.
    ///
    /// # Safety
    /// There must be as many.
    unsafe fn load<T>(self, from: *const T) -> Self::Twin;
    /// Eight bytes, and zeros.
    ///
    /// # Safety
    /// There must be as many.
    unsafe fn load_eight<T>(self, from: *const T) -> Self::Twin;
    /// # Safety
    /// There must be room for sixteen bytes.
    unsafe fn store<T>(self, twin: Self::Twin, to: *mut T);
    /// Stores the first eight bytes.
    ///
    /// # Safety
    /// There must be room for them.
    unsafe fn store_eight<T>(self, twin: Self::Twin, to: *mut T);
    /// What a twin has at places below sixteen.
    fn shuffle(self, twin: Self::Twin, places: Self::Twin) -> Self::Twin;

    /// Eight places, and eight that are 8 further.
    fn places(self, one: &[u8; 8], other: &[u8; 8]) -> Self::Twin;

    fn byte(self, byte: u8) -> Self::Vector;
    fn half(self, half: u16) -> Self::Vector;
    fn and(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn or(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    /// What another one has and a mask has not.
    fn without(self, mask: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn choose(self, mask: Self::Vector, vector: Self::Vector, others: Self::Vector) -> Self::Vector;
    /// What each twin of a table of 64 bytes has at places below that.
    fn look_up_far(self, table: &[Self::Vector; 4], places: Self::Vector) -> Self::Vector;
    /// The upper bit of each byte.
    fn bits(self, vector: Self::Vector) -> u32;

    fn add_bytes(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn sub_bytes(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    /// The smaller and the larger bytes, without signs.
    fn least_bytes(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn most_bytes(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn equal_bytes(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    /// Where bytes with signs are above others.
    fn above_bytes(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    /// Bytes in turn.
    fn zip_bytes(self, one: Self::Vector, other: Self::Vector) -> [Self::Vector; 2];
    /// Halves as bytes, if they are small enough.
    fn pack_halves(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    /// Lines times their length, and columns, as halves.
    fn indices(self, lines: Self::Vector, columns: Self::Vector, length: u8) -> [Self::Vector; 2];

    fn add_halves(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn sub_halves(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn multiply_halves(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    /// The upper halves of products.
    fn high(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    /// The larger halves, with signs.
    fn most_halves(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    /// Where halves are nothing, and where they are less.
    fn zero_halves(self, halves: Self::Vector) -> Self::Vector;
    fn negative_halves(self, halves: Self::Vector) -> Self::Vector;
    /// Masks of halves as those of bytes.
    fn pack_masks(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    /// Where halves are negative, as a mask of bytes.
    fn negative(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn right_halves<const PLACES: i32>(self, halves: Self::Vector) -> Self::Vector;
    /// Words as halves, if they are small enough; and their lower and upper halves.
    fn pack_words(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn lower(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn upper(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;

    fn add_words(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn sub_words(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn multiply_words(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn right_words<const PLACES: i32>(self, words: Self::Vector) -> Self::Vector;
    /// By as many places as each lane says, fewer than 32.
    fn right_by(self, words: Self::Vector, places: Self::Vector) -> Self::Vector;
    fn left_by(self, words: Self::Vector, places: Self::Vector) -> Self::Vector;

    /// Nothing.
    #[inline(always)]
    fn nothing(self) -> Self::Vector {
        self.byte(0)
    }

    /// Sixteen bytes and sixteen bytes.
    ///
    /// # Safety
    /// There must be as many.
    #[inline(always)]
    unsafe fn pair<T>(self, one: &[T], other: &[T]) -> Self::Vector {
        // SAFETY: as the caller guarantees.
        unsafe { self.join(self.load(one.as_ptr()), self.load(other.as_ptr())) }
    }

    #[inline(always)]
    fn vector(self, bytes: &[u8; LANES]) -> Self::Vector {
        // SAFETY: there are twice sixteen.
        unsafe { self.pair(&bytes[..LANE], &bytes[LANE..]) }
    }

    #[inline(always)]
    fn keep(self, vector: Self::Vector, bytes: &mut [u8; LANES]) {
        // SAFETY: there is room for twice sixteen.
        unsafe {
            self.store(self.one(vector), bytes.as_mut_ptr());
            self.store(self.other(vector), bytes[LANE..].as_mut_ptr());
        }
    }

    #[inline(always)]
    fn bytes(self, vector: Self::Vector) -> [u8; LANES] {
        let mut bytes = [0; LANES];
        self.keep(vector, &mut bytes);
        // Taken out of the vector one by one they would take twice as many instructions.
        *std::hint::black_box(&bytes)
    }
}
