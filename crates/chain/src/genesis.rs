//! What a chain begins with and never changes.

use pactum_protocol::{Digest, Timestamp};
use parity_scale_codec::{Decode, DecodeAll, Encode};
use serde::{Deserialize, Serialize};

/// The most neurons a chain can have.
pub const UIDS_MAX: u16 = 256;
/// The most bytes of [`Genesis::run`].
pub const RUN_BYTES_MAX: usize = 64 * 1024;

/// The constants of a chain. Amounts are in its smallest unit, 10⁻⁹ of a token; intervals are in blocks.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// The time of block 0 in milliseconds since the Unix epoch; it also tells two chains with equal rules apart.
    pub time: u64,
    /// Milliseconds from block to block.
    pub block_millis: u64,
    /// Blocks from one distribution of emission to the next.
    pub tempo: u64,
    /// How many uids there are.
    pub uids_max: u16,
    /// How many of them may hold a validator's permit.
    pub validators_max: u16,
    /// The least stake of a validator.
    pub stake_min: u64,
    /// The balance that a newly registered key is given.
    pub faucet: u64,
    /// What each block adds to the emission.
    pub emission: u64,
    /// Blocks that must pass between two settings of weights by one validator.
    pub weights_rate: u64,
    /// The least version of weights that is accepted.
    pub weights_version: u64,
    /// After so many blocks without new weights a validator's stake stops counting.
    pub activity_cutoff: u64,
    /// For so many blocks after its registration a neuron is not replaced by a new one.
    pub immunity: u64,
    /// Whether nodes may serve loopback addresses.
    pub loopback: bool,
    /// What those who join need to know of the run; the chain does not look at it.
    #[serde(with = "hex_bytes")]
    pub run: Vec<u8>,
}

/// What is wrong with a genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// A number that must not be zero is.
    #[error("{field} must not be 0")]
    Zero {
        /// Which.
        field: &'static str,
    },
    /// Too many neurons.
    #[error("uids_max must be at most {UIDS_MAX}")]
    TooManyUids,
    /// The run's description is too long.
    #[error("the run's description must have at most {RUN_BYTES_MAX} bytes")]
    RunTooLong,
    /// The bytes are not a genesis.
    #[error("the bytes are not a genesis")]
    Malformed,
}

impl Default for Genesis {
    /// A quick chain for development: blocks of 250 ms, epochs of 20 blocks, 64 validators at most.
    fn default() -> Self {
        Self {
            time: 0,
            block_millis: 250,
            tempo: 20,
            uids_max: UIDS_MAX,
            validators_max: 64,
            stake_min: 1,
            faucet: 1_000_000_000_000,
            emission: 1_000_000_000,
            weights_rate: 1,
            weights_version: 0,
            activity_cutoff: 5000,
            immunity: 4096,
            loopback: true,
            run: Vec::new(),
        }
    }
}

impl Genesis {
    /// The same rules for a chain that begins at `time`.
    #[must_use]
    pub fn at(mut self, time: Timestamp) -> Self {
        self.time = time.0;
        self
    }

    /// The hash of block 0: BLAKE3 of the SCALE encoding of all fields in order.
    #[must_use]
    pub fn hash(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// The genesis as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode()
    }

    /// The genesis that `bytes` hold.
    ///
    /// # Errors
    /// [`GenesisError`] if they are no genesis or an invalid one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GenesisError> {
        let genesis = Self::decode_all(&mut &*bytes).map_err(|_| GenesisError::Malformed)?;
        genesis.validate()?;
        Ok(genesis)
    }

    /// # Errors
    /// [`GenesisError`] names the first rule that cannot be.
    pub fn validate(&self) -> Result<(), GenesisError> {
        let positive = [
            ("block_millis", self.block_millis),
            ("tempo", self.tempo),
            ("uids_max", self.uids_max.into()),
            ("validators_max", self.validators_max.into()),
            ("stake_min", self.stake_min),
        ];
        if let Some((field, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(GenesisError::Zero { field });
        }
        if self.uids_max > UIDS_MAX {
            return Err(GenesisError::TooManyUids);
        }
        if self.run.len() > RUN_BYTES_MAX {
            return Err(GenesisError::RunTooLong);
        }
        Ok(())
    }
}

mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::rpc::to_hex(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        crate::rpc::from_hex(&text).ok_or_else(|| D::Error::custom("expected hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_genesis_hashes_to_its_golden_value_and_survives_both_forms() {
        let genesis = Genesis { run: vec![1, 2, 255], ..Genesis::default() }.at(Timestamp(1_700_000_000_000));
        assert_eq!(genesis.hash().to_string(), "3947c944424bc013fdbb380d2f397b4ce82901860b9cfba9bf5cdeef67c310c0");
        assert_eq!(Genesis::from_bytes(&genesis.to_bytes()), Ok(genesis.clone()));
        let json = serde_json::to_string(&genesis).unwrap();
        assert_eq!(serde_json::from_str::<Genesis>(&json).unwrap(), genesis);
    }

    #[test]
    fn impossible_rules_are_refused_by_name() {
        let base = Genesis::default;
        let check = |genesis: Genesis, expected: GenesisError| {
            assert_eq!(genesis.validate(), Err(expected));
            assert_eq!(Genesis::from_bytes(&genesis.to_bytes()), Err(expected));
        };
        check(Genesis { tempo: 0, ..base() }, GenesisError::Zero { field: "tempo" });
        check(Genesis { block_millis: 0, ..base() }, GenesisError::Zero { field: "block_millis" });
        check(Genesis { stake_min: 0, ..base() }, GenesisError::Zero { field: "stake_min" });
        check(Genesis { uids_max: 257, ..base() }, GenesisError::TooManyUids);
        check(Genesis { run: vec![0; RUN_BYTES_MAX + 1], ..base() }, GenesisError::RunTooLong);
        assert_eq!(Genesis::from_bytes(&[1, 2, 3]), Err(GenesisError::Malformed));
    }
}
