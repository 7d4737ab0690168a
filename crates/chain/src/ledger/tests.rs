use std::net::SocketAddr;

use pactum_protocol::{Sign, Signature, WindowPlan, verdict};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::call::Call;

/// A key whose signatures are cheap: a digest of key and message.
#[derive(Clone, Copy)]
struct Key(u8);

struct Cheap;

impl Sign for Key {
    fn hotkey(&self) -> Hotkey {
        Hotkey([self.0; 32])
    }

    fn sign(&self, message: &[u8]) -> Signature {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&Digest::of(&[&[self.0; 32], message].concat()).0);
        Signature(signature)
    }
}

impl Verify for Cheap {
    fn verify(&self, hotkey: &Hotkey, message: &[u8], signature: &Signature) -> bool {
        Key(hotkey.0[0]).sign(message) == *signature
    }
}

fn rules() -> Genesis {
    Genesis {
        tempo: 5,
        uids_max: 4,
        validators_max: 2,
        stake_min: 100,
        faucet: 1000,
        emission: 1001,
        ..Genesis::default()
    }
}

fn ledger(genesis: Genesis) -> Ledger {
    Ledger::new(Genesis { immunity: 3, weights_rate: 4, ..genesis }).unwrap()
}

fn sign(ledger: &Ledger, key: Key, call: Call) -> SignedCall {
    SignedCall::sign(ledger.genesis_hash(), ledger.nonce(&key.hotkey()), call, &key)
}

fn act(ledger: &mut Ledger, key: u8, call: Call) -> Result<BlockNumber, SubmitError> {
    let call = sign(ledger, Key(key), call);
    ledger.apply(&call, &Cheap)
}

fn seal(ledger: &mut Ledger) -> BlockNumber {
    ledger.seal_block(Timestamp(0)).header.number
}

fn seal_to(ledger: &mut Ledger, block: u64) {
    while ledger.head().number.0 < block {
        seal(ledger);
    }
}

fn stake(amount: u64) -> Call {
    Call::AddStake { amount }
}

fn attest(window: u64, manifest: u8) -> Call {
    Call::Attest { window: Window(window), manifest: Digest([manifest; 32]) }
}

fn weigh(weights: &[(u16, u16)]) -> Call {
    Call::SetWeights { weights: weights.iter().map(|(uid, weight)| (Uid(*uid), *weight)).collect(), version: 0 }
}

/// Keys 1 and 2 are validators with 300 and 200, key 3 a miner; block 1 is sealed.
fn populated() -> Ledger {
    let mut ledger = ledger(rules());
    for key in 1..=3 {
        act(&mut ledger, key, Call::Register).unwrap();
    }
    act(&mut ledger, 1, stake(300)).unwrap();
    act(&mut ledger, 2, stake(200)).unwrap();
    seal(&mut ledger);
    ledger
}

#[test]
fn registration_stake_and_address_show_in_the_metagraph_once_sealed() {
    let mut ledger = populated();
    let address: SocketAddr = "127.0.0.1:4000".parse().unwrap();
    act(&mut ledger, 3, Call::ServeAddress { address }).unwrap();
    let before = ledger.metagraph_at(BlockNumber(1)).unwrap();
    assert_eq!(before.by_uid(Uid(2)).unwrap().address, None);
    seal(&mut ledger);
    let after = ledger.metagraph_at(BlockNumber(2)).unwrap();
    assert_eq!(after.by_uid(Uid(2)).unwrap().address, Some(address));
    assert_eq!(ledger.metagraph_at(BlockNumber(1)), Ok(before));
    let facts: Vec<_> = after.neurons.iter().map(|n| (n.hotkey.0[0], n.stake, n.permit, n.registered.0)).collect();
    assert_eq!(facts, [(1, 300, true, 1), (2, 200, true, 1), (3, 0, false, 1)]);
    assert_eq!(ledger.metagraph_at(BlockNumber(0)).unwrap().neurons, []);
}

