//! Faults of ours that no node may have: planted one by one to prove that the checkers see them.

/// What is broken in a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Defect {
    /// It adds the contributions in another order.
    Order,
    /// It leaves one contribution out, as if it could not have been fetched.
    Drop,
    /// It serves its payload before `submit_by`.
    Early,
    /// Its disk loses the newest commit in a crash.
    Forget,
    /// It stops for good in mid-run without being down.
    Stall,
    /// It restores other parameters than it committed.
    Rot,
}
