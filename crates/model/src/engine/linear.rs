//! Projections of the flat vector, forward and backward.

use super::Pass;
use crate::layout::Linear;
use crate::matmul::{Matrix, product};

impl Linear {
    /// `out (+)= x·Wᵀ + b` over the rows of `x`.
    pub(super) fn forward(&self, pass: &Pass<'_>, out: &mut [f32], x: &[f32], add: bool) {
        let rows = out.len() / self.outputs;
        let x = Matrix::new(x, rows, self.inputs);
        product(pass.team, out, x, self.matrix(pass.parameters).transposed(), add);
        let bias = &pass.parameters[self.bias.clone()];
        if !bias.is_empty() {
            out.chunks_exact_mut(bias.len()).for_each(|row| accumulate(row, bias));
        }
    }

    /// Gradient by the input from the gradient `slope` by the output.
    pub(super) fn backward(&self, pass: &Pass<'_>, out: &mut [f32], slope: &[f32]) {
        let rows = out.len() / self.inputs;
        product(pass.team, out, Matrix::new(slope, rows, self.outputs), self.matrix(pass.parameters), false);
    }

    /// Adds the gradients by weight and bias, from the gradient `slope` by the output and the input `x`.
    pub(super) fn gain(&self, pass: &Pass<'_>, gradient: &mut [f32], slope: &[f32], x: &[f32]) {
        let rows = slope.len() / self.outputs;
        let transposed = Matrix::new(slope, rows, self.outputs).transposed();
        let x = Matrix::new(x, rows, self.inputs);
        product(pass.team, &mut gradient[self.weight.clone()], transposed, x, true);
        let bias = &mut gradient[self.bias.clone()];
        if !bias.is_empty() {
            slope.chunks_exact(self.outputs).for_each(|row| accumulate(bias, row));
        }
    }

    fn matrix<'a>(&self, parameters: &'a [f32]) -> Matrix<'a> {
        Matrix::new(&parameters[self.weight.clone()], self.outputs, self.inputs)
    }
}

fn accumulate(sums: &mut [f32], values: &[f32]) {
    sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += value);
}
