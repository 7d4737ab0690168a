//! The kernels under emulation, against plain arithmetic written down here, with the threads of a block in several orders.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use pactum_kernels::{
    Compress, Device, DeviceError, Divisor, Feedback, Levels, Matrix, Outer, Peer, Picked, Tensor, Update,
};

const ORDERS: [u64; 3] = [0, 1, 0x5eed];
/// Of full chunks of 64 x 64.
const AREA: usize = 4096;

fn device(order: u64) -> Device {
    Device::emulation_in_order(Path::new(env!("CARGO_TARGET_TMPDIR")), order).unwrap()
}

/// Matrices behind each other, with their chunks.
fn matrices() -> Vec<Matrix> {
    let cuts = [(130, 70, 3, 2), (4100, 1, 2, 1), (3, 700, 1, 1), (1, 1, 1, 1), (64, 64, 1, 1)];
    let (mut offset, mut chunk) = (0, 0);
    let place = |(rows, columns, bands, across)| {
        let matrix = Matrix { offset, chunk, rows, columns, bands, across };
        offset += matrix.len();
        chunk += matrix.chunks();
        matrix
    };
    cuts.into_iter().map(place).collect()
}

fn total(matrices: &[Matrix]) -> (usize, usize) {
    matrices.last().map_or((0, 0), |last| (last.offset + last.len(), last.chunk + last.chunks()))
}

