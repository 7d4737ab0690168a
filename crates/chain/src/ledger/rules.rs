//! What each call may do, and why it may not.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use pactum_protocol::{BlockNumber, Digest, Uid, Window};
use serde::{Deserialize, Serialize};

use crate::call::{Call, SignedCall};
use crate::genesis::Genesis;
use crate::ledger::history;
use crate::ledger::state::{Row, Seat, State};

/// Which rule refused a call. Every variant is told by name over the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum SubmitError {
    /// The call is for another chain.
    #[error("the call is for another chain than the one with genesis {expected}")]
    OtherChain {
        /// This chain's genesis hash.
        expected: Digest,
    },
    /// The signature is not the hotkey's.
    #[error("the signature of the call is not that of its hotkey")]
    BadSignature,
    /// The call was taken before: there is nothing left to do.
    #[error("the call is in block {block} already")]
    AlreadyIncluded {
        /// Where it is.
        block: BlockNumber,
    },
    /// Another call of this key came first, or one is missing: sign again with the nonce expected.
    #[error("the call's nonce must be {expected}")]
    WrongNonce {
        /// What it must be.
        expected: u64,
    },
    /// The open block has no room: try again in the next.
    #[error("the block is full: submit the call again in the next one")]
    BlockFull,
    /// The hotkey has no uid.
    #[error("the hotkey is not registered")]
    NotRegistered,
    /// The hotkey has a uid.
    #[error("the hotkey is registered already with uid {uid}")]
    AlreadyRegistered {
        /// Its uid.
        uid: Uid,
        /// Since when.
        block: BlockNumber,
    },
    /// All uids are taken by neurons too young to be replaced.
    #[error("all uids are taken and none may be replaced yet: register later")]
    Full,
    /// More than the key has.
    #[error("the balance is {balance} and the call needs {needed}")]
    NotEnoughBalance {
        /// What it has.
        balance: u64,
        /// What it would need.
        needed: u64,
    },
    /// An amount of nothing.
    #[error("the amount must not be 0")]
    NoAmount,
    /// Nobody could connect to it.
    #[error("the address cannot be served: it needs a port, and an ip that others can reach")]
    BadAddress,
    /// Below what a validator needs.
    #[error("the stake is {stake} and a validator needs {least}")]
    NotEnoughStake {
        /// What it has.
        stake: u64,
        /// What it would need.
        least: u64,
    },
    /// Others have more stake.
    #[error("the hotkey holds no validator permit: others have more stake, or the block that grants it is not sealed")]
    NoPermit,
    /// The validator committed to the window before.
    #[error("the window is attested already, with manifest {manifest} in block {block}")]
    AlreadyAttested {
        /// What it committed to.
        manifest: Digest,
        /// Where.
        block: BlockNumber,
    },
    /// The validator committed to a later window before, or to one in this very block.
    #[error("attestations come in rising order of windows, one in a block: the newest is for window {newest}")]
    OutOfOrder {
        /// The window of its newest attestation.
        newest: Window,
    },
    /// There is nothing to normalise.
    #[error("weights need at least one that is not 0")]
    NoWeights,
    /// More weights than uids.
    #[error("weights name more than {limit} uids")]
    TooManyWeights {
        /// How many uids there are.
        limit: u16,
    },
    /// A weight for nobody.
    #[error("there is no uid {uid}")]
    UnknownUid {
        /// The uid.
        uid: Uid,
    },
    /// Two weights for one neuron.
    #[error("weights name uid {uid} twice")]
    DuplicateUid {
        /// The uid.
        uid: Uid,
    },
    /// The weights come from rules that are no longer valid.
    #[error("the weights' version must be at least {least}: update the program")]
    OldVersion {
        /// The least version accepted.
        least: u64,
    },
    /// The rate limit: wait.
    #[error("weights may be set again from block {next} on")]
    TooSoon {
        /// The first block that would do.
        next: BlockNumber,
    },
}

