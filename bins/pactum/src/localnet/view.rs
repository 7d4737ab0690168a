//! The live view: one headline, and a row for each node.

use pactum_cli::Progress;
use pactum_protocol::{BlockNumber, Schedule};

use super::Network;
use super::board::{Board, Role, Seat};
use super::watch::Facts;

pub(super) fn show(progress: &Progress, network: &Network) {
    if progress.is_silent() {
        return;
    }
    let facts = network.watch.facts();
    progress.headline(headline(network, &facts));
    for (name, seat) in &network.board.seats {
        progress.row(name, row(seat, &network.board, &facts));
    }
}

fn headline(network: &Network, facts: &Facts) -> String {
    let schedule = Schedule::new(&network.plan.hparams.time);
    let windows = network.windows;
    let place = match schedule.window_at(facts.block) {
        None => "the nodes register".to_owned(),
        Some(window) => {
            let number = (window.0 + 1).min(windows);
            format!("window {number} of {windows}, {}", phase(&schedule, facts.block))
        }
    };
    let loss = match network.board.heldout_ends() {
        (Some(first), Some(last)) => format!("held-out loss {last:.3} (after the first window {first:.3})"),
        _ => "no held-out loss yet".to_owned(),
    };
    format!("{place} · {loss}")
}

/// What the network as a whole does at a block.
fn phase(schedule: &Schedule, block: BlockNumber) -> &'static str {
    let Some(window) = schedule.window_at(block) else { return "starting" };
    let plan = schedule.plan(window);
    if block < plan.submit_by {
        "training"
    } else if block < plan.attest_by {
        "attesting"
    } else {
        "gathering and scoring"
    }
}

fn row(seat: &Seat, board: &Board, facts: &Facts) -> String {
    let Some(started) = &seat.started else { return seat.phase.clone() };
    let uid = started.uid.0;
    let mut parts = vec![format!("uid {uid}"), seat.phase.clone()];
    if let Some(last) = seat.windows.values().next_back() {
        parts.push(format!("window {} {}", last.window + 1, last.outcome));
        if last.train_seconds > 0.0 {
            parts.push(format!("{:.0} samples/s", f64::from(last.samples) / last.train_seconds));
        }
        parts.extend(last.payload_bytes.map(|bytes| format!("{:.1} kB", bytes as f64 / 1e3)));
    }
    if seat.role == Role::Miner
        && let Some(judged) = board.judged(uid)
    {
        parts.extend(judged.loss_score.map(|score| format!("LossScore {score:+.4}")));
        parts.push(format!("ordinal {:.1}", judged.ordinal));
        parts.push(format!("weight {:.3}", judged.weight));
        parts.extend(judged.reason.clone());
    }
    parts.push(format!("emission {:.1} %", 100.0 * share(facts, uid)));
    parts.join(" · ")
}

/// The part of everything earned so far that went to `uid`.
pub(super) fn share(facts: &Facts, uid: u16) -> f64 {
    let total: u64 = facts.emission.values().sum();
    let own = facts.emission.get(&uid).copied().unwrap_or(0);
    if total == 0 { 0.0 } else { own as f64 / total as f64 }
}
