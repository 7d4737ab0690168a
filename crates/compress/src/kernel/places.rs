//! What the readers of places with vectors have in common.
//!
//! Each lane of a vector does for one chunk what [`Path::step`] does, with its own state. What the lanes found lies step by step then:
//! it is put together chunk by chunk, turned into indices and sorted.
//!
//! [`Path::step`]: crate::codec::Path

use crate::codec::{DISTANCE_BITS, Ground, RAW_MAX, Walk};
use crate::kernel::tables::LANE;

/// Most values of a chunk, and most of its lines and of its columns.
pub(super) const MOST: usize = 64;
/// More steps than a chunk of so many elements can take: one for each value; two for each of 36 fields, one that ends behind it
/// and one out of it; and one for each nine elements that are passed over.
pub(super) const STEPS: usize = 640;

/// Whether these are chunks such as can be read with vectors.
pub(super) fn suits(ground: &Ground, walks: &[Walk]) -> bool {
    // A state must hold a segment and the bits that follow.
    let narrow = ground.low + 1 + DISTANCE_BITS <= RAW_MAX;
    let small = ground.widest <= MOST && walks.iter().all(|walk| walk.count <= MOST);
    walks.len() >= LANE / 2 && narrow && small
}
