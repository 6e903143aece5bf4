//! What a list of layers must be to become a network, what follows from it, and what running and training it refuse.

mod common;

use common::{Tiles, activation, bits, checked, named, numbers, padding, parameters};
use narrows_core::error::Error;
use narrows_core::inference::{self, Inference};
use narrows_core::kernels::{Portable, Sequential};
use narrows_core::layer::{Activation, Layer, LayerKind, LayerProblem};
use narrows_core::loss::Loss;
use narrows_core::math::Math;
use narrows_core::network::{MAX_LAYERS, Network};
use narrows_core::optimizer::Optimizer;
use narrows_core::shape::{MAX_ELEMENTS, Padding, Shape};
use narrows_core::training::{Mode, Options, Trainer, memory_len};
use proptest::prelude::*;

const EXECUTOR: Sequential<Portable> = Sequential::new();

fn dense(units: u32, activation: Activation) -> LayerKind {
    LayerKind::Dense { units, activation }
}

fn conv(filters: u32, size: u32, padding: Padding) -> LayerKind {
    let (kernel_size, strides) = ([size; 2], [1; 2]);
    LayerKind::Conv2d {
        filters,
        kernel_size,
        strides,
        padding,
        activation: Activation::Relu,
    }
}

fn pool(size: u32, padding: Padding) -> LayerKind {
    LayerKind::MaxPool2d {
        pool_size: [size; 2],
        strides: [size; 2],
        padding,
    }
}

fn up(size: u32) -> LayerKind {
    LayerKind::UpSample2d { size: [size; 2] }
}

fn vanilla() -> Network<'static> {
    let kinds = [dense(64, Activation::Relu), dense(784, Activation::Sigmoid)];
    Network::new(Shape::flat(784), &named(&kinds), 0).unwrap()
}

fn convolutional() -> Network<'static> {
    use Padding::{Same, Valid};
    let encoder = [
        conv(16, 3, Same),
        pool(2, Same),
        conv(8, 3, Same),
        pool(2, Same),
        conv(8, 3, Same),
        pool(2, Same),
    ];
    let decoder = [
        conv(8, 3, Same),
        up(2),
        conv(8, 3, Same),
        up(2),
        conv(16, 3, Valid),
        up(2),
    ];
    const NAMES: [&str; 13] = [
        "a", "b", "c", "d", "e", "code", "g", "h", "i", "j", "k", "l", "output",
    ];
    let kinds = encoder.into_iter().chain(decoder).chain([conv(1, 3, Same)]);
    let layers: Vec<Layer<'_>> = kinds
        .zip(NAMES)
        .map(|(kind, name)| Layer { name, kind })
        .collect();
    Network::new(Shape::picture(28, 28, 1), &layers, 5).unwrap()
}

/// Why a list of layers is refused; the message must be one line.
fn refused(input: Shape, layers: &[Layer<'_>], code: usize) -> (Error, String) {
    let error = Network::new(input, layers, code).unwrap_err();
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message:?}");
    (error, message)
}

#[test]
fn a_layer_that_does_not_fit_says_what_came_and_what_would() {
    let picture = Shape::picture(28, 28, 3);
    let flat = Shape::flat(6);
    let two = |width: u32| LayerKind::Conv2d {
        filters: 1,
        kernel_size: [2, width],
        strides: [1, 1],
        padding: Padding::Valid,
        activation: Activation::Linear,
    };
    let strides = |strides| LayerKind::MaxPool2d {
        pool_size: [2, 2],
        strides,
        padding: Padding::Same,
    };
    let reshape = |target| LayerKind::Reshape { target };
    let cases = [
        (
            picture,
            dense(4, Activation::Relu),
            LayerProblem::NeedsFlat { input: picture },
            "layer 0 (dense): expected a flat input, but [28, 28, 3] came: put a layer \"flatten\" before it",
        ),
        (
            flat,
            conv(4, 3, Padding::Same),
            LayerProblem::NeedsPicture { input: flat },
            "layer 0 (conv2d): expected an input [height, width, channels], but [6] came: put a layer \"reshape\" before it",
        ),
        (
            flat,
            pool(2, Padding::Same),
            LayerProblem::NeedsPicture { input: flat },
            "layer 0 (max_pooling2d): expected an input [height, width, channels], but [6] came: put a layer \"reshape\" before it",
        ),
        (
            flat,
            up(2),
            LayerProblem::NeedsPicture { input: flat },
            "layer 0 (up_sampling2d): expected an input [height, width, channels], but [6] came: put a layer \"reshape\" before it",
        ),
        (
            flat,
            dense(0, Activation::Relu),
            LayerProblem::Zero { key: "units" },
            "layer 0 (dense): expected units of at least 1, but 0 came",
        ),
        (
            picture,
            conv(0, 3, Padding::Same),
            LayerProblem::Zero { key: "filters" },
            "layer 0 (conv2d): expected filters of at least 1, but 0 came",
        ),
        (
            picture,
            two(0),
            LayerProblem::Zero { key: "kernel_size" },
            "layer 0 (conv2d): expected kernel_size of at least 1, but 0 came",
        ),
        (
            picture,
            pool(0, Padding::Same),
            LayerProblem::Zero { key: "pool_size" },
            "layer 0 (max_pooling2d): expected pool_size of at least 1, but 0 came",
        ),
        (
            picture,
            strides([1, 0]),
            LayerProblem::Zero { key: "strides" },
            "layer 0 (max_pooling2d): expected strides of at least 1, but 0 came",
        ),
        (
            picture,
            strides([0, 1]),
            LayerProblem::Zero { key: "strides" },
            "layer 0 (max_pooling2d): expected strides of at least 1, but 0 came",
        ),
        (
            picture,
            LayerKind::UpSample2d { size: [2, 0] },
            LayerProblem::Zero { key: "size" },
            "layer 0 (up_sampling2d): expected size of at least 1, but 0 came",
        ),
        (
            picture,
            two(29),
            LayerProblem::WindowTooLarge {
                input: picture,
                size: [2, 29],
            },
            "layer 0 (conv2d): expected an input of at least 2 x 29 for a window with padding \"valid\", but [28, 28, 3] came",
        ),
        (
            picture,
            reshape(Shape::flat(2351)),
            LayerProblem::ReshapeLength {
                input: picture,
                target: Shape::flat(2351),
            },
            "layer 0 (reshape): expected a target with the 2352 elements of the input [28, 28, 3], but [2351] came",
        ),
        (
            flat,
            reshape(Shape::picture(0, 2, 3)),
            LayerProblem::ReshapeLength {
                input: flat,
                target: Shape::picture(0, 2, 3),
            },
            "layer 0 (reshape): expected a target with the 6 elements of the input [6], but [0, 2, 3] came",
        ),
        (
            flat,
            dense(1 << 28, Activation::Relu),
            LayerProblem::TooLarge {
                limit: MAX_ELEMENTS,
            },
            "layer 0 (dense): expected output and parameters of at most 268435456 elements, but more came",
        ),
    ];
    for (input, kind, problem, text) in cases {
        let (error, message) = refused(input, &named(&[kind]), 0);
        assert_eq!(
            (error, message.as_str()),
            (
                Error::Layer {
                    index: 0,
                    kind: kind.name(),
                    problem
                },
                text
            )
        );
    }
}

