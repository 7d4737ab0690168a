//! The mirrors of the domain types. The order of their fields is the format.

use rkyv::{Archive, Deserialize, Serialize, rancor};

use super::{Message, Signed};
use crate::header::{Header, SignedHeader};
use crate::hparams::{Compression, DataRules, Hparams, Inner, Mean, ModelShape, Outer, Quantiser, ScoringRules, Time};
use crate::ids::{BlockNumber, Digest, Hotkey, Signature, Uid, Window};
use crate::limits::Limits;
use crate::manifest::{Entry, Manifest};
use crate::proposal::Proposal;

/// A value and its form in a mirror.
trait Mirror {
    type Wire;
    fn wire(&self) -> Self::Wire;
    fn domain(wire: Self::Wire) -> Self;
}

macro_rules! mirror_as_itself {
    ($($name:ty),*) => {$(
        impl Mirror for $name {
            type Wire = Self;
            fn wire(&self) -> Self { self.clone() }
            fn domain(wire: Self) -> Self { wire }
        }
    )*};
}
mirror_as_itself!(bool, u16, u32, u64, f32, String);

macro_rules! mirror_newtype {
    ($($name:ident($inner:ty)),* $(,)?) => {$(
        impl Mirror for $name {
            type Wire = $inner;
            fn wire(&self) -> $inner { self.0 }
            fn domain(wire: $inner) -> Self { Self(wire) }
        }
    )*};
}
mirror_newtype!(BlockNumber(u64), Window(u64), Uid(u16), Digest([u8; 32]), Hotkey([u8; 32]), Signature([u8; 64]),);

impl<T: Mirror> Mirror for Option<T> {
    type Wire = Option<T::Wire>;
    fn wire(&self) -> Self::Wire {
        self.as_ref().map(T::wire)
    }
    fn domain(wire: Self::Wire) -> Self {
        wire.map(T::domain)
    }
}

impl<T: Mirror> Mirror for Vec<T> {
    type Wire = Vec<T::Wire>;
    fn wire(&self) -> Self::Wire {
        self.iter().map(T::wire).collect()
    }
    fn domain(wire: Self::Wire) -> Self {
        wire.into_iter().map(T::domain).collect()
    }
}

macro_rules! mirror_struct {
    ($name:ident as $wire:ident { $($field:ident: $type:ty),* $(,)? }) => {
        #[derive(Archive, Serialize, Deserialize)]
        pub(crate) struct $wire { $($field: $type),* }

        impl Mirror for $name {
            type Wire = $wire;
            fn wire(&self) -> $wire {
                $wire { $($field: self.$field.wire()),* }
            }
            fn domain(wire: $wire) -> Self {
                Self { $($field: Mirror::domain(wire.$field)),* }
            }
        }
    };
}

macro_rules! mirror_enum {
    ($name:ident as $wire:ident { $($variant:ident),* $(,)? }) => {
        #[derive(Archive, Serialize, Deserialize)]
        pub(crate) enum $wire { $($variant),* }

        impl Mirror for $name {
            type Wire = $wire;
            fn wire(&self) -> $wire {
                match self { $(Self::$variant => $wire::$variant),* }
            }
            fn domain(wire: $wire) -> Self {
                match wire { $($wire::$variant => Self::$variant),* }
            }
        }
    };
}

macro_rules! message {
    ($name:ident as $wire:ident, $kind:literal, $limit:ident) => {
        impl Message for $name {
            type Wire = $wire;
            const KIND: u8 = $kind;

            fn to_wire(&self) -> $wire {
                self.wire()
            }

            fn bytes_max(limits: &Limits) -> usize {
                limits.$limit
            }

            fn read(archive: &[u8]) -> Option<Self> {
                rkyv::from_bytes::<$wire, rancor::Failure>(archive).ok().map(Self::domain)
            }
        }
    };
}

mirror_struct!(Header as HeaderWire {
    run: [u8; 32],
    version: u16,
    window: u64,
    uid: u16,
    previous: [u8; 32],
    hparams: [u8; 32],
    probe: [u8; 32],
    payload: [u8; 32],
    payload_bytes: u64,
    samples: u32,
    inner_loss: f32,
});

