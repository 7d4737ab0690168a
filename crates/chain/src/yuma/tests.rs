use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn validator(stake: u64, weights: &[(u16, u16)]) -> Voter {
    Voter { stake, permit: true, active: true, registered: 0, updated: 5, weights: weights.to_vec(), bonds: vec![] }
}

fn miner() -> Voter {
    Voter { registered: 0, active: true, ..Voter::default() }
}

const ALL: u16 = u16::MAX;

#[test]
fn validators_that_agree_are_paid_by_stake_and_miners_by_weight() {
    let weights = [(2, 3), (3, 1)];
    let voters = [validator(300, &weights), validator(100, &weights), miner(), miner()];
    let shares = yuma(&voters, 1);
    let near = |found: u16, share: f64| assert!((f64::from(found) / 65535.0 - share).abs() < 1e-4, "{found} {share}");
    near(shares.incentive[2], 0.75);
    near(shares.incentive[3], 0.25);
    near(shares.dividends[0], 0.75);
    near(shares.dividends[1], 0.25);
    let amounts = shares.divide(8000);
    assert!(
        amounts.iter().zip([3000, 1000, 3000, 1000]).all(|(found, right)| found.abs_diff(right) <= 1),
        "{amounts:?}"
    );
}

#[test]
fn a_minority_cannot_lift_its_favourite() {
    let voters = [validator(60, &[(2, 1)]), validator(40, &[(3, 1)]), miner(), miner()];
    let shares = yuma(&voters, 1);
    assert_eq!(shares.consensus, [0, 0, ALL, 0]);
    assert_eq!(shares.incentive, [0, 0, ALL, 0]);
    // The minority's weight is clipped away, so it earns no dividends either.
    assert_eq!(shares.dividends, [ALL, 0, 0, 0]);
}

#[test]
fn self_weights_and_weights_for_former_owners_do_not_count() {
    let mut voters = [validator(60, &[(0, 9), (1, 1), (2, 1)]), miner(), miner()];
    voters[2].registered = 5;
    let shares = yuma(&voters, 1);
    assert_eq!(shares.incentive, [0, ALL, 0]);
}

#[test]
fn the_inactive_and_the_unpermitted_have_no_say() {
    let mut voters = [validator(10, &[(3, 1)]), validator(90, &[(4, 1)]), validator(90, &[(4, 1)]), miner(), miner()];
    voters[1].active = false;
    voters[2].permit = false;
    let shares = yuma(&voters, 1);
    assert_eq!(shares.incentive, [0, 0, 0, ALL, 0]);
    assert_eq!(shares.dividends, [ALL, 0, 0, 0, 0]);
}

#[test]
fn without_weights_the_validators_get_all_and_without_stake_nobody_gets_anything() {
    let voters = [validator(75, &[]), validator(25, &[]), miner()];
    assert_eq!(yuma(&voters, 1).divide(1000), [750, 250, 0]);
    assert_eq!(yuma(&[miner(), miner()], 1).divide(1000), [0, 0]);
    assert_eq!(yuma(&[], 1), Shares::default());
    let idle: Vec<Voter> = voters.iter().map(|voter| Voter { active: false, ..voter.clone() }).collect();
    assert_eq!(yuma(&idle, 1).divide(1000), [750, 250, 0]);
}

#[test]
fn bonds_reward_who_saw_a_miner_first() {
    let early = [validator(50, &[(2, 1)]), validator(50, &[]), miner()];
    let first = yuma(&early, 1);
    assert_eq!(first.bonds[0], [(2, ALL)]);
    let mut later = [validator(50, &[(2, 1)]), validator(50, &[(2, 1)]), miner()];
    for (voter, bonds) in later.iter_mut().zip(first.bonds) {
        voter.bonds = bonds;
    }
    let second = yuma(&later, 1);
    // 0.9 of the old bond and a tenth of half the new one.
    assert!((f64::from(second.dividends[0]) / 65535.0 - 0.95).abs() < 1e-3, "{:?}", second.dividends);
    // A new owner of the uid owes the old one's friends nothing.
    later[2].registered = 3;
    assert_eq!(yuma(&later, 3).dividends[0], 32767);
}

