//! One run: its settings and what they come to.

use std::error::Error;

use pactum_learner::{
    CompressionConfig, InnerConfig, Learner, LearnerConfig, Mean, ModelConfig, OuterConfig, Quantiser, RateSchedule,
    Settings, Weighted,
};
use pactum_model::{AdamW, Engine, Executor as _, Tokens, initial_parameters};

use crate::Bench;

const SEED: u64 = 1337;
/// Sequences of the run alone.
const ALONE_ROWS: usize = 12;
/// Measurements on the way.
const POINTS: u32 = 20;

pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) workers: usize,
    /// Inner steps between two exchanges.
    pub(crate) inner: u32,
    pub(crate) exchange: Exchange,
}

#[derive(Clone, Copy)]
pub(crate) enum Exchange {
    /// One worker with a setting of its own.
    Alone,
    /// One worker that makes the steps of all.
    Nothing,
    /// Everything, in f32, and a Nesterov step (DiLoCo, arXiv:2311.08105).
    Dense { rate: f32, momentum: f32 },
    /// Compressed, with error feedback (SparseLoCo, arXiv:2508.15706).
    Sparse(Sparse),
}

#[derive(Clone, Copy)]
pub(crate) struct Sparse {
    pub(crate) top_k: usize,
    pub(crate) quantiser: Quantiser,
    pub(crate) decay: f32,
    pub(crate) rate: f32,
    pub(crate) mean: Mean,
    /// Windows that pass before a window's payloads are applied.
    pub(crate) apply_delay: u8,
}

/// What came of a run.
pub(crate) struct Curve {
    /// On a part of the held-out text, in the course of the run.
    pub(crate) points: Vec<Point>,
    /// On all of it, at the end, in nats per byte.
    pub(crate) last: f32,
    /// Sent by each worker in all.
    pub(crate) bytes: u64,
    /// What f32 would have taken in as many exchanges.
    pub(crate) dense: u64,
}

#[derive(Clone, Copy)]
pub(crate) struct Point {
    /// Of all workers.
    pub(crate) tokens: u64,
    /// Sent by one of them.
    pub(crate) bytes: u64,
    pub(crate) loss: f32,
}

impl Run {
    pub(crate) fn train(&self, bench: &Bench) -> Result<Curve, Box<dyn Error>> {
        match self.exchange {
            Exchange::Alone | Exchange::Nothing => self.alone(bench),
            Exchange::Sparse(_) => self.sparse(bench),
            Exchange::Dense { rate, momentum } => self.dense(bench, [rate, momentum]),
        }
    }

    /// Optimizer steps, and sequences in each over all workers.
    pub(crate) fn size(&self, bench: &Bench) -> (u32, usize) {
        match self.exchange {
            Exchange::Alone => (bench.alone, ALONE_ROWS),
            _ => (bench.steps, bench.batch),
        }
    }

