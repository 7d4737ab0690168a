//! Arbitrary bytes, and arbitrary sections behind a valid header, are refused or decode to something within limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pactum_compress::read_settings;
use pactum_fuzz::{decode_checked, with_header};

fuzz_target!(|input: &[u8]| {
    let Some((&selector, rest)) = input.split_first() else { return };
    let _ = read_settings(rest);
    decode_checked(selector, rest);
    decode_checked(selector, &with_header(selector, rest));
});
