//! The shape of a model and its presets.

use crate::layout::{self, ParameterSpec};

/// Largest count of parameters that a configuration may describe (10^12), so that sizes never overflow.
const PARAMETERS_MAX: usize = 1_000_000_000_000;
/// Largest value of any one dimension.
const DIMENSION_MAX: usize = 1 << 24;
/// Largest number of layers.
const LAYERS_MAX: usize = 4096;

/// A Llama-style decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU, tied or untied head.
///
/// `ModelConfig::default()` is the preset `tiny`, so a literal may name only what differs.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Number of token ids.
    pub vocab: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Number of decoder blocks.
    pub layers: usize,
    /// Number of query heads; divides `width`.
    pub heads: usize,
    /// Number of key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of the feed-forward block.
    pub ffn: usize,
    /// Longest sequence in tokens.
    pub context: usize,
    /// Base of the rotary frequencies.
    pub rope_base: f32,
    /// Stretching of the rotary frequencies for long contexts, if any.
    pub rope_scaling: Option<RopeScaling>,
    /// Epsilon inside the square root of RMSNorm.
    pub norm_eps: f32,
    /// Whether the output head is the embedding matrix.
    pub tied: bool,
    /// Whether the four projections of attention have biases.
    pub attention_bias: bool,
    /// Whether the three projections of the feed-forward block have biases.
    pub mlp_bias: bool,
}

/// Frequency scaling of Llama 3.1 (`rope_type: llama3` in Hugging Face files).
#[derive(Clone, Debug, PartialEq)]
pub struct RopeScaling {
    /// Division of the low frequencies.
    pub factor: f32,
    /// Wavelengths above `original_context / low_frequency` are divided by `factor`.
    pub low_frequency: f32,
    /// Wavelengths below `original_context / high_frequency` are kept.
    pub high_frequency: f32,
    /// Context of the model before stretching, in tokens.
    pub original_context: usize,
}

/// Why a configuration describes no model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A dimension is zero or too large.
    #[error("model setting {field} is {value}: it must lie between 1 and {max}")]
    OutOfRange {
        /// Name of the setting.
        field: &'static str,
        /// Its value.
        value: usize,
        /// Largest value allowed.
        max: usize,
    },
    /// One dimension does not divide another.
    #[error("model setting {field} is {value}: it must be a multiple of {divisor}")]
    NotMultiple {
        /// Name of the setting.
        field: &'static str,
        /// Its value.
        value: usize,
        /// What it must be a multiple of.
        divisor: usize,
    },
    /// A real number is not positive and finite.
    #[error("model setting {field} is {value}: it must be positive and finite")]
    NotPositive {
        /// Name of the setting.
        field: &'static str,
        /// Its value.
        value: f32,
    },
    /// The model has more than 10^12 parameters.
    #[error("the model has more than {PARAMETERS_MAX} parameters: choose smaller dimensions")]
    TooLarge,
}

impl Default for ModelConfig {
    /// The preset `tiny`.
    fn default() -> Self {
        Self {
            vocab: 256,
            width: 128,
            layers: 4,
            heads: 4,
            kv_heads: 2,
            ffn: 384,
            context: 64,
            rope_base: 10_000.0,
            rope_scaling: None,
            norm_eps: 1e-5,
            tied: false,
            attention_bias: false,
            mlp_bias: false,
        }
    }
}

