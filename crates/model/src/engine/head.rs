//! The last norm, the head and the loss, in chunks of tokens: logits of tokens × vocabulary are never held whole.

use super::Pass;
use super::buffers::Work;
use crate::executor::Tokens;
use crate::kernel::{loss, maximum, norm};

/// Tokens whose logits are held at once.
pub(super) fn chunk(vocab: usize) -> usize {
    // About 4 MiB of logits, but at least 256 tokens for the products' sake, and never more than 128 MiB.
    ((1 << 20) / vocab).max(256).min(((1 << 25) / vocab).max(16))
}

impl Pass<'_> {
    /// The stream, normed for the head.
    pub(super) fn last_norm(&self, work: &mut Work) {
        let size = self.tokens * self.config.width;
        let weight = &self.parameters[self.layout.norm.clone()];
        let (normed, stream) = (&mut work.normed[..size], &work.stream[..size]);
        norm::Forward { x: stream, weight, eps: self.config.norm_eps }.run(self.team, normed, &mut work.scales);
    }

    /// Loss of each token into `work.losses`, and into `likeliest`, where it is wanted, whether no other token was likelier.
    pub(super) fn losses(&self, work: &mut Work, batch: &Tokens<'_>, mut likeliest: Option<&mut Vec<bool>>) {
        self.targets(work, batch);
        let (width, vocab) = (self.config.width, self.config.vocab);
        let chunk = chunk(vocab);
        let rows = work.normed[..self.tokens * width].chunks(chunk * width).zip(work.targets.chunks(chunk));
        for ((normed, targets), losses) in rows.zip(work.losses.chunks_mut(chunk)) {
            let logits = &mut work.logits[..targets.len() * vocab];
            self.layout.head.forward(self, logits, normed, false);
            if let Some(likeliest) = &mut likeliest {
                let rows = logits.chunks_exact(vocab).zip(targets);
                likeliest.extend(rows.map(|(row, &target)| row[target as usize] >= maximum(row)));
            }
            loss::rows(self.team, logits, targets, &mut losses[..targets.len()], None);
        }
    }

    /// Logits of the last token alone.
    pub(super) fn last_logits(&self, work: &mut Work, logits: &mut [f32]) {
        let width = self.config.width;
        let normed = &work.normed[(self.tokens - 1) * width..self.tokens * width];
        self.layout.head.forward(self, logits, normed, false);
    }

    /// Losses into `work.losses`; gradients, times `scale`, by the stream into `work.slope` and by norm and head.
    pub(super) fn head_backward(&self, work: &mut Work, batch: &Tokens<'_>, gradient: &mut [f32], scale: f32) {
        self.targets(work, batch);
        let (width, vocab) = (self.config.width, self.config.vocab);
        let (chunk, size) = (chunk(vocab), self.tokens * width);
        let head = &self.layout.head;
        let rows = work.normed[..size].chunks(chunk * width).zip(work.back[..size].chunks_mut(chunk * width));
        let rows = rows.zip(work.targets.chunks(chunk).zip(work.losses.chunks_mut(chunk)));
        for ((normed, back), (targets, losses)) in rows {
            let logits = &mut work.logits[..targets.len() * vocab];
            head.forward(self, logits, normed, false);
            loss::rows(self.team, logits, targets, &mut losses[..targets.len()], Some(scale));
            head.backward(self, back, logits);
            head.gain(self, gradient, logits, normed);
        }
        self.last_norm_backward(work, gradient);
    }

    fn last_norm_backward(&self, work: &mut Work, gradient: &mut [f32]) {
        let size = self.tokens * self.config.width;
        work.slope[..size].fill(0.0);
        let norm = norm::Backward {
            x: &work.stream[..size],
            scales: &work.scales[..self.tokens],
            weight: &self.parameters[self.layout.norm.clone()],
            normed: &mut work.back[..size],
            stream: &mut work.slope[..size],
            weight_gradient: &mut gradient[self.layout.norm.clone()],
            partial: &mut work.partial,
        };
        norm.run(self.team);
    }

    fn targets(&self, work: &mut Work, batch: &Tokens<'_>) {
        work.targets.clear();
        work.targets.extend(batch.ids.chunks_exact(batch.columns).flat_map(|row| &row[1..]));
    }
}
