//! The table of all runs so far.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use pactum_learner::{Mean, Quantiser};

use crate::run::{Curve, Exchange, Run, Sparse};
use crate::{Bench, plot};

const BEGIN: &str = "<!-- runs: written by the example convergence -->";
const END: &str = "<!-- end of runs -->";

/// Puts the table between the marks of `convergence.md`, which is begun if it is not there, and the plot beside it.
pub(crate) fn write(folder: &Path, bench: &Bench, runs: &[(Run, Curve)]) -> Result<(), Box<dyn Error>> {
    let path = folder.join("convergence.md");
    let old = std::fs::read_to_string(&path).unwrap_or_else(|_| format!("# Convergence\n\n{BEGIN}\n{END}\n"));
    let (head, rest) = old.split_once(BEGIN).ok_or("convergence.md has no mark where the runs begin")?;
    let (_, tail) = rest.split_once(END).ok_or("convergence.md has no mark where the runs end")?;
    std::fs::write(&path, format!("{head}{BEGIN}\n{}\n{END}{tail}", table(bench, runs)))?;
    std::fs::write(folder.join("convergence.svg"), plot::svg(runs))?;
    Ok(())
}

fn table(bench: &Bench, runs: &[(Run, Curve)]) -> String {
    let mut text = format!(
        "Text of {} bytes. Alone: {} parameters, {} steps of 12 sequences. All other runs: {} parameters, {} steps of {} \
         sequences, over all workers.\n\n\
         | run | workers | k | quantiser | decay | outer rate | mean over | H | loss | against DiLoCo | sent by each | ratio |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
        bench.corpus.bytes(),
        bench.tiny.count(),
        bench.alone,
        bench.model.count(),
        bench.steps,
        bench.batch,
    );
    for (run, curve) in runs {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", row(run, curve, runs));
    }
    text
}

fn row(run: &Run, curve: &Curve, runs: &[(Run, Curve)]) -> String {
    let Run { name, workers, inner, exchange } = run;
    let settings = match exchange {
        Exchange::Sparse(Sparse { top_k, quantiser, decay, rate, mean, .. }) => {
            let quantiser = match quantiser {
                Quantiser::SignScale => "sign-scale",
                _ => "two-levels",
            };
            let mean = match mean {
                Mean::Peers => "peers",
                _ => "contributors",
            };
            format!("{top_k} | {quantiser} | {decay} | {rate} | {mean} | {inner}")
        }
        Exchange::Dense { rate, momentum: 0.0 } => format!("all | f32 | - | {rate} | peers | {inner}"),
        Exchange::Dense { rate, momentum } => format!("all | f32 | - | {rate}, momentum {momentum} | peers | {inner}"),
        Exchange::Alone | Exchange::Nothing => "- | - | - | - | - | -".to_owned(),
    };
    let is_dense = |run: &Run| matches!(run.exchange, Exchange::Dense { .. });
    let dense = runs
        .iter()
        .find(|(other, _)| is_dense(other) && !is_dense(run) && (other.workers, other.inner) == (*workers, *inner));
    let against = match dense {
        Some((_, dense)) => format!("{:+.1} %", 100.0 * (curve.last / dense.last - 1.0)),
        None => "-".to_owned(),
    };
    let ratio = match curve.bytes {
        0 => "-".to_owned(),
        bytes => format!("{:.0}", curve.dense as f64 / bytes as f64),
    };
    let sent = format!("{:.2} MB", curve.bytes as f64 / 1e6);
    format!("| {name} | {workers} | {settings} | {:.4} | {against} | {sent} | {ratio} |", curve.last)
}
