//! A proposal is refused or has exactly one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pactum_fuzz::{Seal, check_canonical, manifest};
use pactum_protocol::{Limits, Proposal, Uid};

fuzz_target!(|input: &[u8]| {
    let limits = Limits::new(1 << 20, 8);
    let valid = {
        let (manifest, headers) = manifest();
        Proposal::sign(manifest, &headers, Uid(4), &Seal).encode()
    };
    check_canonical(&valid, input, |bytes| Proposal::decode(bytes, &limits).ok().map(|message| message.encode()));
});
