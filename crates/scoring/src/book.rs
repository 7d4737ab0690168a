//! What is remembered of every peer, and how a window changes it.

use std::collections::{BTreeMap, BTreeSet};

use pactum_protocol::{Hotkey, Metagraph, ScoringRules, Uid, Window};

use crate::loss::LossScore;
use crate::penalty::{Penalty, standing};
use crate::proof::{DataProof, median, usual_gap};
use crate::rating::{Rating, rate};
use crate::weight::normalised;

#[cfg(feature = "serde")]
mod saved;
#[cfg(test)]
mod tests;

/// The most peers that are remembered; those seen longest ago are forgotten first.
const PEERS_MAX: usize = 4096;

/// How far one window's value may lie from the usual, in units of it.
const VALUE_RANGE: std::ops::RangeInclusive<f64> = -1.0..=2.0;

/// A peer that does as well as the best half with at least this probability is not held back by its rating.
const EVEN_ENOUGH: f64 = 0.3;

/// What one window showed of one peer.
///
/// Every peer that was expected to contribute should be in the list, with [`Penalty::Missing`] if it did not.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Evidence {
    /// The peer's uid.
    pub uid: Uid,
    /// Its key, by which it is remembered.
    pub hotkey: Hotkey,
    /// What is held against it.
    pub penalty: Option<Penalty>,
    /// The improvement on samples that were assigned to it, if it was judged.
    pub assigned: Option<LossScore>,
    /// The improvement on samples that were assigned to nobody, best the same ones for all peers, if it was judged.
    pub unassigned: Option<LossScore>,
}

impl Evidence {
    /// A contribution that was judged: pairs of losses (before, after) on assigned and on unassigned samples.
    #[must_use]
    pub fn judged(uid: Uid, hotkey: Hotkey, assigned: &[(f32, f32)], unassigned: &[(f32, f32)]) -> Self {
        let (assigned, unassigned) = (LossScore::from_pairs(assigned), LossScore::from_pairs(unassigned));
        Self { assigned, unassigned, ..Self::unjudged(uid, hotkey) }
    }

    /// An eligible contribution that nobody had time to judge: it changes nothing.
    #[must_use]
    pub fn unjudged(uid: Uid, hotkey: Hotkey) -> Self {
        Self { uid, hotkey, penalty: None, assigned: None, unassigned: None }
    }

    /// No contribution, or one that does not count.
    #[must_use]
    pub fn penalised(uid: Uid, hotkey: Hotkey, penalty: Penalty) -> Self {
        Self { penalty: Some(penalty), ..Self::unjudged(uid, hotkey) }
    }

    /// What the contribution is worth to the run: what it does for samples that nobody trained on.
    fn worth(&self) -> Option<LossScore> {
        self.unassigned.or(self.assigned).filter(LossScore::is_usable)
    }
}

/// What is remembered of one peer.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Peer {
    /// Its last uid.
    pub uid: Uid,
    /// Its rating over the windows' rankings.
    pub rating: Rating,
    /// The running average, begun at 0, of what its contributions were worth; 1 is what the best half's are worth.
    pub value: f64,
    /// Whether it trains on its samples.
    pub proof: DataProof,
    /// What is left of its good name, in 0..=1.
    pub standing: f64,
    /// Surely harmful contributions in a row.
    pub harmful: u32,
    /// The last window in which it was judged.
    pub judged: Option<Window>,
    /// The last window in which it was in the evidence.
    pub seen: Window,
}

impl Default for Peer {
    fn default() -> Self {
        Self::new()
    }
}

impl Peer {
    /// A stranger.
    pub(crate) fn new() -> Self {
        Self {
            uid: Uid(0),
            rating: Rating::default(),
            value: 0.0,
            proof: DataProof::default(),
            standing: 1.0,
            harmful: 0,
            judged: None,
            seen: Window(0),
        }
    }
}

/// One peer's line in the table of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ScoreLine {
    /// The peer's uid.
    pub uid: Uid,
    /// Its key.
    pub hotkey: Hotkey,
    /// What its contribution was worth in this window, if it was judged.
    pub loss_score: Option<LossScore>,
    /// The penalty that was imposed.
    pub penalty: Option<Penalty>,
    /// The rating after this window.
    pub rating: Rating,
    /// μ − 3σ of it.
    pub ordinal: f64,
    /// The running average of what its contributions were worth; 1 is what the best half's are worth.
    pub value: f64,
    /// The final score, see [`ScoreBook::scores`].
    pub score: f64,
    /// The score as a share of all in this list, in 0..=1.
    pub share: f64,
}

