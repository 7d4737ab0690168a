//! How things stood at earlier blocks, within bounds.

use pactum_protocol::{ACTIVE_WINDOWS, Attestation, BlockNumber, Digest, Hotkey, Metagraph, Record, Uid, Window};

use crate::ledger::HistoryError;
use crate::ledger::state::{Attested, Row, State};

/// How many different sets of participants are remembered.
const VERSIONS_MAX: usize = 1024;
/// How many attestations are remembered.
const ATTESTATIONS_MAX: usize = 1 << 16;

/// Remembers who takes part from the block just sealed on.
pub(super) fn add_version(state: &mut State) {
    let rows: Vec<Row> = state.seats.iter().map(|seat| seat.row.clone()).collect();
    state.versions.push_back((state.number, rows));
    while state.versions.len() > VERSIONS_MAX {
        state.versions.pop_front();
    }
}

/// Remembers an attestation of the open block.
pub(super) fn add_attestation(state: &mut State, (uid, hotkey): (u16, [u8; 32]), (window, manifest): (u64, [u8; 32])) {
    let block = state.number + 1;
    state.attestations.push_back(Attested { uid, hotkey, window, manifest, block });
    while state.attestations.len() > ATTESTATIONS_MAX {
        state.attestations_gone = state.attestations.pop_front().map(|attested| attested.block);
    }
}

pub(super) fn metagraph_at(state: &State, block: BlockNumber) -> Result<Metagraph, HistoryError> {
    let head = BlockNumber(state.number);
    if block > head {
        return Err(HistoryError::NotYet { block, head });
    }
    let after = state.versions.partition_point(|(from, _)| *from <= block.0);
    let oldest = state.versions.front().map_or(head, |(from, _)| BlockNumber(*from));
    let (_, rows) = after
        .checked_sub(1)
        .and_then(|index| state.versions.get(index))
        .ok_or(HistoryError::Forgotten { block, oldest })?;
    Ok(Metagraph { block, neurons: (0..=u16::MAX).zip(rows).map(|(uid, row)| row.neuron(uid)).collect() })
}

pub(super) fn record(state: &State, window: Window, at: BlockNumber) -> Result<Record, HistoryError> {
    let metagraph = metagraph_at(state, at)?;
    if let Some(gone) = state.attestations_gone.filter(|gone| *gone >= at.0) {
        return Err(HistoryError::Forgotten { block: at, oldest: BlockNumber(gone.saturating_add(1)) });
    }
    let windows = window.0.saturating_sub(ACTIVE_WINDOWS)..=window.0;
    let upto = state.attestations.partition_point(|attested| attested.block <= at.0);
    let attestations = state.attestations.iter().take(upto).filter(|attested| windows.contains(&attested.window));
    Ok(Record { metagraph, attestations: attestations.map(Attested::attestation).collect() })
}

impl Attested {
    fn attestation(&self) -> Attestation {
        Attestation {
            uid: Uid(self.uid),
            hotkey: Hotkey(self.hotkey),
            window: Window(self.window),
            manifest: Digest(self.manifest),
            block: BlockNumber(self.block),
        }
    }
}
