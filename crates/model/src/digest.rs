//! The digest of a parameter vector.

/// Values hashed at once.
const BLOCK: usize = 16_384;

/// BLAKE3 of the vector's bytes, each value as four little-endian bytes.
pub fn state_digest(parameters: &[f32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut bytes = Vec::with_capacity(4 * BLOCK.min(parameters.len()));
    for block in parameters.chunks(BLOCK) {
        bytes.clear();
        bytes.extend(block.iter().flat_map(|value| value.to_le_bytes()));
        hasher.update(&bytes);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_hash_of_the_little_endian_bytes() {
        for len in [0, 1, BLOCK, BLOCK + 3] {
            let values: Vec<f32> = (0..len).map(|i| i as f32 * 0.5).collect();
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            assert_eq!(state_digest(&values), *blake3::hash(&bytes).as_bytes(), "{len}");
        }
    }
}