/// The scores of all peers by hotkey: what a validator keeps over restarts and releases.
///
/// A peer's final score is `max(0, value)^power × rating gate × data gate × standing`, where
/// - *value* is a running average, begun at 0, of its LossScores on unassigned samples, each in units of the mean of the
///   window's better half and clipped to -1..=2. Begun at 0, it makes a newcomer earn its weight;
/// - *power* (above 1) makes up for the first inner steps being worth the most: a fraction of the work brings a larger
///   fraction of the value;
/// - the *rating gate* is 1 for whoever does as well as the better half with a probability of at least 0.3, and falls
///   with the square of that probability for others;
/// - the *data gate* falls to 0 as it becomes certain that the peer does not train on its samples ([`DataProof`]);
/// - *standing* is lowered by penalties and recovers ([`Penalty`]).
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "saved::Saved", into = "saved::Saved")
)]
pub struct ScoreBook {
    scored: Option<Window>,
    peers: BTreeMap<Hotkey, Peer>,
}

impl ScoreBook {
    /// A book that knows nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is remembered of `hotkey`.
    #[must_use]
    pub fn peer(&self, hotkey: &Hotkey) -> Option<&Peer> {
        self.peers.get(hotkey)
    }

    /// The last window that was scored.
    #[must_use]
    pub fn scored(&self) -> Option<Window> {
        self.scored
    }

    /// Takes a window's evidence and returns a line for each peer in it, in the same order.
    ///
    /// Of several pieces on one peer the first counts. A window counts once: given one that is not after the last one
    /// scored, the book stays as it is.
    pub fn update(&mut self, window: Window, evidence: &[Evidence], rules: &ScoringRules) -> Vec<ScoreLine> {
        let evidence = &first_of_each(evidence)[..];
        let mut penalties: Vec<Option<Penalty>> = evidence.iter().map(|e| e.penalty).collect();
        if self.scored.is_none_or(|scored| window > scored) {
            self.scored = Some(window);
            self.admit(window, evidence);
            self.rank(evidence, rules);
            let scale = Scale::of(evidence);
            for (e, penalty) in evidence.iter().zip(&mut penalties) {
                *penalty = self.peers.entry(e.hotkey).or_default().learn(window, e, scale, rules);
            }
            self.forget();
        }
        self.lines(evidence, &penalties, rules)
    }

    /// The final score of every peer that is remembered, not normalised.
    #[must_use]
    pub fn scores(&self, rules: &ScoringRules) -> BTreeMap<Hotkey, f64> {
        let usual = usual_gap(self.peers.values().map(|peer| &peer.proof));
        let model = self.model_peer();
        let beta = f64::from(rules.rating_beta);
        let score = |peer: &Peer| {
            let rating = (peer.rating.beats(&model, beta) / EVEN_ENOUGH).min(1.0).powi(2);
            peer.value.max(0.0).powf(f64::from(rules.power)) * rating * peer.proof.gate(usual) * peer.standing
        };
        self.peers.iter().map(|(hotkey, peer)| (*hotkey, score(peer))).collect()
    }

    /// The weights of the peers that are on `metagraph` under the uid by which they are known, in uid order, with the
    /// sum 1; none if nobody has earned anything.
    #[must_use]
    pub fn weights(&self, metagraph: &Metagraph, rules: &ScoringRules) -> Vec<(Uid, f32)> {
        let scores = self.scores(rules);
        let present = metagraph.neurons.iter().filter_map(|neuron| {
            let peer = self.peers.get(&neuron.hotkey).filter(|peer| peer.uid == neuron.uid)?;
            scores.get(&neuron.hotkey).map(|score| (peer.uid, *score))
        });
        normalised(&present.collect::<Vec<_>>())
    }

    fn admit(&mut self, window: Window, evidence: &[Evidence]) {
        for e in evidence {
            let peer = self.peers.entry(e.hotkey).or_default();
            (peer.uid, peer.seen) = (e.uid, window);
        }
    }

    /// Ranks the judged by what they were worth, and the fraudulent behind all of them.
    fn rank(&mut self, evidence: &[Evidence], rules: &ScoringRules) {
        let mut places: Vec<(Hotkey, f64)> = evidence
            .iter()
            .filter_map(|e| match e.penalty {
                Some(penalty) => penalty.ranks_last().then_some((e.hotkey, f64::NEG_INFINITY)),
                None => e.worth().map(|score| (e.hotkey, score.mean)),
            })
            .collect();
        places.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut ranked: Vec<(Rating, u32)> = Vec::with_capacity(places.len());
        let mut rank = 0;
        for (at, (hotkey, worth)) in places.iter().enumerate() {
            rank += u32::from(at > 0 && places[at - 1].1 != *worth);
            ranked.push((self.peers.get(hotkey).map_or_else(Rating::default, |peer| peer.rating), rank));
        }
        for ((hotkey, _), rating) in places.iter().zip(rate(&ranked, rules)) {
            if let Some(peer) = self.peers.get_mut(hotkey) {
                peer.rating = rating;
            }
        }
    }