/// Numbers with the heavy tails of gradients.
fn numbers(seed: u64, len: usize) -> Vec<f32> {
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

/// Bounds of a part.
fn bound(length: usize, parts: usize, index: usize) -> usize {
    length / parts * index + length % parts * index / parts
}

/// Positions in the flat vector of each chunk's elements, chunk by chunk.
fn chunks_of(matrix: &Matrix) -> Vec<Vec<usize>> {
    let mut chunks = Vec::new();
    for band in 0..matrix.bands {
        for place in 0..matrix.across {
            let rows = bound(matrix.rows, matrix.bands, band)..bound(matrix.rows, matrix.bands, band + 1);
            let columns = bound(matrix.columns, matrix.across, place)..bound(matrix.columns, matrix.across, place + 1);
            let row = |row: usize| columns.clone().map(move |column| matrix.offset + row * matrix.columns + column);
            chunks.push(rows.flat_map(row).collect());
        }
    }
    chunks
}

/// Positions of the `k` largest magnitudes: of equal ones the lower position, and no zero unless they are wanted.
fn largest(chunk: &[f32], k: usize, zeros: bool) -> Vec<u16> {
    let mut order = (0..chunk.len() as u16).filter(|&i| zeros || chunk[usize::from(i)] != 0.0).collect::<Vec<_>>();
    order.sort_by(|&a, &b| chunk[usize::from(b)].abs().total_cmp(&chunk[usize::from(a)].abs()).then(a.cmp(&b)));
    order.truncate(k);
    order.sort_unstable();
    order
}

/// Of a scale: the nearest number with four bits of mantissa.
fn code_of(value: f32) -> u64 {
    u64::from(((value.to_bits() + (1 << 18)) >> 19).saturating_sub(751).min(1793))
}

fn value_of(code: u64) -> f32 {
    if code == 0 { 0.0 } else { f32::from_bits((751 + code as u32) << 19) }
}

/// Sixteen lanes, then halves.
fn mean(magnitudes: &[f32], holds: impl Fn(f32) -> bool) -> f32 {
    let mut lanes = [0.0_f32; 16];
    for (place, &magnitude) in magnitudes.iter().enumerate().filter(|(_, magnitude)| holds(**magnitude)) {
        lanes[place % 16] += magnitude;
    }
    for width in [8, 4, 2, 1] {
        (0..width).for_each(|lane| lanes[lane] += lanes[lane + width]);
    }
    let count = magnitudes.iter().filter(|magnitude| holds(**magnitude)).count();
    if count == 0 { 0.0 } else { lanes[0] / count as f32 }
}

fn scales(magnitudes: &[f32], levels: Levels) -> (u64, u64) {
    if levels.gives_values() {
        return (0, 0);
    }
    if levels == Levels::Eight {
        let least = magnitudes.iter().copied().fold(f32::MAX, f32::min);
        let largest = magnitudes.iter().copied().fold(0.0, f32::max);
        return (code_of(least.min(largest)), code_of(largest));
    }
    let mut border = mean(magnitudes, |_| true);
    let (mut low, mut high) = (border, border);
    if levels == Levels::One {
        return (0, code_of(high));
    }
    for _ in 0..4 {
        let (above, below) = (mean(magnitudes, |m| m >= border), mean(magnitudes, |m| m < border));
        if above == 0.0 {
            break;
        }
        (low, high) = (if below > 0.0 { below } else { above }, above);
        border = 0.5 * (low + high);
    }
    (code_of(low).min(code_of(high)), code_of(high))
}

/// What a chunk becomes: head, positions, codes, and the values' bits where they go out.
type Compressed = (u64, Vec<u16>, Vec<u8>, Vec<u32>);

/// Takes what was selected off the chunk.
fn compressed(chunk: &mut [f32], k: usize, levels: Levels) -> Compressed {
    let mut indices = largest(chunk, k, levels == Levels::Later);
    let magnitudes = indices.iter().map(|&index| chunk[usize::from(index)].abs()).collect::<Vec<_>>();
    let (low, high) = scales(&magnitudes, levels);
    if high == 0 && !levels.gives_values() {
        indices.clear();
    }
    let border = if low == high { 0.0 } else { 0.5 * (value_of(low) + value_of(high)) };
    let step = (value_of(high) - value_of(low)) / 7.0;
    let level = |magnitude: f32| match levels {
        Levels::One | Levels::Exact | Levels::Later => 0,
        Levels::Two => u8::from(magnitude >= border),
        Levels::Eight if step > 0.0 => ((magnitude - value_of(low)) / step + 0.5).clamp(0.0, 7.0) as u8,
        Levels::Eight => 0,
    };
    let code = |&index: &u16| {
        let value: f32 = chunk[usize::from(index)];
        u8::from(value.is_sign_negative()) | level(value.abs()) << 1
    };
    let codes = indices.iter().map(code).collect::<Vec<_>>();
    let values = indices.iter().filter(|_| levels.gives_values()).map(|&index| chunk[usize::from(index)].to_bits());
    let values = values.collect();
    for (&index, &code) in indices.iter().zip(&codes) {
        let magnitude = match levels {
            Levels::Later => continue,
            Levels::Exact => chunk[usize::from(index)].abs(),
            Levels::Eight => value_of(low) + f32::from(code >> 1) * step,
            Levels::Two if code & 2 == 0 => value_of(low),
            _ => value_of(high),
        };
        chunk[usize::from(index)] -= if code & 1 > 0 { -magnitude } else { magnitude };
    }
    (indices.len() as u64 | low << 16 | high << 32, indices, codes, values)
}

/// Compresses all matrices under emulation and here, and compares everything.
fn check_compress(order: u64, top_k: usize, levels: Levels, change: impl Fn(&mut [f32])) {
    let (device, matrices) = (device(order), matrices());
    let (len, chunks) = total(&matrices);
    let (mut start, before, after) = (numbers(1, len), numbers(2, len), numbers(3, len));
    change(&mut start);
    let kept = |length: usize| ((top_k * length + AREA / 2) / AREA).clamp(1, length.max(1));
    let mut values = device.upload(&start).unwrap();
    let (before_there, after_there) = (device.upload(&before).unwrap(), device.upload(&after).unwrap());
    let mut picked = Picked::new(&device, chunks, top_k.max(1)).unwrap().with_values(levels).unwrap();
    let tensors = matrices.iter().map(|matrix| (*matrix, matrix.lengths().map(kept))).collect::<Vec<_>>();
    for tensors in tensors.chunks(3) {
        let step = Some((&before_there, &after_there, 0.95));
        let work = Compress::new(&device, tensors, levels).unwrap();
        work.run(&mut Feedback { values: &mut values, step, subtract: true }, &mut picked).unwrap();
    }
    let steps = before.iter().zip(&after).map(|(b, a)| b - a);
    let mut expected = start.iter().zip(steps).map(|(e, step)| 0.95 * e + step).collect::<Vec<_>>();
    let unusable = |value: &f32| !value.is_finite() || value.abs() > (1 << 30) as f32;
    let rejected = expected.iter().filter(|value| unusable(value)).count();
    expected.iter_mut().filter(|value| unusable(value)).for_each(|value| *value = 0.0);
    let (heads, indices) = (picked.heads.read().unwrap(), picked.indices.read().unwrap());
    let (codes, values_there) = (picked.codes.read().unwrap(), bits(&picked.values.read().unwrap()));
    for (number, places) in matrices.iter().flat_map(chunks_of).enumerate() {
        let mut chunk = places.iter().map(|&place| expected[place]).collect::<Vec<_>>();
        let most = kept(chunk.len());
        let (head, at, with, whole) = compressed(&mut chunk, most, levels);
        places.iter().zip(chunk).for_each(|(&place, value)| expected[place] = value);
        let slots = number * picked.slots()..number * picked.slots() + at.len();
        let there = (heads[number], &indices[slots.clone()], &codes[slots.clone()]);
        assert_eq!(there, (head, &at[..], &with[..]), "{number}");
        assert_eq!(values_there.get(slots).unwrap_or_default(), whole, "{number}");
    }
    assert_eq!(bits(&values.read().unwrap()), bits(&expected));
    assert_eq!(picked.rejected.read().unwrap(), [rejected as u64]);
}

#[test]
fn emulated_compression_is_that_of_plain_arithmetic() {
    for (order, levels) in ORDERS.into_iter().zip([Levels::One, Levels::Two, Levels::Eight]) {
        check_compress(order, 64, levels, |_| {});
    }
    check_compress(0, 1, Levels::Two, |_| {});
    check_compress(1, 700, Levels::Two, |_| {});
    check_compress(1, 4096, Levels::One, |_| {});
    for (order, levels) in ORDERS.into_iter().zip([Levels::Exact, Levels::Later, Levels::Later]) {
        check_compress(order, 64, levels, |_| {});
        check_compress(order, 700, levels, |_| {});
    }
}

#[test]
fn emulated_compression_of_numbers_that_are_hard() {
    let hard = |values: &mut [f32]| {
        values.iter_mut().step_by(5).for_each(|value| *value = 1.0);
        values.iter_mut().step_by(3).for_each(|value| *value = -1.0);
        let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e38, f32::MIN_POSITIVE / 4.0];
        values.iter_mut().step_by(101).zip(bad.iter().cycle()).for_each(|(value, &bad)| *value = bad);
    };
    for order in ORDERS {
        check_compress(order, 64, Levels::Two, hard);
    }
    for levels in [Levels::Eight, Levels::Exact, Levels::Later] {
        check_compress(0, 64, levels, hard);
    }
}

