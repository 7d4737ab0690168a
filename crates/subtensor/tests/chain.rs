//! The same behaviour from a chain in memory and from one behind a network, a client and a disk.
#![expect(clippy::unwrap_used, reason = "the functions that tests share panic as tests do")]

use std::future::Future;
use std::net::SocketAddr;

use pactum_chain::{
    Call, Chain, ChainError, Genesis, Head, HistoryError, MemoryChain, SignedCall, Sr25519, SubmitError, Wallet,
};
use pactum_devchain::{DevChain, DevChainConfig, Production};
use pactum_protocol::{BlockNumber, Digest, Sign, Timestamp, Uid, Window, WindowPlan, verdict};
use pactum_subtensor::Client;

/// A chain with the means to make its blocks.
trait Bench {
    type Chain: Chain;

    fn chain(&self) -> &Self::Chain;

    async fn produce(&self) -> Head;

    /// Makes blocks for as long as `work` needs some.
    async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = async { self.produce().await; tokio::task::yield_now().await } => {}
            }
        }
    }

    async fn act(&self, wallet: &Wallet, call: Call) -> Result<BlockNumber, ChainError> {
        self.during(self.chain().transact(wallet, call)).await
    }
}

struct InMemory(MemoryChain);

impl Bench for InMemory {
    type Chain = MemoryChain;

    fn chain(&self) -> &MemoryChain {
        &self.0
    }

    async fn produce(&self) -> Head {
        self.0.seal(Timestamp(0))
    }
}

struct Served {
    server: DevChain,
    client: Client,
    _dir: tempfile::TempDir,
}

impl Bench for Served {
    type Chain = Client;

    fn chain(&self) -> &Client {
        &self.client
    }

    async fn produce(&self) -> Head {
        self.server.produce().await.unwrap()
    }
}

fn rules() -> Genesis {
    Genesis { tempo: 4, stake_min: 100, validators_max: 2, run: b"hparams".to_vec(), ..Genesis::default() }
}

fn memory() -> InMemory {
    InMemory(MemoryChain::new(rules(), Sr25519).unwrap())
}

async fn served() -> Served {
    let dir = tempfile::tempdir().unwrap();
    let mut config = DevChainConfig::new(dir.path(), Some(rules()));
    config.production = Production::OnDemand;
    let server = DevChain::start(config).await.unwrap();
    let client = Client::connect(&server.url(), None).unwrap();
    Served { server, client, _dir: dir }
}

macro_rules! on_both {
    ($($name:ident),*) => {
        mod in_memory {
            $(#[tokio::test] async fn $name() { super::$name(super::memory()).await })*
        }
        mod over_the_network {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::served().await).await })*
        }
    };
}

on_both!(
    heads_and_hashes,
    registration_to_emission,
    attestations_to_verdict,
    refusals_arrive_by_name,
    the_same_call_counts_once,
    concurrent_calls_of_one_key,
    waiting_for_a_block
);

fn plan(window: u64, attest_by: BlockNumber) -> WindowPlan {
    let block = attest_by;
    WindowPlan { window: Window(window), first: block, submit_by: block, attest_by, gather_by: block, end: block }
}

async fn heads_and_hashes(bench: impl Bench) {
    let chain = bench.chain();
    let genesis = chain.genesis().await.unwrap();
    assert_eq!((genesis.tempo, genesis.run.as_slice()), (4, &b"hparams"[..]));
    let first = chain.head().await.unwrap();
    assert_eq!((first.number, first.hash), (BlockNumber(0), genesis.hash()));
    assert_eq!(chain.block_hash(BlockNumber(0)).await, Ok(genesis.hash()));
    for number in 1..=3 {
        let head = bench.produce().await;
        assert_eq!(head.number, BlockNumber(number));
        assert_eq!(chain.head().await, Ok(head));
        assert_eq!(chain.block_hash(head.number).await, Ok(head.hash));
    }
    let not_yet = HistoryError::NotYet { block: BlockNumber(4), head: BlockNumber(3) };
    assert_eq!(chain.block_hash(BlockNumber(4)).await, Err(not_yet.into()));
    assert_eq!(chain.metagraph(BlockNumber(4)).await, Err(not_yet.into()));
    assert_eq!(chain.record(&plan(0, BlockNumber(4))).await, Err(not_yet.into()));
}

async fn registration_to_emission(bench: impl Bench) {
    let chain = bench.chain();
    let (validator, miner) = (Wallet::from_seed([1; 32]), Wallet::from_seed([2; 32]));
    let address: SocketAddr = "[::1]:4000".parse().unwrap();
    bench.act(&validator, Call::Register).await.unwrap();
    let block = bench.act(&miner, Call::Register).await.unwrap();
    assert_eq!(bench.act(&miner, Call::Register).await, Ok(block));
    bench.act(&validator, Call::AddStake { amount: 500 }).await.unwrap();
    let served = bench.act(&miner, Call::ServeAddress { address }).await.unwrap();

    let metagraph = chain.metagraph(served).await.unwrap();
    let facts: Vec<_> = metagraph.neurons.iter().map(|n| (n.uid.0, n.hotkey, n.stake, n.permit, n.address)).collect();
    assert_eq!(facts[0], (0, validator.hotkey(), 500, true, None));
    assert_eq!(facts[1], (1, miner.hotkey(), 0, false, Some(address)));

    let weights = vec![(Uid(1), 7)];
    bench.act(&validator, Call::SetWeights { weights, version: 0 }).await.unwrap();
    assert_eq!(chain.weights().await.unwrap()[&Uid(0)], [(Uid(1), 65535)]);
    let before = chain.emission().await.unwrap();
    for _ in 0..4 {
        bench.produce().await;
    }
    let after = chain.emission().await.unwrap();
    assert!(after[&Uid(1)] > before[&Uid(1)]);
    assert_eq!(after[&Uid(1)] - before[&Uid(1)], after[&Uid(0)] - before[&Uid(0)]);
}

