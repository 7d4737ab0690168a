//! Virtual time: what will happen when, in one order that the seed decides.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Virtual milliseconds since the chain's block 0.
pub(crate) type Millis = u64;

/// An alarm's place: its time, then the order in which alarms of one time were set.
type Place = (Millis, u64);

/// The future, from now on. Nothing else in a simulation moves time.
pub(crate) struct Agenda<E> {
    now: Cell<Millis>,
    set: Cell<u64>,
    alarms: RefCell<BTreeMap<Place, Alarm<E>>>,
}

enum Alarm<E> {
    Wake(Waker),
    Happen(E),
}

impl<E> Agenda<E> {
    pub(crate) fn new() -> Self {
        Self { now: Cell::new(0), set: Cell::new(0), alarms: RefCell::new(BTreeMap::new()) }
    }

    pub(crate) fn now(&self) -> Millis {
        self.now.get()
    }

    /// Lets `event` happen at `when`, or at once if that is past.
    pub(crate) fn at(&self, when: Millis, event: E) {
        self.set_alarm(when, Alarm::Happen(event));
    }

    /// Moves time to the next alarm. Wakes whoever waits for it, or returns the event; `None` if nothing is left.
    pub(crate) fn step(&self) -> Option<Option<E>> {
        let ((when, _), alarm) = self.alarms.borrow_mut().pop_first()?;
        self.now.set(when);
        Some(match alarm {
            Alarm::Wake(waker) => {
                waker.wake();
                None
            }
            Alarm::Happen(event) => Some(event),
        })
    }

    fn set_alarm(&self, when: Millis, alarm: Alarm<E>) -> Place {
        let place = (when.max(self.now()), self.set.get());
        self.set.set(place.1 + 1);
        self.alarms.borrow_mut().insert(place, alarm);
        place
    }
}

/// Sleeps until virtual time has reached `when`.
pub(crate) fn sleep_until<E>(agenda: Rc<Agenda<E>>, when: Millis) -> Sleep<E> {
    Sleep { agenda, when, place: None }
}

/// A sleeper; dropping it takes its alarm off the agenda.
pub(crate) struct Sleep<E> {
    agenda: Rc<Agenda<E>>,
    when: Millis,
    place: Option<Place>,
}

impl<E> Future for Sleep<E> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.agenda.now() >= self.when {
            return Poll::Ready(());
        }
        match self.place {
            None => {
                let place = self.agenda.set_alarm(self.when, Alarm::Wake(context.waker().clone()));
                self.place = Some(place);
            }
            Some(place) => {
                if let Some(Alarm::Wake(waker)) = self.agenda.alarms.borrow_mut().get_mut(&place) {
                    waker.clone_from(context.waker());
                }
            }
        }
        Poll::Pending
    }
}

impl<E> Drop for Sleep<E> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.agenda.alarms.borrow_mut().remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn events_happen_in_order_of_time_then_of_setting(times in proptest::collection::vec(0_u64..20, 0..40)) {
            let agenda = Agenda::new();
            for (number, time) in times.iter().enumerate() {
                agenda.at(*time, (*time, number));
            }
            let mut happened = Vec::new();
            while let Some(Some(event)) = agenda.step() {
                prop_assert_eq!(agenda.now(), event.0);
                happened.push(event);
            }
            let mut expected: Vec<_> = times.iter().copied().zip(0..).collect();
            expected.sort_unstable();
            prop_assert_eq!(happened, expected);
        }
    }

    #[test]
    fn what_is_past_happens_now_and_a_dropped_sleeper_wakes_nobody() {
        let agenda = Rc::new(Agenda::new());
        agenda.at(5, 'a');
        assert_eq!(agenda.step(), Some(Some('a')));
        agenda.at(2, 'b');
        let mut sleep = Box::pin(sleep_until(Rc::clone(&agenda), 9));
        let mut context = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        drop(sleep);
        assert_eq!((agenda.step(), agenda.now()), (Some(Some('b')), 5));
        assert_eq!(agenda.step(), None);
    }
}
