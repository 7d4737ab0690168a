//! Tensors that one launch works on, a block for each of their chunks.

use crate::device::{Buffer, Device};
use crate::error::DeviceError;
use crate::matrix::Matrix;

/// Where each tensor lies, as the kernels read it.
#[derive(Debug)]
pub(crate) struct Table {
    /// For each tensor its first block and the words of its matrix.
    pub(crate) words: Buffer<u64>,
    pub(crate) count: usize,
    /// Chunks of all tensors.
    pub(crate) blocks: u32,
    /// Elements of the longest chunk.
    pub(crate) longest: usize,
    /// Where the last tensor ends in the flat vector.
    pub(crate) len: usize,
    /// Where the chunks end that the tensors have among all.
    pub(crate) chunks: usize,
}

/// Words of one tensor: see the structure `Tensor` of the kernels.
const WORDS: usize = 10;

impl Table {
    pub(crate) fn upload<'a>(
        device: &Device,
        matrices: impl IntoIterator<Item = &'a Matrix>,
    ) -> Result<Table, DeviceError> {
        let (mut words, mut blocks, mut longest, mut len, mut chunks) = (Vec::new(), 0_u32, 0, 0, 0);
        for matrix in matrices {
            let of_matrix = matrix.blocks()?;
            words.push(u64::from(blocks));
            words.extend(matrix.words());
            let sum = blocks.checked_add(of_matrix).filter(|&sum| sum <= i32::MAX as u32);
            blocks = sum.ok_or(DeviceError::Shape("the tensors of a launch have more than 2^31 - 1 chunks"))?;
            longest = longest.max(matrix.longest());
            len = len.max(matrix.offset.saturating_add(matrix.len()));
            chunks = chunks.max(matrix.chunk.saturating_add(matrix.chunks()));
        }
        let count = words.len() / WORDS;
        Ok(Table { words: device.upload(&words)?, count, blocks, longest, len, chunks })
    }
}
