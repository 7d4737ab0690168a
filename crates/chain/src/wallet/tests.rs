use super::*;

/// The development phrase of Substrate and what `subkey inspect` says of it.
const PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
const PUBLIC: &str = "46ebddef8cd9bb167dc30878d7113b7e168e6f0646beffd77d69d39bad76b47a";
const ADDRESS: &str = "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV";
const SEED: &str = "fac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e";

fn seed() -> [u8; 32] {
    SEED.parse::<Hotkey>().unwrap().0
}

#[test]
fn a_phrase_gives_the_key_that_other_programs_derive() {
    let wallet = Wallet::from_mnemonic(PHRASE).unwrap();
    assert_eq!(wallet.hotkey().to_string(), PUBLIC);
    assert_eq!(wallet.address(), ADDRESS);
    assert_eq!(Wallet::from_seed(seed()).hotkey(), wallet.hotkey());
    assert_eq!(parse_ss58(ADDRESS), Ok(wallet.hotkey()));
    let spaced = PHRASE.replace(' ', "  \n");
    assert_eq!(Wallet::from_mnemonic(&spaced).unwrap().hotkey(), wallet.hotkey());
}

#[test]
fn what_is_not_a_phrase_or_an_address_is_refused() {
    assert!(matches!(Wallet::from_mnemonic("bottom drive obey"), Err(WalletError::BadPhrase)));
    assert!(matches!(Wallet::from_mnemonic(&PHRASE.replace("walk", "obey")), Err(WalletError::BadPhrase)));
    assert!(matches!(Wallet::from_mnemonic("//Alice"), Err(WalletError::BadPhrase)));
    // The same key on Polkadot (prefix 0), a changed letter, nothing.
    let polkadot = sr25519::Public::from_raw([7; 32]).to_ss58check_with_version(Ss58AddressFormat::custom(0));
    for text in [polkadot.as_str(), &ADDRESS.replace("Dfh", "Dfg"), ""] {
        assert_eq!(parse_ss58(text), Err(Ss58Error), "{text}");
    }
}

#[test]
fn signatures_hold_for_their_message_and_key_only() {
    let (one, other) = (Wallet::generate(), Wallet::generate());
    let signature = one.sign(b"message");
    assert!(Sr25519.verify(&one.hotkey(), b"message", &signature));
    assert!(!Sr25519.verify(&one.hotkey(), b"massage", &signature));
    assert!(!Sr25519.verify(&other.hotkey(), b"message", &signature));
    let mut broken = signature;
    broken.0[5] ^= 1;
    assert!(!Sr25519.verify(&one.hotkey(), b"message", &broken));
    assert!(!Sr25519.verify(&Hotkey([0xff; 32]), b"message", &signature));
}

#[test]
fn a_signature_made_elsewhere_is_accepted() {
    let signature: Signature = GOLDEN_SIGNATURE.parse().unwrap();
    assert!(Sr25519.verify(&PUBLIC.parse().unwrap(), b"pactum", &signature));
}

const GOLDEN_SIGNATURE: &str = "c4c4f7f67d2fdc830897c4e3989d4363f16002b2011b797d0cf84deb90296e0dcf2021a2cd752b1a1a446ea209973644773f7c3e642c886c267a3d8aab23b882";

#[test]
fn a_saved_wallet_is_private_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    for (name, wallet) in [("a/phrase", Wallet::generate()), ("seed", Wallet::from_seed(seed()))] {
        let path = dir.path().join(name);
        wallet.save(&path).unwrap();
        let loaded = Wallet::load(&path).unwrap();
        assert_eq!(loaded.hotkey(), wallet.hotkey());
        assert_eq!(loaded.secret_phrase(), wallet.secret_phrase());
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap()) & 0o777, 0o600);
    }
    // Nothing but the wallets is left in the folder.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
}

#[test]
fn a_saved_wallet_has_the_fields_of_a_bittensor_key_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    Wallet::from_mnemonic(PHRASE).unwrap().save(&path).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let expected = serde_json::json!({
        "accountId": format!("0x{PUBLIC}"), "publicKey": format!("0x{PUBLIC}"),
        "secretPhrase": PHRASE, "ss58Address": ADDRESS,
    });
    assert_eq!(json, expected);
}

#[test]
fn a_key_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let first = Wallet::generate();
    first.save(&path).unwrap();
    assert!(matches!(Wallet::generate().save(&path), Err(WalletError::Exists { .. })));
    assert_eq!(Wallet::load(&path).unwrap().hotkey(), first.hotkey());
}

#[test]
fn damaged_files_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let check = |text: &str, reason: &str| {
        let path = dir.path().join("key");
        fs::write(&path, text).unwrap();
        let error = Wallet::load(&path).unwrap_err();
        assert!(matches!(error, WalletError::Malformed { .. }), "{text}");
        assert!(error.to_string().contains(reason), "{error}");
    };
    let with = |fields: &str| {
        format!(r#"{{"accountId":"0x{PUBLIC}","publicKey":"0x{PUBLIC}","ss58Address":"{ADDRESS}"{fields}}}"#)
    };
    check("", "EOF");
    check("$NACL\u{1}", "expected value");
    check(&with(""), "neither secretPhrase nor secretSeed");
    check(&with(r#","secretSeed":"0x12""#), "64 hexadecimal digits");
    check(&with(r#","secretPhrase":"one two""#), "not valid");
    check(&with(&format!(r#","secretSeed":"0x{}""#, "11".repeat(32))), "does not belong to its secret");
    check(&" ".repeat(70_000), "too long");
    assert!(matches!(Wallet::load(&dir.path().join("none")), Err(WalletError::File { .. })));
}

#[test]
fn a_wallet_shown_for_debugging_keeps_its_secret() {
    let wallet = Wallet::from_mnemonic(PHRASE).unwrap();
    assert_eq!(format!("{wallet:?}"), format!("Wallet({ADDRESS})"));
}
