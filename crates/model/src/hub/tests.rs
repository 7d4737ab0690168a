//! Checkpoints there and back, and what hostile ones are told.

use std::path::Path;

use super::*;
use crate::{ModelConfig, RopeScaling, initial_parameters};

fn small() -> ModelConfig {
    ModelConfig { vocab: 16, width: 8, layers: 2, heads: 2, kv_heads: 1, ffn: 12, ..ModelConfig::default() }
}

fn saved(config: &ModelConfig) -> (tempfile::TempDir, Vec<f32>) {
    let folder = tempfile::tempdir().unwrap();
    let parameters = initial_parameters(config, 5);
    save_hf(folder.path(), config, &parameters).unwrap();
    (folder, parameters)
}

#[test]
fn models_of_all_kinds_come_back_bit_for_bit() {
    let scaling = RopeScaling { factor: 8.0, low_frequency: 1.0, high_frequency: 4.0, original_context: 32 };
    for config in [
        small(),
        ModelConfig { tied: true, norm_eps: 1e-6, ..small() },
        ModelConfig { attention_bias: true, mlp_bias: true, rope_base: 500_000.0, ..small() },
        ModelConfig { rope_scaling: Some(scaling), ..small() },
    ] {
        let (folder, parameters) = saved(&config);
        assert_eq!(load_hf(folder.path()).unwrap(), (config, parameters));
    }
}

#[test]
fn a_folder_can_be_looked_into() {
    let (folder, parameters) = saved(&small());
    let expected = Checkpoint { config: small(), files: 1, bytes: 4 * parameters.len() as u64 };
    assert_eq!(inspect_hf(folder.path()).unwrap(), expected);
    save_hf_sharded(folder.path(), &small(), &parameters, 1000).unwrap();
    std::fs::remove_file(folder.path().join(SINGLE)).unwrap();
    let found = inspect_hf(folder.path()).unwrap();
    assert!(found.files > 2 && found.bytes == expected.bytes, "{found:?}");
}

#[test]
fn a_missing_shard_is_named() {
    let folder = tempfile::tempdir().unwrap();
    save_hf_sharded(folder.path(), &small(), &initial_parameters(&small(), 5), 1000).unwrap();
    let name = "model-00002-of-";
    let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
    let shard = files.into_iter().find(|path| path.to_string_lossy().contains(name)).unwrap();
    std::fs::remove_file(&shard).unwrap();
    let error = load_hf(folder.path()).unwrap_err().to_string();
    assert!(error.contains("cannot read") && error.contains(name), "{error}");
}

#[test]
fn shards_come_back_too() {
    let (folder, parameters) = (tempfile::tempdir().unwrap(), initial_parameters(&small(), 5));
    save_hf_sharded(folder.path(), &small(), &parameters, 1000).unwrap();
    assert!(!folder.path().join(SINGLE).exists());
    assert!(std::fs::read_dir(folder.path()).unwrap().count() > 4);
    assert_eq!(load_hf(folder.path()).unwrap().1, parameters);
}

#[test]
fn half_precision_is_widened() {
    for (dtype, bits, value) in [("F16", 0x3555_u16, 0.333_251_95), ("BF16", 0x3eab, 0.333_984_38)] {
        let (folder, parameters) = saved(&small());
        let path = folder.path().join(SINGLE);
        let text = header(&std::fs::read(&path).unwrap());
        let mut file: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        file.remove("__metadata__");
        for entry in file.values_mut() {
            entry["dtype"] = dtype.into();
            let offsets = [0, 1].map(|i| entry["data_offsets"][i].as_u64().unwrap() / 2);
            entry["data_offsets"] = serde_json::json!(offsets);
        }
        let data: Vec<u8> = parameters.iter().flat_map(|_| bits.to_le_bytes()).collect();
        write(&path, &serde_json::to_string(&file).unwrap(), &data);
        let (_, loaded) = load_hf(folder.path()).unwrap();
        assert!(loaded.iter().all(|&x| x == value), "{dtype} {}", loaded[0]);
    }
}

fn header(file: &[u8]) -> String {
    let size = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    String::from_utf8(file[8..8 + size].to_vec()).unwrap()
}

fn write(path: &Path, header: &str, data: &[u8]) {
    let size = (header.len() as u64).to_le_bytes();
    std::fs::write(path, [&size, header.as_bytes(), data].concat()).unwrap();
}

