//! A small persistent chain in one process, served over WebSocket JSON-RPC, for development and tests.
