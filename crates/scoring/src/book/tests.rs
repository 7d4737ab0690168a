use proptest::prelude::*;

use super::{Evidence, PEERS_MAX, ScoreBook, ScoreLine};
use crate::{Hotkey, Hparams, LossScore, Penalty, ScoringRules, Uid, Window};

fn rules() -> ScoringRules {
    Hparams::preset("tiny").unwrap().scoring
}

fn key(uid: u16) -> Hotkey {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&uid.to_le_bytes());
    Hotkey(bytes)
}

fn judged(uid: u16, mean: f64) -> Evidence {
    let score = LossScore { mean, stderr: 0.001, n: 16 };
    Evidence { unassigned: Some(score), ..Evidence::unjudged(Uid(uid), key(uid)) }
}

fn penalised(uid: u16, penalty: Penalty) -> Evidence {
    Evidence::penalised(Uid(uid), key(uid), penalty)
}

/// The lines after `windows` equal windows.
fn after(windows: u64, book: &mut ScoreBook, evidence: &[Evidence]) -> Vec<ScoreLine> {
    let from = book.scored().map_or(0, |scored| scored.0 + 1);
    (from..from + windows).map(|window| book.update(Window(window), evidence, &rules())).last().unwrap()
}

#[test]
fn equals_are_paid_equally_and_shares_sum_to_one() {
    let lines = after(10, &mut ScoreBook::new(), &[judged(0, 0.02), judged(1, 0.02), judged(2, 0.02)]);
    for line in &lines {
        assert!((line.share - 1.0 / 3.0).abs() < 1e-9);
        assert!((line.value - (1.0 - 0.9f64.powi(10))).abs() < 1e-6, "the average begins at 0");
    }
}

#[test]
fn a_window_counts_once() {
    let mut book = ScoreBook::new();
    let lines = after(5, &mut book, &[judged(0, 0.02), judged(1, 0.01)]);
    let before = book.clone();
    for window in [4, 3, 0] {
        let again = book.update(Window(window), &[judged(0, 0.02), judged(1, 0.01)], &rules());
        assert_eq!(again, lines);
        assert_eq!(book, before);
    }
}

#[test]
fn of_two_pieces_of_evidence_on_one_peer_the_first_counts() {
    let (mut one, mut other) = (ScoreBook::new(), ScoreBook::new());
    let plain = after(3, &mut one, &[judged(0, 0.02), judged(1, 0.01)]);
    let doubled =
        after(3, &mut other, &[judged(0, 0.02), penalised(0, Penalty::Late), judged(1, 0.01), judged(1, 0.5)]);
    assert_eq!((plain, one), (doubled, other));
}

#[test]
fn worse_work_earns_less_than_in_proportion() {
    let lines = after(24, &mut ScoreBook::new(), &[judged(0, 0.02), judged(1, 0.02), judged(2, 0.01)]);
    assert!(lines[2].score > 0.0);
    assert!(lines[2].score < lines[0].score / 3.0);
    assert!(lines[2].ordinal < lines[0].ordinal);
}

#[test]
fn whoever_is_not_judged_keeps_what_it_has() {
    let mut book = ScoreBook::new();
    after(10, &mut book, &[judged(0, 0.02), judged(1, 0.02)]);
    let before = *book.peer(&key(1)).unwrap();
    after(3, &mut book, &[judged(0, 0.02), Evidence::unjudged(Uid(1), key(1))]);
    let now = *book.peer(&key(1)).unwrap();
    assert_eq!((now.value, now.rating, now.standing), (before.value, before.rating, before.standing));
}