#[test]
fn a_layer_is_named_by_its_place_and_sees_what_the_ones_before_it_give() {
    let kinds = [
        conv(2, 3, Padding::Valid),
        pool(2, Padding::Same),
        dense(4, Activation::Relu),
    ];
    let input = Shape::picture(1, 2, 3);
    assert_eq!(
        refused(Shape::picture(9, 8, 1), &named(&kinds), 0).1,
        "layer 2 (dense): expected a flat input, but [4, 3, 2] came: put a layer \"flatten\" before it",
    );
    let kinds = [
        LayerKind::Flatten,
        dense(12, Activation::Tanh),
        LayerKind::Reshape {
            target: Shape::picture(2, 2, 3),
        },
    ];
    assert_eq!(
        Network::new(input, &named(&kinds), 1).unwrap().output(),
        Shape::picture(2, 2, 3)
    );
}

#[test]
fn a_list_has_from_one_to_32_layers() {
    const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
    let layers: Vec<Layer<'_>> = (0..36)
        .map(|index| Layer {
            name: &ALPHABET[index..=index],
            kind: dense(2, Activation::Relu),
        })
        .collect();
    assert_eq!(
        Network::new(Shape::flat(2), &layers[..MAX_LAYERS], 31)
            .unwrap()
            .parameter_len(),
        32 * 6
    );
    for given in [0, 33, 36] {
        let (error, message) = refused(Shape::flat(2), &layers[..given], 0);
        assert_eq!(error, Error::LayerCount { limit: 32, given });
        assert_eq!(
            message,
            format!("layers: expected 1 to 32 of them, but {given} came")
        );
    }
}

#[test]
fn names_are_unique_and_the_code_is_one_of_the_layers() {
    let twice = ["a", "b", "a"].map(|name| Layer {
        name,
        kind: dense(2, Activation::Relu),
    });
    let (error, message) = refused(Shape::flat(2), &twice, 0);
    assert_eq!(
        error,
        Error::Layer {
            index: 2,
            kind: "dense",
            problem: LayerProblem::DuplicateName
        }
    );
    assert_eq!(
        message,
        "layer 2 (dense): expected a name of its own, but an earlier layer has the same"
    );

    let name = "n".repeat(65);
    let long = [Layer {
        name: &name,
        kind: dense(2, Activation::Relu),
    }];
    let (_, message) = refused(Shape::flat(2), &long, 0);
    assert_eq!(
        message,
        "layer 0 (dense): expected a name of at most 64 bytes, but 65 came"
    );

    let (error, message) = refused(Shape::flat(2), &twice[..2], 2);
    assert_eq!(
        error,
        Error::Code {
            layers: 2,
            given: 2
        }
    );
    assert_eq!(
        message,
        "code: expected the index of one of 2 layers, but 2 came"
    );

    let network = Network::new(Shape::flat(2), &twice[..2], 1).unwrap();
    assert_eq!(
        (network.index_of("b"), network.index_of("c")),
        (Some(1), None)
    );
}

#[test]
fn an_input_has_elements_and_not_too_many() {
    let most = Shape::flat(MAX_ELEMENTS as u32);
    assert!(Network::new(most, &named(&[LayerKind::Flatten]), 0).is_ok());
    for shape in [
        Shape::flat(0),
        Shape::flat(MAX_ELEMENTS as u32 + 1),
        Shape::picture(1 << 31, 1 << 31, 4),
        Shape::picture(2, 0, 2),
    ] {
        let (error, message) = refused(shape, &named(&[LayerKind::Flatten]), 0);
        assert_eq!(error, Error::Input { shape });
        assert_eq!(
            message,
            format!("input: expected a shape of 1 to 268435456 elements, but {shape} came")
        );
    }
}

