use crate::{InnerError, InnerReport, Learner};
use pactum_data::{Assignment, AssignmentError, Dataset, SampleError};
use pactum_model::StepError;
use std::io;

/// How [`train_alone`] trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AloneOptions {
    /// Windows to train, each of the configuration's inner steps and batch.
    pub windows: u64,
    /// Held-out sequences to measure after each window.
    pub heldout: usize,
    /// Chooses the order of the samples.
    pub seed: [u8; 32],
}

/// One window of [`train_alone`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AloneReport {
    /// The window.
    pub window: u64,
    /// Its training.
    pub inner: InnerReport,
    /// Loss on the held-out sequences after it, in nats per token.
    pub heldout_loss: f32,
}

/// Trains without peers: the same learner, but what it learns in a window is committed as it is. This is the baseline of
/// every network run. `each` is called after every window and ends the training by `false`; so does `keep_going`, which is
/// asked before every step: what was begun of a window is then forgotten.
///
/// # Errors
/// If the dataset does not fit the model or cannot be read.
pub fn train_alone(
    learner: &mut Learner,
    dataset: &Dataset,
    options: &AloneOptions,
    keep_going: &mut dyn FnMut() -> bool,
    each: &mut dyn FnMut(&AloneReport) -> bool,
) -> Result<(), AloneError> {
    let inner = learner.config().inner.clone();
    let context = learner.config().model.context;
    let per_window = u32::try_from(inner.batch).ok().and_then(|batch| batch.checked_mul(inner.steps));
    let per_window = per_window.ok_or(AloneError::TooLarge)?;
    let assignment = Assignment::new(dataset.samples(context), 1, per_window)?;
    let heldout = dataset.heldout(context, options.heldout.max(1))?;
    for _ in 0..options.windows {
        let window = learner.window();
        let samples = assignment.of(window, 0, &options.seed);
        let Some(report) = train_window(learner, dataset, &samples, keep_going)? else { break };
        let heldout_loss = learner.heldout_loss(&heldout)?;
        if !each(&AloneReport { window, inner: report, heldout_loss }) {
            break;
        }
    }
    Ok(())
}

/// `None` if the window was not trained to its end, and so not committed.
fn train_window(
    learner: &mut Learner,
    dataset: &Dataset,
    samples: &[u64],
    keep_going: &mut dyn FnMut() -> bool,
) -> Result<Option<InnerReport>, AloneError> {
    let (steps, rows) = (learner.config().inner.steps, learner.config().inner.batch);
    let context = learner.config().model.context;
    let (mut failed, mut stopped) = (None, false);
    let mut batches = |step: u32| {
        let part = samples.chunks(rows).nth(step as usize)?;
        dataset.batch(context, part).map_err(|error| failed = Some(error)).ok()
    };
    let mut going = || {
        stopped = !keep_going();
        !stopped
    };
    let report = learner.inner_steps(&mut batches, steps, &mut going)?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    if stopped {
        learner.reset_window()?;
        return Ok(None);
    }
    learner.commit_alone();
    Ok(Some(report))
}

/// Why training alone ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AloneError {
    /// A window has too many samples.
    #[error("a window of that many steps and sequences is too large: choose fewer steps or a smaller batch")]
    TooLarge,
    /// The dataset has no sample of the model's context.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    /// The dataset cannot be read.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The dataset does not fit the model.
    #[error(transparent)]
    Step(#[from] StepError),
    /// What is offloaded cannot be written or read.
    #[error("the optimizer's state cannot be laid aside: {0}; is the disk full?")]
    Scratch(#[from] io::Error),
}

impl From<InnerError> for AloneError {
    fn from(error: InnerError) -> Self {
        match error {
            InnerError::Step(error) => error.into(),
            InnerError::Scratch(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learner::tests::micro;
    use pactum_data::{PrepareOptions, prepare};

    #[test]
    fn the_loss_falls_and_the_run_can_be_continued() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("text"), "abcdefgh".repeat(600)).unwrap();
        let options = PrepareOptions { context: 16, ..PrepareOptions::default() };
        prepare(&[folder.path().join("text")], &folder.path().join("set"), &options, &mut |_| true).unwrap();
        let dataset = Dataset::open(&folder.path().join("set")).unwrap();

        let mut learner = Learner::new(micro(), 1).unwrap();
        let options = AloneOptions { windows: 6, heldout: 4, seed: [1; 32] };
        let mut reports = Vec::new();
        let mut each = |report: &AloneReport| {
            reports.push(*report);
            true
        };
        train_alone(&mut learner, &dataset, &options, &mut || true, &mut each).unwrap();
        let losses: Vec<f32> = reports.iter().map(|report| report.heldout_loss).collect();
        assert!(losses[5] < 0.6 * losses[0], "{losses:?}");
        assert_eq!(reports.iter().map(|report| report.window).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);

        let mut stopped = Learner::new(micro(), 1).unwrap();
        train_alone(&mut stopped, &dataset, &options, &mut || true, &mut |report| report.window < 2).unwrap();
        assert_eq!(stopped.window(), 3);
        // Stopped in the middle of a window, it stands where the window began.
        let mut steps = 0;
        let mut one_step = || {
            steps += 1;
            steps < 2
        };
        train_alone(&mut stopped, &dataset, &options, &mut one_step, &mut |_| panic!("no window was done")).unwrap();
        assert_eq!((stopped.window(), steps), (3, 2));
        let mut resumed = Learner::restore(micro(), &stopped.snapshot(true).unwrap()).unwrap();
        let rest = AloneOptions { windows: 3, ..options };
        train_alone(&mut resumed, &dataset, &rest, &mut || true, &mut |_| true).unwrap();
        assert_eq!(resumed.snapshot(true).unwrap(), learner.snapshot(true).unwrap());
    }
}
