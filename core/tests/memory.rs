//! Memory is exact: what is asked for is enough, one less is an error, and all of it is used.

mod common;

use common::{Tiles, bits, checked, network, numbers, parameters};
use narrows_core::error::Error;
use narrows_core::inference::{self, Inference};
use narrows_core::kernels::{Portable, Sequential};
use narrows_core::layer::Activation;
use narrows_core::loss::Loss;
use narrows_core::math::Math;
use narrows_core::memory::f32_mut;
use narrows_core::network::Step;
use narrows_core::optimizer::Optimizer;
use narrows_core::penalty::{Penalty, Sparsity};
use narrows_core::training::{Mode, Options, Trainer, memory_len};
use proptest::prelude::*;

const GUARD: usize = 64;
/// A quiet NaN that no computation here makes: this payload is not the processors' default one.
const PATTERN: u32 = 0x7fed_cba9;

fn pattern(length: usize) -> Vec<f32> {
    vec![f32::from_bits(PATTERN); length]
}

fn untouched(values: &[f32]) -> usize {
    values
        .iter()
        .filter(|value| value.to_bits() == PATTERN)
        .count()
}

fn options(mode: Mode, optimizer: Optimizer) -> Options<'static> {
    Options {
        loss: Loss::MeanSquaredError,
        optimizer,
        mode,
        first_trainable: 0,
        penalties: &[],
        math: Math::Exact,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn inference_needs_all_that_it_asks_for_and_nothing_behind_it((input, kinds) in network(), batch in 1usize..4, seed: u64) {
        let network = checked(input, &kinds);
        let (parameters, executor) = (parameters(&network, seed), Sequential::<Portable>::new());
        let (input, layers) = (numbers(seed, network.input().len() * batch), 0..kinds.len());
        let mut output = vec![0.0; network.output().len() * batch];
        let needed = inference::workspace_len(&network, layers.clone(), batch);
        let mut workspace = pattern(needed + GUARD);
        Inference { executor: &executor, network: &network, parameters: &parameters, math: Math::Exact }.run(layers.clone(), &input, &mut output, &mut workspace).unwrap();
        prop_assert_eq!(untouched(&workspace[..needed]), 0);
        prop_assert_eq!(untouched(&workspace[needed..]), GUARD);
        let mut again = vec![0.0; output.len()];
        Inference { executor: &executor, network: &network, parameters: &parameters, math: Math::Exact }.run(layers.clone(), &input, &mut again, &mut workspace[..needed]).unwrap();
        prop_assert_eq!(bits(&again), bits(&output));
        if needed > 0 {
            let error = Inference { executor: &executor, network: &network, parameters: &parameters, math: Math::Exact }.run(layers, &input, &mut again, &mut workspace[..needed - 1]);
            prop_assert_eq!(error, Err(Error::BufferTooSmall { what: "workspace", needed: 4 * needed, given: 4 * (needed - 1) }));
        }
    }

    #[test]
    fn training_needs_all_that_it_asks_for_and_nothing_behind_it(
        (input, kinds) in network(), batch in 0usize..5, seed: u64, adam: bool,
    ) {
        let network = checked(input, &kinds);
        prop_assume!(network.parameter_len() > 0);
        let optimizer = if adam { Optimizer::adam() } else { Optimizer::Sgd { learning_rate: 0.01, momentum: 0.5 } };
        let mode = if batch == 0 { Mode::Fused } else { Mode::Accumulate { batch } };
        // Sums of activities take memory too.
        let keeps = |step: &Step<'_>| batch > 0 && step.layer.kind.activation() == Activation::Sigmoid;
        let sparsity = Some(Sparsity { target: 0.1, weight: 1.0 });
        let penalties: Vec<Penalty> =
            network.steps().filter(keeps).map(|step| Penalty { layer: step.index, sparsity, ..Penalty::default() }).collect();
        let options = Options { penalties: &penalties, ..options(mode, optimizer) };
        let needed = memory_len(&network, &options).unwrap();
        let mut memory = pattern(needed + GUARD);
        let mut parameters = parameters(&network, seed);
        let (input, target) = (numbers(seed, network.input().len() * mode.batch()), numbers(seed ^ 1, network.output().len() * mode.batch()));
        let mut trainer = Trainer::new(&network, options, &mut memory).unwrap();
        trainer.step(&Tiles::<4, 4>(1), &mut parameters, &input, &target).unwrap();
        prop_assert_eq!(untouched(&memory[..needed]), 0);
        prop_assert_eq!(untouched(&memory[needed..]), GUARD);
        let error = Trainer::new(&network, options, &mut memory[..needed - 1]).map(|_| ());
        prop_assert_eq!(error, Err(Error::BufferTooSmall { what: "training memory", needed: 4 * needed, given: 4 * (needed - 1) }));
    }
}

#[test]
fn one_byte_fewer_is_an_error_that_says_how_many_were_needed() {
    let mut bytes = [0u64; 8];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut bytes);
    assert_eq!(
        f32_mut("arena", &mut bytes[..40], 10).map(|numbers| numbers.len()),
        Ok(10)
    );
    assert_eq!(
        f32_mut("arena", &mut bytes[..39], 10),
        Err(Error::BufferTooSmall {
            what: "arena",
            needed: 40,
            given: 39
        })
    );
    assert_eq!(
        f32_mut("arena", &mut bytes[1..61], 10),
        Err(Error::Misaligned {
            what: "arena",
            alignment: 4
        })
    );
}
