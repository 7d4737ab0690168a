use crate::Learner;
use crate::bytes::write_floats;

impl Learner {
    /// BLAKE3 over pieces of the committed parameters that `seed` chooses: 64 pieces of 256 values, or all values of a
    /// model that has no more than that. Who does not hold the exact parameters cannot answer.
    pub fn probe(&self, seed: &[u8; 32]) -> [u8; 32] {
        probe(&self.committed.theta, seed)
    }
}

fn probe(theta: &[f32], seed: &[u8; 32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("pactum-learner 1 state probe");
    hasher.update(seed).update(&(theta.len() as u64).to_le_bytes());
    let pieces: Vec<&[f32]> = theta.chunks(PIECE).collect();
    let mut bytes = Vec::with_capacity(4 * PIECE);
    for piece in chosen(pieces.len(), seed) {
        bytes.clear();
        write_floats(&mut bytes, pieces[piece]);
        hasher.update(&(piece as u64).to_le_bytes()).update(&bytes);
    }
    *hasher.finalize().as_bytes()
}

/// Numbers of the pieces in the order in which they are hashed. A number may come twice.
fn chosen(pieces: usize, seed: &[u8; 32]) -> Vec<usize> {
    if pieces <= PIECES {
        return (0..pieces).collect();
    }
    let mut stream = blake3::Hasher::new_derive_key("pactum-learner 1 pieces of a probe").update(seed).finalize_xof();
    let mut number = [0; 8];
    let draw = |_| {
        stream.fill(&mut number);
        (u64::from_le_bytes(number) % pieces as u64) as usize
    };
    (0..PIECES).map(draw).collect()
}

const PIECE: usize = 256;
const PIECES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn theta(len: usize) -> Vec<f32> {
        (0..len).map(|i| i as f32 * 0.25 - 7.0).collect()
    }

    #[test]
    fn small_vectors_are_covered_whole() {
        for len in [1, 255, 257, PIECE * PIECES] {
            let base = probe(&theta(len), &[1; 32]);
            for at in [0, len / 2, len - 1] {
                let mut other = theta(len);
                other[at] = f32::from_bits(other[at].to_bits() ^ 1);
                assert_ne!(probe(&other, &[1; 32]), base, "{at} of {len}");
            }
        }
    }

    #[test]
    fn large_vectors_are_covered_where_the_seed_says() {
        let base = theta(PIECE * 1000);
        assert_ne!(probe(&base, &[1; 32]), probe(&base, &[2; 32]));
        let pieces = chosen(1000, &[1; 32]);
        let untouched = (0..1000).find(|piece| !pieces.contains(piece)).unwrap();
        for (piece, same) in [(pieces[5], false), (untouched, true)] {
            let mut other = base.clone();
            other[piece * PIECE + 9] = 0.5;
            assert_eq!(probe(&other, &[1; 32]) == probe(&base, &[1; 32]), same);
        }
        assert!(pieces.iter().all(|&piece| piece < 1000));
        assert!(pieces.iter().collect::<std::collections::BTreeSet<_>>().len() > 50);
    }

    #[test]
    fn golden_probe() {
        let found = blake3::Hash::from_bytes(probe(&theta(PIECE * 1000), &[9; 32])).to_hex();
        assert_eq!(found.as_str(), GOLDEN, "the probe stands in every header: changing it forks a run");
    }

    const GOLDEN: &str = "5667cc197cb9d0703d42c8816272d27b38ce34c70f7786da58c2a7416cfa0f52";
}
