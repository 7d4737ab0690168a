//! Where each tensor lies in the flat parameter vector.

use std::ops::Range;

use crate::config::ModelConfig;

/// One tensor of the flat parameter vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Name in Hugging Face files, such as `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Dimensions, row-major; a projection is `[outputs, inputs]`.
    pub shape: Vec<usize>,
    /// Index of its first element in the flat vector.
    pub offset: usize,
}

impl ParameterSpec {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no element; never true for a valid configuration.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its place in the flat vector.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// Ranges of the flat vector as the engine uses them: query, key and value lie side by side and so make one matrix,
/// and so do gate and up.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) embedding: Range<usize>,
    pub(crate) layers: Vec<LayerLayout>,
    pub(crate) norm: Range<usize>,
    /// The embedding's range if the head is tied.
    pub(crate) head: Linear,
}

/// Ranges of one decoder block.
#[derive(Clone, Debug)]
pub(crate) struct LayerLayout {
    pub(crate) attention_norm: Range<usize>,
    pub(crate) fused: Linear,
    pub(crate) output: Linear,
    pub(crate) ffn_norm: Range<usize>,
    pub(crate) gate_up: Linear,
    pub(crate) down: Linear,
}

/// A projection of the flat vector: weight `[outputs, inputs]` and bias, an empty range if there is none.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl Layout {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let mut cursor = Cursor(0);
        let embedding = cursor.take(config.vocab * config.width);
        let layers = (0..config.layers).map(|_| LayerLayout::new(config, &mut cursor)).collect();
        let norm = cursor.take(config.width);
        let mut head = if config.tied { Cursor(embedding.start) } else { cursor };
        Self { embedding, layers, norm, head: head.linear(config.vocab, config.width, false) }
    }
}

impl LayerLayout {
    fn new(config: &ModelConfig, cursor: &mut Cursor) -> Self {
        let Sizes { query, key } = Sizes::new(config);
        let (width, ffn) = (config.width, config.ffn);
        Self {
            attention_norm: cursor.take(width),
            fused: cursor.linear(query + 2 * key, width, config.attention_bias),
            output: cursor.linear(width, query, config.attention_bias),
            ffn_norm: cursor.take(width),
            gate_up: cursor.linear(2 * ffn, width, config.mlp_bias),
            down: cursor.linear(width, ffn, config.mlp_bias),
        }
    }
}

struct Cursor(usize);

impl Cursor {
    fn take(&mut self, len: usize) -> Range<usize> {
        self.0 += len;
        self.0 - len..self.0
    }

    fn linear(&mut self, outputs: usize, inputs: usize, bias: bool) -> Linear {
        let weight = self.take(outputs * inputs);
        Linear { weight, bias: self.take(usize::from(bias) * outputs), inputs, outputs }
    }
}

struct Sizes {
    query: usize,
    key: usize,
}

impl Sizes {
    fn new(config: &ModelConfig) -> Self {
        Self { query: config.width, key: config.width / config.heads * config.kv_heads }
    }
}

/// All tensors in the order of the flat vector.
pub(crate) fn parameters(config: &ModelConfig) -> Vec<ParameterSpec> {
    let mut specs = Specs::default();
    specs.push("model.embed_tokens.weight".into(), &[config.vocab, config.width]);
    for layer in 0..config.layers {
        specs.push_layer(config, layer);
    }
    specs.push("model.norm.weight".into(), &[config.width]);
    if !config.tied {
        specs.push("lm_head.weight".into(), &[config.vocab, config.width]);
    }
    specs.list
}

/// Number of parameters, in a type that no configuration of bounded dimensions overflows.
pub(crate) fn count_wide(config: &ModelConfig) -> u128 {
    let wide = |value: usize| value as u128;
    let (width, ffn) = (wide(config.width), wide(config.ffn));
    let key = width / wide(config.heads) * wide(config.kv_heads);
    let attention = 2 * width * (width + key) + u128::from(config.attention_bias) * 2 * (width + key);
    let mlp = 3 * width * ffn + u128::from(config.mlp_bias) * (2 * ffn + width);
    let heads = if config.tied { 1 } else { 2 };
    heads * wide(config.vocab) * width + wide(config.layers) * (attention + mlp + 2 * width) + width
}

#[derive(Default)]
struct Specs {
    list: Vec<ParameterSpec>,
    end: usize,
}

impl Specs {
    fn push(&mut self, name: String, shape: &[usize]) {
        self.list.push(ParameterSpec { name, shape: shape.to_vec(), offset: self.end });
        self.end += shape.iter().product::<usize>();
    }

    fn push_layer(&mut self, config: &ModelConfig, layer: usize) {
        let Sizes { query, key } = Sizes::new(config);
        let (width, ffn) = (config.width, config.ffn);
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        self.push(name("input_layernorm.weight"), &[width]);
        let attention: [(&str, usize); 3] = [("q", query), ("k", key), ("v", key)];
        self.push_group(
            attention.map(|(p, n)| (name(&format!("self_attn.{p}_proj")), n)),
            width,
            config.attention_bias,
        );
        self.push_group([(name("self_attn.o_proj"), width)], query, config.attention_bias);
        self.push(name("post_attention_layernorm.weight"), &[width]);
        self.push_group(["gate", "up"].map(|p| (name(&format!("mlp.{p}_proj")), ffn)), width, config.mlp_bias);
        self.push_group([(name("mlp.down_proj"), width)], ffn, config.mlp_bias);
    }

    /// The weights of a group of projections with one input, then their biases.
    fn push_group<const N: usize>(&mut self, group: [(String, usize); N], inputs: usize, bias: bool) {
        for (name, outputs) in &group {
            self.push(format!("{name}.weight"), &[*outputs, inputs]);
        }
        for (name, outputs) in group.iter().filter(|_| bias) {
            self.push(format!("{name}.bias"), &[*outputs]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fused_ranges_cover_the_named_tensors() {
        let config = ModelConfig { attention_bias: true, mlp_bias: true, ..ModelConfig::default() };
        let layout = Layout::new(&config);
        let find = |name: &str| config.parameters().into_iter().find(|s| s.name == name).unwrap().range();
        let layer = &layout.layers[1];
        assert_eq!(layer.fused.weight.start, find("model.layers.1.self_attn.q_proj.weight").start);
        assert_eq!(layer.fused.weight.end, find("model.layers.1.self_attn.v_proj.weight").end);
        assert_eq!(layer.fused.bias.end, find("model.layers.1.self_attn.v_proj.bias").end);
        assert_eq!(layer.gate_up.weight.end, find("model.layers.1.mlp.up_proj.weight").end);
        assert_eq!(layer.down.weight, find("model.layers.1.mlp.down_proj.weight"));
        assert_eq!(layer.down.bias, find("model.layers.1.mlp.down_proj.bias"));
        assert_eq!(layout.norm, find("model.norm.weight"));
        assert_eq!(layout.head.weight, find("lm_head.weight"));
        assert_eq!(layout.head.weight.end, config.count());
    }
}
