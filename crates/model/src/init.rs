//! Initial parameters with the same bits on every machine.

use crate::config::ModelConfig;
use crate::layout::ParameterSpec;

/// Standard deviation of embeddings and projections, as in Hugging Face's Llama.
const DEVIATION: f32 = 0.02;
/// Bytes of randomness for one element: four summands of 16 bits.
const BYTES: usize = 8;
/// Elements drawn at once.
const BLOCK: usize = 8192;

/// Parameters before training: norms are 1, biases 0, all else is close to normal with deviation 0.02; the projections
/// that write into the residual stream are divided by √(2·layers) as in GPT-2.
///
/// Each tensor has its own stream, keyed by BLAKE3 of seed and tensor name. An element is the centred sum of four
/// uniform 16-bit integers (Irwin-Hall), scaled: integer sums, one exact conversion and one product in f32, so no
/// machine's mathematical library can change a bit.
pub fn initial_parameters(config: &ModelConfig, seed: u64) -> Vec<f32> {
    let mut flat = vec![0.0; config.count()];
    for spec in config.parameters() {
        fill(&mut flat[spec.range()], &spec, config.layers, seed);
    }
    flat
}

fn fill(tensor: &mut [f32], spec: &ParameterSpec, layers: usize, seed: u64) {
    if spec.name.ends_with("bias") {
        return;
    }
    if spec.shape.len() == 1 {
        return tensor.fill(1.0);
    }
    let residual = spec.name.ends_with("o_proj.weight") || spec.name.ends_with("down_proj.weight");
    let deviation = if residual { DEVIATION / ((2 * layers) as f32).sqrt() } else { DEVIATION };
    let mut stream = stream(seed, &spec.name);
    let mut bytes = [0; BYTES * BLOCK];
    for block in tensor.chunks_mut(BLOCK) {
        let bytes = &mut bytes[..BYTES * block.len()];
        stream.fill(bytes);
        for (value, draw) in block.iter_mut().zip(bytes.chunks_exact(BYTES)) {
            *value = near_normal(draw) * deviation;
        }
    }
}

fn stream(seed: u64, name: &str) -> blake3::OutputReader {
    let mut hasher = blake3::Hasher::new_derive_key("pactum initial parameters v1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.finalize_xof()
}

/// Mean 0, deviation 1, within ±3.47.
fn near_normal(draw: &[u8]) -> f32 {
    let sum: i32 = draw.chunks_exact(2).map(|pair| i32::from(u16::from_le_bytes([pair[0], pair[1]]))).sum();
    // The sum of four has mean 2·65535 and variance 4·(65536² − 1)/12, whose root is 37837.2.
    (sum - 131_070) as f32 * (1.0 / 37_837.227)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_fixed_for_ever() {
        let flat = initial_parameters(&ModelConfig::default(), 7);
        let digest = blake3::Hash::from(crate::state_digest(&flat));
        assert_eq!(digest.to_hex().as_str(), "51c0c1c85c90082c9def916a98ff126e668343996c2b6b9fab0239a1cdac7e54");
    }

    #[test]
    fn moments_are_those_of_a_normal() {
        let config = ModelConfig::default();
        let flat = initial_parameters(&config, 1);
        let embedding = &flat[config.parameters()[0].range()];
        let n = embedding.len() as f64;
        let moment = |power: i32| embedding.iter().map(|&x| f64::from(x / DEVIATION).powi(power)).sum::<f64>() / n;
        assert!(moment(1).abs() < 0.02, "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.03, "{}", moment(2));
        assert!((moment(4) - 2.7).abs() < 0.15, "{}", moment(4));
    }

    #[test]
    fn seeds_and_tensors_differ() {
        let config = ModelConfig::default();
        let (a, b) = (initial_parameters(&config, 1), initial_parameters(&config, 2));
        let specs = config.parameters();
        assert_ne!(a[specs[0].range()], b[specs[0].range()]);
        let (key, value) = (specs[3].range(), specs[4].range());
        assert_eq!(key.len(), value.len());
        assert_ne!(a[key], a[value]);
    }
}
