//! What happened, as one digest.

use pactum_protocol::Digest;

use crate::agenda::Millis;

/// What kind of thing happened.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Start,
    Crash,
    Split,
    Heal,
    Lost,
    Header,
    Proposal,
    Served,
    Withheld,
    Absent,
    Attest,
    Weights,
    Commit,
    Report,
}

/// Bytes after which the buffer is hashed.
const BUFFER: usize = 1 << 14;

/// A digest of everything that happened and when, in order.
#[derive(Default)]
pub(crate) struct Trace {
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
    events: u64,
}

impl Trace {
    pub(crate) fn record(&mut self, kind: Kind, now: Millis, (node, number): (u64, u64), digest: &Digest) {
        self.buffer.push(kind as u8);
        for word in [now, node, number] {
            self.buffer.extend_from_slice(&word.to_le_bytes());
        }
        self.buffer.extend_from_slice(&digest.0);
        self.events += 1;
        if self.buffer.len() >= BUFFER {
            self.flush();
        }
    }

    /// How many events there were.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn digest(&mut self) -> Digest {
        self.flush();
        Digest(*self.hasher.finalize().as_bytes())
    }

    fn flush(&mut self) {
        self.hasher.update(&self.buffer);
        self.buffer.clear();
    }
}