#[track_caller]
fn check_penalty(penalty: Penalty, standing: f64, falls_in_rating: bool) {
    let mut book = ScoreBook::new();
    after(10, &mut book, &[judged(0, 0.02), judged(1, 0.02), judged(2, 0.02)]);
    let before = *book.peer(&key(2)).unwrap();
    let lines = after(1, &mut book, &[judged(0, 0.02), judged(1, 0.02), penalised(2, penalty)]);
    let now = *book.peer(&key(2)).unwrap();
    assert_eq!(lines[2].penalty, Some(penalty));
    assert!((now.value - before.value * 0.9).abs() < 1e-6, "the window is worth nothing");
    assert!((now.standing - before.standing * standing).abs() < 1e-12);
    assert_eq!(now.rating.mu < before.rating.mu, falls_in_rating);
    let recovered = after(60, &mut book, &[judged(0, 0.02), judged(1, 0.02), judged(2, 0.02)]);
    assert!(recovered[2].share > 0.3, "{penalty:?} is made good: {recovered:?}");
}

#[test]
fn each_penalty_has_its_effect_and_recovery() {
    check_penalty(Penalty::Missing, 1.0, false);
    check_penalty(Penalty::Late, 1.0, false);
    check_penalty(Penalty::OutOfSync, 0.9, false);
    check_penalty(Penalty::Malformed, 0.7, true);
    check_penalty(Penalty::Overlapping, 0.5, true);
    check_penalty(Penalty::Replayed, 0.25, true);
}

#[test]
fn harm_in_three_windows_running_is_a_penalty() {
    let mut book = ScoreBook::new();
    let evidence = [judged(0, 0.02), judged(1, -0.02)];
    assert_eq!(after(2, &mut book, &evidence)[1].penalty, None);
    assert_eq!(after(1, &mut book, &evidence)[1].penalty, Some(Penalty::Negative));
    assert_eq!(book.peer(&key(1)).unwrap().standing, 0.5);
    assert_eq!(after(1, &mut book, &[judged(0, 0.02), judged(1, 0.02)])[1].penalty, None);
}

#[test]
fn windows_count_alike_whatever_the_scale_of_their_losses() {
    let (mut large, mut small) = (ScoreBook::new(), ScoreBook::new());
    let evidence = |unit: f64| [judged(0, 2.0 * unit), judged(1, unit), judged(2, -unit)];
    let lines = (after(12, &mut large, &evidence(0.5)), after(12, &mut small, &evidence(0.05)));
    for (a, b) in lines.0.iter().zip(&lines.1) {
        assert!((a.share - b.share).abs() < 1e-9);
    }
}

#[test]
fn noise_is_not_rewarded() {
    let mut book = ScoreBook::new();
    let lucky = |uid: u16, mean: f64| Evidence {
        unassigned: Some(LossScore { mean, stderr: 0.01, n: 16 }),
        ..Evidence::unjudged(Uid(uid), key(uid))
    };
    let lines = after(10, &mut book, &[lucky(0, 0.0005), lucky(1, -0.0005)]);
    assert!(lines.iter().all(|line| line.value.abs() < 0.05), "{lines:?}");
}

#[test]
fn those_seen_longest_ago_are_forgotten_first() {
    let mut book = ScoreBook::new();
    let most = u16::try_from(PEERS_MAX).unwrap();
    let everybody: Vec<Evidence> = (0..most).map(|uid| Evidence::unjudged(Uid(uid), key(uid))).collect();
    after(1, &mut book, &everybody);
    after(1, &mut book, &everybody[1..]);
    after(1, &mut book, &[Evidence::unjudged(Uid(most), key(most))]);
    assert_eq!(book.peers.len(), PEERS_MAX);
    assert_eq!(book.peer(&key(0)), None);
    assert!(book.peer(&key(most)).is_some());
}

