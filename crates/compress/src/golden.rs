//! Payloads whose bytes must never change within a version of the format.
//!
//! `testdata/payloads.txt` has, for each quantiser and coder, the payload of a small layout byte by byte and the digest of
//! that of a larger one. The numbers that are compressed come from [`gradient`], a generator that is easy to write again.

use std::fmt::Write;

use crate::laws::gradient;
use crate::{Coder, Compressor, Layout, Limits, Quantiser, Settings, decode};

fn payload(layout: &Layout, settings: Settings) -> Vec<u8> {
    let bytes = Compressor::new(layout.clone(), settings).unwrap().compress(&mut gradient(7, layout.len()));
    assert!(decode(&bytes, layout, &Limits::new(settings)).is_ok());
    bytes
}

fn all() -> String {
    let small = Layout::new(8, [vec![24, 16], vec![9], vec![5, 12]]).unwrap();
    let large = Layout::new(64, [vec![300, 200], vec![5000], vec![40, 30, 9], vec![2, 700]]).unwrap();
    let mut text = String::new();
    for quantiser in Quantiser::ALL {
        for coder in Coder::ALL {
            let payload = |layout, k| payload(layout, Settings::new(k, quantiser).with_coder(coder));
            let (small, large) = (payload(&small, 6), payload(&large, 64));
            let bytes = small.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            writeln!(text, "{quantiser:?} {coder:?} small {bytes}").unwrap();
            writeln!(text, "{quantiser:?} {coder:?} large {} {}", large.len(), blake3::hash(&large).to_hex()).unwrap();
        }
    }
    text
}

#[test]
fn payloads_are_those_of_the_format() {
    let found = all();
    assert!(found == include_str!("../testdata/payloads.txt"), "the bytes have changed; they are now:\n{found}");
}
