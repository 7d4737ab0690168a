//! Matrix products: by cuBLASLt where it is installed, else by a kernel of tiles.

use crate::device::{Buffer, Multiply};
use crate::error::DeviceError;
use crate::launch::{Call, blocks_of};
use crate::plain::Element;

/// Rows and columns of a tile of the kernel's output, and how much of the depth it holds at a time.
const TILE: usize = 64;
const DEEP: usize = 16;

/// One factor of a product, row after row.
#[derive(Debug, Clone, Copy)]
pub struct Factor<'a, E> {
    /// `[rows, columns]`, or `[columns, rows]` where it is transposed.
    pub numbers: &'a Buffer<E>,
    /// Rows of the factor as it is multiplied.
    pub rows: usize,
    /// Columns of the factor as it is multiplied.
    pub columns: usize,
    /// Whether it lies transposed.
    pub transposed: bool,
}

impl<'a, E: Element> Factor<'a, E> {
    /// A matrix as it lies.
    #[must_use]
    pub fn new(numbers: &'a Buffer<E>, rows: usize, columns: usize) -> Factor<'a, E> {
        Factor { numbers, rows, columns, transposed: false }
    }

    /// Its transpose, from the same numbers.
    #[must_use]
    pub fn transposed(self) -> Factor<'a, E> {
        Factor { rows: self.columns, columns: self.rows, transposed: !self.transposed, ..self }
    }

    fn len(&self) -> Result<usize, DeviceError> {
        self.rows.checked_mul(self.columns).ok_or(DeviceError::Shape("a factor is larger than can be addressed"))
    }
}

/// `left * right`, summed in f32 in an order that depends on the shapes alone.
///
/// Factors of 16 bits may make an output of 32 or of 16; factors of 32 bits make one of 32 on a device's library, and
/// either by the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Product<'a, E> {
    /// `[rows, depth]`.
    pub left: Factor<'a, E>,
    /// `[depth, columns]`.
    pub right: Factor<'a, E>,
}

impl<E: Element> Product<'_, E> {
    /// Queues `out = left * right`; `out` is `[rows, columns]`.
    ///
    /// # Errors
    /// If a buffer has another length, or the device refuses.
    pub fn set<O: Element>(&self, out: &mut Buffer<O>) -> Result<(), DeviceError> {
        self.run(0, out)
    }

    /// Queues `out += left * right`.
    ///
    /// # Errors
    /// As [`Product::set`].
    pub fn add<O: Element>(&self, out: &mut Buffer<O>) -> Result<(), DeviceError> {
        self.run(out.at(0), out)
    }

    /// Queues `out = sum + left * right`; the addend has the output's shape.
    ///
    /// # Errors
    /// As [`Product::set`].
    pub fn add_to<O: Element>(&self, sum: &Buffer<O>, out: &mut Buffer<O>) -> Result<(), DeviceError> {
        let (expected, found) = (out.len(), sum.len());
        if !sum.device().is(out.device()) {
            return Err(DeviceError::Shape("what a kernel works on lies on another device"));
        }
        if found != expected {
            return Err(DeviceError::Length { what: "the addend", expected, found });
        }
        self.run(sum.at(0), out)
    }

    fn run<O: Element>(&self, sum: u64, out: &mut Buffer<O>) -> Result<(), DeviceError> {
        let Product { left, right } = self;
        let (rows, columns, depth) = (left.rows, right.columns, left.columns);
        let all = Factor { numbers: out, rows, columns, transposed: false }.len()?;
        if right.rows != depth || all != out.len() || [rows, columns, depth].contains(&0) {
            return Err(DeviceError::Shape("the factors and the output do not fit each other"));
        }
        let device = out.device().clone();
        let strides = |factor: &Factor<'_, E>| if factor.transposed { (1, factor.rows) } else { (factor.columns, 1) };
        let (lefts, rights) = (strides(left), strides(right));
        let call = Call::on(&device).buffer("the left factor", left.numbers, (0, left.len()?))?;
        let call = call.number(lefts.0).number(lefts.1);
        let call = call.buffer("the right factor", right.numbers, (0, right.len()?))?;
        let call = call.number(rights.0).number(rights.1).address(sum).buffer("the output", out, (0, all))?;
        let multiply = Multiply {
            left: left.numbers.at(0),
            right: right.numbers.at(0),
            sum,
            out: out.at(0),
            rows,
            columns,
            depth,
            transposed: [left.transposed, right.transposed],
            narrow: [E::NARROW, O::NARROW],
        };
        if device.multiply(&multiply)? {
            return Ok(());
        }
        let call = call.number(rows).number(columns).number(depth).element::<E>().element::<O>();
        let tiles = rows.div_ceil(TILE).saturating_mul(columns.div_ceil(TILE));
        call.launch("product", blocks_of(tiles)?, 2 * 4 * DEEP * (TILE + 1))
    }
}
