//! A manifest is refused or has exactly one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pactum_fuzz::{check_canonical, manifest};
use pactum_protocol::{Limits, Manifest};

fuzz_target!(|input: &[u8]| {
    let limits = Limits::new(1 << 20, 8);
    let valid = manifest().0.encode();
    check_canonical(&valid, input, |bytes| Manifest::decode(bytes, &limits).ok().map(|message| message.encode()));
});
