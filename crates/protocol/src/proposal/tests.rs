use super::{Proposal, ProposalError};
use crate::toy::{self, Key, Oracle};
use crate::{Limits, SignedHeader, Uid, Window, WireError};

fn headers() -> Vec<SignedHeader> {
    vec![toy::signed(7), toy::signed(2), toy::signed(4)]
}

fn proposal() -> Proposal {
    Proposal::sign(toy::manifest(&[2, 7]), &headers(), Uid(9), &Key(9))
}

#[test]
fn an_honest_proposal_is_believed() {
    let proposal = proposal();
    assert_eq!(proposal.headers.iter().map(|signed| signed.header.uid.0).collect::<Vec<_>>(), [2, 7]);
    assert_eq!(proposal.verify(&Oracle), Ok(()));
}

/// The proposer itself, who signs whatever it likes, spoils a proposal.
#[track_caller]
fn check(spoil: impl FnOnce(&mut Proposal), expected: ProposalError) {
    let mut spoilt = proposal();
    spoil(&mut spoilt);
    spoilt.signature = crate::Sign::sign(&Key(9), &spoilt.message());
    assert_eq!(spoilt.verify(&Oracle), Err(expected));
}

#[test]
fn a_proposal_that_does_not_hold_together_is_not_believed() {
    check(|p| p.headers.clear(), ProposalError::Unproven { uid: Uid(2) });
    check(|p| p.manifest.entries[1].bytes += 1, ProposalError::Unproven { uid: Uid(7) });
    check(|p| p.manifest.entries[1].hotkey = p.hotkey, ProposalError::Unproven { uid: Uid(7) });
    check(|p| p.manifest.entries[0].payload = p.manifest.run, ProposalError::Unproven { uid: Uid(2) });
    check(|p| p.manifest.window = Window(4), ProposalError::Unproven { uid: Uid(2) });
    check(|p| p.headers.push(toy::signed(8)), ProposalError::Superfluous { uid: Uid(8) });
    check(|p| p.headers[0].header.samples += 1, ProposalError::BadHeader { uid: Uid(2) });
}

#[test]
fn a_proposal_changed_by_somebody_else_is_not_believed() {
    let mut changed = proposal();
    changed.manifest.entries[0].weight = 2.0;
    assert_eq!(changed.verify(&Oracle), Err(ProposalError::BadSignature));
    let mut stolen = proposal();
    stolen.proposer = Uid(8);
    assert_eq!(stolen.verify(&Oracle), Err(ProposalError::BadSignature));
}

#[test]
fn headers_out_of_order_are_refused_on_read() {
    let mut proposal = proposal();
    proposal.headers.swap(0, 1);
    let error = Proposal::decode(&proposal.encode(), &Limits::default()).unwrap_err();
    assert_eq!(error, WireError::Invalid { what: "headers are not in uid order" });
}
