//! Payloads whose bytes must never change within a version of the format.
//!
//! `testdata/payloads.txt` has, for each quantiser and coder, the payload of a small layout byte by byte and the digest of
//! that of a larger one; and one, byte by byte, of a matrix whose lines and columns have marks, which is written with several states. The
//! numbers that are compressed come from [`gradient`] and [`uneven`], generators that are easy to write again.

use std::fmt::Write;

use crate::laws::gradient;
use crate::{Coder, Compressor, Layout, Limits, Quantiser, Settings, decode};

fn payload(layout: &Layout, settings: Settings, mut values: Vec<f32>) -> Vec<u8> {
    let bytes = Compressor::new(layout.clone(), settings).unwrap().compress(&mut values);
    assert!(decode(&bytes, layout, &Limits::new(settings)).is_ok());
    bytes
}

/// Rows of three strengths and columns of four, and signs that but for each eleventh are the product of those of row and column.
fn uneven(side: usize) -> Vec<f32> {
    let uneven = |(place, value): (usize, f32)| {
        let (row, column) = (place / side, place % side);
        let negative = if place % 11 == 0 { value < 0.0 } else { (row % 5 < 2) != (column % 7 < 3) };
        let value = value.abs() * ((1 << (row % 3)) * (1 << (column % 4))) as f32;
        if negative { -value } else { value }
    };
    gradient(7, side * side).into_iter().enumerate().map(uneven).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// A line with the payload of a matrix that has marks.
fn marked() -> String {
    let layout = Layout::new(8, [vec![216, 216]]).unwrap();
    let bytes = payload(&layout, Settings::new(6, Quantiser::TwoLevels), uneven(216));
    // Behind the frame and the length of its section: there are classes of lines and of columns, and leanings.
    assert_eq!(bytes[36], 7);
    format!("TwoLevels Entropy marked {}", hex(&bytes))
}

fn all() -> String {
    let small = Layout::new(8, [vec![24, 16], vec![9], vec![5, 12]]).unwrap();
    let large = Layout::new(64, [vec![300, 200], vec![5000], vec![40, 30, 9], vec![2, 700]]).unwrap();
    let mut text = String::new();
    for quantiser in Quantiser::ALL {
        for coder in Coder::ALL {
            let payload = |layout: &Layout, k| {
                payload(layout, Settings::new(k, quantiser).with_coder(coder), gradient(7, layout.len()))
            };
            let (small, large) = (payload(&small, 6), payload(&large, 64));
            writeln!(text, "{quantiser:?} {coder:?} small {}", hex(&small)).unwrap();
            writeln!(text, "{quantiser:?} {coder:?} large {} {}", large.len(), blake3::hash(&large).to_hex()).unwrap();
        }
    }
    text + &marked() + "\n"
}

#[test]
fn payloads_are_those_of_the_format() {
    let found = all();
    assert!(found == include_str!("../testdata/payloads.txt"), "the bytes have changed; they are now:\n{found}");
}
