use super::*;
use proptest::prelude::*;

fn store(dir: &tempfile::TempDir, bytes_max: u64) -> BlobStore {
    BlobStore::open(dir.path(), bytes_max).unwrap()
}

fn found(bytes: &'static [u8]) -> Blob {
    Blob::Found(Bytes::from_static(bytes))
}

fn files(store: &BlobStore, folder: &str) -> usize {
    list(&store.dir.join(folder)).unwrap().len()
}

#[test]
fn what_is_kept_is_served_under_its_digest() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, 100);
    let digest = store.insert(b"abc").unwrap();
    assert_eq!(digest, Digest::of(b"abc"));
    assert_eq!(store.serve(&digest), found(b"abc"));
    assert_eq!(store.serve(&Digest::of(b"other")), Blob::Absent);
    assert_eq!(store.insert(b"abc").unwrap(), digest);
    assert_eq!((store.bytes(), files(&store, "open"), files(&store, "partial")), (3, 1, 0));
}

#[test]
fn an_empty_blob_is_a_blob() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, 0);
    let digest = store.insert(b"").unwrap();
    assert_eq!(store.serve(&digest), found(b""));
    fs::remove_file(store.path(&digest, false)).unwrap();
    assert_eq!(store.serve(&digest), Blob::Absent, "a missing file is not an empty one");
}

#[test]
fn a_withheld_blob_is_its_owners_alone_until_its_release() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, 100);
    let digest = store.insert_withheld(b"secret").unwrap();
    assert_eq!(store.serve(&digest), Blob::Withheld);
    assert_eq!(store.insert(b"secret").unwrap(), digest);
    assert_eq!(store.serve(&digest), Blob::Withheld, "whoever has the bytes too does not release ours");
    assert_eq!(store.read(&digest).unwrap(), b"secret"[..]);
    assert!(store.release(&digest).unwrap());
    assert_eq!(store.serve(&digest), found(b"secret"));
    assert!(store.release(&digest).unwrap(), "releasing twice is harmless");
    assert!(!store.release(&Digest::of(b"other")).unwrap());
    store.insert_withheld(b"secret").unwrap();
    assert_eq!(store.serve(&digest), found(b"secret"), "what is out cannot be taken back");
}

#[test]
fn what_is_withheld_can_be_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, 100);
    let (open, withheld) = (store.insert(b"open").unwrap(), store.insert_withheld(b"secret").unwrap());
    store.drop_withheld();
    assert_eq!((store.serve(&open), store.serve(&withheld)), (found(b"open"), Blob::Absent));
    assert_eq!((store.bytes(), files(&store, "withheld")), (4, 0));
}

#[test]
fn a_restart_finds_everything_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (open, withheld, released) = {
        let store = store(&dir, 100);
        let released = store.insert_withheld(b"released").unwrap();
        store.release(&released).unwrap();
        (store.insert(b"open").unwrap(), store.insert_withheld(b"withheld").unwrap(), released)
    };
    fs::write(dir.path().join("partial/1-1"), b"half a bl").unwrap();
    fs::write(dir.path().join("open/notes.txt"), b"not ours").unwrap();
    let store = store(&dir, 100);
    assert_eq!(store.serve(&open), found(b"open"));
    assert_eq!(store.serve(&released), found(b"released"));
    assert_eq!(store.serve(&withheld), Blob::Withheld);
    assert_eq!(store.bytes(), 20);
    assert_eq!(files(&store, "partial"), 0);
    assert!(dir.path().join("open/notes.txt").exists());
    assert!(store.release(&withheld).unwrap());
    assert_eq!(store.serve(&withheld), found(b"withheld"));
}

#[test]
fn a_damaged_file_is_an_absence_and_can_be_replaced() {
    let dir = tempfile::tempdir().unwrap();
    for damage in [&b"abd"[..], b"ab", b"abcd", b""] {
        let store = store(&dir, 100);
        let digest = store.insert(b"abc").unwrap();
        fs::write(store.path(&digest, false), damage).unwrap();
        assert_eq!(store.serve(&digest), Blob::Absent);
        assert_eq!((store.contains(&digest), store.bytes(), files(&store, "open")), (false, 0, 0));
        store.insert(b"abc").unwrap();
        assert_eq!(store.serve(&digest), found(b"abc"));
    }
}