/// Compresses one chunk as it is and returns scales, positions and codes.
fn alone(values: &[f32], k: usize, levels: Levels) -> (u64, Vec<u16>, Vec<u8>) {
    let device = device(0);
    let matrix = Matrix { offset: 0, chunk: 0, rows: values.len(), columns: 1, bands: 1, across: 1 };
    let mut picked = Picked::new(&device, 1, k).unwrap().with_values(levels).unwrap();
    let mut values = device.upload(values).unwrap();
    let before = values.read().unwrap();
    let mut feedback = Feedback { values: &mut values, step: None, subtract: false };
    Compress::new(&device, &[(matrix, [k; 4])], levels).unwrap().run(&mut feedback, &mut picked).unwrap();
    assert_eq!(bits(&values.read().unwrap()), bits(&before), "nothing is to be taken off");
    let head = picked.heads.read().unwrap()[0];
    let count = (head & 0xffff) as usize;
    (head >> 16, picked.indices.read().unwrap()[..count].to_vec(), picked.codes.read().unwrap()[..count].to_vec())
}

#[test]
fn emulated_selection_breaks_ties_by_position_and_never_takes_a_zero() {
    let scale = |value| code_of(value) << 16;
    assert_eq!(alone(&[1.0, -2.0, 2.0, 2.0, -1.0], 2, Levels::One), (scale(2.0), vec![1, 2], vec![1, 0]));
    assert_eq!(alone(&[0.0, -0.0, 3.0], 2, Levels::One), (scale(3.0), vec![2], vec![0]));
    assert_eq!(alone(&[0.0; 5], 3, Levels::Two), (0, vec![], vec![]));
    assert_eq!(alone(&[0.0; 5], 3, Levels::Eight), (0, vec![], vec![]));
    let eight = (code_of(1.0) | code_of(8.0) << 16, vec![0, 1, 2, 3], vec![0, 3, 14, 4]);
    assert_eq!(alone(&[1.0, -2.0, 8.0, 3.4], 4, Levels::Eight), eight);
    // But where codes are chosen later, as many as there may be.
    assert_eq!(alone(&[0.0, -0.0, 3.0, 0.0], 3, Levels::Later), (0, vec![0, 1, 2], vec![0, 1, 0]));
    assert_eq!(alone(&[0.0; 37], 35, Levels::Later), (0, (0..35).collect(), vec![0; 35]));
    assert_eq!(alone(&[0.0; 2000], 1500, Levels::Later), (0, (0..1500).collect(), vec![0; 1500]));
    assert_eq!(alone(&[0.0, -0.5, 0.0], 3, Levels::Later), (0, vec![0, 1, 2], vec![0, 1, 0]));
    assert_eq!(alone(&[0.0, -1e-40, 3.0], 3, Levels::Exact), (0, vec![1, 2], vec![1, 0]));
    assert_eq!(alone(&[1.0; 4096], 3, Levels::One), (scale(1.0), vec![0, 1, 2], vec![0; 3]));
    // What equals the border belongs to the upper level; the largest number of all can be sent.
    let two = |low, high| code_of(low) | code_of(high) << 16;
    assert_eq!(alone(&[1.0, 2.0, 3.0], 3, Levels::Two), (two(1.0, 2.5), vec![0, 1, 2], vec![0, 2, 2]));
    let largest = (1 << 30) as f32;
    assert_eq!(alone(&[largest, 1.0], 1, Levels::One), (scale(largest), vec![0], vec![0]));
    // Below the smallest scale nothing is sent.
    assert_eq!(alone(&[1e-30, -1e-38], 2, Levels::Two), (0, vec![], vec![]));
}

