//! Blobs of every format version are read, and answer to the bit what they answered when they were written
//! (`tests/golden`; set `NARROWS_BLESS` to write the newest version's files again).

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use narrows_core::blob::{
    self, Filter, Golden, Header, InputKind, Model, ModelMut, Precision, Preprocessing, Provenance,
    Rule,
};
use narrows_core::inference::{self, Inference};
use narrows_core::initializer::Initializer;
use narrows_core::kernels::{Portable, Sequential};
use narrows_core::layer::{Activation, Layer, LayerKind};
use narrows_core::math::Math;
use narrows_core::network::{Layers, Network};
use narrows_core::random::{Purpose, Random};
use narrows_core::shape::{Padding, Shape};

const EXECUTOR: Sequential<Portable> = Sequential::new();
const SAMPLES: usize = 3;

/// A blob's bytes where its parameters can be used, and the numbers that go with it.
struct Case {
    name: String,
    words: Vec<u128>,
    length: usize,
    numbers: Vec<f32>,
}

impl Case {
    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.length]
    }

    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = path.with_extension("f32");
        let numbers = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (numbers, rest) = numbers.as_chunks();
        assert_eq!(rest, [], "{}: not a whole number of f32", path.display());
        let numbers = numbers
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        let name = path.with_extension("").display().to_string();
        let mut case = Self {
            name,
            words: vec![0; bytes.len().div_ceil(16)],
            length: bytes.len(),
            numbers,
        };
        case.bytes_mut().copy_from_slice(&bytes);
        case
    }

    /// Inputs, codes and reconstructions as recorded.
    fn parts(&self, network: &Network<'_>) -> [&[f32]; 3] {
        let [input, code, output] = [network.input(), network.code_shape(), network.output()]
            .map(|shape| SAMPLES * shape.len());
        assert_eq!(
            self.numbers.len(),
            input + code + output,
            "{}: how many numbers are recorded",
            self.name
        );
        let (input, rest) = self.numbers.split_at(input);
        let (code, output) = rest.split_at(code);
        [input, code, output]
    }
}

fn folder(version: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(format!("v{version}"))
}

fn cases(version: u16) -> Vec<Case> {
    static BLESSED: OnceLock<()> = OnceLock::new();
    if std::env::var_os("NARROWS_BLESS").is_some() {
        BLESSED.get_or_init(bless);
    }
    let entries = fs::read_dir(folder(version))
        .unwrap_or_else(|error| panic!("{}: {error}", folder(version).display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "blob")
    });
    paths.sort();
    assert!(
        paths.len() >= 3,
        "{}: expected three blobs at least, but found {paths:?}",
        folder(version).display()
    );
    paths.iter().map(|path| Case::read(path)).collect()
}

fn run(
    network: &Network<'_>,
    parameters: &[f32],
    math: Math,
    layers: Range<usize>,
    input: &[f32],
) -> Vec<f32> {
    let mut output = vec![f32::NAN; SAMPLES * network.output_of(layers.end - 1).unwrap().len()];
    let mut workspace = vec![f32::NAN; inference::workspace_len(network, layers.clone(), SAMPLES)];
    Inference {
        executor: &EXECUTOR,
        network,
        parameters,
        math,
    }
    .run(layers, input, &mut output, &mut workspace)
    .unwrap();
    output
}

/// Code and reconstruction.
fn answers(network: &Network<'_>, parameters: &[f32], math: Math, input: &[f32]) -> [Vec<f32>; 2] {
    [network.code() + 1, network.layers().len()]
        .map(|end| run(network, parameters, math, 0..end, input))
}

fn digest(network: &Network<'_>, parameters: &[f32], math: Math, seed: u64) -> u32 {
    let (mut input, mut output) = (
        vec![f32::NAN; network.input().len()],
        vec![f32::NAN; network.output().len()],
    );
    let mut workspace =
        vec![f32::NAN; inference::workspace_len(network, 0..network.layers().len(), 1)];
    blob::golden_digest(
        &Inference {
            executor: &EXECUTOR,
            network,
            parameters,
            math,
        },
        seed,
        &mut input,
        &mut output,
        &mut workspace,
    )
    .unwrap()
}

