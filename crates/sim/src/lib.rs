#![doc = include_str!("../README.md")]

mod scenario;

mod outcome;
mod run;

mod cheats;
mod defect;

mod audit;
mod check;
mod faults;
mod setup;

mod chain;
mod disk;
mod exchange;
mod key;
mod learner;
mod network;
mod toy;

mod agenda;
mod executor;
mod random;
mod trace;
mod world;

pub use cheats::Cheat;
pub use check::Violation;
pub use defect::Defect;
pub use key::{SimKey, SimOracle};
pub use outcome::{NodeWeight, Outcome};
pub use run::{run, sweep};
pub use scenario::{Claims, Faults, Listed, Outage, Scenario};
pub use toy::{StateError, ToyLearner, ToyUpdate};