#[test]
fn every_refusal_has_its_reason_and_changes_nothing() {
    use SubmitError as E;
    let mut ledger = populated();
    act(&mut ledger, 1, attest(7, 1)).unwrap();
    let mut check = |key: u8, call: Call, expected: SubmitError| {
        let before = ledger.snapshot();
        assert_eq!(act(&mut ledger, key, call), Err(expected));
        assert_eq!(ledger.snapshot(), before);
    };
    check(1, Call::Register, E::AlreadyRegistered { uid: Uid(0), block: BlockNumber(1) });
    check(9, stake(1), E::NotRegistered);
    check(3, stake(0), E::NoAmount);
    check(1, stake(701), E::NotEnoughBalance { balance: 700, needed: 701 });
    for address in ["0.0.0.0:1", "10.0.0.1:0", "224.0.0.1:1", "255.255.255.255:1", "[::]:5"] {
        check(3, Call::ServeAddress { address: address.parse().unwrap() }, E::BadAddress);
    }
    check(9, Call::ServeAddress { address: ([10, 0, 0, 1], 1).into() }, E::NotRegistered);
    check(9, attest(1, 1), E::NotRegistered);
    check(3, attest(1, 1), E::NoPermit);
    check(1, attest(7, 2), E::AlreadyAttested { manifest: Digest([1; 32]), block: BlockNumber(2) });
    check(1, attest(6, 1), E::OutOfOrder { newest: Window(7) });
    check(1, attest(8, 1), E::OutOfOrder { newest: Window(7) });
    check(9, weigh(&[(2, 1)]), E::NotRegistered);
    check(3, weigh(&[(2, 1)]), E::NotEnoughStake { stake: 0, least: 100 });
    check(1, weigh(&[]), E::NoWeights);
    check(1, weigh(&[(2, 0)]), E::NoWeights);
    check(1, weigh(&[(3, 1)]), E::UnknownUid { uid: Uid(3) });
    check(1, weigh(&[(2, 1), (1, 1), (2, 0)]), E::DuplicateUid { uid: Uid(2) });
    check(1, weigh(&[(0, 1); 5]), E::TooManyWeights { limit: 4 });
    check(1, weigh(&[(2, 1)]), E::TooSoon { next: BlockNumber(5) });
}

#[test]
fn loopback_addresses_and_old_weights_are_refused_where_the_genesis_says_so() {
    let mut ledger = ledger(Genesis { loopback: false, weights_version: 3, ..rules() });
    act(&mut ledger, 1, Call::Register).unwrap();
    act(&mut ledger, 1, stake(500)).unwrap();
    let serve = |ip: [u8; 4]| Call::ServeAddress { address: (ip, 80).into() };
    assert_eq!(act(&mut ledger, 1, serve([127, 0, 0, 1])), Err(SubmitError::BadAddress));
    assert_eq!(act(&mut ledger, 1, serve([10, 0, 0, 1])), Ok(BlockNumber(1)));
    seal_to(&mut ledger, 10);
    assert_eq!(act(&mut ledger, 1, weigh(&[(0, 1)])), Err(SubmitError::OldVersion { least: 3 }));
}

#[test]
fn forged_foreign_and_replayed_calls_are_refused() {
    let mut ledger = populated();
    let call = sign(&ledger, Key(1), stake(1));
    let forged = SignedCall { hotkey: Key(2).hotkey(), ..call.clone() };
    assert_eq!(ledger.apply(&forged, &Cheap), Err(SubmitError::BadSignature));
    let foreign = SignedCall::sign(Digest([5; 32]), call.nonce, stake(1), &Key(1));
    assert_eq!(ledger.apply(&foreign, &Cheap), Err(SubmitError::OtherChain { expected: ledger.genesis_hash() }));
    assert_eq!(ledger.apply(&call, &Cheap), Ok(BlockNumber(2)));
    seal(&mut ledger);
    assert_eq!(ledger.apply(&call, &Cheap), Err(SubmitError::AlreadyIncluded { block: BlockNumber(2) }));
    act(&mut ledger, 1, stake(2)).unwrap();
    assert_eq!(ledger.apply(&call, &Cheap), Err(SubmitError::WrongNonce { expected: 4 }));
    let early = SignedCall::sign(ledger.genesis_hash(), 9, stake(1), &Key(1));
    assert_eq!(ledger.apply(&early, &Cheap), Err(SubmitError::WrongNonce { expected: 4 }));
}

#[test]
fn a_full_chain_replaces_its_least_earning_neuron_and_none_of_its_calls_works_again() {
    let mut ledger = populated();
    act(&mut ledger, 4, Call::Register).unwrap();
    let old = sign(&ledger, Key(4), stake(5));
    assert_eq!(act(&mut ledger, 5, Call::Register), Err(SubmitError::Full));
    seal_to(&mut ledger, 4);
    act(&mut ledger, 1, weigh(&[(2, 3), (3, 1)])).unwrap();
    act(&mut ledger, 2, weigh(&[(2, 3), (3, 1)])).unwrap();
    seal_to(&mut ledger, 6);
    ledger.apply(&old, &Cheap).unwrap();
    act(&mut ledger, 4, stake(6)).unwrap();

    act(&mut ledger, 5, Call::Register).unwrap();
    seal(&mut ledger);
    let metagraph = ledger.metagraph_at(BlockNumber(7)).unwrap();
    assert_eq!(metagraph.by_uid(Uid(3)).unwrap().hotkey, Key(5).hotkey());
    assert_eq!(ledger.weights()[&Uid(0)], [(Uid(2), 65535)]);
    assert!(ledger.forfeited() > 0);
    // The key that was replaced begins above its last nonce, so no old call of it can be played back.
    assert_eq!(ledger.apply(&old, &Cheap), Err(SubmitError::WrongNonce { expected: 3 }));
    assert_eq!(ledger.nonce(&Key(4).hotkey()), 3);
    assert_eq!(ledger.nonce(&Key(99).hotkey()), 3);
}

