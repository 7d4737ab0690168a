use super::writer::divide;
use super::*;
use crate::codec::model::Geometry;
use crate::codec::model::{ChunkAt, Marks, Path, Walk};
use crate::{Layout, Quantiser, Settings};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Symbol(usize, u32),
    Pair(usize, [(u32, u32); 2]),
    Raw(usize, u32, u32),
    /// Ascending indices of a chunk, and of how many classes its lines and columns are.
    Places(Vec<u16>, usize),
    /// Bits, how many slots 0 of each has, and how many there are of a chunk.
    Bits(u64, Option<u8>, usize),
    EvenBits(u64, usize),
    Pairs(u64, usize),
}

/// Numbers below `end`.
fn numbers(mut seed: u64, count: usize, end: u64) -> Vec<u8> {
    let next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((seed >> 33) % end) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn shares() -> Shares<5> {
    Shares::new(&[1, 100, 0, 150]).unwrap()
}

fn step() -> impl Strategy<Value = Step> {
    let symbol = prop::sample::select(vec![0_u32, 1, 3]);
    let bit = || (1_u32..256, 0_u32..2);
    let raw = (0_usize..LANES, 0_u32..=16, any::<u32>());
    prop_oneof![
        (0_usize..LANES, symbol).prop_map(|(lane, value)| Step::Symbol(lane, value)),
        (0_usize..LANES, bit(), bit()).prop_map(|(lane, one, two)| Step::Pair(lane, [one, two])),
        raw.prop_map(|(lane, width, value)| Step::Raw(lane, width, value & ((1 << width) - 1))),
        (prop::collection::btree_set(0_u16..4096, 0..80), 1_usize..=6)
            .prop_map(|(set, classes)| Step::Places(set.into_iter().collect(), classes)),
        (any::<u64>(), any::<Option<u8>>(), values()).prop_map(|(seed, all, count)| Step::Bits(seed, all, count)),
        (any::<u64>(), values()).prop_map(|(seed, count)| Step::EvenBits(seed, count)),
        (any::<u64>(), 0_usize..200).prop_map(|(seed, count)| Step::Pairs(seed, count)),
    ]
}

/// Full chunks, or others.
fn values() -> impl Strategy<Value = usize> {
    prop_oneof![Just(64_usize), 0_usize..70]
}

/// The ground of a matrix of one band of as many chunks as there are states, with lines and columns of so many classes: where there are few of
/// them vectors read it.
fn ground(layout: &Layout, classes: usize, level: Level) -> Ground {
    let geometry = geometry(layout);
    let mut marks = Marks::new(&geometry);
    let all = marks.lines.iter_mut().chain(&mut marks.columns).enumerate();
    all.for_each(|(place, mark)| *mark = [(place * 7 % classes) as u8, (place % 3) as u8]);
    let mut ground = Ground::new(geometry, &marks, level);
    ground.rank(&marks);
    ground
}

fn geometry(layout: &Layout) -> Geometry {
    Geometry::new(layout, &layout.sections()[0], 64)
}

fn chunk(layout: &Layout, chunk: usize) -> ChunkAt {
    ChunkAt { band: 0, chunk, cut: geometry(layout).cut(chunk, &layout.bands()[0].block(chunk)), kept: 64 }
}

/// Codes steps. A reader is given wrong values, which it must ignore.
struct Run<'a, C: Coding> {
    coding: &'a mut C,
    known: bool,
    layout: Layout,
}

