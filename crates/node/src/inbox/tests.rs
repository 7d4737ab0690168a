use pactum_protocol::{Draft, Header, Sign, Signature, Time, Uid, VERSION};

use super::*;

/// Signs with nothing: the inbox leaves signatures to the round.
struct Unsigned(Hotkey);

impl Sign for Unsigned {
    fn hotkey(&self) -> Hotkey {
        self.0
    }

    fn sign(&self, _message: &[u8]) -> Signature {
        Signature([0; 64])
    }
}

const ALICE: Hotkey = Hotkey([1; 32]);
const MALLORY: Hotkey = Hotkey([2; 32]);
const CAROL: Hotkey = Hotkey([3; 32]);

fn header(hotkey: Hotkey, window: u64) -> SignedHeader {
    let header = Header {
        run: Digest::ZERO,
        version: VERSION,
        window: Window(window),
        uid: Uid(1),
        previous: Digest::ZERO,
        hparams: Digest::ZERO,
        probe: Digest::ZERO,
        payload: Digest::of(b"payload"),
        payload_bytes: 7,
        samples: 1,
        inner_loss: 1.0,
    };
    SignedHeader::sign(header, &Unsigned(hotkey))
}

/// An inbox at block 45: window 4 of ten blocks each.
fn inbox() -> (tempfile::TempDir, Inbox) {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Arc::new(BlobStore::open(folder.path(), 1 << 20).unwrap());
    let time =
        Time { start: BlockNumber(0), window_blocks: 10, submit_by: 5, attest_by: 7, gather_by: 9, block_millis: 1 };
    let inbox = Inbox::new(Limits::default(), Schedule::new(&time), blobs);
    inbox.set_head(BlockNumber(45));
    (folder, inbox)
}

#[test]
fn what_is_not_a_message_of_its_sender_for_about_now_is_refused() {
    let check = |from: Hotkey, topic: u8, bytes: Vec<u8>, expected: Result<(), Refusal>| {
        let (_folder, inbox) = inbox();
        assert_eq!(inbox.message(&from, topic, bytes), expected);
    };
    check(ALICE, HEADER, header(ALICE, 4).encode(), Ok(()));
    check(ALICE, HEADER, header(ALICE, 5).encode(), Ok(()));
    check(ALICE, 99, header(ALICE, 4).encode(), Err(refusal::TOPIC));
    check(ALICE, HEADER, b"rubbish".to_vec(), Err(refusal::MALFORMED));
    check(MALLORY, HEADER, header(ALICE, 4).encode(), Err(refusal::NOT_YOURS));
    check(ALICE, HEADER, header(ALICE, 3).encode(), Err(refusal::OTHER_WINDOW));
    check(ALICE, HEADER, header(ALICE, 6).encode(), Err(refusal::OTHER_WINDOW));
    let draft = Draft::new(Digest::ZERO, Window(4), Digest::ZERO, Digest::ZERO);
    let proposal = Proposal::sign(draft.build(1), &[], Uid(0), &Unsigned(ALICE)).encode();
    check(ALICE, PROPOSAL, proposal.clone(), Ok(()));
    check(MALLORY, PROPOSAL, proposal, Err(refusal::NOT_YOURS));
}

#[test]
fn who_sent_no_header_that_can_count_is_told_once_with_the_first_reason() {
    let (_folder, inbox) = inbox();
    let _ = inbox.message(&ALICE, HEADER, header(ALICE, 3).encode());
    let _ = inbox.message(&ALICE, HEADER, b"rubbish".to_vec());
    let _ = inbox.message(&MALLORY, HEADER, b"rubbish".to_vec());
    let _ = inbox.message(&CAROL, HEADER, header(ALICE, 4).encode());
    let _ = inbox.message(&CAROL, PROPOSAL, b"rubbish".to_vec());
    let stray = |hotkey, why| Stray { hotkey, why };
    let expected = [
        stray(ALICE, Ineligible::WrongWindow),
        stray(MALLORY, Ineligible::Unreadable),
        stray(CAROL, Ineligible::WrongHotkey),
    ];
    assert_eq!(inbox.strays(), expected);
    assert_eq!(inbox.strays(), []);
}

#[test]
fn strays_of_those_who_left_are_forgotten() {
    let (_folder, inbox) = inbox();
    let _ = inbox.message(&ALICE, HEADER, b"rubbish".to_vec());
    inbox.set_known(&Metagraph { block: BlockNumber(45), neurons: Vec::new() });
    assert_eq!(inbox.strays(), []);
}

#[test]
fn a_header_cannot_be_taken_back_but_may_be_told_twice() {
    let (_folder, inbox) = inbox();
    let first = header(ALICE, 4);
    let other = SignedHeader { header: Header { samples: 2, ..first.header }, ..first };
    assert_eq!(inbox.message(&ALICE, HEADER, first.encode()), Ok(()));
    assert_eq!(inbox.message(&ALICE, HEADER, first.encode()), Ok(()));
    assert_eq!(inbox.message(&ALICE, HEADER, other.encode()), Err(refusal::TWICE));
    let submissions = inbox.submissions(Window(4));
    assert_eq!(submissions, [Submission { header: first, arrived: BlockNumber(45) }]);
}

#[test]
fn mail_of_windows_long_over_is_forgotten() {
    let (_folder, inbox) = inbox();
    inbox.message(&ALICE, HEADER, header(ALICE, 4).encode()).unwrap();
    inbox.set_head(BlockNumber(55));
    assert_eq!(inbox.submissions(Window(4)).len(), 1);
    inbox.set_head(BlockNumber(65));
    assert!(inbox.submissions(Window(4)).is_empty());
}

#[test]
fn only_those_on_the_metagraph_are_spoken_to() {
    let (_folder, inbox) = inbox();
    assert!(!inbox.admit(&ALICE));
    let neuron =
        Neuron { uid: Uid(0), hotkey: ALICE, stake: 0, permit: false, address: None, registered: BlockNumber(1) };
    inbox.set_known(&Metagraph { block: BlockNumber(45), neurons: vec![neuron] });
    assert!(inbox.admit(&ALICE) && !inbox.admit(&MALLORY));
}

#[test]
fn a_peer_is_looked_for_where_it_was_last() {
    let (_folder, inbox) = inbox();
    let at = |block: u64, port: u16| {
        let address = Some(SocketAddr::from(([127, 0, 0, 1], port)));
        let registered = BlockNumber(1);
        let neuron = Neuron { uid: Uid(0), hotkey: ALICE, stake: 0, permit: false, address, registered };
        Metagraph { block: BlockNumber(block), neurons: vec![neuron] }
    };
    let port = |neuron: &Neuron| inbox.address_of(neuron).unwrap().port();
    let old = at(10, 1).neurons[0];
    assert_eq!(port(&old), 1, "an old place is better than none");
    inbox.set_known(&at(45, 2));
    inbox.set_known(&at(40, 1));
    assert_eq!(port(&old), 2);
}

#[test]
fn a_withheld_payload_is_shown_to_nobody() {
    let (_folder, inbox) = inbox();
    let payload = inbox.blobs.insert_withheld(b"payload").unwrap();
    assert_eq!(inbox.blob(&ALICE, &payload), Blob::Withheld);
    inbox.blobs.release(&payload).unwrap();
    assert!(matches!(inbox.blob(&ALICE, &payload), Blob::Found(_)));
}
