//! Sparse updates on a device.

use crate::device::{Buffer, Device};
use crate::error::DeviceError;
use crate::launch::Call;
use crate::matrix::Matrix;
use crate::table::Table;

/// Chunks that one block of the kernel `squares` takes.
const CHUNKS: usize = 32;
/// Bytes of shared memory of the kernels `squares` and `norms`.
const TILE_BYTES: usize = 256 * 8 + 256 * 4;

/// For each chunk a run of ascending positions and their values.
#[derive(Debug)]
pub struct Update {
    pub(crate) starts: Buffer<u64>,
    pub(crate) indices: Buffer<u16>,
    pub(crate) values: Buffer<f32>,
    /// Values of the longest run.
    pub(crate) longest: usize,
}

impl Update {
    /// Brings an update to a device: `starts` holds where each chunk's run begins and the end of the last.
    ///
    /// # Errors
    /// If the runs are not those of the other two, positions of a run do not ascend, or the device has too little memory.
    pub fn upload(device: &Device, starts: &[u64], indices: &[u16], values: &[f32]) -> Result<Update, DeviceError> {
        let whole = starts.first() == Some(&0) && starts.last() == Some(&(indices.len() as u64));
        let ordered = starts.windows(2).all(|pair| pair[0] <= pair[1]);
        if !whole || !ordered || indices.len() != values.len() {
            return Err(DeviceError::Shape("an update's runs do not cover its values"));
        }
        let runs = starts.windows(2).map(|pair| &indices[pair[0] as usize..pair[1] as usize]);
        if !runs.clone().all(|run| run.windows(2).all(|pair| pair[0] < pair[1])) {
            return Err(DeviceError::Shape("positions in a chunk of an update do not ascend"));
        }
        let longest = runs.map(<[u16]>::len).max().unwrap_or(0);
        let (indices, values) = (device.upload(indices)?, device.upload(values)?);
        Ok(Update { starts: device.upload(starts)?, indices, values, longest })
    }

    /// Number of chunks.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.starts.len() - 1
    }

    /// L2 norm and largest magnitude of each tensor; `firsts` holds where the chunks of each tensor begin and the end of
    /// the last. The squares of a chunk are summed in `f64` in eight lanes (value `i` in lane `i mod 8`) that are added
    /// pairwise, halves first; the chunks are added in order.
    ///
    /// # Errors
    /// If the tensors are not made of the update's chunks, or the device fails.
    pub fn norms(&self, firsts: &[u64]) -> Result<(Vec<f64>, Vec<f32>), DeviceError> {
        let (chunks, tensors) = (self.chunks(), firsts.len().saturating_sub(1));
        let ordered = firsts.windows(2).all(|pair| pair[0] <= pair[1]);
        if !ordered || firsts.last().is_none_or(|&end| end > chunks as u64) {
            return Err(DeviceError::Shape("tensors are not made of the update's chunks"));
        }
        let device = self.starts.device();
        let (sums, peaks) = (device.zeros::<f64>(chunks)?, device.zeros::<u32>(chunks)?);
        let call = Call::on(device).buffer("the runs", &self.starts, (0, chunks + 1))?;
        let call = call.buffer("the values", &self.values, (0, 0))?.buffer("the sums", &sums, (0, chunks))?;
        let call = call.buffer("the peaks", &peaks, (0, chunks))?.number(chunks);
        call.launch("squares", chunks.div_ceil(CHUNKS) as u32, TILE_BYTES)?;
        let (firsts, norms) = (device.upload(firsts)?, device.zeros::<f64>(tensors)?);
        let largest = device.zeros::<u32>(tensors)?;
        let call = Call::on(device).buffer("the sums", &sums, (0, chunks))?.buffer("the peaks", &peaks, (0, chunks))?;
        let call = call.buffer("the tensors", &firsts, (0, tensors + 1))?.buffer("the norms", &norms, (0, tensors))?;
        call.buffer("the largest", &largest, (0, tensors))?.launch("norms", tensors as u32, TILE_BYTES)?;
        Ok((norms.read()?, largest.read()?.into_iter().map(f32::from_bits).collect()))
    }

    /// `dense += scale * update` for some tensors that do not overlap. Waits until that is done.
    ///
    /// # Errors
    /// If a tensor does not lie in the vector or the update, or the device fails.
    pub fn add_to(&self, dense: &mut Buffer<f32>, matrices: &[Matrix], scale: f32) -> Result<(), DeviceError> {
        let device = dense.device().clone();
        let table = Table::upload(&device, matrices)?;
        let call = Call::on(&device).buffer("the dense vector", dense, (0, table.len))?;
        let call = call.buffer("the update", &self.starts, (0, table.chunks + 1))?;
        let call = call.buffer("the positions", &self.indices, (0, 0))?.buffer("the values", &self.values, (0, 0))?;
        call.table(&table)?.number(table.count).float(scale).launch("scatter", table.blocks, 0)?;
        device.finish()
    }
}
