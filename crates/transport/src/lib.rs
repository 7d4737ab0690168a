//! Identity-bound QUIC endpoint that delivers messages and serves content-addressed blobs.
