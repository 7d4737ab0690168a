//! OpenSkill: a rating from rankings alone, by the Plackett-Luce model.
//!
//! Weng and Lin, "A Bayesian Approximation Method for Online Ranking", JMLR 12 (2011), algorithm 4, for teams of one.

use pactum_protocol::ScoringRules;

#[cfg(test)]
mod tests;

/// The smallest factor by which one update may shrink a variance.
const KAPPA: f64 = 1e-4;

/// What is believed of a peer's skill: normally distributed around `mu`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rating {
    /// The mean.
    pub mu: f64,
    /// The standard deviation, above 0.
    pub sigma: f64,
}

impl Default for Rating {
    /// What is believed of a stranger: 25 ± 25/3.
    fn default() -> Self {
        Self { mu: 25.0, sigma: 25.0 / 3.0 }
    }
}

impl Rating {
    /// What the skill very probably exceeds: μ − 3σ.
    #[must_use]
    pub fn ordinal(&self) -> f64 {
        self.mu - 3.0 * self.sigma
    }

    /// The probability that the one does better than the `other` in one window, by the Plackett-Luce model.
    #[must_use]
    pub fn beats(&self, other: &Self, beta: f64) -> f64 {
        let c = (self.sigma.powi(2) + other.sigma.powi(2) + 2.0 * beta.powi(2)).sqrt();
        1.0 / (1.0 + ((other.mu - self.mu) / c).exp())
    }

    /// The rating with every number in its range, for what was read from a file.
    #[cfg(feature = "serde")]
    pub(crate) fn sanitised(self) -> Self {
        let sound = self.mu.is_finite() && self.sigma.is_finite() && self.sigma > 0.0;
        if sound { Self { mu: self.mu.clamp(-1e4, 1e4), sigma: self.sigma.clamp(1e-6, 1e4) } } else { Self::default() }
    }
}

/// The ratings after one window's ranking.
///
/// `ranked` holds each peer's rating before the window and its rank; lower ranks are better, equal ranks are a tie, and
/// only their order counts. Of `rules`, `rating_beta` and `rating_tau` are used. A ranking of fewer than two peers
/// tells nothing and changes nothing.
#[must_use]
pub fn rate(ranked: &[(Rating, u32)], rules: &ScoringRules) -> Vec<Rating> {
    if ranked.len() < 2 {
        return ranked.iter().map(|(rating, _)| *rating).collect();
    }
    let (beta, tau) = (f64::from(rules.rating_beta), f64::from(rules.rating_tau));
    let players: Vec<Player> = ranked.iter().map(|(rating, rank)| Player::new(rating, *rank, tau)).collect();
    let c = players.iter().map(|player| player.variance + beta * beta).sum::<f64>().sqrt();
    let terms: Vec<Term> = players.iter().map(|player| Term::of(player, &players, c)).collect();
    players.iter().enumerate().map(|(index, player)| player.updated(index, &terms, c)).collect()
}

struct Player {
    mu: f64,
    variance: f64,
    rank: u32,
}

/// What the choice of the peers of one rank contributes to everybody's update.
struct Term {
    rank: u32,
    /// Peers with this rank.
    ties: f64,
    /// Σ exp((μ_s − max μ)/c) over the peers s that are not ranked before.
    sum: f64,
    /// The largest μ: taken off every exponent, so that none overflows.
    top: f64,
}

impl Term {
    fn of(player: &Player, players: &[Player], c: f64) -> Self {
        let rank = player.rank;
        let top = players.iter().map(|other| other.mu).fold(f64::NEG_INFINITY, f64::max);
        let behind = players.iter().filter(|other| other.rank >= rank);
        let sum = behind.map(|other| ((other.mu - top) / c).exp()).sum();
        let ties = players.iter().filter(|other| other.rank == rank).map(|_| 1.0).sum();
        Self { rank, ties, sum, top }
    }
}

impl Player {
    fn new(rating: &Rating, rank: u32, tau: f64) -> Self {
        Self { mu: rating.mu, variance: rating.sigma.powi(2) + tau * tau, rank }
    }

    fn updated(&self, index: usize, terms: &[Term], c: f64) -> Rating {
        let (mut omega, mut delta) = (0.0, 0.0);
        for (at, term) in terms.iter().enumerate().filter(|(_, term)| term.rank <= self.rank) {
            let chosen = ((self.mu - term.top) / c).exp() / term.sum;
            let own = if at == index { 1.0 } else { 0.0 };
            omega += (own - chosen) / term.ties;
            delta += chosen * (1.0 - chosen) / term.ties;
        }
        let gamma = self.variance.sqrt() / c;
        let shrink = (1.0 - gamma * delta * self.variance / (c * c)).max(KAPPA);
        Rating { mu: self.mu + omega * self.variance / c, sigma: (self.variance * shrink).sqrt() }
    }
}
