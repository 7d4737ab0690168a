use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::rpc::to_hex;

struct Fixed;

impl Sign for Fixed {
    fn hotkey(&self) -> Hotkey {
        Hotkey([7; 32])
    }

    fn sign(&self, message: &[u8]) -> Signature {
        let mut signature = [9; 64];
        signature[..32].copy_from_slice(message);
        Signature(signature)
    }
}

fn signed(call: Call) -> SignedCall {
    SignedCall::sign(Digest([1; 32]), 0x0102, call, &Fixed)
}

#[test]
fn calls_have_their_golden_bytes() {
    let head = format!("{}0201000000000000{}", "07".repeat(32), "01".repeat(32));
    let check = |call: Call, middle: &str, digest: &str| {
        let signed = signed(call);
        let expected = format!("{head}{middle}{}{}", signed.digest(), "09".repeat(32));
        assert_eq!(to_hex(&signed.encode()), expected);
        assert_eq!(signed.digest().short(), digest);
        assert_eq!(SignedCall::decode(&signed.encode()), Ok(signed));
    };
    check(Call::Register, "00", "6302b72f");
    check(Call::AddStake { amount: 5 }, "010500000000000000", "c4b3e758");
    check(Call::ServeAddress { address: ([127, 0, 0, 1], 9000).into() }, "02007f0000012823", "0e4f4292");
    let six: SocketAddr = "[::1]:9000".parse().unwrap();
    check(Call::ServeAddress { address: six }, &format!("0201{}012823", "00".repeat(15)), "da743199");
    let attest = Call::Attest { window: Window(3), manifest: Digest([0xab; 32]) };
    check(attest, &format!("030300000000000000{}", "ab".repeat(32)), "b044b85e");
    let weights = Call::SetWeights { weights: vec![(Uid(1), 2), (Uid(3), 0xffff)], version: 4 };
    check(weights, "0408010002000300ffff0400000000000000", "24ff04c1");
}

#[test]
fn the_signature_covers_every_field() {
    let call = signed(Call::AddStake { amount: 5 });
    let changed = [
        SignedCall { hotkey: Hotkey([8; 32]), ..call.clone() },
        SignedCall { nonce: 0, ..call.clone() },
        SignedCall { genesis: Digest([2; 32]), ..call.clone() },
        SignedCall { call: Call::AddStake { amount: 6 }, ..call.clone() },
    ];
    for other in changed {
        assert_ne!(other.digest(), call.digest(), "{other:?}");
    }
    let resigned = SignedCall { signature: Signature([0; 64]), ..call.clone() };
    assert_eq!(resigned.digest(), call.digest());
}

#[test]
fn too_long_or_followed_by_anything_is_refused() {
    let mut bytes = signed(Call::Register).encode();
    bytes.push(0);
    assert_eq!(SignedCall::decode(&bytes), Err(CallError::Malformed));
    assert_eq!(SignedCall::decode(&[0; CALL_BYTES_MAX + 1]), Err(CallError::TooLong));
    assert_eq!(SignedCall::decode(&[]), Err(CallError::Malformed));
    let longest = Call::SetWeights { weights: vec![(Uid(9), 9); 256], version: 0 };
    assert!(signed(longest).encode().len() <= CALL_BYTES_MAX);
}

proptest! {
    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(
        prefix in vec(any::<u8>(), 72), tag in 0u8..6, rest in vec(any::<u8>(), 0..300),
    ) {
        let bytes = [prefix, vec![tag], rest].concat();
        if let Ok(call) = SignedCall::decode(&bytes) {
            prop_assert_eq!(call.encode(), bytes);
        }
    }

    #[test]
    fn a_cut_call_is_refused(cut in 0usize..1000) {
        let weights = (0..20).map(|uid| (Uid(uid), 1)).collect();
        let bytes = signed(Call::SetWeights { weights, version: 1 }).encode();
        let cut = cut % bytes.len();
        prop_assert_eq!(SignedCall::decode(&bytes[..cut]), Err(CallError::Malformed));
    }
}
