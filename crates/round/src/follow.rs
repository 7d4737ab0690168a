//! What to do next, from the public record's clock alone.

use pactum_protocol::{BlockNumber, Schedule, Window, WindowPlan};

/// The next thing for a node to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until this block.
    Wait(BlockNumber),
    /// Take part in this window.
    Run(WindowPlan),
    /// The window has a verdict already: apply what it decided, without taking part.
    Replay(WindowPlan),
}

/// Decides what a node does whose first uncommitted window is `next` when the chain stands at `head`.
#[must_use]
pub fn follow(schedule: &Schedule, next: Window, head: BlockNumber) -> Step {
    let plan = schedule.plan(next);
    if head < plan.first {
        Step::Wait(plan.first)
    } else if head < plan.submit_by {
        Step::Run(plan)
    } else if head < plan.attest_by {
        // Too late to submit, too early to know the verdict.
        Step::Wait(plan.attest_by)
    } else {
        Step::Replay(plan)
    }
}
