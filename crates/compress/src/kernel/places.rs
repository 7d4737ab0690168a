//! The places of sixteen chunks at once.
//!
//! Each lane of a vector does for one chunk what [`Path::step`] does, with its own state. What the lanes found lies step by step then:
//! it is put together chunk by chunk, turned into indices and sorted.
//!
//! [`Path::step`]: crate::codec::Path

#[allow(clippy::wildcard_imports, reason = "some fifty instructions")]
use std::arch::x86_64::*;
use std::mem::offset_of;

use crate::codec::{DISTANCE_BITS, Field, Ground, LANES, RAW_MAX, Stream, Walk};
use crate::kernel::Avx512;
use crate::kernel::wide::{LANE, load, numbers, refill, store};

/// Most values of a chunk, and most of its lines and of its columns.
const MOST: usize = 64;
/// More steps than a chunk of so many elements can take: one for each value; two for each of 36 fields, one that ends behind it
/// and one out of it; and one for each nine elements that are passed over.
const STEPS: usize = 640;
/// What a lane found in a step in which it found nothing.
const NONE: u32 = u32::MAX;

/// Reads the indices of a group of chunks, if they are such as this can read.
pub(crate) fn read(
    proof: Avx512,
    stream: &mut Stream<'_>,
    found: &mut Vec<[u32; LANE]>,
    (ground, walks, indices): (&Ground, &mut [Walk], &mut [u16]),
) -> bool {
    let small = |walk: &Walk| {
        let (lines, columns) = ground.sides(walk);
        walk.count.max(lines.sorted.len()).max(columns.sorted.len()) <= MOST
    };
    let narrow = ground.low + 1 + DISTANCE_BITS <= RAW_MAX;
    if walks.len() < LANE / 2 || !narrow || !walks.iter().all(small) {
        return false;
    }
    let vectors = walks.len().div_ceil(LANE);
    // SAFETY: the value proves that the machine has the instructions; the chunks are small.
    unsafe {
        match vectors {
            1 => take::<1>(proof, stream, found, (ground, walks)),
            _ => take::<{ LANES / LANE }>(proof, stream, found, (ground, walks)),
        }
        let mut lists = [[NONE; MOST + LANE]; LANE];
        for (vector, walks) in walks.chunks_mut(LANE).enumerate() {
            let counts = collect(&found[vector..], vectors, &mut lists);
            for ((walk, list), count) in walks.iter_mut().zip(&lists).zip(counts) {
                walk.fault |= count != walk.count;
                let out = &mut indices[walk.values()];
                put((ground, walk), &list.as_chunks().0[0], out);
            }
        }
    }
    true
}

/// The table of distances in registers, and the bits of a place in a unit.
struct Table {
    slots: [__m512i; 4],
    low: __m512i,
}

/// Sixteen chunks on their way.
#[derive(Clone, Copy)]
struct Sixteen {
    states: __m512i,
    /// The field, and the number of its next element.
    field: __m512i,
    rank: __m512i,
    /// The field behind it, which is there before anybody waits for it; where it lies behind the first walk, and where the last one lies.
    next: __m512i,
    at: __m512i,
    last: __m512i,
    /// How many values are still to be found.
    left: __m512i,
    /// Whether the next element has a value.
    pending: __mmask16,
}

/// Takes steps until all values are found.
///
/// # Safety
/// There must be at most `V` vectors of walks, of small chunks.
#[target_feature(enable = "avx512f,avx512bw,popcnt")]
unsafe fn take<const V: usize>(
    _: Avx512,
    stream: &mut Stream<'_>,
    found: &mut Vec<[u32; LANE]>,
    (ground, walks): (&Ground, &[Walk]),
) {
    let fields = walks.as_ptr().cast::<i32>();
    // SAFETY: a table has 64 slots.
    let slots = std::array::from_fn(|quarter| unsafe {
        _mm512_loadu_si512(ground.distances.by_slot.as_ptr().add(LANE * quarter).cast())
    });
    let table = Table { slots, low: _mm512_set1_epi32(ground.low as i32) };
    // SAFETY: as the caller guarantees.
    let mut all = std::array::from_fn::<_, V, _>(|vector| unsafe { begin(stream, walks, vector) });
    found.clear();
    while found.len() < V * STEPS {
        let mut open = 0;
        for sixteen in &mut all {
            open |= _mm512_test_epi32_mask(sixteen.left, sixteen.left);
        }
        if open == 0 {
            break;
        }
        for sixteen in &mut all {
            // SAFETY: each lane stands in a field of its walk, at last in the one behind all others.
            found.push(numbers(unsafe { step(sixteen, &table, stream, fields) }));
        }
    }
    found.resize(found.len().next_multiple_of(V * LANE), [NONE; LANE]);
    for (vector, sixteen) in all.iter().enumerate() {
        store(stream, vector, sixteen.states);
    }
}

