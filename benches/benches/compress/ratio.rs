//! Bits and error of each quantiser and coder.

use pactum_compress::{
    Coder, Compressor, Grid, Layout, Limits, Quantiser, Settings, SparseUpdate, decode, information,
};

use crate::Error;
use crate::record::Recorded;

const EDGE: usize = 64;
const TOP_K: usize = 64;

/// Sums over tensors.
#[derive(Default)]
struct Row {
    bits: usize,
    /// Bits by the shares of the coder's model.
    information: f64,
    values: usize,
    lost: f64,
    energy: f64,
}

/// Prints the table of the matrices of both dimensions from `least` on. Every one is a payload of its own, headers and
/// tables included. Does nothing if there are none.
pub(crate) fn print(recorded: &Recorded, least: usize) -> Result<(), Error> {
    let matrices = recorded.matrices(least);
    if matrices.is_empty() {
        return Ok(());
    }
    println!("\n{}: {} matrices of both dimensions from {least} on,", recorded.title, matrices.len());
    println!("top {TOP_K} of {}, every one a payload of its own, all bytes counted\n", EDGE * EDGE);
    println!(
        "| quantiser | coder | bits per value | by its model | places uniform | ratio to f32 | relative L2 error |"
    );
    println!("|---|---|---|---|---|---|---|");
    for quantiser in Quantiser::ALL {
        for coder in Coder::ALL {
            let mut row = Row::default();
            for (shape, values) in &matrices {
                let trip = trip(shape, Settings::new(TOP_K, quantiser).with_coder(coder), values)?;
                row.add(&trip, values);
            }
            row.print(quantiser, coder);
        }
    }
    let (mut bits, mut count) = (0.0, 0);
    for (shape, values) in &matrices {
        let Trip { update, .. } = trip(shape, Settings::new(TOP_K, Quantiser::SignScale), values)?;
        bits += marginal_entropy(&update, shape);
        count += update.selected();
    }
    println!(
        "\nPlaces alone: {:.2} bits if uniform, {:.2} given the counts of",
        uniform_entropy(),
        bits / count as f64
    );
    println!(
        "all rows and columns for nothing. `Compatible` is cut as the reference run cuts. 'Places uniform': the same"
    );
    println!(
        "payload if places were coded at their uniform entropy and all else at fixed width, without header. 'By its"
    );
    println!("model': the sum of -log2 p of all that was coded; the rest is headers and what the coder wastes.");
    Ok(())
}

/// A matrix compressed and read again.
struct Trip {
    bytes: usize,
    information: f64,
    update: SparseUpdate,
}

fn trip(shape: &[usize], settings: Settings, values: &[f32]) -> Result<Trip, Error> {
    let grid = if settings.quantiser == Quantiser::Compatible { Grid::Divisor } else { Grid::Even };
    let layout = Layout::with_grid(grid, EDGE, [shape.to_vec()])?;
    let bytes = Compressor::new(layout.clone(), settings)?.compress(&mut values.to_vec());
    let limits = Limits::new(settings);
    let (information, update) = (information(&bytes, &layout, &limits)?, decode(&bytes, &layout, &limits)?);
    Ok(Trip { bytes: bytes.len(), information, update })
}

impl Row {
    fn add(&mut self, Trip { bytes, information, update }: &Trip, values: &[f32]) {
        self.bits += bytes * 8;
        self.information += information;
        self.values += update.selected();
        for (position, value) in update.entries() {
            let truth = f64::from(values[position]);
            self.lost += (truth - f64::from(value)).powi(2);
            self.energy += truth.powi(2);
        }
    }

    fn print(&self, quantiser: Quantiser, coder: Coder) {
        let bits = self.bits as f64 / self.values as f64;
        let ratio = (EDGE * EDGE / TOP_K) as f64 * 32.0 / bits;
        let error = (self.lost / self.energy).sqrt();
        let (code, scales) = match quantiser {
            Quantiser::SignScale => (1.0, 1.0),
            Quantiser::TwoLevels => (2.0, 2.0),
            Quantiser::Compatible => (2.0, 0.0),
            Quantiser::FourBits => (4.0, 2.0),
            _ => (32.0, 0.0),
        };
        let uniform = uniform_entropy() + code + 11.0 * scales / TOP_K as f64;
        let model = self.information / self.values as f64;
        println!("| {quantiser:?} | {coder:?} | {bits:.2} | {model:.2} | {uniform:.2} | {ratio:.0} | {error:.3} |");
    }
}

/// Bits for the place of one of the values of a full chunk, all sets being equally probable.
fn uniform_entropy() -> f64 {
    let (kept, area) = (TOP_K, EDGE * EDGE);
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