#[test]
fn the_record_leads_to_the_verdict() {
    let mut ledger = populated();
    act(&mut ledger, 1, attest(0, 1)).unwrap();
    act(&mut ledger, 2, attest(0, 2)).unwrap();
    seal(&mut ledger);
    act(&mut ledger, 2, attest(1, 2)).unwrap();
    seal(&mut ledger);
    act(&mut ledger, 1, attest(1, 2)).unwrap();
    seal(&mut ledger);
    let plan = |window: u64, block: u64| {
        let block = BlockNumber(block);
        WindowPlan {
            window: Window(window),
            first: block,
            submit_by: block,
            attest_by: block,
            gather_by: block,
            end: block,
        }
    };
    let check = |window: u64, at: u64, expected: Option<u8>, known: usize| {
        let record = ledger.record(Window(window), BlockNumber(at)).unwrap();
        assert_eq!(record.attestations.len(), known);
        let found = verdict(Window(window), &plan(window, at), &record);
        assert_eq!(found, expected.map(|byte| Digest([byte; 32])));
    };
    check(0, 1, None, 0);
    check(0, 2, Some(1), 2);
    check(1, 3, None, 3);
    check(1, 4, Some(2), 4);
    check(9, 4, None, 2);
    let error = ledger.record(Window(1), BlockNumber(5));
    assert_eq!(error, Err(HistoryError::NotYet { block: BlockNumber(5), head: BlockNumber(4) }));
}

#[test]
fn history_and_memory_are_bounded() {
    let mut ledger = populated();
    let serve = |port: u16| Call::ServeAddress { address: ([127, 0, 0, 1], port).into() };
    for port in 1..=1100 {
        act(&mut ledger, 3, serve(port)).unwrap();
        seal(&mut ledger);
    }
    let oldest = BlockNumber(1101 - 1024 + 1);
    let asked = BlockNumber(oldest.0 - 1);
    assert_eq!(ledger.metagraph_at(asked), Err(HistoryError::Forgotten { block: asked, oldest }));
    let port = |block: BlockNumber| ledger.metagraph_at(block).unwrap().neurons[2].address.unwrap().port();
    assert_eq!((port(oldest), port(BlockNumber(1101))), (77, 1100));
}

#[test]
fn a_block_takes_no_more_than_its_fill_of_calls() {
    let mut ledger = populated();
    for _ in 0..BLOCK_CALLS_MAX {
        act(&mut ledger, 3, Call::ServeAddress { address: ([127, 0, 0, 1], 1).into() }).unwrap();
    }
    assert_eq!(act(&mut ledger, 3, attest(1, 1)), Err(SubmitError::BlockFull));
    assert_eq!(ledger.seal_block(Timestamp(0)).calls.len(), BLOCK_CALLS_MAX);
    assert_eq!(act(&mut ledger, 3, attest(1, 1)), Err(SubmitError::NoPermit));
}

#[test]
fn time_never_goes_back() {
    let mut ledger = ledger(rules().at(Timestamp(1000)));
    let times: Vec<u64> =
        [5, 2000, 1500, 2001, 9000].map(|time| ledger.seal_block(Timestamp(time)).header.time.0).to_vec();
    assert_eq!(times, [1001, 2000, 2001, 2002, 9000]);
}

#[test]
fn permits_follow_stake_and_go_with_it() {
    let mut ledger = populated();
    act(&mut ledger, 3, stake(250)).unwrap();
    seal(&mut ledger);
    let permits = |ledger: &Ledger| {
        let metagraph = ledger.metagraph_at(ledger.head().number).unwrap();
        metagraph.neurons.iter().map(|neuron| neuron.permit).collect::<Vec<_>>()
    };
    assert_eq!(permits(&ledger), [true, false, true]);
    act(&mut ledger, 2, stake(50)).unwrap();
    seal(&mut ledger);
    assert_eq!(permits(&ledger), [true, true, false]);
}

