use super::*;
use crate::{AdamW, ModelConfig, initial_parameters};
use proptest::prelude::*;

/// Moments in a store that fails after so many calls.
struct Store {
    moments: Mutex<[Vec<f32>; 2]>,
    calls: Mutex<usize>,
}

impl Store {
    fn new(count: usize, calls: usize) -> Self {
        Self { moments: Mutex::new([vec![0.0; count], vec![0.0; count]]), calls: Mutex::new(calls) }
    }

    fn call(&self) -> io::Result<()> {
        let mut calls = self.calls.lock().unwrap();
        *calls = calls.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        Ok(())
    }
}

impl MomentStore for Store {
    fn read(&self, at: usize, first: &mut [f32], second: &mut [f32]) -> io::Result<()> {
        let moments = self.moments.lock().unwrap();
        first.copy_from_slice(&moments[0][at..at + first.len()]);
        second.copy_from_slice(&moments[1][at..at + second.len()]);
        self.call()
    }

    fn write(&self, at: usize, first: &[f32], second: &[f32]) -> io::Result<()> {
        let mut moments = self.moments.lock().unwrap();
        moments[0][at..at + first.len()].copy_from_slice(first);
        moments[1][at..at + second.len()].copy_from_slice(second);
        self.call()
    }
}

/// Tensors of any lengths, some of which decay.
fn specs(lengths: &[(usize, bool)]) -> Vec<ParameterSpec> {
    let mut offset = 0;
    let spec = |&(length, matrix): &(usize, bool)| {
        let shape = if matrix { vec![1, length] } else { vec![length] };
        let spec = ParameterSpec { name: String::new(), shape, offset };
        offset += length;
        spec
    };
    lengths.iter().map(spec).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn where_the_moments_lie_changes_no_bit(
        lengths in prop::collection::vec((1..2 * BLOCK, any::<bool>()), 1..4),
        threads in 1_usize..4,
        clip in prop::sample::select(vec![0.5, f32::INFINITY]),
    ) {
        let specs = specs(&lengths);
        let count = specs.iter().map(ParameterSpec::len).sum();
        let config = AdamWConfig { clip, ..AdamWConfig::default() };
        let engine = Engine::new(&ModelConfig::default(), 1, threads).unwrap();
        let mut here = AdamW::new(config, &specs);
        let mut away = StreamedAdamW::new(config, &specs).on_threads_of(&engine);
        let store = Store::new(count, usize::MAX);
        let mut parameters = [vec![0.5; count], vec![0.5; count]];
        for step in 0..3 {
            let gradient: Vec<f32> = (0..count).map(|at| ((at * 7 + step * 5) % 13) as f32 / 8.0 - 0.75).collect();
            let report = here.step(&mut parameters[0], &gradient, 0.01);
            prop_assert_eq!(away.step(&mut parameters[1], &gradient, 0.01, &store).unwrap(), report);
        }
        prop_assert!(parameters[0] == parameters[1]);
        let moments = store.moments.into_inner().unwrap();
        prop_assert!(moments[0] == here.first_moments() && moments[1] == here.second_moments());
        prop_assert_eq!(away.steps(), here.steps());
    }
}

#[test]
fn a_gradient_that_is_not_finite_asks_for_no_moments() {
    let specs = specs(&[(9, true)]);
    let mut optimizer = StreamedAdamW::new(AdamWConfig::default(), &specs);
    let mut parameters = vec![1.0; 9];
    let report = optimizer.step(&mut parameters, &[f32::NAN; 9], 0.1, &Store::new(9, 0)).unwrap();
    assert_eq!((report.applied, parameters, optimizer.steps()), (false, vec![1.0; 9], 0));
}

#[test]
fn a_store_that_fails_ends_the_step() {
    let config = ModelConfig::default();
    let gradient = initial_parameters(&config, 2);
    let blocks = config.count().div_ceil(BLOCK);
    for (calls, good) in [(0, false), (3, false), (2 * blocks - 1, false), (2 * blocks, true)] {
        let mut optimizer = StreamedAdamW::new(AdamWConfig::default(), &config.parameters());
        let store = Store::new(config.count(), calls);
        let result = optimizer.step(&mut initial_parameters(&config, 1), &gradient, 0.1, &store);
        assert_eq!(result.map_err(|error| error.kind()).is_ok(), good, "{calls} of {blocks} blocks");
    }
}

#[test]
fn an_optimizer_goes_on_after_one_in_memory() {
    let config = ModelConfig::default();
    let gradient = initial_parameters(&config, 2);
    let mut here = AdamW::new(AdamWConfig::default(), &config.parameters());
    let mut parameters = initial_parameters(&config, 1);
    here.step(&mut parameters, &gradient, 0.01);
    let moments = [here.first_moments().to_vec(), here.second_moments().to_vec()];
    let store = Store { moments: Mutex::new(moments), calls: Mutex::new(usize::MAX) };
    let mut away = StreamedAdamW::new(AdamWConfig::default(), &config.parameters());
    away.set_steps(here.steps());
    let mut streamed = parameters.clone();
    here.step(&mut parameters, &gradient, 0.01);
    away.step(&mut streamed, &gradient, 0.01, &store).unwrap();
    assert!(parameters == streamed);
    assert_eq!(away.steps(), 2);
}
