//! Where a node computes, and what does it there.

use std::error::Error;
use std::fmt;
use std::path::Path;

use pactum_learner::{Accelerator, LearnerConfig};
use serde::{Deserialize, Serialize};

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The processor
    #[default]
    Cpu,
    /// The first CUDA device of this machine
    Cuda,
    /// A device's kernels run by the processor, very slowly: to try them without a device; needs a C compiler
    Emulation,
}

/// What the operands of matrix products are made of. Parameters and sums are f32 in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits
    F32,
    /// Bfloat16
    Bf16,
}

/// A device that this program can compute on, and how finely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    device: Device,
    precision: Precision,
}

/// Why nothing is computed there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The processor has one precision.
    #[error("the processor trains in f32: leave --precision out, or name another --device")]
    Processor,
    /// This program has no devices.
    #[error(
        "this program was built for the processor alone: build it with devices, cargo build --release -p pactum \
         --features cuda"
    )]
    NoDevices,
    /// A validator compares losses that differ by little.
    #[error("a validator judges in f32: leave --precision out")]
    Judge,
    /// There is no such device, or it cannot be used.
    #[error("{device} cannot be used: {source}")]
    Unusable {
        /// The one that was asked for.
        device: Device,
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The device does not take this model.
    #[error("{device} cannot train this model, which takes {needed} there: {source}")]
    Refused {
        /// What the device calls itself.
        device: String,
        /// How much of its memory training takes, for people.
        needed: String,
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl Place {
    /// The processor.
    pub const PROCESSOR: Self = Self { device: Device::Cpu, precision: Precision::F32 };

    /// For training, in bf16 on a device unless another precision is given.
    ///
    /// # Errors
    /// If there is no such combination, or this program was built without devices.
    pub fn new(device: Device, precision: Option<Precision>) -> Result<Self, PlaceError> {
        match (device, precision) {
            (Device::Cpu, None | Some(Precision::F32)) => Ok(Self::PROCESSOR),
            (Device::Cpu, Some(Precision::Bf16)) => Err(PlaceError::Processor),
            _ if !cfg!(feature = "cuda") => Err(PlaceError::NoDevices),
            (device, precision) => Ok(Self { device, precision: precision.unwrap_or(Precision::Bf16) }),
        }
    }

    /// For judging, in f32.
    ///
    /// # Errors
    /// As [`Place::new`], and if bf16 is asked for.
    pub fn for_judging(device: Device, precision: Option<Precision>) -> Result<Self, PlaceError> {
        match Self::new(device, precision.or(Some(Precision::F32)))? {
            Self { precision: Precision::Bf16, .. } => Err(PlaceError::Judge),
            place => Ok(place),
        }
    }

    /// What computes there.
    #[must_use]
    pub fn device(self) -> Device {
        self.device
    }

    /// How finely.
    #[must_use]
    pub fn precision(self) -> Precision {
        self.precision
    }

    /// Whether it is another place than the processor.
    #[must_use]
    pub fn is_device(self) -> bool {
        self.device != Device::Cpu
    }

    /// What computes there in place of the learner's own engine; `None` on the processor. An emulation is built in `folder`.
    ///
    /// # Errors
    /// If the device is not there, does not take the model, or has too little memory for it.
    pub fn accelerator(
        self,
        config: &LearnerConfig,
        folder: &Path,
    ) -> Result<Option<Box<dyn Accelerator>>, PlaceError> {
        if self.is_device() { self.start(config, folder).map(Some) } else { Ok(None) }
    }

    #[cfg(not(feature = "cuda"))]
    fn start(self, _config: &LearnerConfig, _folder: &Path) -> Result<Box<dyn Accelerator>, PlaceError> {
        Err(PlaceError::NoDevices)
    }

    #[cfg(feature = "cuda")]
    fn start(self, config: &LearnerConfig, folder: &Path) -> Result<Box<dyn Accelerator>, PlaceError> {
        use pactum_model::{DeviceEngine, DeviceTrainer};
        let unusable = |source| PlaceError::Unusable { device: self.device, source };
        let device = match self.device {
            Device::Emulation => pactum_model::Device::emulation(&folder.join("emulation")),
            Device::Cpu | Device::Cuda => pactum_model::Device::find(),
        };
        let device = device.map_err(|error| unusable(error.into()))?;
        let (model, rows, setting) = (&config.model, config.rows_at_once(), (self.precision.into(), false));
        let needed = DeviceEngine::train_bytes(model, rows, setting).map_err(|error| unusable(error.into()))?;
        let trainer = DeviceEngine::new(&device, model, rows, setting)
            .and_then(|engine| DeviceTrainer::new(engine, config.inner.optimizer));
        let trainer = trainer.map_err(|error| PlaceError::Refused {
            device: device.name().to_owned(),
            needed: pactum_model::bytes_text(needed),
            source: error.into(),
        })?;
        Ok(Box::new(trainer))
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::PROCESSOR
    }
}

#[cfg(feature = "cuda")]
impl From<Precision> for pactum_model::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

/// As it is written on a command line.
impl fmt::Display for Device {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Emulation => "emulation",
        })
    }
}

/// As it is written on a command line.
impl fmt::Display for Precision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found = Result<(Device, Precision), &'static str>;

    fn check(device: Device, precision: Option<Precision>, trains: Found, judges: Found) {
        let found = [Place::new(device, precision), Place::for_judging(device, precision)];
        for (found, expected) in found.into_iter().zip([trains, judges]) {
            let found = found.map(|place| (place.device(), place.precision())).map_err(|error| error.to_string());
            match expected {
                Ok(expected) => assert_eq!(found, Ok(expected), "{device} {precision:?}"),
                Err(says) => assert!(found.as_ref().is_err_and(|said| said.contains(says)), "{found:?}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        use Precision::{Bf16, F32};
        let processor = Ok((Device::Cpu, F32));
        check(Device::Cpu, None, processor, processor);
        check(Device::Cpu, Some(F32), processor, processor);
        check(Device::Cpu, Some(Bf16), Err("the processor trains in f32"), Err("the processor trains in f32"));
        for device in [Device::Cuda, Device::Emulation] {
            let only = |found: Found| if cfg!(feature = "cuda") { found } else { Err("for the processor alone") };
            let [f32, bf16] = [F32, Bf16].map(|precision| only(Ok((device, precision))));
            check(device, None, bf16, f32);
            check(device, Some(F32), f32, f32);
            check(device, Some(Bf16), bf16, only(Err("a validator judges in f32")));
        }
    }
}
