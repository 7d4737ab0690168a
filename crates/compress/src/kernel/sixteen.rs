//! The places of sixteen chunks at once.

use std::arch::x86_64::*;

use crate::codec::{DISTANCE_BITS, Field, Ground, LANES, Stream, Walk, quotient};
use crate::kernel::Avx512;
use crate::kernel::places::{Begin, Found, List, MOST, NONE, Row, suits};
use crate::kernel::wide::{LANE, load, numbers, refill, store};

/// Reads the indices of a group of chunks, if they are such as this can read.
pub(crate) fn read(
    proof: Avx512,
    stream: &mut Stream<'_>,
    found: &mut Found,
    (ground, walks, indices): (&Ground, &mut [Walk], &mut [u16]),
) -> bool {
    if !suits(ground, walks) {
        return false;
    }
    let vectors = walks.len().div_ceil(LANE);
    // SAFETY: the value proves that the machine has the instructions; the chunks are small.
    unsafe {
        match vectors {
            1 => take::<1>(proof, stream, found, (ground, walks)),
            _ => take::<{ LANES / LANE }>(proof, stream, found, (ground, walks)),
        }
        put(ground, (found, vectors), (walks, indices));
    }
    true
}

/// Tells to which signs the elements of a group lean, if its chunks are such as this can read.
pub(crate) fn leans(_: Avx512, (ground, walks): (&Ground, &[Walk]), indices: &[u16], leans: &mut Vec<u8>) -> bool {
    let suits = suits(ground, walks);
    if suits {
        leans.resize(indices.len(), 0);
        for walk in walks {
            let (indices, leans) = (&indices[walk.values()], &mut leans[walk.values()]);
            // SAFETY: the value proves that the machine has the instructions.
            unsafe { lean(ground, walk, indices, leans) };
        }
    }
    suits
}

/// Fields that are looked up at once: a gather takes longer than many steps.
const AHEAD: usize = 4;

/// The table of distances in registers, and the bits of a place in a unit.
struct Table {
    slots: [__m512i; 4],
    low: __m512i,
}

/// Sixteen chunks on their way.
#[derive(Clone, Copy)]
struct Sixteen {
    states: __m512i,
    /// The field, and the number of its next element: of a lane that has no values left a negative one, which is neither in the field nor behind it.
    field: __m512i,
    rank: __m512i,
    /// Where the field behind it lies behind the first walk, and where the last one lies.
    at: __m512i,
    last: __m512i,
    /// One less than how many values are still to be found.
    left: __m512i,
    /// All bits if the next element has a value.
    pending: __m512i,
}

/// Takes steps until all values are found.
///
/// # Safety
/// There must be at most `V` vectors of walks, of small chunks.
#[target_feature(enable = "avx512f,avx512bw,popcnt")]
unsafe fn take<const V: usize>(
    _: Avx512,
    stream: &mut Stream<'_>,
    found: &mut Found,
    (ground, walks): (&Ground, &[Walk]),
) {
    let fields = walks.as_ptr().cast::<i32>();
    // SAFETY: a table has 64 slots.
    let slots = std::array::from_fn(|quarter| unsafe {
        _mm512_loadu_si512(ground.distances.by_slot.as_ptr().add(LANE * quarter).cast())
    });
    let table = Table { slots, low: _mm512_set1_epi32(ground.low as i32) };
    let mut all = std::array::from_fn::<_, V, _>(|vector| begin(stream, walks, vector));
    let (mut count, mut ahead) = (0, [[_mm512_setzero_si512(); AHEAD]; V]);
    for rows in found.room(V).chunks_exact_mut(AHEAD * V) {
        let mut open = 0;
        for (sixteen, ahead) in all.iter_mut().zip(&mut ahead) {
            sixteen.at = _mm512_min_epu32(sixteen.at, sixteen.last);
            open |= _mm512_cmpge_epi32_mask(sixteen.left, _mm512_setzero_si512());
            // SAFETY: each lane stands in a field of its walk, at last in the one behind all others, of which there are enough.
            *ahead = unsafe { fields_ahead(sixteen.at, fields) };
        }
        if open == 0 {
            break;
        }
        let mut rows = rows.iter_mut();
        turn::<V, 3>(&mut all, &mut ahead, (&table, stream), &mut rows);
        turn::<V, 2>(&mut all, &mut ahead, (&table, stream), &mut rows);
        turn::<V, 1>(&mut all, &mut ahead, (&table, stream), &mut rows);
        turn::<V, 0>(&mut all, &mut ahead, (&table, stream), &mut rows);
        count += AHEAD * V;
    }
    found.keep(count, V);
    for (vector, sixteen) in all.iter().enumerate() {
        store(stream, vector, sixteen.states);
    }
}