impl<C: Coding> Run<'_, C> {
    fn hint<T: Default>(&self, value: T) -> T {
        if self.known { value } else { T::default() }
    }

    fn hints(&self, values: &[u8]) -> Vec<u8> {
        values.iter().map(|&value| self.hint(value)).collect()
    }

    /// Returns what is then known of a step.
    fn step(&mut self, step: &Step) -> Vec<u32> {
        let lanes = self.coding.lanes();
        let counts = |count: &usize| std::array::from_fn(|lane| if lane < lanes { *count } else { 0 });
        let widen = |values: Vec<u8>| values.into_iter().map(u32::from).collect();
        match step {
            &Step::Symbol(lane, value) => vec![self.coding.symbol(lane % lanes, &shares(), self.hint(value))],
            &Step::Pair(lane, [one, two]) => {
                let values = [self.hint(one.1), self.hint(two.1)];
                self.coding.pair(lane % lanes, [Bit(one.0), Bit(two.0)], values).to_vec()
            }
            &Step::Raw(lane, width, value) => vec![self.coding.raw(lane % lanes, width, self.hint(value))],
            Step::Places(indices, classes) => self.places(indices, *classes),
            Step::Bits(seed, all, count) => {
                let slots = numbers(seed.wrapping_add(2), 1, 255)[0] + 1;
                let known = numbers(seed.wrapping_add(1), count * lanes, 2);
                let each = known.into_iter().map(|known| [EVEN, slots][usize::from(known)]).collect::<Vec<_>>();
                let zeros = all.map_or(Zeros::Each(&each, slots), |slots| Zeros::All(slots.max(1)));
                let mut bits = self.hints(&numbers(*seed, count * lanes, 2));
                self.coding.bits(&counts(count), zeros, &mut bits);
                widen(bits)
            }
            Step::EvenBits(seed, count) => {
                let mut bits = self.hints(&numbers(*seed, count * lanes, 2));
                self.coding.even_bits(&counts(count), &mut bits);
                widen(bits)
            }
            Step::Pairs(seed, count) => {
                let (one, two) = (Shares::<7>::new(&[20, 30, 40, 50, 60]).unwrap(), Shares::new(&[100, 100]).unwrap());
                let (first, second) = (numbers(*seed, *count, 6), numbers(seed.wrapping_add(1), *count, 3));
                let pairs = first.into_iter().zip(second).map(|(one, two)| [self.hint(one), self.hint(two)]);
                let mut pairs = pairs.collect::<Vec<_>>();
                self.coding.pairs([&one, &two], &mut pairs);
                widen(pairs.concat())
            }
        }
    }

    /// Each state has a chunk, and the last ones have fewer values.
    fn places(&mut self, indices: &[u16], classes: usize) -> Vec<u32> {
        let ground = ground(&self.layout, classes, self.coding.level());
        let (mut found, mut walks) = (Vec::new(), Vec::new());
        for lane in 0..self.coding.lanes() {
            let (first, count) = (found.len(), indices.len() / (lane + 1));
            found.extend(indices[..count].iter().map(|&index| self.hint(index)));
            let mut walk = Walk::default();
            walk.begin(&chunk(&self.layout, lane), (first, count));
            walks.push(walk);
        }
        self.coding.places(&ground, &mut walks, &mut found);
        assert!(walks.iter().all(|walk| !walk.fault));
        found.into_iter().map(u32::from).collect()
    }
}

fn run(coding: &mut impl Coding, steps: &[Step], known: bool) -> Vec<u32> {
    let mut run = Run { coding, known, layout: Layout::new(64, [vec![64, 64 * LANES]]).unwrap() };
    steps.iter().flat_map(|step| run.step(step)).collect()
}

