//! Loss and gradients against PyTorch's, from the files that `conformity/golden.py` wrote.

use std::error::Error;
use std::path::Path;

use pactum_model::{Engine, Executor, Tokens, load_hf};

#[derive(serde::Deserialize)]
struct Batch {
    rows: usize,
    columns: usize,
    ids: Vec<u32>,
    loss: f32,
}

fn check(case: &str) -> Result<(), Box<dyn Error>> {
    let folder = Path::new("tests/golden").join(case);
    let (config, parameters) = load_hf(&folder.join("weights"))?;
    let (same, expected) = load_hf(&folder.join("gradient"))?;
    assert_eq!(config, same);
    let Batch { rows, columns, ids, loss } =
        serde_json::from_str(&std::fs::read_to_string(folder.join("batch.json"))?)?;

    let mut gradient = vec![0.0; config.count()];
    let mut engine = Engine::new(&config, rows, 1)?;
    let batch = Tokens { ids: &ids, rows, columns };
    let found = engine.loss_and_gradient(&parameters, &batch, &mut gradient)?;
    assert!((found - loss).abs() < 1e-5 * loss, "{case}: loss {found} but PyTorch {loss}");
    for spec in config.parameters() {
        let (found, expected) = (&gradient[spec.range()], &expected[spec.range()]);
        let scale = expected.iter().fold(0.0, |top: f32, x| top.max(x.abs()));
        let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(scale > 0.0 && worst < 1e-5 * scale, "{case}: {} differs by {worst} of {scale}", spec.name);
    }
    Ok(())
}

#[test]
fn grouped_heads() -> Result<(), Box<dyn Error>> {
    check("grouped")
}

#[test]
fn tied_head_and_a_single_key_head() -> Result<(), Box<dyn Error>> {
    check("tied")
}

#[test]
fn biases() -> Result<(), Box<dyn Error>> {
    check("biased")
}
