//! The whole run once more, from nothing but the chain's record and the blobs: what every node must have committed.

use pactum_protocol::{Digest, Manifest, Window, verdict};
use pactum_round::{BoxError, Learner, Own, unseal};

use crate::check::{Checker, Violation};
use crate::network::Net;
use crate::toy::{ToyLearner, ToyUpdate};
use crate::world::World;

/// Where a replay stands after a window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Audited {
    /// Whether the window has a manifest.
    pub(crate) filled: bool,
    /// The newest manifest so far.
    previous: Digest,
    /// The digest of the parameters.
    state: Digest,
    /// The held-out loss.
    pub(crate) loss: f32,
}

/// Replays every window and holds each commit against it. Returns the windows in order.
pub(crate) fn audit(world: &World) -> Vec<Audited> {
    let mut toy = ToyLearner::new(&world.setup.rules.hparams);
    let mut previous = Digest::ZERO;
    let mut windows = Vec::new();
    for window in (0..world.setup.scenario.windows).map(Window) {
        match replay(world, &mut toy, window, previous) {
            Ok(audited) => {
                previous = audited.previous;
                windows.push(audited);
            }
            Err(why) => {
                world.accuse(Violation::Unsound { window, why });
                break;
            }
        }
    }
    compare(&mut world.checker.borrow_mut(), &windows);
    windows
}

fn compare(checker: &mut Checker, windows: &[Audited]) {
    for (node, entry) in checker.commits.clone() {
        let window = entry.next.0.checked_sub(1);
        let audited = window.and_then(|window| windows.get(usize::try_from(window).ok()?));
        if audited.is_none_or(|audited| (audited.state, audited.previous) != (entry.state, entry.previous)) {
            checker.accuse(Violation::Unapplied { node, window: Window(window.unwrap_or_default()) });
        }
    }
}

fn replay(world: &World, toy: &mut ToyLearner, window: Window, previous: Digest) -> Result<Audited, &'static str> {
    let plan = world.setup.rules.schedule.plan(window);
    let record = world.ledger.borrow().record(&world.setup, &plan);
    let decided = verdict(window, &plan, &record);
    let updates = match decided {
        Some(digest) => contributions(world, toy, &digest, (window, previous))?,
        None => Vec::new(),
    };
    let weighted: Vec<(f32, &ToyUpdate)> = updates.iter().map(|(weight, update)| (*weight, update)).collect();
    toy.apply(&weighted, Own::Nothing, window.next()).map_err(|_: BoxError| "the learner refuses it")?;
    Ok(Audited {
        filled: decided.is_some(),
        previous: decided.unwrap_or(previous),
        state: toy.state_digest(),
        loss: toy.heldout_loss().map_err(|_: BoxError| "the learner cannot measure it")?,
    })
}

/// What a manifest names, decoded, in uid order.
fn contributions(
    world: &World,
    toy: &ToyLearner,
    digest: &Digest,
    (window, previous): (Window, Digest),
) -> Result<Vec<(f32, ToyUpdate)>, &'static str> {
    let net = world.net.borrow();
    let bytes = net.any(digest).ok_or("nobody has the manifest")?;
    let manifest = Manifest::decode(bytes, &world.setup.rules.limits).map_err(|_| "it is malformed")?;
    if (manifest.run, manifest.window, manifest.previous) != (world.setup.rules.run, window, previous) {
        return Err("it does not follow the one before it");
    }
    if manifest.entries.iter().any(|entry| entry.weight.to_bits() != 1_f32.to_bits()) {
        return Err("one of its entries outweighs another");
    }
    let mut updates = Vec::with_capacity(manifest.entries.len());
    for entry in &manifest.entries {
        let blob = Net::any(&net, &entry.payload).ok_or("nobody has one of its payloads")?;
        let update = unseal(&entry.hotkey, blob).and_then(|payload| toy.decode(payload)).ok();
        updates.extend(update.map(|update| (entry.weight, update)));
    }
    Ok(updates)
}
