//! Laws of compression, decoding and the outer step.

use crate::{
    CodecError, Coder, Compressor, Decoder, Grid, Layout, Limits, Mean, Quantiser, Settings, SparseUpdate, Weighted,
    aggregate, decode, information, outer_step, payload_bytes_max,
};
use proptest::prelude::*;

const QUANTISERS: [Quantiser; 5] = Quantiser::ALL;

/// Numbers with the heavy tails of gradients, from a fixed generator.
pub(crate) fn gradient(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..len).map(|_| uniform() * uniform() * uniform()).collect()
}

fn settings(quantiser: Quantiser) -> Settings {
    Settings::new(16, quantiser)
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let coders = prop::sample::select(vec![Coder::Fixed, Coder::Entropy]);
    let quantisers = prop::sample::select(QUANTISERS.to_vec());
    (1_usize..400, quantisers, coders).prop_map(|(k, quantiser, coder)| Settings::new(k, quantiser).with_coder(coder))
}

fn layout() -> Layout {
    Layout::new(16, [vec![48, 32], vec![33], vec![17, 35], vec![3, 5, 7], vec![1]]).unwrap()
}

fn compressed(layout: &Layout, settings: Settings, feedback: &mut [f32]) -> (Vec<u8>, SparseUpdate) {
    let bytes = Compressor::new(layout.clone(), settings).unwrap().compress(feedback);
    let update = decode(&bytes, layout, &Limits::new(settings)).unwrap();
    (bytes, update)
}

fn updates(layout: &Layout, count: u64) -> Vec<SparseUpdate> {
    let one = |seed| compressed(layout, settings(Quantiser::TwoLevels), &mut gradient(seed, layout.len())).1;
    (1..=count).map(one).collect()
}

fn weighted(updates: &[SparseUpdate]) -> Vec<Weighted<'_>> {
    updates.iter().map(|update| Weighted { update, weight: 1.0 }).collect()
}

fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