/// # Safety
/// There must be lanes of the vector.
#[target_feature(enable = "avx512f,avx512bw,popcnt")]
#[inline]
unsafe fn begin(stream: &Stream<'_>, walks: &[Walk], vector: usize) -> Sixteen {
    const WALK: usize = size_of::<Walk>() / size_of::<u32>();
    const FIELDS: usize = offset_of!(Walk, fields) / size_of::<u32>();
    let (mut field, mut next, mut at, mut last, mut left) = ([0; LANE], [0; LANE], [0; LANE], [0; LANE], [0; LANE]);
    for (lane, (number, walk)) in walks.iter().enumerate().skip(LANE * vector).take(LANE).enumerate() {
        (field[lane], next[lane], left[lane]) = (walk.fields[0].0, walk.fields[1].0, walk.count as u32);
        at[lane] = (number * WALK + FIELDS + 1) as u32;
        last[lane] = (number * WALK + FIELDS + walk.used) as u32;
    }
    let vector_of = |numbers: &[u32; LANE]| {
        // SAFETY: there are sixteen.
        unsafe { _mm512_loadu_si512(numbers.as_ptr().cast()) }
    };
    Sixteen {
        states: load(stream, vector),
        field: vector_of(&field),
        next: vector_of(&next),
        last: vector_of(&last),
        at: vector_of(&at),
        rank: _mm512_setzero_si512(),
        left: vector_of(&left),
        pending: 0,
    }
}

