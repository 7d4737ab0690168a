//! What takes time, compiled for each level of vector instructions.
//!
//! All levels run the same plain loops in the same order, so that they agree to the bit. Written by hand are only the search for
//! candidates, the sums of what peers sent and the step of a row, the way to many values of a chunk, and the reading and writing of many chunks at
//! once: for vectors of numbers as a `Job`, for those of bytes as a `Task`, or for AVX-512 alone. This is the one module with unsafe code.
#![expect(unsafe_code, reason = "vector instructions are chosen at run time, and some loops have no safe form")]

#[cfg(target_arch = "x86_64")]
mod arrange;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod bits;
pub(crate) mod classes;
pub(crate) mod coded;
mod compact;
pub(crate) mod fields;
#[cfg(target_arch = "x86_64")]
pub(crate) mod found;
pub(crate) mod gather;
pub(crate) mod leans;
mod narrow;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
mod network;
pub(crate) mod places;
pub(crate) mod plan;
pub(crate) mod ranks;
#[cfg(target_arch = "x86_64")]
mod rows;
mod select;
#[cfg(target_arch = "x86_64")]
pub(crate) mod sixteen;
pub(crate) mod steps;
#[cfg(target_arch = "x86_64")]
mod sums;
mod tables;
pub(crate) mod thirty_two;
mod twins;
mod vectors;
#[cfg(target_arch = "x86_64")]
mod wide;

use crate::codec::{CodecError, FixedReader, Queue, SectionWriter, read_sections};
use crate::compress::{BandWork, Scratch, compress_band};
use crate::outer::{StepWork, Sums, step_band};
use crate::section::SectionData;

pub(crate) use compact::Compact;
pub(crate) use select::{Candidates, Copied, Elements, GROUPS, ROW, key, select};

/// Vector instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Instructions {
    /// What every machine of the target has, as the compiler uses it.
    Plain,
    /// NEON, which every AArch64 has; used where it is little-endian.
    Neon,
    /// AVX2, and the bit instructions, which came with it.
    Avx2,
    /// AVX-512 F and BW.
    Avx512,
}

/// Instructions that this machine was found to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    Neon(Neon),
}

/// What every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plain;

/// Proof that this machine has AVX2, and the bit instructions, which came with it.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx2(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    pub(crate) fn detect() -> Option<Avx2> {
        let bits = is_x86_feature_detected!("popcnt")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2");
        (bits && is_x86_feature_detected!("avx2")).then_some(Avx2(()))
    }
}

/// Proof that this machine has AVX-512 F and BW besides.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx512(());

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    pub(crate) fn detect() -> Option<Avx512> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        (has && Avx2::detect().is_some()).then_some(Avx512(()))
    }
}

/// Says that the machine has NEON.
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Neon(());

impl Level {
    /// The best level of this machine.
    pub(crate) fn detect() -> Level {
        let best = [Instructions::Avx512, Instructions::Avx2, Instructions::Neon];
        best.into_iter().find_map(Level::of).unwrap_or(Level::Plain)
    }

    /// The level of some instructions, if this machine has them.
    pub(crate) fn of(instructions: Instructions) -> Option<Level> {
        match instructions {
            Instructions::Plain => Some(Level::Plain),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => Avx2::detect().map(Level::Avx2),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => Avx512::detect().map(Level::Avx512),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Instructions::Neon => Some(Level::Neon(Neon(()))),
            _ => None,
        }
    }

    /// Compresses one band.
    pub(crate) fn compress_band(self, work: BandWork<'_>, scratch: &mut Scratch) {
        match self {
            Level::Plain => compress_band(Plain, work, scratch),
            // SAFETY: the value proves that the machine has the instructions.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(proof) => unsafe { compress_band_avx2(proof, work, scratch) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(proof) => unsafe { compress_band_avx512(proof, work, scratch) },
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Level::Neon(proof) => compress_band(proof, work, scratch),
        }
    }
}

impl Level {
    /// Steps the parameters of one band.
    pub(crate) fn outer_step(self, work: StepWork<'_>, sums: &mut Sums) {
        match self {
            // SAFETY: the value proves that the machine has the instructions.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(proof) => unsafe { outer_step_avx2(proof, work, sums) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(proof) => unsafe { outer_step_avx512(proof, work, sums) },
            _ => step_band(Plain, work, sums),
        }
    }