prop_compose! {
    fn any_layout()(
        grid in prop::sample::select(vec![Grid::Even, Grid::Divisor]),
        edge in 1_usize..20,
        shapes in prop::collection::vec(prop::collection::vec(1_usize..40, 0..3), 1..4),
    ) -> Layout {
        Layout::with_grid(grid, edge, shapes).unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn feedback_and_payload_add_up_to_what_went_in(
        layout in any_layout(), seed in 1_u64.., settings in any_settings(),
    ) {
        let settings = Settings { top_k: settings.top_k.min(layout.edge() * layout.edge()), ..settings };
        let before = gradient(seed, layout.len());
        let mut after = before.clone();
        let (bytes, update) = compressed(&layout, settings, &mut after);
        prop_assert!(bytes.len() <= payload_bytes_max(&layout, &settings));
        let mut expected = before.clone();
        update.subtract_from(&mut expected);
        prop_assert_eq!(bits(&expected), bits(&after));
        let mut sum = after;
        update.add_to(&mut sum, 1.0);
        let peak = update.peaks().iter().copied().fold(0.0, f32::max);
        for (sum, before) in sum.iter().zip(&before) {
            prop_assert!((sum - before).abs() <= f32::EPSILON * (before.abs() + peak), "{} {}", sum, before);
        }
    }

    #[test]
    fn decoding_and_encoding_again_is_the_identity(
        layout in any_layout(), seed in 1_u64.., settings in any_settings(),
    ) {
        // What a payload holds is exactly representable, so it must survive a second trip unchanged; but for the scales of
        // what has been rounded between two of them, and the levels of a tensor.
        prop_assume!(!matches!(settings.quantiser, Quantiser::FourBits | Quantiser::Compatible));
        let settings = Settings { top_k: settings.top_k.min(layout.edge() * layout.edge()), ..settings };
        let (bytes, update) = compressed(&layout, settings, &mut gradient(seed, layout.len()));
        let mut dense = vec![0.0; layout.len()];
        update.add_to(&mut dense, 1.0);
        let (again, same) = compressed(&layout, settings, &mut dense);
        prop_assert_eq!(&update, &same);
        prop_assert_eq!(bytes, again);
        prop_assert!(dense.iter().all(|&rest| rest == 0.0));
    }

    #[test]
    fn all_coders_carry_the_same(layout in any_layout(), seed in 1_u64.., settings in any_settings()) {
        let settings = Settings { top_k: settings.top_k.min(layout.edge() * layout.edge()), ..settings };
        let decoded = Coder::ALL.map(|coder| {
            let mut feedback = gradient(seed, layout.len());
            let (_, update) = compressed(&layout, settings.with_coder(coder), &mut feedback);
            (update, bits(&feedback))
        });
        prop_assert!(decoded.iter().all(|one| *one == decoded[0]));
    }

    #[test]
    fn bytes_are_the_information_and_little_more(seed in 1_u64.., settings in any_settings()) {
        let layout = Layout::new(20, [vec![400, 60], vec![90]]).unwrap();
        let (bytes, update) = compressed(&layout, settings, &mut gradient(seed, layout.len()));
        let content = information(&bytes, &layout, &Limits::new(settings)).unwrap();
        let (all, sections) = (8.0 * bytes.len() as f64, layout.sections().len() as f64);
        // The header, the table's entries, heads, states, half-filled words; and rounding by the coder.
        let most = 8.0 * (32.0 + 110.0 * sections) + 0.002 * all + update.selected() as f64 * 0.01;
        prop_assert!(content <= all && all - content <= most, "{} of {} bits", content, all);
    }

    #[test]
    fn every_changed_payload_is_refused_or_within_limits(
        seed in 1_u64.., bit in any::<prop::sample::Index>(), quantiser in prop::sample::select(QUANTISERS.to_vec()),
    ) {
        let (layout, settings) = (layout(), settings(quantiser));
        let (mut bytes, _) = compressed(&layout, settings, &mut gradient(seed, layout.len()));
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(update) = decode(&bytes, &layout, &Limits::new(settings)) {
            prop_assert!(well_formed(&update));
        }
    }

    #[test]
    fn arbitrary_sections_never_panic(noise in prop::collection::vec(any::<u8>(), 0..400), quantiser in 0_usize..5) {
        let (layout, settings) = (Layout::new(16, [vec![32, 16]]).unwrap(), settings(QUANTISERS[quantiser]));
        let (valid, _) = compressed(&layout, settings, &mut gradient(1, layout.len()));
        let mut bytes = valid[..32].to_vec();
        bytes.extend_from_slice(&(noise.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&noise);
        if let Ok(update) = decode(&bytes, &layout, &Limits::new(settings)) {
            prop_assert!(well_formed(&update));
        }
    }

    #[test]
    fn the_outer_step_is_that_of_plain_arithmetic(
        seed in 1_u64.., peers in 1_u64..6, alike in any::<bool>(),
        mean in prop::sample::select(vec![Mean::Peers, Mean::Contributors]),
        quantiser in prop::sample::select(QUANTISERS.to_vec()),
    ) {
        let layout = layout();
        let updates = (0..peers).map(|p| {
            let scale = 1.0 + (p as f32) * (seed % 7) as f32;
            let mut feedback = gradient(seed ^ p, layout.len()).iter().map(|v| v * scale).collect::<Vec<_>>();
            compressed(&layout, settings(quantiser), &mut feedback).1
        }).collect::<Vec<_>>();
        let weight = |place: u8| if alike { 1.0 } else { f32::from(place) };
        let peers = updates.iter().zip(1..).map(|(update, i)| Weighted { update, weight: weight(i) }).collect::<Vec<_>>();
        let mut theta = gradient(seed.rotate_left(9), layout.len());
        let expected = plain_step(&theta, &layout, &peers, mean, 0.7);
        let report = outer_step(&mut theta, &layout, &peers, mean, 0.7);
        prop_assert!(report.skipped.is_empty() && report.ignored.is_empty());
        prop_assert_eq!(bits(&theta), bits(&expected));
        // The sparse aggregate holds every coordinate that somebody sent, and makes the same step.
        let (union, report) = aggregate(&layout, &peers, mean);
        prop_assert!(report.skipped.is_empty() && well_formed(&union));
        let sent = updates.iter().flat_map(|update| update.entries().map(|entry| entry.0));
        let sent = sent.collect::<std::collections::BTreeSet<_>>();
        prop_assert_eq!(union.entries().map(|entry| entry.0).collect::<std::collections::BTreeSet<_>>(), sent);
        let mut stepped = gradient(seed.rotate_left(9), layout.len());
        union.add_to(&mut stepped, -0.7);
        prop_assert_eq!(bits(&stepped), bits(&expected));
    }
}

fn well_formed(update: &SparseUpdate) -> bool {
    let positions = update.entries().map(|e| e.0).collect::<std::collections::BTreeSet<_>>();
    let values_bounded = update.entries().all(|(_, value)| value.abs() <= 4_294_967_296.0);
    positions.len() == update.selected() && positions.iter().all(|&p| p < update.layout().len()) && values_bounded
}

/// Dense and without tricks: clip to the lower median, add in order, divide, step.
fn plain_step(theta: &[f32], layout: &Layout, peers: &[Weighted<'_>], mean: Mean, rate: f32) -> Vec<f32> {
    let mut result = theta.to_vec();
    for (index, tensor) in layout.tensors().iter().enumerate() {
        let range = tensor.offset..tensor.offset + tensor.len();
        let mut norms = peers.iter().map(|p| p.update.norms()[index]).collect::<Vec<_>>();
        norms.sort_by(f64::total_cmp);
        let median = norms[(norms.len() - 1) / 2];
        let (mut sum, mut weight) = (vec![0.0_f32; tensor.len()], vec![0.0_f32; tensor.len()]);
        for peer in peers {
            let norm = peer.update.norms()[index];
            let clip = if norm > median { (median / norm) as f32 } else { 1.0 };
            for (position, value) in peer.update.entries().filter(|(p, _)| range.contains(p)) {
                sum[position - range.start] += peer.weight * clip * value;
                weight[position - range.start] += peer.weight;
            }
        }
        let total = peers.iter().fold(0.0_f32, |t, p| t + p.weight);
        for (i, parameter) in result[range].iter_mut().enumerate() {
            let divisor = if mean == Mean::Peers { total } else { weight[i] };
            let step = if divisor > 0.0 { sum[i] / divisor } else { 0.0 };
            *parameter -= rate * step;
        }
    }
    result
}

/// Bands of several panels, of which the last one is smaller; chunks that are larger than a panel.
#[test]
fn the_outer_step_is_that_of_plain_arithmetic_in_wide_bands() {
    for (edge, shape) in [(64, [64, 650]), (200, [200, 400])] {
        let layout = Layout::new(edge, [shape.to_vec()]).unwrap();
        let (updates, mut theta) = (updates(&layout, 3), gradient(4, layout.len()));
        let expected = plain_step(&theta, &layout, &weighted(&updates), Mean::Contributors, 0.7);
        outer_step(&mut theta, &layout, &weighted(&updates), Mean::Contributors, 0.7);
        assert_eq!(bits(&theta), bits(&expected), "{shape:?}");
    }
}

#[test]
fn bytes_and_bits_do_not_depend_on_threads() {
    let layout = Layout::new(64, [vec![300, 200], vec![5000], vec![64, 64]]).unwrap();
    let run = |threads| {
        in_pool(threads, || {
            let updates = updates(&layout, 5);
            let mut feedback = gradient(3, layout.len());
            let (bytes, update) = compressed(&layout, settings(Quantiser::TwoLevels), &mut feedback);
            let mut theta = gradient(9, layout.len());
            outer_step(&mut theta, &layout, &weighted(&updates), Mean::Contributors, 1.0);
            let dot = update.dot(&theta).to_bits();
            let union = aggregate(&layout, &weighted(&updates), Mean::Peers).0;
            (bytes, bits(&feedback), bits(&theta), update.norms().to_vec(), dot, union)
        })
    };
    let one = run(1);
    assert!([2, 3, 8].map(run).iter().all(|many| *many == one));
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let layout = layout();
    for quantiser in QUANTISERS {
        let settings = settings(quantiser);
        let (mut bytes, _) = compressed(&layout, settings, &mut gradient(4, layout.len()));
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length], &layout, &Limits::new(settings)).is_err(), "{length}");
        }
        bytes.push(0);
        assert!(decode(&bytes, &layout, &Limits::new(settings)).is_err());
    }
}

