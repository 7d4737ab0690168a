//! The report of a local network, as JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pactum_cli::Failure;
use pactum_node::{Device, Precision};
use pactum_protocol::{Digest, Hotkey, Hparams};
use serde::Serialize;

use super::Args;
use super::board::{Board, Role, Seat};
use super::plan::Plan;
use super::view::share;
use super::watch::Facts;

/// The commit that this program was built from, if it was built from one.
const COMMIT: Option<&str> = option_env!("PACTUM_COMMIT");

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) windows: u64,
    /// After each window, in nats per byte; null where no validator measured it.
    pub(super) heldout_loss: Vec<Option<f32>>,
    /// Whether no two nodes held other parameters after the same window, and all that were not stopped came to the end.
    pub(super) agreed: bool,
    /// Whether every node came to the end.
    pub(super) done: bool,
    pub(super) nodes: Vec<Node>,
    pub(super) submissions: Vec<Submission>,
    /// Dense f32 bytes over payload bytes; null if there was no payload.
    pub(super) compression_ratio: Option<f64>,
    pub(super) emission: BTreeMap<u16, f64>,
    pub(super) settings: Settings,
}

#[derive(Debug, Serialize)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) role: &'static str,
    pub(super) uid: Option<u16>,
    pub(super) hotkey: Option<Hotkey>,
    pub(super) cheat: Option<String>,
    pub(super) state_digest: Option<Digest>,
    pub(super) windows_applied: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Submission {
    pub(super) window: u64,
    pub(super) uid: u16,
    pub(super) status: String,
    pub(super) reason: Option<String>,
    pub(super) payload_bytes: u64,
    pub(super) loss_score: Option<f64>,
    pub(super) ordinal: f64,
    pub(super) weight: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Settings {
    version: &'static str,
    commit: Option<&'static str>,
    corpus: Digest,
    miners: u16,
    validators: u16,
    cheaters: Vec<String>,
    late_miner: bool,
    /// What the data was made from; empty for Cargo's registry folder.
    inputs: Vec<PathBuf>,
    seed: u64,
    /// Where the honest miners trained, and how finely.
    device: Device,
    precision: Precision,
    /// Whether they kept moments and error feedback on disk.
    offload: bool,
    parameters: Option<u64>,
    hparams: Hparams,
}

/// All that a report is made of.
pub(super) struct Told<'a> {
    pub(super) args: &'a Args,
    pub(super) plan: &'a Plan,
    pub(super) board: &'a Board,
    pub(super) facts: &'a Facts,
    /// Whether the user ended the run early.
    pub(super) stopped: bool,
}

impl Report {
    pub(super) fn new(told: &Told<'_>) -> Self {
        let Told { args, plan, board, facts, stopped } = *told;
        let done = board.behind(args.windows - 1).is_empty();
        let losses = board.heldout();
        let parameters = board.seats.values().find_map(|seat| seat.started.as_ref()).map(|started| started.parameters);
        Self {
            windows: args.windows,
            heldout_loss: (0..args.windows).map(|window| losses.get(&window).copied()).collect(),
            agreed: board.same() && (done || stopped),
            done,
            nodes: board.seats.iter().map(|(name, seat)| Node::new(name, seat, args.windows - 1)).collect(),
            submissions: submissions(board, args.windows),
            compression_ratio: parameters.and_then(|parameters| ratio(board, parameters)),
            emission: facts.emission.keys().map(|uid| (*uid, share(facts, *uid))).collect(),
            settings: Settings {
                version: env!("CARGO_PKG_VERSION"),
                commit: COMMIT,
                corpus: plan.hparams.dataset,
                miners: plan.miners,
                validators: plan.validators,
                cheaters: plan.cheaters.iter().map(ToString::to_string).collect(),
                late_miner: args.late_miner || plan.has_late(),
                inputs: plan.inputs.clone(),
                seed: plan.hparams.seed,
                device: plan.place.device(),
                precision: plan.place.precision(),
                offload: plan.offload,
                parameters,
                hparams: plan.hparams.clone(),
            },
        }
    }

    pub(super) fn write(&self, file: &Path) -> Result<(), Failure> {
        fs::write(file, serde_json::to_vec_pretty(self)?)
            .map_err(|error| Failure::because(format!("cannot write the report {}", file.display()), &error))
    }
}

impl Node {
    fn new(name: &str, seat: &Seat, last: u64) -> Self {
        Self {
            name: name.to_owned(),
            role: match seat.role {
                Role::Validator => "validator",
                Role::Miner => "miner",
            },
            uid: seat.started.as_ref().map(|started| started.uid.0),
            hotkey: seat.started.as_ref().map(|started| started.hotkey),
            cheat: seat.cheat.clone(),
            state_digest: seat.state(last),
            windows_applied: seat.applied(last),
        }
    }
}

fn submissions(board: &Board, windows: u64) -> Vec<Submission> {
    let all = board.submissions();
    let in_time = all.range(..windows).flat_map(|(window, judged)| judged.iter().map(move |one| (window, one)));
    in_time
        .map(|(window, judged)| Submission {
            window: *window,
            uid: judged.uid.0,
            status: judged.status.clone(),
            reason: judged.reason.clone(),
            payload_bytes: judged.payload_bytes,
            loss_score: judged.loss_score,
            ordinal: judged.ordinal,
            weight: judged.weight,
        })
        .collect()
}

/// Dense bytes over sent bytes, over all payloads of honest miners.
fn ratio(board: &Board, parameters: u64) -> Option<f64> {
    let honest = board.seats.values().filter(|seat| seat.cheat.is_none());
    let payloads: Vec<u64> =
        honest.flat_map(|seat| seat.windows.values()).filter_map(|window| window.payload_bytes).collect();
    let sent: u64 = payloads.iter().sum();
    let dense = parameters * 4 * payloads.len() as u64;
    (sent > 0).then(|| dense as f64 / sent as f64)
}
