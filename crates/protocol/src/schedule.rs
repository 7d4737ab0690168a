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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Hparams;

    fn time() -> Time {
        Time { start: BlockNumber(5), ..Hparams::preset("tiny").unwrap().time }
    }

    #[test]
    fn windows_begin_at_the_start_block() {
        let schedule = Schedule::new(&time());
        let at = |block| schedule.window_at(BlockNumber(block));
        assert_eq!([at(4), at(5), at(18), at(19)], [None, Some(Window(0)), Some(Window(0)), Some(Window(1))]);
    }

    #[test]
    fn deadlines_are_offsets() {
        let plan = Schedule::new(&time()).plan(Window(2));
        let blocks = [plan.first, plan.submit_by, plan.attest_by, plan.gather_by, plan.end].map(|block| block.0);
        assert_eq!(blocks, [33, 41, 44, 46, 47]);
    }

    #[test]
    fn time_passes_in_blocks() {
        let schedule = Schedule::new(&time());
        assert_eq!(schedule.millis_between(BlockNumber(3), BlockNumber(5)), 1000);
        assert_eq!(schedule.millis_between(BlockNumber(5), BlockNumber(3)), 0);
    }

    #[test]
    fn times_that_were_never_validated_do_no_harm() {
        let schedule = Schedule::new(&Time { window_blocks: 0, ..time() });
        assert_eq!(schedule.window_at(BlockNumber(9)), None);
    }

    proptest! {
        #[test]
        fn every_block_lies_in_its_windows_plan(block in any::<u64>()) {
            let schedule = Schedule::new(&time());
            if let Some(window) = schedule.window_at(BlockNumber(block)) {
                let plan = schedule.plan(window);
                prop_assert!(plan.first.0 <= block && (block < plan.end.0 || plan.end.0 == u64::MAX));
            } else {
                prop_assert!(block < 5);
            }
        }

        #[test]
        fn plans_join_and_never_panic(window in any::<u64>()) {
            let schedule = Schedule::new(&time());
            let (plan, next) = (schedule.plan(Window(window)), schedule.plan(Window(window).next()));
            prop_assert_eq!(plan.end.min(next.first), plan.end);
        }
    }
}