async fn validators(bench: &impl Bench) -> [Wallet; 2] {
    let wallets = [Wallet::from_seed([1; 32]), Wallet::from_seed([2; 32])];
    for (wallet, amount) in wallets.iter().zip([300, 200]) {
        bench.act(wallet, Call::Register).await.unwrap();
        bench.act(wallet, Call::AddStake { amount }).await.unwrap();
    }
    wallets
}

fn attest(window: u64, manifest: u8) -> Call {
    Call::Attest { window: Window(window), manifest: Digest([manifest; 32]) }
}

async fn attestations_to_verdict(bench: impl Bench) {
    let [one, two] = validators(&bench).await;
    let first = bench.act(&one, attest(0, 5)).await.unwrap();
    assert_eq!(bench.act(&one, attest(0, 5)).await, Ok(first));
    let second = bench.act(&two, attest(0, 5)).await.unwrap();
    let plan = plan(0, second);
    let record = bench.chain().record(&plan).await.unwrap();
    let found: Vec<_> = record.attestations.iter().map(|a| (a.uid.0, a.hotkey, a.block)).collect();
    assert_eq!(found, [(0, one.hotkey(), first), (1, two.hotkey(), second)]);
    assert_eq!(verdict(Window(0), &plan, &record), Some(Digest([5; 32])));
}

async fn refusals_arrive_by_name(bench: impl Bench) {
    let chain = bench.chain();
    let [one, _] = validators(&bench).await;
    let block = bench.act(&one, attest(0, 5)).await.unwrap();
    let refused = |error: SubmitError| Err(ChainError::Refused(error));
    let before = SubmitError::AlreadyAttested { manifest: Digest([5; 32]), block };
    assert_eq!(chain.transact(&one, attest(0, 6)).await, refused(before));
    let stranger = Wallet::generate();
    assert_eq!(chain.transact(&stranger, attest(0, 5)).await, refused(SubmitError::NotRegistered));
    let poor = chain.transact(&one, Call::AddStake { amount: u64::MAX }).await;
    assert!(matches!(poor, Err(ChainError::Refused(SubmitError::NotEnoughBalance { needed: u64::MAX, .. }))));

    let genesis = chain.block_hash(BlockNumber(0)).await.unwrap();
    let mut forged = SignedCall::sign(genesis, 0, Call::Register, &stranger);
    forged.signature.0[0] ^= 1;
    assert_eq!(chain.submit(&forged).await, refused(SubmitError::BadSignature));
    let foreign = SignedCall::sign(Digest::ZERO, 0, Call::Register, &stranger);
    assert_eq!(chain.submit(&foreign).await, refused(SubmitError::OtherChain { expected: genesis }));
    let early = SignedCall::sign(genesis, 1, Call::Register, &stranger);
    assert_eq!(chain.submit(&early).await, refused(SubmitError::WrongNonce { expected: 0 }));
}

async fn the_same_call_counts_once(bench: impl Bench) {
    let chain = bench.chain();
    let [one, _] = validators(&bench).await;
    let genesis = chain.block_hash(BlockNumber(0)).await.unwrap();
    let nonce = chain.nonce(&one.hotkey()).await.unwrap();
    let call = SignedCall::sign(genesis, nonce, Call::AddStake { amount: 50 }, &one);
    let (first, second) = bench.during(async { tokio::join!(chain.submit(&call), chain.submit(&call)) }).await;
    assert_eq!(first, second);
    assert_eq!(bench.during(chain.submit(&call)).await, first);
    let metagraph = chain.metagraph(first.unwrap()).await.unwrap();
    assert_eq!(metagraph.by_uid(Uid(0)).unwrap().stake, 350);
}

async fn concurrent_calls_of_one_key(bench: impl Bench) {
    let chain = bench.chain();
    let [one, _] = validators(&bench).await;
    let stake = |amount| chain.transact(&one, Call::AddStake { amount });
    let (a, b, c) = bench.during(async { tokio::join!(stake(1), stake(10), stake(100)) }).await;
    let newest = [a, b, c].map(|block| block.unwrap()).into_iter().max().unwrap();
    assert_eq!(chain.metagraph(newest).await.unwrap().by_uid(Uid(0)).unwrap().stake, 411);
}

async fn waiting_for_a_block(bench: impl Bench) {
    let head = bench.during(bench.chain().until(BlockNumber(5))).await.unwrap();
    assert!(head.number >= BlockNumber(5));
    let past = bench.chain().until(BlockNumber(2)).await.unwrap();
    assert!(past.number >= BlockNumber(5));
}
