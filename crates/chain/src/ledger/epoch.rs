//! What happens at the end of a block: permits, emission, and at the end of an epoch its distribution.

use std::cmp::Reverse;

use crate::genesis::Genesis;
use crate::ledger::history;
use crate::ledger::state::State;
use crate::yuma::{Voter, yuma};

/// Closes the block whose number the state bears already.
pub(super) fn close(genesis: &Genesis, state: &mut State) {
    if std::mem::take(&mut state.changed) {
        grant_permits(genesis, state);
        history::add_version(state);
    }
    state.undistributed = state.undistributed.saturating_add(genesis.emission);
    if state.number.is_multiple_of(genesis.tempo) {
        distribute(genesis, state);
    }
}

/// A permit goes to those with the most stake, the lower uid first; without one there are no bonds.
fn grant_permits(genesis: &Genesis, state: &mut State) {
    let mut ranked: Vec<(Reverse<u64>, u16)> = state
        .seats()
        .filter(|(_, seat)| seat.row.stake >= genesis.stake_min)
        .map(|(uid, seat)| (Reverse(seat.row.stake), uid))
        .collect();
    ranked.sort_unstable();
    ranked.truncate(genesis.validators_max.into());
    for (uid, seat) in (0..=u16::MAX).zip(&mut state.seats) {
        seat.row.permit = ranked.iter().any(|(_, permitted)| *permitted == uid);
        if !seat.row.permit {
            seat.bonds.clear();
        }
    }
}

fn distribute(genesis: &Genesis, state: &mut State) {
    let voters: Vec<Voter> = state.seats().map(|(uid, _)| voter(genesis, state, uid)).collect();
    let mut shares = yuma(&voters, state.last_epoch.saturating_add(1));
    let amounts = shares.divide(state.undistributed);
    state.undistributed = state.undistributed.saturating_sub(amounts.iter().sum());
    state.last_epoch = state.number;
    let bonds = std::mem::take(&mut shares.bonds);
    for ((seat, amount), bonds) in state.seats.iter_mut().zip(amounts).zip(bonds) {
        seat.bonds = bonds;
        seat.latest = amount;
        seat.earned = seat.earned.saturating_add(amount);
        seat.balance = seat.balance.saturating_add(amount);
    }
}

fn voter(genesis: &Genesis, state: &State, uid: u16) -> Voter {
    let seat = &state.seats[usize::from(uid)];
    Voter {
        stake: if seat.row.stake < genesis.stake_min { 0 } else { seat.row.stake },
        permit: seat.row.permit,
        active: seat.updated.saturating_add(genesis.activity_cutoff) >= state.number,
        registered: seat.row.registered,
        updated: seat.updated,
        weights: seat.weights.clone(),
        bonds: seat.bonds.clone(),
    }
}
