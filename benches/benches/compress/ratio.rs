//! Bits and error of each quantiser and coder.

use std::collections::BTreeMap;

use pactum_compress::{Coder, Compressor, Layout, Limits, Quantiser, Settings, SparseUpdate, decode};

use crate::Error;
use crate::record::record;

const EDGE: usize = 64;
const TOP_K: usize = 64;

/// Sums over tensors.
#[derive(Default)]
struct Row {
    bits: usize,
    values: usize,
    lost: f64,
    energy: f64,
}

/// Prints the table for a model of some width. Every tensor is a payload of its own, headers and tables included.
pub(crate) fn print(width: usize) -> Result<(), Error> {
    let recorded = record(width)?;
    println!(
        "\nPseudo-gradient of a model of width {width} (inner loss {:.2}), top {TOP_K} of {}:",
        recorded.loss,
        EDGE * EDGE
    );
    println!("matrices of both dimensions from 256 on, every one a payload of its own, all bytes counted\n");
    let mut table: BTreeMap<(String, &str), Row> = BTreeMap::new();
    let (mut offset, mut ideal) = (0, Row::default());
    for shape in &recorded.shapes {
        let length = shape.iter().product::<usize>();
        let values = &recorded.feedback[offset..offset + length];
        offset += length;
        if shape.len() != 2 || shape.iter().any(|&dimension| dimension < 256) {
            continue;
        }
        let layout = Layout::new(EDGE, [shape.clone()])?;
        for quantiser in [Quantiser::SignScale, Quantiser::TwoLevels] {
            for (name, coder) in [("fixed width", Coder::Fixed), ("entropy", Coder::Entropy)] {
                let settings = Settings::new(TOP_K, quantiser).with_coder(coder);
                let (bytes, update) = trip(&layout, settings, values)?;
                let row = table.entry((format!("{quantiser:?}"), name)).or_default();
                row.add(&bytes, &update, values);
                ideal.bits += usize::from(ideal.values == 0);
            }
        }
        let (_, update) = trip(&layout, Settings::new(TOP_K, Quantiser::SignScale), values)?;
        ideal.values += update.selected();
        ideal.lost += marginal_entropy(&update, shape);
    }
    println!("| quantiser | coder | bits per value | ratio to f32 | relative L2 error |");
    println!("|---|---|---|---|---|");
    for ((quantiser, coder), row) in &table {
        let bits = row.bits as f64 / row.values as f64;
        let ratio = (EDGE * EDGE / TOP_K) as f64 * 32.0 / bits;
        let error = (row.lost / row.energy).sqrt();
        println!("| {quantiser} | {coder} | {bits:.2} | {ratio:.0} | {error:.3} |");
    }
    println!(
        "\nIndices alone: uniform {:.2} bit, given the marginals of rows and columns {:.2} bit",
        uniform_entropy(),
        ideal.lost / ideal.values as f64
    );
    Ok(())
}

fn trip(layout: &Layout, settings: Settings, values: &[f32]) -> Result<(Vec<u8>, SparseUpdate), Error> {
    let bytes = Compressor::new(layout.clone(), settings)?.compress(&mut values.to_vec());
    let update = decode(&bytes, layout, &Limits::new(settings))?;
    Ok((bytes, update))
}

impl Row {
    fn add(&mut self, bytes: &[u8], update: &SparseUpdate, values: &[f32]) {
        self.bits += bytes.len() * 8;
        self.values += update.selected();
        for (position, value) in update.entries() {
            let truth = f64::from(values[position]);
            self.lost += (truth - f64::from(value)).powi(2);
            self.energy += truth.powi(2);
        }
    }
}

/// `log2 C(n, k) / k`: bits for the place of a value if all places are alike.
fn uniform_entropy() -> f64 {
    let (area, kept) = (EDGE * EDGE, TOP_K);
    (0..kept).map(|i| ((area - i) as f64 / (kept - i) as f64).log2()).sum::<f64>() / kept as f64
}

/// Bits for all places if the counts of every row and column were known for nothing: independent choices with
/// probabilities in proportion to both, less what the known number of values in each chunk saves.
fn marginal_entropy(update: &SparseUpdate, shape: &[usize]) -> f64 {
    let (rows, columns) = (shape[0], shape[1]);
    let (mut of_row, mut of_column) = (vec![0.0; rows], vec![0.0; columns]);
    for (position, _) in update.entries() {
        of_row[position / columns] += 1.0;
        of_column[position % columns] += 1.0;
    }
    let total = update.selected() as f64;
    let chance = |row: usize, column: usize| (of_row[row] * of_column[column] / total).min(0.999_f64);
    let mut bits = 0.0;
    for row in 0..rows {
        bits -= (0..columns).map(|column| (1.0 - chance(row, column)).log2()).sum::<f64>();
    }
    for (position, _) in update.entries() {
        let chance = chance(position / columns, position % columns);
        bits -= (chance / (1.0 - chance)).log2();
    }
    let known = 0.5 * (2.0 * std::f64::consts::PI * TOP_K as f64).log2();
    bits - known * total / TOP_K as f64
}
