//! One body of laws for every device: the kernels' emulation, which is always there, and a CUDA device where one is found.
//! What the processor computes is the measure, to the bit.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use pactum_compress::{
    Compressor, DeviceCompressor, Grid, Layout, Limits, Mean, OnDeviceError, Quantiser, Settings, SparseUpdate,
    Uploaded, Weighted, decode, outer_step, outer_step_on_device,
};
use pactum_kernels::{Device, DeviceError};
use proptest::prelude::*;

const MEANS: [Mean; 2] = [Mean::Peers, Mean::Contributors];

/// The emulation, its threads in an order that a seed chooses, and the CUDA device of this machine if it has one.
fn devices(order: u64) -> Vec<Device> {
    let emulation = Device::emulation_in_order(Path::new(env!("CARGO_TARGET_TMPDIR")), order).unwrap();
    match Device::find() {
        Ok(device) => vec![emulation, device],
        Err(DeviceError::Absent(_)) => vec![emulation],
        Err(error) => panic!("there is a device, but it cannot be used: {error}"),
    }
}

/// Numbers with the heavy tails of gradients, from a fixed generator.
fn gradient(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..len).map(|_| uniform() * uniform() * uniform()).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Compresses feedback as it is on the processor and on every device, and compares payload, feedback and report.
fn check_start(layout: &Layout, settings: Settings, start: &[f32], order: u64) {
    let (mut here, mut feedback) = (Compressor::new(layout.clone(), settings).unwrap(), start.to_vec());
    let payload = here.compress(&mut feedback);
    for device in devices(order) {
        let mut there = DeviceCompressor::new(&device, layout.clone(), settings).unwrap();
        let mut on_device = device.upload(start).unwrap();
        assert!(there.compress(&mut on_device).unwrap() == payload, "{settings:?} on {}", device.name());
        assert!(bits(&on_device.read().unwrap()) == bits(&feedback), "{settings:?} on {}", device.name());
        assert_eq!(there.report(), here.report());
    }
}

/// The same over some windows, with the step of the parameters.
fn check_compress(layout: &Layout, settings: Settings, start: &[f32], order: u64) {
    check_start(layout, settings, start, order);
    for device in devices(order) {
        let mut here = Compressor::new(layout.clone(), settings).unwrap();
        let mut there = DeviceCompressor::new(&device, layout.clone(), settings).unwrap();
        let (mut feedback, mut on_device) = (start.to_vec(), device.upload(start).unwrap());
        for window in 0..2 {
            let before = gradient(order + 2 * window, layout.len());
            let after = gradient(order + 2 * window + 1, layout.len());
            let (b, a) = (device.upload(&before).unwrap(), device.upload(&after).unwrap());
            let expected = here.accumulate_and_compress(&mut feedback, &before, &after, 0.95);
            assert_eq!(there.accumulate_and_compress(&mut on_device, &b, &a, 0.95).unwrap(), expected);
            assert_eq!(there.report(), here.report());
            assert_eq!(bits(&on_device.read().unwrap()), bits(&feedback), "{}", device.name());
        }
        let (before, after) = (gradient(order + 8, layout.len()), gradient(order + 9, layout.len()));
        let (b, a) = (device.upload(&before).unwrap(), device.upload(&after).unwrap());
        let expected = here.accumulate_and_encode(&mut feedback, &before, &after, 0.5);
        assert_eq!(there.accumulate_and_encode(&mut on_device, &b, &a, 0.5).unwrap(), expected);
        assert_eq!(bits(&on_device.read().unwrap()), bits(&feedback));
        assert_eq!(there.compress(&mut on_device).unwrap(), here.compress(&mut feedback));
        assert_eq!(bits(&on_device.read().unwrap()), bits(&feedback));
    }
}