/// A step of each lane that has values left. Returns what was found: the number of an element and the classes of its field.
///
/// # Safety
/// The lanes must stand in fields behind `fields`.
#[target_feature(enable = "avx512f,avx512bw,popcnt")]
#[inline]
unsafe fn step(all: &mut Sixteen, table: &Table, stream: &mut Stream<'_>, fields: *const i32) -> __m512i {
    let number = |number: u32| _mm512_set1_epi32(number as i32);
    let Sixteen { states, field, rank, next, at, last, left, pending } = *all;
    let open = _mm512_test_epi32_mask(left, left);
    let (len, octaves) = (len(field), octaves(field));
    let inside = _mm512_mask_cmplt_epu32_mask(open, rank, len);
    let behind = open & !inside;
    // Inside a field: the slot's segment.
    let slot = {
        let [a, b, c, d] = table.slots;
        let (lower, upper) = (_mm512_permutex2var_epi32(a, states, b), _mm512_permutex2var_epi32(c, states, d));
        _mm512_mask_blend_epi32(_mm512_test_epi32_mask(states, number(32)), lower, upper)
    };
    let share = _mm512_and_si512(slot, number(0x3f));
    let above = _mm512_and_si512(_mm512_srli_epi32::<6>(slot), number(0x3f));
    let base = _mm512_and_si512(_mm512_srli_epi32::<12>(slot), number(0x1f));
    let double = _mm512_and_si512(_mm512_srli_epi32::<17>(slot), number(1));
    let skip = _mm512_test_epi32_mask(slot, number(1 << 18));
    let whole = _mm512_mullo_epi32(share, _mm512_srli_epi32::<DISTANCE_BITS>(states));
    let states = _mm512_mask_add_epi32(states, inside, whole, above);
    let pending = (inside & !skip) | (behind & pending);
    // Behind it: the next field. Nobody goes on behind the last.
    let field = _mm512_mask_blend_epi32(behind, field, next);
    let at = _mm512_min_epu32(_mm512_mask_add_epi32(at, behind, at, number(1)), last);
    // SAFETY: as the caller guarantees.
    let next = unsafe { _mm512_mask_i32gather_epi32::<4>(next, behind, at, fields) };
    // The bits that follow.
    let unit = _mm512_sub_epi32(table.low, octaves);
    let finer = _mm512_sub_epi32(octaves, self::octaves(field));
    let width = _mm512_mask_blend_epi32(behind, _mm512_add_epi32(unit, double), finer);
    let width = _mm512_maskz_mov_epi32(pending, width);
    let raw = _mm512_andnot_si512(_mm512_sllv_epi32(number(u32::MAX), width), states);
    let states = refill(_mm512_srlv_epi32(states, width), open, stream);
    let ahead = _mm512_add_epi32(rank, _mm512_sllv_epi32(base, unit));
    let rest = _mm512_sllv_epi32(_mm512_sub_epi32(rank, len), finer);
    let rank = _mm512_add_epi32(_mm512_mask_blend_epi32(behind, ahead, rest), raw);
    let found = _mm512_mask_cmplt_epu32_mask(pending, rank, self::len(field));
    *all = Sixteen {
        states,
        field,
        next,
        at,
        last,
        rank: _mm512_mask_add_epi32(rank, found, rank, number(1)),
        left: _mm512_mask_sub_epi32(left, found, left, number(1)),
        pending: pending & !found,
    };
    let classes = _mm512_and_si512(field, number(Field::CLASSES));
    _mm512_mask_blend_epi32(found, number(NONE), _mm512_or_si512(rank, classes))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn len(field: __m512i) -> __m512i {
    _mm512_and_si512(field, _mm512_set1_epi32(Field::LEN as i32))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn octaves(field: __m512i) -> __m512i {
    _mm512_and_si512(_mm512_srli_epi32::<{ Field::OCTAVES }>(field), _mm512_set1_epi32(0xf))
}

/// What each lane found, one thing after the other.
type Lists = [[u32; MOST + LANE]; LANE];

/// Puts what the lanes of a vector found together: of the steps of all vectors in turn, those of one. No lane must have found more than
/// there is room for. Returns how many each has.
#[target_feature(enable = "avx512f,popcnt")]
fn collect(found: &[[u32; LANE]], vectors: usize, lists: &mut Lists) -> [usize; LANE] {
    let mut counts = [0; LANE];
    for found in found.chunks(vectors * LANE) {
        let mut steps = [_mm512_setzero_si512(); LANE];
        for (step, numbers) in steps.iter_mut().zip(found.iter().step_by(vectors)) {
            // SAFETY: there are sixteen.
            *step = unsafe { _mm512_loadu_si512(numbers.as_ptr().cast()) };
        }
        let lanes = transpose(steps);
        for ((list, count), these) in lists.iter_mut().zip(&mut counts).zip(lanes) {
            let some = _mm512_cmpneq_epi32_mask(these, _mm512_set1_epi32(NONE as i32));
            let slots: &mut [u32] = &mut list[*count..*count + LANE];
            // SAFETY: there is room for sixteen.
            unsafe { _mm512_storeu_si512(slots.as_mut_ptr().cast(), _mm512_maskz_compress_epi32(some, these)) };
            *count += some.count_ones() as usize;
        }
    }
    counts
}

/// Exchanges rows and columns: in each of four rounds the blocks beside the diagonal, of twice the size.
#[target_feature(enable = "avx512f")]
#[inline]
fn transpose(mut rows: [__m512i; LANE]) -> [__m512i; LANE] {
    for round in 0..4 {
        let size = 1 << round;
        let (mut lower, mut upper) = ([0_u32; LANE], [0_u32; LANE]);
        for place in 0..LANE {
            let second = if place & size != 0 { LANE } else { 0 };
            lower[place] = (second | place & !size) as u32;
            upper[place] = (second | place | size) as u32;
        }
        // SAFETY: both have sixteen.
        let (lower, upper) =
            unsafe { (_mm512_loadu_si512(lower.as_ptr().cast()), _mm512_loadu_si512(upper.as_ptr().cast())) };
        for row in (0..LANE).filter(|row| row & size == 0) {
            let (one, two) = (rows[row], rows[row | size]);
            rows[row] = _mm512_permutex2var_epi32(one, lower, two);
            rows[row | size] = _mm512_permutex2var_epi32(one, upper, two);
        }
    }
    rows
}

/// Turns what was found in a chunk into its indices, in order.
#[target_feature(enable = "avx512f,avx512bw")]
fn put((ground, walk): (&Ground, &mut Walk), found: &[u32; MOST], out: &mut [u16]) {
    let chunk = Chunk::new(ground, walk);
    let mut halves = [_mm512_setzero_si512(); 2];
    for (quarter, found) in found.as_chunks::<LANE>().0.iter().enumerate() {
        let valid = ((1_u32 << walk.count.saturating_sub(LANE * quarter).min(LANE)) - 1) as __mmask16;
        // SAFETY: there are sixteen.
        let (indices, wrong) = chunk.indices(unsafe { _mm512_loadu_si512(found.as_ptr().cast()) }, valid);
        walk.fault |= wrong;
        let half = &mut halves[quarter / 2];
        *half = match quarter % 2 {
            0 => _mm512_zextsi256_si512(indices),
            _ => _mm512_inserti64x4::<1>(*half, indices),
        };
    }
    let mut sorted = [0; MOST];
    let [one, two] = sort(halves);
    // SAFETY: 64 numbers fit.
    unsafe {
        _mm512_storeu_si512(sorted.as_mut_ptr().cast(), one);
        _mm512_storeu_si512(sorted[MOST / 2..].as_mut_ptr().cast(), two);
    }
    match out.as_chunks_mut() {
        ([out], []) => *out = sorted,
        _ => out.copy_from_slice(&sorted[..out.len()]),
    }
}

/// What tells the index of an element from the number and the classes.
struct Chunk {
    /// By class: the first of the sorted lines or columns, how many columns, one over that.
    line_starts: __m512i,
    column_starts: __m512i,
    columns: __m512i,
    reciprocals: __m512,
    /// Sorted lines and columns.
    line: [__m512i; 2],
    column: [__m512i; 2],
    length: __m512i,
    elements: __m512i,
}

impl Chunk {
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn new(ground: &Ground, walk: &Walk) -> Chunk {
        let (lines, columns) = ground.sides(walk);
        let starts = |starts: &[u16; 8]| {
            // SAFETY: there are eight; what is above them is not used.
            _mm512_cvtepu16_epi32(_mm256_zextsi128_si256(unsafe { _mm_loadu_si128(starts.as_ptr().cast()) }))
        };
        let column_starts = starts(columns.starts);
        let ends =
            _mm512_permutexvar_epi32(_mm512_setr_epi32(1, 2, 3, 4, 5, 6, 7, 7, 8, 8, 8, 8, 8, 8, 8, 8), column_starts);
        let counts = _mm512_max_epi32(_mm512_sub_epi32(ends, column_starts), _mm512_set1_epi32(1));
        let sorted = |members: &[u16]| {
            let half = |members: &[u16]| {
                let mask = ((1_u64 << members.len().min(32)) - 1) as __mmask32;
                // SAFETY: only members are read.
                unsafe { _mm512_maskz_loadu_epi16(mask, members.as_ptr().cast()) }
            };
            let (one, two) = members.split_at(members.len().min(32));
            [half(one), half(two)]
        };
        Chunk {
            line_starts: starts(lines.starts),
            column_starts,
            columns: counts,
            // A little more than that, so that no quotient is taken for one less.
            reciprocals: _mm512_div_ps(_mm512_set1_ps(1.0 + f32::EPSILON * 2.0), _mm512_cvtepi32_ps(counts)),
            line: sorted(lines.sorted),
            column: sorted(columns.sorted),
            length: _mm512_set1_epi32(walk.cut.length as i32),
            elements: _mm512_set1_epi32(walk.cut.elements as i32),
        }
    }

    /// The indices of elements, `u16::MAX` for those that are not valid, and whether one is none of the chunk.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn indices(&self, found: __m512i, valid: __mmask16) -> (__m256i, bool) {
        let number = _mm512_set1_epi32;
        let line_class = _mm512_and_si512(_mm512_srli_epi32::<{ Field::LINE }>(found), number(7));
        let column_class = _mm512_and_si512(_mm512_srli_epi32::<{ Field::COLUMN }>(found), number(7));
        let rank = len(found);
        let quotient = _mm512_mul_ps(_mm512_cvtepi32_ps(rank), _mm512_permutexvar_ps(column_class, self.reciprocals));
        let row = _mm512_cvttps_epi32(quotient);
        let columns = _mm512_permutexvar_epi32(column_class, self.columns);
        let column = _mm512_sub_epi32(rank, _mm512_mullo_epi32(row, columns));
        let member = |[one, two]: [__m512i; 2], starts, class, rank| {
            let place = _mm512_add_epi32(_mm512_permutexvar_epi32(class, starts), rank);
            _mm512_and_si512(_mm512_permutex2var_epi16(one, place, two), number(0xffff))
        };
        let line = member(self.line, self.line_starts, line_class, row);
        let column = member(self.column, self.column_starts, column_class, column);
        let index = _mm512_add_epi32(_mm512_mullo_epi32(line, self.length), column);
        // The field behind all others is of a class that does not exist.
        let nowhere = _mm512_cmpeq_epi32_mask(line_class, number(7));
        let wrong = (nowhere | _mm512_cmpge_epu32_mask(index, self.elements)) & valid;
        (_mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(valid, number(0xffff), index)), wrong != 0)
    }
}

