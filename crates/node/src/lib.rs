//! Adapters that turn the round into a running miner or validator: network, chain, disk, settings, recovery.