#[test]
fn a_decoder_reads_the_same_into_used_memory() {
    let layout = layout();
    for (quantiser, coder) in QUANTISERS.into_iter().flat_map(|quantiser| Coder::ALL.map(|coder| (quantiser, coder))) {
        let settings = settings(quantiser).with_coder(coder);
        let mut decoder = Decoder::new(layout.clone(), Limits::new(settings));
        for seed in 1..5 {
            let (mut bytes, update) = compressed(&layout, settings, &mut gradient(seed, layout.len()));
            let read = decoder.decode(&bytes).unwrap();
            assert_eq!(read, update);
            decoder.recycle(read);
            // What was refused leaves nothing behind.
            bytes.pop();
            assert!(decoder.decode(&bytes).is_err());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn payloads_read_together_are_what_each_is_alone(
        payloads in prop::collection::vec((1_u64.., prop::option::of((any::<prop::sample::Index>(), 1_u8..))), 0..6),
        quantiser in prop::sample::select(QUANTISERS.to_vec()), coder in prop::sample::select(Coder::ALL.to_vec()),
    ) {
        let (layout, settings) = (layout(), settings(quantiser).with_coder(coder));
        let limits = Limits::new(settings);
        let payloads = payloads.into_iter().map(|(seed, damage)| {
            let (mut bytes, _) = compressed(&layout, settings, &mut gradient(seed, layout.len()));
            if let Some((place, change)) = damage {
                let place = place.index(bytes.len());
                bytes[place] ^= change;
            }
            bytes
        }).collect::<Vec<_>>();
        let alone = payloads.iter().map(|bytes| decode(bytes, &layout, &limits)).collect::<Vec<_>>();
        let mut decoder = Decoder::new(layout.clone(), limits);
        for _ in 0..2 {
            let together = decoder.decode_all(&payloads);
            prop_assert_eq!(&together, &alone);
            together.into_iter().flatten().for_each(|update| decoder.recycle(update));
        }
    }
}

#[test]
fn every_bit_flip_of_the_header_is_refused() {
    let (layout, settings) = (layout(), settings(Quantiser::TwoLevels));
    let (mut bytes, _) = compressed(&layout, settings, &mut gradient(4, layout.len()));
    let table = 32 + 4 * layout.tensors().len();
    for bit in 0..table * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&bytes, &layout, &Limits::new(settings)).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(decode(&bytes, &layout, &Limits::new(settings)).is_ok());
}

#[test]
fn errors_name_what_is_wrong() {
    let (layout, settings) = (layout(), settings(Quantiser::SignScale));
    let (bytes, update) = compressed(&layout, settings, &mut gradient(4, layout.len()));
    let error = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        decode(&bytes, &layout, &Limits::new(settings)).unwrap_err()
    };
    assert_eq!(error(&|b| b.truncate(31)), CodecError::Truncated(31));
    assert_eq!(error(&|b| b[0] = 9), CodecError::Version(9));
    assert_eq!(error(&|b| b[2] = 2), CodecError::Settings);
    assert_eq!(error(&|b| b[4] = 17), CodecError::Settings);
    assert_eq!(error(&|b| b[8] ^= 1), CodecError::Layout);
    assert_eq!(error(&|b| b[32..36].fill(0xff)), CodecError::Sections);
    assert!(matches!(error(&|b| b.resize(1 << 20, 0)), CodecError::TooLong { .. }));
    let peak = update.peaks().iter().copied().fold(0.0, f32::max);
    let lower = Limits::new(settings).with_scale_max(peak / 2.0);
    assert!(matches!(decode(&bytes, &layout, &lower).unwrap_err(), CodecError::Scale { .. }));
}

