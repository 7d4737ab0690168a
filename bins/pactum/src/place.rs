//! Where training steps are made.

use std::path::Path;

use clap::ValueEnum;
use pactum_cli::Failure;
use pactum_learner::{Accelerator, LearnerConfig};

/// Where to compute, and how finely.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Place {
    /// Where to train; all but the processor need a program built with the feature `cuda`
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub(crate) device: Device,
    /// What the products of matrices on a device are made of; parameters and sums are f32 in any case [default: bf16]
    #[arg(long, value_enum)]
    precision: Option<Precision>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Device {
    /// The processor
    Cpu,
    /// The first CUDA device of this machine
    Cuda,
    /// A device's kernels run by the processor, very slowly: to try them without a device; needs a C compiler
    Emulation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Precision {
    /// 32 bits
    F32,
    /// Bfloat16
    Bf16,
}

impl Place {
    /// What trains there; `None` is the processor. An emulation is built in `folder`.
    pub(crate) fn accelerator(
        self,
        config: &LearnerConfig,
        folder: &Path,
    ) -> Result<Option<Box<dyn Accelerator>>, Failure> {
        match (self.device, self.precision) {
            (Device::Cpu, None | Some(Precision::F32)) => Ok(None),
            (Device::Cpu, Some(Precision::Bf16)) => {
                Err(Failure::usage("the processor trains in f32: leave --precision out, or name another --device"))
            }
            (device, precision) => device.accelerator(config, precision.unwrap_or(Precision::Bf16), folder).map(Some),
        }
    }
}

#[cfg(feature = "cuda")]
impl Device {
    fn accelerator(
        self,
        config: &LearnerConfig,
        precision: Precision,
        folder: &Path,
    ) -> Result<Box<dyn Accelerator>, Failure> {
        use pactum_model::{DeviceEngine, DeviceTrainer};
        let device = match self {
            Self::Emulation => pactum_kernels::Device::emulation(&folder.join("emulation"))?,
            Self::Cpu | Self::Cuda => pactum_kernels::Device::find()?,
        };
        let (model, optimizer) = (&config.model, config.inner.optimizer);
        let setting = (precision.into(), false);
        let needed = DeviceEngine::train_bytes(model, config.rows_at_once(), setting)?;
        let trainer = DeviceEngine::new(&device, model, config.rows_at_once(), setting)
            .and_then(|engine| DeviceTrainer::new(engine, optimizer));
        let trainer = trainer.map_err(|error| {
            let needed = pactum_model::bytes_text(needed);
            Failure::because(format!("{} cannot train this model, which takes {needed} there", device.name()), &error)
        })?;
        Ok(Box::new(trainer))
    }
}

#[cfg(not(feature = "cuda"))]
impl Device {
    fn accelerator(
        self,
        _config: &LearnerConfig,
        _precision: Precision,
        _folder: &Path,
    ) -> Result<Box<dyn Accelerator>, Failure> {
        Err(Failure::usage(NO_DEVICES))
    }
}

/// What a program without devices says.
#[cfg(not(feature = "cuda"))]
pub(crate) const NO_DEVICES: &str = "this program was built for the processor alone: build it with devices, cargo build --release -p pactum --features cuda";

#[cfg(feature = "cuda")]
impl From<Precision> for pactum_model::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}
