//! A validator's judgement of a window: losses with and without each contribution, ratings, weights.

use std::collections::{BTreeMap, BTreeSet};

use pactum_protocol::{Entry, Uid, WindowPlan};
use pactum_scoring::{Evidence, Penalty, ScoreBook, ScoreLine, weights_u16};

use crate::collect::{Collected, Refusal, Refused};
use crate::node::{Node, Opening, RoundError};
use crate::ports::{Chain, Clock, JudgeJob, Learner, Ports, Receipt};
use crate::report::SubmissionReport;
use crate::settle::Whole;

type UpdateOf<P> = <<P as Ports>::Learner as Learner>::Update;

impl<P: Ports> Node<P> {
    /// Judges as many contributions as time allows and takes the window into the score book.
    pub(crate) fn score(
        &mut self,
        plan: &WindowPlan,
        opening: &Opening,
        collected: &Collected<UpdateOf<P>>,
        whole: &Whole<UpdateOf<P>>,
    ) -> Result<Vec<SubmissionReport>, RoundError> {
        let mut book = self.standing.scores.take().unwrap_or_default();
        // Of several pieces on one peer the first counts: who copies has no value, even where a manifest names the copy.
        let held = |copies: bool| collected.refused.iter().filter(move |refused| refused.is_copy() == copies);
        let mut evidence: Vec<_> = held(true).filter_map(|refused| held_against(refused, opening)).collect();
        evidence.extend(self.judge_all(plan, opening, whole, &book)?);
        evidence.extend(held(false).filter_map(|refused| held_against(refused, opening)));
        evidence.extend(self.missing(opening, collected, &evidence, &book));
        let lines = book.update(plan.window, &evidence, &self.rules.hparams.scoring);
        self.standing.scores = Some(book);
        let mut told: Vec<_> = lines.iter().filter_map(|line| told(line, whole, collected)).collect();
        told.extend(unheld(&lines, &collected.refused));
        Ok(told)
    }

    fn judge_all(
        &mut self,
        plan: &WindowPlan,
        opening: &Opening,
        whole: &Whole<UpdateOf<P>>,
        book: &ScoreBook,
    ) -> Result<Vec<Evidence>, RoundError> {
        let candidates: Vec<_> = whole.updates.iter().map(|(entry, _)| (entry.uid, entry.hotkey)).collect();
        let count = usize::try_from(self.rules.hparams.scoring.evaluations).unwrap_or(usize::MAX);
        let deadline = self.due(opening, plan.gather_by.max(plan.attest_by));
        let mut judged = BTreeMap::new();
        for uid in book.choose(&candidates, count, &whole.manifest.seed) {
            if !judged.is_empty() && self.doors.clock.now() >= deadline {
                break;
            }
            if let Some((entry, update)) = whole.updates.iter().find(|(entry, _)| entry.uid == uid) {
                judged.insert(uid, self.judge_one(plan, opening, whole, (entry, update))?);
            }
        }
        let unjudged = |(uid, hotkey): (Uid, _)| judged.remove(&uid).unwrap_or(Evidence::unjudged(uid, hotkey));
        Ok(candidates.into_iter().map(unjudged).collect())
    }

    fn judge_one(
        &mut self,
        plan: &WindowPlan,
        opening: &Opening,
        whole: &Whole<UpdateOf<P>>,
        (entry, update): (&Entry, &UpdateOf<P>),
    ) -> Result<Evidence, RoundError> {
        let job = JudgeJob { window: plan.window, uid: entry.uid, assigned: opening.seed, draw: whole.manifest.seed };
        let among: Vec<_> = whole.updates.iter().map(|(_, update)| update).collect();
        let losses = self.doors.learner.judge(&job, update, &among).map_err(RoundError::Learner)?;
        Ok(Evidence::judged(entry.uid, entry.hotkey, &losses.assigned, &losses.unassigned))
    }

    /// Those who took part before and sent nothing now that can be held for or against them.
    fn missing(
        &self,
        opening: &Opening,
        collected: &Collected<UpdateOf<P>>,
        evidence: &[Evidence],
        book: &ScoreBook,
    ) -> Vec<Evidence> {
        let mut heard: BTreeSet<_> = evidence.iter().map(|evidence| evidence.hotkey).collect();
        heard.extend(collected.accepted.iter().map(|accepted| accepted.header.hotkey));
        // Also those that hold a permit by now: a stake does not keep up what work has earned.
        let absent = opening.metagraph.neurons.iter().filter(|neuron| !heard.contains(&neuron.hotkey));
        let known = absent.filter(|neuron| book.peer(&neuron.hotkey).is_some());
        known.map(|neuron| Evidence::penalised(neuron.uid, neuron.hotkey, Penalty::Missing)).collect()
    }

    /// Sets the weights, when it is time to.
    pub(crate) async fn set_weights(
        &self,
        plan: &WindowPlan,
        opening: &Opening,
    ) -> Result<Option<Receipt>, RoundError> {
        let rules = &self.rules.hparams.scoring;
        let due = plan.window.next().0.is_multiple_of(u64::from(rules.weights_every.max(1)));
        let Some(book) = self.standing.scores.as_ref().filter(|_| due) else { return Ok(None) };
        let weights = weights_u16(&book.weights(&opening.metagraph, rules));
        if weights.is_empty() {
            return Ok(None);
        }
        self.doors.chain.set_weights(&weights).await.map(Some).map_err(RoundError::Chain)
    }
}

/// What a refusal costs whom, if it costs anything.
fn held_against(refused: &Refused, opening: &Opening) -> Option<Evidence> {
    // Only the owner of a uid can harm its name.
    opening.metagraph.by_uid(refused.uid).filter(|neuron| neuron.hotkey == refused.hotkey)?;
    let penalty = match refused.why {
        Refusal::Ineligible(why) => Penalty::of(why)?,
        Refusal::Unfetched => Penalty::Missing,
    };
    Some(Evidence::penalised(refused.uid, refused.hotkey, penalty))
}

/// Refusals of those who have no line in the score book; they are told all the same.
fn unheld(lines: &[ScoreLine], refused: &[Refused]) -> Vec<SubmissionReport> {
    let held = |refused: &&Refused| !lines.iter().any(|line| line.hotkey == refused.hotkey);
    let told = |refused: &Refused| SubmissionReport {
        uid: refused.uid,
        refused: Some(refused.why.to_string()),
        payload_bytes: refused.payload_bytes,
        loss_score: None,
        ordinal: 0.0,
        weight: 0.0,
    };
    refused.iter().filter(held).map(told).collect()
}

/// The refusals of a window in which nothing was judged.
pub(crate) fn unscored<U>(collected: &Collected<U>) -> Vec<SubmissionReport> {
    unheld(&[], &collected.refused)
}

/// A line of the score book as a line of the report; nothing for those who sent nothing.
fn told<U>(line: &ScoreLine, whole: &Whole<U>, collected: &Collected<U>) -> Option<SubmissionReport> {
    let entry = whole.updates.iter().map(|(entry, _)| entry).find(|entry| entry.hotkey == line.hotkey);
    let refused = collected.refused.iter().find(|refused| refused.hotkey == line.hotkey);
    Some(SubmissionReport {
        uid: line.uid,
        refused: entry.is_none().then(|| refused.map(|refused| refused.why.to_string())).flatten(),
        payload_bytes: entry.map(|entry| entry.bytes).or(refused.map(|refused| refused.payload_bytes))?,
        loss_score: line.loss_score,
        ordinal: line.ordinal,
        weight: line.share,
    })
}
