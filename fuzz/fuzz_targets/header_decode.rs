//! A signed header is refused or has exactly one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pactum_fuzz::{check_canonical, header};
use pactum_protocol::{Limits, SignedHeader};

fuzz_target!(|input: &[u8]| {
    let limits = Limits::new(1 << 20, 8);
    let valid = header(3).encode();
    check_canonical(&valid, input, |bytes| SignedHeader::decode(bytes, &limits).ok().map(|message| message.encode()));
});