#[test]
fn parameters_are_limited_a_layer_and_in_all() {
    // 2^14 inputs and 2^14 - 1 units have 2^28 - 2^14 weights and 2^14 - 1 biases.
    let largest = dense((1 << 14) - 1, Activation::Relu);
    let fits = Network::new(Shape::flat(1 << 14), &named(&[largest]), 0).unwrap();
    assert_eq!(fits.parameter_len(), MAX_ELEMENTS - 1);
    let (error, message) = refused(
        Shape::flat(1 << 14),
        &named(&[largest, dense(1, Activation::Relu)]),
        0,
    );
    assert_eq!(
        error,
        Error::TooManyParameters {
            limit: MAX_ELEMENTS
        }
    );
    assert_eq!(
        message,
        "parameters: expected at most 268435456 in all, but more came"
    );
    let (error, _) = refused(
        Shape::flat(1 << 14),
        &named(&[dense(1 << 14, Activation::Relu)]),
        0,
    );
    assert_eq!(
        error,
        Error::Layer {
            index: 0,
            kind: "dense",
            problem: LayerProblem::TooLarge {
                limit: MAX_ELEMENTS
            }
        }
    );
}

#[test]
fn the_vanilla_network_has_the_sizes_that_one_computes_by_hand() {
    let network = vanilla();
    assert_eq!(network.parameter_len(), 784 * 64 + 64 + 64 * 784 + 784);
    assert_eq!(network.parameter_len(), 101_200);
    assert_eq!(network.multiply_accumulates(), 100_352);
    assert_eq!(
        (network.code_shape(), network.output()),
        (Shape::flat(64), Shape::flat(784))
    );
    assert_eq!(inference::workspace_len(&network, 0..2, 1), 64);
    assert_eq!(inference::workspace_len(&network, 0..2, 32), 2048);
    assert_eq!(inference::workspace_len(&network, 0..1, 1), 0);
    assert_eq!(inference::workspace_len(&network, 1..2, 1), 0);

    let options = |mode| Options { mode, ..options() };
    // Adam's two moments, a loss, the outputs of both layers, the gradients of both.
    assert_eq!(
        memory_len(&network, &options(Mode::Fused)),
        Ok(2 * 101_200 + 1 + (64 + 784) + (64 + 784))
    );
    // Sums of gradients besides; and in a batch a transposed gradient.
    let each = 1 + (64 + 784) + (64 + 784);
    assert_eq!(
        memory_len(&network, &options(Mode::Accumulate { batch: 1 })),
        Ok(3 * 101_200 + each)
    );
    assert_eq!(
        memory_len(&network, &options(Mode::Accumulate { batch: 32 })),
        Ok(3 * 101_200 + 32 * (each + 784))
    );
}

#[test]
fn the_convolutional_network_has_the_geometry_that_one_computes_by_hand() {
    let network = convolutional();
    let shapes: Vec<Shape> = network.steps().map(|step| step.output).collect();
    let expected = [
        [28, 28, 16],
        [14, 14, 16],
        [14, 14, 8],
        [7, 7, 8],
        [7, 7, 8],
        [4, 4, 8],
        [4, 4, 8],
        [8, 8, 8],
        [8, 8, 8],
        [16, 16, 8],
        [14, 14, 16],
        [28, 28, 16],
        [28, 28, 1],
    ];
    assert_eq!(
        shapes,
        expected.map(|[height, width, channels]| Shape::picture(height, width, channels))
    );
    assert_eq!(network.code_shape(), Shape::picture(4, 4, 8));
    let parameters: Vec<usize> = network
        .steps()
        .map(|step| step.parameters.len())
        .filter(|length| *length > 0)
        .collect();
    assert_eq!(parameters, [160, 1160, 584, 584, 584, 1168, 145]);
    assert_eq!(network.parameter_len(), 4385);
    assert_eq!(network.multiply_accumulates(), 751_680);
    // The first convolution's output beside its pooled half; the code is written where the caller wants it.
    let (first, second) = (28 * 28 * 16, 14 * 14 * 16);
    assert_eq!(inference::workspace_len(&network, 0..13, 1), first + second);
    assert_eq!(inference::workspace_len(&network, 0..6, 1), first + second);
    assert_eq!(inference::workspace_len(&network, 6..13, 1), second + first);
    assert_eq!(
        inference::workspace_len(&network, 6..10, 3),
        3 * (512 + 512)
    );
}

#[test]
fn parameters_lie_layer_after_layer_without_gaps() {
    let mut end = 0;
    for step in convolutional().steps() {
        assert_eq!(step.parameters.start, end);
        let (weights, biases) = step.work.parameter_lens();
        end = step.parameters.end;
        assert_eq!(step.parameters.len(), weights + biases);
    }
    assert_eq!(end, 4385);
}

fn small() -> Network<'static> {
    checked(
        Shape::flat(4),
        &[dense(3, Activation::Relu), dense(2, Activation::Sigmoid)],
    )
}

