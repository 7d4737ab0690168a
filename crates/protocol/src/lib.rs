//! Windows, identities, signed wire messages, manifests and eligibility of a decentralised training run. Sans-I/O.


mod ids;

pub use ids::{BlockNumber, Digest, HexError, Hotkey, Sign, Signature, Timestamp, Uid, Verify, Window};