/// The same consensus in floating point, written from the definition of each step.
fn reference(voters: &[Voter]) -> (Vec<f64>, Vec<f64>) {
    let n = voters.len();
    let unit = |mut row: Vec<f64>| {
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|x| *x = if sum > 0.0 { *x / sum } else { 0.0 });
        row
    };
    let say = |voter: &Voter| if voter.permit && voter.active { voter.stake as f64 } else { 0.0 };
    let active = unit(voters.iter().map(say).collect());
    let row = |(i, voter): (usize, &Voter)| {
        let mut row = vec![0.0; n];
        for (j, weight) in voter.weights.iter().filter(|(j, _)| usize::from(*j) != i && voter.permit) {
            row[usize::from(*j)] = f64::from(*weight);
        }
        unit(row)
    };
    let weights: Vec<Vec<f64>> = voters.iter().enumerate().map(row).collect();
    let median = |j: usize| {
        let mut votes: Vec<(f64, f64)> =
            (0..n).filter(|i| active[*i] > 0.0).map(|i| (weights[i][j], active[i])).collect();
        votes.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut support = 0.0;
        votes
            .iter()
            .find(|(_, stake)| {
                support += stake;
                support > 32_767.0 / 65_535.0
            })
            .map_or(0.0, |vote| vote.0)
    };
    let consensus: Vec<f64> = (0..n).map(median).collect();
    let clipped: Vec<Vec<f64>> =
        weights.iter().map(|row| row.iter().zip(&consensus).map(|(w, c)| w.min(*c)).collect()).collect();
    let rank = |j: usize| (0..n).map(|i| active[i] * clipped[i][j]).sum::<f64>();
    let ranks: Vec<f64> = (0..n).map(rank).collect();
    let incentive = unit(ranks.clone());
    let dividend = |i: usize| {
        (0..n).filter(|j| ranks[*j] > 0.0).map(|j| active[i] * clipped[i][j] / ranks[j] * incentive[j]).sum()
    };
    let dividends = unit((0..n).map(dividend).collect());
    (incentive, dividends)
}

prop_compose! {
    fn voter(n: u16)(
        stake in prop_oneof![Just(0u64), 1u64..1_000_000], permit in any::<bool>(), active in any::<bool>(),
        weights in proptest::collection::btree_map(0..n, 1u16.., 0..usize::from(n)),
    ) -> Voter {
        Voter { stake, permit, active, registered: 0, updated: 5, weights: weights.into_iter().collect(), bonds: vec![] }
    }
}

proptest! {
    #[test]
    fn fixed_point_follows_the_reference(voters in vec(voter(8), 8)) {
        let shares = yuma(&voters, 1);
        let (incentive, dividends) = reference(&voters);
        for (found, right) in shares.incentive.iter().zip(incentive).chain(shares.dividends.iter().zip(dividends)) {
            prop_assert!((f64::from(*found) / 65535.0 - right).abs() < 1e-4, "{} {}", found, right);
        }
    }

    #[test]
    fn nothing_is_paid_twice(voters in vec(voter(6), 6), total in any::<u64>()) {
        let amounts = yuma(&voters, 1).divide(total);
        let sum: u128 = amounts.iter().map(|amount| u128::from(*amount)).sum();
        prop_assert!(sum <= u128::from(total));
        let staked = voters.iter().any(|voter| voter.stake > 0);
        // Rounding loses less than a ten-millionth for each neuron and one unit.
        let lost = u128::from(total) - sum;
        prop_assert!(!staked || lost <= 6 * (u128::from(total) / 10_000_000 + 1), "{} of {}", lost, total);
    }
}
