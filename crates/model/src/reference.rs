//! The reference executor: candle's automatic differentiation over plain operations.

use candle_core::{D, DType, Device, Result as CandleResult, Tensor, Var};

use crate::config::{ConfigError, ModelConfig};
use crate::executor::{Executor, StepError, Tokens, check_length};
use crate::kernel::rope::Rotation;
use crate::layout::ParameterSpec;

/// Runs the model through candle's automatic differentiation on the CPU: slow, simple, the measure of the engine.
///
/// It uses only operations whose gradient candle knows; several of its fused ones have none and do not say so.
pub struct Reference {
    config: ModelConfig,
    specs: Vec<ParameterSpec>,
    rotation: Rotation,
    device: Device,
}

impl Reference {
    /// A reference executor for the model.
    ///
    /// # Errors
    /// If the configuration is invalid.
    pub fn new(config: &ModelConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            specs: config.parameters(),
            rotation: Rotation::new(config),
            config: config.clone(),
            device: Device::Cpu,
        })
    }

    /// Mean loss of the batch and its gradient, all in f64.
    ///
    /// # Errors
    /// If the batch or the parameter vector does not fit the model.
    pub fn loss_and_gradient_f64(&self, parameters: &[f64], batch: &Tokens<'_>) -> Result<(f64, Vec<f64>), StepError> {
        self.check(parameters.len(), batch)?;
        let mut gradient = vec![0.0; parameters.len()];
        let loss = self.differentiate(parameters, batch, &mut gradient)?;
        Ok((loss.to_dtype(DType::F64)?.to_scalar()?, gradient))
    }

    /// Mean loss of the batch in f64.
    ///
    /// # Errors
    /// If the batch or the parameter vector does not fit the model.
    pub fn loss_f64(&self, parameters: &[f64], batch: &Tokens<'_>) -> Result<f64, StepError> {
        self.check(parameters.len(), batch)?;
        let tensors = self.tensors(parameters, Ok)?;
        Ok(self.token_losses(&tensors, batch)?.mean_all()?.to_scalar()?)
    }

    fn check(&self, parameters: usize, batch: &Tokens<'_>) -> Result<(), StepError> {
        check_length("parameter vector", parameters, self.config.count())?;
        batch.check(&self.config)
    }

    /// The tensors of the flat vector, each passed through `wrap`.
    fn tensors<T: candle_core::WithDType, W>(
        &self,
        flat: &[T],
        wrap: impl Fn(Tensor) -> CandleResult<W>,
    ) -> CandleResult<Vec<W>> {
        let tensor =
            |spec: &ParameterSpec| Tensor::from_slice(&flat[spec.range()], spec.shape.as_slice(), &self.device);
        self.specs.iter().map(|spec| wrap(tensor(spec)?)).collect()
    }

    fn differentiate<T: candle_core::WithDType>(
        &self,
        flat: &[T],
        batch: &Tokens<'_>,
        gradient: &mut [T],
    ) -> Result<Tensor, StepError> {
        let variables = self.tensors(flat, |tensor| Var::from_tensor(&tensor))?;
        let tensors: Vec<Tensor> = variables.iter().map(|variable| variable.as_tensor().clone()).collect();
        let loss = self.token_losses(&tensors, batch)?.mean_all()?;
        let store = loss.backward()?;
        for (spec, variable) in self.specs.iter().zip(&variables) {
            let found =
                store.get(variable).ok_or_else(|| StepError::Backend(format!("{} has no gradient", spec.name)))?;
            gradient[spec.range()].copy_from_slice(&found.flatten_all()?.to_vec1::<T>()?);
        }
        Ok(loss.detach())
    }

    /// Loss of each token, `[rows, length]`.
    fn token_losses(&self, tensors: &[Tensor], batch: &Tokens<'_>) -> CandleResult<Tensor> {
        let ids = Tensor::from_slice(batch.ids, (batch.rows, batch.columns), &self.device)?;
        let length = batch.inputs();
        let (inputs, targets) = (ids.narrow(1, 0, length)?.contiguous()?, ids.narrow(1, 1, length)?.contiguous()?);
        let logits = self.logits(tensors, &inputs)?;
        let logarithms = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
        logarithms.gather(&targets.unsqueeze(D::Minus1)?, D::Minus1)?.squeeze(D::Minus1)?.neg()
    }

    /// `[rows, length, vocab]`.
    fn logits(&self, tensors: &[Tensor], inputs: &Tensor) -> CandleResult<Tensor> {
        let (rows, length) = inputs.dims2()?;
        let named = Named { specs: &self.specs, tensors };
        let table = named.find("model.embed_tokens.weight")?;
        let mut x = table.index_select(&inputs.flatten_all()?, 0)?.reshape((rows, length, self.config.width))?;
        for layer in 0..self.config.layers {
            let normed = self.norm(&x, named.find(&format!("model.layers.{layer}.input_layernorm.weight"))?)?;
            x = (&x + self.attention(&named, layer, &normed)?)?;
            let weight = named.find(&format!("model.layers.{layer}.post_attention_layernorm.weight"))?;
            x = (&x + swiglu(&named, layer, &self.norm(&x, weight)?)?)?;
        }
        let x = self.norm(&x, named.find("model.norm.weight")?)?;
        let head = if self.config.tied { table } else { named.find("lm_head.weight")? };
        x.broadcast_matmul(&head.t()?)
    }

    fn norm(&self, x: &Tensor, weight: &Tensor) -> CandleResult<Tensor> {
        let square = (x.sqr()?.mean_keepdim(D::Minus1)? + f64::from(self.config.norm_eps))?;
        x.broadcast_div(&square.sqrt()?)?.broadcast_mul(weight)
    }

    fn attention(&self, named: &Named<'_>, layer: usize, x: &Tensor) -> CandleResult<Tensor> {
        let ModelConfig { heads, kv_heads, .. } = self.config;
        let (rows, length, width) = x.dims3()?;
        let part = |name: &str| format!("model.layers.{layer}.self_attn.{name}");
        let split = |x: Tensor, heads: usize| x.reshape((rows, length, heads, ()))?.transpose(1, 2)?.contiguous();
        let query = self.turn(&split(named.linear(&part("q_proj"), x)?, heads)?)?;
        let key = self.turn(&split(named.linear(&part("k_proj"), x)?, kv_heads)?)?;
        let value = split(named.linear(&part("v_proj"), x)?, kv_heads)?;
        let (key, value) = (repeat(&key, heads / kv_heads)?, repeat(&value, heads / kv_heads)?);
        let scale = 1.0 / (self.config.head_width() as f64).sqrt();
        let scores = (query.matmul(&key.transpose(2, 3)?.contiguous()?)? * scale)?;
        let scores = scores.broadcast_add(&self.mask(length, x.dtype())?)?;
        let mixed = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&value)?;
        named.linear(&part("o_proj"), &mixed.transpose(1, 2)?.reshape((rows, length, width))?)
    }

    /// Rotary positions on `[rows, heads, length, head width]`.
    fn turn(&self, x: &Tensor) -> CandleResult<Tensor> {
        let (length, half) = (x.dim(2)?, self.rotation.half());
        let table = |values: &[f32]| {
            Tensor::from_slice(&values[..length * half], (length, half), &self.device)?.to_dtype(x.dtype())
        };
        let (cosines, sines) = (table(self.rotation.cosines())?, table(self.rotation.sines())?);
        let (low, high) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
        let turned_low = (low.broadcast_mul(&cosines)? - high.broadcast_mul(&sines)?)?;
        let turned_high = (high.broadcast_mul(&cosines)? + low.broadcast_mul(&sines)?)?;
        Tensor::cat(&[turned_low, turned_high], D::Minus1)
    }

    /// −∞ where a token would see a later one.
    fn mask(&self, length: usize, dtype: DType) -> CandleResult<Tensor> {
        let hidden = |at: usize| if at % length > at / length { f32::NEG_INFINITY } else { 0.0 };
        let values: Vec<f32> = (0..length * length).map(hidden).collect();
        Tensor::from_vec(values, (length, length), &self.device)?.to_dtype(dtype)
    }
}

