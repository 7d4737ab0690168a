//! JSON-RPC client for the chain of a training run.