/// Applies a call whose signature and chain are right to the open block.
pub(super) fn apply(genesis: &Genesis, state: &mut State, signed: &SignedCall) -> Result<(), SubmitError> {
    let block = state.number + 1;
    let digest = signed.digest().0;
    let expected = match state.seat_of(&signed.hotkey.0) {
        Some((_, seat)) if seat.newest_call.0 == digest => {
            return Err(SubmitError::AlreadyIncluded { block: BlockNumber(seat.newest_call.1) });
        }
        Some((_, seat)) => seat.nonce,
        None => state.nonce_floor,
    };
    if signed.nonce != expected {
        return Err(SubmitError::WrongNonce { expected });
    }
    match &signed.call {
        Call::Register => register(genesis, state, signed.hotkey.0)?,
        Call::AddStake { amount } => add_stake(state, &signed.hotkey.0, *amount)?,
        Call::ServeAddress { address } => serve(genesis, state, &signed.hotkey.0, *address)?,
        Call::Attest { window, manifest } => attest(state, &signed.hotkey.0, *window, *manifest)?,
        Call::SetWeights { weights, version } => set_weights(genesis, state, signed, (weights, *version))?,
    }
    if let Some((_, seat)) = state.seat_of_mut(&signed.hotkey.0) {
        seat.nonce = signed.nonce.saturating_add(1);
        seat.newest_call = (digest, block);
    }
    Ok(())
}

fn register(genesis: &Genesis, state: &mut State, hotkey: [u8; 32]) -> Result<(), SubmitError> {
    if let Some((uid, seat)) = state.seat_of(&hotkey) {
        return Err(SubmitError::AlreadyRegistered { uid: Uid(uid), block: BlockNumber(seat.row.registered) });
    }
    let block = state.number + 1;
    let seat = Seat {
        row: Row { hotkey, stake: 0, permit: false, address: None, registered: block },
        balance: genesis.faucet,
        nonce: state.nonce_floor,
        newest_call: ([0; 32], 0),
        attested: None,
        updated: block,
        weights: Vec::new(),
        bonds: Vec::new(),
        earned: 0,
        latest: 0,
    };
    if state.seats.len() < usize::from(genesis.uids_max) {
        state.seats.push(seat);
    } else {
        let place = replaceable(genesis, state).ok_or(SubmitError::Full)?;
        vacate(state, place);
        state.seats[usize::from(place)] = seat;
    }
    state.changed = true;
    Ok(())
}

/// Who makes room when all uids are taken: of those past their immunity the one that got least in the newest
/// distribution, then the oldest, then the lowest uid.
fn replaceable(genesis: &Genesis, state: &State) -> Option<u16> {
    let block = state.number + 1;
    let mortal = state.seats().filter(|(_, seat)| block.saturating_sub(seat.row.registered) >= genesis.immunity);
    mortal.min_by_key(|(uid, seat)| (seat.latest, seat.row.registered, *uid)).map(|(uid, _)| uid)
}

/// Forgets what others thought of a uid's owner, and keeps its calls from being valid once more.
fn vacate(state: &mut State, place: u16) {
    let gone = &state.seats[usize::from(place)];
    state.nonce_floor = state.nonce_floor.max(gone.nonce);
    state.forfeited = state.forfeited.saturating_add(gone.earned);
    for seat in &mut state.seats {
        seat.weights.retain(|(uid, _)| *uid != place);
        seat.bonds.retain(|(uid, _)| *uid != place);
    }
}

fn add_stake(state: &mut State, hotkey: &[u8; 32], amount: u64) -> Result<(), SubmitError> {
    let (_, seat) = state.seat_of_mut(hotkey).ok_or(SubmitError::NotRegistered)?;
    if amount == 0 {
        return Err(SubmitError::NoAmount);
    }
    let balance = seat.balance;
    seat.balance = balance.checked_sub(amount).ok_or(SubmitError::NotEnoughBalance { balance, needed: amount })?;
    seat.row.stake = seat.row.stake.saturating_add(amount);
    state.changed = true;
    Ok(())
}

