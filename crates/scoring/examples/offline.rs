//! Scores recorded losses: `cargo run -p pactum-scoring --example offline -- losses.csv`.
//!
//! Each line of the file is `window,peer,set,before,after`; see the README of this crate.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufWriter, Write};

use pactum_scoring::{Digest, Evidence, Hotkey, Hparams, Penalty, ScoreBook, Uid, Window};

/// What a file says of one peer in one window.
#[derive(Default)]
struct Recorded {
    assigned: Vec<(f32, f32)>,
    unassigned: Vec<(f32, f32)>,
    penalty: Option<Penalty>,
}

type Windows = BTreeMap<u64, BTreeMap<String, Recorded>>;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("name a file of recorded losses")?;
    let windows = read(&std::fs::read_to_string(path)?)?;
    let rules = Hparams::preset("tiny").ok_or("no such preset")?.scoring;
    let names: Vec<String> = windows.values().flat_map(BTreeMap::keys).cloned().collect();
    let uids: BTreeMap<String, Uid> =
        names.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().zip((0..).map(Uid)).collect();

    let mut out = BufWriter::new(std::io::stdout().lock());
    writeln!(out, "window peer             loss score        ordinal  value  share")?;
    let mut book = ScoreBook::new();
    for (window, peers) in &windows {
        let evidence: Vec<Evidence> =
            peers.iter().map(|(name, recorded)| recorded.evidence(uids[name], name)).collect();
        let lines = book.update(Window(*window), &evidence, &rules);
        for (name, line) in peers.keys().zip(lines) {
            let score = match (line.loss_score, line.penalty) {
                (Some(score), _) => format!("{:+.4} ± {:.4}", score.mean, score.stderr),
                (None, Some(penalty)) => format!("{penalty:?}"),
                (None, None) => "not judged".to_owned(),
            };
            let (ordinal, value, share) = (line.ordinal, line.value, 100.0 * line.share);
            writeln!(out, "{window:6} {name:16} {score:17} {ordinal:7.2} {value:6.3} {share:5.1}%")?;
        }
    }
    out.flush()?;
    Ok(())
}

impl Recorded {
    fn evidence(&self, uid: Uid, name: &str) -> Evidence {
        let hotkey = Hotkey(Digest::of(name.as_bytes()).0);
        match self.penalty {
            Some(penalty) => Evidence::penalised(uid, hotkey, penalty),
            None => Evidence::judged(uid, hotkey, &self.assigned, &self.unassigned),
        }
    }

    fn take(&mut self, cells: &[&str]) -> Option<()> {
        let pair = || Some((cells.get(3)?.parse().ok()?, cells.get(4)?.parse().ok()?));
        match *cells.get(2)? {
            "assigned" => self.assigned.push(pair()?),
            "unassigned" => self.unassigned.push(pair()?),
            other => self.penalty = Some(penalty(other)?),
        }
        Some(())
    }
}

fn read(text: &str) -> Result<Windows, Box<dyn Error>> {
    let mut windows = Windows::new();
    for (number, line) in (1..).zip(text.lines()).skip(1).filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let window = cells[0].parse().map_err(|_| format!("line {number}: the window is not a number"))?;
        let peer = cells.get(1).copied().unwrap_or_default().to_owned();
        let recorded = windows.entry(window).or_default().entry(peer).or_default();
        recorded.take(&cells).ok_or_else(|| format!("line {number}: expected window,peer,set,before,after"))?;
    }
    Ok(windows)
}

fn penalty(name: &str) -> Option<Penalty> {
    Some(match name {
        "missing" => Penalty::Missing,
        "late" => Penalty::Late,
        "out-of-sync" => Penalty::OutOfSync,
        "malformed" => Penalty::Malformed,
        "overlapping" => Penalty::Overlapping,
        "replayed" => Penalty::Replayed,
        _ => return None,
    })
}
