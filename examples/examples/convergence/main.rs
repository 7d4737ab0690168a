//! How training that exchanges little converges, against one machine and against exchanging everything:
//! `convergence [TEXT [FOLDER]]`.
//!
//! `TEXT` is a file, UTF-8 or .gz; its last tenth is held out. The table and the plot in `FOLDER` (`convergence.md` between
//! its two marks, and `convergence.svg`) are written again after every run; `convergence.tsv` holds all measurements, and a
//! call that finds it goes on after its runs. Without arguments a few steps on a text of its own are made, to show that
//! everything works.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

mod corpus;
mod plot;
mod report;
mod run;
mod store;

use std::error::Error;
use std::path::{Path, PathBuf};

use corpus::Corpus;
use pactum_data::read_text;
use pactum_learner::{LearnerConfig, Mean, ModelConfig, Quantiser};
use run::{Exchange, Run, Sparse};
use store::Store;

/// Everything that the runs of a table share.
pub(crate) struct Bench {
    pub(crate) corpus: Corpus,
    pub(crate) model: ModelConfig,
    /// Optimizer steps of the comparison.
    pub(crate) steps: u32,
    /// Sequences in each of them, all workers together.
    pub(crate) batch: usize,
    /// The model of the run alone.
    pub(crate) tiny: ModelConfig,
    /// Its steps.
    pub(crate) alone: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let (text, folder, bench) = match arguments.as_slice() {
        [] => (None, Path::new("."), Bench::small()),
        [text] => (Some(text), Path::new("."), Bench::full()),
        [text, folder, ..] => (Some(text), folder.as_path(), Bench::full()),
    };
    let bench = match text {
        Some(path) => Bench { corpus: Corpus::new(&read_text(path, 1 << 30)?, bench.model.context)?, ..bench },
        None => bench,
    };
    let mut store = Store::open(folder, &bench);
    let mut done = Vec::new();
    for run in runs(&bench) {
        let curve = match store.find(&run) {
            Some(curve) => curve,
            None => run.train(&bench)?,
        };
        if store.find(&run).is_none() {
            store.keep(folder, &run, &curve)?;
        }
        println!("{:<34} {:.4} nats per byte, {} bytes sent by each", run.name, curve.last, curve.bytes);
        done.push((run, curve));
        report::write(folder, &bench, &done)?;
    }
    Ok(())
}

impl Bench {
    /// Alone, nanoGPT's setting for a CPU (4 layers, 4 heads, width 128, context 64); a smaller model for all else.
    fn full() -> Self {
        let tiny = LearnerConfig::default().model;
        let model = ModelConfig { width: 64, layers: 2, ffn: 192, ..tiny.clone() };
        Self { corpus: Corpus::own(64), model, steps: 1000, batch: 16, tiny, alone: 2000 }
    }

    fn small() -> Self {
        let model =
            ModelConfig { width: 32, layers: 1, heads: 2, kv_heads: 1, ffn: 64, context: 32, ..ModelConfig::default() };
        Self { corpus: Corpus::own(32), tiny: model.clone(), model, steps: 40, batch: 8, alone: 40 }
    }
}

/// The comparison, what it is compared with first, then one setting changed at a time.
fn runs(bench: &Bench) -> Vec<Run> {
    let usual = Sparse {
        top_k: 64,
        quantiser: Quantiser::TwoLevels,
        decay: 0.95,
        rate: 1.0,
        mean: Mean::Contributors,
        apply_delay: 0,
    };
    let late = Sparse { apply_delay: 1, ..usual };
    let own = |name: &str, workers, inner, exchange| Run { name: name.to_owned(), workers, inner, exchange };
    let sparse = |name: &str, workers, inner, sparse| own(name, workers, inner, Exchange::Sparse(sparse));
    let dense = Exchange::Dense { rate: 0.7, momentum: 0.9 };
    let sign = Sparse { quantiser: Quantiser::SignScale, ..usual };
    vec![
        own("one worker", 1, 10, Exchange::Nothing),
        own("DiLoCo", 4, 10, dense),
        sparse("SparseLoCo", 4, 10, usual),
        own("alone, 12 sequences a step", 1, bench.alone, Exchange::Alone),
        own("averaging", 4, 10, Exchange::Dense { rate: 1.0, momentum: 0.0 }),
        own("DiLoCo, outer rate 0.4", 4, 10, Exchange::Dense { rate: 0.4, momentum: 0.9 }),
        own("DiLoCo", 8, 10, dense),
        sparse("SparseLoCo", 8, 10, usual),
        sparse("SparseLoCo, k 128", 4, 10, Sparse { top_k: 128, ..usual }),
        sparse("SparseLoCo, sign and scale", 4, 10, sign),
        sparse("SparseLoCo, delay 1", 4, 10, late),
        sparse("SparseLoCo, delay 1", 8, 10, late),
        sparse("SparseLoCo, outer rate 0.7", 4, 10, Sparse { rate: 0.7, ..usual }),
        sparse("SparseLoCo, outer rate 0.7, delay 1", 4, 10, Sparse { rate: 0.7, ..late }),
        sparse("SparseLoCo, outer rate 0.4", 4, 10, Sparse { rate: 0.4, ..usual }),
        sparse("SparseLoCo, outer rate 0.4, delay 1", 4, 10, Sparse { rate: 0.4, ..late }),
        sparse("SparseLoCo, mean over peers", 4, 10, Sparse { mean: Mean::Peers, ..usual }),
        own("DiLoCo, H 5", 4, 5, dense),
        sparse("SparseLoCo, H 5", 4, 5, usual),
        sparse("SparseLoCo, k 32", 4, 10, Sparse { top_k: 32, ..usual }),
        sparse("SparseLoCo, decay 0.9", 4, 10, Sparse { decay: 0.9, ..usual }),
        sparse("SparseLoCo, decay 0.99", 4, 10, Sparse { decay: 0.99, ..usual }),
        own("DiLoCo, H 20", 4, 20, dense),
        sparse("SparseLoCo, H 20", 4, 20, usual),
        sparse("SparseLoCo, k 256", 4, 10, Sparse { top_k: 256, ..usual }),
    ]
}
