use super::*;
use crate::learner::tests::{batch, micro, train};
use crate::{InnerError, Weighted};
use pactum_model::{AdamW, AdamWConfig, ModelConfig, StepError};

/// The processor itself in an accelerator's place, which must not be told from a learner without one.
struct Beside {
    engine: Engine,
    parameters: Vec<f32>,
    optimizer: AdamW,
    /// Steps after which it fails.
    lasts: u32,
}

impl Beside {
    fn boxed(model: &ModelConfig, lasts: u32) -> Box<dyn Accelerator> {
        let engine = Engine::new(model, 4, 1).unwrap();
        let optimizer = AdamW::new(AdamWConfig::default(), &model.parameters());
        Box::new(Self { engine, parameters: Vec::new(), optimizer, lasts })
    }

    fn alive(&self) -> Result<(), StepError> {
        if self.lasts == 0 { Err(StepError::Backend("it fell off the bus".into())) } else { Ok(()) }
    }
}

impl Executor for Beside {
    fn forward_losses(&mut self, parameters: &[f32], batch: &Tokens<'_>) -> Result<Vec<f32>, StepError> {
        self.parameters = vec![f32::NAN; parameters.len()];
        self.engine.forward_losses(parameters, batch)
    }

    fn loss_and_gradient(
        &mut self,
        parameters: &[f32],
        batch: &Tokens<'_>,
        gradient: &mut [f32],
    ) -> Result<f32, StepError> {
        self.engine.loss_and_gradient(parameters, batch, gradient)
    }
}

impl Accelerator for Beside {
    fn model(&self) -> &ModelConfig {
        self.engine.config()
    }

    fn describe(&self) -> String {
        "the processor".to_owned()
    }

    fn load(&mut self, parameters: &[f32], optimizer: &AdamW) -> Result<(), StepError> {
        self.alive()?;
        self.parameters = parameters.to_vec();
        self.optimizer = optimizer.clone();
        Ok(())
    }

    fn step(&mut self, batch: &Tokens<'_>, rate: f32) -> Result<TrainStep, StepError> {
        self.alive()?;
        let mut gradient = vec![0.0; self.parameters.len()];
        let loss = self.engine.loss_and_gradient(&self.parameters, batch, &mut gradient)?;
        let report = self.optimizer.step(&mut self.parameters, &gradient, rate);
        self.lasts -= 1;
        Ok(TrainStep { loss, norm: report.norm, applied: report.applied })
    }

    fn store(&mut self, parameters: &mut [f32], optimizer: &mut AdamW) -> Result<(), StepError> {
        self.alive()?;
        parameters.copy_from_slice(&self.parameters);
        optimizer.copy_from(&self.optimizer);
        Ok(())
    }
}

fn beside(lasts: u32) -> Learner {
    Learner::new(micro(), 3).unwrap().accelerated(Beside::boxed(&micro().model, lasts)).unwrap()
}

/// What a window of steps in two parts leaves, with measuring between them.
fn window(mut learner: Learner) -> (Vec<u8>, Vec<u8>, Vec<crate::LossPair>) {
    for salt in 0..3 {
        train(&mut learner, salt, 3);
        learner.heldout_loss(&batch(9)).unwrap();
        train(&mut learner, salt, 5);
        let payload = learner.compress().unwrap();
        let update = learner.check(&payload).unwrap();
        learner.apply(&[Weighted { update: &update, weight: 1.0 }], Some(true)).unwrap();
    }
    train(&mut learner, 9, 4);
    let payload = learner.compress().unwrap();
    let update = learner.check(&payload).unwrap();
    let judged = learner.judge(&update, &[&update], 0.1, &batch(2)).unwrap();
    (learner.snapshot(true).unwrap(), payload, judged)
}

#[test]
fn where_a_step_is_made_is_not_seen() {
    let here = window(Learner::new(micro(), 3).unwrap());
    assert_eq!(window(beside(u32::MAX)), here);
    let offloaded = beside(u32::MAX).offloading(Box::new(tempfile::tempfile().unwrap())).unwrap();
    assert_eq!(window(offloaded).0, here.0);
}

#[test]
fn steps_that_are_lost_were_not_made() {
    let mut learner = beside(5);
    train(&mut learner, 0, 3);
    let mut batches = |step| Some(batch(step));
    let error = learner.inner_steps(&mut batches, 5, &mut || true).unwrap_err();
    assert!(matches!(error, InnerError::Step(StepError::Backend(_))), "{error}");
    let mut short = Learner::new(micro(), 3).unwrap();
    train(&mut short, 0, 3);
    assert_eq!(learner.compress(), short.compress(), "the steps that came back can still be sent");
    assert_eq!(learner.snapshot(true).unwrap(), short.snapshot(true).unwrap());
}

/// Every step of a window is lost while the error feedback lies on the shelf.
#[test]
fn a_window_that_is_lost_keeps_the_error_feedback() {
    let mut expected = Learner::new(micro(), 3).unwrap();
    let mut learner = beside(12).offloading(Box::new(tempfile::tempfile().unwrap())).unwrap();
    for learner in [&mut expected, &mut learner] {
        train(learner, 0, 8);
        let payload = learner.compress().unwrap();
        let update = learner.check(&payload).unwrap();
        learner.apply(&[Weighted { update: &update, weight: 1.0 }], Some(true)).unwrap();
    }
    learner.inner_steps(&mut |step| Some(batch(step)), 5, &mut || true).unwrap_err();
    assert_eq!(learner.compress(), None);
    for learner in [&mut expected, &mut learner] {
        learner.skip();
    }
    assert_eq!(learner.snapshot(true).unwrap(), expected.snapshot(true).unwrap());
}

#[test]
fn a_batch_that_does_not_fit_loses_no_step() {
    let mut learner = beside(u32::MAX);
    let mut batches = |step| Some(if step < 3 { batch(step) } else { vec![999; 17] });
    learner.inner_steps(&mut batches, 5, &mut || true).unwrap_err();
    let mut short = Learner::new(micro(), 3).unwrap();
    train(&mut short, 0, 3);
    assert_eq!(learner.compress(), short.compress());
}

#[test]
fn an_accelerator_of_another_model_is_refused() {
    let other = ModelConfig { ffn: 48, ..micro().model };
    let error = Learner::new(micro(), 3).unwrap().accelerated(Beside::boxed(&other, 9)).unwrap_err();
    assert_eq!(error.to_string(), "the accelerator was made for another model");
}