#[test]
fn damaged_tensor_files_are_refused() {
    let check = |damage: &dyn Fn(String, Vec<u8>) -> (String, Vec<u8>), message: &str| {
        let (folder, _) = saved(&small());
        let path = folder.path().join(SINGLE);
        let file = std::fs::read(&path).unwrap();
        let text = header(&file);
        let (text, data) = damage(text.clone(), file[8 + text.len()..].to_vec());
        write(&path, &text, &data);
        let error = load_hf(folder.path()).unwrap_err().to_string();
        assert!(error.contains(message), "{error:?} has no {message:?}");
    };
    let replace = |from: &'static str, to: &'static str| {
        move |text: String, data| {
            assert!(text.contains(from), "{text}");
            (text.replacen(from, to, 1), data)
        }
    };
    check(&replace("\"model.layers.1.mlp.down_proj.weight\"", "\"model.norm.bias\""), "a tensor model.norm.bias");
    check(&replace("model.norm.weight", "model.morn.weight"), "tensor model.morn.weight that this model does not have");
    check(&replace("[12,8]", "[8,12]"), "has shape [8, 12] but the configuration says [12, 8]");
    check(&replace("\"F32\"", "\"I64\""), "unknown variant `I64`");
    check(&replace("\"F32\"", "\"I64\""), "tensor lm_head.weight");
    check(&replace("\"F32\"", "\"F16\""), "does not lie within it");
    check(&replace("[0,", "[18446744073709551615,"), "does not lie within it");
    let share = |text: String, data| {
        let mut file: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        let place = file["lm_head.weight"]["data_offsets"].clone();
        file["model.embed_tokens.weight"]["data_offsets"] = place;
        (serde_json::to_string(&file).unwrap(), data)
    };
    check(&share, "overlaps another");
    check(&|_, data| ("{}".into(), data), "has no tensor lm_head.weight");
    check(&|_, data| ("[[[[".into(), data), "is not usable");
    check(&|text, data| (text, data[4..].to_vec()), "does not lie within it");
    check(&|text, data| (text, vec![0xff; data.len()]), "holds a value that is not finite");
    // One NaN, in the last norm.
    let single = |text: String, mut data: Vec<u8>| {
        let file: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        let at = file["model.norm.weight"]["data_offsets"][0].as_u64().unwrap() as usize;
        data[at + 8..at + 12].copy_from_slice(&f32::NAN.to_le_bytes());
        (text, data)
    };
    check(&single, "tensor model.norm.weight holds a value that is not finite");
}

#[test]
fn headers_cannot_claim_memory() {
    let (folder, _) = saved(&small());
    for size in [u64::MAX, 1 << 40, 1000] {
        std::fs::write(folder.path().join(SINGLE), size.to_le_bytes()).unwrap();
        let error = load_hf(folder.path()).unwrap_err().to_string();
        assert!(error.contains("its header claims"), "{error}");
    }
    std::fs::write(folder.path().join(SINGLE), [1, 2]).unwrap();
    assert!(matches!(load_hf(folder.path()), Err(LoadError::Read { .. })));
}

#[test]
fn other_models_are_refused() {
    let check = |from: &str, to: &str, message: &str| {
        let (folder, _) = saved(&small());
        let path = folder.path().join(CONFIG);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let error = load_hf(folder.path()).unwrap_err().to_string();
        assert!(error.contains(message), "{error:?} has no {message:?}");
    };
    check("\"llama\"", "\"gpt2\"", "model_type is gpt2: only llama is supported here");
    check("\"silu\"", "\"gelu\"", "hidden_act is gelu");
    check("\"head_dim\": 4", "\"head_dim\": 5", "head_dim is 5: only 4 is supported here");
    check("\"num_attention_heads\": 2", "\"num_attention_heads\": 0", "head_dim is 4: only 0");
    check("\"hidden_size\": 8", "\"hidden_size\": 9999999999", "is not usable");
    check("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "has no tensor model.layers.2");
    check("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 99999999", "model setting layers is 99999999");
    check("\"vocab_size\"", "\"vocabulary\"", "missing field `vocab_size`");
    check("\"rope_scaling\": null", "\"rope_scaling\": {\"rope_type\": \"yarn\"}", "rope_type is yarn");
    check("\"rope_scaling\": null", "\"rope_scaling\": {\"rope_type\": \"llama3\"}", "rope settings have no factor");
    let half = "\"rope_scaling\": null, \"partial_rotary_factor\": 0.5";
    check("\"rope_scaling\": null", half, "partial_rotary_factor is 0.5: only 1 is supported here");
    let packed = "\"rope_scaling\": null, \"quantization_config\": {\"bits\": 4}";
    check("\"rope_scaling\": null", packed, "quantization_config is set");
    check(
        "\"rms_norm_eps\": 0.00001",
        "\"rms_norm_eps\": -1.0",
        "config.json is not usable: model setting norm_eps is -1",
    );
}

#[test]
fn an_index_cannot_point_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    save_hf_sharded(folder.path(), &small(), &initial_parameters(&small(), 5), 1000).unwrap();
    for name in ["../x.safetensors", "/x.safetensors", "a.bin"] {
        let index = serde_json::json!({"weight_map": {"lm_head.weight": name}});
        std::fs::write(folder.path().join(INDEX), index.to_string()).unwrap();
        let error = load_hf(folder.path()).unwrap_err().to_string();
        assert!(error.contains("not a plain .safetensors file name"), "{error}");
    }
}

#[test]
fn newer_rope_settings_are_read() {
    let (folder, _) = saved(&small());
    let path = folder.path().join(CONFIG);
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("\"rope_theta\": 10000.0,", "");
    let newer = "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 5000.0}";
    std::fs::write(&path, text.replace("\"rope_scaling\": null", newer)).unwrap();
    assert_eq!(load_hf(folder.path()).unwrap().0.rope_base, 5000.0);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    #[test]
    fn no_byte_makes_loading_panic(at in 0_usize..4000, byte: u8, cut in 0_usize..4000) {
        let (folder, parameters) = saved(&small());
        let path = folder.path().join(SINGLE);
        let mut file = std::fs::read(&path).unwrap();
        let place = at % file.len();
        file[place] = byte;
        if cut % 4 == 0 {
            file.truncate(cut % file.len());
        }
        std::fs::write(&path, &file).unwrap();
        if let Ok((config, loaded)) = load_hf(folder.path()) {
            proptest::prop_assert_eq!(config, small());
            proptest::prop_assert_eq!(loaded.len(), parameters.len());
        }
    }
}
