//! The kernels of the training step, by their share of a copy's bandwidth. Sizes are those of 16,384 tokens of a model of
//! width 2048.

use pactum_kernels::{AdamW, Bf16, Device, Loss, Moments, Norm, NormGradient, Rotation, Swiglu};

use crate::{Error, row, time};

const TOKENS: usize = 16_384;
const WIDTH: usize = 2048;
const HEADS: usize = 16;
const FFN: usize = 8192;
const VOCABULARY: usize = 32_768;
/// Rows of logits that are there at a time.
const ROWS: usize = 2048;

/// Prints a row for each kernel; traffic is what must be read and written at least.
pub(crate) fn print(device: &Device, copy: f64) -> Result<(), Error> {
    norms(device, copy)?;
    let each = TOKENS * FFN;
    let (mut hidden, mut gate_up) = (device.zeros::<Bf16>(each)?, device.zeros::<Bf16>(2 * each)?);
    let swiglu = Swiglu { width: FFN };
    let seconds = time(device, || Ok(swiglu.forward(&mut hidden, &gate_up)?))?;
    row("SwiGLU, forward", seconds, (6.0 * each as f64, each), Some(copy));
    let seconds = time(device, || Ok(swiglu.backward(&mut hidden, &mut gate_up)?))?;
    row("SwiGLU, backward", seconds, (12.0 * each as f64, each), Some(copy));
    rotation(device, copy)?;
    loss(device, copy)?;
    adamw(device, copy)
}

fn norms(device: &Device, copy: f64) -> Result<(), Error> {
    let each = TOKENS * WIDTH;
    let (x, weight) = (device.upload(&vec![0.5_f32; each])?, device.upload(&vec![1.0_f32; WIDTH])?);
    let norm = Norm { x: &x, weight: &weight, eps: 1e-5 };
    let (mut out, mut scales) = (device.zeros::<Bf16>(each)?, device.zeros(TOKENS)?);
    let seconds = time(device, || Ok(norm.forward(&mut out, &mut scales)?))?;
    row("RMSNorm, forward", seconds, (6.0 * each as f64, each), Some(copy));
    let (mut stream, mut of_weight) = (device.zeros(each)?, device.zeros(WIDTH)?);
    let mut partial = Norm::room(device, TOKENS, WIDTH)?;
    let mut gradient =
        NormGradient { normed: &mut out, stream: &mut stream, weight: &mut of_weight, partial: &mut partial };
    let seconds = time(device, || Ok(norm.backward(&scales, &mut gradient)?))?;
    row("RMSNorm, backward", seconds, (16.0 * each as f64, each), Some(copy));
    Ok(())
}

fn rotation(device: &Device, copy: f64) -> Result<(), Error> {
    let (each, half) = (TOKENS * WIDTH, WIDTH / HEADS / 2);
    let (cosines, sines) = (device.upload(&vec![1.0_f32; 2048 * half])?, device.zeros(2048 * half)?);
    let rotation = Rotation { cosines: &cosines, sines: &sines, half, stride: WIDTH, offset: 0, heads: HEADS };
    let mut values = device.zeros::<Bf16>(each)?;
    let seconds = time(device, || Ok(rotation.turn(&mut values, 1.0)?))?;
    row("rotary positions", seconds, (4.0 * each as f64, each), Some(copy));
    Ok(())
}

fn loss(device: &Device, copy: f64) -> Result<(), Error> {
    let each = ROWS * VOCABULARY;
    let (targets, mut losses) = (device.zeros::<u32>(ROWS)?, device.zeros(ROWS)?);
    let mut logits = device.zeros::<Bf16>(each)?;
    let loss = Loss { targets: &targets, vocabulary: VOCABULARY };
    let seconds = time(device, || Ok(loss.backward(&mut logits, &mut losses, 1.0)?))?;
    row("cross-entropy and its gradient", seconds, (4.0 * each as f64, each), Some(copy));
    Ok(())
}

fn adamw(device: &Device, copy: f64) -> Result<(), Error> {
    let each = 1 << 26;
    let (mut parameters, gradient) = (device.zeros::<f32>(each)?, device.zeros::<f32>(each)?);
    let mut moments = Moments { first: device.zeros(each)?, second: device.zeros(each)? };
    let mut short = device.zeros::<Bf16>(each)?;
    let adamw = AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, rate: 1e-3, root: 1.0, keep: 1.0, clip: 1.0 };
    let step = || Ok(adamw.step(&mut parameters, &gradient, &mut moments, (0..each, Some(&mut short)))?);
    let seconds = time(device, step)?;
    row("AdamW, with a copy in bf16", seconds, (30.0 * each as f64, each), Some(copy));
    Ok(())
}
