//! Error feedback in, positions, codes and scales out.

use crate::device::{Buffer, Device};
use crate::error::DeviceError;
use crate::launch::Call;
use crate::matrix::Matrix;
use crate::table::Table;

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
    /// Itself, in [`Picked::values`]; a code is the sign. Nothing is left of it where it is taken off.
    Exact,
    /// What whoever calls makes of it later, since it depends on other chunks too: in [`Picked::values`] it is as it is, a
    /// code is the sign, and nothing is taken off. Each chunk gives as many values as are kept of it, zeros among them where
    /// it has not enough others.
    Later,
}

impl Levels {
    /// Whether the values themselves go out.
    #[must_use]
    pub fn gives_values(self) -> bool {
        matches!(self, Levels::Exact | Levels::Later)
    }

    fn number(self) -> usize {
        match self {
            Levels::One => 1,
            Levels::Two => 2,
            Levels::Eight => 3,
            Levels::Exact => 4,
            Levels::Later => 5,
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
    /// Whether what is selected is taken off the feedback, which [`Levels::Later`] never is.
    pub subtract: bool,
}

/// What was selected of many tensors. Chunk `c` has the places `c * slots ..` of indices, codes and values, of which its
/// head says how many are taken.
#[derive(Debug)]
pub struct Picked {
    /// For each chunk: number of values in the lowest 16 bits, then the codes of the lower and of the upper scale.
    pub heads: Buffer<u64>,
    /// Ascending positions in their chunk.
    pub indices: Buffer<u16>,
    /// Codes of the values.
    pub codes: Buffer<u8>,
    /// The values themselves; there is no room for them but by [`Picked::with_values`].
    pub values: Buffer<f32>,
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
            values: device.zeros(0)?,
            rejected: device.zeros(1)?,
            slots,
        })
    }

    /// The same with room for values, if [`Levels::gives_values`].
    ///
    /// # Errors
    /// As [`Picked::new`].
    pub fn with_values(self, levels: Levels) -> Result<Picked, DeviceError> {
        let room = if levels.gives_values() { self.codes.len() } else { 0 };
        Ok(Picked { values: self.codes.device().zeros(room)?, ..self })
    }

    /// Places of each chunk.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }
}

/// Compression of some tensors (SparseLoCo, arXiv 2508.15706) in one launch: per chunk
/// `E' = decay * E + (before - after)`, the elements of largest magnitude (of equal ones the lower position, and never a zero
/// but with [`Levels::Later`]), their scales and codes, and `E = E' - decoded`.
#[derive(Debug)]
pub struct Compress {
    table: Table,
    /// For each tensor how many elements of a chunk are kept, for each of the lengths that one may have.
    kept: Buffer<u64>,
    /// The most that are kept of any chunk.
    most: usize,
    levels: Levels,
}

impl Compress {
    /// Prepares the compression of some tensors that do not overlap: each with how many elements of a chunk are kept, for
    /// each of [`Matrix::lengths`]. Their chunks' numbers are those in [`Picked`].
    ///
    /// # Errors
    /// If the kernels cannot take a tensor, or the device has too little memory.
    pub fn new(device: &Device, tensors: &[(Matrix, [usize; 4])], levels: Levels) -> Result<Compress, DeviceError> {
        let table = Table::upload(device, tensors.iter().map(|(matrix, _)| matrix))?;
        let most = tensors.iter().map(|(matrix, kept)| kept_most(matrix, kept)).max().unwrap_or(0);
        let kept = tensors.iter().flat_map(|(_, kept)| kept.map(|kept| kept as u64)).collect::<Vec<_>>();
        Ok(Compress { table, kept: device.upload(&kept)?, most, levels })
    }

    /// Queues the work.
    ///
    /// # Errors
    /// If a buffer is too short, a chunk too long, or the device refuses.
    pub fn run(&self, feedback: &mut Feedback<'_>, picked: &mut Picked) -> Result<(), DeviceError> {
        let (table, slots, all) = (&self.table, picked.slots, (0, self.table.len));
        if self.most > slots {
            return Err(DeviceError::Length { what: "a chunk's room", expected: self.most, found: slots });
        }
        let device = feedback.values.device().clone();
        let call = Call::on(&device).buffer("the feedback", feedback.values, all)?;
        let call = match feedback.step {
            None => call.nothing().nothing(),
            Some((before, after, _)) => {
                call.buffer("the parameters before", before, all)?.buffer("the parameters after", after, all)?
            }
        };
        let places = (0, table.chunks.saturating_mul(slots));
        let call = call.buffer("the room for heads", &picked.heads, (0, table.chunks))?;
        let call = call.buffer("the room for positions", &picked.indices, places)?;
        let call = call.buffer("the room for codes", &picked.codes, places)?;
        let call = match self.levels.gives_values() {
            true => call.buffer("the room for values", &picked.values, places)?,
            false => call.nothing(),
        };
        let call = call.buffer("the count", &picked.rejected, (0, 1))?.table(table)?;
        let call = call.buffer("what is kept", &self.kept, (0, 4 * table.count))?.number(table.count).number(slots);
        let call = call.float(feedback.step.map_or(0.0, |(_, _, decay)| decay)).number(self.levels.number());
        let shared = SEARCH_BYTES + 4 * table.longest + 2 * self.most;
        call.number(usize::from(feedback.subtract)).launch("compress", table.blocks, shared)
    }
}

/// Most elements that are kept of any chunk that a matrix has.
fn kept_most(matrix: &Matrix, kept: &[usize; 4]) -> usize {
    let taller = !matrix.rows.is_multiple_of(matrix.bands.max(1));
    let wider = !matrix.columns.is_multiple_of(matrix.across.max(1));
    let there = [true, wider, taller, taller && wider];
    kept.iter().zip(there).filter(|(_, there)| *there).map(|(kept, _)| *kept).max().unwrap_or(0)
}
