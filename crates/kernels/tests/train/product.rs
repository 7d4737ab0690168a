//! Matrix products against plain sums.

use pactum_kernels::{Bf16, Device, DeviceError, Element, Factor, Product};

use crate::{devices, elements, near, numbers, read};

/// What a product is off by for each number that it sums.
const EACH: f64 = 2e-7;

fn transpose<E: Copy>(numbers: &[E], columns: usize) -> Vec<E> {
    (0..columns).flat_map(|column| numbers.iter().skip(column).step_by(columns).copied()).collect()
}

fn expected(left: &[f64], right: &[f64], depth: usize, columns: usize) -> Vec<f64> {
    let sum = |row: &[f64], column: usize| (0..depth).map(|at| row[at] * right[at * columns + column]).sum();
    left.chunks(depth).flat_map(|row| (0..columns).map(move |column| sum(row, column))).collect()
}

fn check<E: Element, O: Element>(device: &Device, [rows, columns, depth]: [usize; 3]) {
    let ((left, exact_left), (right, exact_right)) =
        (elements::<E>(&numbers(41, rows * depth)), elements::<E>(&numbers(42, depth * columns)));
    let (addend, exact) = elements::<O>(&numbers(43, rows * columns));
    let product = expected(&exact_left, &exact_right, depth, columns);
    let sum = product.iter().zip(&exact).map(|(a, b)| a + b).collect::<Vec<_>>();
    let allowed = EACH * depth as f64 + if O::NARROW { 4e-3 } else { 0.0 };
    for transposed in 0..4 {
        let [of_left, of_right] = [transposed & 1 > 0, transposed & 2 > 0];
        let lies = |numbers: &[E], columns, turned| if turned { transpose(numbers, columns) } else { numbers.to_vec() };
        let a = device.upload(&lies(&left, depth, of_left)).unwrap();
        let b = device.upload(&lies(&right, columns, of_right)).unwrap();
        let by = Product {
            left: Factor { numbers: &a, rows, columns: depth, transposed: of_left },
            right: Factor { numbers: &b, rows: depth, columns, transposed: of_right },
        };
        let mut out = device.zeros::<O>(rows * columns).unwrap();
        by.set(&mut out).unwrap();
        near(&read(&out), &product, allowed);
        out.write(&addend).unwrap();
        by.add(&mut out).unwrap();
        near(&read(&out), &sum, allowed);
        let (from, mut other) = (device.upload(&addend).unwrap(), device.zeros::<O>(rows * columns).unwrap());
        by.add_to(&from, &mut other).unwrap();
        assert_eq!(read(&other), read(&out));
        near(&read(&from), &exact, 0.0);
    }
}

#[test]
fn emulated_products_are_those_of_plain_sums() {
    for device in devices() {
        for shape in [[1, 1, 1], [70, 65, 33], [5, 130, 16]] {
            check::<f32, f32>(&device, shape);
            check::<Bf16, f32>(&device, shape);
            check::<Bf16, Bf16>(&device, shape);
        }
    }
}

#[test]
fn a_transposed_factor_is_the_same_numbers() {
    let device = devices().remove(0);
    let numbers = device.upload(&numbers(44, 6)).unwrap();
    let factor = Factor::new(&numbers, 2, 3);
    assert_eq!((factor.transposed().rows, factor.transposed().columns, factor.transposed().transposed), (3, 2, true));
    let mut out = device.zeros::<f32>(4).unwrap();
    Product { left: factor, right: factor.transposed() }.set(&mut out).unwrap();
    let found = read(&out);
    assert!(found[1] == found[2] && found[0] > 0.0);
}

#[test]
fn factors_that_do_not_fit_are_refused() {
    let device = devices().remove(0);
    let of = |len: usize| device.zeros::<f32>(len).unwrap();
    let (a, b) = (of(6), of(6));
    let by = |left, right| Product { left, right };
    let (tall, wide) = (Factor::new(&a, 3, 2), Factor::new(&b, 2, 3));
    assert!(matches!(by(tall, wide).set(&mut of(8)), Err(DeviceError::Shape(_))));
    assert!(matches!(by(tall, tall).set(&mut of(9)), Err(DeviceError::Shape(_))));
    assert!(matches!(by(Factor { rows: 4, ..tall }, wide).set(&mut of(12)), Err(DeviceError::Length { .. })));
    assert!(matches!(by(tall, wide).add_to(&of(8), &mut of(9)), Err(DeviceError::Length { .. })));
    let other = devices().remove(0);
    assert!(matches!(by(tall, wide).set(&mut other.zeros::<f32>(9).unwrap()), Err(DeviceError::Shape(_))));
}
