//! The chain as a bystander sees it: its newest block, and who earned what.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pactum_chain::Chain;
use pactum_cli::Failure;
use pactum_protocol::BlockNumber;
use pactum_subtensor::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How many blocks pass between two looks at the emission.
const LOOK_EVERY: u64 = 8;
/// How long the last look may take.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// What the chain said last.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) block: BlockNumber,
    /// What each uid earned so far, in the chain's smallest unit.
    pub(super) emission: BTreeMap<u16, u64>,
}

/// Follows the chain until it is closed.
pub(super) struct Watch {
    client: Arc<Client>,
    facts: watch::Receiver<Facts>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(super) fn start(url: &str) -> Result<Self, Failure> {
        let client = Arc::new(Client::connect(url, None)?);
        let (sender, facts) = watch::channel(Facts::default());
        let task = tokio::spawn(follow(client.clone(), sender));
        Ok(Self { client, facts, task })
    }

    pub(super) fn facts(&self) -> Facts {
        self.facts.borrow().clone()
    }

    /// Waits for news.
    pub(super) async fn changed(&mut self) {
        if self.facts.changed().await.is_err() {
            // The follower has ended, and will not speak again.
            std::future::pending().await
        }
    }

    /// Ends following and returns what was said last, and the emission as it is now if the chain still answers.
    pub(super) async fn close(self) -> Facts {
        self.task.abort();
        let mut facts = self.facts();
        if let Ok(Some(emission)) = tokio::time::timeout(LAST_LOOK, emission(&self.client)).await {
            facts.emission = emission;
        }
        facts
    }
}

async fn emission(client: &Client) -> Option<BTreeMap<u16, u64>> {
    let emission = client.emission().await.ok()?;
    Some(emission.into_iter().map(|(uid, amount)| (uid.0, amount)).collect())
}

async fn follow(client: Arc<Client>, sender: watch::Sender<Facts>) {
    let mut next = BlockNumber(0);
    while let Ok(head) = client.until(next).await {
        next = BlockNumber(head.number.0.saturating_add(1));
        let mut facts = sender.borrow().clone();
        facts.block = head.number;
        let due = facts.emission.is_empty() || head.number.0.is_multiple_of(LOOK_EVERY);
        if due && let Some(emission) = emission(&client).await {
            facts.emission = emission;
        }
        sender.send_replace(facts);
    }
}