#[test]
fn damaged_snapshots_and_blocks_are_refused() {
    let mut ledger = populated();
    let snapshot = ledger.snapshot();
    let other = Genesis { tempo: 6, ..ledger.genesis().clone() };
    assert_eq!(Ledger::restore(other, &snapshot).unwrap_err(), SnapshotError);
    assert_eq!(Ledger::restore(ledger.genesis().clone(), &snapshot[1..]).unwrap_err(), SnapshotError);
    let mut copy = ledger.clone();
    act(&mut ledger, 1, stake(1)).unwrap();
    let mut block = ledger.seal_block(Timestamp(5));
    block.header.parent = Digest([0; 32]);
    let differs = ReplayError::Differs { number: BlockNumber(2) };
    assert_eq!(copy.replay(&block, &Cheap), Err(differs));
}

#[derive(Clone, Debug)]
enum Deed {
    Act(u8, Call),
    Replay(usize),
    Seal(u64),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        3 => Just(Call::Register),
        3 => (0u64..600).prop_map(stake),
        1 => (0u16..3).prop_map(|port| Call::ServeAddress { address: ([127, 0, 0, 1], port).into() }),
        3 => (0u64..6, any::<u8>()).prop_map(|(window, manifest)| attest(window, manifest)),
        3 => vec((0u16..5, 0u16..4), 0..4).prop_map(|weights| weigh(&weights)),
    ]
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        6 => (1u8..8, call()).prop_map(|(key, call)| Deed::Act(key, call)),
        1 => any::<usize>().prop_map(Deed::Replay),
        3 => (0u64..100_000).prop_map(Deed::Seal),
    ];
    vec(deed, 1..120)
}

/// Carries the deeds out and checks, at each, that what is refused changes nothing. Returns the blocks.
fn carry_out(ledger: &mut Ledger, deeds: &[Deed]) -> Vec<Block> {
    let (mut blocks, mut taken) = (Vec::new(), Vec::<SignedCall>::new());
    for deed in deeds {
        let before = ledger.snapshot();
        match deed {
            Deed::Act(key, call) => {
                let call = sign(ledger, Key(*key), call.clone());
                match ledger.apply(&call, &Cheap) {
                    Ok(_) => taken.push(call),
                    Err(_) => assert_eq!(ledger.snapshot(), before),
                }
            }
            Deed::Replay(at) if !taken.is_empty() => {
                assert!(ledger.apply(&taken[at % taken.len()], &Cheap).is_err());
                assert_eq!(ledger.snapshot(), before);
            }
            Deed::Replay(_) => {}
            Deed::Seal(time) => blocks.push(ledger.seal_block(Timestamp(*time))),
        }
    }
    blocks.push(ledger.seal_block(Timestamp(0)));
    blocks
}

proptest! {
    #[test]
    fn all_that_is_emitted_is_somewhere(deeds in deeds()) {
        let mut ledger = ledger(rules());
        let blocks = carry_out(&mut ledger, &deeds);
        let earned: u64 = ledger.emission().values().sum();
        let number = ledger.head().number.0;
        prop_assert_eq!(number, blocks.len() as u64);
        prop_assert_eq!(earned + ledger.undistributed() + ledger.forfeited(), number * ledger.genesis().emission);
    }

    #[test]
    fn blocks_lead_to_the_same_state_from_the_start_and_from_any_snapshot(deeds in deeds(), cut in any::<usize>()) {
        let mut first = ledger(rules());
        let genesis = first.genesis().clone();
        let blocks = carry_out(&mut first, &deeds);
        let mut second = Ledger::new(genesis.clone()).unwrap();
        let cut = cut % blocks.len();
        for (number, block) in blocks.iter().enumerate() {
            if number == cut {
                second = Ledger::restore(genesis.clone(), &second.snapshot()).unwrap();
            }
            let block = Block::decode(&block.encode()).unwrap();
            second.replay(&block, &Cheap).unwrap();
        }
        prop_assert_eq!(second.snapshot(), first.snapshot());
        prop_assert_eq!(second.head(), first.head());
    }

    /// Within a block, the order of calls of different registered keys does not matter to anything but its hash.
    #[test]
    fn calls_of_different_keys_commute(one in call(), other in call()) {
        let [forward, backward] = [[(1, &one), (2, &other)], [(2, &other), (1, &one)]].map(|order| {
            let mut ledger = populated();
            seal_to(&mut ledger, 6);
            for (key, call) in order {
                // Whether it is refused does not depend on the order either, as the equal results show.
                drop(act(&mut ledger, key, call.clone()));
            }
            seal_to(&mut ledger, 10);
            let head = ledger.head().number;
            let mut record = ledger.record(Window(5), head).unwrap();
            record.attestations.sort_by_key(|attestation| attestation.uid);
            (record, ledger.weights(), ledger.emission(), [1, 2].map(|key| ledger.nonce(&Key(key).hotkey())))
        });
        prop_assert_eq!(forward, backward);
    }
}