#[test]
fn inference_refuses_slices_of_other_lengths() {
    let network = small();
    let run = |parameters: usize, layers, input: usize, output: usize, workspace: usize| {
        let (parameters, input) = (vec![0.0; parameters], vec![0.0; input]);
        let (mut output, mut workspace) = (vec![0.0; output], vec![0.0; workspace]);
        Inference {
            executor: &EXECUTOR,
            network: &network,
            parameters: &parameters,
            math: Math::Exact,
        }
        .run(layers, &input, &mut output, &mut workspace)
    };
    let length = |what, expected, given| {
        Err(Error::Length {
            what,
            expected,
            given,
        })
    };
    assert_eq!(run(23, 0..2, 8, 4, 6), Ok(()));
    assert_eq!(run(22, 0..2, 8, 4, 6), length("parameters", 23, 22));
    assert_eq!(run(24, 0..2, 8, 4, 6), length("parameters", 23, 24));
    #[allow(clippy::reversed_empty_ranges, reason = "a range that is refused")]
    for layers in [0..3, 0..usize::MAX, 2..1] {
        let core::ops::Range { start, end } = layers;
        let error = run(23, layers, 8, 4, 6).unwrap_err();
        assert_eq!(
            error,
            Error::Layers {
                start,
                end,
                layers: 2
            }
        );
        let message = format!("expected a range of the 2 layers, but {start}..{end} came");
        assert_eq!(error.to_string(), message);
    }
    assert_eq!(run(23, 0..2, 0, 0, 6), length("input", 4, 0));
    assert_eq!(run(23, 0..2, 3, 0, 6), length("input", 4, 3));
    assert_eq!(run(23, 0..2, 7, 2, 6), length("input", 4, 7));
    assert_eq!(run(23, 0..2, 8, 2, 6), length("output", 4, 2));
    assert_eq!(run(23, 0..1, 8, 4, 6), length("output", 6, 4));
    assert_eq!(run(23, 1..2, 8, 4, 6), length("input", 6, 8));
    assert_eq!(
        run(23, 0..2, 8, 4, 5),
        Err(Error::BufferTooSmall {
            what: "workspace",
            needed: 24,
            given: 20
        })
    );
    assert_eq!(
        run(22, 0..2, 8, 4, 6).unwrap_err().to_string(),
        "parameters: expected 23 elements, but 22 came"
    );
}

#[test]
fn no_layers_give_the_input_back() {
    let network = small();
    let parameters = [0.0; 23];
    let ranges = [0..0, 1..1, 2..2];
    for (layers, elements) in ranges.into_iter().zip([4, 3, 2]) {
        let input = numbers(1, elements);
        let mut output = vec![f32::NAN; elements];
        Inference {
            executor: &EXECUTOR,
            network: &network,
            parameters: &parameters,
            math: Math::Exact,
        }
        .run(layers, &input, &mut output, &mut [])
        .unwrap();
        assert_eq!(bits(&output), bits(&input));
    }
}