/// A step of all vectors, after which so many steps follow before fields are looked up again.
#[target_feature(enable = "avx512f,avx512bw,popcnt")]
#[inline]
fn turn<const V: usize, const REST: usize>(
    all: &mut [Sixteen; V],
    ahead: &mut [[__m512i; AHEAD]; V],
    (table, stream): (&Table, &mut Stream<'_>),
    rows: &mut std::slice::IterMut<'_, Row>,
) {
    for ((sixteen, ahead), row) in all.iter_mut().zip(ahead).zip(rows) {
        *row = numbers(step::<REST>(sixteen, ahead, table, stream));
    }
}

/// The fields of each lane from the next one on.
///
/// # Safety
/// There must be so many behind `fields`.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn fields_ahead(at: __m512i, fields: *const i32) -> [__m512i; AHEAD] {
    let at = numbers(at);
    let mut all = [_mm512_setzero_si512(); AHEAD];
    for (lane, all) in all.iter_mut().enumerate() {
        // SAFETY: as the caller guarantees.
        let [a, b, c, d] =
            unsafe { [0, 4, 8, 12].map(|quarter| _mm_loadu_si128(fields.add(at[quarter + lane] as usize).cast())) };
        let lower = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(a), b);
        *all = _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(lower, c), d);
    }
    let [a, b, c, d] = all;
    let (lower, upper) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (lower_2, upper_2) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(lower, lower_2),
        _mm512_unpackhi_epi64(lower, lower_2),
        _mm512_unpacklo_epi64(upper, upper_2),
        _mm512_unpackhi_epi64(upper, upper_2),
    ]
}

#[target_feature(enable = "avx512f")]
#[inline]
fn begin(stream: &Stream<'_>, walks: &[Walk], vector: usize) -> Sixteen {
    let Begin { field, at, last, left, .. } = Begin::new(walks, vector);
    let vector_of = |numbers: [u32; LANE]| {
        // SAFETY: there are sixteen.
        unsafe { _mm512_loadu_si512(numbers.as_ptr().cast()) }
    };
    let left = _mm512_sub_epi32(vector_of(left), number(1));
    Sixteen {
        states: load(stream, vector),
        field: vector_of(field),
        rank: closed(_mm512_setzero_si512(), left),
        at: vector_of(at),
        last: vector_of(last),
        left,
        pending: _mm512_setzero_si512(),
    }
}

