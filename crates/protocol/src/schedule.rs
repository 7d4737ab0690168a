//! Which window a block belongs to, and when its deadlines are.

use crate::hparams::Time;
use crate::ids::{BlockNumber, Window};

/// Turns blocks into windows and windows into deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule(Time);

/// The blocks at which the phases of one window end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WindowPlan {
    /// The window.
    pub window: Window,
    /// Its first block, whose hash assigns the samples.
    pub first: BlockNumber,
    /// A header is in time while the chain's newest block is before this one. From this block on payloads are
    /// served; its hash is the seed for scoring.
    pub submit_by: BlockNumber,
    /// The last block whose attestations count.
    pub attest_by: BlockNumber,
    /// The block by which gathering ends.
    pub gather_by: BlockNumber,
    /// The first block of the next window.
    pub end: BlockNumber,
}

impl Schedule {
    /// The schedule of valid times (see [`Hparams::validate`](crate::Hparams::validate)).
    #[must_use]
    pub fn new(time: &Time) -> Self {
        Self(*time)
    }

    /// The window that `block` lies in; none before the run starts.
    #[must_use]
    pub fn window_at(&self, block: BlockNumber) -> Option<Window> {
        let since = block.0.checked_sub(self.0.start.0)?;
        since.checked_div(self.0.window_blocks).map(Window)
    }

    /// The deadlines of `window`.
    #[must_use]
    pub fn plan(&self, window: Window) -> WindowPlan {
        let time = &self.0;
        let first = time.start.0.saturating_add(window.0.saturating_mul(time.window_blocks));
        let at = |offset: u64| BlockNumber(first.saturating_add(offset));
        WindowPlan {
            window,
            first: at(0),
            submit_by: at(time.submit_by),
            attest_by: at(time.attest_by),
            gather_by: at(time.gather_by),
            end: at(time.window_blocks),
        }
    }

    /// How long it takes from block `from` to block `to` if blocks come in time, in milliseconds; 0 if `to` is not
    /// after `from`.
    #[must_use]
    pub fn millis_between(&self, from: BlockNumber, to: BlockNumber) -> u64 {
        to.0.saturating_sub(from.0).saturating_mul(self.0.block_millis)
    }
}