#[test]
fn numbers_that_cannot_be_used_are_dropped_and_reported() {
    let layout = layout();
    let mut compressor = Compressor::new(layout.clone(), settings(Quantiser::TwoLevels)).unwrap();
    let mut feedback = gradient(5, layout.len());
    for (slot, bad) in feedback.iter_mut().step_by(7).zip([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e38]) {
        *slot = bad;
    }
    let bytes = compressor.compress(&mut feedback);
    assert_eq!(compressor.report().rejected, 5);
    assert!(feedback.iter().all(|v| v.is_finite()) && feedback[0] == 0.0 && feedback[28] == 0.0);
    let update = decode(&bytes, &layout, &Limits::new(settings(Quantiser::TwoLevels))).unwrap();
    assert_eq!(update.selected(), compressor.report().selected);
    assert!(update.entries().all(|(position, _)| ![0, 7, 14, 21, 28].contains(&position)));
}

#[test]
fn nothing_is_sent_of_nothing() {
    let layout = layout();
    let mut zeros = vec![0.0; layout.len()];
    let (_, update) = compressed(&layout, settings(Quantiser::TwoLevels), &mut zeros);
    assert_eq!((update.selected(), update.norms().iter().sum::<f64>()), (0, 0.0));
    let mut theta = gradient(1, layout.len());
    let before = bits(&theta);
    outer_step(&mut theta, &layout, &weighted(&[update.clone(), update]), Mean::Contributors, 1.0);
    assert_eq!(bits(&theta), before);
}