/// A step of each lane that has values left. Returns what was found: the number of an element and the classes of its field.
#[target_feature(enable = "avx512f,avx512bw,popcnt")]
#[inline]
fn step<const REST: usize>(
    all: &mut Sixteen,
    ahead: &mut [__m512i; AHEAD],
    table: &Table,
    stream: &mut Stream<'_>,
) -> __m512i {
    let number = |number: u32| _mm512_set1_epi32(number as i32);
    let Sixteen { states, field, rank, at, last, left, pending } = *all;
    let (len, octaves) = (len(field), octaves(field));
    let (inside, behind) = (_mm512_cmplt_epu32_mask(rank, len), _mm512_cmpge_epi32_mask(rank, len));
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
    let whole = _mm512_mullo_epi32(share, _mm512_srli_epi32::<DISTANCE_BITS>(states));
    let states = _mm512_mask_add_epi32(states, inside, whole, above);
    let pending = _mm512_mask_srai_epi32::<31>(pending, inside, slot);
    // Behind it: the next field. Nobody goes on behind the last.
    let field = _mm512_mask_blend_epi32(behind, field, ahead[0]);
    for place in 0..REST {
        ahead[place] = _mm512_mask_blend_epi32(behind, ahead[place], ahead[place + 1]);
    }
    let at = _mm512_mask_add_epi32(at, behind, at, number(1));
    // The bits that follow.
    let unit = _mm512_sub_epi32(table.low, octaves);
    let finer = _mm512_sub_epi32(octaves, self::octaves(field));
    let width = _mm512_mask_blend_epi32(behind, _mm512_add_epi32(unit, double), finer);
    let width = _mm512_and_si512(pending, width);
    let shifted = _mm512_srlv_epi32(states, width);
    // Rotations are shifts here, and come as one instruction.
    let raw = _mm512_sub_epi32(states, _mm512_rolv_epi32(shifted, width));
    let states = refill(shifted, u16::MAX, stream);
    let further = _mm512_add_epi32(rank, _mm512_rolv_epi32(base, unit));
    let rest = _mm512_rolv_epi32(_mm512_sub_epi32(rank, len), finer);
    let rank = _mm512_add_epi32(_mm512_mask_blend_epi32(behind, further, rest), raw);
    let nowhere = _mm512_andnot_si512(pending, number(u32::MAX));
    let found = _mm512_cmplt_epu32_mask(_mm512_or_si512(rank, nowhere), self::len(field));
    let left = _mm512_mask_sub_epi32(left, found, left, number(1));
    *all = Sixteen {
        states,
        field,
        at,
        last,
        rank: closed(_mm512_mask_add_epi32(rank, found, rank, number(1)), left),
        left,
        pending: _mm512_mask_mov_epi32(pending, found, _mm512_setzero_si512()),
    };
    // Nothing is `NONE`.
    _mm512_maskz_or_epi32(found, rank, _mm512_and_si512(field, number(Field::OF_ELEMENT)))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn number(number: u32) -> __m512i {
    _mm512_set1_epi32(number as i32)
}

/// Ranks, negative where nothing is left.
#[target_feature(enable = "avx512f")]
#[inline]
fn closed(rank: __m512i, left: __m512i) -> __m512i {
    _mm512_or_si512(rank, _mm512_and_si512(left, number(1 << 31)))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn len(field: __m512i) -> __m512i {
    _mm512_and_si512(field, _mm512_set1_epi32(Field::LEN as i32))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn octaves(field: __m512i) -> __m512i {
    _mm512_srli_epi32::<{ Field::OCTAVES }>(field)
}

/// Puts what each lane of a vector found together, and tells how much it is. No lane must have found more than there is room for.
#[target_feature(enable = "avx512f,popcnt")]
fn collect(found: &[Row], vectors: usize, lists: &mut [List]) -> [usize; LANE] {
    let mut counts = [0; LANE];
    for steps in found.chunks(vectors * LANE) {
        // SAFETY: there are sixteen.
        let rows = std::array::from_fn(|step| unsafe { _mm512_loadu_si512(steps[step * vectors].as_ptr().cast()) });
        for ((these, list), count) in transposed(rows).into_iter().zip(&mut *lists).zip(&mut counts) {
            let some = _mm512_test_epi32_mask(these, these);
            let room: &mut [u32] = &mut list[*count..*count + LANE];
            // SAFETY: there is room for sixteen.
            unsafe { _mm512_storeu_si512(room.as_mut_ptr().cast(), _mm512_maskz_compress_epi32(some, these)) };
            *count += some.count_ones() as usize;
        }
    }
    counts
}

/// Columns as rows.
#[target_feature(enable = "avx512f")]
#[inline]
fn transposed(rows: [__m512i; LANE]) -> [__m512i; LANE] {
    let mut all = rows;
    for (pair, of) in all.as_chunks_mut::<2>().0.iter_mut().zip(rows.as_chunks::<2>().0) {
        *pair = [_mm512_unpacklo_epi32(of[0], of[1]), _mm512_unpackhi_epi32(of[0], of[1])];
    }
    for four in all.as_chunks_mut::<4>().0 {
        let [a, b, c, d] = *four;
        let (low, high) = (_mm512_unpacklo_epi64(a, c), _mm512_unpackhi_epi64(a, c));
        *four = [low, high, _mm512_unpacklo_epi64(b, d), _mm512_unpackhi_epi64(b, d)];
    }
    // A quarter of vector `4 a + b` has column `4 * quarter + b` of rows `4 a` to `4 a + 3` now.
    let even = |a, b| _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b);
    let odd = |a, b| _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b);
    let mut columns = all;
    for b in 0..4 {
        let [one, two, three, four] = [all[b], all[4 + b], all[8 + b], all[12 + b]];
        let (lower, upper) = ([even(one, two), odd(one, two)], [even(three, four), odd(three, four)]);
        columns[b] = even(lower[0], upper[0]);
        columns[4 + b] = even(lower[1], upper[1]);
        columns[8 + b] = odd(lower[0], upper[0]);
        columns[12 + b] = odd(lower[1], upper[1]);
    }
    columns
}

/// Turns what was found into the indices of all chunks, in order. What takes long to wait for is done for all chunks before what follows.
#[target_feature(enable = "avx512f,avx512bw,popcnt")]
fn put(ground: &Ground, (found, vectors): (&mut Found, usize), (walks, indices): (&mut [Walk], &mut [u16])) {
    let (rows, lists) = found.parts();
    for (vector, (walks, lists)) in walks.chunks_mut(LANE).zip(lists.chunks_mut(LANE)).enumerate() {
        let counts = collect(&rows[vector..], vectors, lists);
        for ((walk, list), count) in walks.iter_mut().zip(lists).zip(counts) {
            walk.fault |= count != walk.count;
            list[count..].fill(NONE);
        }
    }
    let mut all = [[_mm512_setzero_si512(); 2]; LANES];
    for ((walk, list), halves) in walks.iter_mut().zip(&*lists).zip(&mut all) {
        let chunk = Chunk::new(ground, walk);
        for (half, found) in halves.iter_mut().zip(list.as_chunks().0) {
            let (indices, sound) = chunk.indices(found);
            *half = indices;
            walk.fault |= !sound;
        }
    }
    for (walk, halves) in walks.iter().zip(all) {
        let (out, mut sorted) = (&mut indices[walk.values()], [0; MOST]);
        for (half, sorted) in sort(halves).into_iter().zip(sorted.as_chunks_mut::<{ 2 * LANE }>().0) {
            // SAFETY: there is room for 32.
            unsafe { _mm512_storeu_si512(sorted.as_mut_ptr().cast(), half) };
        }
        match out.as_chunks_mut() {
            ([out], []) => *out = sorted,
            _ => out.copy_from_slice(&sorted[..out.len()]),
        }
    }
}

/// What tells the index of an element from the number and the classes.
struct Chunk {
    /// By class: the first of the sorted lines or columns, how many columns, and `2^16` divided by that.
    line_starts: __m512i,
    column_starts: __m512i,
    columns: __m512i,
    quotients: __m512i,
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
        let eight = |numbers: &[u16; 8]| {
            // SAFETY: there are eight; no class is above them.
            _mm512_castsi128_si512(unsafe { _mm_loadu_si128(numbers.as_ptr().cast()) })
        };
        Chunk {
            line_starts: eight(&lines.classes.starts),
            column_starts: eight(&columns.classes.starts),
            columns: eight(&columns.classes.counts),
            quotients: eight(&columns.classes.quotients),
            line: two(lines.sorted),
            column: two(columns.sorted),
            length: _mm512_set1_epi16(walk.cut.length as i16),
            elements: _mm512_set1_epi16(walk.cut.elements as i16),
        }
    }

    /// The indices of 32 elements, `u16::MAX` where there is none, and whether all are of the chunk.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn indices(&self, found: &[u32; 2 * LANE]) -> (__m512i, bool) {
        // SAFETY: there are twice sixteen.
        let (one, two) =
            unsafe { (_mm512_loadu_si512(found.as_ptr().cast()), _mm512_loadu_si512(found[LANE..].as_ptr().cast())) };
        // In whatever order, since indices are sorted later.
        let number = _mm512_packus_epi32(lower(one), lower(two));
        let classes = _mm512_packus_epi32(_mm512_srli_epi32::<16>(one), _mm512_srli_epi32::<16>(two));
        let class =
            |shift| _mm512_and_si512(_mm512_srlv_epi16(classes, _mm512_set1_epi16(shift)), _mm512_set1_epi16(7));
        let (line_class, column_class) = (class((Field::LINE - 16) as i16), class((Field::COLUMN - 16) as i16));
        let of = |class, table| _mm512_permutexvar_epi16(class, table);
        // The row, or one less, and what is left of the number.
        let columns = of(column_class, self.columns);
        let row = _mm512_mulhi_epu16(number, of(column_class, self.quotients));
        let rest = _mm512_sub_epi16(number, _mm512_mullo_epi16(row, columns));
        let more = _mm512_cmpge_epu16_mask(rest, columns);
        let row = _mm512_mask_add_epi16(row, more, row, _mm512_set1_epi16(1));
        let rest = _mm512_mask_sub_epi16(rest, more, rest, columns);
        let member =
            |[one, two]: [__m512i; 2], start, rank| _mm512_permutex2var_epi16(one, _mm512_add_epi16(start, rank), two);
        let line = member(self.line, of(line_class, self.line_starts), row);
        let column = member(self.column, of(column_class, self.column_starts), rest);
        let index = _mm512_add_epi16(_mm512_mullo_epi16(line, self.length), column);
        let none = _mm512_testn_epi16_mask(classes, classes);
        // The field behind all others is of a class that does not exist.
        let nowhere =
            _mm512_cmpeq_epi16_mask(line_class, _mm512_set1_epi16(7)) | _mm512_cmpge_epu16_mask(index, self.elements);
        (_mm512_mask_blend_epi16(none, index, _mm512_set1_epi16(-1)), nowhere & !none == 0)
    }
}

