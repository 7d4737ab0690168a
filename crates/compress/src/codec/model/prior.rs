//! How strongly rows and columns are believed to be alike before anything is known of them.

use crate::codec::model::cut::{Cut, Geometry};
use crate::compress::Part;
use crate::layout::{Layout, Section};

/// Number of strengths.
const STEPS: u8 = 8;

/// A line or column is treated as if it had held `2^n / 2` values before the section begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Priors {
    line: u8,
    column: u8,
}

impl Priors {
    pub(crate) fn byte(self) -> u8 {
        self.line | self.column << 3
    }

    pub(crate) fn of_byte(byte: u8) -> Option<Priors> {
        (byte < STEPS * STEPS).then_some(Priors { line: byte & 7, column: byte >> 3 })
    }

    /// Weight of a line without values; one with `n` values has `2 * n` more.
    pub(crate) fn line(self) -> u32 {
        1 << self.line
    }

    /// Weight of a column without values.
    pub(crate) fn column(self) -> u32 {
        1 << self.column
    }

    /// By the method of moments: counts with mean `m` and variance `m + m^2 / k` ask for the prior `k`.
    pub(crate) fn measure(geometry: &Geometry, layout: &Layout, section: &Section, parts: &[Part]) -> Priors {
        let bands = &layout.bands()[section.bands.clone()];
        let mut columns = vec![0_u32; geometry.base(geometry.across)];
        let mut lines = vec![0_u32; geometry.lines];
        let (mut of_lines, mut of_columns) = (Moments::default(), Moments::default());
        for (band, part) in bands.iter().zip(parts) {
            lines.fill(0);
            let mut indices = &part.indices[..];
            for (chunk, &count) in part.counts.iter().enumerate() {
                let (mine, rest) = indices.split_at(usize::from(count));
                tally(mine, &geometry.cut(chunk, &band.block(chunk)), &mut lines, &mut columns);
                indices = rest;
            }
            of_lines.add(&lines);
        }
        of_columns.add(&columns);
        Priors { line: of_lines.prior(), column: of_columns.prior() }
    }
}

/// Counts the values of a chunk by line and by column.
fn tally(indices: &[u16], cut: &Cut, lines: &mut [u32], columns: &mut [u32]) {
    for &index in indices {
        let line = cut.line_of(index);
        lines[line] += 1;
        columns[cut.base + usize::from(index) - line * cut.length] += 1;
    }
}

/// Sums for the dispersion of counts around their mean.
#[derive(Default)]
struct Moments {
    number: u64,
    sum: u64,
    squares: u64,
}

impl Moments {
    fn add(&mut self, counts: &[u32]) {
        self.number += counts.len() as u64;
        self.sum += counts.iter().map(|&count| u64::from(count)).sum::<u64>();
        self.squares += counts.iter().map(|&count| u64::from(count).pow(2)).sum::<u64>();
    }

    /// The nearest strength. Any would do for the decoder, so that rounding here is no matter of the format.
    fn prior(&self) -> u8 {
        if self.sum == 0 {
            return STEPS - 1;
        }
        let (number, sum, squares) = (self.number as f64, self.sum as f64, self.squares as f64);
        let mean = sum / number;
        let excess = (squares / number - mean * mean) / mean - 1.0;
        let prior = if excess > 0.0 { mean / excess } else { f64::MAX };
        (0..STEPS - 1).find(|&step| 2.0 * prior < 1.5 * f64::from(1_u32 << step)).unwrap_or(STEPS - 1)
    }
}