#[test]
fn the_oldest_goes_first_and_pinned_or_withheld_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, 10);
    let pinned = store.insert(b"11").unwrap();
    let old = store.insert(b"22").unwrap();
    let withheld = store.insert_withheld(b"33").unwrap();
    let young = store.insert(b"4444").unwrap();
    assert!(store.pin(&pinned));
    let newest = store.insert(b"55").unwrap();
    let here = |digests: &[Digest]| digests.iter().map(|digest| store.contains(digest)).collect::<Vec<_>>();
    assert_eq!(here(&[pinned, old, withheld, young, newest]), [true, false, true, true, true]);
    assert!(matches!(store.insert(b"7777777"), Err(StoreError::Full { bytes: 7, kept: 4, bytes_max: 10 })));
    assert_eq!(here(&[pinned, withheld, young, newest]), [true; 4], "a refused blob costs nobody anything");
    assert!(store.unpin(&pinned));
    store.insert(b"7777777").unwrap();
    assert_eq!(here(&[pinned, withheld, young, newest]), [false, true, false, false]);
    assert_eq!((store.bytes(), files(&store, "open")), (9, 1));
    assert!(store.remove(&withheld) && !store.remove(&withheld));
    assert_eq!(files(&store, "withheld"), 0);
}

#[test]
fn many_readers_share_one_copy() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, 100);
    let digest = store.insert(b"shared").unwrap();
    let (one, other) = (store.read(&digest).unwrap(), store.read(&digest).unwrap());
    assert_eq!(one.as_ptr(), other.as_ptr());
    drop(one);
    assert_eq!(other, b"shared"[..]);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    let error = BlobStore::open(dir.path().join("file"), 1).unwrap_err();
    assert!(error.to_string().starts_with("cannot make "), "{error}");
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u8),
    Withhold(u8),
    Release(u8),
    Pin(u8),
    Remove(u8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..12_u8).prop_map(Step::Insert),
        2 => (0..12_u8).prop_map(Step::Withhold),
        2 => (0..12_u8).prop_map(Step::Release),
        1 => (0..12_u8).prop_map(Step::Pin),
        1 => (0..12_u8).prop_map(Step::Remove),
        1 => Just(Step::Restart),
    ]
}

/// The blob number `n`: different bytes and lengths.
fn blob(n: u8) -> Vec<u8> {
    vec![n; 1 + usize::from(n % 4)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bounded_counted_right_and_never_leaking(steps in proptest::collection::vec(step(), 1..25)) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = store(&dir, 12);
        let mut hidden = std::collections::BTreeSet::new();
        for step in steps {
            match step {
                Step::Insert(n) => drop(store.insert(&blob(n))),
                Step::Withhold(n) => {
                    let known = store.contains(&Digest::of(&blob(n)));
                    if store.insert_withheld(&blob(n)).is_ok() && !known {
                        hidden.insert(n);
                    }
                }
                Step::Release(n) => {
                    store.release(&Digest::of(&blob(n))).unwrap();
                    hidden.remove(&n);
                }
                Step::Pin(n) => drop(store.pin(&Digest::of(&blob(n)))),
                Step::Remove(n) => {
                    store.remove(&Digest::of(&blob(n)));
                    hidden.remove(&n);
                }
                Step::Restart => store = BlobStore::open(dir.path(), 12).unwrap(),
            }
            let mut bytes = 0;
            for n in 0..12 {
                match store.serve(&Digest::of(&blob(n))) {
                    Blob::Found(found) => {
                        prop_assert_eq!(&found[..], &blob(n)[..]);
                        prop_assert!(!hidden.contains(&n));
                        bytes += found.len() as u64;
                    }
                    Blob::Withheld => {
                        prop_assert!(hidden.contains(&n));
                        bytes += blob(n).len() as u64;
                    }
                    Blob::Absent => prop_assert!(!hidden.contains(&n), "a withheld blob must not be lost"),
                }
            }
            prop_assert_eq!(bytes, store.bytes());
            prop_assert!(bytes <= 12);
            let on_disk = list(&dir.path().join("open")).unwrap().into_iter().chain(list(&dir.path().join("withheld")).unwrap());
            prop_assert_eq!(on_disk.map(|(_, metadata)| metadata.len()).sum::<u64>(), bytes);
        }
    }
}