/// The lower halves of numbers.
#[target_feature(enable = "avx512f")]
#[inline]
fn lower(numbers: __m512i) -> __m512i {
    _mm512_and_si512(numbers, _mm512_set1_epi32(0xffff))
}

/// As many as 64 numbers, and zeros.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn two(numbers: &[u16]) -> [__m512i; 2] {
    let half = |numbers: &[u16]| {
        let mask = ((1_u64 << numbers.len().min(2 * LANE)) - 1) as __mmask32;
        // SAFETY: only so many are read.
        unsafe { _mm512_maskz_loadu_epi16(mask, numbers.as_ptr().cast()) }
    };
    let (one, two) = numbers.split_at(numbers.len().min(2 * LANE));
    [half(one), half(two)]
}

/// Bytes as many as 64, widened, and zeros.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn two_of_bytes(bytes: &[u8]) -> [__m512i; 2] {
    let mask = u64::MAX.checked_shr(MOST as u32 - bytes.len().min(MOST) as u32).unwrap_or(0);
    // SAFETY: only so many are read.
    let bytes = unsafe { _mm512_maskz_loadu_epi8(mask, bytes.as_ptr().cast()) };
    let half = |bytes| _mm512_cvtepu8_epi16(bytes);
    [half(_mm512_castsi512_si256(bytes)), half(_mm512_extracti64x4_epi64::<1>(bytes))]
}