fn serve(genesis: &Genesis, state: &mut State, hotkey: &[u8; 32], address: SocketAddr) -> Result<(), SubmitError> {
    let (_, seat) = state.seat_of_mut(hotkey).ok_or(SubmitError::NotRegistered)?;
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    let reachable = !ip.is_unspecified() && !ip.is_multicast() && !broadcast && (genesis.loopback || !ip.is_loopback());
    if address.port() == 0 || !reachable {
        return Err(SubmitError::BadAddress);
    }
    let address = Some(address.into());
    if seat.row.address != address {
        seat.row.address = address;
        state.changed = true;
    }
    Ok(())
}

fn attest(state: &mut State, hotkey: &[u8; 32], window: Window, manifest: Digest) -> Result<(), SubmitError> {
    let block = state.number + 1;
    let (uid, seat) = state.seat_of_mut(hotkey).ok_or(SubmitError::NotRegistered)?;
    if !seat.row.permit {
        return Err(SubmitError::NoPermit);
    }
    if let Some((newest, manifest, at)) = seat.attested {
        if newest == window.0 {
            return Err(SubmitError::AlreadyAttested { manifest: Digest(manifest), block: BlockNumber(at) });
        }
        if newest > window.0 || at == block {
            return Err(SubmitError::OutOfOrder { newest: Window(newest) });
        }
    }
    seat.attested = Some((window.0, manifest.0, block));
    history::add_attestation(state, (uid, *hotkey), (window.0, manifest.0));
    Ok(())
}

fn set_weights(
    genesis: &Genesis,
    state: &mut State,
    signed: &SignedCall,
    (weights, version): (&[(Uid, u16)], u64),
) -> Result<(), SubmitError> {
    let block = state.number + 1;
    let uids = state.seats.len();
    check_weights(genesis, uids, weights)?;
    let (_, seat) = state.seat_of_mut(&signed.hotkey.0).ok_or(SubmitError::NotRegistered)?;
    if seat.row.stake < genesis.stake_min {
        return Err(SubmitError::NotEnoughStake { stake: seat.row.stake, least: genesis.stake_min });
    }
    if version < genesis.weights_version {
        return Err(SubmitError::OldVersion { least: genesis.weights_version });
    }
    let next = seat.updated.saturating_add(genesis.weights_rate);
    if block < next {
        return Err(SubmitError::TooSoon { next: BlockNumber(next) });
    }
    if !seat.row.permit {
        return Err(SubmitError::NoPermit);
    }
    seat.weights = upscaled(weights);
    seat.updated = block;
    Ok(())
}

fn check_weights(genesis: &Genesis, uids: usize, weights: &[(Uid, u16)]) -> Result<(), SubmitError> {
    if weights.len() > usize::from(genesis.uids_max) {
        return Err(SubmitError::TooManyWeights { limit: genesis.uids_max });
    }
    let mut named = BTreeSet::new();
    for (uid, _) in weights {
        if usize::from(uid.0) >= uids {
            return Err(SubmitError::UnknownUid { uid: *uid });
        }
        if !named.insert(*uid) {
            return Err(SubmitError::DuplicateUid { uid: *uid });
        }
    }
    if weights.iter().all(|(_, weight)| *weight == 0) {
        return Err(SubmitError::NoWeights);
    }
    Ok(())
}

/// The weights in the order of uids without the zeros, scaled up so that the greatest is 65535.
fn upscaled(weights: &[(Uid, u16)]) -> Vec<(u16, u16)> {
    let greatest = weights.iter().map(|(_, weight)| *weight).max().unwrap_or(0).max(1);
    let scale = |weight: u16| {
        let scaled = u32::from(weight) * u32::from(u16::MAX) / u32::from(greatest);
        u16::try_from(scaled).unwrap_or(u16::MAX)
    };
    let mut kept: Vec<(u16, u16)> = weights.iter().map(|(uid, weight)| (uid.0, scale(*weight))).collect();
    kept.retain(|(_, weight)| *weight > 0);
    kept.sort_unstable();
    kept
}
