//! What earlier calls came to, so that a call that was stopped goes on where it was.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use crate::Bench;
use crate::run::{Curve, Point, Run};

/// A text file: what the runs share, then one line for each run, parted by tabs.
pub(crate) struct Store {
    text: String,
}

impl Store {
    /// What `convergence.tsv` in the folder holds, unless it is of another text or of other settings.
    pub(crate) fn open(folder: &Path, bench: &Bench) -> Self {
        let head = format!(
            "text {:016x}, model {:?}, {} steps of {}, {} alone with {:?}",
            bench.corpus.fingerprint(),
            bench.model,
            bench.steps,
            bench.batch,
            bench.alone,
            bench.tiny
        );
        let old = std::fs::read_to_string(folder.join("convergence.tsv")).unwrap_or_default();
        let text = if old.lines().next() == Some(&head) { old } else { format!("{head}\n") };
        Self { text }
    }

    /// The curve of a run that was made before.
    pub(crate) fn find(&self, run: &Run) -> Option<Curve> {
        let key = key(run);
        let line = self.text.lines().find_map(|line| line.strip_prefix(&key)?.strip_prefix('\t'))?;
        let mut parts = line.split('\t');
        let (last, bytes, dense) =
            (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let points = parts.map(point).collect::<Option<Vec<Point>>>()?;
        Some(Curve { points, last, bytes, dense })
    }

    pub(crate) fn keep(&mut self, folder: &Path, run: &Run, curve: &Curve) -> Result<(), Box<dyn Error>> {
        let mut line = format!("{}\t{}\t{}\t{}", key(run), curve.last, curve.bytes, curve.dense);
        for Point { tokens, bytes, loss } in &curve.points {
            write!(line, "\t{tokens} {bytes} {loss}")?;
        }
        self.text = format!("{}{line}\n", self.text);
        Ok(std::fs::write(folder.join("convergence.tsv"), &self.text)?)
    }
}

fn key(run: &Run) -> String {
    format!("{}; {} workers, H {}", run.name, run.workers, run.inner)
}

/// Tokens, bytes and loss, parted by blanks.
fn point(text: &str) -> Option<Point> {
    let mut parts = text.split(' ');
    let (tokens, bytes) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(Point { tokens, bytes, loss: parts.next()?.parse().ok()? })
}
