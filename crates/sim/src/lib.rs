//! Deterministic simulation of thousands of training rounds with faults and attackers, from one seed.
