//! Error feedback in, positions, codes and scales out.

use crate::device::{Buffer, Device};
use crate::error::DeviceError;
use crate::launch::Call;
use crate::matrix::Matrix;

/// Bytes of shared memory that the search takes: see the structure `Search` of the kernel.
const SEARCH_BYTES: usize = 4 * (4 + 8 + 8 + 1024);

/// What a selected value becomes. Scales have four bits of mantissa; code `c >= 1` is the `f32` whose bits are
/// `(751 + c) << 19`, code 0 is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Levels {
    /// Its sign times the mean magnitude of its chunk: a code is the sign (1: negative).
    One,
    /// Its sign times the nearer of two levels of its chunk: the code's next bit says which (1: the upper).
    Two,
    /// Its sign times the nearest of eight evenly spaced magnitudes, from the least to the largest of its chunk: the code's
    /// upper bits say which.
    Eight,
}

impl Levels {
    fn number(self) -> usize {
        match self {
            Levels::One => 1,
            Levels::Two => 2,
            Levels::Eight => 3,
        }
    }
}

/// Error feedback and what is added to it before selection.
#[derive(Debug)]
pub struct Feedback<'a> {
    /// The error feedback, one number for each parameter.
    pub values: &'a mut Buffer<f32>,
    /// Parameters before and after the inner steps, and the decay: `decay * E + (before - after)` is selected from. None:
    /// `E` as it is.
    pub step: Option<(&'a Buffer<f32>, &'a Buffer<f32>, f32)>,
    /// Whether what is selected is taken off the feedback.
    pub subtract: bool,
}

/// What was selected of many tensors. Chunk `c` has the places `c * slots ..` of indices and codes, of which its head says
/// how many are taken.
#[derive(Debug)]
pub struct Picked {
    /// For each chunk: number of values in the lowest 16 bits, then the codes of the lower and of the upper scale.
    pub heads: Buffer<u64>,
    /// Ascending positions in their chunk.
    pub indices: Buffer<u16>,
    /// Codes of the values.
    pub codes: Buffer<u8>,
    /// One number: how many values were not finite or too large. They are zero in the feedback.
    pub rejected: Buffer<u64>,
    slots: usize,
}

impl Picked {
    /// Room for some chunks with at most `slots` values each.
    ///
    /// # Errors
    /// If the device has too little memory left.
    pub fn new(device: &Device, chunks: usize, slots: usize) -> Result<Picked, DeviceError> {
        let places = chunks.checked_mul(slots).ok_or(DeviceError::Shape("more values than can be addressed"))?;
        Ok(Picked {
            heads: device.zeros(chunks)?,
            indices: device.zeros(places)?,
            codes: device.zeros(places)?,
            rejected: device.zeros(1)?,
            slots,
        })
    }

    /// Places of each chunk.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }
}

/// Compression of one tensor (SparseLoCo, arXiv 2508.15706): per chunk `E' = decay * E + (before - after)`, the `kept`
/// elements of largest magnitude (of equal ones the lower position, never a zero), their scales and codes, and
/// `E = E' - decoded`.
#[derive(Debug, Clone, Copy)]
pub struct Compress {
    /// The tensor, in the vectors of [`Feedback`]; its chunks' numbers are those in [`Picked`].
    pub matrix: Matrix,
    /// How many elements of a chunk are kept, for each of [`Matrix::lengths`].
    pub kept: [usize; 4],
    /// What a selected value becomes.
    pub levels: Levels,
}

impl Compress {
    /// Queues the work.
    ///
    /// # Errors
    /// If a buffer is too short, a chunk too long, or the device refuses.
    pub fn run(&self, feedback: &mut Feedback<'_>, picked: &mut Picked) -> Result<(), DeviceError> {
        let (blocks, range, slots) = (self.matrix.blocks()?, self.matrix.range(), picked.slots);
        let (kept, chunks) = (self.kept_most(), self.matrix.chunks());
        if kept > slots {
            return Err(DeviceError::Length { what: "a chunk's room", expected: kept, found: slots });
        }
        let device = feedback.values.device().clone();
        let call = Call::on(&device).buffer("the feedback", feedback.values, range)?;
        let call = match feedback.step {
            None => call.nothing().nothing(),
            Some((before, after, _)) => {
                call.buffer("the parameters before", before, range)?.buffer("the parameters after", after, range)?
            }
        };
        let places = (self.matrix.chunk.saturating_mul(slots), chunks * slots);
        let call = call.buffer("the room for heads", &picked.heads, (self.matrix.chunk, chunks))?;
        let call = call.buffer("the room for positions", &picked.indices, places)?;
        let call = call.buffer("the room for codes", &picked.codes, places)?;
        let mut call = call.buffer("the count", &picked.rejected, (0, 1))?.matrix(&self.matrix);
        for kept in self.kept {
            call = call.number(kept);
        }
        let decay = feedback.step.map_or(0.0, |(_, _, decay)| decay);
        let call = call.number(slots).float(decay).number(self.levels.number()).number(usize::from(feedback.subtract));
        call.launch("compress", blocks, SEARCH_BYTES + 4 * self.matrix.longest() + 2 * kept)
    }

    /// Most elements that are kept of any chunk that there is.
    fn kept_most(&self) -> usize {
        let taller = !self.matrix.rows.is_multiple_of(self.matrix.bands);
        let wider = !self.matrix.columns.is_multiple_of(self.matrix.across);
        let there = [true, wider, taller, taller && wider];
        self.kept.iter().zip(there).filter(|(_, there)| *there).map(|(kept, _)| *kept).max().unwrap_or(0)
    }
}