#[test]
fn numbers_that_are_not_finite_are_named_by_their_place() {
    let network = small();
    let parameters = vec![0.5; 23];
    let run = |parameters: &[f32], input: &[f32]| {
        let (mut output, mut workspace) = ([0.0; 4], [0.0; 6]);
        Inference {
            executor: &EXECUTOR,
            network: &network,
            parameters,
            math: Math::Exact,
        }
        .run(0..2, input, &mut output, &mut workspace)
    };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for index in 0..8 {
            let mut input = [0.0; 8];
            input[index] = bad;
            assert_eq!(
                run(&parameters, &input),
                Err(Error::NotFinite {
                    what: "input",
                    index
                })
            );
        }
    }
    let message = run(&parameters, &[0.0, f32::NAN, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
        .unwrap_err()
        .to_string();
    assert_eq!(
        message,
        "input 1: expected a finite number, but infinity or NaN came"
    );

    // Finite parameters and inputs, infinite sums: of the first sample's first layer, the second's second layer, a bias.
    let input = [2.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
    for (at, value, layer) in [
        (0, f32::MAX, Some(0)),
        (15, f32::MAX, Some(1)),
        (21, f32::MAX, None),
        (15, 1e38, None),
    ] {
        let mut parameters = parameters.clone();
        parameters[at] = value;
        let expected = layer.map_or(Ok(()), |index| {
            Err(Error::NotFinite {
                what: "sums of layer",
                index,
            })
        });
        assert_eq!(
            run(&parameters, &input),
            expected,
            "parameter {at} = {value}"
        );
    }
}

#[test]
fn a_sum_that_relu_would_hide_is_still_an_error() {
    let network = checked(Shape::flat(2), &[dense(1, Activation::Relu)]);
    let mut output = [f32::NAN];
    let answer = Inference {
        executor: &EXECUTOR,
        network: &network,
        parameters: &[-f32::MAX, -f32::MAX, 0.0],
        math: Math::Exact,
    }
    .run(0..1, &[1.0, 1.0], &mut output, &mut []);
    assert_eq!(
        answer,
        Err(Error::NotFinite {
            what: "sums of layer",
            index: 0
        })
    );
}

fn options() -> Options<'static> {
    Options {
        loss: Loss::MeanSquaredError,
        optimizer: Optimizer::adam(),
        mode: Mode::Accumulate { batch: 2 },
        first_trainable: 0,
        penalties: &[],
        math: Math::Exact,
    }
}

fn lent(network: &Network<'_>, options: &Options<'_>) -> Vec<f32> {
    vec![f32::NAN; memory_len(network, options).unwrap()]
}

#[test]
fn training_refuses_slices_of_other_lengths_and_numbers_that_are_not_finite() {
    let network = small();
    for mode in [Mode::Accumulate { batch: 2 }, Mode::Fused] {
        let options = Options { mode, ..options() };
        let mut memory = lent(&network, &options);
        let mut trainer = Trainer::new(&network, options, &mut memory).unwrap();
        let mut step = |parameters: usize, input: usize, target: usize| {
            trainer.step(
                &EXECUTOR,
                &mut vec![0.0; parameters],
                &vec![0.0; input],
                &vec![0.0; target],
            )
        };
        let length = |what, expected, given| {
            Err(Error::Length {
                what,
                expected,
                given,
            })
        };
        let most = mode.batch();
        assert!(step(23, 4 * most, 2 * most).is_ok());
        assert_eq!(step(22, 4, 2), length("parameters", 23, 22));
        assert_eq!(step(23, 0, 0), length("input", 4, 0), "no sample at all");
        assert_eq!(step(23, 3, 2), length("input", 4, 3));
        assert_eq!(
            step(23, 4 * (most + 1), 2 * (most + 1)),
            length("input", 4 * most, 4 * (most + 1)),
            "more than the batch"
        );
        assert_eq!(step(23, 4, 4), length("target", 2, 4));
        assert_eq!(step(23, 4, 0), length("target", 2, 0));

        let (good, bad) = ([0.0; 4], [0.0, 0.0, f32::NAN, 0.0]);
        let mut parameters = [0.0; 23];
        let error = trainer.step(&EXECUTOR, &mut parameters, &bad, &[0.0; 2]);
        assert_eq!(
            error,
            Err(Error::NotFinite {
                what: "input",
                index: 2
            })
        );
        let error = trainer.step(&EXECUTOR, &mut parameters, &good, &[0.0, f32::INFINITY]);
        assert_eq!(
            error,
            Err(Error::NotFinite {
                what: "target",
                index: 1
            })
        );
        parameters[22] = f32::NAN;
        let error = trainer.step(&EXECUTOR, &mut parameters, &good, &[0.0; 2]);
        assert_eq!(
            error,
            Err(Error::NotFinite {
                what: "sums of layer",
                index: 1
            })
        );
        let error = trainer.step(&EXECUTOR, &mut [0.0; 23], &good, &[1e30, 0.0]);
        assert_eq!(
            error,
            Err(Error::NotFinite {
                what: "loss of sample",
                index: 0
            })
        );
        assert_eq!(trainer.steps(), 1, "a step that was refused is not counted");
    }
}

#[test]
fn options_that_do_not_go_with_the_network_or_each_other_are_refused() {
    let network = small();
    let refused = |options: Options<'_>| {
        let error = memory_len(&network, &options).unwrap_err();
        assert_eq!(
            Trainer::new(&network, options, &mut []).map(|_| ()),
            Err(error)
        );
        error.to_string()
    };
    let no_layer = "no layer that is not frozen has parameters";
    assert_eq!(
        refused(Options {
            first_trainable: 2,
            penalties: &[],
            ..options()
        }),
        no_layer
    );
    assert_eq!(
        refused(Options {
            first_trainable: usize::MAX,
            penalties: &[],
            ..options()
        }),
        no_layer
    );
    let softmax = "categorical cross-entropy needs softmax as the last layer's activation";
    assert_eq!(
        refused(Options {
            loss: Loss::CategoricalCrossEntropy,
            ..options()
        }),
        softmax
    );
    let empty = Options {
        mode: Mode::Accumulate { batch: 0 },
        ..options()
    };
    assert_eq!(
        refused(empty),
        "a batch needs at least one sample, but 0 came"
    );

    let views = checked(
        Shape::flat(4),
        &[LayerKind::Reshape {
            target: Shape::picture(2, 2, 1),
        }],
    );
    assert_eq!(
        memory_len(&views, &options()).unwrap_err().to_string(),
        no_layer
    );
    let largest = Options {
        mode: Mode::Accumulate { batch: usize::MAX },
        ..options()
    };
    let error = Trainer::new(&network, largest, &mut [0.0; 100])
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        error,
        Error::BufferTooSmall {
            what: "training memory",
            needed: usize::MAX,
            given: 400
        }
    );
}

#[test]
fn optimizer_settings_outside_their_range_are_named() {
    let network = small();
    let refused = |optimizer| {
        memory_len(
            &network,
            &Options {
                optimizer,
                ..options()
            },
        )
        .unwrap_err()
        .to_string()
    };
    let adam = |learning_rate, beta_1, beta_2, epsilon| {
        refused(Optimizer::Adam {
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
        })
    };
    let sgd = |learning_rate, momentum| {
        refused(Optimizer::Sgd {
            learning_rate,
            momentum,
        })
    };
    assert_eq!(
        adam(0.0, 0.9, 0.999, 1e-7),
        "learning_rate: expected a finite number above 0, but 0 came"
    );
    assert_eq!(
        adam(-0.5, 0.9, 0.999, 1e-7),
        "learning_rate: expected a finite number above 0, but -0.5 came"
    );
    assert_eq!(
        adam(f64::NAN, 0.9, 0.999, 1e-7),
        "learning_rate: expected a finite number above 0, but NaN came"
    );
    assert_eq!(
        adam(1e-3, 1.0, 0.999, 1e-7),
        "beta_1: expected a number from 0 to below 1, but 1 came"
    );
    assert_eq!(
        adam(1e-3, -0.25, 0.999, 1e-7),
        "beta_1: expected a number from 0 to below 1, but -0.25 came"
    );
    assert_eq!(
        adam(1e-3, 0.9, f64::NAN, 1e-7),
        "beta_2: expected a number from 0 to below 1, but NaN came"
    );
    assert_eq!(
        adam(1e-3, 0.9, 0.999, 0.0),
        "epsilon: expected a finite number above 0, but 0 came"
    );
    assert_eq!(
        sgd(f64::INFINITY, 0.0),
        "learning_rate: expected a finite number above 0, but inf came"
    );
    assert_eq!(
        sgd(0.1, 1.0),
        "momentum: expected a number from 0 to below 1, but 1 came"
    );
    // What f64 can say and the arithmetic's f32 cannot.
    assert_eq!(
        sgd(1e39, 0.0),
        "learning_rate: expected a finite number above 0, but inf came"
    );
    assert_eq!(
        sgd(1e-50, 0.0),
        "learning_rate: expected a finite number above 0, but 0 came"
    );
}

