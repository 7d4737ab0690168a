use super::*;
use crate::{Dataset, OpenError, SampleError};
use proptest::prelude::*;
use std::fs;

fn options(context: usize) -> PrepareOptions {
    PrepareOptions { context, ..PrepareOptions::default() }
}

/// Different text for each name, so that no two files are the same.
fn text(name: &str, lines: usize) -> String {
    (0..lines).map(|line| format!("{name}, line {line}: all the world's a stage\n")).collect()
}

fn corpus(folder: &Path) {
    fs::create_dir_all(folder.join("b/.hidden")).unwrap();
    fs::write(folder.join("z.txt"), text("z", 50)).unwrap();
    fs::write(folder.join("a.md"), text("a", 40)).unwrap();
    fs::write(folder.join("b/c.rs"), text("c", 30)).unwrap();
    fs::write(folder.join("b/.hidden/x"), text("hidden", 10)).unwrap();
    fs::write(folder.join("b/twin.txt"), text("c", 30)).unwrap();
    fs::write(folder.join("picture.bin"), b"\x89PNG\0\0").unwrap();
    fs::write(folder.join("empty"), b"").unwrap();
}

fn prepare_in(inputs: &[&Path], out: &Path, options: &PrepareOptions) -> Result<Prepared, PrepareError> {
    let inputs: Vec<PathBuf> = inputs.iter().map(|path| path.to_path_buf()).collect();
    prepare(&inputs, out, options, &mut |_| true)
}

fn prepared(options: &PrepareOptions) -> (tempfile::TempDir, Prepared) {
    let folder = tempfile::tempdir().unwrap();
    corpus(&folder.path().join("corpus"));
    let prepared = prepare_in(&[&folder.path().join("corpus")], &folder.path().join("out"), options).unwrap();
    (folder, prepared)
}

#[test]
fn a_folder_becomes_a_dataset() {
    let (folder, prepared) = prepared(&options(16));
    let reasons: Vec<_> = prepared.skipped.iter().map(|s| (name_of(&s.path), s.reason.clone())).collect();
    assert_eq!(
        reasons,
        [
            ("twin.txt".to_owned(), SkipReason::Duplicate),
            ("empty".to_owned(), SkipReason::Empty),
            ("picture.bin".to_owned(), SkipReason::Binary)
        ]
    );
    let dataset = Dataset::open(&folder.path().join("out")).unwrap();
    assert_eq!(dataset.index(), &prepared.index);
    assert_eq!(prepared.index.source.documents, 3);
    let whole = text("a", 40).len() + text("c", 30).len() + text("z", 50).len();
    assert_eq!(prepared.index.source.bytes, whole as u64);
    assert_eq!(dataset.index().tokens() + dataset.index().heldout.tokens, whole as u64 + 3);
    let files: Vec<_> = fs::read_dir(folder.path().join("out")).unwrap().collect();
    assert_eq!(files.len(), 3, "one shard, the held-out shard and the index: {files:?}");
}

#[test]
fn names_of_folders_do_not_change_the_digest() {
    let (_first, one) = prepared(&options(16));
    let (_second, two) = prepared(&options(16));
    assert_eq!(one.index, two.index);
    let (_third, other) = prepared(&PrepareOptions { heldout_fraction: 0.3, ..options(16) });
    assert_ne!(one.index.digest(), other.index.digest());
}

/// The stream that the shards must hold together, with the held-out part cut out.
fn expected(options: &PrepareOptions) -> (Vec<u32>, Vec<u32>) {
    let all: String = [text("a", 40), text("c", 30), text("z", 50)].iter().map(|t| format!("{t}\0")).collect();
    let pieces = heldout_pieces(all.len() as u64, options).unwrap();
    let (held, kept): (Vec<_>, Vec<_>) =
        all.bytes().enumerate().partition(|(at, _)| pieces.iter().any(|piece| piece.contains(&(*at as u64))));
    let tokens = |part: Vec<(usize, u8)>| part.into_iter().map(|(_, byte)| u32::from(byte)).collect();
    (tokens(kept), tokens(held))
}

