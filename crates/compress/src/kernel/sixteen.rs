//! The places of sixteen chunks at once.

use std::arch::x86_64::*;

use crate::codec::{DISTANCE_BITS, Field, Ground, LANES, Round, Stream, Walk};
use crate::kernel::arrange::put;
use crate::kernel::found::{Begin, Found, Row};
use crate::kernel::places::suits;
use crate::kernel::tables::LANE;
use crate::kernel::wide::{load, numbers, refill, store};
use crate::kernel::{Avx512, Level};

/// A group of chunks, of which the indices are to be read from a stream.
pub(crate) struct Task<'a, 'b> {
    pub(crate) stream: &'a mut Stream<'b>,
    pub(crate) found: &'a mut Found,
    pub(crate) ground: &'a Ground,
    pub(crate) walks: &'a mut [Walk],
    pub(crate) indices: &'a mut [u16],
}

/// Vectors of a group of all states.
const ALL: usize = LANES / LANE;

impl Task<'_, '_> {
    /// Reads the indices, if the chunks are such as this can read.
    pub(crate) fn read(mut self, proof: Avx512) -> bool {
        let suits = suits(self.ground, self.walks);
        if suits {
            self.lay(proof);
            // SAFETY: the value proves that the machine has the instructions; the chunks are small.
            unsafe {
                match self.vectors() {
                    1 => take::<1>(&mut self),
                    _ => take::<ALL>(&mut self),
                }
                self.put(proof);
            }
        }
        suits
    }

    /// Reads the indices of two groups, each of which has the machine while the other waits for it; if both are such as this can read.
    pub(crate) fn read_two(proof: Avx512, [mut one, mut other]: [Task<'_, '_>; 2]) -> bool {
        let suits = suits(one.ground, one.walks) && suits(other.ground, other.walks);
        if suits {
            one.lay(proof);
            other.lay(proof);
            // SAFETY: as above.
            unsafe {
                match (one.vectors(), other.vectors()) {
                    (1, 1) => take_two::<1, 1>(&mut one, &mut other),
                    (1, _) => take_two::<1, ALL>(&mut one, &mut other),
                    (_, 1) => take_two::<1, ALL>(&mut other, &mut one),
                    _ => take_two::<ALL, ALL>(&mut one, &mut other),
                }
                one.put(proof);
                other.put(proof);
            }
        }
        suits
    }

    fn lay(&mut self, proof: Avx512) {
        self.walks.iter_mut().for_each(|walk| self.ground.lay(walk, Level::Avx512(proof)));
    }

    fn vectors(&self) -> usize {
        self.walks.len().div_ceil(LANE)
    }

    #[target_feature(enable = "avx512f,avx512bw,popcnt")]
    fn put(&mut self, proof: Avx512) {
        put(proof, self.ground, (self.found, self.walks.len().div_ceil(LANE)), (self.walks, self.indices));
    }
}

/// Fields that are looked up at once: a gather takes longer than many steps.
const AHEAD: usize = 4;

/// The first of three numbers, or what the others have in common.
const OR_AND: i32 = 0b1111_1000;

/// The table of distances in registers, and the bits of a place in a unit.
struct Table {
    slots: [__m512i; 4],
    low: __m512i,
}