/// Chunks whose mean lies where two scales meet, so that the last bit of a sum decides.
#[test]
fn emulated_means_are_summed_in_the_agreed_lanes() {
    let (rows, columns, edge) = (64, 61, 1.0 + 1.0 / 32.0);
    let mut values = numbers(3, rows * columns).iter().map(|value| 1.0 + 2.0 * value).collect::<Vec<_>>();
    for row in values.chunks_mut(columns) {
        let mean = row.iter().map(|&value| f64::from(value)).sum::<f64>() / columns as f64;
        row.iter_mut().for_each(|value| *value = (f64::from(*value) * edge / mean) as f32);
    }
    let device = device(0);
    let matrix = Matrix { offset: 0, chunk: 0, rows, columns, bands: rows, across: 1 };
    let mut picked = Picked::new(&device, rows, columns).unwrap();
    let mut there = device.upload(&values).unwrap();
    let mut feedback = Feedback { values: &mut there, step: None, subtract: true };
    let work = Compress::new(&device, &[(matrix, [columns; 4])], Levels::One).unwrap();
    work.run(&mut feedback, &mut picked).unwrap();
    let expected = values.chunks_mut(columns).map(|row| compressed(row, columns, Levels::One).0).collect::<Vec<_>>();
    assert_eq!(picked.heads.read().unwrap(), expected);
    assert!([code_of(1.0), code_of(1.0625)].iter().all(|code| expected.iter().any(|head| head >> 32 == *code)));
}

/// An update for all chunks: of each some ascending positions.
fn update(seed: u64, matrices: &[Matrix]) -> (Vec<u64>, Vec<u16>, Vec<f32>) {
    let (mut starts, mut indices) = (vec![0], Vec::new());
    for (number, chunk) in matrices.iter().flat_map(chunks_of).enumerate() {
        let step = 7 + (number + seed as usize) % 40;
        indices.extend((0..chunk.len() as u16).skip(seed as usize % 5).step_by(step));
        starts.push(indices.len() as u64);
    }
    let values = numbers(seed, indices.len());
    (starts, indices, values)
}

/// Position and value of every coordinate.
fn entries(matrices: &[Matrix], (starts, indices, values): &(Vec<u64>, Vec<u16>, Vec<f32>)) -> Vec<(usize, f32)> {
    let mut entries = Vec::new();
    for (chunk, run) in matrices.iter().flat_map(chunks_of).zip(starts.windows(2)) {
        let run = run[0] as usize..run[1] as usize;
        entries.extend(run.map(|place| (chunk[usize::from(indices[place])], values[place])));
    }
    entries
}

