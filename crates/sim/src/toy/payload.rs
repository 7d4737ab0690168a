//! What a toy miner sends: the largest values of its pseudo-gradient, each with its index.
//!
//! Two magic bytes, the number of values, then for each value its index (one byte, strictly rising) and the value
//! (an `f32`, little-endian).

use pactum_protocol::Malformation;

use super::problem::DIMENSION;

const MAGIC: [u8; 2] = *b"T1";
const HEAD: usize = 3;
const VALUE: usize = 5;

/// The largest magnitude that a value may have.
const MAGNITUDE: f32 = 1e3;

/// A decoded payload: indices, strictly rising, and finite values.
#[derive(Clone, Debug, PartialEq)]
pub struct ToyUpdate(pub(crate) Vec<(u8, f32)>);

/// The bytes of a payload of `count` values.
pub(crate) fn payload_bytes(count: usize) -> usize {
    HEAD + VALUE * count
}

impl ToyUpdate {
    /// The `count` largest values of `dense`, of equal ones the first.
    pub(crate) fn top(dense: &[f32], count: usize) -> Self {
        let mut order: Vec<u8> = (0..=u8::MAX).take(dense.len().min(DIMENSION)).collect();
        let by_size = |a: &u8, b: &u8| {
            let size = |at: &u8| dense[usize::from(*at)].abs();
            size(b).total_cmp(&size(a)).then(a.cmp(b))
        };
        if count < order.len() {
            order.select_nth_unstable_by(count, by_size);
            order.truncate(count);
        }
        order.sort_unstable();
        Self(order.into_iter().map(|at| (at, dense[usize::from(at)])).collect())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(payload_bytes(self.0.len()));
        bytes.extend_from_slice(&MAGIC);
        bytes.push(u8::try_from(self.0.len()).unwrap_or(u8::MAX));
        for (at, value) in &self.0 {
            bytes.push(*at);
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    /// Reads exactly `count` values.
    pub(crate) fn decode(bytes: &[u8], count: usize) -> Result<Self, Malformation> {
        let require = |holds: bool, otherwise| if holds { Ok(()) } else { Err(otherwise) };
        let (head, values) = bytes.split_at_checked(HEAD).ok_or(Malformation::Truncated)?;
        require(head[..2] == MAGIC, Malformation::Header)?;
        require(usize::from(head[2]) == count, Malformation::Count)?;
        require(values.len() >= count * VALUE, Malformation::Truncated)?;
        require(values.len() == count * VALUE, Malformation::Trailing)?;
        let update: Vec<(u8, f32)> =
            values.chunks_exact(VALUE).map(|v| (v[0], f32::from_le_bytes([v[1], v[2], v[3], v[4]]))).collect();
        require(update.is_sorted_by(|a, b| a.0 < b.0), Malformation::Index)?;
        // The comparison is false for a value that is no number.
        require(update.iter().all(|(_, value)| value.abs() <= MAGNITUDE), Malformation::Scale)?;
        Ok(Self(update))
    }

    /// The share of the smaller update's indices that the other one also has, in 0..=1.
    pub(crate) fn overlap(&self, other: &Self) -> f64 {
        let (mut mine, mut theirs, mut common) = (0, 0, 0_u32);
        while let (Some((a, _)), Some((b, _))) = (self.0.get(mine), other.0.get(theirs)) {
            common += u32::from(a == b);
            mine += usize::from(a <= b);
            theirs += usize::from(b <= a);
        }
        let smaller = u32::try_from(self.0.len().min(other.0.len())).unwrap_or(u32::MAX);
        if smaller == 0 { 0.0 } else { f64::from(common) / f64::from(smaller) }
    }

    /// The Euclidean norm, summed in order of the indices.
    pub(crate) fn norm(&self) -> f64 {
        self.0.iter().map(|(_, value)| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt()
    }

    /// Adds `scale` times this to `dense`.
    pub(crate) fn add_to(&self, dense: &mut [f32], scale: f32) {
        self.0.iter().for_each(|(at, value)| dense[usize::from(*at)] += scale * value);
    }
}