#[test]
fn each_mode_refuses_what_is_the_others() {
    let network = small();
    let mut parameters = [0.5; 23];
    let mut memory = lent(&network, &options());
    let mut trainer = Trainer::new(&network, options(), &mut memory).unwrap();
    let error = trainer.apply(&EXECUTOR, &mut parameters).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no sample was accumulated before the update"
    );
    trainer
        .step(&EXECUTOR, &mut parameters, &[0.0; 4], &[0.0; 2])
        .unwrap();
    assert_eq!(
        trainer.apply(&EXECUTOR, &mut parameters),
        Err(error),
        "a step leaves nothing behind"
    );

    let options = Options {
        mode: Mode::Fused,
        ..options()
    };
    let mut memory = lent(&network, &options);
    let mut trainer = Trainer::new(&network, options, &mut memory).unwrap();
    let refused = trainer
        .accumulate(&EXECUTOR, &parameters, &[0.0; 4], &[0.0; 2])
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the fused mode keeps no gradients: use step with one sample"
    );
    assert_eq!(trainer.apply(&EXECUTOR, &mut parameters), Err(error));
}

#[test]
fn a_checkpoint_that_is_not_this_trainings_is_refused() {
    let network = small();
    let mut memory = lent(&network, &options());
    let mut trainer = Trainer::new(&network, options(), &mut memory).unwrap();
    let state = [0.25; 46];
    assert_eq!(trainer.restore(&state, 3, [0.5, 1.0]), Ok(()));
    assert_eq!(trainer.state(), (&state[..], 3, [0.5, 1.0]));
    let error = trainer.restore(&state[..45], 3, [0.5, 1.0]);
    assert_eq!(
        error,
        Err(Error::Length {
            what: "optimizer's state",
            expected: 46,
            given: 45
        })
    );
    let mut bad = state;
    bad[45] = f32::NAN;
    assert_eq!(
        trainer.restore(&bad, 3, [0.5, 1.0]),
        Err(Error::NotFinite {
            what: "optimizer's state",
            index: 45
        })
    );
    for (power, shown) in [(2.0, "2"), (-0.5, "-0.5"), (f64::NAN, "NaN")] {
        let error = trainer.restore(&state, 3, [1.0, power]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("powers: expected numbers from 0 to 1, but {shown} came")
        );
    }
    assert_eq!(trainer.state().1, 3, "what was refused changed nothing");
}

/// Runs one sample's step after the other until one is refused.
fn train_until_refused(
    network: &Network<'_>,
    options: Options<'_>,
    parameters: &mut [f32],
    target: f32,
) -> (Error, u32) {
    let (input, target) = (
        vec![1.0; network.input().len()],
        vec![target; network.output().len()],
    );
    let mut memory = lent(network, &options);
    let mut trainer = Trainer::new(network, options, &mut memory).unwrap();
    for step in 0..50 {
        match trainer.step(&EXECUTOR, parameters, &input, &target) {
            Ok(loss) => assert!(loss.is_finite(), "step {step}"),
            Err(error) => return (error, step),
        }
        assert!(
            parameters.iter().all(|value| value.is_finite()),
            "step {step} hid a parameter that is not finite"
        );
    }
    panic!("fifty steps without an error");
}

#[test]
fn a_training_run_that_explodes_ends_with_an_error() {
    let network = checked(
        Shape::flat(3),
        &[dense(4, Activation::Linear), dense(3, Activation::Linear)],
    );
    for mode in [Mode::Accumulate { batch: 1 }, Mode::Fused] {
        for momentum in [0.0, 0.9] {
            for learning_rate in [10.0, 1e6, 1e20, 3e38] {
                let optimizer = Optimizer::Sgd {
                    learning_rate,
                    momentum,
                };
                let mut parameters = parameters(&network, 3);
                let (error, _) = train_until_refused(
                    &network,
                    Options {
                        optimizer,
                        mode,
                        ..options()
                    },
                    &mut parameters,
                    1.0,
                );
                assert!(matches!(error, Error::NotFinite { .. }), "{error}");
            }
        }
        let optimizer = Optimizer::Adam {
            learning_rate: 1e37,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-7,
        };
        let mut parameters = parameters(&network, 3);
        let (error, _) = train_until_refused(
            &network,
            Options {
                optimizer,
                mode,
                ..options()
            },
            &mut parameters,
            1.0,
        );
        assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    }
}

