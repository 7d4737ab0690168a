use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use pactum_chain::{Call, SignedCall, Wallet};
use pactum_protocol::{Sign, Timestamp};
use proptest::prelude::*;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::*;
use crate::engine::Engine;

fn genesis() -> Genesis {
    Genesis { tempo: 3, ..Genesis::default() }
}

/// Makes block after block with a call in each, and returns the hash of each.
fn grow(store: &Store, ledger: &mut Ledger, blocks: u64) -> Vec<Digest> {
    let wallet = Wallet::from_seed([3; 32]);
    (0..blocks)
        .map(|_| {
            let hotkey = wallet.hotkey();
            let nonce = ledger.nonce(&hotkey);
            let call = if nonce == 0 { Call::Register } else { Call::AddStake { amount: 1 } };
            let call = SignedCall::sign(ledger.genesis_hash(), nonce, call, &wallet);
            ledger.apply(&call, &Sr25519).unwrap();
            let block = ledger.seal_block(Timestamp(0));
            store.append(&block, ledger).unwrap();
            block.header.hash()
        })
        .collect()
}

#[test]
fn a_chain_dropped_at_any_block_goes_on_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut hashes = Vec::new();
    for round in 1..=3 {
        let (store, mut ledger) = Store::open(dir.path(), Some(genesis())).unwrap();
        assert_eq!(ledger.head().number.0 as usize, hashes.len());
        hashes.extend(grow(&store, &mut ledger, round * 2));
        let expected = ledger.snapshot();
        drop(store);
        let (store, ledger) = Store::open(dir.path(), None).unwrap();
        assert_eq!(ledger.snapshot(), expected);
        for (number, hash) in (1..).zip(&hashes) {
            assert_eq!(store.block_hash(BlockNumber(number)).unwrap(), *hash);
        }
    }
}

#[test]
fn the_whole_ledger_is_kept_now_and_then() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut ledger) = Store::open(dir.path(), Some(genesis())).unwrap();
    for _ in 0..SNAPSHOT_EVERY + 2 {
        let block = ledger.seal_block(Timestamp(0));
        store.append(&block, &ledger).unwrap();
    }
    let kept = store.meta("ledger").unwrap().unwrap();
    assert_eq!(Ledger::restore(store.genesis().unwrap(), &kept).unwrap().head().number.0, SNAPSHOT_EVERY);
    drop(store);
    let (_, reopened) = Store::open(dir.path(), Some(genesis())).unwrap();
    assert_eq!(reopened.snapshot(), ledger.snapshot());
}

#[test]
fn other_rules_no_rules_and_a_second_process_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent");
    assert!(matches!(Store::open(&absent, None), Err(StoreError::NoChain { .. })));
    assert!(!absent.exists());
    let (store, _) = Store::open(dir.path(), Some(genesis())).unwrap();
    let error = Store::open(dir.path(), Some(genesis())).unwrap_err();
    assert!(error.to_string().ends_with("in use by another process: one chain is served by one process"), "{error}");
    drop(store);
    let other = Genesis { tempo: 9, ..genesis() };
    assert!(matches!(Store::open(dir.path(), Some(other)), Err(StoreError::OtherGenesis { .. })));
}

#[test]
fn a_folder_that_cannot_be_written_is_said_to_be_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "text").unwrap();
    assert!(matches!(Store::open(&file, Some(genesis())), Err(StoreError::Disk { .. })));
}

#[test]
fn a_file_of_something_else_is_called_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    for bytes in [&b"not a database"[..], &[0; 8192], &[0xff; 8192]] {
        fs::write(dir.path().join(FILE), bytes).unwrap();
        let error = Store::open(dir.path(), Some(genesis())).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains("put back a copy of it, or delete it"), "{error}");
    }
}

/// One change to a file.
#[derive(Clone, Debug)]
enum Change {
    Length(u64),
    Write(u64, Vec<u8>),
}

/// A file that remembers how it came about.
#[derive(Clone, Debug, Default)]
struct Recorded {
    file: Arc<InMemoryBackend>,
    changes: Arc<Mutex<Vec<Change>>>,
    full: Arc<AtomicBool>,
}

impl StorageBackend for Recorded {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.changes.lock().unwrap().push(Change::Length(len));
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        if self.full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.changes.lock().unwrap().push(Change::Write(offset, data.to_vec()));
        self.file.write(offset, data)
    }
}