impl ModelConfig {
    /// Names of the presets, smallest first.
    pub const PRESETS: [&'static str; 6] = ["tiny", "mini", "150m", "1b", "8b", "70b"];

    /// A preset by name: `tiny`, `mini` (6.8 M), `150m`, `1b`, `8b` (Llama-3-8B), `70b` (Covenant-72B). The first four are
    /// also those of a run's settings.
    pub fn preset(name: &str) -> Option<Self> {
        // vocab, width, layers, heads, kv_heads, ffn, context
        let (sizes, rope_base, tied) = match name {
            "tiny" => return Some(Self::default()),
            "mini" => ([4096, 256, 6, 8, 4, 768, 256], 10_000.0, false),
            "150m" => ([32_000, 1024, 12, 16, 16, 2688, 2048], 500_000.0, true),
            "1b" => ([32_000, 2048, 16, 8, 8, 8192, 2048], 500_000.0, true),
            "8b" => ([128_256, 4096, 32, 32, 8, 14_336, 2048], 500_000.0, false),
            "70b" => ([262_144, 8192, 80, 64, 8, 28_672, 2048], 500_000.0, false),
            _ => return None,
        };
        let [vocab, width, layers, heads, kv_heads, ffn, context] = sizes;
        Some(Self { vocab, width, layers, heads, kv_heads, ffn, context, rope_base, tied, ..Self::default() })
    }

    /// Width of one head: `width / heads`. The configuration must be valid.
    pub fn head_width(&self) -> usize {
        self.width / self.heads
    }

    /// Checks every dimension.
    ///
    /// # Errors
    /// The first setting that describes no model.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (field, value, max) in [
            ("vocab", self.vocab, DIMENSION_MAX),
            ("width", self.width, DIMENSION_MAX),
            ("layers", self.layers, LAYERS_MAX),
            ("heads", self.heads, DIMENSION_MAX),
            ("kv_heads", self.kv_heads, DIMENSION_MAX),
            ("ffn", self.ffn, DIMENSION_MAX),
            ("context", self.context, DIMENSION_MAX),
        ] {
            if value == 0 || value > max {
                return Err(ConfigError::OutOfRange { field, value, max });
            }
        }
        multiple("width", self.width, self.heads)?;
        multiple("heads", self.heads, self.kv_heads)?;
        multiple("head width", self.head_width(), 2)?;
        positive("rope_base", self.rope_base)?;
        positive("norm_eps", self.norm_eps)?;
        self.rope_scaling.as_ref().map_or(Ok(()), RopeScaling::validate)?;
        match layout::count_wide(self) > PARAMETERS_MAX as u128 {
            true => Err(ConfigError::TooLarge),
            false => Ok(()),
        }
    }

    /// Name, shape and place of every tensor in the flat parameter vector, in order, without gaps.
    ///
    /// Names and shapes are those of `LlamaForCausalLM` in Hugging Face transformers.
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        layout::parameters(self)
    }

    /// Number of parameters: the length of the flat vector.
    pub fn count(&self) -> usize {
        usize::try_from(layout::count_wide(self)).unwrap_or(usize::MAX)
    }
}

impl RopeScaling {
    fn validate(&self) -> Result<(), ConfigError> {
        positive("rope_scaling.factor", self.factor)?;
        positive("rope_scaling.low_frequency", self.low_frequency)?;
        positive("rope_scaling.high_frequency", self.high_frequency)?;
        positive("rope_scaling.high_frequency - low_frequency", self.high_frequency - self.low_frequency)?;
        if self.original_context == 0 || self.original_context > DIMENSION_MAX {
            let value = self.original_context;
            return Err(ConfigError::OutOfRange { field: "rope_scaling.original_context", value, max: DIMENSION_MAX });
        }
        Ok(())
    }
}

fn multiple(field: &'static str, value: usize, divisor: usize) -> Result<(), ConfigError> {
    if value.is_multiple_of(divisor) { Ok(()) } else { Err(ConfigError::NotMultiple { field, value, divisor }) }
}

fn positive(field: &'static str, value: f32) -> Result<(), ConfigError> {
    if value.is_finite() && value > 0.0 { Ok(()) } else { Err(ConfigError::NotPositive { field, value }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_published_sizes() {
        // Llama-3-8B as published; the others as in the reference figures.
        for (name, count) in [
            ("mini", 6_819_072),
            ("150m", 182_215_680),
            ("1b", 1_139_345_408),
            ("8b", 8_030_261_248),
            ("70b", 72_747_327_488_usize),
        ] {
            let config = ModelConfig::preset(name).unwrap();
            assert_eq!(config.validate(), Ok(()), "{name}");
            assert_eq!(config.count(), count, "{name}");
        }
        assert_eq!(ModelConfig::preset("huge"), None);
    }

    #[test]
    fn every_preset_is_laid_out_without_gaps() {
        for name in ModelConfig::PRESETS {
            let config = ModelConfig::preset(name).unwrap();
            let mut end = 0;
            for spec in config.parameters() {
                assert_eq!(spec.offset, end, "{name} {}", spec.name);
                end += spec.len();
            }
            assert_eq!(end, config.count(), "{name}");
        }
    }

    #[test]
    fn impossible_shapes_are_refused() {
        let check = |change: fn(&mut ModelConfig), message: &str| {
            let mut config = ModelConfig::default();
            change(&mut config);
            assert_eq!(config.validate().unwrap_err().to_string(), message);
        };
        check(|c| c.layers = 0, "model setting layers is 0: it must lie between 1 and 4096");
        check(|c| c.heads = 3, "model setting width is 128: it must be a multiple of 3");
        check(|c| c.kv_heads = 3, "model setting heads is 4: it must be a multiple of 3");
        check(|c| c.heads = 128, "model setting head width is 1: it must be a multiple of 2");
        check(|c| c.norm_eps = f32::NAN, "model setting norm_eps is NaN: it must be positive and finite");
        let wide = |c: &mut ModelConfig| (c.width, c.ffn, c.vocab) = (1 << 24, 1 << 24, 1 << 24);
        check(wide, "the model has more than 1000000000000 parameters: choose smaller dimensions");
    }
}
