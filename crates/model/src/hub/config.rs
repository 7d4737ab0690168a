//! `config.json` of `LlamaForCausalLM`.

use serde::{Deserialize, Serialize};

use crate::config::{ModelConfig, RopeScaling};

const MODEL_TYPE: &str = "llama";
const ACTIVATION: &str = "silu";

/// Fields of the file that we read; all others are left alone.
#[derive(Deserialize)]
pub(super) struct File {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    hidden_act: Option<String>,
    rms_norm_eps: Option<f32>,
    rope_theta: Option<f32>,
    rope_scaling: Option<Rope>,
    /// Where newer files keep what was in `rope_theta` and `rope_scaling`.
    rope_parameters: Option<Rope>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    partial_rotary_factor: Option<f32>,
    quantization_config: Option<serde::de::IgnoredAny>,
}

#[derive(Clone, Deserialize, Serialize)]
struct Rope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rope_theta: Option<f32>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<usize>,
}

#[derive(Serialize)]
struct Written<'a> {
    architectures: [&'a str; 1],
    model_type: &'a str,
    hidden_act: &'a str,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    rope_theta: f32,
    rope_scaling: Option<Rope>,
    tie_word_embeddings: bool,
    attention_bias: bool,
    mlp_bias: bool,
    torch_dtype: &'a str,
}

impl File {
    /// The configuration, not yet validated; the error says which field has what this model family cannot be.
    pub(super) fn into_config(self) -> Result<ModelConfig, String> {
        expect("model_type", &self.model_type, MODEL_TYPE)?;
        expect("hidden_act", self.hidden_act.as_deref().unwrap_or(ACTIVATION), ACTIVATION)?;
        if let Some(found) = self.head_dim {
            let expected = self.hidden_size.checked_div(self.num_attention_heads).unwrap_or(0);
            expect("head_dim", &found.to_string(), &expected.to_string())?;
        }
        expect("partial_rotary_factor", &self.partial_rotary_factor.unwrap_or(1.0).to_string(), "1")?;
        if self.quantization_config.is_some() {
            return Err("quantization_config is set: only weights in f32, f16 or bf16 are supported here".into());
        }
        let rope = self.rope_parameters.as_ref();
        let rope_base = self.rope_theta.or(rope.and_then(|rope| rope.rope_theta)).unwrap_or(10_000.0);
        Ok(ModelConfig {
            vocab: self.vocab_size,
            width: self.hidden_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            ffn: self.intermediate_size,
            context: self.max_position_embeddings,
            rope_base,
            rope_scaling: self.rope_scaling.as_ref().or(rope).map_or(Ok(None), Rope::scaling)?,
            norm_eps: self.rms_norm_eps.unwrap_or(1e-6),
            tied: self.tie_word_embeddings.unwrap_or(false),
            attention_bias: self.attention_bias.unwrap_or(false),
            mlp_bias: self.mlp_bias.unwrap_or(false),
        })
    }
}

impl Rope {
    fn scaling(&self) -> Result<Option<RopeScaling>, String> {
        match self.rope_type.as_deref() {
            None | Some("default") => Ok(None),
            Some("llama3") => self.llama3().map(Some),
            Some(other) => Err(format!("rope_type is {other}: only default and llama3 are supported")),
        }
    }

    fn llama3(&self) -> Result<RopeScaling, String> {
        let missing = |field: &str| format!("the rope settings have no {field}");
        Ok(RopeScaling {
            factor: self.factor.ok_or_else(|| missing("factor"))?,
            low_frequency: self.low_freq_factor.ok_or_else(|| missing("low_freq_factor"))?,
            high_frequency: self.high_freq_factor.ok_or_else(|| missing("high_freq_factor"))?,
            original_context: self
                .original_max_position_embeddings
                .ok_or_else(|| missing("original_max_position_embeddings"))?,
        })
    }
}

/// The text of `config.json`.
pub(super) fn to_json(config: &ModelConfig) -> serde_json::Result<String> {
    let rope_scaling = config.rope_scaling.as_ref().map(|scaling| Rope {
        rope_type: Some("llama3".into()),
        rope_theta: None,
        factor: Some(scaling.factor),
        low_freq_factor: Some(scaling.low_frequency),
        high_freq_factor: Some(scaling.high_frequency),
        original_max_position_embeddings: Some(scaling.original_context),
    });
    serde_json::to_string_pretty(&Written {
        architectures: ["LlamaForCausalLM"],
        model_type: MODEL_TYPE,
        hidden_act: ACTIVATION,
        vocab_size: config.vocab,
        hidden_size: config.width,
        intermediate_size: config.ffn,
        num_hidden_layers: config.layers,
        num_attention_heads: config.heads,
        num_key_value_heads: config.kv_heads,
        head_dim: config.head_width(),
        max_position_embeddings: config.context,
        rms_norm_eps: config.norm_eps,
        rope_theta: config.rope_base,
        rope_scaling,
        tie_word_embeddings: config.tied,
        attention_bias: config.attention_bias,
        mlp_bias: config.mlp_bias,
        torch_dtype: "float32",
    })
}

fn expect(field: &str, found: &str, expected: &str) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{field} is {found}: only {expected} is supported here")) }
}
