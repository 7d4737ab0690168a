//! The connection: made, followed, lost and made again.

use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::core::client::{ClientT, Subscription, SubscriptionClientT};
use jsonrpsee::rpc_params;
use jsonrpsee::ws_client::{PingConfig, WsClient, WsClientBuilder};
use pactum_chain::{ChainError, Genesis, Head, rpc};
use pactum_protocol::Digest;
use tokio::sync::watch;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const RESPONSE_BYTES_MAX: u32 = 32 << 20;

/// How things stand between a client and its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The chain does not answer; whatever is asked waits until it does.
    Waiting {
        /// Why, for people.
        reason: String,
    },
    /// The chain answers.
    Connected,
    /// Another chain answers; whatever is asked fails.
    OtherChain {
        /// The genesis hash of the chain to follow.
        expected: Digest,
        /// That of the chain that answers.
        found: Digest,
    },
}

/// What the connection's task and the clients share.
pub(crate) struct Shared {
    pub(crate) url: String,
    pub(crate) state: watch::Sender<State>,
    pub(crate) link: watch::Sender<Link>,
    /// The newest head that was told.
    pub(crate) head: watch::Sender<Option<Head>>,
}

#[derive(Clone)]
pub(crate) enum State {
    Away,
    Up(Arc<WsClient>),
    Other { expected: Digest, found: Digest },
}

impl State {
    pub(crate) fn failure(&self) -> ChainError {
        match self {
            Self::Other { expected, found } => ChainError::OtherChain { expected: *expected, found: *found },
            Self::Away | Self::Up(_) => ChainError::Closed,
        }
    }
}

impl Shared {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            state: watch::Sender::new(State::Away),
            link: watch::Sender::new(Link::Waiting { reason: "not connected yet".into() }),
            head: watch::Sender::new(None),
        }
    }

    fn away(&self, reason: String) {
        self.state.send_replace(State::Away);
        let link = Link::Waiting { reason };
        self.link.send_if_modified(|present| {
            let news = !matches!(present, Link::Waiting { .. });
            *present = link;
            news
        });
    }
}

/// Keeps the chain's connection up; ends only when another chain answers in its place.
pub(crate) async fn follow(shared: Arc<Shared>, mut genesis: Option<Digest>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match open(&shared.url).await {
            Ok(session) => {
                let expected = *genesis.get_or_insert(session.genesis);
                if expected != session.genesis {
                    let found = session.genesis;
                    // Whoever sees a call fail for this can read the same of the link.
                    shared.link.send_replace(Link::OtherChain { expected, found });
                    shared.state.send_replace(State::Other { expected, found });
                    return;
                }
                pause = FIRST_PAUSE;
                shared.away(listen(&shared, session).await);
            }
            Err(reason) => shared.away(reason),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

struct Session {
    client: Arc<WsClient>,
    genesis: Digest,
    heads: Subscription<Head>,
}

async fn open(url: &str) -> Result<Session, String> {
    let builder = WsClientBuilder::new()
        .connection_timeout(CONNECT_TIMEOUT)
        .request_timeout(REQUEST_TIMEOUT)
        .max_response_size(RESPONSE_BYTES_MAX)
        .enable_ws_ping(PingConfig::new());
    let client = builder.build(url).await.map_err(|error| error.to_string())?;
    let genesis: Genesis = client.request(rpc::GENESIS, rpc_params![]).await.map_err(|error| error.to_string())?;
    let subscribed = client.subscribe(rpc::SUBSCRIBE_HEADS, rpc_params![], rpc::UNSUBSCRIBE_HEADS).await;
    let heads = subscribed.map_err(|error| error.to_string())?;
    Ok(Session { client: Arc::new(client), genesis: genesis.hash(), heads })
}

/// Passes heads on until the connection is lost, and says why it was.
async fn listen(shared: &Shared, mut session: Session) -> String {
    shared.state.send_replace(State::Up(session.client.clone()));
    shared.link.send_replace(Link::Connected);
    loop {
        match session.heads.next().await {
            Some(Ok(head)) => {
                shared.head.send_replace(Some(head));
            }
            Some(Err(error)) => return format!("the chain's news cannot be read: {error}"),
            None => return "the connection was lost".into(),
        }
    }
}