proptest! {
    #[test]
    fn reads_what_was_written_and_nothing_else(
        steps in prop::collection::vec(step(), 0..40), lanes in prop::sample::select(vec![1, LANES / 2, LANES]),
    ) {
        let write = |level| {
            let (mut writer, mut bytes) = (Writer::new(lanes, level), Vec::new());
            let written = run(&mut writer, &steps, true);
            writer.finish(&mut bytes);
            (written, bytes)
        };
        let (written, bytes) = write(Level::detect());
        prop_assert_eq!(&write(Level::Plain).1, &bytes);
        for level in [Level::Plain, Level::detect()] {
            let mut reader = Reader::new(&bytes, lanes, level).unwrap();
            prop_assert_eq!(&run(&mut reader, &steps, false), &written);
            prop_assert!(reader.is_exhausted() && !reader.is_overrun());
            let longer = [&bytes[..], &[0; 2]].concat();
            let mut reader = Reader::new(&longer, lanes, level).unwrap();
            run(&mut reader, &steps, false);
            prop_assert!(!reader.is_exhausted());
            prop_assert!(Reader::new(&bytes[..bytes.len() - 1], lanes, level).is_none());
        }
    }

    #[test]
    fn no_chunk_takes_long_whatever_comes(noise in prop::collection::vec(any::<[u8; 2]>(), 2..2000)) {
        let layout = Layout::new(64, [vec![64, 64 * LANES]]).unwrap();
        let (ground, mut walk) = (ground(&layout, 6, Level::Plain), Walk::default());
        walk.begin(&chunk(&layout, 3), (0, 64));
        ground.lay(&mut walk, Level::Plain);
        let mut stream = Stream::new([LEAST; LANES], &noise);
        let (mut path, mut found, mut steps) = (Path::new(&walk), 0, 0);
        while found < 64 {
            found += usize::from(path.step((&ground, &walk), &mut stream, 0).1);
            steps += 1;
        }
        // One for each value, two for each field, one for each nine elements that are passed over.
        prop_assert!(steps <= 64 + 2 * 36 + 4096 / 9 + 36);
    }

    #[test]
    fn vectors_write_steps_as_plain_code_does(
        table in 0_u64..8, lanes in prop::sample::select(vec![LANES / 2, LANES]),
        states in any::<[u32; LANES]>(), noise in prop::collection::vec(any::<[u16; 2]>(), 0..8 * LANES),
    ) {
        use crate::codec::model::{Step as WriterStep, table_of};
        let (distances, _) = table_of(8 * (8 + table), 8);
        let segments = distances.segment(u32::from(u16::MAX)).number + 1;
        let steps = noise.iter().map(|&[kind, raw]| {
            let width = u32::from(kind >> 8) % 11;
            WriterStep::new(kind as u8 % segments, u32::from(raw) & ((1 << width) - 1), width)
        });
        let mut steps = steps.collect::<Vec<_>>();
        steps.resize(steps.len().next_multiple_of(lanes), WriterStep::default());
        let new = || Output { states: states.map(|state| state.max(LEAST)), words: vec![[0; 2]; steps.len() + LANES], place: 0 };
        let mut plain = new();
        plain.rows(distances, (lanes, &steps));
        let all = [crate::Instructions::Neon, crate::Instructions::Avx2, crate::Instructions::Avx512];
        for level in all.into_iter().filter_map(Level::of) {
            let mut vectors = new();
            let job = crate::kernel::steps::Write { output: &mut vectors, distances, lanes, rows: &steps };
            prop_assert!(level.run(job).is_some());
            prop_assert_eq!(plain.states, vectors.states);
            prop_assert_eq!(&plain.words[..plain.place], &vectors.words[..vectors.place]);
        }
    }

    #[test]
    fn vectors_write_bits_as_plain_code_does(
        slots in any::<[u8; 2]>(), lanes in prop::sample::select(vec![LANES / 2, LANES]),
        states in any::<[u32; LANES]>(), seed in any::<u64>(),
    ) {
        let [a, b] = slots.map(|slots| Bit(slots.max(1).into()));
        let (kinds, bits) = ([a.slots(0), a.slots(1), b.slots(0), b.slots(1)], numbers(seed, 64 * lanes, 4));
        let new = || Output { states: states.map(|state| state.max(LEAST)), words: vec![[0; 2]; bits.len() + LANES], place: 0 };
        let mut plain = new();
        plain.bits(&kinds, (lanes, &bits));
        let all = [crate::Instructions::Neon, crate::Instructions::Avx2, crate::Instructions::Avx512];
        for level in all.into_iter().filter_map(Level::of) {
            let mut vectors = new();
            let job = crate::kernel::coded::WriteBits { output: &mut vectors, lanes, bits: &bits, kinds: &kinds };
            prop_assert!(level.run(job).is_some());
            prop_assert_eq!(plain.states, vectors.states);
            prop_assert_eq!(&plain.words[..plain.place], &vectors.words[..vectors.place]);
        }
    }

    #[test]
    fn division_is_exact(number in any::<u32>(), divisor in 1_u16..=256) {
        let (whole, rest) = divide(number, divisor);
        let divisor = u32::from(divisor);
        prop_assert_eq!((whole, rest), (number / divisor, number % divisor));
    }
}

#[test]
fn an_element_behind_the_last_is_a_fault() {
    let layout = Layout::new(64, [vec![64, 64 * LANES]]).unwrap();
    let lay = |elements: usize, level| {
        let walks = (0..LANES).map(|lane| {
            let (mut walk, mut at) = (Walk::default(), chunk(&layout, lane));
            at.cut.elements = elements;
            walk.begin(&at, (2 * lane, 2));
            walk
        });
        (ground(&layout, 2, level), walks.collect::<Vec<_>>())
    };
    let (mut writer, mut bytes) = (Writer::new(LANES, Level::Plain), Vec::new());
    let (ground, mut walks) = lay(4096, Level::Plain);
    writer.places(&ground, &mut walks, &mut [7, 4095].repeat(LANES));
    writer.finish(&mut bytes);
    let all =
        [crate::Instructions::Plain, crate::Instructions::Neon, crate::Instructions::Avx2, crate::Instructions::Avx512];
    for level in all.into_iter().filter_map(Level::of) {
        let read = |elements| {
            let ((ground, mut walks), mut indices) = (lay(elements, level), vec![0; 2 * LANES]);
            Reader::new(&bytes, LANES, level).unwrap().places(&ground, &mut walks, &mut indices);
            walks.iter().map(|walk| walk.fault).collect::<Vec<_>>()
        };
        assert_eq!((read(4096), read(4095)), (vec![false; LANES], vec![true; LANES]));
    }
}

#[test]
fn cost_is_that_of_the_shares() {
    let mut writer = Writer::new(LANES, Level::detect());
    for turn in 0..10_000 {
        writer.symbol(turn % LANES, Bit(192), u32::from(turn % 4 == 0));
    }
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    let bits = 10_000.0 * (0.75 * (4.0_f64 / 3.0).log2() + 0.25 * 2.0);
    assert!((bytes.len() as f64) < bits / 8.0 * 1.001 + 4.0 * LANES as f64, "{} {}", bytes.len(), bits / 8.0);
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
