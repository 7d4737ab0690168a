//! Vectors of `f32` as little-endian bytes.

use std::io::{self, Write};

/// Values converted at once.
pub(crate) const BLOCK: usize = 1 << 14;

pub(crate) fn write_floats(out: &mut Vec<u8>, values: &[f32]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

/// Writes in blocks, so that no second copy of the vector arises.
pub(crate) fn stream_floats(out: &mut dyn Write, values: &[f32]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(4 * BLOCK.min(values.len()));
    for block in values.chunks(BLOCK) {
        bytes.clear();
        write_floats(&mut bytes, block);
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// So many zeros.
pub(crate) fn stream_zeros(out: &mut dyn Write, count: usize) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), 4 * count as u64), out).map(drop)
}

/// The values of `bytes`, whose length must be a multiple of 4 (what is over is left out).
pub(crate) fn read_floats(bytes: &[u8]) -> Vec<f32> {
    let value = |four: &[u8]| f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
    bytes.chunks_exact(4).map(value).collect()
}

/// The same into memory that is there.
pub(crate) fn fill_floats(into: &mut [f32], bytes: &[u8]) {
    let fours = bytes.chunks_exact(4);
    into.iter_mut()
        .zip(fours)
        .for_each(|(value, four)| *value = f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
}