#[test]
fn error_feedback_over_windows_sends_everything_in_the_end() {
    let layout = Layout::new(16, [vec![16, 16]]).unwrap();
    let mut compressor = Compressor::new(layout.clone(), settings(Quantiser::TwoLevels)).unwrap();
    let target = gradient(6, layout.len());
    let (mut feedback, mut sum) = (target.clone(), vec![0.0; layout.len()]);
    for _ in 0..200 {
        let bytes = compressor.compress(&mut feedback);
        decode(&bytes, &layout, &Limits::new(settings(Quantiser::TwoLevels))).unwrap().add_to(&mut sum, 1.0);
    }
    let norm = |v: &mut dyn Iterator<Item = f32>| v.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let (rest, whole) = (norm(&mut feedback.iter().copied()), norm(&mut target.iter().copied()));
    assert!(rest < 1e-3 * whole, "{rest} of {whole}");
    assert!(norm(&mut sum.iter().zip(&target).map(|(a, b)| a - b)) < 2e-3 * whole);
}

#[test]
fn an_encoded_window_that_is_not_accepted_keeps_everything() {
    let (layout, settings) = (layout(), settings(Quantiser::TwoLevels));
    let (before, after) = (gradient(1, layout.len()), gradient(2, layout.len()));
    let start = gradient(3, layout.len());
    let mut compressor = Compressor::new(layout.clone(), settings).unwrap();
    let (mut subtracted, mut kept) = (start.clone(), start.clone());
    let bytes = compressor.accumulate_and_compress(&mut subtracted, &before, &after, 0.95);
    assert_eq!(compressor.accumulate_and_encode(&mut kept, &before, &after, 0.95), bytes);
    let expected =
        start.iter().zip(before.iter().zip(&after)).map(|(e, (b, a))| 0.95 * e + (b - a)).collect::<Vec<_>>();
    assert_eq!(bits(&kept), bits(&expected));
    decode(&bytes, &layout, &Limits::new(settings)).unwrap().subtract_from(&mut kept);
    assert_eq!(bits(&kept), bits(&subtracted));
}

