//! The chain's file: its genesis, every block, and now and then the whole ledger.
//!
//! A block is one transaction. Opening takes the newest whole ledger and applies the blocks after it, checking each, so
//! that the state always follows from the blocks.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use pactum_chain::{Block, Genesis, Ledger, Sr25519};
use pactum_protocol::{BlockNumber, Digest, Timestamp};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::engine::now;

#[cfg(test)]
mod tests;

pub(crate) const FILE: &str = "chain.redb";
const FORMAT: &[u8] = b"pactum-devchain-1";
const CACHE_BYTES: usize = 16 << 20;
/// How many blocks at most are applied anew when the chain is opened.
const SNAPSHOT_EVERY: u64 = 256;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");

/// Why the chain's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no chain in the folder and no rules for a new one.
    #[error("there is no chain in {dir}: give a genesis to start one")]
    NoChain {
        /// The folder.
        dir: PathBuf,
    },
    /// The chain in the folder has other rules.
    #[error("the chain in {dir} was started with other rules: use another folder, or the rules it has")]
    OtherGenesis {
        /// The folder.
        dir: PathBuf,
    },
    /// Another process has the file open.
    #[error("{path} is in use by another process: one chain is served by one process")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no sound chain.
    #[error("{path} is corrupt ({reason}): put back a copy of it, or delete it to start a new chain")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk refuses.
    #[error("{path} cannot be read or written: {source}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl StoreError {
    pub(crate) fn crashed(error: &tokio::task::JoinError) -> Self {
        Self::Corrupt { path: FILE.into(), reason: error.to_string() }
    }
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Store {
    database: Database,
    path: PathBuf,
}

impl Store {
    /// Opens the chain in `dir`, or makes one there with `genesis`.
    pub(crate) fn open(dir: &Path, genesis: Option<Genesis>) -> Result<(Self, Ledger), StoreError> {
        let path = dir.join(FILE);
        let disk = |source| StoreError::Disk { path: path.clone(), source };
        if !path.try_exists().map_err(disk)? {
            let genesis = genesis.clone().ok_or_else(|| StoreError::NoChain { dir: dir.into() })?;
            make(dir, &path, genesis.at(now()))?;
        }
        let database = builder().open(&path).map_err(|error| failure(&path, error.into()))?;
        let store = Self { database, path };
        let ledger = store.load(dir, genesis.as_ref())?;
        Ok((store, ledger))
    }

    fn load(&self, dir: &Path, asked: Option<&Genesis>) -> Result<Ledger, StoreError> {
        let stored = self.genesis()?;
        if asked.is_some_and(|asked| asked.clone().at(Timestamp(stored.time)) != stored) {
            return Err(StoreError::OtherGenesis { dir: dir.into() });
        }
        self.restore(stored)
    }

    /// Makes `block` durable; `ledger` is the state that it leads to.
    pub(crate) fn append(&self, block: &Block, ledger: &Ledger) -> Result<(), StoreError> {
        let number = block.header.number.0;
        self.write(|transaction| {
            transaction.open_table(BLOCKS)?.insert(number, block.encode().as_slice())?;
            if number.is_multiple_of(SNAPSHOT_EVERY) {
                transaction.open_table(META)?.insert("ledger", ledger.snapshot().as_slice())?;
            }
            Ok(())
        })
    }

    /// The hash of a block that is there.
    pub(crate) fn block_hash(&self, number: BlockNumber) -> Result<Digest, StoreError> {
        self.block(number.0)?.map(|block| block.header.hash()).ok_or_else(|| self.corrupt("a block is missing"))
    }

    /// Writes what a chain begins with.
    fn begin(&self, genesis: Genesis) -> Result<(), StoreError> {
        let bytes = genesis.to_bytes();
        let ledger = Ledger::new(genesis).map_err(|error| self.corrupt(&error.to_string()))?;
        self.write(|transaction| {
            let mut meta = transaction.open_table(META)?;
            meta.insert("format", FORMAT)?;
            meta.insert("genesis", bytes.as_slice())?;
            meta.insert("ledger", ledger.snapshot().as_slice())?;
            transaction.open_table(BLOCKS)?;
            Ok(())
        })
    }

