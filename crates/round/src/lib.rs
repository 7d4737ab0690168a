//! What a miner and a validator do in one window, as straight-line code over ports.