/// Sorts 64 numbers by a bitonic network.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn sort([mut one, mut two]: [__m512i; 2]) -> [__m512i; 2] {
    for run in [2, 4, 8, 16] {
        (one, two) = (merge(one, run, 0), merge(two, run, 0));
    }
    // The second half falls, so that both together are one bitonic run.
    (one, two) = (merge(one, 32, 0), merge(two, 32, u32::MAX));
    let (lower, upper) = (_mm512_min_epu16(one, two), _mm512_max_epu16(one, two));
    [merge(lower, 32, 0), merge(upper, 32, 0)]
}

/// Sorts each run, every other one of which is to fall, or all of those that do not if `flip` is set everywhere.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn merge(mut numbers: __m512i, run: u32, flip: __mmask32) -> __m512i {
    let mut distance = run / 2;
    while distance > 0 {
        let other = match distance {
            1 => _mm512_rol_epi32::<16>(numbers),
            2 => _mm512_shuffle_epi32::<0b10_11_00_01>(numbers),
            4 => _mm512_shuffle_epi32::<0b01_00_11_10>(numbers),
            8 => _mm512_shuffle_i64x2::<0b10_11_00_01>(numbers, numbers),
            _ => _mm512_shuffle_i64x2::<0b01_00_11_10>(numbers, numbers),
        };
        let (less, more) = (_mm512_min_epu16(numbers, other), _mm512_max_epu16(numbers, other));
        numbers = _mm512_mask_blend_epi16(UPPER[run.ilog2() as usize][distance.ilog2() as usize] ^ flip, less, more);
        distance /= 2;
    }
    numbers
}

/// Which of 32 numbers are to be the larger of those at a distance, for the binary logarithms of a run and of the distance.
const UPPER: [[__mmask32; 5]; 6] = {
    let mut masks = [[0; 5]; 6];
    let (mut run, mut distance, mut place) = (0, 0, 0);
    while run < 6 {
        let (falls, upper) = (place >> run & 1 == 1, place >> distance & 1 == 1);
        if falls != upper {
            masks[run][distance] |= 1 << place;
        }
        place += 1;
        if place == 32 {
            (place, distance) = (0, distance + 1);
        }
        if distance == 5 {
            (distance, run) = (0, run + 1);
        }
    }
    masks
};
