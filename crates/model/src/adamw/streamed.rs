//! The inner optimizer with its moments outside of memory.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::{AdamWConfig, Rule, StepReport};
use crate::engine::Engine;
use crate::kernel::adam::{Factors, PIECE, update};
use crate::layout::ParameterSpec;
use crate::team::Lent;

/// Where the moments of a [`StreamedAdamW`] lie, such as a file.
///
/// A step asks for each range of parameters once, from several threads at a time and in any order: it reads the range's
/// moments, and then writes them. What is written may lie elsewhere than what is read, so that the old moments are kept.
pub trait MomentStore: Sync {
    /// The first and second moments of as many parameters as the slices are long, from the one at `at` on.
    ///
    /// # Errors
    /// If they cannot be read.
    fn read(&self, at: usize, first: &mut [f32], second: &mut [f32]) -> io::Result<()>;

    /// Keeps them.
    ///
    /// # Errors
    /// If they cannot be written.
    fn write(&self, at: usize, first: &[f32], second: &[f32]) -> io::Result<()>;
}

/// [`AdamW`](crate::AdamW) for whoever has less memory: the moments stay in a [`MomentStore`], and a step holds a few pieces of them. The
/// bits are the same.
///
/// While one of the engine's threads waits for the store, the others compute.
#[derive(Clone, Debug)]
pub struct StreamedAdamW {
    rule: Rule,
}

impl StreamedAdamW {
    /// As [`AdamW::new`](crate::AdamW::new); the store must hold zeros before the first step.
    pub fn new(config: AdamWConfig, specs: &[ParameterSpec]) -> Self {
        Self { rule: Rule::new(config, specs) }
    }

    /// As [`AdamW::on_threads_of`](crate::AdamW::on_threads_of).
    #[must_use]
    pub fn on_threads_of(mut self, engine: &Engine) -> Self {
        self.rule.team = engine.team();
        self
    }

    /// Steps made so far.
    pub fn steps(&self) -> u64 {
        self.rule.step
    }

    /// Says how many steps the moments in the store come from.
    pub fn set_steps(&mut self, steps: u64) {
        self.rule.step = steps;
    }

    /// Parameters that it updates.
    pub fn count(&self) -> usize {
        self.rule.count()
    }

    /// Updates parameters and moments by one step of the given learning rate.
    ///
    /// # Errors
    /// If the store fails. The step is then made in part: the parameters are of no use, nor is what was written.
    ///
    /// # Panics
    /// If a vector's length is not that of the optimizer.
    pub fn step(
        &mut self,
        parameters: &mut [f32],
        gradient: &[f32],
        rate: f32,
        store: &dyn MomentStore,
    ) -> io::Result<StepReport> {
        self.rule.check(parameters, gradient);
        let team = Arc::clone(&self.rule.team);
        team.enter(|| {
            let (report, factors) = self.rule.begin(gradient, rate);
            factors.map_or(Ok(()), |factors| self.run(parameters, gradient, factors, store))?;
            Ok(report)
        })
    }

    fn run(&self, parameters: &mut [f32], gradient: &[f32], by: Factors, store: &dyn MomentStore) -> io::Result<()> {
        let (lent, failed) = (Lent::new(), Mutex::new(None));
        let failure = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = parameters.chunks_mut(BLOCK).zip(gradient.chunks(BLOCK)).enumerate();
        self.rule.team.each(blocks, |(index, (parameters, gradient))| {
            if failure().is_some() {
                return;
            }
            let make = || [vec![0.0; BLOCK], vec![0.0; BLOCK]];
            let done = lent.lend(make, |[first, second]| {
                let count = gradient.len();
                let (first, second) = (&mut first[..count], &mut second[..count]);
                store.read(index * BLOCK, first, second)?;
                self.update(index * BLOCK, [parameters, first, second], gradient, by);
                store.write(index * BLOCK, first, second)
            });
            if let Err(error) = done {
                *failure() = Some(error);
            }
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// One step of the parameters from `at` on.
    fn update(&self, at: usize, [parameters, first, second]: [&mut [f32]; 3], gradient: &[f32], by: Factors) {
        for span in &self.rule.spans {
            let from = span.range.start.max(at);
            let to = span.range.end.min(at + gradient.len());
            if from < to {
                let part = from - at..to - at;
                let moments = (&mut first[part.clone()], &mut second[part.clone()]);
                let parameters = &mut parameters[part.clone()];
                update(parameters, &gradient[part], moments.0, moments.1, span.factors(by));
            }
        }
    }
}

/// Parameters whose moments are in memory at once, for each thread.
const BLOCK: usize = 8 * PIECE;

#[cfg(test)]
mod tests;