/// The first number whose bits differ, in words.
fn difference(expected: &[f32], found: &[f32]) -> Option<String> {
    assert_eq!(expected.len(), found.len());
    let place = expected
        .iter()
        .zip(found)
        .position(|(expected, found)| expected.to_bits() != found.to_bits())?;
    let (sample, index) = (
        place / (expected.len() / SAMPLES),
        place % (expected.len() / SAMPLES),
    );
    let [expected, found] = [expected[place], found[place]];
    let [e, f] = [expected, found].map(f32::to_bits);
    Some(format!(
        "sample {sample}, number {index}: expected {expected} ({e:08x}), but {found} ({f:08x}) came"
    ))
}

#[test]
fn blobs_of_every_version_answer_to_the_bit_what_they_answered_then() {
    for case in (1..=blob::VERSION).flat_map(cases) {
        let model =
            Model::read(case.bytes()).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let Model {
            header,
            network,
            parameters,
        } = &model;
        let [input, code, output] = case.parts(network);
        let found = answers(network, parameters, header.math, input);
        for (what, expected, found) in [("code", code, &found[0]), ("output", output, &found[1])] {
            if let Some(words) = difference(expected, found) {
                panic!("{}, {what}: {words}", case.name);
            }
        }
        let found = digest(network, parameters, header.math, header.golden.seed);
        assert_eq!(found, header.golden.digest, "{}: golden digest", case.name);
    }
}

#[test]
fn the_newest_versions_blobs_are_written_with_the_same_bytes() {
    for case in cases(blob::VERSION) {
        let model =
            Model::read(case.bytes()).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(
            blob::len(&model.header, model.parameters.len()),
            Ok(case.length),
            "{}",
            case.name
        );
        let mut bytes = vec![0; case.length];
        blob::write(&model.header, model.parameters, &mut bytes).unwrap();
        let place = bytes
            .iter()
            .zip(case.bytes())
            .position(|(found, expected)| found != expected);
        assert_eq!(
            place, None,
            "{}: the first byte that is written otherwise",
            case.name
        );
    }
}

/// The comparison can fail: it finds what one bit of one bias moves (not the last one, which a sum may round away).
#[test]
fn one_bit_of_one_parameter_is_noticed() {
    for mut case in cases(blob::VERSION) {
        let numbers = case.numbers.clone();
        let ModelMut {
            header,
            network,
            parameters,
        } = ModelMut::read(case.bytes_mut()).unwrap();
        let bias = parameters.last_mut().unwrap();
        *bias = f32::from_bits(bias.to_bits() ^ 1 << 16);
        let (input, output) = (
            SAMPLES * network.input().len(),
            SAMPLES * network.output().len(),
        );
        let [_, found] = answers(&network, parameters, header.math, &numbers[..input]);
        let difference = difference(&numbers[numbers.len() - output..], &found);
        let last = network.output().len() - 1;
        let place = format!("sample 0, number {last}: expected ");
        // The last bias moves the last number of every sample, and no other.
        assert!(
            difference
                .as_ref()
                .is_some_and(|words| words.starts_with(&place)),
            "{}: {difference:?}",
            header.name
        );
    }
}