    fn model<'a>(&self, bench: &'a Bench) -> &'a ModelConfig {
        match self.exchange {
            Exchange::Alone => &bench.tiny,
            _ => &bench.model,
        }
    }

    fn config(&self, bench: &Bench) -> LearnerConfig {
        let (steps, batch) = self.size(bench);
        let warmup = u64::from(steps / 10).min(50);
        let rate = RateSchedule::Cosine { peak: 3e-3, warmup, total: steps.into(), floor: 0.1 };
        let inner = InnerConfig { steps: self.inner, batch: batch / self.workers, rate, ..InnerConfig::default() };
        let mut config = LearnerConfig { model: self.model(bench).clone(), inner, ..LearnerConfig::default() };
        if let Exchange::Sparse(Sparse { top_k, quantiser, decay, rate, mean, apply_delay }) = self.exchange {
            let settings = Settings::new(top_k, quantiser);
            config.compression = CompressionConfig { settings, decay, ..config.compression };
            config.outer = OuterConfig { rate, mean, apply_delay };
        }
        config
    }

    /// Exchanges, and how many lie between two measurements.
    fn rounds(&self, bench: &Bench) -> (u32, u32) {
        let rounds = self.size(bench).0 / self.inner;
        (rounds, (rounds / POINTS).max(1))
    }

    fn point(&self, bench: &Bench, round: u32, sent: (u64, f32)) -> Point {
        let per_round = u64::from(self.inner) * (self.size(bench).1 * self.model(bench).context) as u64;
        Point { tokens: u64::from(round) * per_round, bytes: sent.0, loss: sent.1 }
    }

    fn alone(&self, bench: &Bench) -> Result<Curve, Box<dyn Error>> {
        let batch = self.size(bench).1;
        let config =
            LearnerConfig { inner: InnerConfig { steps: 1, ..self.config(bench).inner }, ..self.config(bench) };
        let mut learner = Learner::new(config, SEED)?;
        let sampled = bench.corpus.heldout(false);
        let steps = self.size(bench).0;
        let mut points = Vec::new();
        for step in 0..steps {
            let mut batches = |_| Some(bench.corpus.batch(step.into(), 0..batch));
            learner.inner_steps(&mut batches, 1, &mut || true)?;
            learner.commit_alone();
            if (step + 1).is_multiple_of((steps / POINTS).max(1)) {
                let tokens = u64::from(step + 1) * (batch * self.model(bench).context) as u64;
                points.push(Point { tokens, bytes: 0, loss: learner.heldout_loss(&sampled)? });
            }
        }
        Ok(Curve { points, last: learner.heldout_loss(&bench.corpus.heldout(true))?, bytes: 0, dense: 0 })
    }

    fn sparse(&self, bench: &Bench) -> Result<Curve, Box<dyn Error>> {
        let config = self.config(bench);
        let (rows, sampled) = (config.inner.batch, bench.corpus.heldout(false));
        let mut learners =
            (0..self.workers).map(|_| Learner::new(config.clone(), SEED)).collect::<Result<Vec<_>, _>>()?;
        let (rounds, every) = self.rounds(bench);
        let (mut points, mut sent) = (Vec::new(), 0);
        let mut late = Vec::new();
        for round in 0..rounds {
            let mut payloads = Vec::new();
            for (worker, learner) in learners.iter_mut().enumerate() {
                let first = u64::from(round * self.inner);
                let mut batches =
                    |step| Some(bench.corpus.batch(first + u64::from(step), worker * rows..(worker + 1) * rows));
                learner.inner_steps(&mut batches, self.inner, &mut || true)?;
                payloads.extend(learner.compress());
            }
            sent += payloads.iter().map(|payload| payload.len() as u64).sum::<u64>();
            if config.outer.apply_delay > 0 {
                std::mem::swap(&mut payloads, &mut late);
            }
            apply(&mut learners, &payloads)?;
            if (round + 1).is_multiple_of(every) {
                let loss = learners[0].heldout_loss(&sampled)?;
                points.push(self.point(bench, round + 1, (sent / self.workers as u64, loss)));
            }
        }
        // What is still on its way counts too: everybody has paid for it.
        apply(&mut learners, &late)?;
        let same = learners.iter().all(|learner| learner.state_digest() == learners[0].state_digest());
        assert!(same, "all workers applied the same payloads");
        let last = learners[0].heldout_loss(&bench.corpus.heldout(true))?;
        let dense = 4 * self.model(bench).count() as u64 * u64::from(rounds);
        Ok(Curve { points, last, bytes: sent / self.workers as u64, dense })
    }

    fn dense(&self, bench: &Bench, [rate, momentum]: [f32; 2]) -> Result<Curve, Box<dyn Error>> {
        let config = self.config(bench);
        let (rows, columns) = (config.inner.batch, self.model(bench).context + 1);
        let mut engine = Engine::new(self.model(bench), rows, 1)?;
        let mut optimizers = vec![AdamW::new(config.inner.optimizer, &self.model(bench).parameters()); self.workers];
        let mut theta = initial_parameters(self.model(bench), SEED);
        let mut velocity = vec![0.0; theta.len()];
        let (rounds, every) = self.rounds(bench);
        let per_round = 4 * theta.len() as u64;
        let sampled = bench.corpus.heldout(false);
        let mut points = Vec::new();
        for round in 0..rounds {
            let mut mean = vec![0.0; theta.len()];
            for (worker, optimizer) in optimizers.iter_mut().enumerate() {
                let first = u64::from(round * self.inner);
                let steps = first..first + u64::from(self.inner);
                let own = |step| bench.corpus.batch(step, worker * rows..(worker + 1) * rows);
                let batches = steps.map(|step| (config.inner.rate.rate(step), own(step)));
                let local = inner_steps(&mut engine, optimizer, &theta, batches)?;
                let moved = theta.iter().zip(&local).map(|(before, after)| (before - after) / self.workers as f32);
                mean.iter_mut().zip(moved).for_each(|(sum, moved): (&mut f32, f32)| *sum += moved);
            }
            for ((theta, velocity), mean) in theta.iter_mut().zip(&mut velocity).zip(&mean) {
                *velocity = momentum * *velocity + mean;
                *theta -= rate * (mean + momentum * *velocity);
            }
            if (round + 1).is_multiple_of(every) {
                let loss = mean_loss(&mut engine, &theta, &sampled, columns)?;
                points.push(self.point(bench, round + 1, (per_round * u64::from(round + 1), loss)));
            }
        }
        let last = mean_loss(&mut engine, &theta, &bench.corpus.heldout(true), columns)?;
        let bytes = per_round * u64::from(rounds);
        Ok(Curve { points, last, bytes, dense: bytes })
    }
}

fn apply(learners: &mut [Learner], payloads: &[Vec<u8>]) -> Result<(), Box<dyn Error>> {
    let updates = payloads.iter().map(|payload| learners[0].check(payload)).collect::<Result<Vec<_>, _>>()?;
    let weighted: Vec<_> = updates.iter().map(|update| Weighted { update, weight: 1.0 }).collect();
    learners.iter_mut().try_for_each(|learner| learner.apply(&weighted, Some(true)).map(drop))?;
    Ok(())
}

/// What becomes of θ by steps of the given rates and batches.
fn inner_steps(
    engine: &mut Engine,
    optimizer: &mut AdamW,
    theta: &[f32],
    batches: impl Iterator<Item = (f32, Vec<u32>)>,
) -> Result<Vec<f32>, Box<dyn Error>> {
    let (mut local, mut gradient) = (theta.to_vec(), vec![0.0; theta.len()]);
    let columns = engine.config().context + 1;
    for (rate, ids) in batches {
        let batch = Tokens { ids: &ids, rows: ids.len() / columns, columns };
        engine.loss_and_gradient(&local, &batch, &mut gradient)?;
        optimizer.step(&mut local, &gradient, rate);
    }
    Ok(local)
}

fn mean_loss(engine: &mut Engine, theta: &[f32], ids: &[u32], columns: usize) -> Result<f32, Box<dyn Error>> {
    let losses = engine.forward_losses(theta, &Tokens { ids, rows: ids.len() / columns, columns })?;
    Ok((losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64) as f32)
}
