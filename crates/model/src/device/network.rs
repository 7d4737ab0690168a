//! Passes over one part of a batch, from token ids to losses and gradients.

use std::ops::Range;

use pactum_kernels::{AdamW, Attention, Buffer, Device, DeviceError, Ids, Moments};

use super::buffers::{Kept, Work};
use super::linear::{Operand, Projection, Weights};
use crate::config::ModelConfig;
use crate::executor::Tokens;
use crate::kernel::rope::Rotation;
use crate::layout::{Layout, Linear};

/// What the engine asks of a network, whatever its operands are made of.
pub(super) trait Run: Send {
    fn weights(&self) -> &Weights;
    /// Takes over parameters that were written.
    fn refresh(&mut self) -> Result<(), DeviceError>;
    /// The loss of each token.
    fn losses(&mut self, part: &Tokens<'_>) -> Result<Vec<f32>, DeviceError>;
    /// The loss of each token; `scale` times the gradient of their sum is added to the gradient.
    fn differentiate(&mut self, part: &Tokens<'_>, scale: f32) -> Result<Vec<f32>, DeviceError>;
    /// One step of the optimizer for a range of the parameters.
    fn update(&mut self, by: &AdamW, moments: &mut Moments, range: Range<usize>) -> Result<(), DeviceError>;
    /// Fails unless there is memory left for what a library of attention will work in.
    fn check_room(&self) -> Result<(), DeviceError>;
    /// What makes attention.
    fn attention(&self) -> String;
}

/// A model on a device: parameters, gradient, and the memory of a training step.
pub(super) struct Network<E> {
    config: ModelConfig,
    layout: Layout,
    weights: Weights,
    copy: Buffer<E>,
    angles: Angles,
    /// Tokens that there is room for.
    room: usize,
    work: Work<E>,
    /// The residual stream before each block and after the last, `[tokens, width]` each.
    streams: Vec<Buffer<f32>>,
    /// One for each block; a single one if blocks are computed again.
    kept: Vec<Kept<E>>,
    ids: Ids,
}

/// Cosine and sine of each position and pair, `[context, half]`.
struct Angles {
    half: usize,
    cosines: Buffer<f32>,
    sines: Buffer<f32>,
}

/// What all blocks of one pass share.
pub(super) struct Pass<'a, E> {
    pub(super) config: &'a ModelConfig,
    pub(super) layout: &'a Layout,
    pub(super) weights: &'a Weights,
    copy: &'a Buffer<E>,
    pub(super) attention: Attention,
    pub(super) cosines: Buffer<f32>,
    pub(super) sines: Buffer<f32>,
    /// Tokens of the part.
    pub(super) tokens: usize,
}

impl<E: Operand> Network<E> {
    pub(super) fn new(
        device: &Device,
        config: &ModelConfig,
        rows: usize,
        recompute: bool,
    ) -> Result<Self, DeviceError> {
        let room = rows * config.context;
        let rotation = Rotation::new(config);
        let (cosines, sines) = (device.upload(rotation.cosines())?, device.upload(rotation.sines())?);
        let weights = Weights::zeros(device, config.count())?;
        let kept = if recompute { 1 } else { config.layers };
        Ok(Self {
            layout: Layout::new(config),
            copy: E::copy_of(&weights.parameters)?,
            weights,
            angles: Angles { half: rotation.half(), cosines, sines },
            room,
            work: Work::new(device, config, room)?,
            streams: (0..=config.layers).map(|_| device.zeros(room * config.width)).collect::<Result<_, _>>()?,
            kept: (0..kept).map(|_| Kept::new(device, config, room)).collect::<Result<_, _>>()?,
            ids: Ids::room(device, room)?,
            config: config.clone(),
        })
    }

