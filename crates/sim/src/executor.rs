//! Runs tasks on one thread in an order that depends on nothing but who was woken first.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Slots for tasks; a task that is woken is polled once, in the order of waking.
#[derive(Default)]
pub(crate) struct Executor {
    slots: Vec<Option<(Task, Waker)>>,
    queue: Arc<Mutex<VecDeque<Arc<Bell>>>>,
}

/// Wakes one task.
struct Bell {
    slot: usize,
    queued: AtomicBool,
    queue: Arc<Mutex<VecDeque<Arc<Self>>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(Arc::clone(self));
        }
    }
}

impl Executor {
    /// Puts `task` into `slot`, in the place of what was there, and wakes it.
    pub(crate) fn spawn(&mut self, slot: usize, task: impl Future<Output = ()> + 'static) {
        let bell = Arc::new(Bell { slot, queued: AtomicBool::new(false), queue: Arc::clone(&self.queue) });
        bell.wake_by_ref();
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some((Box::pin(task), Waker::from(bell)));
    }

    /// Drops the task in `slot` at whichever await it stands.
    pub(crate) fn kill(&mut self, slot: usize) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = None;
        }
    }

    /// Polls woken tasks until none is left.
    pub(crate) fn run(&mut self) {
        while let Some(bell) = self.next() {
            bell.queued.store(false, Ordering::Relaxed);
            // A bell of a task that is gone rings for its successor: a needless poll, which every future allows.
            let Some((task, waker)) = self.slots.get_mut(bell.slot).and_then(Option::as_mut) else { continue };
            if let Poll::Ready(()) = task.as_mut().poll(&mut Context::from_waker(waker)) {
                self.slots[bell.slot] = None;
            }
        }
    }

    fn next(&self) -> Option<Arc<Bell>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::agenda::{Agenda, sleep_until};

    type Story = Rc<RefCell<Vec<(u64, &'static str)>>>;

    async fn tell(agenda: Rc<Agenda<()>>, story: Story, name: &'static str, times: [u64; 2]) {
        for time in times {
            sleep_until(Rc::clone(&agenda), time).await;
            story.borrow_mut().push((agenda.now(), name));
        }
    }

    #[test]
    fn tasks_take_turns_by_virtual_time_and_a_killed_one_says_no_more() {
        let (agenda, story) = (Rc::new(Agenda::new()), Story::default());
        let mut executor = Executor::default();
        let task = |name, times| tell(Rc::clone(&agenda), Rc::clone(&story), name, times);
        executor.spawn(0, task("a", [4, 9]));
        executor.spawn(1, task("b", [4, 8]));
        executor.spawn(2, task("c", [6, 7]));
        executor.run();
        while agenda.step().is_some() {
            executor.run();
            if agenda.now() == 6 {
                executor.kill(0);
            }
        }
        assert_eq!(*story.borrow(), [(4, "a"), (4, "b"), (6, "c"), (7, "c"), (8, "b")]);
    }
}