    fn genesis(&self) -> Result<Genesis, StoreError> {
        if self.meta("format")?.as_deref() != Some(FORMAT) {
            return Err(self.corrupt("its format is unknown"));
        }
        let bytes = self.meta("genesis")?.ok_or_else(|| self.corrupt("its genesis is missing"))?;
        Genesis::from_bytes(&bytes).map_err(|error| self.corrupt(&error.to_string()))
    }

    fn restore(&self, genesis: Genesis) -> Result<Ledger, StoreError> {
        let bytes = self.meta("ledger")?.ok_or_else(|| self.corrupt("its ledger is missing"))?;
        let mut ledger = Ledger::restore(genesis, &bytes).map_err(|error| self.corrupt(&error.to_string()))?;
        let newest = self.newest_block()?;
        for number in ledger.head().number.0.saturating_add(1)..=newest {
            let block = self.block(number)?.ok_or_else(|| self.corrupt("a block is missing"))?;
            ledger.replay(&block, &Sr25519).map_err(|error| self.corrupt(&error.to_string()))?;
        }
        if ledger.head().number.0 != newest {
            return Err(self.corrupt("its newest blocks are missing"));
        }
        Ok(ledger)
    }

    fn newest_block(&self) -> Result<u64, StoreError> {
        self.read(|transaction| {
            let blocks = transaction.open_table(BLOCKS)?;
            let newest = blocks.last()?.map_or(0, |(number, _)| number.value());
            Ok(newest)
        })
    }

    fn block(&self, number: u64) -> Result<Option<Block>, StoreError> {
        let bytes =
            self.read(|transaction| Ok(transaction.open_table(BLOCKS)?.get(number)?.map(|b| b.value().to_vec())))?;
        let block = bytes.map(|bytes| Block::decode(&bytes)).transpose();
        block.map_err(|error| self.corrupt(&format!("block {number}: {error}")))
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|transaction| match transaction.open_table(META) {
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            table => Ok(table?.get(key)?.map(|bytes| bytes.value().to_vec())),
        })
    }

    fn read<T>(&self, read: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let begun = self.database.begin_read().map_err(redb::Error::from);
        begun.and_then(|transaction| read(&transaction)).map_err(|error| failure(&self.path, error))
    }

    fn write(&self, write: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>) -> Result<(), StoreError> {
        let written = (|| {
            let transaction = self.database.begin_write()?;
            write(&transaction)?;
            Ok(transaction.commit()?)
        })();
        written.map_err(|error: redb::Error| failure(&self.path, error))
    }

    fn corrupt(&self, reason: &str) -> StoreError {
        StoreError::Corrupt { path: self.path.clone(), reason: reason.to_owned() }
    }
}

/// Makes the file of a new chain beside its place and moves it there, so that it is there whole or not at all.
fn make(dir: &Path, path: &Path, genesis: Genesis) -> Result<(), StoreError> {
    let partial = path.with_extension("partial");
    let disk = |source| StoreError::Disk { path: path.to_path_buf(), source };
    fs::create_dir_all(dir).map_err(disk)?;
    if partial.try_exists().map_err(disk)? {
        fs::remove_file(&partial).map_err(disk)?;
    }
    let database = builder().create(&partial).map_err(|error| failure(path, error.into()))?;
    let store = Store { database, path: path.to_path_buf() };
    store.begin(genesis)?;
    store.database.close().map_err(|error| failure(path, error.into()))?;
    fs::rename(&partial, path).map_err(disk)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(disk)
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn failure(path: &Path, error: redb::Error) -> StoreError {
    let path = path.to_path_buf();
    match error {
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse { path },
        redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
            StoreError::Corrupt { path, reason: source.to_string() }
        }
        redb::Error::Io(source) => StoreError::Disk { path, source },
        other => StoreError::Corrupt { path, reason: other.to_string() },
    }
}
