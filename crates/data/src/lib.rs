//! Text to token shards with digests, and the training samples that a public seed assigns to each peer.
