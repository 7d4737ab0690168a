//! The levels at the start of a section of [`Quantiser::Compatible`]: one number of 32 bits for each code.
//!
//! [`Quantiser::Compatible`]: crate::Quantiser::Compatible

use crate::codec::{CodecError, Limits};
use crate::compress::Part;
use crate::quantise::Table;

pub(crate) fn write(parts: &[Part], bytes: &mut Vec<u8>) {
    let levels = parts.first().map(|part| part.levels).unwrap_or_default();
    levels.iter().for_each(|level| bytes.extend_from_slice(&level.to_le_bytes()));
}

/// The levels, if they are within the limits, and the bytes after them.
pub(crate) fn read<'a>(bytes: &'a [u8], limits: &Limits, tensor: usize) -> Result<(Table, &'a [u8]), CodecError> {
    let (levels, rest) = bytes.split_first_chunk::<16>().ok_or(CodecError::SectionEnd { tensor })?;
    let mut values = [0.0; 4];
    for (value, bytes) in values.iter_mut().zip(levels.chunks_exact(4)) {
        *value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    // A comparison with a NaN is false.
    let sound = values.iter().all(|value| value.abs() <= limits.scale_max);
    if sound { Ok((Table::of_levels(values), rest)) } else { Err(CodecError::Scale { tensor }) }
}