impl Executor for Reference {
    fn forward_losses(&mut self, parameters: &[f32], batch: &Tokens<'_>) -> Result<Vec<f32>, StepError> {
        self.check(parameters.len(), batch)?;
        let tensors = self.tensors(parameters, Ok)?;
        Ok(self.token_losses(&tensors, batch)?.mean(1)?.to_vec1()?)
    }

    fn loss_and_gradient(
        &mut self,
        parameters: &[f32],
        batch: &Tokens<'_>,
        gradient: &mut [f32],
    ) -> Result<f32, StepError> {
        self.check(parameters.len(), batch)?;
        check_length("gradient vector", gradient.len(), self.config.count())?;
        Ok(self.differentiate(parameters, batch, gradient)?.to_scalar()?)
    }
}

impl From<candle_core::Error> for StepError {
    fn from(error: candle_core::Error) -> Self {
        Self::Backend(error.to_string())
    }
}

struct Named<'a> {
    specs: &'a [ParameterSpec],
    tensors: &'a [Tensor],
}

impl Named<'_> {
    fn find(&self, name: &str) -> CandleResult<&Tensor> {
        let found = self.specs.iter().position(|spec| spec.name == name).map(|index| &self.tensors[index]);
        found.ok_or_else(|| candle_core::Error::Msg(format!("no tensor {name}")))
    }

    fn linear(&self, name: &str, x: &Tensor) -> CandleResult<Tensor> {
        let product = x.broadcast_matmul(&self.find(&format!("{name}.weight"))?.t()?)?;
        match self.find(&format!("{name}.bias")) {
            Ok(bias) => product.broadcast_add(bias),
            Err(_) => Ok(product),
        }
    }
}

fn swiglu(named: &Named<'_>, layer: usize, x: &Tensor) -> CandleResult<Tensor> {
    let part = |name: &str| format!("model.layers.{layer}.mlp.{name}");
    let gate = named.linear(&part("gate_proj"), x)?.silu()?;
    named.linear(&part("down_proj"), &(gate * named.linear(&part("up_proj"), x)?)?)
}

/// Each head of `[rows, heads, length, width]` `times` times in a row.
fn repeat(x: &Tensor, times: usize) -> CandleResult<Tensor> {
    let (rows, heads, length, width) = x.dims4()?;
    let repeated = Tensor::cat(&vec![x.unsqueeze(2)?; times], 2)?;
    repeated.reshape((rows, heads * times, length, width))
}