#[test]
fn samples_are_the_stream_over_shard_edges() {
    for shard_tokens in [7, 50, 1 << 20] {
        let options = PrepareOptions { shard_tokens, ..options(16) };
        let (folder, prepared) = prepared(&options);
        let (training, heldout) = expected(&options);
        assert_eq!(prepared.index.shards.len() as u64, (training.len() as u64).div_ceil(shard_tokens));
        let dataset = Dataset::open(&folder.path().join("out")).unwrap();
        assert_eq!(dataset.samples(16), (training.len() as u64 - 1) / 16);
        for index in 0..dataset.samples(16) {
            let start = index as usize * 16;
            assert_eq!(dataset.sample(16, index).unwrap(), training[start..start + 17]);
        }
        let batch = dataset.batch(16, &[3, 0]).unwrap();
        assert_eq!(batch, [&training[48..65], &training[..17]].concat());
        let spread = dataset.heldout(8, 2).unwrap();
        let second = dataset.heldout_samples(8) as usize / 2 * 8;
        assert_eq!(spread, [&heldout[..9], &heldout[second..second + 9]].concat());
        assert!(matches!(dataset.sample(16, dataset.samples(16)), Err(SampleError::OutOfRange { .. })));
        assert!(matches!(dataset.heldout(1 << 20, 1), Err(SampleError::OutOfRange { .. })));
        assert_eq!(dataset.samples(0), 0);
    }
}

proptest! {
    #[test]
    fn heldout_pieces_are_disjoint_and_inside(
        tokens in 0_u64..50_000_000, fraction in 0.001_f64..0.499, context in 1_usize..5000,
    ) {
        let options = PrepareOptions { heldout_fraction: fraction, context, ..PrepareOptions::default() };
        let Ok(pieces) = heldout_pieces(tokens, &options) else {
            prop_assert!(tokens < 3 * (context as u64 + 1));
            return Ok(());
        };
        let mut position = 0;
        for piece in &pieces {
            prop_assert!(piece.start >= position && piece.end > piece.start);
            prop_assert!(piece.end - piece.start > context as u64);
            position = piece.end;
        }
        prop_assert!(position <= tokens);
        let held: u64 = pieces.iter().map(|piece| piece.end - piece.start).sum();
        prop_assert!(tokens - held > context as u64);
        prop_assert!(held as f64 <= (tokens as f64 * fraction + 1.0).max(context as f64 + 1.0));
    }
}

#[test]
fn bad_inputs_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let out = path("out");
    let check = |input: &str, options: &PrepareOptions, says: &str| {
        let error = prepare_in(&[&path(input)], &out, options).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!out.join(INDEX_FILE).exists());
    };
    fs::write(path("short.txt"), "to be").unwrap();
    fs::write(path("binary"), [0; 100]).unwrap();
    fs::write(path("torn.gz"), [0x1f, 0x8b, 8, 0]).unwrap();
    fs::create_dir(path("empty")).unwrap();
    check("missing.txt", &options(16), "name an existing file or folder");
    check("short.txt", &options(16), "needs at least 34");
    check("binary", &options(16), "not UTF-8 text");
    check("torn.gz", &options(16), "unreadable");
    check("empty", &options(16), "none of the 0 files");
    #[cfg(unix)]
    check("/dev/null", &options(16), "write it to a file first");
    check("short.txt", &PrepareOptions { heldout_fraction: 0.5, ..options(2) }, "held-out fraction");
    check("short.txt", &PrepareOptions { heldout_fraction: f64::NAN, ..options(2) }, "held-out fraction");
    check("short.txt", &options(0), "context");
    check("short.txt", &PrepareOptions { shard_tokens: 0, ..options(2) }, "shard");
    check("short.txt", &PrepareOptions { bytes_max: 0, ..options(2) }, "bytes");
    let error = prepare_in(&[&path("short.txt")], &path("binary"), &options(2)).unwrap_err();
    assert!(matches!(error, PrepareError::Write { .. }));
}

