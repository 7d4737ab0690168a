//! Many updates in, one step of the parameters out.

use crate::device::{Buffer, Device};
use crate::error::DeviceError;
use crate::launch::Call;
use crate::matrix::Matrix;
use crate::table::Table;
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

/// What the peers sent, on the device.
struct Inputs {
    /// For each peer the addresses of its runs, positions and values, and its weight.
    peers: Buffer<u64>,
    /// For each tensor the factors of all peers.
    factors: Buffer<f32>,
    /// Chunks that every update has.
    chunks: usize,
    /// Values that a block reads ahead.
    stage: usize,
}

impl Outer {
    /// Steps some tensors that do not overlap, and waits until that is done.
    ///
    /// # Errors
    /// If a tensor does not lie in the parameters or in each update, there is not a factor for each peer, or the device
    /// fails.
    pub fn run(&self, theta: &mut Buffer<f32>, peers: &[Peer<'_>], tensors: &[Tensor]) -> Result<(), DeviceError> {
        let device = theta.device().clone();
        if tensors.iter().any(|tensor| tensor.factors.len() != peers.len()) {
            return Err(DeviceError::Shape("there is not a factor for each peer"));
        }
        let table = Table::upload(&device, tensors.iter().map(|tensor| &tensor.matrix))?;
        let inputs = Inputs::upload(&device, peers, tensors)?;
        if !peers.is_empty() && table.chunks > inputs.chunks {
            return Err(DeviceError::Length { what: "an update", expected: table.chunks, found: inputs.chunks });
        }
        let (contributors, total) = match self.divisor {
            Divisor::Total(total) => (0, total),
            Divisor::Contributors => (1, 0.0),
        };
        let call = Call::on(&device).buffer("the parameters", theta, (0, table.len))?;
        let call = call.buffer("the peers", &inputs.peers, (0, 4 * peers.len()))?;
        let call = call.buffer("the factors", &inputs.factors, (0, tensors.len() * peers.len()))?.table(&table)?;
        let call = call.number(peers.len()).number(table.count).float(self.rate).float(total);
        let shared = RUNS_BYTES + (1 + contributors) * 4 * table.longest + (4 + 2) * inputs.stage;
        call.number(contributors).number(inputs.stage).launch("outer", table.blocks, shared)?;
        device.finish()
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
            peers: device.upload(&peers.iter().flat_map(row).collect::<Vec<_>>())?,
            factors: device.upload(&factors)?,
            chunks: peers.iter().map(|peer| peer.update.chunks()).min().unwrap_or(0),
            stage: peers.iter().map(|peer| peer.update.longest).max().unwrap_or(0).max(STAGE),
        })
    }
}
