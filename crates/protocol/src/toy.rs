//! Keys that sign without cryptography, and messages to sign, for tests.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::{
    BlockNumber, Digest, Draft, Header, Hotkey, Manifest, Metagraph, Neuron, Sign, Signature, SignedHeader, Uid,
    VERSION, Verify, Window,
};

/// A key known by one number.
pub(crate) struct Key(pub(crate) u8);

/// Believes what [`Key`] signs.
pub(crate) struct Oracle;

fn seal(hotkey: &Hotkey, message: &[u8]) -> Signature {
    let half = |context| Digest::derive(context, &[&hotkey.0, message]).0;
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&half("toy first half"));
    bytes[32..].copy_from_slice(&half("toy second half"));
    Signature(bytes)
}

impl Sign for Key {
    fn hotkey(&self) -> Hotkey {
        Hotkey([self.0; 32])
    }

    fn sign(&self, message: &[u8]) -> Signature {
        seal(&self.hotkey(), message)
    }
}

impl Verify for Oracle {
    fn verify(&self, hotkey: &Hotkey, message: &[u8], signature: &Signature) -> bool {
        seal(hotkey, message) == *signature
    }
}

/// The payload that the miner `uid` sends in these tests.
pub(crate) fn payload(uid: u8) -> Vec<u8> {
    vec![uid; 10 + usize::from(uid)]
}

/// A header of window 3 by the miner `uid`, whose key has the same number.
pub(crate) fn header(uid: u8) -> Header {
    let payload = payload(uid);
    Header {
        run: Digest::of(b"run"),
        version: VERSION,
        window: Window(3),
        uid: Uid(u16::from(uid)),
        previous: Digest::of(b"previous"),
        hparams: Digest::of(b"hparams"),
        probe: Digest::of(b"probe"),
        payload: Digest::of(&payload),
        payload_bytes: payload.len() as u64,
        samples: 240,
        inner_loss: 2.5,
    }
}

pub(crate) fn signed(uid: u8) -> SignedHeader {
    SignedHeader::sign(header(uid), &Key(uid))
}

/// The manifest of window 3 with these miners.
pub(crate) fn manifest(uids: &[u8]) -> Manifest {
    let mut draft = Draft::new(Digest::of(b"run"), Window(3), Digest::of(b"previous"), Digest::of(b"block 53"));
    uids.iter().for_each(|uid| draft.accept(&signed(*uid), 1.0));
    draft.build(64)
}

/// Neurons 0 to 9 whose keys have their numbers; uid n registered in block 100 - n.
pub(crate) fn metagraph() -> Metagraph {
    let neuron = |uid: u8| Neuron {
        uid: Uid(u16::from(uid)),
        hotkey: Key(uid).hotkey(),
        stake: 0,
        permit: false,
        address: None,
        registered: BlockNumber(100 - u64::from(uid)),
    };
    Metagraph { block: BlockNumber(50), neurons: (0..10).map(neuron).collect() }
}

pub(crate) fn any_digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

prop_compose! {
    pub(crate) fn any_header()(
        digests in any::<[[u8; 32]; 5]>(),
        (version, window, uid, payload_bytes, samples) in any::<(u16, u64, u16, u64, u32)>(),
        inner_loss in proptest::num::f32::NORMAL,
    ) -> Header {
        let [run, previous, hparams, probe, payload] = digests.map(Digest);
        let (window, uid) = (Window(window), Uid(uid));
        Header { run, version, window, uid, previous, hparams, probe, payload, payload_bytes, samples, inner_loss }
    }
}

prop_compose! {
    pub(crate) fn any_signed()(header in any_header(), key in any::<u8>()) -> SignedHeader {
        SignedHeader::sign(header, &Key(key))
    }
}

prop_compose! {
    pub(crate) fn any_manifest()(
        (run, previous, seed) in (any_digest(), any_digest(), any_digest()),
        checkpoint in proptest::option::of(any_digest()),
        window in any::<u64>(),
        headers in vec((any_signed(), 1e-3f32..10.0), 0..8),
    ) -> (Manifest, Vec<SignedHeader>) {
        let mut draft = Draft::new(run, Window(window), previous, seed);
        if let Some(state) = checkpoint {
            draft = draft.with_checkpoint(state);
        }
        let mut taken = Vec::new();
        for (mut signed, weight) in headers {
            signed.header.window = Window(window);
            draft.accept(&signed, weight);
            taken.push(signed);
        }
        (draft.build(64), taken)
    }
}