mirror_struct!(SignedHeader as SignedHeaderWire { header: HeaderWire, hotkey: [u8; 32], signature: [u8; 64] });
message!(SignedHeader as SignedHeaderWire, b'H', header_bytes_max);

impl Signed for Header {
    type Part = HeaderWire;
    const DOMAIN: &'static [u8] = b"pactum header 1\0";

    fn signed_part(&self) -> HeaderWire {
        self.wire()
    }
}

mirror_struct!(Entry as EntryWire { uid: u16, hotkey: [u8; 32], payload: [u8; 32], bytes: u64, weight: f32 });
mirror_struct!(Manifest as ManifestWire {
    run: [u8; 32],
    window: u64,
    previous: [u8; 32],
    entries: Vec<EntryWire>,
    seed: [u8; 32],
    checkpoint: Option<[u8; 32]>,
});
message!(Manifest as ManifestWire, b'M', manifest_bytes_max);

mirror_struct!(Proposal as ProposalWire {
    manifest: ManifestWire,
    headers: Vec<SignedHeaderWire>,
    proposer: u16,
    hotkey: [u8; 32],
    signature: [u8; 64],
});
message!(Proposal as ProposalWire, b'Q', proposal_bytes_max);

/// A proposal without its signature.
#[derive(Archive, Serialize, Deserialize)]
pub(crate) struct ProposalPart {
    manifest: ManifestWire,
    headers: Vec<SignedHeaderWire>,
    proposer: u16,
    hotkey: [u8; 32],
}

impl Signed for Proposal {
    type Part = ProposalPart;
    const DOMAIN: &'static [u8] = b"pactum proposal 1\0";

    fn signed_part(&self) -> ProposalPart {
        ProposalPart {
            manifest: self.manifest.wire(),
            headers: self.headers.wire(),
            proposer: self.proposer.wire(),
            hotkey: self.hotkey.wire(),
        }
    }
}

mirror_enum!(Mean as MeanWire { Peers, Contributors });
mirror_enum!(Quantiser as QuantiserWire { SignScale, TwoLevels });
mirror_struct!(Time as TimeWire {
    start: u64,
    window_blocks: u64,
    submit_by: u64,
    attest_by: u64,
    gather_by: u64,
    block_millis: u64,
});
mirror_struct!(ModelShape as ModelShapeWire {
    vocab: u32,
    width: u32,
    layers: u32,
    heads: u32,
    kv_heads: u32,
    ffn: u32,
    context: u32,
    rope_base: f32,
    norm_eps: f32,
    tied: bool,
});
mirror_struct!(Inner as InnerWire {
    steps: u32,
    batch: u32,
    rate: f32,
    beta1: f32,
    beta2: f32,
    eps: f32,
    weight_decay: f32,
    clip: f32,
    warmup: u32,
    total: u32,
    floor: f32,
});
mirror_struct!(Outer as OuterWire { rate: f32, mean: MeanWire });
mirror_struct!(Compression as CompressionWire { edge: u32, top_k: u32, decay: f32, quantiser: QuantiserWire });
mirror_struct!(DataRules as DataRulesWire { slots: u32 });
mirror_struct!(ScoringRules as ScoringRulesWire {
    step_factor: f32,
    sequences: u32,
    evaluations: u32,
    overlap_max: f32,
    max_entries: u32,
    weights_every: u32,
    checkpoint_every: u32,
    rating_beta: f32,
    rating_tau: f32,
    average: f32,
    power: f32,
});
mirror_struct!(Hparams as HparamsWire {
    preset: String,
    seed: u64,
    dataset: [u8; 32],
    time: TimeWire,
    model: ModelShapeWire,
    inner: InnerWire,
    outer: OuterWire,
    compression: CompressionWire,
    data: DataRulesWire,
    scoring: ScoringRulesWire,
});
message!(Hparams as HparamsWire, b'S', hparams_bytes_max);