#[test]
fn the_bound_on_bytes_ends_the_reading() {
    let (_folder, prepared) = prepared(&PrepareOptions { bytes_max: 2000, ..options(16) });
    assert!(prepared.truncated);
    assert_eq!(prepared.index.source.bytes, 2000);
    assert_eq!(prepared.index.source.documents, 2 - u64::from(text("a", 40).len() >= 2000));
}

#[test]
fn a_changed_or_missing_file_is_named() {
    let (folder, prepared) = prepared(&PrepareOptions { shard_tokens: 1000, ..options(16) });
    let out = folder.path().join("out");
    let refused = |file: &str, change: &dyn Fn(&mut Vec<u8>), says: &str| {
        let path = out.join(file);
        let bytes = fs::read(&path).unwrap();
        let mut changed = bytes.clone();
        change(&mut changed);
        fs::write(&path, changed).unwrap();
        let error = Dataset::open(&out).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains(says) && error.contains("prepare the dataset again"), "{error}");
        fs::write(&path, bytes).unwrap();
    };
    let shard = prepared.index.shards[1].file.clone();
    refused(&shard, &|bytes| bytes[30] ^= 1, "digest");
    refused(&shard, &|bytes| bytes[31] = 1, "vocabulary");
    refused(&shard, &|bytes| bytes[0] ^= 1, "header");
    refused(&shard, &|bytes| bytes.truncate(40), "length");
    refused(&prepared.index.heldout.file, &|bytes| bytes.push(0), "length");
    refused(INDEX_FILE, &|bytes| bytes.truncate(100), "EOF");
    Dataset::open(&out).unwrap();
    fs::remove_file(out.join(&shard)).unwrap();
    assert!(Dataset::open(&out).unwrap_err().to_string().contains("missing"));
}

#[test]
fn absent_and_newer_datasets_are_told_apart() {
    let (folder, _) = prepared(&options(16));
    let out = folder.path().join("out");
    assert!(matches!(Dataset::open(&folder.path().join("none")), Err(OpenError::Missing { .. })));
    fs::write(out.join(INDEX_FILE), r#"{"version": 2, "other": true}"#).unwrap();
    assert!(matches!(Dataset::open(&out), Err(OpenError::Newer { version: 2, .. })));
}

#[test]
fn a_second_preparation_replaces_the_first_or_leaves_it() {
    let (folder, first) = prepared(&options(16));
    let out = folder.path().join("out");
    let missing = folder.path().join("missing");
    assert!(prepare_in(&[&missing], &out, &options(16)).is_err());
    assert_eq!(Dataset::open(&out).unwrap().digest(), first.index.digest());
    let second = prepare_in(&[&folder.path().join("corpus/z.txt")], &out, &options(16)).unwrap();
    assert_eq!(Dataset::open(&out).unwrap().digest(), second.index.digest());
    assert_eq!(fs::read_dir(&out).unwrap().count(), 3, "the first dataset's shards are gone");
}

#[test]
fn two_preparations_do_not_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(16);
    let staging = Staging::create(folder.path(), &options).unwrap();
    assert!(matches!(Staging::create(folder.path(), &options), Err(PrepareError::Busy { .. })));
    drop(staging);
    Staging::create(folder.path(), &options).unwrap();
}

#[test]
fn a_tokenizer_file_travels_with_the_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let (json, input, out) = (folder.path().join("t.json"), folder.path().join("a.txt.gz"), folder.path().join("out"));
    fs::write(&json, crate::tokenizer::tests::WORDS).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all("to be or not to be ".repeat(20).as_bytes()).unwrap();
    fs::write(&input, gzip.finish().unwrap()).unwrap();
    let options = PrepareOptions { tokenizer: Tokenizer::open(&json).unwrap(), ..options(8) };
    prepare_in(&[&input], &out, &options).unwrap();
    let dataset = Dataset::open(&out).unwrap();
    assert_eq!(dataset.tokenizer().vocab(), 6);
    assert_eq!(dataset.tokenizer().decode(&dataset.sample(8, 0).unwrap()[..6]), "to be or not to be");
    fs::write(out.join(TOKENIZER_FILE), crate::tokenizer::tests::WORDS.replace("not", "nay")).unwrap();
    assert!(matches!(Dataset::open(&out), Err(OpenError::Corrupt { .. })));
}

