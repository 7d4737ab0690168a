use crate::{LearnerConfig, LearnerError};
use pactum_model::{EngineError, Plan, bytes_text};
use std::fmt;

/// What a learner holds in memory, before anything is allocated. Its `Display` is a table for people.
///
/// Payloads of peers, the dataset and the program itself come on top; they are small beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The model, and the engine for as many sequences as it works on at once.
    pub model: Plan,
    /// Sequences in one step; they are worked off in parts of `model.rows`.
    pub batch: u64,
}

impl LearnerConfig {
    /// What a learner with this configuration will hold.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn memory(&self) -> Result<MemoryPlan, LearnerError> {
        self.validate()?;
        let model = self.model.plan(self.rows_at_once()).map_err(EngineError::from)?;
        Ok(MemoryPlan { model, batch: self.inner.batch as u64 })
    }
}

impl MemoryPlan {
    /// Bytes that training alone holds: θ, θ' and the gradient, the optimizer's two moments as committed and as of the open
    /// window, and the engine's buffers.
    pub fn alone_bytes(&self) -> u64 {
        7 * self.model.vector_bytes + self.engine_bytes()
    }

    /// Bytes that a miner of a network holds: as alone, and the error feedback. What a payload leaves of it takes the
    /// gradient's place.
    pub fn network_bytes(&self) -> u64 {
        self.alone_bytes() + self.model.vector_bytes
    }

    /// Bytes that training alone holds if it [offloads](crate::Learner::offloading): all moments lie on disk, so that θ, θ' and
    /// the gradient remain.
    pub fn offloaded_bytes(&self) -> u64 {
        3 * self.model.vector_bytes + self.engine_bytes()
    }

    /// Bytes that a miner of a network holds if it [offloads](crate::Learner::offloading): as training alone, for the error
    /// feedback lies on disk while there is a gradient; and the bytes of a checkpoint, for a moment.
    pub fn offloaded_network_bytes(&self) -> u64 {
        self.offloaded_bytes() + self.model.vector_bytes
    }

    /// Bytes that training alone holds on this side if an [accelerator](crate::Learner::accelerated) makes the steps: as alone
    /// without the engine's buffers, and three vectors for a moment when they come back.
    pub fn accelerated_bytes(&self) -> u64 {
        10 * self.model.vector_bytes
    }

    /// Bytes that a miner of a network holds on this side if an [accelerator](crate::Learner::accelerated) makes the steps: as
    /// [alone](MemoryPlan::accelerated_bytes), and the error feedback.
    pub fn accelerated_network_bytes(&self) -> u64 {
        self.accelerated_bytes() + self.model.vector_bytes
    }

    /// Bytes that a validator holds: θ, and the engine's buffers. It has no optimizer and no error feedback.
    pub fn validator_bytes(&self) -> u64 {
        self.model.vector_bytes + self.engine_bytes()
    }

    fn engine_bytes(&self) -> u64 {
        self.model.kept_bytes + self.model.work_bytes
    }
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, batch } = self;
        let vector = model.vector_bytes;
        writeln!(
            out,
            "memory of a learner, steps of {batch} sequences of {} tokens, {} at once, f32:",
            model.context, model.rows
        )?;
        for (part, bytes) in [
            ("parameters, committed and in training", 2 * vector),
            ("gradient", vector),
            ("moments, committed and in training", 4 * vector),
            ("activations and other buffers", self.engine_bytes()),
            ("together, training alone", self.alone_bytes()),
            ("error feedback", vector),
            ("together, a miner in a network", self.network_bytes()),
            ("training alone with --offload", self.offloaded_bytes()),
            ("a miner with --offload", self.offloaded_network_bytes()),
            ("training alone on a device, on this side", self.accelerated_bytes()),
            ("a miner on a device, on this side", self.accelerated_network_bytes()),
        ] {
            writeln!(out, "  {part:<41}{:>10}", bytes_text(bytes))?;
        }
        write!(out, "  {:<41}{:>10}", "a validator", bytes_text(self.validator_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use crate::learner::tests::micro;

    #[test]
    fn every_vector_of_a_learner_is_counted() {
        let plan = micro().memory().unwrap();
        let vector = 4 * micro().model.count() as u64;
        assert_eq!(plan.alone_bytes(), 7 * vector + plan.engine_bytes());
        assert_eq!(plan.network_bytes(), 8 * vector + plan.engine_bytes());
        assert_eq!(plan.offloaded_bytes(), 3 * vector + plan.engine_bytes());
        assert_eq!(plan.offloaded_network_bytes(), 4 * vector + plan.engine_bytes());
        assert_eq!(plan.accelerated_bytes(), 10 * vector);
        assert_eq!(plan.accelerated_network_bytes(), 11 * vector);
        assert_eq!(plan.validator_bytes(), vector + plan.engine_bytes());
        let step = micro().model.plan(4).unwrap();
        assert_eq!(plan.engine_bytes(), step.train_bytes() - 4 * vector);
        let text = plan.to_string();
        assert!(
            text.starts_with("memory of a learner, steps of 4 sequences of 16 tokens, 4 at once, f32:\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 13);
    }

    #[test]
    fn settings_out_of_range_have_no_plan() {
        let mut config = micro();
        config.model.heads = 3;
        let message = "model setting width is 16: it must be a multiple of 3";
        assert_eq!(config.memory().unwrap_err().to_string(), message);
    }
}