    /// Writes one entropy-coded section.
    pub(crate) fn write_section(self, writer: SectionWriter<'_>, bytes: &mut Vec<u8>) {
        match self {
            // SAFETY: the value proves that the machine has the instructions.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) | Level::Avx512(_) => unsafe { write_section_avx2(writer, self, bytes) },
            _ => writer.write(self, bytes),
        }
    }

    /// Reads one section of fixed-width fields.
    pub(crate) fn read_fixed(self, reader: FixedReader<'_>, data: &mut SectionData) -> Result<(), CodecError> {
        match self {
            // SAFETY: the value proves that the machine has the instructions; AVX-512 comes with AVX2.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) | Level::Avx512(_) => unsafe { read_fixed_avx2(reader, data) },
            _ => reader.read(data),
        }
    }

    /// Reads entropy-coded sections until none are left.
    pub(crate) fn read_sections(self, queue: &Queue<'_>) {
        match self {
            // SAFETY: the value proves that the machine has the instructions; AVX-512 comes with AVX2.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) | Level::Avx512(_) => unsafe { read_sections_avx2(queue, self) },
            _ => read_sections(queue, self),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn outer_step_avx2(proof: Avx2, work: StepWork<'_>, sums: &mut Sums) {
    step_band(proof, work, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx2")]
fn outer_step_avx512(proof: Avx512, work: StepWork<'_>, sums: &mut Sums) {
    step_band(proof, work, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt,lzcnt,bmi1,bmi2")]
fn write_section_avx2(writer: SectionWriter<'_>, level: Level, bytes: &mut Vec<u8>) {
    writer.write(level, bytes);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt,lzcnt,bmi1,bmi2")]
fn read_fixed_avx2(reader: FixedReader<'_>, data: &mut SectionData) -> Result<(), CodecError> {
    reader.read(data)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt,lzcnt,bmi1,bmi2")]
fn read_sections_avx2(queue: &Queue<'_>, level: Level) {
    read_sections(queue, level);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt,lzcnt,bmi1,bmi2")]
fn compress_band_avx2(proof: Avx2, work: BandWork<'_>, scratch: &mut Scratch) {
    compress_band(proof, work, scratch);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx2,popcnt,lzcnt,bmi1,bmi2")]
fn compress_band_avx512(proof: Avx512, work: BandWork<'_>, scratch: &mut Scratch) {
    compress_band(proof, work, scratch);
}

/// Asks for the cache lines of some elements, if the machine can.
#[inline(always)]
pub(crate) fn prefetch<T>(values: &[T]) {
    prefetch_any(values, 0, values.len());
}

/// The same of so many elements from one on, which may be behind the last.
#[inline(always)]
pub(crate) fn prefetch_any<T>(values: &[T], first: usize, count: usize) {
    #[cfg(target_arch = "x86_64")]
    for place in (0..count).step_by(const { LINE_BYTES / size_of::<T>() }) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch of any address has no effect that a program can observe.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(values.as_ptr().wrapping_add(first + place).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, first, count);
}

/// Bytes of a cache line.
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

/// What is added to two numbers at once.
#[derive(Clone, Copy)]
pub(crate) struct Term(u64);

impl Term {
    #[inline(always)]
    pub(crate) fn new([one, other]: [f32; 2]) -> Term {
        Term(u64::from(other.to_bits()) << 32 | u64::from(one.to_bits()))
    }

    #[inline(always)]
    pub(crate) fn add(self, sum: &mut [f32; 2]) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::*;
            // SAFETY: every machine has the instructions; there are two numbers.
            unsafe {
                let at = sum.as_mut_ptr().cast::<__m128i>();
                let both = _mm_add_ps(
                    _mm_castsi128_ps(_mm_loadl_epi64(at)),
                    _mm_castsi128_ps(_mm_cvtsi64_si128(self.0 as i64)),
                );
                _mm_storel_epi64(at, _mm_castps_si128(both));
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            sum[0] += f32::from_bits(self.0 as u32);
            sum[1] += f32::from_bits((self.0 >> 32) as u32);
        }
    }
}
