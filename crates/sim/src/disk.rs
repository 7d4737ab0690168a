//! What survives a crash, and the node's clock.

use pactum_protocol::Timestamp;
use pactum_round::{BoxError, Clock, Entry, Journal, Snapshot, Submitted};
use pactum_scoring::ScoreBook;

use crate::defect::Defect;
use crate::toy::DIMENSION;
use crate::trace::Kind;
use crate::world::Place;

/// A node's journal.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    newest: Option<Saved>,
    /// The commit before, for a disk that forgets.
    older: Option<Saved>,
}

/// One commit.
#[derive(Clone)]
pub(crate) struct Saved {
    pub(crate) entry: Entry,
    pub(crate) snapshot: Vec<u8>,
    pub(crate) scores: Option<ScoreBook>,
    /// The payload of the open window, which the snapshot holds.
    pub(crate) submitted: Option<Submitted>,
}

impl Disk {
    /// What the disk holds after a crash.
    pub(crate) fn recover(&mut self, defects: &[Defect]) -> Option<Saved> {
        if defects.contains(&Defect::Forget) {
            self.newest = self.older.take();
        }
        let mut saved = self.newest.clone()?;
        if defects.contains(&Defect::Rot) {
            // In the middle of the parameters.
            saved.snapshot.iter_mut().skip(DIMENSION).take(1).for_each(|byte| *byte ^= 1);
        }
        Some(saved)
    }
}

/// A node's door to its disk.
pub(crate) struct SimJournal(pub(crate) Place);

impl Journal for SimJournal {
    fn prepare(&mut self, entry: &Entry, submitted: &Submitted, snapshot: Box<dyn Snapshot>) -> Result<(), BoxError> {
        let Place { world, me } = &self.0;
        let mut bytes = Vec::new();
        snapshot.write(&mut bytes)?;
        let disk = &mut world.disks.borrow_mut()[*me];
        let scores = disk.newest.take().and_then(|newest| newest.scores);
        disk.newest = Some(Saved { entry: *entry, snapshot: bytes, scores, submitted: Some(*submitted) });
        Ok(())
    }

    fn commit(
        &mut self,
        entry: &Entry,
        snapshot: Box<dyn Snapshot>,
        scores: Option<&ScoreBook>,
    ) -> Result<(), BoxError> {
        let mut bytes = Vec::new();
        snapshot.write(&mut bytes)?;
        let Place { world, me } = &self.0;
        world.record(Kind::Commit, *me, entry.next.0, &entry.state);
        world.checker.borrow_mut().commit(*me, entry);
        let disk = &mut world.disks.borrow_mut()[*me];
        disk.older =
            disk.newest.replace(Saved { entry: *entry, snapshot: bytes, scores: scores.cloned(), submitted: None });
        Ok(())
    }
}

/// A node's clock, which nobody sets right.
pub(crate) struct SimClock(pub(crate) Place);

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.0.clock()
    }

    async fn sleep_until(&self, when: Timestamp) {
        self.0.settle().await;
        self.0.sleep_until(when.0.saturating_sub(self.0.profile().skew)).await;
    }
}
