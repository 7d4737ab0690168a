use pactum_protocol::Uid;

use super::*;

/// A network of two validators and a miner, none of which has said anything.
fn board() -> Board {
    let mut board = Board::default();
    board.seat("validator-1", Role::Validator, None);
    board.seat("validator-2", Role::Validator, None);
    board.seat("miner-1", Role::Miner, None);
    board
}

fn window(window: u64, outcome: &str, state: u8) -> WindowEvent {
    WindowEvent { window, outcome: outcome.to_owned(), state: Some(Digest([state; 32])), ..WindowEvent::default() }
}

fn judging(uid: u16, weight: f64) -> SubmissionEvent {
    SubmissionEvent {
        uid: Uid(uid),
        status: "accepted".to_owned(),
        reason: None,
        payload_bytes: 1,
        loss_score: None,
        ordinal: 0.0,
        weight,
    }
}

impl Board {
    fn hears(&mut self, name: &str, event: WindowEvent) {
        self.hear(name, Event::Window(Box::new(event)));
    }
}

#[test]
fn being_behind_is_one_thing_and_differing_another() {
    let mut board = board();
    for (name, last) in [("validator-1", 3), ("validator-2", 3), ("miner-1", 2)] {
        (0..=last).for_each(|at| board.hears(name, window(at, "applied", at as u8)));
    }
    assert!(board.same());
    assert_eq!(board.behind(3), ["miner-1"]);
    assert!(board.waits_for(3) && !board.waits_for(2));
    board.give_up("miner-1");
    assert!(!board.waits_for(3));
    assert_eq!(board.behind(3), ["miner-1"], "nobody waits for it, and still it is not there");
    board.hears("miner-1", window(3, "applied", 9));
    assert!(!board.same());
    assert!(board.behind(3).is_empty());
}

#[test]
fn a_window_known_only_as_recovered_counts_as_applied() {
    let mut board = board();
    for event in [window(0, "applied", 0), window(1, "recovered", 1), window(2, "empty", 1), window(3, "applied", 3)] {
        board.hears("miner-1", event);
    }
    board.hears("miner-1", window(3, "recovered", 3));
    let seat = &board.seats["miner-1"];
    assert_eq!((seat.applied(3), seat.applied(2), seat.applied(0)), (3, 2, 1));
}

#[test]
fn the_ends_of_the_losses_are_those_of_all_losses() {
    let mut board = board();
    assert_eq!(board.heldout_ends(), (None, None));
    for (name, at, loss) in [("validator-2", 1, 5.0), ("validator-1", 2, 4.0), ("validator-2", 2, 4.5)] {
        board.hears(name, WindowEvent { heldout_loss: Some(loss), ..window(at, "applied", 0) });
    }
    board.hears("validator-1", window(3, "applied", 0));
    board.hears("miner-1", WindowEvent { heldout_loss: Some(9.0), ..window(0, "applied", 0) });
    let all = board.heldout();
    assert_eq!(board.heldout_ends(), (all.values().next().copied(), all.values().next_back().copied()));
    assert_eq!(board.heldout_ends(), (Some(5.0), Some(4.0)));
}

#[test]
fn the_newest_judgement_counts_and_the_first_validator_where_two_are_as_new() {
    let mut board = board();
    assert!(board.judged(7).is_none());
    let mut check = |name: &str, at: u64, weight: f64, expected: f64| {
        let submissions = vec![judging(6, 0.0), judging(7, weight)];
        board.hears(name, WindowEvent { submissions, ..window(at, "applied", 0) });
        board.hears(name, window(at + 1, "empty", 0));
        assert_eq!(board.judged(7).map(|judged| judged.weight), Some(expected));
        let all = board.submissions();
        let newest = all.values().next_back().and_then(|all| all.iter().find(|one| one.uid == Uid(7)));
        assert_eq!(board.judged(7), newest);
    };
    check("validator-2", 1, 0.2, 0.2);
    check("validator-1", 1, 0.1, 0.1);
    check("validator-2", 3, 0.3, 0.3);
    assert!(board.judged(8).is_none());
}

#[test]
fn only_work_on_a_window_shows_that_a_node_is_well() {
    let check = |event: Event, works: bool| {
        let logged = Logged { node: "miner-1".to_owned(), event };
        assert_eq!(logged.ended_window(), works, "{logged:?}");
    };
    for (outcome, works) in
        [("applied", true), ("empty", true), ("void", true), ("recovered", false), ("joined", false)]
    {
        check(Event::Window(Box::new(window(1, outcome, 0))), works);
    }
    check(Event::Phase { phase: "training".to_owned() }, false);
}
