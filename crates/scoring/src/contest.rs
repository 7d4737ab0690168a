//! A run with four honest miners and three cheats, in noisy numbers: who ends with which weight.

use crate::{Digest, Evidence, Hotkey, Hparams, LossScore, Overlap, Penalty, ScoreBook, Uid, Window, judge_overlaps};
use pactum_protocol::{BlockNumber, Metagraph, Neuron};

const HONEST: u16 = 4;
const LAZY: u16 = 4;
const COPY: u16 = 5;
const RANDOM: u16 = 6;
const MINERS: u16 = 7;
const WINDOWS: u64 = 24;

/// Noise from a seed.
struct Noise {
    seed: [u8; 8],
    drawn: u64,
}

impl Noise {
    fn new(seed: u64) -> Self {
        Self { seed: seed.to_le_bytes(), drawn: 0 }
    }

    /// Uniform in 0..1.
    fn uniform(&mut self) -> f64 {
        self.drawn += 1;
        let digest = Digest::derive("noise", &[&self.seed, &self.drawn.to_le_bytes()]);
        let bits = u32::from_le_bytes([digest.0[0], digest.0[1], digest.0[2], digest.0[3]]);
        f64::from(bits) / 4_294_967_296.0
    }

    /// Roughly normal, mean 0 and deviation 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

fn key(uid: u16) -> Hotkey {
    Hotkey([u8::try_from(uid).unwrap(); 32])
}

fn metagraph() -> Metagraph {
    let neuron = |uid: u16| Neuron {
        uid: Uid(uid),
        hotkey: key(uid),
        stake: 0,
        permit: false,
        address: None,
        registered: BlockNumber(u64::from(uid)),
    };
    Metagraph { block: BlockNumber(0), neurons: (0..MINERS).map(neuron).collect() }
}

#[derive(Clone, Copy)]
struct World {
    /// The deviation of a LossScore, as a fraction of an honest one's mean.
    noise: f64,
    /// How much more assigned samples improve than others, as a fraction of the improvement.
    gap: f64,
    /// Whether copies are noticed by their overlap.
    noticed: bool,
    /// How far apart the weights of honest miners may be.
    spread: f32,
}

/// What an honest contribution improves in a window, in nats: less and less.
fn usual(window: u64) -> f64 {
    0.05 * 0.93f64.powf(f64::from(u32::try_from(window).unwrap())) + 0.004
}

/// The fraction of an honest contribution's worth that a miner's has.
fn fraction(uid: u16, noise: &mut Noise) -> f64 {
    match uid {
        LAZY => 0.15 + 0.2 * noise.uniform(),
        COPY => 0.3 * noise.uniform(),
        RANDOM => -0.2 * noise.uniform(),
        _ => 1.0,
    }
}

fn evidence(world: &World, window: u64, noise: &mut Noise, penalties: &[Option<Penalty>]) -> Vec<Evidence> {
    let unit = usual(window);
    let spread = world.noise * unit;
    let score = |mean: f64, noise: &mut Noise| {
        Some(LossScore { mean: mean + spread * noise.normal(), stderr: spread * (0.7 + 0.6 * noise.uniform()), n: 16 })
    };
    (0..MINERS)
        .map(|uid| {
            let mean = unit * fraction(uid, noise);
            let own = if uid < HONEST { mean * world.gap } else { 0.0 };
            Evidence {
                uid: Uid(uid),
                hotkey: key(uid),
                penalty: penalties[usize::from(uid)],
                assigned: score(mean + own, noise),
                unassigned: score(mean, noise),
            }
        })
        .collect()
}

/// The weights at the end, by uid.
fn run(world: &World, seed: u64) -> Vec<f32> {
    let rules = Hparams::preset("tiny").unwrap().scoring;
    let (mut noise, mut book, metagraph) = (Noise::new(seed), ScoreBook::new(), metagraph());
    for window in 0..WINDOWS {
        let old = Overlap { uid: Uid(COPY), other: Uid(0), window: Window(window.saturating_sub(1)), fraction: 0.97 };
        let overlaps = if world.noticed && window > 0 { vec![old] } else { Vec::new() };
        let found = judge_overlaps(Window(window), &overlaps, f64::from(rules.overlap_max), &metagraph);
        let penalties: Vec<Option<Penalty>> = (0..MINERS).map(|uid| found.get(&Uid(uid)).copied()).collect();
        book.update(Window(window), &evidence(world, window, &mut noise, &penalties), &rules);
    }
    let mut weights = vec![0.0; usize::from(MINERS)];
    for (uid, weight) in book.weights(&metagraph, &rules) {
        weights[usize::from(uid.0)] = weight;
    }
    weights
}

#[track_caller]
fn check(world: World) {
    for seed in 0..40 {
        let weights = run(&world, seed);
        let (honest, cheats) = weights.split_at(usize::from(HONEST));
        let least = honest.iter().copied().fold(f32::INFINITY, f32::min);
        let most = honest.iter().copied().fold(0.0, f32::max);
        let best_cheat = cheats.iter().copied().fold(0.0, f32::max);
        assert!(best_cheat < least / 10.0, "seed {seed}: a cheat earns too much: {weights:?}");
        assert!(most < world.spread * least, "seed {seed}: honest work is paid unevenly: {weights:?}");
    }
}

#[test]
fn cheats_end_with_less_than_a_tenth_and_the_honest_within_a_factor_of_two() {
    check(World { noise: 0.2, gap: 0.05, noticed: true, spread: 2.0 });
}

#[test]
fn so_they_do_in_little_noise() {
    check(World { noise: 0.02, gap: 0.05, noticed: true, spread: 2.0 });
}

#[test]
fn so_they_do_in_much_noise() {
    check(World { noise: 0.35, gap: 0.0, noticed: true, spread: 2.75 });
}

#[test]
fn so_they_do_if_nobody_notices_the_copies() {
    check(World { noise: 0.2, gap: 0.3, noticed: false, spread: 2.0 });
}
