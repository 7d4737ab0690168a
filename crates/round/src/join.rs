//! How a node that is far behind comes in: back along the manifests to a checkpoint, then forward by replay.

use pactum_protocol::{Digest, Manifest, Want, Window, verdict};

use crate::node::{Node, RoundError};
use crate::ports::{Chain, Clock, Learner, Ports};

/// How often a node that cannot get a checkpoint looks for a newer one, each time for up to a window.
const LOOKS: u32 = 3;

/// What came of a window as a place to begin.
enum Adoption {
    /// Its checkpoint was taken over.
    Done,
    /// It has none.
    Nothing,
    /// Nobody gave what it names.
    Missing,
}

impl<P: Ports> Node<P> {
    /// Takes over the newest checkpoint that can be had, if this node is so far behind that replaying every window
    /// would take longer than that. Returns the window it now stands at.
    ///
    /// The checkpoint is trusted for its digest alone: more than half of the stake committed to it on the chain.
    ///
    /// # Errors
    /// As [`Node::advance`].
    pub async fn join(&mut self) -> Result<Window, RoundError> {
        let far = u64::from(self.rules.hparams.scoring.checkpoint_every);
        for _ in 0..LOOKS {
            let head = self.doors.chain.head().await.map_err(RoundError::Chain)?;
            let now = self.rules.schedule.window_at(head.block).unwrap_or_default();
            let is_near = now.0 <= self.standing.next.0.saturating_add(far);
            if is_near || !matches!(self.adopt_before(now).await?, Adoption::Missing) {
                break;
            }
        }
        Ok(self.standing.next)
    }

    /// Takes over the newest checkpoint before the window `now`.
    async fn adopt_before(&mut self, now: Window) -> Result<Adoption, RoundError> {
        for window in (self.standing.next.0..now.0).rev().map(Window) {
            match self.adopt(window).await? {
                Adoption::Nothing => {}
                found => return Ok(found),
            }
        }
        Ok(Adoption::Nothing)
    }

    /// Takes over the checkpoint that the manifest of `window` names, if there is one and it can be had.
    async fn adopt(&mut self, window: Window) -> Result<Adoption, RoundError> {
        let plan = self.rules.schedule.plan(window);
        let record = self.doors.chain.record(&plan).await.map_err(RoundError::Chain)?;
        let Some(digest) = verdict(window, &plan, &record) else { return Ok(Adoption::Nothing) };
        let deadline = self.doors.clock.now().after(self.rules.blocks_millis(self.rules.hparams.time.window_blocks));
        let manifest = match self.manifest(digest, &record.metagraph, deadline).await {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return Ok(Adoption::Nothing),
            Err(_) => return Ok(Adoption::Missing),
        };
        let Some(state) = checkpoint_of(&manifest, window) else { return Ok(Adoption::Nothing) };
        let bytes = self.doors.learner.checkpoint_bytes();
        let want = Want { digest: state, bytes, sources: self.sources(None, &record.metagraph) };
        let (mut blobs, _) = self.gather(vec![want], &record.metagraph, deadline).await;
        let Some(checkpoint) = blobs.remove(&state) else { return Ok(Adoption::Missing) };
        self.doors.learner.adopt(window, &checkpoint).map_err(RoundError::Learner)?;
        self.commit(window, manifest.previous)?;
        Ok(Adoption::Done)
    }
}

fn checkpoint_of(manifest: &Manifest, window: Window) -> Option<Digest> {
    manifest.checkpoint.filter(|_| manifest.window == window)
}
