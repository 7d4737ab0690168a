//! How long a snapshot holds up a node: as one vector of bytes that is hashed, written and synchronised; streamed to the file;
//! and written by the journal's thread while the node goes on.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use pactum_learner::{Learner, ModelConfig};
use pactum_node::DiskJournal;
use pactum_protocol::{Digest, Window};
use pactum_round::{Entry, Journal as _, Snapshot};

use crate::{Error, contribution, learner, median};

const ROUNDS: u64 = 5;

pub(crate) fn print() -> Result<(), Error> {
    let mini = ModelConfig::preset("mini").ok_or("there is no preset mini")?;
    let wide = ModelConfig {
        vocab: 32_768,
        width: 512,
        layers: 4,
        heads: 8,
        kv_heads: 4,
        ffn: 1536,
        context: 64,
        ..mini.clone()
    };
    println!("median of {ROUNDS} snapshots of a miner after a window, in milliseconds that the node waits\n");
    println!(
        "| parameters | snapshot | one vector of bytes | streamed | in the background | durable after |\n|---|---|---|---|---|---|"
    );
    for model in [mini, wide] {
        let mut learner = learner(model, 1)?;
        contribution(&mut learner, 1, 1)?;
        let folder = std::env::temp_dir().join(format!("pactum-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let measured = measure(&learner, &folder);
        std::fs::remove_dir_all(&folder)?;
        let [plain, streamed, background, durable] = measured?;
        println!(
            "| {:.1} M | {:.0} MB | {plain:.1} | {streamed:.1} | {background:.3} | {durable:.1} |",
            learner.parameters().len() as f64 / 1e6,
            learner.capture(true).bytes() as f64 / 1e6
        );
    }
    Ok(())
}

fn measure(learner: &Learner, folder: &Path) -> Result<[f64; 4], Error> {
    let mut behind = DiskJournal::open(&folder.join("behind"))?;
    let mut before = DiskJournal::open(&folder.join("before"))?.in_foreground();
    let mut times = [const { Vec::new() }; 4];
    for round in 1..=ROUNDS {
        let entry = Entry { next: Window(round), previous: Digest::ZERO, state: Digest(learner.state_digest()) };
        times[0].push(timed(|| one_vector(learner, &folder.join("plain")))?);
        times[1].push(timed(|| before.commit(&entry, captured(learner)?, None))?);
        let began = Instant::now();
        times[2].push(timed(|| behind.commit(&entry, captured(learner)?, None))?);
        behind.settle()?;
        times[3].push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times.map(median))
}

fn timed(work: impl FnOnce() -> Result<(), Error>) -> Result<f64, Error> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

fn one_vector(learner: &Learner, path: &Path) -> Result<(), Error> {
    let bytes = learner.snapshot(true)?;
    let mut file = File::create(path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::hint::black_box(Digest::of(&bytes));
    Ok(())
}

struct Captured(pactum_learner::Snapshot);

impl Snapshot for Captured {
    fn write(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        self.0.write(out)
    }
}

fn captured(learner: &Learner) -> Result<Box<dyn Snapshot>, Error> {
    Ok(Box::new(Captured(learner.capture(true))))
}
