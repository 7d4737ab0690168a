//! Losses in, ratings and normalised weights out: who earned what in a decentralised training run.