#[test]
fn only_keys_on_the_metagraph_get_weights() {
    use pactum_protocol::{BlockNumber, Metagraph, Neuron};
    let mut book = ScoreBook::new();
    after(5, &mut book, &[judged(0, 0.02), judged(1, 0.02), judged(2, 0.02)]);
    let neuron = |uid: u16, owner: u16| Neuron {
        uid: Uid(uid),
        hotkey: key(owner),
        stake: 0,
        permit: false,
        address: None,
        registered: BlockNumber(0),
    };
    // Uid 1 has a new owner, and the old owner of uid 2 has become 3.
    let neurons = vec![neuron(0, 0), neuron(1, 9), neuron(3, 2)];
    let weights = book.weights(&Metagraph { block: BlockNumber(0), neurons }, &rules());
    assert_eq!(weights, [(Uid(0), 1.0)]);
    assert_eq!(ScoreBook::new().weights(&Metagraph::default(), &rules()), []);
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let loss = || {
        proptest::option::of((any::<f64>(), any::<f64>()).prop_map(|(mean, stderr)| LossScore { mean, stderr, n: 4 }))
    };
    let penalties = prop::sample::select(vec![Penalty::Missing, Penalty::Malformed, Penalty::Replayed]);
    (0u16..6, loss(), loss(), proptest::option::weighted(0.2, penalties)).prop_map(
        |(uid, assigned, unassigned, penalty)| Evidence {
            uid: Uid(uid),
            hotkey: key(uid),
            penalty,
            assigned,
            unassigned,
        },
    )
}

proptest! {
    #[test]
    fn no_evidence_breaks_the_book(
        windows in proptest::collection::vec(proptest::collection::vec(any_evidence(), 0..8), 1..10),
    ) {
        let mut book = ScoreBook::new();
        for (window, evidence) in (0..).zip(windows) {
            for line in book.update(Window(window), &evidence, &rules()) {
                prop_assert!(line.score.is_finite() && line.score >= 0.0);
                prop_assert!(line.ordinal.is_finite() && (0.0..=1.0).contains(&line.share));
            }
        }
    }

    #[test]
    fn evidence_in_another_order_gives_the_same_scores(
        order in Just((0u16..6).collect::<Vec<_>>()).prop_shuffle(), windows in 1u64..6,
    ) {
        let evidence: Vec<Evidence> = (0..6).map(|uid| judged(uid, 0.01 * f64::from(uid))).collect();
        let shuffled: Vec<Evidence> = order.iter().map(|uid| evidence[usize::from(*uid)]).collect();
        let (mut a, mut b) = (ScoreBook::new(), ScoreBook::new());
        after(windows, &mut a, &evidence);
        after(windows, &mut b, &shuffled);
        prop_assert_eq!(a, b);
    }
}

#[cfg(feature = "serde")]
mod saved {
    use super::*;

    fn book() -> ScoreBook {
        let mut book = ScoreBook::new();
        after(8, &mut book, &[judged(0, 0.02), judged(1, 0.01), penalised(2, Penalty::Malformed)]);
        book
    }

    #[test]
    fn a_book_survives_a_restart() {
        let json = serde_json::to_string(&book()).unwrap();
        let read: ScoreBook = serde_json::from_str(&json).unwrap();
        assert_eq!(read.scored(), book().scored());
        for (hotkey, score) in book().scores(&rules()) {
            assert!((read.scores(&rules())[&hotkey] - score).abs() <= 1e-12 * score);
        }
    }

    #[test]
    fn a_book_of_another_release_is_read() {
        let mut json = serde_json::to_value(book()).unwrap();
        json["version"] = 2.into();
        json["mood"] = "good".into();
        let peer = json["peers"].as_object_mut().unwrap().values_mut().next().unwrap();
        peer["taste"] = 7.into();
        peer.as_object_mut().unwrap().remove("harmful");
        let read: ScoreBook = serde_json::from_value(json).unwrap();
        assert_eq!(read.peers.len(), 3);
        assert_eq!(serde_json::from_str::<ScoreBook>("{}").unwrap(), ScoreBook::new());
    }

    #[test]
    fn numbers_out_of_range_are_brought_into_it() {
        let mut json = serde_json::to_value(book()).unwrap();
        for peer in json["peers"].as_object_mut().unwrap().values_mut() {
            peer["value"] = 1e300.into();
            peer["standing"] = (-5.0).into();
            peer["rating"]["sigma"] = 0.into();
            peer["proof"]["squares"] = (-1.0).into();
        }
        let read: ScoreBook = serde_json::from_value(json).unwrap();
        assert!(read.scores(&rules()).values().all(|score| *score == 0.0));
        let peer = read.peers.values().next().unwrap();
        assert_eq!((peer.value, peer.rating, peer.proof), (2.0, Default::default(), Default::default()));
    }
}
