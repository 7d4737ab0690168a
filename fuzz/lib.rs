//! What the fuzz targets share: a small layout with every kind of tensor, payloads with a valid header, and changes of
//! valid messages.

use std::sync::OnceLock;

use pactum_compress::{
    Coder, Compressor, Decoder, Grid, Instructions, Layout, Limits, Quantiser, Settings, SparseUpdate, decode,
};
use pactum_protocol::{Digest, Draft, Header, Hotkey, Manifest, Sign, Signature, SignedHeader, Uid, Window};

/// Settings chosen by the first byte of the input.
pub fn settings(selector: u8) -> Settings {
    let quantiser = Quantiser::ALL[usize::from(selector & 7) % Quantiser::ALL.len()];
    let coder = Coder::ALL[usize::from(selector >> 3 & 1)];
    let top_k = [1, 5, 16, 64][usize::from(selector >> 5 & 3)];
    Settings::new(top_k, quantiser).with_coder(coder)
}

/// A layout with full, ragged and tiny chunks; or one of sections so long that their coder has several states, or all of them.
pub fn layout(selector: u8) -> &'static Layout {
    static LAYOUTS: OnceLock<[Layout; 4]> = OnceLock::new();
    let small = || vec![vec![33, 16], vec![40], vec![5, 3, 2], vec![1], vec![7, 41]];
    let long = |rows| vec![vec![rows, 40], vec![161, 40], vec![rows, 40], vec![9, 8]];
    let build = |grid, shapes| Layout::with_grid(grid, 8, shapes).expect("the shapes are valid");
    let layouts = LAYOUTS.get_or_init(|| {
        let [even, divisor] = [Grid::Even, Grid::Divisor];
        [build(even, small()), build(divisor, small()), build(even, long(161)), build(divisor, long(420))]
    });
    &layouts[usize::from(selector >> 7 | selector >> 3 & 2)]
}

/// Puts a valid header before the input, and lengths by which each section has an equal part of it, so that the sections are what is fuzzed.
pub fn with_header(selector: u8, sections: &[u8]) -> Vec<u8> {
    let layout = layout(selector);
    let mut compressor = Compressor::new(layout.clone(), settings(selector)).expect("the settings fit the layout");
    let mut payload = compressor.compress(&mut vec![0.0; layout.len()]);
    payload.truncate(32);
    let count = layout.tensors().len();
    for section in 0..count {
        let [start, end] = [section, section + 1].map(|part| sections.len() * part / count);
        payload.extend_from_slice(&((end - start) as u32).to_le_bytes());
    }
    payload.extend_from_slice(sections);
    payload
}

/// Decodes with all instructions that the machine has, and checks that all agree and what every decoded update promises.
pub fn decode_checked(selector: u8, payload: &[u8]) -> Option<SparseUpdate> {
    let (layout, limits) = (layout(selector), Limits::new(settings(selector)));
    let result = decode(payload, layout, &limits);
    for instructions in [Instructions::Plain, Instructions::Avx2] {
        let decoder = Decoder::new(layout.clone(), limits).with_instructions(instructions);
        let other = decoder.map(|mut decoder| decoder.decode(payload));
        assert!(other.is_none_or(|other| other == result), "{instructions:?} read something else");
    }
    let update = result.ok()?;
    let mut seen = vec![false; layout.len()];
    for (position, value) in update.entries() {
        assert!(value.abs() <= 4_294_967_296.0, "a value is out of range");
        assert!(!std::mem::replace(&mut seen[position], true), "a coordinate appears twice");
    }
    assert!(update.norms().iter().all(|norm| norm.is_finite()));
    Some(update)
}

/// Changes a valid message as the input says, four bytes at a time: where (two bytes), what (set, cut, repeat), and the
/// byte to set. Random bytes would hardly ever pass the checks of an archive.
pub fn patched(valid: &[u8], input: &[u8]) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for patch in input.chunks_exact(4) {
        let place = usize::from(u16::from_le_bytes([patch[0], patch[1]])) % (bytes.len() + 1);
        match patch[2] & 7 {
            0 => bytes.truncate(place),
            1 => bytes.insert(place, patch[3]),
            2 => bytes.extend_from_within(place..),
            _ if place < bytes.len() => bytes[place] = patch[3],
            _ => {}
        }
        bytes.truncate(1 << 16);
    }
    bytes
}

/// Checks that what decodes is written again as it was read, for the input itself and for the valid message changed by it.
pub fn check_canonical(valid: &[u8], input: &[u8], again: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    assert_eq!(again(valid).as_deref(), Some(valid), "a valid message is refused");
    for bytes in [input.to_vec(), patched(valid, input)] {
        if let Some(written) = again(&bytes) {
            assert_eq!(written, bytes, "two encodings of one message");
        }
    }
}

/// A key whose signature is always the same; decoding checks none.
pub struct Seal;

impl Sign for Seal {
    fn hotkey(&self) -> Hotkey {
        Hotkey([7; 32])
    }

    fn sign(&self, _: &[u8]) -> Signature {
        Signature([8; 64])
    }
}

/// The header of peer `uid`.
pub fn header(uid: u16) -> SignedHeader {
    let digest = |part: &[u8]| Digest::derive("fuzz", &[part, &uid.to_le_bytes()]);
    let header = Header {
        run: Digest::of(b"run"),
        version: pactum_protocol::VERSION,
        window: Window(9),
        uid: Uid(uid),
        previous: Digest::ZERO,
        hparams: Digest::of(b"hparams"),
        probe: digest(b"probe"),
        payload: digest(b"payload"),
        payload_bytes: 1000,
        samples: 64,
        inner_loss: 2.5,
    };
    SignedHeader::sign(header, &Seal)
}

/// A manifest of three headers.
pub fn manifest() -> (Manifest, Vec<SignedHeader>) {
    let headers = [1, 2, 5].map(header).to_vec();
    let mut draft = Draft::new(Digest::of(b"run"), Window(9), Digest::ZERO, Digest::of(b"seed"));
    headers.iter().for_each(|header| draft.accept(header, 1.0));
    (draft.build(8), headers)
}