#[test]
fn weights_decide_who_counts() {
    let layout = layout();
    let updates = updates(&layout, 3);
    let step = |weights: [f32; 3], mean| {
        let peers = updates.iter().zip(weights).map(|(update, weight)| Weighted { update, weight }).collect::<Vec<_>>();
        let mut theta = vec![0.0; layout.len()];
        let report = outer_step(&mut theta, &layout, &peers, mean, 1.0);
        (bits(&theta), report.ignored, report.skipped.len())
    };
    for mean in [Mean::Peers, Mean::Contributors] {
        let two = {
            let mut theta = vec![0.0; layout.len()];
            outer_step(&mut theta, &layout, &weighted(&updates[..2]), mean, 1.0);
            bits(&theta)
        };
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(step([1.0, 1.0, bad], mean), (two.clone(), vec![2], 0));
        }
        assert_eq!(step([0.0; 3], mean).0, vec![0; layout.len()]);
        let everything = layout.tensors().len();
        assert_eq!(step([f32::MAX; 3], mean), (vec![0; layout.len()], vec![], everything));
    }
}

#[test]
fn a_tensor_whose_step_is_not_finite_is_left_alone() {
    let layout = layout();
    let updates = updates(&layout, 2);
    for rate in [f32::NAN, f32::INFINITY] {
        let mut theta = gradient(1, layout.len());
        let before = bits(&theta);
        let report = outer_step(&mut theta, &layout, &weighted(&updates), Mean::Peers, rate);
        assert_eq!(report.skipped, (0..layout.tensors().len()).collect::<Vec<_>>());
        assert_eq!(bits(&theta), before);
    }
}

#[test]
fn a_loud_peer_is_clipped_to_the_median() {
    let layout = Layout::new(16, [vec![32, 32]]).unwrap();
    let quiet = updates(&layout, 2);
    let mut loud = gradient(8, layout.len()).iter().map(|v| v * 1e6).collect::<Vec<_>>();
    let (_, loud) = compressed(&layout, settings(Quantiser::TwoLevels), &mut loud);
    let all = [quiet[0].clone(), loud, quiet[1].clone()];
    let mut theta = vec![0.0; layout.len()];
    let report = outer_step(&mut theta, &layout, &weighted(&all), Mean::Peers, 1.0);
    let norm = theta.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    assert!(norm <= quiet[0].norms()[0].max(quiet[1].norms()[0]) * 1.001, "{norm}");
    assert_eq!(report.clipped.iter().sum::<usize>(), 1 + usize::from(report.clipped[0] + report.clipped[2] > 0));
    assert_eq!(report.clipped[1], 1);
}

#[test]
fn reading_and_writing_back_restores_every_bit() {
    let layout = layout();
    let update = &updates(&layout, 1)[0];
    let mut theta = gradient(7, layout.len());
    let before = bits(&theta);
    let saved = update.read_from(&theta);
    update.add_to(&mut theta, -0.2);
    assert_ne!(bits(&theta), before);
    update.write_to(&mut theta, &saved);
    assert_eq!(bits(&theta), before);
}

#[test]
fn dot_and_overlap_agree_with_their_dense_forms() {
    let layout = layout();
    let updates = updates(&layout, 2);
    let gradient = gradient(3, layout.len());
    let mut dense = vec![0.0; layout.len()];
    updates[0].add_to(&mut dense, 1.0);
    let expected = dense.iter().zip(&gradient).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    assert!((updates[0].dot(&gradient) - expected).abs() < 1e-9);
    assert_eq!(updates[0].overlap(&updates[0]), 1.0);
    let mine = updates[0].entries().map(|e| e.0).collect::<std::collections::BTreeSet<_>>();
    let common = updates[1].entries().filter(|e| mine.contains(&e.0)).count();
    let smaller = updates[0].selected().min(updates[1].selected());
    assert_eq!(updates[0].overlap(&updates[1]), common as f64 / smaller as f64);
}
