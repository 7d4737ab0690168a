//! What becomes of a client whose chain goes away.
#![expect(clippy::unwrap_used, reason = "the functions that tests share panic as tests do")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use pactum_chain::{Call, Chain, ChainError, Genesis, Wallet};
use pactum_devchain::{DevChain, DevChainConfig, Production};
use pactum_protocol::{BlockNumber, Sign, Uid};
use pactum_subtensor::{Client, ConnectError, Link};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// An address that stays while the chain behind it comes and goes: a port given back may be somebody else's at once.
struct Relay {
    url: String,
    chain: watch::Sender<Option<SocketAddr>>,
}

impl Relay {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let (chain, behind) = watch::channel(None);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, *behind.borrow()));
            }
        });
        Self { url, chain }
    }

    /// Starts the chain of this folder and stands before it.
    async fn open(&self, dir: &Path, genesis: Genesis) -> DevChain {
        let mut config = DevChainConfig::new(dir, Some(genesis));
        config.production = Production::OnDemand;
        let chain = DevChain::start(config).await.unwrap();
        self.chain.send_replace(Some(chain.local_addr()));
        chain
    }

    /// Lets nobody through any more; whoever is through stays until the chain ends it.
    fn shut(&self) {
        self.chain.send_replace(None);
    }
}

async fn pass(mut client: TcpStream, chain: Option<SocketAddr>) {
    let Some(address) = chain else { return };
    let Ok(mut chain) = TcpStream::connect(address).await else { return };
    // Either end may break off, which ends both: there is nobody to tell.
    copy_bidirectional(&mut client, &mut chain).await.unwrap_or_default();
}

fn rules() -> Genesis {
    Genesis { stake_min: 100, ..Genesis::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_wait_while_the_chain_is_away_and_go_on_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start().await;
    let chain = relay.open(dir.path(), rules()).await;
    let client = Client::connect(&relay.url, None).unwrap();
    let mut link = client.link();
    link.wait_for(|link| *link == Link::Connected).await.unwrap();
    chain.produce().await.unwrap();
    let before = client.head().await.unwrap();
    relay.shut();
    chain.close().await;
    link.wait_for(|link| matches!(link, Link::Waiting { .. })).await.unwrap();

    let asked = tokio::spawn({
        let client = client.clone();
        async move { (client.head().await, client.until(BlockNumber(3)).await) }
    });
    let chain = relay.open(dir.path(), rules()).await;
    chain.produce().await.unwrap();
    link.wait_for(|link| *link == Link::Connected).await.unwrap();
    chain.produce().await.unwrap();
    let (head, until) = asked.await.unwrap();
    assert!(head.unwrap().number >= before.number);
    assert_eq!(until.unwrap().number, BlockNumber(3));
    assert_eq!(client.block_hash(before.number).await, Ok(before.hash));
}

/// A call that was in the open block when the chain died was never confirmed; it is submitted again and counts once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_died_with_the_chain_is_submitted_again() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start().await;
    let chain = relay.open(dir.path(), rules()).await;
    let client = Client::connect(&relay.url, None).unwrap();
    let wallet = Wallet::from_seed([1; 32]);
    let registering = tokio::spawn({
        let (client, wallet) = (client.clone(), wallet.clone());
        async move { client.transact(&wallet, Call::Register).await }
    });
    // The open block counts in the nonce, which tells that the call is there.
    while client.nonce(&wallet.hotkey()).await.unwrap() == 0 {}
    relay.shut();
    drop(chain);

    let chain = relay.open(dir.path(), rules()).await;
    assert_eq!(chain.head().number, BlockNumber(0));
    while client.nonce(&wallet.hotkey()).await.unwrap() == 0 {}
    chain.produce().await.unwrap();
    assert_eq!(registering.await.unwrap(), Ok(BlockNumber(1)));
    let metagraph = client.metagraph(BlockNumber(1)).await.unwrap();
    assert_eq!(metagraph.neurons.len(), 1);
    assert_eq!(metagraph.by_uid(Uid(0)).unwrap().hotkey, wallet.hotkey());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_chain_in_the_place_of_the_first_is_an_error_that_says_so() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let relay = Relay::start().await;
    let chain = relay.open(dir.path(), rules()).await;
    let client = Client::connect(&relay.url, None).unwrap();
    let expected = client.genesis().await.unwrap().hash();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.until(BlockNumber(9)).await }
    });
    relay.shut();
    chain.close().await;

    let other = relay.open(other_dir.path(), Genesis { tempo: 7, ..Genesis::default() }).await;
    let error = waiting.await.unwrap().unwrap_err();
    let ChainError::OtherChain { expected: first, found } = &error else { panic!("{error}") };
    assert_eq!(*first, expected);
    assert_ne!(*found, expected);
    assert_eq!(client.head().await, Err(error.clone()));
    assert_eq!(*client.link().borrow(), Link::OtherChain { expected, found: *found });
    assert!(error.to_string().contains("start it with a new folder"), "{error}");

    let pinned = Client::connect(&other.url(), Some(expected)).unwrap();
    assert_eq!(pinned.head().await, Err(error));
}

#[tokio::test]
async fn addresses_of_another_kind_are_refused() {
    for url in ["http://127.0.0.1:1", "127.0.0.1:1", "ws://", "ws://a b"] {
        assert_eq!(Client::connect(url, None).unwrap_err(), ConnectError::BadUrl { url: url.into() });
    }
}
