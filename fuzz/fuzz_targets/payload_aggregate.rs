//! Whatever decodes can be aggregated with any weights and rate, and leaves finite parameters finite.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pactum_compress::{Mean, Weighted, outer_step};
use pactum_fuzz::{decode_checked, layout, with_header};

fuzz_target!(|input: &[u8]| {
    let Some((head, rest)) = input.split_first_chunk::<14>() else { return };
    let [selector, cut, w0, w1, w2, w3, v0, v1, v2, v3, r0, r1, r2, r3] = *head;
    let (first, second) = rest.split_at(rest.len() * usize::from(cut) / 256);
    let updates = [first, second].map(|sections| decode_checked(selector, &with_header(selector, sections)));
    let weights = [f32::from_le_bytes([w0, w1, w2, w3]), f32::from_le_bytes([v0, v1, v2, v3])];
    let rate = f32::from_le_bytes([r0, r1, r2, r3]);
    let pairs = updates.iter().zip(weights);
    let peers =
        pairs.filter_map(|(update, weight)| Some(Weighted { update: update.as_ref()?, weight })).collect::<Vec<_>>();
    for mean in [Mean::Peers, Mean::Contributors] {
        let mut theta = vec![0.5; layout(selector).len()];
        outer_step(&mut theta, layout(selector), &peers, mean, rate);
        assert!(theta.iter().all(|value| value.is_finite()), "the step is not finite");
    }
});
