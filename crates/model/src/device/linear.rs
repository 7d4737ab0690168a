//! Parameters on a device, and projections of them, forward and backward.

use std::ops::Range;

use pactum_kernels::{Bf16, Buffer, Device, DeviceError, Element, Factor, Product, add_bias, add_rows, convert};

use crate::layout::Linear;

/// The flat vectors of parameters and gradient.
pub(super) struct Weights {
    pub(super) parameters: Buffer<f32>,
    pub(super) gradient: Buffer<f32>,
}

/// What operands of products are made of, and how parameters become such.
pub(super) trait Operand: Element {
    /// The parameters as operands.
    fn copy_of(parameters: &Buffer<f32>) -> Result<Buffer<Self>, DeviceError>;
    /// Makes the copy what the parameters are.
    fn refresh(copy: &mut Buffer<Self>, parameters: &Buffer<f32>) -> Result<(), DeviceError>;
    /// The copy if the optimizer must write it too.
    fn short(copy: &mut Buffer<Self>) -> Option<&mut Buffer<Bf16>>;
}

impl Operand for f32 {
    fn copy_of(parameters: &Buffer<f32>) -> Result<Buffer<f32>, DeviceError> {
        parameters.part(0..parameters.len())
    }

    fn refresh(_: &mut Buffer<f32>, _: &Buffer<f32>) -> Result<(), DeviceError> {
        // It is the same memory.
        Ok(())
    }

    fn short(_: &mut Buffer<f32>) -> Option<&mut Buffer<Bf16>> {
        None
    }
}

impl Operand for Bf16 {
    fn copy_of(parameters: &Buffer<f32>) -> Result<Buffer<Bf16>, DeviceError> {
        parameters.device().zeros(parameters.len())
    }

    fn refresh(copy: &mut Buffer<Bf16>, parameters: &Buffer<f32>) -> Result<(), DeviceError> {
        convert(parameters, copy)
    }

    fn short(copy: &mut Buffer<Bf16>) -> Option<&mut Buffer<Bf16>> {
        Some(copy)
    }
}

impl Weights {
    pub(super) fn zeros(device: &Device, count: usize) -> Result<Weights, DeviceError> {
        Ok(Weights { parameters: device.zeros(count)?, gradient: device.zeros(count)? })
    }

    pub(super) fn parameter(&self, range: &Range<usize>) -> Result<Buffer<f32>, DeviceError> {
        self.parameters.part(range.clone())
    }

    pub(super) fn gradient(&self, range: &Range<usize>) -> Result<Buffer<f32>, DeviceError> {
        self.gradient.part(range.clone())
    }
}

/// A projection, the vectors it lies in, and the parameters as operands.
pub(super) struct Projection<'a, E> {
    pub(super) linear: &'a Linear,
    pub(super) weights: &'a Weights,
    pub(super) copy: &'a Buffer<E>,
}

impl<E: Operand> Projection<'_, E> {
    /// `out = x·Wᵀ + b` over the rows of `x`, and the addend where there is one.
    pub(super) fn forward<O: Element>(
        &self,
        out: &mut Buffer<O>,
        x: &Buffer<E>,
        addend: Option<&Buffer<O>>,
    ) -> Result<(), DeviceError> {
        let Linear { inputs, outputs, ref bias, .. } = *self.linear;
        let weight = self.weight()?;
        let right = Factor::new(&weight, outputs, inputs).transposed();
        let product = Product { left: Factor::new(x, x.len() / inputs, inputs), right };
        match addend {
            None => product.set(out)?,
            Some(addend) => product.add_to(addend, out)?,
        }
        if bias.is_empty() { Ok(()) } else { add_bias(out, &self.weights.parameter(bias)?) }
    }

    /// Gradient by the input from the gradient `slope` by the output.
    pub(super) fn backward(&self, out: &mut Buffer<E>, slope: &Buffer<E>) -> Result<(), DeviceError> {
        let Linear { inputs, outputs, .. } = *self.linear;
        let left = Factor::new(slope, slope.len() / outputs, outputs);
        Product { left, right: Factor::new(&self.weight()?, outputs, inputs) }.set(out)
    }

    /// Adds the gradients by weight and bias, from the gradient `slope` by the output and the input `x`.
    pub(super) fn gain(&self, slope: &Buffer<E>, x: &Buffer<E>, partial: &mut Buffer<f32>) -> Result<(), DeviceError> {
        let Linear { inputs, outputs, ref bias, ref weight } = *self.linear;
        let rows = x.len() / inputs;
        let left = Factor::new(slope, rows, outputs).transposed();
        Product { left, right: Factor::new(x, rows, inputs) }.add(&mut self.weights.gradient(weight)?)?;
        if bias.is_empty() { Ok(()) } else { add_rows(&mut self.weights.gradient(bias)?, slope, partial) }
    }

    fn weight(&self) -> Result<Buffer<E>, DeviceError> {
        self.copy.part(self.linear.weight.clone())
    }
}