/// Bits of the norm, and the peak, of some chunks.
fn norm((starts, _, values): &(Vec<u64>, Vec<u16>, Vec<f32>), chunks: &[u64]) -> (u64, f32) {
    let (mut norm, mut peak) = (0.0_f64, 0.0_f32);
    for run in starts[chunks[0] as usize..=chunks[1] as usize].windows(2) {
        let mut lanes = [0.0_f64; 8];
        for (place, &value) in values[run[0] as usize..run[1] as usize].iter().enumerate() {
            lanes[place % 8] += f64::from(value) * f64::from(value);
            peak = peak.max(value.abs());
        }
        let [a, b, c, d, e, f, g, h] = lanes;
        norm += ((a + e) + (c + g)) + ((b + f) + (d + h));
    }
    (norm.sqrt().to_bits(), peak)
}

#[test]
fn emulated_norms_are_summed_in_the_agreed_order() {
    let matrices = matrices();
    let mut ours = update(3, &matrices);
    // Far apart, so that every sum rounds.
    ours.2.iter_mut().enumerate().for_each(|(place, value)| *value *= 2.0_f32.powi((place * 7 % 40) as i32 - 20));
    let chunks = total(&matrices).1 as u64;
    let of_tensors = matrices.iter().map(|matrix| matrix.chunk as u64).chain([chunks]).collect::<Vec<_>>();
    for (order, firsts) in ORDERS.into_iter().zip([of_tensors, (0..=chunks).collect(), vec![0, chunks]]) {
        let there = Update::upload(&device(order), &ours.0, &ours.1, &ours.2).unwrap();
        let (norms, peaks) = there.norms(&firsts).unwrap();
        let expected = firsts.windows(2).map(|chunks| norm(&ours, chunks)).collect::<Vec<_>>();
        assert_eq!(norms.iter().map(|norm| norm.to_bits()).zip(peaks).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn emulated_scatter_adds_every_coordinate() {
    let matrices = matrices();
    let (len, _) = total(&matrices);
    let (ours, start) = (update(2, &matrices), numbers(5, len));
    let mut expected = start.clone();
    entries(&matrices, &ours).into_iter().for_each(|(place, value)| expected[place] += -0.3 * value);
    let device = device(0);
    let there = Update::upload(&device, &ours.0, &ours.1, &ours.2).unwrap();
    let mut dense = device.upload(&start).unwrap();
    there.add_to(&mut dense, &matrices, -0.3).unwrap();
    assert_eq!(bits(&dense.read().unwrap()), bits(&expected));
}

fn check_outer(order: u64, peers: u64, divisor: Divisor) {
    let (device, matrices) = (device(order), matrices());
    let (len, rate) = (total(&matrices).0, 0.7);
    let updates = (0..peers).map(|seed| update(seed, &matrices)).collect::<Vec<_>>();
    let factor = |peer: usize, tensor: usize| 0.5 + (peer * 3 + tensor) as f32 / 10.0;
    let start = numbers(9, len);
    let (mut sums, mut weights) = (vec![0.0_f32; len], vec![0.0_f32; len]);
    for (peer, update) in updates.iter().enumerate() {
        for (place, value) in entries(&matrices, update) {
            let tensor = matrices.iter().rposition(|matrix| matrix.offset <= place).unwrap();
            sums[place] += factor(peer, tensor) * value;
            weights[place] += 1.0 + peer as f32;
        }
    }
    let divide = |place: usize| match divisor {
        Divisor::Total(total) => sums[place] / total,
        Divisor::Contributors => sums[place] / if weights[place] > 0.0 { weights[place] } else { 1.0 },
    };
    let expected = start.iter().enumerate().map(|(place, theta)| theta - rate * divide(place)).collect::<Vec<_>>();
    let there = updates.iter().map(|(a, b, c)| Update::upload(&device, a, b, c).unwrap()).collect::<Vec<_>>();
    let peer = |(number, update)| Peer { update, weight: 1.0 + number as f32 };
    let there = there.iter().enumerate().map(peer).collect::<Vec<_>>();
    let tensor = |(number, matrix): (usize, &Matrix)| {
        let factors = (0..updates.len()).map(|peer| factor(peer, number)).collect();
        Tensor { matrix: *matrix, factors }
    };
    let tensors = matrices.iter().enumerate().map(tensor).collect::<Vec<_>>();
    let mut theta = device.upload(&start).unwrap();
    Outer { divisor, rate }.run(&mut theta, &there, &tensors).unwrap();
    assert_eq!(bits(&theta.read().unwrap()), bits(&expected));
}

#[test]
fn the_emulated_outer_step_is_that_of_plain_arithmetic() {
    for order in ORDERS {
        check_outer(order, 5, Divisor::Total(4.0));
        check_outer(order, 5, Divisor::Contributors);
    }
    // More than are read ahead together, and nobody.
    check_outer(1, 40, Divisor::Contributors);
    check_outer(0, 0, Divisor::Total(1.0));
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = device(0);
    let matrix = Matrix { offset: 0, chunk: 0, rows: 4, columns: 4, bands: 1, across: 1 };
    let mut picked = Picked::new(&device, 1, 2).unwrap();
    let mut run = |len: usize, matrix: Matrix, kept: usize| {
        let mut values = device.zeros::<f32>(len).unwrap();
        let mut feedback = Feedback { values: &mut values, step: None, subtract: true };
        Compress::new(&device, &[(matrix, [kept; 4])], Levels::One)?.run(&mut feedback, &mut picked)
    };
    assert_eq!(run(16, matrix, 2), Ok(()));
    assert!(matches!(run(15, matrix, 2), Err(DeviceError::Length { expected: 16, found: 15, .. })));
    assert!(matches!(run(16, matrix, 3), Err(DeviceError::Length { .. })));
    assert!(matches!(run(16, Matrix { chunk: 1, ..matrix }, 2), Err(DeviceError::Length { .. })));
    assert!(matches!(run(16, Matrix { bands: 5, ..matrix }, 2), Err(DeviceError::Shape(_))));
    let (mut values, mut without) = (device.zeros::<f32>(16).unwrap(), Picked::new(&device, 1, 2).unwrap());
    let mut feedback = Feedback { values: &mut values, step: None, subtract: true };
    let refused = Compress::new(&device, &[(matrix, [2; 4])], Levels::Exact).unwrap().run(&mut feedback, &mut without);
    assert!(matches!(refused, Err(DeviceError::Length { expected: 2, found: 0, .. })));
    let long = Matrix { rows: 255, columns: 255, ..matrix };
    assert!(matches!(run(255 * 255, long, 2), Err(DeviceError::Shared { .. })));
    let upload = |starts: &[u64], indices: &[u16]| Update::upload(&device, starts, indices, &[1.0, 2.0]).err();
    assert_eq!(upload(&[0, 2], &[1, 5]), None);
    for (starts, indices) in [(&[0, 1][..], [1, 5]), (&[0, 3, 2], [1, 5]), (&[], [1, 5]), (&[0, 2], [5, 5])] {
        assert!(matches!(upload(starts, &indices), Some(DeviceError::Shape(_))), "{starts:?} {indices:?}");
    }
    // A position that the chunk does not have changes nothing.
    let update = Update::upload(&device, &[0, 2], &[3, 16], &[1.0, 2.0]).unwrap();
    let mut dense = device.zeros::<f32>(17).unwrap();
    update.add_to(&mut dense, &[matrix], 1.0).unwrap();
    assert_eq!(dense.read().unwrap().iter().sum::<f32>(), 1.0);
    let other = Device::emulation(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let mut elsewhere = other.zeros::<f32>(16).unwrap();
    assert!(matches!(update.add_to(&mut elsewhere, &[matrix], 1.0), Err(DeviceError::Shape(_))));
}

#[test]
fn memory_holds_what_is_written() {
    let device = device(0);
    let mut first = device.upload(&[1_u16, 2, 3]).unwrap();
    let mut second = device.zeros::<u16>(3).unwrap();
    assert_eq!((second.read().unwrap(), first.len()), (vec![0; 3], 3));
    second.copy_from(&first).unwrap();
    first.write(&[4, 5, 6]).unwrap();
    let mark = device.mark().unwrap();
    assert_eq!(first.read_after(&mark, 1..3).unwrap(), [5, 6]);
    assert_eq!(second.read().unwrap(), [1, 2, 3]);
    assert!(matches!(first.write(&[1]), Err(DeviceError::Length { .. })));
    assert!(matches!(first.read_after(&mark, 2..4), Err(DeviceError::Length { .. })));
    assert!(device.zeros::<f32>(0).unwrap().read().unwrap().is_empty());
}
