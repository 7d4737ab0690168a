use super::*;
use crate::learner::tests::{batch, micro, train};
use crate::{InnerError, Learner, LearnerConfig, Weighted};

#[test]
fn vectors_keep_their_bits_and_their_places() {
    let count = BLOCK + 7;
    let shelf = Shelf::new(file(), count);
    let vector = |salt: u32| (0..count as u32).map(|i| f32::from_bits(i * 7919 + salt)).collect::<Vec<_>>();
    let same = |found: &[f32], salt| found.iter().zip(vector(salt)).all(|(a, b)| a.to_bits() == b.to_bits());
    let slots = [0, 1, 2].map(|salt| shelf.put(&vector(salt)).unwrap());
    for (salt, slot) in (0..).zip(&slots) {
        assert!(same(&slot.load(vec![7.0; 3]).unwrap(), salt), "{salt}");
        let mut bytes = Vec::new();
        slot.copy_to(&mut bytes).unwrap();
        assert!(same(&crate::bytes::read_floats(&bytes), salt) && bytes.len() == 4 * count, "{salt}");
    }
    let mut part = [0.0; 9];
    slots[1].read(count - 9, &mut part).unwrap();
    assert!(part.iter().zip(&vector(1)[count - 9..]).all(|(a, b)| a.to_bits() == b.to_bits()));
}

#[test]
fn a_place_is_taken_again_once_nobody_holds_it() {
    let shelf = Shelf::new(file(), 9);
    let [first, second] = [1.0, 2.0].map(|value| shelf.put(&[value; 9]).unwrap());
    let held = Arc::clone(&first);
    drop(first);
    assert_eq!(shelf.slot().number, 2);
    drop(held);
    assert_eq!((shelf.slot().number, second.number), (0, 1));
}

#[test]
fn what_was_never_put_is_an_error() {
    let shelf = Shelf::new(file(), 9);
    let _first = shelf.put(&[1.0; 9]).unwrap();
    assert!(shelf.slot().load(Vec::new()).is_err());
}

fn file() -> Box<dyn Scratch> {
    Box::new(tempfile::tempfile().unwrap())
}

/// A learner in memory, and one that offloads; whatever is done to both must have the same outcome.
struct Pair([Learner; 2]);

impl Pair {
    fn new(config: &LearnerConfig) -> Self {
        let learner = || Learner::new(config.clone(), 1).unwrap();
        Self([learner(), learner().offloading(file()).unwrap()])
    }

    fn each<T: PartialEq>(&mut self, what: &str, mut act: impl FnMut(&mut Learner) -> T) {
        let [plain, offloading] = self.0.each_mut().map(&mut act);
        assert!(plain == offloading, "{what}");
        let [plain, offloading] = self.0.each_ref().map(|learner| learner.snapshot(true).unwrap());
        assert!(plain == offloading, "the state after: {what}");
    }

    fn window(&mut self, salt: u32, included: Option<bool>) {
        self.each("training", |learner| train(learner, salt, 3));
        self.each("compressing", Learner::compress);
        self.each("applying", |learner| {
            let payload = learner.pending_payload().unwrap().to_vec();
            let update = learner.check(&payload).unwrap();
            learner.apply(&[Weighted { update: &update, weight: 1.0 }], included).unwrap()
        });
    }
}

#[test]
fn offloading_changes_no_bit() {
    for apply_delay in [0, 1] {
        let mut config = micro();
        config.outer.apply_delay = apply_delay;
        let mut pair = Pair::new(&config);
        for (salt, included) in (0..).zip([Some(true), Some(false), None, Some(true)]) {
            pair.window(salt, included);
        }
        pair.each("training in parts", |learner| [train(learner, 9, 2), train(learner, 9, 1)]);
        pair.each("screening meanwhile", |learner| {
            let mut other = Learner::new(config.clone(), 1).unwrap();
            train(&mut other, 3, 1);
            let payload = other.compress().unwrap();
            let update = learner.check(&payload).unwrap();
            learner.screen(&[&update], &batch(2)).unwrap()
        });
        pair.each("compressing", Learner::compress);
        pair.each("training on", |learner| train(learner, 9, 1));
        pair.each("compressing again", Learner::compress);
        pair.each("leaving the window out", Learner::skip);
        pair.each("training for nothing", |learner| train(learner, 10, 2));
        pair.each("a window that is replayed", |learner| learner.apply(&[], None).unwrap());
        pair.window(11, Some(true));
        pair.each("training", |learner| train(learner, 12, 2));
        pair.each("another's checkpoint", |learner| {
            let other = Learner::new(config.clone(), 5).unwrap();
            learner.adopt(40, &other.checkpoint(), &other.state_digest()).unwrap();
        });
        pair.window(13, Some(true));
        pair.each("restoring", |learner| {
            let bytes = learner.snapshot(true).unwrap();
            let scratch = learner.shelf.is_some().then(file);
            *learner = Learner::restore_from(config.clone(), &mut &*bytes, scratch).unwrap();
        });
        pair.window(14, Some(true));
        pair.each("training alone", |learner| {
            train(learner, 15, 2);
            learner.commit_alone();
        });
        pair.window(16, Some(true));
    }
}

/// A disk that fills up.
struct Full(std::io::Cursor<Vec<u8>>, usize);

impl Read for Full {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.1 < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.1 -= bytes.len();
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Full {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_full_disk_is_an_error_that_loses_nothing() {
    // The moments are laid down first, then the error feedback, and each of two steps writes both moments.
    let vector = 4 * micro().model.count();
    for room in [2 * vector, 3 * vector, 5 * vector - 1, 6 * vector] {
        let mut pair = Pair::new(&micro());
        let full = Full(std::io::Cursor::new(Vec::new()), room);
        let [plain, learner] = &mut pair.0;
        for learner in [&mut *plain, &mut *learner] {
            train(learner, 0, 2);
            learner.compress().unwrap();
            learner.skip();
        }
        let bytes = learner.snapshot(true).unwrap();
        *learner = Learner::restore_from(micro(), &mut &*bytes, Some(Box::new(full))).unwrap();
        let failed = learner.inner_steps(&mut |_| Some(batch(1)), 2, &mut || true);
        assert!(matches!(failed, Err(InnerError::Scratch(_))), "{room}");
        assert_eq!(learner.compress(), None, "nothing is sent of a window that was lost");
        pair.each("after the failure", |learner| learner.window());
    }
}