/// Writes the newest version's files again.
fn bless() {
    let dense = [
        Layer {
            name: "wide",
            kind: LayerKind::Dense {
                units: 9,
                activation: Activation::Relu,
            },
        },
        Layer {
            name: "code",
            kind: LayerKind::Dense {
                units: 4,
                activation: Activation::Tanh,
            },
        },
        Layer {
            name: "output",
            kind: LayerKind::Dense {
                units: 12,
                activation: Activation::Sigmoid,
            },
        },
    ];
    let dense = Network::new(Shape::flat(12), &dense, 1).unwrap();
    let conv = |filters, strides, padding, activation| LayerKind::Conv2d {
        filters,
        kernel_size: [3, 2],
        strides,
        padding,
        activation,
    };
    let convolutional = [
        Layer {
            name: "picture",
            kind: LayerKind::Reshape {
                target: Shape::picture(7, 6, 2),
            },
        },
        Layer {
            name: "first",
            kind: conv(5, [2, 1], Padding::Same, Activation::Relu),
        },
        Layer {
            name: "code",
            kind: LayerKind::MaxPool2d {
                pool_size: [2, 3],
                strides: [2, 2],
                padding: Padding::Same,
            },
        },
        Layer {
            name: "larger",
            kind: LayerKind::UpSample2d { size: [3, 2] },
        },
        Layer {
            name: "second",
            kind: conv(9, [1, 1], Padding::Valid, Activation::Linear),
        },
        Layer {
            name: "third",
            kind: conv(3, [1, 1], Padding::Valid, Activation::Softmax),
        },
        Layer {
            name: "flat",
            kind: LayerKind::Flatten,
        },
        Layer {
            name: "output",
            kind: LayerKind::Dense {
                units: 7,
                activation: Activation::Tanh,
            },
        },
    ];
    let convolutional = Network::new(Shape::flat(84), &convolutional, 2).unwrap();
    for (name, network, math) in [
        ("dense", &dense, Math::Exact),
        ("dense-fast", &dense, Math::Fast),
        ("convolutional", &convolutional, Math::Exact),
    ] {
        let random = Random::new(1, Purpose::Noise);
        let mut parameters = vec![0.0; network.parameter_len()];
        for step in network.steps() {
            let (weights, biases) =
                parameters[step.parameters.clone()].split_at_mut(step.work.parameter_lens().0);
            let (fan_in, fan_out) = (weights.len() / biases.len().max(1), biases.len());
            Initializer::GlorotUniform.fill(1, step.index as u32, fan_in, fan_out, weights);
            random.fill_uniform(0, step.index as u32, biases);
        }
        let mut input = vec![0.0; SAMPLES * network.input().len()];
        random.fill_uniform(1, 0, &mut input);
        let is_dense = name.starts_with("dense");
        let header = Header {
            name,
            input: network.input(),
            input_kind: if is_dense {
                InputKind::Raw {
                    scale: 0.001,
                    zero_point: -2048,
                }
            } else {
                InputKind::F32
            },
            layers: Layers::from_iter(network.layers().iter().copied()),
            code: network.code() as u32,
            preprocessing: Preprocessing {
                offset: 0.25,
                scale: 2.0,
                rule: match name {
                    "dense" => Rule::None,
                    "dense-fast" => Rule::Window {
                        step: Some(90),
                        sample_rate: Some(360),
                    },
                    _ => Rule::Resize {
                        height: 7,
                        width: 12,
                        filter: Filter::CatmullRom,
                    },
                },
            },
            precision: Precision::F32,
            math,
            math_digest: math.digest(),
            rounding: Default::default(),
            threshold: is_dense.then_some(0.125),
            provenance: Provenance {
                seed: 1,
                data_digest: 0x0123_4567,
                recipe_digest: 0x89ab_cdef,
            },
            golden: Golden {
                seed: 2,
                digest: digest(network, &parameters, math, 2),
            },
        };
        let mut bytes = vec![0; blob::len(&header, parameters.len()).unwrap()];
        blob::write(&header, &parameters, &mut bytes).unwrap();
        let [code, output] = answers(network, &parameters, math, &input);
        let numbers: Vec<u8> = [input, code, output]
            .iter()
            .flatten()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        let path = folder(blob::VERSION).join(name);
        fs::create_dir_all(folder(blob::VERSION)).unwrap();
        fs::write(path.with_extension("blob"), bytes).unwrap();
        fs::write(path.with_extension("f32"), numbers).unwrap();
    }
}