    fn pass(&self, part: &Tokens<'_>) -> Result<Pass<'_, E>, DeviceError> {
        let (config, length) = (&self.config, part.inputs());
        Ok(Pass {
            config,
            layout: &self.layout,
            weights: &self.weights,
            copy: &self.copy,
            attention: attention(config, length),
            cosines: self.angles.cosines.part(0..length * self.angles.half)?,
            sines: self.angles.sines.part(0..length * self.angles.half)?,
            tokens: part.rows * length,
        })
    }

    /// Memory of the pass that all blocks share.
    fn work(&self, pass: &Pass<'_, E>) -> Result<Work<E>, DeviceError> {
        self.work.part(self.room, pass.tokens)
    }

    /// The stream before a block and what the block keeps.
    fn block(&self, pass: &Pass<'_, E>, index: usize) -> Result<(Buffer<f32>, Kept<E>), DeviceError> {
        let kept = &self.kept[if self.kept.len() == 1 { 0 } else { index }];
        Ok((self.stream(pass, index)?, kept.part(self.room, pass.tokens)?))
    }

    fn stream(&self, pass: &Pass<'_, E>, index: usize) -> Result<Buffer<f32>, DeviceError> {
        self.streams[index].part(0..pass.tokens * self.config.width)
    }

    /// From token ids to the stream after the last block, normed for the head.
    fn forward(&mut self, part: &Tokens<'_>) -> Result<(), DeviceError> {
        let (inputs, targets) = inputs_and_targets(part);
        self.ids.write(&inputs, self.config.vocab)?;
        let pass = self.pass(part)?;
        let mut work = self.work(&pass)?;
        work.targets.write(&targets)?;
        let table = pass.weights.parameter(&pass.layout.embedding)?;
        self.ids.gather(&table, &mut self.stream(&pass, 0)?)?;
        for (index, layout) in pass.layout.layers.iter().enumerate() {
            let (stream, mut kept) = self.block(&pass, index)?;
            pass.attend(layout, &mut work, (&stream, &mut kept))?;
            pass.feed(layout, &mut work, (&mut self.stream(&pass, index + 1)?, &mut kept))?;
        }
        pass.last_norm(&mut work, &self.stream(&pass, self.config.layers)?)
    }

    /// From the gradient by the stream after the last block to those by all parameters below.
    fn backward(&self, part: &Tokens<'_>) -> Result<(), DeviceError> {
        let pass = self.pass(part)?;
        let mut work = self.work(&pass)?;
        let again = self.kept.len() < self.config.layers;
        for (index, layout) in pass.layout.layers.iter().enumerate().rev() {
            let (stream, mut kept) = self.block(&pass, index)?;
            if again && index + 1 < self.config.layers {
                pass.attend(layout, &mut work, (&stream, &mut kept))?;
                pass.gate(layout, &mut work, &mut kept)?;
            }
            pass.feed_backward(layout, &mut work, &mut kept)?;
            pass.attend_backward(layout, &mut work, (&stream, &mut kept))?;
        }
        self.ids.spread(&work.slope, &mut self.weights.gradient(&self.layout.embedding)?)
    }
}

impl<E: Operand> Run for Network<E> {
    fn weights(&self) -> &Weights {
        &self.weights
    }

    fn refresh(&mut self) -> Result<(), DeviceError> {
        E::refresh(&mut self.copy, &self.weights.parameters)
    }

    fn losses(&mut self, part: &Tokens<'_>) -> Result<Vec<f32>, DeviceError> {
        self.forward(part)?;
        let pass = self.pass(part)?;
        let mut work = self.work(&pass)?;
        pass.losses(&mut work)?;
        work.losses.read()
    }

    fn differentiate(&mut self, part: &Tokens<'_>, scale: f32) -> Result<Vec<f32>, DeviceError> {
        self.forward(part)?;
        let pass = self.pass(part)?;
        let mut work = self.work(&pass)?;
        pass.head_backward(&mut work, &self.stream(&pass, self.config.layers)?, scale)?;
        self.backward(part)?;
        work.losses.read()
    }

    fn update(&mut self, by: &AdamW, moments: &mut Moments, range: Range<usize>) -> Result<(), DeviceError> {
        let Weights { parameters, gradient } = &mut self.weights;
        by.step(parameters, gradient, moments, (range, E::short(&mut self.copy)))
    }

    fn check_room(&self) -> Result<(), DeviceError> {
        let (shape, device) = (attention(&self.config, self.config.context), self.weights.parameters.device());
        shape.check_room::<E>(device, self.room / self.config.context)
    }

    fn attention(&self) -> String {
        let shape = attention(&self.config, self.config.context);
        if E::NARROW { shape.made_by(self.weights.parameters.device()) } else { "own kernels".to_owned() }
    }
}

impl<'a, E> Pass<'a, E> {
    pub(super) fn projection(&self, linear: &'a Linear) -> Projection<'a, E> {
        Projection { linear, weights: self.weights, copy: self.copy }
    }
}

/// Attention over sequences of so many tokens.
pub(super) fn attention(config: &ModelConfig, length: usize) -> Attention {
    Attention { heads: config.heads, kv_heads: config.kv_heads, width: config.head_width(), length }
}

fn inputs_and_targets(part: &Tokens<'_>) -> (Vec<u32>, Vec<u32>) {
    let rows = || part.ids.chunks_exact(part.columns);
    let inputs = rows().flat_map(|row| &row[..part.inputs()]);
    (inputs.copied().collect(), rows().flat_map(|row| &row[1..]).copied().collect())
}
