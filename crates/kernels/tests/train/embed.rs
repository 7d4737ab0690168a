//! Embedding rows, biases and conversions against plain loops.

use pactum_kernels::{Bf16, Device, DeviceError, Element, Ids, Norm, add_bias, add_rows, convert};

use crate::{devices, elements, near, numbers, read, tolerance, wide};

const VOCABULARY: usize = 11;

fn check_ids(device: &Device, tokens: &[u32], width: usize) {
    let (table, slope) = (numbers(51, VOCABULARY * width), numbers(52, tokens.len() * width));
    let mut ids = Ids::room(device, 40).unwrap();
    ids.write(tokens, VOCABULARY).unwrap();
    let mut out = device.zeros(tokens.len() * width).unwrap();
    ids.gather(&device.upload(&table).unwrap(), &mut out).unwrap();
    let rows = tokens.iter().flat_map(|&token| &table[token as usize * width..][..width]);
    assert_eq!(out.read().unwrap(), rows.copied().collect::<Vec<_>>());
    // The gradient is added to what is there.
    let mut gradient = device.upload(&table).unwrap();
    ids.spread(&device.upload(&slope).unwrap(), &mut gradient).unwrap();
    let mut expected = wide(&table);
    for (token, slope) in tokens.iter().zip(slope.chunks(width)) {
        let row = &mut expected[*token as usize * width..][..width];
        row.iter_mut().zip(slope).for_each(|(sum, &slope)| *sum += f64::from(slope));
    }
    near(&read(&gradient), &expected, 1e-6);
}

#[test]
fn emulated_embeddings_are_those_of_plain_loops() {
    for device in devices() {
        check_ids(&device, &[3, 0, 3, 10, 3, 7, 0], 300);
        check_ids(&device, &[5; 40], 8);
        check_ids(&device, &[0], 1);
    }
}

#[test]
fn tokens_that_do_not_fit_are_refused() {
    let device = devices().remove(0);
    let mut ids = Ids::room(&device, 4).unwrap();
    assert!(matches!(ids.write(&[1, VOCABULARY as u32], VOCABULARY), Err(DeviceError::Shape(_))));
    assert!(matches!(ids.write(&[1; 6], VOCABULARY), Err(DeviceError::Length { .. })));
    let (table, mut out) = (device.zeros(VOCABULARY * 2).unwrap(), device.zeros(4).unwrap());
    assert!(ids.gather(&table, &mut out).is_err(), "nothing was written yet");
    ids.write(&[1, 2, 3], VOCABULARY).unwrap();
    assert!(matches!(ids.gather(&table, &mut out), Err(DeviceError::Shape(_))));
}

fn check_bias<E: Element>(device: &Device, rows: usize, width: usize) {
    let ((values, exact), bias) = (elements::<E>(&numbers(53, rows * width)), numbers(54, width));
    let mut there = device.upload(&values).unwrap();
    let mut sums = device.upload(&bias).unwrap();
    add_rows(&mut sums, &there, &mut Norm::room(device, rows, width).unwrap()).unwrap();
    let column = |at: usize| exact.iter().skip(at).step_by(width).sum::<f64>();
    let expected = (0..width).map(|at| f64::from(bias[at]) + column(at)).collect::<Vec<_>>();
    near(&read(&sums), &expected, 1e-6);
    add_bias(&mut there, &device.upload(&bias).unwrap()).unwrap();
    let expected = exact.iter().enumerate().map(|(at, value)| value + f64::from(bias[at % width]));
    near(&read(&there), &expected.collect::<Vec<_>>(), tolerance::<E>());
}

#[test]
fn emulated_biases_are_those_of_plain_loops() {
    for device in devices() {
        check_bias::<f32>(&device, 37, 300);
        check_bias::<Bf16>(&device, 16, 3);
        assert!(matches!(
            add_bias(&mut device.zeros::<f32>(7).unwrap(), &device.zeros(3).unwrap()),
            Err(DeviceError::Shape(_))
        ));
    }
}

#[test]
fn emulated_conversions_round_to_the_nearest() {
    let values = numbers(55, 3000);
    for device in devices() {
        let there = device.upload(&values).unwrap();
        let (mut short, mut long) = (device.zeros::<Bf16>(3000).unwrap(), device.zeros::<f32>(3000).unwrap());
        convert(&there, &mut short).unwrap();
        convert(&there, &mut long).unwrap();
        assert_eq!(short.read().unwrap(), values.iter().map(|&value| Bf16::from(value)).collect::<Vec<_>>());
        assert_eq!(long.read().unwrap(), values);
    }
}

#[test]
fn parts_share_their_memory() {
    for device in devices() {
        let mut whole = device.upload(&[1.0_f32, 2.0, 3.0, 4.0]).unwrap();
        let mut part = whole.part(1..3).unwrap();
        part.write(&[7.0, 8.0]).unwrap();
        assert_eq!(whole.read().unwrap(), [1.0, 7.0, 8.0, 4.0]);
        part.part(1..2).unwrap().clear().unwrap();
        whole.clear().unwrap();
        drop(whole);
        assert_eq!(part.read().unwrap(), [0.0, 0.0]);
        assert!(part.part(1..3).is_err());
        assert_eq!(part.part(2..2).unwrap().len(), 0);
    }
}
