//! Many updates in, one step of the parameters out.

use crate::device::{Buffer, Device};
use crate::error::DeviceError;
use crate::launch::Call;
use crate::matrix::Matrix;
use crate::update::Update;

/// Least number of values that a block reads ahead: those of 24 peers at 64 in a chunk.
const STAGE: usize = 1536;
/// Bytes of the structure `Runs` of the kernel.
const RUNS_BYTES: usize = 32 * (8 + 4);

/// One peer's update and its weight.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// What it sent.
    pub update: &'a Update,
    /// What counts for it among the contributors of a coordinate.
    pub weight: f32,
}

/// A tensor to be stepped.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Where it lies; its chunks' numbers are those in the updates.
    pub matrix: Matrix,
    /// A factor for each peer: its weight, and what scales it down in this tensor.
    pub factors: Vec<f32>,
}

/// By what a sum over peers is divided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Divisor {
    /// The same everywhere.
    Total(f32),
    /// For each coordinate the weights of the peers that sent it, added in their order; 1 where nobody did.
    Contributors,
}

/// An outer step: `theta -= rate * (sum of factor * value over the peers) / divisor`. Peers are added in their order, a
/// product is rounded before it is added.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outer {
    /// By what the sum is divided.
    pub divisor: Divisor,
    /// The rate.
    pub rate: f32,
}

/// What all tensors of a step have in common, on the device.
struct Inputs {
    /// For each peer the addresses of its runs, positions and values, and its weight.
    table: Buffer<u64>,
    /// For each tensor the factors of all peers.
    factors: Buffer<f32>,
    peers: usize,
    chunks: usize,
    /// Values that a block reads ahead.
    stage: usize,
}

impl Outer {
    /// Steps some tensors and waits until that is done.
    ///
    /// # Errors
    /// If a tensor does not lie in the parameters or in each update, there is not a factor for each peer, or the device
    /// fails; then some tensors may have been stepped.
    pub fn run(&self, theta: &mut Buffer<f32>, peers: &[Peer<'_>], tensors: &[Tensor]) -> Result<(), DeviceError> {
        let device = theta.device().clone();
        if tensors.iter().any(|tensor| tensor.factors.len() != peers.len()) {
            return Err(DeviceError::Shape("there is not a factor for each peer"));
        }
        let inputs = Inputs::upload(&device, peers, tensors)?;
        let steps = tensors.iter().enumerate();
        let queued = steps.map(|(number, tensor)| self.step(theta, &tensor.matrix, &inputs, number));
        let queued = queued.collect::<Result<(), _>>();
        device.finish()?;
        queued
    }

    fn step(
        &self,
        theta: &mut Buffer<f32>,
        matrix: &Matrix,
        inputs: &Inputs,
        number: usize,
    ) -> Result<(), DeviceError> {
        let (blocks, peers, end) = (matrix.blocks()?, inputs.peers, matrix.chunk.saturating_add(matrix.chunks()));
        if peers > 0 && end > inputs.chunks {
            return Err(DeviceError::Length { what: "an update", expected: end, found: inputs.chunks });
        }
        let (contributors, total) = match self.divisor {
            Divisor::Total(total) => (0, total),
            Divisor::Contributors => (1, 0.0),
        };
        let device = theta.device().clone();
        let call = Call::on(&device).buffer("the parameters", theta, matrix.range())?;
        let call = call.buffer("the peers", &inputs.table, (0, 4 * peers))?;
        let call = call.buffer("the factors", &inputs.factors, (number * peers, peers))?;
        let call = call.number(peers).number(matrix.chunk).matrix(matrix).float(self.rate).float(total);
        let shared = RUNS_BYTES + (1 + contributors) * 4 * matrix.longest() + (4 + 2) * inputs.stage;
        call.number(contributors).number(inputs.stage).launch("outer", blocks, shared)
    }
}

impl Inputs {
    fn upload(device: &Device, peers: &[Peer<'_>], tensors: &[Tensor]) -> Result<Inputs, DeviceError> {
        if !peers.iter().all(|peer| device.is(peer.update.starts.device())) {
            return Err(DeviceError::Shape("an update lies on another device"));
        }
        let row = |peer: &Peer<'_>| {
            let update = peer.update;
            [update.starts.at(0), update.indices.at(0), update.values.at(0), u64::from(peer.weight.to_bits())]
        };
        let factors = tensors.iter().flat_map(|tensor| &tensor.factors).copied().collect::<Vec<_>>();
        Ok(Inputs {
            table: device.upload(&peers.iter().flat_map(row).collect::<Vec<_>>())?,
            factors: device.upload(&factors)?,
            peers: peers.len(),
            chunks: peers.iter().map(|peer| peer.update.chunks()).min().unwrap_or(0),
            stage: peers.iter().map(|peer| peer.update.longest).max().unwrap_or(0).max(STAGE),
        })
    }
}
