//! Any feedback, of whatever bits, compresses to a payload that decodes, and loses nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pactum_compress::{Compressor, LARGEST};
use pactum_fuzz::{decode_checked, layout, settings};

fuzz_target!(|input: &[u8]| {
    let Some((&selector, rest)) = input.split_first() else { return };
    let layout = layout(selector);
    let mut before = rest.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<_>>();
    before.resize(layout.len(), 0.25);
    let mut compressor = Compressor::new(layout.clone(), settings(selector)).expect("the settings fit the layout");
    let mut after = before.clone();
    let payload = compressor.compress(&mut after);
    let update = decode_checked(selector, &payload).expect("our own payload decodes");
    assert_eq!(update.selected(), compressor.report().selected);
    for value in &mut before {
        // What cannot be compressed is dropped from the feedback.
        *value = if value.abs() <= LARGEST { *value } else { 0.0 };
    }
    update.subtract_from(&mut before);
    let same = before.iter().zip(&after).all(|(a, b)| a.to_bits() == b.to_bits());
    assert!(same, "feedback and payload do not add up");
});
