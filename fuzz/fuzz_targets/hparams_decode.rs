//! Settings are refused or have exactly one encoding, whatever they say; validating them never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pactum_fuzz::{check_canonical, patched};
use pactum_protocol::{Hparams, Limits};

fuzz_target!(|input: &[u8]| {
    let limits = Limits::default();
    let valid = Hparams::preset("tiny").expect("the preset exists").encode();
    check_canonical(&valid, input, |bytes| Hparams::decode(bytes, &limits).ok().map(|hparams| hparams.encode()));
    if let Ok(hparams) = Hparams::decode(&patched(&valid, input), &limits) {
        let _ = hparams.validate();
    }
});