impl Recorded {
    /// The file as a kill after the first `count` changes leaves it, the last of them half done.
    fn cut(&self, count: usize) -> InMemoryBackend {
        let file = InMemoryBackend::new();
        let changes = self.changes.lock().unwrap();
        for (index, change) in changes.iter().take(count).enumerate() {
            match change {
                Change::Length(len) => file.set_len(*len).unwrap(),
                Change::Write(offset, data) if index + 1 == count => {
                    file.write(*offset, &data[..data.len() / 2]).unwrap();
                }
                Change::Write(offset, data) => file.write(*offset, data).unwrap(),
            }
        }
        file
    }

    fn done(&self) -> usize {
        self.changes.lock().unwrap().len()
    }
}

fn database(backend: impl StorageBackend) -> Result<Store, StoreError> {
    let path = PathBuf::from(FILE);
    let database = builder().create_with_backend(backend).map_err(|error| failure(&path, error.into()))?;
    Ok(Store { database, path })
}

/// A chain that is there, as [`Store::open`] finds it.
fn begun(recorded: &Recorded) -> (Store, Ledger) {
    let store = database(recorded.clone()).unwrap();
    store.begin(genesis()).unwrap();
    let ledger = store.load(Path::new(""), None).unwrap();
    (store, ledger)
}

fn reopen(file: InMemoryBackend) -> Result<Ledger, StoreError> {
    database(file)?.load(Path::new(""), Some(&genesis()))
}

/// A process that is killed leaves a prefix of its writes. From each one the chain must come up with every block that
/// was confirmed, and nothing that was not made.
#[test]
fn no_instant_of_death_loses_a_confirmed_block() {
    let recorded = Recorded::default();
    let (store, mut ledger) = begun(&recorded);
    let mut confirmed = vec![(recorded.done(), ledger.head())];
    for _ in 0..6 {
        grow(&store, &mut ledger, 1);
        confirmed.push((recorded.done(), ledger.head()));
    }
    let genesis_hash = ledger.genesis_hash();
    let started = confirmed[0].0;
    for count in started..=recorded.done() {
        let reopened = reopen(recorded.cut(count)).unwrap();
        assert_eq!(reopened.genesis_hash(), genesis_hash);
        let head = reopened.head();
        let known = confirmed.iter().filter(|(done, _)| *done < count).map(|(_, head)| head.number).max();
        assert!(head.number >= known.unwrap_or_default(), "{count}: {head:?} after {known:?}");
        assert!(confirmed.iter().any(|(_, made)| *made == head), "{count}: {head:?}");
    }
}

#[test]
fn a_chain_killed_while_it_is_made_can_be_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let partial = dir.path().join(FILE).with_extension("partial");
    fs::write(&partial, [7; 5000]).unwrap();
    assert!(matches!(Store::open(dir.path(), None), Err(StoreError::NoChain { .. })));
    let (_, ledger) = Store::open(dir.path(), Some(genesis())).unwrap();
    assert_eq!(ledger.head().number.0, 0);
    assert!(!partial.exists());
}

/// The ledger is ahead of a disk that refuses a block, so nothing more may be told.
#[tokio::test]
async fn a_full_disk_stops_the_chain_without_telling_of_the_lost_block() {
    let recorded = Recorded::default();
    let (store, ledger) = begun(&recorded);
    let engine = Engine::new(ledger, store);
    let confirmed = engine.seal().unwrap();
    recorded.full.store(true, Ordering::Relaxed);
    let halted = engine.seal().unwrap_err();
    assert!(halted.reason.contains("cannot be read or written"), "{halted}");
    assert_eq!(engine.halted().await, halted);
    assert_eq!(engine.seal(), Err(halted));
    assert_eq!(engine.head(), confirmed);
    assert_eq!(engine.read(|ledger| ledger.head()), None);
    let reopened = reopen(recorded.cut(usize::MAX)).unwrap();
    assert_eq!(reopened.head(), confirmed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// A changed byte either is where nothing is kept, or is found: there is no panic, no other chain, no lost block
    /// that goes unnoticed.
    #[test]
    fn a_changed_byte_is_harmless_or_found(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let recorded = Recorded::default();
        let (store, mut ledger) = begun(&recorded);
        grow(&store, &mut ledger, 4);
        drop(store);
        let file = recorded.cut(usize::MAX);
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read(0, &mut bytes).unwrap();
        let used: Vec<usize> = (0..bytes.len()).filter(|index| bytes[*index] != 0).collect();
        let at = used[at.index(used.len())];
        file.write(at as u64, &[bytes[at] ^ flip]).unwrap();
        match reopen(file) {
            Ok(reopened) => prop_assert_eq!(reopened.head(), ledger.head()),
            Err(error) => prop_assert!(matches!(error, StoreError::Corrupt { .. }), "{:?}", error),
        }
    }
}
