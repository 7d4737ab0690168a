//! What client and server of the chain's JSON-RPC agree on.
//!
//! Parameters are positional. Digests, keys and calls are hexadecimal texts without a prefix; blocks, windows and
//! amounts are numbers.

use serde::{Deserialize, Serialize};

use crate::ledger::{HistoryError, SubmitError};

/// () -> [`Head`](crate::Head): the newest block.
pub const HEAD: &str = "chain_head";
/// (block) -> digest: the hash of a block, the genesis hash for 0.
pub const BLOCK_HASH: &str = "chain_blockHash";
/// () -> [`Genesis`](crate::Genesis): the chain's constants.
pub const GENESIS: &str = "chain_genesis";
/// (block) -> [`Metagraph`](pactum_protocol::Metagraph): who took part as of a block.
pub const METAGRAPH: &str = "chain_metagraph";
/// (window, block) -> [`Record`](pactum_protocol::Record): what bears on a window as of a block.
pub const RECORD: &str = "chain_record";
/// (hotkey) -> number: the nonce of the key's next call.
pub const NONCE: &str = "chain_nonce";
/// (call) -> block: submits a [`SignedCall`](crate::SignedCall); answers once its block is durable.
pub const SUBMIT: &str = "chain_submit";
/// () -> {uid: amount}: what each neuron earned since it registered.
pub const EMISSION: &str = "chain_emission";
/// () -> {uid: [[uid, weight]]}: the newest weights of each validator.
pub const WEIGHTS: &str = "chain_weights";
/// Subscribes to new heads; the first notification is the present one.
pub const SUBSCRIBE_HEADS: &str = "chain_subscribeHeads";
/// The notifications of [`SUBSCRIBE_HEADS`].
pub const NEW_HEAD: &str = "chain_newHead";
/// Ends [`SUBSCRIBE_HEADS`].
pub const UNSUBSCRIBE_HEADS: &str = "chain_unsubscribeHeads";

/// The error code of a [`Refusal`], which is the error's data.
pub const REFUSED: i32 = 1;
/// The error code of a server that is about to stop: ask again once it is back.
pub const CLOSING: i32 = 2;

/// Why the server did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// A call was refused.
    #[error(transparent)]
    Call(#[from] SubmitError),
    /// The chain cannot tell.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// Two lower-case digits for each byte.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes that [`to_hex`] made `text` of; none if `text` is anything else.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pactum_protocol::BlockNumber;

    #[test]
    fn hexadecimal_goes_there_and_back_and_refuses_the_rest() {
        assert_eq!(to_hex(&[0, 0xab, 0x10]), "00ab10");
        assert_eq!(from_hex("00ab10"), Some(vec![0, 0xab, 0x10]));
        assert_eq!(from_hex("abc"), None);
        assert_eq!(from_hex("zz"), None);
        assert_eq!(from_hex("é"), None);
    }

    #[test]
    fn refusals_keep_their_json_form() {
        let refusal = Refusal::Call(SubmitError::TooSoon { next: BlockNumber(9) });
        let json = serde_json::to_string(&refusal).unwrap();
        assert_eq!(json, r#"{"call":{"tooSoon":{"next":9}}}"#);
        assert_eq!(serde_json::from_str::<Refusal>(&json).unwrap(), refusal);
    }
}