/// Steps on the processor and on every device.
fn check_outer(layout: &Layout, updates: &[SparseUpdate], weights: &[f32], (mean, rate): (Mean, f32), order: u64) {
    let theta = gradient(order + 77, layout.len());
    let weighted = updates.iter().zip(weights).map(|(update, &weight)| Weighted { update, weight }).collect::<Vec<_>>();
    let mut here = theta.clone();
    let report = outer_step(&mut here, layout, &weighted, mean, rate);
    for device in devices(order) {
        let uploaded = updates.iter().map(|update| Uploaded::new(&device, update).unwrap()).collect::<Vec<_>>();
        let peers = uploaded.iter().zip(weights.iter().copied()).collect::<Vec<_>>();
        let mut there = device.upload(&theta).unwrap();
        assert_eq!(outer_step_on_device(&mut there, layout, &peers, mean, rate).unwrap(), report);
        assert_eq!(bits(&there.read().unwrap()), bits(&here), "{}", device.name());
    }
}

fn updates(layout: &Layout, settings: Settings, seeds: &[u64]) -> Vec<SparseUpdate> {
    let update = |&seed: &u64| {
        let loud = (1 + seed % 5) as f32;
        let mut feedback = gradient(seed, layout.len()).iter().map(|value| value * loud).collect::<Vec<_>>();
        let bytes = Compressor::new(layout.clone(), settings).unwrap().compress(&mut feedback);
        decode(&bytes, layout, &Limits::new(settings)).unwrap()
    };
    seeds.iter().map(update).collect()
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

fn any_quantiser() -> impl Strategy<Value = Quantiser> {
    prop::sample::select(Quantiser::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_device_yields_the_processors_payloads_and_feedback(
        layout in any_layout(), order in 0_u64..1000, k in 1_usize..400, quantiser in any_quantiser(),
    ) {
        let settings = Settings::new(k.min(layout.edge() * layout.edge()), quantiser);
        check_compress(&layout, settings, &gradient(order, layout.len()), order);
    }

    #[test]
    fn every_device_yields_the_processors_parameters(
        layout in any_layout(), order in 0_u64..1000, seeds in prop::collection::vec(1_u64..100, 1..7),
        mean in prop::sample::select(MEANS.to_vec()), quantiser in any_quantiser(),
    ) {
        let settings = Settings::new(16.min(layout.edge() * layout.edge()), quantiser);
        let weights = (0..seeds.len()).map(|peer| 1.0 + peer as f32 / 3.0).collect::<Vec<_>>();
        check_outer(&layout, &updates(&layout, settings, &seeds), &weights, (mean, 0.7), order);
    }
}

fn layout() -> Layout {
    Layout::new(64, [vec![130, 200], vec![4097], vec![3, 700], vec![64, 64], vec![1]]).unwrap()
}

#[test]
fn full_chunks_are_compressed_alike() {
    for quantiser in Quantiser::ALL {
        for k in [1, 64, 300] {
            let layout = layout();
            check_compress(&layout, Settings::new(k, quantiser), &gradient(9, layout.len()), 3);
        }
    }
}

#[test]
fn codes_that_several_sections_have_in_common_are_alike() {
    // A section ends after 2^24 elements; large chunks are emulated faster.
    let layout = Layout::new(200, [vec![300], vec![4400, 4000]]).unwrap();
    check_start(&layout, Settings::new(100, Quantiser::Compatible), &gradient(7, layout.len()), 0);
}

#[test]
fn numbers_that_are_hard_are_compressed_alike() {
    let layout = layout();
    let mut start = gradient(5, layout.len());
    let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e38, 1e-44, -0.0, 1.0, 1.0, -1.0];
    start.iter_mut().step_by(3).zip(bad.iter().cycle()).for_each(|(value, &bad)| *value = bad);
    // A band and the first chunk of the vector have no values at all, the vector's second one has too few.
    let mut sparse = start.clone();
    sparse[17_000..30_077].fill(-0.0);
    for (order, quantiser) in (0..).zip(Quantiser::ALL) {
        let settings = Settings::new(64, quantiser);
        for start in [&start, &sparse, &vec![0.0; layout.len()], &vec![-2.0; layout.len()]] {
            check_compress(&layout, settings, start, order);
        }
        check_start(&layout, Settings::new(64 * 64, quantiser), &sparse, order);
        check_start(&Layout::new(64, []).unwrap(), settings, &[], order);
    }
}

#[test]
fn scales_at_an_edge_are_chosen_alike() {
    // The mean of each chunk lies where two scales meet, so that the last bit of a sum decides.
    let layout = Layout::new(8, [vec![64, 64]]).unwrap();
    let mut start = gradient(3, layout.len()).iter().map(|value| 1.0 + 2.0 * value).collect::<Vec<_>>();
    for chunk in 0..64 {
        let places = (0..64).map(|place| (chunk / 8 * 8 + place / 8) * 64 + chunk % 8 * 8 + place % 8);
        let mean = places.clone().map(|place| f64::from(start[place])).sum::<f64>() / 64.0;
        places.for_each(|place| start[place] = (f64::from(start[place]) * (1.0 + 1.0 / 32.0) / mean) as f32);
    }
    check_start(&layout, Settings::new(64, Quantiser::SignScale), &start, 0);
}

#[test]
fn many_peers_and_odd_weights_step_alike() {
    let layout = layout();
    let updates = updates(&layout, Settings::new(64, Quantiser::TwoLevels), &(1..=36).collect::<Vec<_>>());
    let weights = (0..36).map(|peer| [1.0, 0.5, 0.0, f32::NAN, 3.0, -1.0][peer % 6]).collect::<Vec<_>>();
    for mean in MEANS {
        check_outer(&layout, &updates, &weights, (mean, 1.0), 1);
        check_outer(&layout, &updates[..2], &[f32::MAX; 2], (mean, 1.0), 2);
        check_outer(&layout, &updates[..3], &[1.0; 3], (mean, f32::NAN), 2);
        check_outer(&layout, &updates[..1], &[0.0], (mean, 1.0), 2);
        check_outer(&layout, &[], &[], (mean, 1.0), 2);
    }
}

#[test]
fn norms_and_sums_into_dense_vectors_are_alike() {
    let layout = layout();
    let start = gradient(8, layout.len());
    for quantiser in Quantiser::ALL {
        let update = updates(&layout, Settings::new(64, quantiser), &[4]).remove(0);
        devices(6).iter().for_each(|device| check_sums(device, &update, &start));
    }
}

fn check_sums(device: &Device, update: &SparseUpdate, start: &[f32]) {
    let uploaded = Uploaded::new(device, update).unwrap();
    let (norms, peaks) = uploaded.norms().unwrap();
    assert_eq!(bits(&peaks), bits(update.peaks()));
    let of = |norms: &[f64]| norms.iter().map(|norm| norm.to_bits()).collect::<Vec<_>>();
    assert_eq!(of(&norms), of(update.norms()));
    let (mut here, mut there) = (start.to_vec(), device.upload(start).unwrap());
    update.add_to(&mut here, -0.2);
    uploaded.add_to(&mut there, -0.2).unwrap();
    assert_eq!(bits(&there.read().unwrap()), bits(&here));
    update.subtract_from(&mut here);
    uploaded.add_to(&mut there, -1.0).unwrap();
    assert_eq!(bits(&there.read().unwrap()), bits(&here));
}

#[test]
fn what_does_not_fit_is_refused() {
    let (layout, settings) = (layout(), Settings::new(64, Quantiser::TwoLevels));
    let other = Layout::new(16, [vec![32, 32]]).unwrap();
    for device in devices(0) {
        let mut there = DeviceCompressor::new(&device, layout.clone(), settings).unwrap();
        let mut short = device.zeros::<f32>(layout.len() - 1).unwrap();
        assert!(matches!(there.compress(&mut short), Err(OnDeviceError::Device(DeviceError::Length { .. }))));
        let update = updates(&other, Settings::new(16, Quantiser::TwoLevels), &[1]).remove(0);
        let uploaded = Uploaded::new(&device, &update).unwrap();
        let mut theta = device.zeros::<f32>(layout.len()).unwrap();
        let step = outer_step_on_device(&mut theta, &layout, &[(&uploaded, 1.0)], Mean::Peers, 1.0);
        assert_eq!(step, Err(OnDeviceError::Layout));
        let many = Settings::new(5000, Quantiser::TwoLevels);
        let refused = DeviceCompressor::new(&device, layout.clone(), many);
        assert!(matches!(refused, Err(OnDeviceError::Settings(_))));
    }
}
