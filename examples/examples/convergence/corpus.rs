//! A text as bytes, and which of its places a step trains on.

use std::error::Error;
use std::fmt::Write as _;
use std::ops::Range;

/// Held-out sequences that are measured in the course of a run.
const SAMPLED: usize = 128;

/// A text, one token a byte; its last tenth is never trained on.
pub(crate) struct Corpus {
    text: Vec<u32>,
    /// Where the held-out part begins.
    split: usize,
    context: usize,
}

impl Corpus {
    pub(crate) fn new(text: &str, context: usize) -> Result<Self, Box<dyn Error>> {
        let text: Vec<u32> = text.bytes().map(u32::from).collect();
        let split = text.len() / 10 * 9;
        if text.len() - split < 2 * (context + 1) {
            return Err(format!("the text has only {} bytes: choose a longer one", text.len()).into());
        }
        Ok(Self { text, split, context })
    }

    /// A text of sums, for a first try.
    pub(crate) fn own(context: usize) -> Self {
        let mut text = String::new();
        for number in 0..4000_u64 {
            let (a, b) = (mix(number) % 50, mix(number + 4000) % 50);
            // Writing to a string does not fail.
            let _ = writeln!(text, "{a} and {b} are {}.", a + b);
        }
        let text: Vec<u32> = text.bytes().map(u32::from).collect();
        let split = text.len() / 10 * 9;
        Self { text, split, context }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// A number that another text most likely does not have.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.text.iter().fold(self.context as u64, |seen, &byte| mix(seen ^ u64::from(byte)))
    }

    /// Sequences `rows` of a step: at places that only step and row decide, however many workers share them.
    pub(crate) fn batch(&self, step: u64, rows: Range<usize>) -> Vec<u32> {
        let places = (self.split - self.context) as u64;
        let place = |row: usize| (mix(step << 16 | row as u64) % places) as usize;
        rows.flat_map(|row| &self.text[place(row)..][..=self.context]).copied().collect()
    }

    /// The held-out text in sequences, all of them or a few that are spread over it.
    pub(crate) fn heldout(&self, all: bool) -> Vec<u32> {
        let rows: Vec<&[u32]> = self.text[self.split..].windows(self.context + 1).step_by(self.context).collect();
        let every = if all { 1 } else { rows.len().div_ceil(SAMPLED) };
        rows.into_iter().step_by(every).flatten().copied().collect()
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): a number without visible order from a number with one.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