#[test]
fn progress_reaches_the_end() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    let mut seen = Vec::new();
    let out = tempfile::tempdir().unwrap();
    let mut note = |progress| {
        seen.push(progress);
        true
    };
    prepare(&[folder.path().to_owned()], out.path(), &options(16), &mut note).unwrap();
    let reading: Vec<_> = seen.iter().filter(|progress| progress.phase == Phase::Reading).collect();
    assert!(reading.windows(2).all(|pair| pair[1].files_done - pair[0].files_done <= 1));
    assert!(reading.windows(2).all(|pair| pair[0].bytes <= pair[1].bytes && pair[0].tokens <= pair[1].tokens));
    assert_eq!(reading.last().map(|progress| progress.files_done), Some(reading[0].files));
    assert_eq!(seen.last().map(|progress| progress.phase), Some(Phase::Writing));
}

#[test]
fn a_preparation_can_be_stopped_at_any_block_and_leaves_the_older_dataset() {
    let (folder, first) = prepared(&options(16));
    let out = folder.path().join("out");
    let mut steps = 0;
    for allowed in 0.. {
        let mut left = allowed;
        let mut go_on = |_| {
            left -= 1;
            left >= 0
        };
        match prepare(&[folder.path().join("corpus/z.txt")], &out, &options(16), &mut go_on) {
            Err(PrepareError::Stopped) => {}
            Err(error) => panic!("{error}"),
            Ok(_) => break,
        }
        assert_eq!(Dataset::open(&out).unwrap().digest(), first.index.digest());
        assert!(fs::read_dir(&out).unwrap().all(|file| file.unwrap().path().extension().unwrap() != "partial"));
        steps += 1;
    }
    assert!(steps >= 3, "one each for looking, for reading and for writing: {steps}");
}

#[test]
fn a_file_that_changes_between_its_two_readings_is_refused() {
    let check = |change: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log.txt");
        fs::write(&file, text("log", 100)).unwrap();
        let mut told = 0;
        let mut note = |_| {
            told += 1;
            if told == 1 {
                change(&file);
            }
            true
        };
        let error =
            prepare(std::slice::from_ref(&file), &folder.path().join("out"), &options(16), &mut note).unwrap_err();
        assert!(matches!(error, PrepareError::Changed { .. }), "{error}");
    };
    check(&|file| fs::write(file, "").unwrap());
    check(&|file| fs::write(file, text("log", 50)).unwrap());
    check(&|file| fs::write(file, text("gol", 100)).unwrap());
    check(&|file| fs::write(file, [0; 100]).unwrap());
    check(&|file| fs::remove_file(file).unwrap());
}

#[test]
fn a_dataset_below_its_own_input_is_the_same_each_time() {
    let check = |out: &str| {
        let folder = tempfile::tempdir().unwrap();
        corpus(folder.path());
        let out = folder.path().join(out);
        fs::write(folder.path().join("b/index.json"), text("an index of the user's own", 20)).unwrap();
        let json = folder.path().join(".hidden.json");
        fs::write(&json, crate::tokenizer::tests::WORDS).unwrap();
        let options = PrepareOptions { tokenizer: Tokenizer::open(&json).unwrap(), ..options(16) };
        let first = prepare_in(&[folder.path()], &out, &options).unwrap();
        fs::write(out.join("heldout.partial"), text("left by a crash", 20)).unwrap();
        let again = prepare_in(&[folder.path()], &out, &options).unwrap();
        assert_eq!(again.index, first.index);
        assert_eq!(again.index.source.documents, 4);
    };
    check("data");
    check("b/data");
    check(".");
}
