//! Where training steps are made, on the command line.

use pactum_cli::Failure;
use pactum_node::{Device, Place as Chosen, Precision};

/// Where to compute, and how finely.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Place {
    /// Where to train; all but the processor need a program built with the feature `cuda`
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    device: Device,
    /// What the products of matrices on a device are made of; parameters and sums are f32 in any case [default: bf16]
    #[arg(long, value_enum)]
    precision: Option<Precision>,
}

impl Place {
    /// The place that was named, if there is one.
    pub(crate) fn chosen(self) -> Result<Chosen, Failure> {
        Chosen::new(self.device, self.precision).map_err(Failure::usage)
    }
}
