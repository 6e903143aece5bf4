//! Networks, numbers and executors that several tests share.
#![allow(dead_code, reason = "each test uses its part")]

use narrows_core::kernels::{Executor, Portable, Task, Vectors};
use narrows_core::layer::{Activation, Layer, LayerKind};
use narrows_core::network::Network;
use narrows_core::random::{Purpose, Random};
use narrows_core::shape::{Padding, Shape};
use proptest::prelude::*;

/// Vectors of a given width.
pub(crate) struct Wide<const LANES: usize>;

impl<const LANES: usize> Vectors for Wide<LANES> {
    type Wide = [f32; LANES];
    type Eight = [f32; 8];
    type Four = [f32; 4];
}

/// An executor with tiles of a given size that also cuts tasks into unequal parts, as threads would.
pub(crate) struct Tiles<const ROWS: usize, const LANES: usize>(pub(crate) usize);

impl<const ROWS: usize, const LANES: usize> Executor for Tiles<ROWS, LANES> {
    fn execute<T: Task>(&self, mut task: T) {
        for part in (1..self.0).rev() {
            let units = task.units() / (part + 1);
            if units == 0 {
                break;
            }
            let (first, rest) = task.split(units);
            first.run::<Portable, Wide<LANES>, ROWS>();
            task = rest;
        }
        task.run::<Portable, Wide<LANES>, ROWS>();
    }
}

/// Numbers in [-1, 1) with zeros of both signs and subnormals among them.
pub(crate) fn numbers(seed: u64, length: usize) -> Vec<f32> {
    let random = Random::new(seed, Purpose::Initialize);
    (0..length as u32)
        .map(|element| {
            let x = random.uniform(0, 0, element) * 2.0 - 1.0;
            match random.word(1, 0, element) % 16 {
                0 => 0.0,
                1 => -0.0,
                2 => x * f32::MIN_POSITIVE,
                _ => x,
            }
        })
        .collect()
}

/// The bits, for comparisons that tell -0.0 from +0.0.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

pub(crate) const NAMES: [&str; 12] = [
    "l0", "l1", "l2", "l3", "l4", "l5", "l6", "l7", "l8", "l9", "l10", "l11",
];

pub(crate) fn activation() -> impl Strategy<Value = Activation> {
    use Activation::{Linear, Relu, Sigmoid, Softmax, Tanh};
    prop::sample::select(vec![Linear, Relu, Sigmoid, Tanh, Softmax])
}

pub(crate) fn padding() -> impl Strategy<Value = Padding> {
    prop::sample::select(vec![Padding::Same, Padding::Valid])
}

fn pair(most: u32) -> impl Strategy<Value = [u32; 2]> {
    prop::array::uniform2(1..=most)
}

pub(crate) fn picture_layer() -> impl Strategy<Value = LayerKind> {
    prop_oneof![
        3 => (1..20u32, pair(4), pair(3), padding(), activation()).prop_map(
            |(filters, kernel_size, strides, padding, activation)| LayerKind::Conv2d { filters, kernel_size, strides, padding, activation }
        ),
        1 => (pair(3), pair(3), padding()).prop_map(|(pool_size, strides, padding)| LayerKind::MaxPool2d { pool_size, strides, padding }),
        1 => pair(3).prop_map(|size| LayerKind::UpSample2d { size }),
    ]
}

fn dense_layer() -> impl Strategy<Value = LayerKind> {
    (1..40u32, activation()).prop_map(|(units, activation)| LayerKind::Dense { units, activation })
}

/// An input's shape and layers that go with it; those that would not fit are left out.
pub(crate) fn network() -> impl Strategy<Value = (Shape, Vec<LayerKind>)> {
    let picture = (
        1..9u32,
        1..9u32,
        1..6u32,
        prop::collection::vec(picture_layer(), 0..5),
        prop::collection::vec(dense_layer(), 0..3),
    );
    let flat = (1..50u32, prop::collection::vec(dense_layer(), 1..4));
    prop_oneof![
        picture.prop_map(|(height, width, channels, mut layers, dense)| {
            let input = Shape::picture(height, width, channels);
            if !dense.is_empty() || layers.is_empty() {
                layers.push(LayerKind::Flatten);
                layers.extend(dense);
            }
            (input, layers)
        }),
        flat.prop_map(|(length, layers)| (Shape::flat(length), layers)),
    ]
    .prop_map(|(input, layers)| {
        let (mut shape, mut kept) = (input, Vec::new());
        for layer in layers {
            if let Ok(work) = layer.plan(shape)
                && work.output_shape().len() < 3000
            {
                shape = work.output_shape();
                kept.push(layer);
            }
        }
        if kept.is_empty() {
            kept.push(LayerKind::Reshape { target: input });
        }
        (input, kept)
    })
}

/// Names for layers.
pub(crate) fn named(kinds: &[LayerKind]) -> Vec<Layer<'static>> {
    kinds
        .iter()
        .zip(NAMES)
        .map(|(kind, name)| Layer { name, kind: *kind })
        .collect()
}

pub(crate) fn checked(input: Shape, kinds: &[LayerKind]) -> Network<'static> {
    Network::new(input, &named(kinds), kinds.len() / 2)
        .expect("layers that do not fit were left out")
}

/// Parameters small enough that deep networks stay finite.
pub(crate) fn parameters(network: &Network<'_>, seed: u64) -> Vec<f32> {
    numbers(seed, network.parameter_len())
        .into_iter()
        .map(|x| x * 0.5)
        .collect()
}