/// What [`Walk::lean`] says of each element.
#[target_feature(enable = "avx512f,avx512bw")]
fn lean(ground: &Ground, walk: &Walk, indices: &[u16], leans: &mut [u8]) {
    let ((lines, columns), length) = (ground.sides(walk), walk.cut.length);
    let (of_lines, of_columns) = (two_of_bytes(lines.leans), two_of_bytes(columns.leans));
    let (wide, reciprocal) = (_mm512_set1_epi16(length as i16), _mm512_set1_epi16(quotient(length as u16) as i16));
    let mut all = [0; MOST];
    for (indices, all) in two(indices).into_iter().zip(all.as_chunks_mut::<{ 2 * LANE }>().0) {
        let line = _mm512_mulhi_epu16(indices, reciprocal);
        let rest = _mm512_sub_epi16(indices, _mm512_mullo_epi16(line, wide));
        let more = _mm512_cmpge_epu16_mask(rest, wide);
        let line = _mm512_mask_add_epi16(line, more, line, _mm512_set1_epi16(1));
        let column = _mm512_mask_sub_epi16(rest, more, rest, wide);
        let one = _mm512_permutex2var_epi16(of_lines[0], line, of_lines[1]);
        let other = _mm512_permutex2var_epi16(of_columns[0], column, of_columns[1]);
        // A leaning counts only where there are two.
        let both = _mm512_and_si512(_mm512_and_si512(one, other), _mm512_set1_epi16(1));
        let sign = _mm512_and_si512(_mm512_xor_si512(one, other), _mm512_slli_epi16::<1>(both));
        let lean = _mm512_cvtepi16_epi8(_mm512_or_si512(both, sign));
        // SAFETY: there is room for 32.
        unsafe { _mm256_storeu_si256(all.as_mut_ptr().cast(), lean) };
    }
    leans.copy_from_slice(&all[..leans.len()]);
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
