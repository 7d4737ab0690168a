use proptest::prelude::*;

use super::{Rating, rate};
use crate::{Hparams, ScoringRules};

fn rules() -> ScoringRules {
    Hparams::preset("tiny").unwrap().scoring
}

/// One row of the golden table: the settings, and rank, before and after of each player.
struct Row {
    name: String,
    rules: ScoringRules,
    players: Vec<(u32, Rating, Rating)>,
}

impl Row {
    fn parse(line: &str) -> Self {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |at: usize| cells[at].parse::<f64>().unwrap();
        let player = |at: usize| {
            let before = Rating { mu: number(at + 1), sigma: number(at + 2) };
            (cells[at].parse().unwrap(), before, Rating { mu: number(at + 3), sigma: number(at + 4) })
        };
        #[expect(clippy::cast_possible_truncation, reason = "settings are f32")]
        let rules = ScoringRules { rating_beta: number(2) as f32, rating_tau: number(3) as f32, ..rules() };
        let players = (4..cells.len()).step_by(5).map(player).collect();
        Self { name: format!("{}, step {}", cells[0], cells[1]), rules, players }
    }
}

#[test]
fn ratings_are_those_of_openskill() {
    let rows: Vec<Row> = include_str!("../../golden/ratings.csv").lines().skip(1).map(Row::parse).collect();
    assert_eq!(rows.len(), 45);
    for row in rows {
        let ranked: Vec<(Rating, u32)> = row.players.iter().map(|(rank, before, _)| (*before, *rank)).collect();
        for (found, (_, _, expected)) in rate(&ranked, &row.rules).iter().zip(&row.players) {
            // β and τ are f32 here and f64 there.
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-7 * b.abs().max(1.0);
            let same = near(found.mu, expected.mu) && near(found.sigma, expected.sigma);
            assert!(same, "{}: found {found:?}, expected {expected:?}", row.name);
        }
    }
}

#[test]
fn an_ordinal_is_three_deviations_below_the_mean() {
    assert_eq!(Rating::default().ordinal(), 0.0);
    assert_eq!(Rating { mu: 30.0, sigma: 2.0 }.ordinal(), 24.0);
}

#[test]
fn alone_nobody_learns() {
    let rating = Rating { mu: 20.0, sigma: 3.0 };
    assert_eq!(rate(&[(rating, 0)], &rules()), [rating]);
    assert_eq!(rate(&[], &rules()), []);
}

#[test]
fn equals_beat_each_other_half_the_time() {
    let (strong, weak) = (Rating { mu: 35.0, sigma: 1.0 }, Rating { mu: 15.0, sigma: 1.0 });
    assert_eq!(strong.beats(&strong, 7.0), 0.5);
    assert!((strong.beats(&weak, 7.0) + weak.beats(&strong, 7.0) - 1.0).abs() < 1e-12);
    assert!(strong.beats(&weak, 7.0) > 0.85);
}

fn any_rating() -> impl Strategy<Value = Rating> {
    (-1e4f64..1e4, 1e-6f64..1e4).prop_map(|(mu, sigma)| Rating { mu, sigma })
}

proptest! {
    #[test]
    fn ratings_stay_finite(ranked in proptest::collection::vec((any_rating(), 0u32..5), 0..20)) {
        for rating in rate(&ranked, &rules()) {
            prop_assert!(rating.mu.is_finite() && rating.sigma.is_finite() && rating.sigma > 0.0, "{:?}", rating);
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_matter(ranked in proptest::collection::vec((any_rating(), 0u32..5), 2..8)) {
        let backwards: Vec<_> = ranked.iter().rev().copied().collect();
        let (mut a, b) = (rate(&ranked, &rules()), rate(&backwards, &rules()));
        a.reverse();
        for (a, b) in a.iter().zip(b) {
            prop_assert!((a.mu - b.mu).abs() <= 1e-6 * a.mu.abs().max(1.0));
        }
    }

    #[test]
    fn of_equals_the_better_ranked_is_rated_higher(rating in any_rating(), n in 2u32..10) {
        let ranked: Vec<_> = (0..n).map(|rank| (rating, rank)).collect();
        let rated = rate(&ranked, &rules());
        prop_assert!(rated.windows(2).all(|pair| pair[0].mu >= pair[1].mu));
    }
}