/// Sixteen chunks on their way.
#[derive(Clone, Copy)]
struct Sixteen {
    states: __m512i,
    /// The field, and the number of its next element: of a lane that has no values left one whose upper bit is set, behind all fields.
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

/// A group on its way.
struct Lanes<const V: usize> {
    all: [Sixteen; V],
    ahead: [[__m512i; AHEAD]; V],
    table: Table,
    fields: *const i32,
}

/// Takes steps until all values are found.
///
/// # Safety
/// There must be at most `V` vectors of walks, of small chunks.
#[target_feature(enable = "avx512f,avx512bw,popcnt")]
unsafe fn take<const V: usize>(task: &mut Task<'_, '_>) {
    let (mut lanes, mut count) = (Lanes::<V>::new(task), 0);
    for rows in turns::<V>(task.found.room(V)) {
        if !lanes.look_ahead() {
            break;
        }
        lanes.turn::<3>(task.stream, &mut rows[0]);
        lanes.turn::<2>(task.stream, &mut rows[1]);
        lanes.turn::<1>(task.stream, &mut rows[2]);
        lanes.turn::<0>(task.stream, &mut rows[3]);
        count += AHEAD * V;
    }
    lanes.end(task, count);
}

/// The same for two groups.
///
/// # Safety
/// As for [`take`], of each.
#[target_feature(enable = "avx512f,avx512bw,popcnt")]
unsafe fn take_two<const A: usize, const B: usize>(one: &mut Task<'_, '_>, other: &mut Task<'_, '_>) {
    let (mut a, mut b, mut count) = (Lanes::<A>::new(one), Lanes::<B>::new(other), 0);
    let rows = turns::<A>(one.found.room(A)).iter_mut();
    for (rows, other_rows) in rows.zip(turns::<B>(other.found.room(B))) {
        if !(a.look_ahead() | b.look_ahead()) {
            break;
        }
        a.turn::<3>(one.stream, &mut rows[0]);
        b.turn::<3>(other.stream, &mut other_rows[0]);
        a.turn::<2>(one.stream, &mut rows[1]);
        b.turn::<2>(other.stream, &mut other_rows[1]);
        a.turn::<1>(one.stream, &mut rows[2]);
        b.turn::<1>(other.stream, &mut other_rows[2]);
        a.turn::<0>(one.stream, &mut rows[3]);
        b.turn::<0>(other.stream, &mut other_rows[3]);
        count += AHEAD;
    }
    a.end(one, A * count);
    b.end(other, B * count);
}

/// The rows of as many steps as follow each other without a look ahead.
fn turns<const V: usize>(rows: &mut [Row]) -> &mut [[[Row; V]; AHEAD]] {
    rows.as_chunks_mut().0.as_chunks_mut().0
}

impl<const V: usize> Lanes<V> {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn new(task: &Task<'_, '_>) -> Lanes<V> {
        // SAFETY: a table has 64 slots.
        let slots = std::array::from_fn(|quarter| unsafe {
            _mm512_loadu_si512(task.ground.distances.by_slot.as_ptr().add(LANE * quarter).cast())
        });
        Lanes {
            all: std::array::from_fn(|vector| begin(task.stream, task.walks, vector)),
            ahead: [[_mm512_setzero_si512(); AHEAD]; V],
            table: Table { slots, low: number(task.ground.low) },
            fields: task.walks.as_ptr().cast(),
        }
    }

    /// Looks up the next fields, and tells whether any lane has values left.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn look_ahead(&mut self) -> bool {
        let mut open = 0;
        for (sixteen, ahead) in self.all.iter_mut().zip(&mut self.ahead) {
            sixteen.at = _mm512_min_epu32(sixteen.at, sixteen.last);
            open |= _mm512_cmpge_epi32_mask(sixteen.left, _mm512_setzero_si512());
            // SAFETY: each lane stands in a field of its walk, at last in the one behind all others, of which there are enough.
            *ahead = unsafe { fields_ahead(sixteen.at, self.fields) };
        }
        open != 0
    }

    /// A step of all vectors, after which so many follow before fields are looked up again.
    #[target_feature(enable = "avx512f,avx512bw,popcnt")]
    #[inline]
    fn turn<const REST: usize>(&mut self, stream: &mut Stream<'_>, row: &mut [Row; V]) {
        let mut round = stream.round();
        for ((sixteen, ahead), row) in self.all.iter_mut().zip(&mut self.ahead).zip(row) {
            *row = numbers(step::<REST>(sixteen, ahead, &self.table, &mut round));
        }
        stream.next += round.used;
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn end(&self, task: &mut Task<'_, '_>, rows: usize) {
        task.found.keep(rows, V);
        for (vector, sixteen) in self.all.iter().enumerate() {
            store(task.stream, vector, sixteen.states);
        }
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
    round: &mut Round<'_>,
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
    // The bits that follow, and how far they lead: rotations are shifts here, and come as one instruction.
    let unit = _mm512_sub_epi32(table.low, octaves);
    let finer = _mm512_mask_sub_epi32(unit, behind, octaves, self::octaves(field));
    let width = _mm512_and_si512(pending, _mm512_mask_add_epi32(finer, inside, finer, double));
    let shifted = _mm512_srlv_epi32(states, width);
    let raw = _mm512_sub_epi32(states, _mm512_rolv_epi32(shifted, width));
    let states = refill(shifted, round);
    let further = _mm512_rolv_epi32(_mm512_mask_sub_epi32(base, behind, rank, len), finer);
    let rank = _mm512_add_epi32(_mm512_mask_add_epi32(further, inside, further, rank), raw);
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
    _mm512_maskz_ternarylogic_epi32::<OR_AND>(found, rank, field, number(Field::OF_ELEMENT))
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