/// A gradient whose square overflows makes Adam's second moment infinite, while the parameters are finite still.
#[test]
fn a_gradient_too_large_to_be_squared_ends_adams_run_at_that_step() {
    let network = checked(
        Shape::flat(1),
        &[dense(1, Activation::Linear), dense(1, Activation::Linear)],
    );
    for mode in [Mode::Accumulate { batch: 1 }, Mode::Fused] {
        // The loss is near 1e36, which f32 holds, and the first weight's gradient near 1e33.
        let mut parameters = [1e3, 0.0, 1e15, 0.0];
        let (error, step) = train_until_refused(
            &network,
            Options { mode, ..options() },
            &mut parameters,
            0.0,
        );
        assert!(
            matches!(
                error,
                Error::NotFinite {
                    what: "optimizer's state",
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(step, 0);
    }
}

#[test]
#[cfg(feature = "fast-math")]
fn fast_math_gives_other_bits_within_its_documented_error() {
    let run = |activation, math| {
        let network = checked(Shape::flat(20), &[dense(60, activation)]);
        let parameters: Vec<f32> = parameters(&network, 8)
            .into_iter()
            .map(|value| value * 4.0)
            .collect();
        let input = numbers(9, 20 * 50);
        let mut output = vec![f32::NAN; 60 * 50];
        Inference {
            executor: &EXECUTOR,
            network: &network,
            parameters: &parameters,
            math,
        }
        .run(0..1, &input, &mut output, &mut [])
        .unwrap();
        output
    };
    let pairs = |activation| {
        run(activation, Math::Exact)
            .into_iter()
            .zip(run(activation, Math::Fast))
    };
    let differ = |activation| {
        pairs(activation)
            .filter(|(exact, fast)| exact.to_bits() != fast.to_bits())
            .count()
    };
    assert!(
        differ(Activation::Sigmoid) > 2000
            && differ(Activation::Tanh) > 2000
            && differ(Activation::Softmax) > 2000
    );
    assert_eq!(differ(Activation::Relu) + differ(Activation::Linear), 0);
    // The documented errors, and a little for those of the exact functions.
    for (exact, fast) in pairs(Activation::Sigmoid) {
        assert!(
            (exact - fast).abs() <= 0.002_401 * exact,
            "sigmoid: {exact} {fast}"
        );
    }
    for (exact, fast) in pairs(Activation::Tanh) {
        assert!((exact - fast).abs() <= 0.001_101, "tanh: {exact} {fast}");
    }
    // A quotient of exp and a sum of exps.
    for (exact, fast) in pairs(Activation::Softmax) {
        assert!(
            (exact - fast).abs() <= 0.005 * exact,
            "softmax: {exact} {fast}"
        );
    }
}

#[test]
#[cfg(feature = "fast-math")]
fn fast_math_gives_the_same_bits_in_any_tiles_and_parts() {
    let network = convolutional();
    let layers = network.layers().iter().map(|layer| match layer.kind {
        LayerKind::Conv2d {
            filters,
            kernel_size,
            strides,
            padding,
            ..
        } => {
            let kind = LayerKind::Conv2d {
                filters,
                kernel_size,
                strides,
                padding,
                activation: Activation::Sigmoid,
            };
            Layer { kind, ..*layer }
        }
        _ => *layer,
    });
    let network = Network::new(network.input(), &layers.collect::<Vec<_>>(), 5).unwrap();
    let (parameters, input) = (parameters(&network, 8), numbers(9, 784 * 5));
    let mut workspace = vec![f32::NAN; inference::workspace_len(&network, 0..13, 5)];
    let (mut one, mut other) = (vec![f32::NAN; 784 * 5], vec![f32::NAN; 784 * 5]);
    Inference {
        executor: &EXECUTOR,
        network: &network,
        parameters: &parameters,
        math: Math::Fast,
    }
    .run(0..13, &input, &mut one, &mut workspace)
    .unwrap();
    Inference {
        executor: &Tiles::<8, 16>(3),
        network: &network,
        parameters: &parameters,
        math: Math::Fast,
    }
    .run(0..13, &input, &mut other, &mut workspace)
    .unwrap();
    assert_eq!(bits(&one), bits(&other));
}

#[test]
#[cfg(not(feature = "fast-math"))]
fn fast_math_is_refused_by_name_where_the_build_has_none() {
    let network = small();
    let mut output = [0.0; 2];
    let error = Inference {
        executor: &EXECUTOR,
        network: &network,
        parameters: &[0.0; 23],
        math: Math::Fast,
    }
    .run(0..2, &[0.0; 4], &mut output, &mut [0.0; 3]);
    let message = "math \"fast\" needs a build with the feature \"fast-math\"";
    assert_eq!(error.unwrap_err().to_string(), message);
    assert_eq!(
        memory_len(
            &network,
            &Options {
                math: Math::Fast,
                ..options()
            }
        )
        .unwrap_err()
        .to_string(),
        message
    );
}

#[test]
fn steps_and_windows_far_beyond_the_picture_see_the_picture() {
    let input = numbers(2, 3 * 5 * 2);
    let far = [u32::MAX; 2];
    // One place, whose window is padded on all sides: the largest of each channel.
    let network = checked(
        Shape::picture(3, 5, 2),
        &[LayerKind::MaxPool2d {
            pool_size: far,
            strides: far,
            padding: Padding::Same,
        }],
    );
    let mut output = [f32::NAN; 2];
    Inference {
        executor: &EXECUTOR,
        network: &network,
        parameters: &[],
        math: Math::Exact,
    }
    .run(0..1, &input, &mut output, &mut [])
    .unwrap();
    for (channel, largest) in output.iter().enumerate() {
        assert_eq!(
            *largest,
            input
                .iter()
                .skip(channel)
                .step_by(2)
                .copied()
                .fold(f32::NEG_INFINITY, f32::max)
        );
    }
    // One place, at the first pixel; only that one's weights learn.
    let kind = LayerKind::Conv2d {
        filters: 3,
        kernel_size: [1; 2],
        strides: far,
        padding: Padding::Same,
        activation: Activation::Linear,
    };
    let network = checked(Shape::picture(3, 5, 2), &[kind]);
    let parameters = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.5, 0.25, 0.125];
    let options = Options {
        mode: Mode::Accumulate { batch: 1 },
        ..options()
    };
    let mut memory = lent(&network, &options);
    let mut trainer = Trainer::new(&network, options, &mut memory).unwrap();
    let mut picture = vec![9.0; 30];
    picture[..2].copy_from_slice(&[2.0, -1.0]);
    // Outputs 2 · [1, 2, 3] - [4, 5, 6] + biases are [-1.5, -0.75, 0.125]; gradients of the sums are 2/3 of what is over.
    trainer
        .accumulate(&EXECUTOR, &parameters, &picture, &[-3.0, -2.25, -1.375])
        .unwrap();
    let g = 1.5 * (2.0f64 / 3.0) as f32;
    assert_eq!(
        trainer.gradient_sums(),
        [2.0 * g, 2.0 * g, 2.0 * g, -g, -g, -g, g, g, g]
    );
}

/// Small numbers, and those at which 32-bit arithmetic goes wrong.
fn edge() -> impl Strategy<Value = u32> {
    prop_oneof![
        20 => 1..8u32,
        1 => Just(0),
        1 => (0..32u32, 0..3u32).prop_map(|(bit, by)| (1u32 << bit).wrapping_add(by).wrapping_sub(1)),
        1 => (0..8u32).prop_map(|by| u32::MAX - by),
    ]
}

fn edges() -> impl Strategy<Value = [u32; 2]> {
    prop::array::uniform2(edge())
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let picture = prop::array::uniform3(edge())
        .prop_map(|[height, width, channels]| Shape::picture(height, width, channels));
    prop_oneof![1 => edge().prop_map(Shape::flat), 3 => picture]
}

fn any_layer() -> impl Strategy<Value = LayerKind> {
    prop_oneof![
        (edge(), activation()).prop_map(|(units, activation)| dense(units, activation)),
        (edge(), edges(), edges(), padding(), activation()).prop_map(
            |(filters, kernel_size, strides, padding, activation)| {
                LayerKind::Conv2d {
                    filters,
                    kernel_size,
                    strides,
                    padding,
                    activation,
                }
            }
        ),
        (edges(), edges(), padding()).prop_map(|(pool_size, strides, padding)| {
            LayerKind::MaxPool2d {
                pool_size,
                strides,
                padding,
            }
        }),
        edges().prop_map(|size| LayerKind::UpSample2d { size }),
        Just(LayerKind::Flatten),
        any_shape().prop_map(|target| LayerKind::Reshape { target }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn any_settings_make_a_network_within_the_limits_or_an_error(input in any_shape(), kinds in prop::collection::vec(any_layer(), 1..4)) {
        // A layer that does not fit is left out, so that the next ones get their turn; even then nothing may panic.
        let mut kept: Vec<LayerKind> = Vec::new();
        for kind in kinds {
            match Network::new(input, &named(&[&kept[..], &[kind]].concat()), 0) {
                Ok(_) => kept.push(kind),
                Err(error) => prop_assert!(!error.to_string().contains('\n')),
            }
        }
        if kept.is_empty() {
            return Ok(());
        }
        let network = checked(input, &kept);
        prop_assert!(network.parameter_len() <= MAX_ELEMENTS);
        for step in network.steps() {
            prop_assert!((1..=MAX_ELEMENTS).contains(&step.output.len()));
            prop_assert!(inference::workspace_len(&network, 0..step.index + 1, 1) <= 2 * MAX_ELEMENTS);
        }
        let small = |network: &Network<'_>| network.steps().all(|step| step.output.len() <= 2000);
        if !small(&network) || input.len() > 2000 || network.parameter_len() > 20_000 {
            return Ok(());
        }
        // Small enough to be used: it must train, and answer with finite numbers.
        let (samples, target) = (numbers(1, input.len() * 2), vec![0.5; network.output().len() * 2]);
        let mut parameters = parameters(&network, 2);
        if !parameters.is_empty() {
            let mut memory = lent(&network, &options());
            let mut trainer = Trainer::new(&network, options(), &mut memory).unwrap();
            let loss = trainer.step(&Tiles::<4, 4>(2), &mut parameters, &samples, &target).unwrap();
            prop_assert!(loss.is_finite());
        }
        let (layers, mut output) = (0..kept.len(), vec![f32::NAN; target.len()]);
        let mut workspace = vec![f32::NAN; inference::workspace_len(&network, layers.clone(), 2)];
        Inference { executor: &EXECUTOR, network: &network, parameters: &parameters, math: Math::Exact }.run(layers, &samples, &mut output, &mut workspace).unwrap();
        prop_assert!(output.iter().all(|value| value.is_finite()));
    }
}
