//! Biases of projections, and numbers as operands of products.

use crate::device::Buffer;
use crate::error::DeviceError;
use crate::launch::{Call, blocks_of, rows_of};
use crate::plain::Element;

/// Rows that are summed at a time.
const ROWS: usize = 16;
const THREADS: usize = 256;
/// Numbers that one block converts.
const EACH: usize = 4 * THREADS;

/// Queues `values += bias` for each row; the bias is as wide as a row.
///
/// # Errors
/// If a buffer has another length, or the device refuses.
pub fn add_bias<E: Element>(values: &mut Buffer<E>, bias: &Buffer<f32>) -> Result<(), DeviceError> {
    let (device, width) = (values.device().clone(), bias.len());
    let rows = rows_of(values, width)?;
    let call = Call::on(&device).buffer("the values", values, (0, values.len()))?;
    let call = call.buffer("the bias", bias, (0, width))?.number(width).element::<E>();
    call.launch("add_bias", blocks_of(rows)?, 0)
}

/// Queues `sums += the sum of all rows of values`: the gradient by a bias. `partial` is working memory of a row for each 16
/// rows, as [`crate::Norm::room`] gives it.
///
/// # Errors
/// As [`add_bias`].
pub fn add_rows<E: Element>(
    sums: &mut Buffer<f32>,
    values: &Buffer<E>,
    partial: &mut Buffer<f32>,
) -> Result<(), DeviceError> {
    let (device, width) = (values.device(), sums.len());
    let rows = rows_of(values, width)?;
    let (parts, across) = (rows.div_ceil(ROWS), width.div_ceil(THREADS));
    let call = Call::on(device).buffer("the values", values, (0, values.len()))?;
    let call = call.buffer("the working memory", partial, (0, parts * width))?.number(rows).number(width);
    call.element::<E>().launch("sum_rows", blocks_of(parts.saturating_mul(across))?, 0)?;
    let call = Call::on(device).buffer("the sums", sums, (0, width))?;
    let call = call.buffer("the working memory", partial, (0, parts * width))?;
    call.number(parts).number(width).launch("add_parts", blocks_of(across)?, 0)
}

/// Queues `out = values`, rounded to the nearest where `out` has 16 bits.
///
/// # Errors
/// As [`add_bias`].
pub fn convert<E: Element>(values: &Buffer<f32>, out: &mut Buffer<E>) -> Result<(), DeviceError> {
    let (device, count) = (values.device(), values.len());
    let call = Call::on(device).buffer("the values", values, (0, count))?.buffer("the output", out, (0, count))?;
    call.number(count).element::<E>().launch("convert", blocks_of(count.div_ceil(EACH))?, 0)
}