    /// The rating that stands for the better half of the peers.
    fn model_peer(&self) -> Rating {
        let mut ratings: Vec<Rating> = self.peers.values().filter(|p| p.judged.is_some()).map(|p| p.rating).collect();
        ratings.sort_by(|a, b| b.mu.total_cmp(&a.mu));
        ratings.truncate(ratings.len().div_ceil(2));
        ratings.get(ratings.len() / 2).copied().unwrap_or_default()
    }

    /// Forgets those seen longest ago, if there are too many.
    fn forget(&mut self) {
        while self.peers.len() > PEERS_MAX {
            let oldest = self.peers.iter().min_by_key(|(hotkey, peer)| (peer.seen, **hotkey));
            let Some(hotkey) = oldest.map(|(hotkey, _)| *hotkey) else { return };
            self.peers.remove(&hotkey);
        }
    }

    fn lines(&self, evidence: &[Evidence], penalties: &[Option<Penalty>], rules: &ScoringRules) -> Vec<ScoreLine> {
        let scores = self.scores(rules);
        let score_of = |e: &Evidence| scores.get(&e.hotkey).copied().unwrap_or(0.0);
        let sum: f64 = evidence.iter().map(score_of).sum();
        let line = |(e, penalty): (&Evidence, &Option<Penalty>)| {
            let peer = self.peer(&e.hotkey).copied().unwrap_or_default();
            let score = score_of(e);
            ScoreLine {
                uid: e.uid,
                hotkey: e.hotkey,
                loss_score: e.worth(),
                penalty: *penalty,
                rating: peer.rating,
                ordinal: peer.rating.ordinal(),
                value: peer.value,
                score,
                share: if sum > 0.0 { score / sum } else { 0.0 },
            }
        };
        evidence.iter().zip(penalties).map(line).collect()
    }
}

fn first_of_each(evidence: &[Evidence]) -> Vec<Evidence> {
    let mut seen = BTreeSet::new();
    evidence.iter().copied().filter(|e| seen.insert(e.hotkey)).collect()
}

/// What a usual contribution was worth in one window, so that all windows count alike.
#[derive(Clone, Copy, Debug)]
struct Scale(f64);

impl Scale {
    /// The mean worth of the better half of the judged, at least two typical standard errors; none if nobody was.
    fn of(evidence: &[Evidence]) -> Option<Self> {
        let fair = || evidence.iter().filter(|e| e.penalty.is_none()).filter_map(Evidence::worth);
        let mut means: Vec<f64> = fair().map(|score| score.mean).collect();
        let noise = median(&mut fair().map(|score| score.stderr).collect::<Vec<_>>())?;
        means.sort_by(|a, b| b.total_cmp(a));
        means.truncate(means.len().div_ceil(2));
        let count = u32::try_from(means.len()).ok()?;
        let usual = means.iter().sum::<f64>() / f64::from(count);
        Some(Self(usual.max(2.0 * noise).max(f64::MIN_POSITIVE)))
    }
}

impl Peer {
    /// Takes in one window and returns the penalty that was imposed.
    fn learn(&mut self, window: Window, e: &Evidence, scale: Option<Scale>, rules: &ScoringRules) -> Option<Penalty> {
        let worth = e.worth().filter(|_| e.penalty.is_none());
        if let (Some(score), Some(Scale(unit))) = (worth, scale) {
            self.judged = Some(window);
            self.average(score.mean / unit, rules);
            if let (Some(assigned), Some(unassigned)) = (e.assigned, e.unassigned) {
                self.proof.push(((assigned.mean - unassigned.mean) / unit).clamp(-10.0, 10.0));
            }
            self.harmful = if score.upper(2.0) < 0.0 { self.harmful.saturating_add(1) } else { 0 };
        }
        if e.penalty.is_some() {
            self.average(0.0, rules);
        }
        let negative = worth.is_some() && self.harmful >= Penalty::NEGATIVE_WINDOWS;
        let penalty = e.penalty.or(negative.then_some(Penalty::Negative));
        if penalty.is_some() || worth.is_some() {
            self.standing = standing(self.standing, penalty);
        }
        penalty
    }

    fn average(&mut self, value: f64, rules: &ScoringRules) {
        let newest = f64::from(rules.average);
        self.value += newest * (value.clamp(*VALUE_RANGE.start(), *VALUE_RANGE.end()) - self.value);
    }
}
