use super::*;
use crate::codec::model::{ChunkAt, Ground, Marks, Shares};
use crate::codec::model::{Geometry, LEANS};
use crate::{Layout, Quantiser, Settings};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Symbol(usize, u32),
    Pair(usize, [(u32, u32); 2]),
    Raw(usize, u32, u32),
    /// Ascending indices of a chunk.
    Places(Vec<u16>),
}

fn shares() -> Shares<5> {
    Shares::new(&[1, 100, 0, 150]).unwrap()
}

fn step() -> impl Strategy<Value = Step> {
    let symbol = prop::sample::select(vec![0_u32, 1, 3]);
    let bit = || (1_u32..256, 0_u32..2);
    let raw = (0_usize..8, 0_u32..=16, any::<u32>());
    prop_oneof![
        (0_usize..8, symbol).prop_map(|(lane, value)| Step::Symbol(lane, value)),
        (0_usize..8, bit(), bit()).prop_map(|(lane, one, two)| Step::Pair(lane, [one, two])),
        raw.prop_map(|(lane, width, value)| Step::Raw(lane, width, value & ((1 << width) - 1))),
        prop::collection::btree_set(0_u16..4096, 0..80).prop_map(|set| Step::Places(set.into_iter().collect())),
    ]
}

/// The ground of a matrix of one band of eight chunks, with lines and columns of all classes.
fn ground(layout: &Layout) -> Ground {
    let geometry = Geometry::new(layout, &layout.sections()[0], 64);
    let mut marks = Marks::new(&geometry);
    let all = marks.lines.iter_mut().chain(&mut marks.columns).enumerate();
    all.for_each(|(place, mark)| *mark = ((place * 7 % 6) as u8, LEANS[place % 3]));
    Ground::new(geometry, &marks)
}

/// Codes the steps; a reader is given wrong values, which it must ignore.
fn run(coding: &mut impl Coding, steps: &[Step], known: bool) -> Vec<u32> {
    let layout = Layout::new(64, [vec![64, 512]]).unwrap();
    let (ground, table, lanes) = (ground(&layout), shares(), coding.lanes());
    let hint = |value: u32| if known { value } else { 0 };
    let mut all = Vec::new();
    for step in steps {
        match step {
            Step::Symbol(lane, value) => all.push(coding.symbol(lane % lanes, &table, hint(*value))),
            Step::Pair(lane, [one, two]) => {
                all.extend(coding.pair(lane % lanes, [Bit(one.0), Bit(two.0)], [hint(one.1), hint(two.1)]));
            }
            Step::Raw(lane, width, value) => all.push(coding.raw(lane % lanes, *width, hint(*value))),
            Step::Places(indices) => {
                // Each state has a chunk, and the last ones have fewer values.
                let band = &layout.bands()[0];
                let (mut places, mut first) = (Vec::new(), 0);
                let walks = (0..lanes).map(|lane| {
                    let count = indices.len() / (lane + 1);
                    let place = |&index: &u16| Place { index: hint(index.into()) as u16, lean: 0 };
                    places.extend(indices[..count].iter().map(place));
                    first += count;
                    let at = ChunkAt { band: 0, chunk: lane, block: band.block(lane), kept: 64 };
                    ground.walk(&at, (first - count, count))
                });
                let mut walks = walks.collect::<Vec<_>>();
                coding.places(&mut walks, &mut places);
                assert!(walks.iter().all(|walk| !walk.fault));
                all.extend(places.iter().flat_map(|place| [u32::from(place.index), u32::from(place.lean)]));
            }
        }
    }
    all
}

proptest! {
    #[test]
    fn reads_what_was_written_and_nothing_else(
        steps in prop::collection::vec(step(), 0..40), lanes in prop::sample::select(vec![1_usize, 8]),
    ) {
        let mut writer = Writer::new(lanes);
        let written = run(&mut writer, &steps, true);
        let mut bytes = Vec::new();
        writer.finish(&mut bytes);
        let mut reader = Reader::new(&bytes, lanes).unwrap();
        prop_assert_eq!(run(&mut reader, &steps, false), written);
        prop_assert!(reader.is_exhausted() && !reader.is_overrun());
        let longer = [&bytes[..], &[0; 4]].concat();
        let mut reader = Reader::new(&longer, lanes).unwrap();
        run(&mut reader, &steps, false);
        prop_assert!(!reader.is_exhausted());
        prop_assert!(Reader::new(&bytes[..bytes.len() - 1], lanes).is_none());
    }

    #[test]
    fn division_is_exact(number in any::<u64>(), divisor in 1_u32..=1024) {
        let (whole, rest) = divide(number, divisor);
        prop_assert_eq!((whole, u64::from(rest)), (number / u64::from(divisor), number % u64::from(divisor)));
    }
}

#[test]
fn cost_is_that_of_the_shares() {
    let mut writer = Writer::new(8);
    for turn in 0..10_000 {
        writer.symbol(turn % 8, Bit(192), u32::from(turn % 4 == 0));
    }
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    let bits = 10_000.0 * (0.75 * (4.0_f64 / 3.0).log2() + 0.25 * 2.0);
    assert!((bytes.len() as f64) < bits / 8.0 * 1.001 + 56.0, "{} {}", bytes.len(), bits / 8.0);
}

#[test]
fn places_cost_their_information() {
    // Without marks all sets are equally probable: at most 1 % above log2 of their number.
    let layout = Layout::new(64, [vec![64, 4096]]).unwrap();
    let settings = Settings::new(64, Quantiser::SignScale);
    let mut numbers = crate::laws::gradient(3, layout.len());
    let bytes = crate::Compressor::new(layout.clone(), settings).unwrap().compress(&mut numbers);
    let bits = crate::information(&bytes, &layout, &crate::Limits::new(settings)).unwrap() / 4096.0;
    let uniform = (0..64).map(|i| (f64::from(4096 - i) / f64::from(64 - i)).log2()).sum::<f64>() / 64.0;
    let (sign, scale) = (1.0, 8.0 / 64.0);
    assert!(bits < (uniform + sign + scale) * 1.01, "{bits} bits a value");
}
