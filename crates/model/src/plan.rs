//! What a model costs, before anything is allocated.

use std::fmt;

use crate::config::{ConfigError, ModelConfig};
use crate::engine;

/// Size and work of a model, and the memory of a training step on this engine.
///
/// Its `Display` is a table for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Parameters in all.
    pub parameters: u64,
    /// Those of embedding and head; a tied pair counts once.
    pub embedding_parameters: u64,
    /// Floating-point operations of the forward pass per token, averaged over a full context: two per multiplication
    /// of the projections, the head and causal attention (Kaplan et al., arXiv:2001.08361, with attention exact).
    pub forward_flops: u64,
    /// Sequences held at once.
    pub rows: u64,
    /// Tokens in each.
    pub context: u64,
    /// Bytes of the flat parameter vector; the gradient and each of the two moments take as many.
    pub vector_bytes: u64,
    /// Bytes that the engine keeps between forward and backward pass.
    pub kept_bytes: u64,
    /// The same for an engine that recomputes.
    pub recomputed_bytes: u64,
    /// Bytes of the engine's other buffers, logits included.
    pub work_bytes: u64,
}

impl Plan {
    /// Floating-point operations of a training step per token: the backward pass does twice the forward pass' work.
    pub fn train_flops(&self) -> u64 {
        3 * self.forward_flops
    }

    /// Bytes that training holds: parameters, gradient, two moments, and the engine's buffers.
    pub fn train_bytes(&self) -> u64 {
        4 * self.vector_bytes + self.kept_bytes + self.work_bytes
    }

    /// The same as [`Plan::train_bytes`] with the moments in a [store](crate::StreamedAdamW) outside of memory.
    pub fn streamed_bytes(&self) -> u64 {
        2 * self.vector_bytes + self.kept_bytes + self.work_bytes
    }

    /// Bytes that generation and losses hold at most: parameters and the engine's buffers.
    pub fn inference_bytes(&self) -> u64 {
        self.vector_bytes + self.kept_bytes + self.work_bytes
    }

    /// The same as [`Plan::train_bytes`] for an engine that recomputes.
    pub fn recomputing_bytes(&self) -> u64 {
        4 * self.vector_bytes + self.recomputed_bytes + self.work_bytes
    }
}

impl ModelConfig {
    /// What training with an engine of `rows` sequences at once costs.
    ///
    /// # Errors
    /// If the configuration describes no model.
    pub fn plan(&self, rows: usize) -> Result<Plan, ConfigError> {
        self.validate()?;
        let wide = |value: usize| value as u64;
        let [kept, recomputed, work] = engine::buffer_values(self, wide(rows));
        let parameters = wide(self.count());
        let table = wide(self.vocab) * wide(self.width);
        let embedding_parameters = if self.tied { table } else { 2 * table };
        // Norms and biases are left out: they are less than a thousandth.
        let width = wide(self.width);
        let key = wide(self.head_width()) * wide(self.kv_heads);
        let block = 2 * width * (width + key) + 3 * width * wide(self.ffn);
        let attention = width * (wide(self.context) + 1);
        Ok(Plan {
            parameters,
            embedding_parameters,
            forward_flops: 2 * (wide(self.layers) * (block + attention) + table),
            rows: wide(rows),
            context: wide(self.context),
            vector_bytes: 4 * parameters,
            kept_bytes: 4 * kept,
            recomputed_bytes: 4 * recomputed,
            work_bytes: 4 * work,
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let embedding = short(self.embedding_parameters);
        writeln!(out, "parameters        {:>10}   ({embedding} in embedding and head)", short(self.parameters))?;
        writeln!(out, "forward per token {:>10} FLOP", short(self.forward_flops))?;
        writeln!(out, "training per token{:>10} FLOP", short(self.train_flops()))?;
        writeln!(out, "memory of a training step, {} rows of {} tokens, f32:", self.rows, self.context)?;
        writeln!(out, "  parameters      {:>11}", bytes_text(self.vector_bytes))?;
        writeln!(out, "  gradient        {:>11}", bytes_text(self.vector_bytes))?;
        writeln!(out, "  moments         {:>11}", bytes_text(2 * self.vector_bytes))?;
        writeln!(out, "  kept by blocks  {:>11}", bytes_text(self.kept_bytes))?;
        writeln!(out, "  working buffers {:>11}", bytes_text(self.work_bytes))?;
        writeln!(out, "  together        {:>11}", bytes_text(self.train_bytes()))?;
        writeln!(out, "  if recomputing  {:>11}", bytes_text(self.recomputing_bytes()))?;
        write!(out, "  moments on disk {:>11}", bytes_text(self.streamed_bytes()))
    }
}

/// An amount of memory for people, such as `12.3 GB`: three significant digits and a decimal prefix.
pub fn bytes_text(bytes: u64) -> String {
    format!("{}B", short(bytes))
}

/// Three significant digits and a decimal prefix, with a blank between.
fn short(value: u64) -> String {
    let (mut scaled, mut prefix) = (value as f64, "");
    for next in ["k", "M", "G", "T", "P"] {
        if scaled < 999.5 {
            break;
        }
        (scaled, prefix) = (scaled / 1000.0, next);
    }
    let digits = if prefix.is_empty() || scaled >= 99.95 { 0 } else { 1 + usize::from(scaled < 9.995) };
    format!("{scaled:.digits$} {prefix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0, "0 "),
            (999, "999 "),
            (1000, "1.00 k"),
            (9994, "9.99 k"),
            (9996, "10.0 k"),
            (99_960, "100 k"),
            (999_700, "1.00 M"),
            (72_747_327_488, "72.7 G"),
        ] {
            assert_eq!(short(value), text, "{value}");
        }
    }

    #[test]
    fn work_is_counted_product_by_product() {
        let config = ModelConfig { layers: 2, ..ModelConfig::default() };
        let plan = config.plan(3).unwrap();
        let weights: usize = config.parameters().iter().filter(|s| s.shape.len() > 1).map(|s| s.len()).sum();
        let projections = weights - config.vocab * config.width;
        // Each query multiplies with itself and all keys before it, once for its score and once for its value.
        let attention: usize = (1..=config.context).map(|seen| 2 * seen * config.width * config.layers).sum();
        assert_eq!(plan.forward_flops as usize, 2 * (projections + attention / config.context));
        assert_eq!(plan.embedding_parameters, 65_536);
    }

    #[test]
    fn the_table_names_every_part() {
        let text = ModelConfig::preset("70b").unwrap().plan(1).unwrap().to_string();
        assert!(text.starts_with("parameters            72.7 G   (4.29 G in embedding and head)\n"), "{text}");
        assert!(text.contains("\n  moments              582 GB\n"), "{text}");
        assert_eq!(text.lines().count(), 12);
    }
}
