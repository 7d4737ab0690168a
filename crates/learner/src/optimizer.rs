//! The inner optimizer's state, in memory or on the shelf.

use crate::InnerError;
use crate::bytes::{stream_floats, stream_zeros};
use crate::shelf::{Shelf, Slot};
use pactum_model::{AdamW, MomentStore, StepError, StepReport, StreamedAdamW};
use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;

/// AdamW. A clone shares what lies on the shelf, and the one that changes it first gets a place of its own: so it goes with
/// the committed optimizer, that of the open window, that of a payload and that of a snapshot.
#[derive(Clone)]
pub(crate) enum Optimizer {
    Here(AdamW),
    Away(Away),
}

/// Which of the two.
#[derive(Clone, Copy)]
pub(crate) enum Moment {
    First,
    Second,
}

/// An optimizer whose moments never come into memory as a whole.
#[derive(Clone)]
pub(crate) struct Away {
    stepper: StreamedAdamW,
    shelf: Arc<Shelf>,
    /// Both moments; `None` if they are zero.
    moments: Option<[Arc<Slot>; 2]>,
}

impl Optimizer {
    pub(crate) fn steps(&self) -> u64 {
        match self {
            Self::Here(optimizer) => optimizer.steps(),
            Self::Away(away) => away.stepper.steps(),
        }
    }

    /// # Errors
    /// If the shelf fails: parameters and optimizer are then of no use.
    pub(crate) fn step(&mut self, parameters: &mut [f32], gradient: &[f32], rate: f32) -> io::Result<StepReport> {
        match self {
            Self::Here(optimizer) => Ok(optimizer.step(parameters, gradient, rate)),
            Self::Away(away) => away.step(parameters, gradient, rate),
        }
    }

    /// One of its moments as little-endian bytes, in blocks.
    pub(crate) fn write(&self, moment: Moment, out: &mut dyn Write) -> io::Result<()> {
        match (self, moment) {
            (Self::Here(optimizer), Moment::First) => stream_floats(out, optimizer.first_moments()),
            (Self::Here(optimizer), Moment::Second) => stream_floats(out, optimizer.second_moments()),
            (Self::Away(away), moment) => match &away.moments {
                Some(moments) => moments[moment as usize].copy_to(out),
                None => stream_zeros(out, away.stepper.count()),
            },
        }
    }

    /// With all moments in memory; `fresh` is one before its first step.
    pub(crate) fn in_memory(&self, mut fresh: AdamW) -> io::Result<Cow<'_, AdamW>> {
        match self {
            Self::Here(optimizer) => Ok(Cow::Borrowed(optimizer)),
            Self::Away(away) => {
                away.load(&mut fresh)?;
                Ok(Cow::Owned(fresh))
            }
        }
    }

    /// Takes over the moments that `store` gives back in memory; `fresh` is an optimizer before its first step.
    pub(crate) fn take_over(
        &mut self,
        mut fresh: AdamW,
        store: impl FnOnce(&mut AdamW) -> Result<(), StepError>,
    ) -> Result<(), InnerError> {
        match self {
            Self::Here(optimizer) => Ok(store(optimizer)?),
            Self::Away(away) => {
                store(&mut fresh)?;
                Ok(away.keep(&fresh)?)
            }
        }
    }

    /// Takes over the state of another, in memory that is there.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        match (self, other) {
            (Self::Here(optimizer), Self::Here(other)) => optimizer.copy_from(other),
            (optimizer, other) => optimizer.clone_from(other),
        }
    }
}

impl Away {
    /// `stepper` with moments that are zero.
    pub(crate) fn fresh(stepper: StreamedAdamW, shelf: &Arc<Shelf>) -> Self {
        Self { stepper, shelf: Arc::clone(shelf), moments: None }
    }

    /// A place for one of the moments.
    pub(crate) fn slot(&self) -> Arc<Slot> {
        self.shelf.slot()
    }

    /// Takes over what lies in the slots, which so many steps made.
    pub(crate) fn set(&mut self, moments: [Arc<Slot>; 2], steps: u64) {
        self.stepper.set_steps(steps);
        self.moments = Some(moments);
    }

    /// Lays down what `optimizer` holds.
    pub(crate) fn keep(&mut self, optimizer: &AdamW) -> io::Result<()> {
        let put = |moments| self.shelf.put(moments);
        self.set([put(optimizer.first_moments())?, put(optimizer.second_moments())?], optimizer.steps());
        Ok(())
    }

    /// Puts into `optimizer` what is laid down; its moments must be zero.
    pub(crate) fn load(&self, optimizer: &mut AdamW) -> io::Result<()> {
        let Some([first, second]) = &self.moments else { return Ok(()) };
        let moments = [first.load(Vec::new())?, second.load(Vec::new())?];
        optimizer.restore(&moments[0], &moments[1], self.stepper.steps()).map_err(io::Error::other)
    }

    fn step(&mut self, parameters: &mut [f32], gradient: &[f32], rate: f32) -> io::Result<StepReport> {
        // What another one holds too stays as it is.
        let from = self.moments.take();
        let own = from.as_ref().filter(|moments| moments.iter().all(|slot| Arc::strong_count(slot) == 1));
        let to = own.map_or_else(|| [self.shelf.slot(), self.shelf.slot()], <[Arc<Slot>; 2]>::clone);
        let made = self.stepper.step(parameters, gradient, rate, &Moving { from: from.as_ref(), to: &to });
        let applied = made.as_ref().is_ok_and(|report| report.applied);
        self.moments = if applied { Some(to) } else { from };
        made
    }
}

/// Moments on their way from one step to the next.
struct Moving<'a> {
    from: Option<&'a [Arc<Slot>; 2]>,
    to: &'a [Arc<Slot>; 2],
}

impl MomentStore for Moving<'_> {
    fn read(&self, at: usize, first: &mut [f32], second: &mut [f32]) -> io::Result<()> {
        let Some(from) = self.from else {
            first.fill(0.0);
            second.fill(0.0);
            return Ok(());
        };
        from[0].read(at, first)?;
        from[1].read(at, second)
    }

    fn write(&self, at: usize, first: &[f32], second: &[f32]) -> io::Result<()> {
        self.to[0].write(at, first)?;
        self.to[1].write(at, second)
    }
}
