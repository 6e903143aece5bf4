//! A blob that was written is read as it was; of all other bytes, none pass, and the error says what is wrong with them.

mod common;

use std::ops::Range;

use common::{bits, checked, network, parameters};
use narrows_core::blob::{
    self, ALIGNMENT, BlobProblem, Filter, Golden, Header, InputKind, Model, ModelMut, Precision,
    Preprocessing, Provenance, Rounding, Rule, VERSION,
};
use narrows_core::error::Error;
use narrows_core::inference::{self, Inference};
use narrows_core::kernels::{Portable, Sequential};
use narrows_core::layer::{Activation, Layer, LayerKind, LayerProblem};
use narrows_core::math::Math;
use narrows_core::network::{Layers, MAX_LAYERS, Network};
use narrows_core::shape::{MAX_ELEMENTS, Padding, Shape};
use proptest::prelude::*;

/// Bytes at an address that is a multiple of 16, and of no more than that by promise.
#[derive(Clone)]
struct Aligned {
    words: Vec<u128>,
    length: usize,
}

impl Aligned {
    fn zeros(length: usize) -> Self {
        Self {
            words: vec![0; length.div_ceil(16)],
            length,
        }
    }

    fn new(bytes: &[u8]) -> Self {
        let mut aligned = Self::zeros(bytes.len());
        aligned.bytes_mut().copy_from_slice(bytes);
        aligned
    }

    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.length]
    }

    /// Puts in the checksum of whatever the bytes are now.
    fn seal(mut self) -> Self {
        let (body, checksum) = self.bytes_mut().split_last_chunk_mut::<4>().unwrap();
        *checksum = crc32(body).to_le_bytes();
        self
    }
}

/// CRC-32 (ISO-HDLC), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

/// A blob as the format's table says, around any bytes as header and parameters, with the right sizes and checksum.
fn assemble(header: &[u8], parameters: &[u8]) -> Aligned {
    let mut bytes = b"NARW\x01\0\0\0".to_vec();
    bytes.extend((header.len() as u32).to_le_bytes());
    bytes.extend((parameters.len() as u32).to_le_bytes());
    bytes.extend(header);
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    bytes.extend(parameters);
    bytes.extend([0; 4]);
    Aligned::new(&bytes).seal()
}

fn encoded(header: &Header<'_>) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let used = postcard::to_slice(header, &mut bytes).unwrap().len();
    bytes.truncate(used);
    bytes
}

/// A blob of zeros as parameters around a header that `write` might refuse.
fn with_header(header: &Header<'_>) -> Aligned {
    let layers = Network::new(header.input, &header.layers, header.code as usize);
    assemble(
        &encoded(header),
        &vec![0; layers.map_or(0, |network| 4 * network.parameter_len())],
    )
}

fn written(header: &Header<'_>, parameters: &[f32]) -> Aligned {
    let mut bytes = Aligned::zeros(blob::len(header, parameters.len()).unwrap());
    assert_eq!(
        blob::write(header, parameters, bytes.bytes_mut()),
        Ok(bytes.length)
    );
    bytes
}

/// Why the bytes are refused, in both ways of reading; the message must be one line.
fn refused(bytes: &[u8]) -> Error {
    let error = Model::read(bytes).expect_err("bytes that must be refused");
    let mut own = vec![0u128; bytes.len().div_ceil(16) + 1];
    // At the same distance from a multiple of 16, so that an address that is refused stays one.
    let at = bytes.as_ptr().addr() % ALIGNMENT;
    let own = &mut bytemuck::cast_slice_mut(&mut own)[at..at + bytes.len()];
    own.copy_from_slice(bytes);
    assert_eq!(ModelMut::read(own).err(), Some(error));
    let message = error.to_string();
    assert!(
        !message.is_empty() && message.len() < 160 && !message.contains(char::is_control),
        "{message:?}"
    );
    error
}

fn dense(units: u32) -> LayerKind {
    LayerKind::Dense {
        units,
        activation: Activation::Sigmoid,
    }
}

fn layers(kinds: &[LayerKind]) -> Layers<'static> {
    common::named(kinds).into_iter().collect()
}

fn header<'a>(name: &'a str, network: &Network<'a>) -> Header<'a> {
    Header {
        name,
        input: network.input(),
        input_kind: InputKind::F32,
        layers: network.layers().iter().copied().collect(),
        code: network.code() as u32,
        preprocessing: Preprocessing {
            offset: 0.0,
            scale: 1.0,
            rule: Rule::None,
        },
        precision: Precision::F32,
        math: Math::Exact,
        math_digest: 0,
        rounding: heapless::Vec::new(),
        threshold: None,
        provenance: Provenance {
            seed: 7,
            data_digest: 0x1234_5678,
            recipe_digest: u32::MAX,
        },
        golden: Golden {
            seed: 1 << 40,
            digest: 0x9abc_def0,
        },
    }
}

/// A network with every kind of layer, and few parameters.
fn every_kind() -> Network<'static> {
    let kinds = [
        LayerKind::Reshape {
            target: Shape::picture(4, 4, 1),
        },
        LayerKind::Conv2d {
            filters: 2,
            kernel_size: [3, 3],
            strides: [1, 1],
            padding: Padding::Same,
            activation: Activation::Relu,
        },
        LayerKind::MaxPool2d {
            pool_size: [2, 2],
            strides: [2, 2],
            padding: Padding::Valid,
        },
        LayerKind::UpSample2d { size: [2, 1] },
        LayerKind::Flatten,
        dense(3),
    ];
    checked(Shape::flat(16), &kinds)
}

fn blob_of_every_kind() -> (Aligned, Vec<f32>) {
    let network = every_kind();
    let parameters = parameters(&network, 5);
    (
        written(&header("every kind", &network), &parameters),
        parameters,
    )
}

fn dense_header<'a>() -> Header<'a> {
    header("dense", &checked(Shape::flat(2), &[dense(3), dense(2)]))
}

fn number() -> impl Strategy<Value = f32> {
    any::<f32>().prop_filter("finite", |x| x.is_finite())
}

fn rule() -> impl Strategy<Value = Rule> {
    let extent = || prop::option::of(1..=u32::MAX);
    let filter = prop::sample::select(vec![Filter::Nearest, Filter::Triangle, Filter::CatmullRom]);
    prop_oneof![
        Just(Rule::None),
        (extent(), extent()).prop_map(|(step, sample_rate)| Rule::Window { step, sample_rate }),
        (1..=u32::MAX, 1..=u32::MAX, filter).prop_map(|(height, width, filter)| Rule::Resize {
            height,
            width,
            filter
        })
    ]
}

fn input_kind() -> impl Strategy<Value = InputKind> {
    prop_oneof![
        Just(InputKind::F32),
        (number(), any::<i32>())
            .prop_map(|(scale, zero_point)| InputKind::Raw { scale, zero_point })
    ]
}

fn math() -> impl Strategy<Value = Math> {
    prop::sample::select(if cfg!(feature = "fast-math") {
        vec![Math::Exact, Math::Fast]
    } else {
        vec![Math::Exact]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_was_written_is_read_where_it_lies(
        (input, kinds) in network(), seed: u64, name in "\\PC{0,16}", input_kind in input_kind(), math in math(),
        (offset, scale, threshold) in (number(), number(), prop::option::of(number())),
        rule in rule(),
        (data_digest, recipe_digest, digest) in any::<(u32, u32, u32)>(),
    ) {
        let network = checked(input, &kinds);
        let header = Header {
            input_kind,
            preprocessing: Preprocessing { offset, scale, rule },
            math,
            math_digest: math.digest(),
            threshold,
            provenance: Provenance { seed, data_digest, recipe_digest },
            golden: Golden { seed: !seed, digest },
            ..header(&name, &network)
        };
        let parameters = parameters(&network, seed);
        let mut bytes = written(&header, &parameters);
        let raw: Vec<u8> = parameters.iter().flat_map(|value| value.to_le_bytes()).collect();
        let specified = assemble(&encoded(&header), &raw);
        prop_assert_eq!(bytes.bytes(), specified.bytes());

        let at = bytes.length - 4 - raw.len();
        let address = bytes.bytes()[at..].as_ptr().addr();
        prop_assert_eq!(address % ALIGNMENT, 0);
        {
            let model = Model::read(bytes.bytes()).unwrap();
            prop_assert_eq!(&model.header, &header);
            prop_assert_eq!(&model.network, &network);
            prop_assert_eq!(bits(model.parameters), bits(&parameters));
            prop_assert_eq!(model.parameters.as_ptr().addr(), address);
        }
        {
            let model = ModelMut::read(bytes.bytes_mut()).unwrap();
            prop_assert_eq!(&model.header, &header);
            prop_assert_eq!(&model.network, &network);
            prop_assert_eq!(bits(model.parameters), bits(&parameters));
            model.parameters.fill(1.5);
        }
        prop_assert!(bytes.bytes()[at..at + raw.len()].chunks(4).all(|value| value == 1.5f32.to_le_bytes()));
    }

    /// The checksum keeps accidents out, not malice: whatever is inside, reading ends with a model or an error.
    #[test]
    fn any_header_and_parameters_with_a_right_checksum_end_in_a_result(
        header in prop::collection::vec(any::<u8>(), 0..120), parameters in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        try_out(assemble(&header, &parameters));
    }

    /// As above, but near enough to a good blob to come further.
    #[test]
    fn any_changes_of_a_good_blob_with_a_right_checksum_end_in_a_result(
        (input, kinds) in network(), seed: u64, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let network = checked(input, &kinds);
        let mut bytes = written(&header("changed", &network), &parameters(&network, seed));
        let header_end = 16 + u32::from_le_bytes(bytes.bytes()[8..12].try_into().unwrap()) as usize;
        for (index, value) in changes {
            bytes.bytes_mut()[8..header_end][index.index(header_end - 8)] = value;
        }
        try_out(bytes.seal());
    }
}

/// Reads a blob that may be anything; if it passes, and one sample is small, its network must run.
fn try_out(bytes: Aligned) {
    let Ok(model) = Model::read(bytes.bytes()) else {
        refused(bytes.bytes());
        return;
    };
    let network = &model.network;
    if network
        .steps()
        .any(|step| step.input.len().max(step.output.len()) > 4096)
    {
        return;
    }
    let layers = 0..network.layers().len();
    let (input, mut output) = (
        vec![0.5; network.input().len()],
        vec![f32::NAN; network.output().len()],
    );
    let mut workspace = vec![f32::NAN; inference::workspace_len(network, layers.clone(), 1)];
    let executor = Sequential::<Portable>::new();
    let answer = Inference {
        executor: &executor,
        network,
        parameters: model.parameters,
        math: model.header.math,
    }
    .run(layers, &input, &mut output, &mut workspace);
    match answer {
        Ok(()) => assert!(output.iter().all(|value| value.is_finite())),
        Err(error) => assert!(matches!(error, Error::NotFinite { .. }), "{error}"),
    }
}

/// By hand from the specification in the module's documentation and postcard's.
#[rustfmt::skip]
const BY_HAND: &[u8] = &[
    b'N', b'A', b'R', b'W', 1, 0, 0, 0, 46, 0, 0, 0, 12, 0, 0, 0,
    2, b'a', b'b', // name
    0, 2, // input: flat, 2
    0, // input kind: f32
    1, 1, b'c', 0, 1, 1, // one layer: name, dense, 1 unit, relu
    0, // code
    0, 0, 0, 0x3f, 0, 0, 0x80, 0x40, // preprocessing: 0.5, 4.0
    1, 1, 90, 1, 0xe8, 2, // a window every 90 frames, of 360 a second
    0, 0, 0, 0, // precision f32, math exact, its digest, no rounding
    1, 0, 0, 0x40, 0xc0, // threshold: -3.0
    0x80, 1, 1, 2, // provenance: seed 128, data, recipe
    3, 0xff, 0xff, 0xff, 0xff, 0x0f, // golden: seed, digest
    0, 0,
    0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0, 0, 0x80, // 1.0, 2.0, -0.0
];

fn by_hand() -> Aligned {
    let mut bytes = BY_HAND.to_vec();
    bytes.extend(crc32(BY_HAND).to_le_bytes());
    Aligned::new(&bytes)
}

#[test]
fn the_bytes_are_those_of_the_specification() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926, "the test's own checksum");
    let kinds = [Layer {
        name: "c",
        kind: LayerKind::Dense {
            units: 1,
            activation: Activation::Relu,
        },
    }];
    let network = Network::new(Shape::flat(2), &kinds, 0).unwrap();
    let header = Header {
        preprocessing: Preprocessing {
            offset: 0.5,
            scale: 4.0,
            rule: Rule::Window {
                step: Some(90),
                sample_rate: Some(360),
            },
        },
        threshold: Some(-3.0),
        provenance: Provenance {
            seed: 128,
            data_digest: 1,
            recipe_digest: 2,
        },
        golden: Golden {
            seed: 3,
            digest: u32::MAX,
        },
        ..header("ab", &network)
    };
    assert_eq!(
        written(&header, &[1.0, 2.0, -0.0]).bytes(),
        by_hand().bytes()
    );
    assert_eq!(Model::read(by_hand().bytes()).unwrap().header, header);
}

#[test]
fn one_byte_fewer_to_write_to_is_an_error_and_more_are_left_alone() {
    let network = every_kind();
    let (header, parameters) = (header("every kind", &network), parameters(&network, 5));
    let needed = blob::len(&header, parameters.len()).unwrap();
    let mut bytes = vec![0xa5; needed + 9];
    assert_eq!(blob::write(&header, &parameters, &mut bytes), Ok(needed));
    assert_eq!(bytes[needed..], [0xa5; 9]);
    let too_small = Error::BufferTooSmall {
        what: "blob",
        needed,
        given: needed - 1,
    };
    assert_eq!(
        blob::write(&header, &parameters, &mut bytes[..needed - 1]),
        Err(too_small)
    );
    assert_eq!(
        too_small.to_string(),
        format!(
            "blob: {needed} bytes are needed, but {} were given",
            needed - 1
        )
    );
}

#[test]
fn what_would_not_be_read_is_not_written() {
    let mut bytes = vec![0; 1000];
    let good = dense_header();
    let mut write = |header: &Header<'_>, parameters: &[f32]| {
        blob::write(header, parameters, &mut bytes).unwrap_err()
    };
    let expected = Error::Length {
        what: "parameters",
        expected: 17,
        given: 16,
    };
    assert_eq!(write(&good, &[0.0; 16]), expected);
    let mut parameters = [0.0; 17];
    parameters[9] = f32::NEG_INFINITY;
    assert_eq!(
        write(&good, &parameters),
        Error::NotFinite {
            what: "parameter",
            index: 9
        }
    );
    let bad = Header {
        code: 2,
        ..good.clone()
    };
    assert_eq!(
        write(&bad, &[0.0; 17]),
        Error::Code {
            layers: 2,
            given: 2
        }
    );
    let bad = Header {
        threshold: Some(f32::NAN),
        ..good.clone()
    };
    assert_eq!(
        write(&bad, &[0.0; 17]),
        Error::NotFinite {
            what: "header's number",
            index: 3
        }
    );
    let bad = Header {
        math_digest: 1,
        ..good
    };
    assert_eq!(
        write(&bad, &[0.0; 17]),
        Error::Blob(BlobProblem::Math {
            expected: 1,
            found: 0
        })
    );
}

#[test]
fn a_blob_cut_anywhere_says_how_long_it_was() {
    let (bytes, _) = blob_of_every_kind();
    for given in 0..bytes.length {
        let expected = if given < 20 { 20 } else { bytes.length as u64 };
        let error = refused(&bytes.bytes()[..given]);
        assert_eq!(
            error,
            Error::Blob(BlobProblem::Length { expected, given }),
            "cut to {given} bytes"
        );
    }
}

#[test]
fn bytes_behind_the_end_are_an_error() {
    let (bytes, _) = blob_of_every_kind();
    for more in [1, 4, 16] {
        let mut longer = bytes.bytes().to_vec();
        longer.resize(bytes.length + more, 0);
        let expected = BlobProblem::Length {
            expected: bytes.length as u64,
            given: longer.len(),
        };
        assert_eq!(
            refused(Aligned::new(&longer).bytes()),
            Error::Blob(expected)
        );
    }
}

#[test]
fn every_byte_counts() {
    let (bytes, _) = blob_of_every_kind();
    for at in 0..bytes.length {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes.bytes_mut()[at] ^= flip;
            let Error::Blob(problem) = refused(bytes.bytes()) else {
                panic!("byte {at} ^ {flip:02x}")
            };
            let expected = match at {
                0..4 => {
                    matches!(problem, BlobProblem::NotABlob { found } if found == bytes.bytes()[..4])
                }
                4..6 => {
                    matches!(problem, BlobProblem::Version { supported: VERSION, found } if found != VERSION)
                }
                // A header that claims to reach a little into its padding moves nothing.
                8..16 => matches!(
                    problem,
                    BlobProblem::Length { .. } | BlobProblem::Checksum { .. }
                ),
                _ => {
                    matches!(problem, BlobProblem::Checksum { expected, found } if expected != found)
                }
            };
            assert!(expected, "byte {at} ^ {flip:02x}: {problem}");
        }
    }
}

#[test]
fn something_else_is_told_by_its_first_bytes() {
    let error = refused(Aligned::new(b"\x7fELF and so on, for a while").bytes());
    assert_eq!(
        error,
        Error::Blob(BlobProblem::NotABlob { found: *b"\x7fELF" })
    );
    assert_eq!(
        error.to_string(),
        "blob: expected it to begin with \"NARW\", but the bytes [7f, 45, 4c, 46] came"
    );
}

#[test]
fn another_version_is_told_by_its_number_whatever_its_layout() {
    let (mut bytes, _) = blob_of_every_kind();
    for found in [0, 2, 0x100, u16::MAX] {
        bytes.bytes_mut()[4..6].copy_from_slice(&found.to_le_bytes());
        let expected = Error::Blob(BlobProblem::Version {
            supported: 1,
            found,
        });
        assert_eq!(refused(bytes.bytes()), expected);
        assert_eq!(refused(bytes.clone().seal().bytes()), expected);
        assert_eq!(refused(&bytes.bytes()[..33]), expected);
        assert_eq!(
            expected.to_string(),
            format!("blob: expected format version 1, but {found} came")
        );
    }
}

#[test]
fn reserved_and_padding_bytes_are_zero() {
    let header = encoded(&dense_header());
    let blob = assemble(&header, &[0; 4 * 17]);
    let padding = 16 + header.len()..(16 + header.len()).next_multiple_of(16);
    assert!(!padding.is_empty());
    for at in (6..8).chain(padding) {
        let mut blob = blob.clone();
        blob.bytes_mut()[at] = 1;
        assert_eq!(
            refused(blob.seal().bytes()),
            Error::Blob(BlobProblem::NotZero),
            "byte {at}"
        );
    }
}

#[test]
fn sizes_that_lie_are_refused_with_and_without_a_right_checksum() {
    let (bytes, _) = blob_of_every_kind();
    let size = |at: usize| u32::from_le_bytes(bytes.bytes()[at..at + 4].try_into().unwrap());
    for (at, true_size) in [(8, size(8)), (12, size(12))] {
        let near = (0..40).flat_map(|by| [true_size.wrapping_sub(by), true_size + by]);
        let far = (0..32)
            .map(|bit| 1 << bit)
            .chain((0..20).map(|by| u32::MAX - by));
        for lie in near.chain(far).filter(|lie| *lie != true_size) {
            let mut lying = bytes.clone();
            lying.bytes_mut()[at..at + 4].copy_from_slice(&lie.to_le_bytes());
            let (header, parameters) = if at == 8 {
                (lie, size(12))
            } else {
                (size(8), lie)
            };
            let expected =
                (u64::from(header) + 16).next_multiple_of(16) + u64::from(parameters) + 4;
            let length = Error::Blob(BlobProblem::Length {
                expected,
                given: bytes.length,
            });
            for bytes in [lying.clone(), lying.seal()] {
                let error = refused(bytes.bytes());
                if expected != bytes.length as u64 {
                    assert_eq!(error, length);
                }
            }
        }
    }
}

#[test]
fn sizes_that_lie_by_the_same_amount_are_refused() {
    let (bytes, _) = blob_of_every_kind();
    for by in [-64i32, -32, -16, 16, 32] {
        let mut lying = bytes.clone();
        for (at, by) in [(8, by), (12, -by)] {
            let field: &mut [u8; 4] = lying.bytes_mut()[at..].first_chunk_mut().unwrap();
            *field = (i32::from_le_bytes(*field) + by).to_le_bytes();
        }
        let error = refused(lying.seal().bytes());
        let named = matches!(
            error,
            Error::Blob(
                BlobProblem::Header | BlobProblem::Parameters { .. } | BlobProblem::NotZero
            )
        );
        assert!(named, "{by}: {error}");
    }
}

#[test]
fn parameters_that_are_not_those_of_the_layers_are_counted_in_bytes() {
    let header = encoded(&dense_header());
    for given in [0, 1, 64, 67, 69, 72, 400] {
        let error = refused(assemble(&header, &vec![0; given]).bytes());
        assert_eq!(
            error,
            Error::Blob(BlobProblem::Parameters {
                expected: 68,
                given
            })
        );
        assert_eq!(
            error.to_string(),
            format!(
                "blob: expected the 68 bytes of parameters that its layers have, but {given} came"
            )
        );
    }
}

#[test]
fn a_blob_at_another_address_is_refused() {
    let (bytes, _) = blob_of_every_kind();
    for offset in 1..16 {
        let mut moved = Aligned::zeros(bytes.length + offset);
        moved.bytes_mut()[offset..].copy_from_slice(bytes.bytes());
        let error = refused(&moved.bytes()[offset..]);
        assert_eq!(
            error,
            Error::Misaligned {
                what: "blob",
                alignment: 16
            }
        );
        assert_eq!(
            error.to_string(),
            "blob: expected an address that is a multiple of 16 bytes"
        );
    }
}

#[test]
fn a_parameter_that_is_not_finite_is_named_by_its_index() {
    let (bytes, parameters) = blob_of_every_kind();
    for bad in [
        f32::NAN,
        -f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::from_bits(0x7f80_0001),
    ] {
        for index in 0..parameters.len() {
            let mut bytes = bytes.clone();
            let at = bytes.length - 4 - 4 * (parameters.len() - index);
            bytes.bytes_mut()[at..at + 4].copy_from_slice(&bad.to_le_bytes());
            assert_eq!(
                refused(bytes.seal().bytes()),
                Error::NotFinite {
                    what: "parameter",
                    index
                }
            );
        }
    }
    let extreme = [f32::MAX, f32::MIN, f32::from_bits(1), -0.0]
        .into_iter()
        .cycle()
        .take(17)
        .collect::<Vec<_>>();
    assert!(Model::read(written(&dense_header(), &extreme).bytes()).is_ok());
}

#[test]
fn layers_that_do_not_fit_are_named_with_their_shapes() {
    let picture = Shape::picture(28, 28, 1);
    let problem = |index, kind, problem| Error::Layer {
        index,
        kind,
        problem,
    };
    let too_large = LayerProblem::TooLarge {
        limit: MAX_ELEMENTS,
    };
    let conv = |filters, size: u32| LayerKind::Conv2d {
        filters,
        kernel_size: [size; 2],
        strides: [1; 2],
        padding: Padding::Same,
        activation: Activation::Relu,
    };
    let cases = [
        (
            picture,
            vec![dense(4)],
            problem(0, "dense", LayerProblem::NeedsFlat { input: picture }),
        ),
        (
            Shape::flat(4),
            vec![dense(4), dense(0)],
            problem(1, "dense", LayerProblem::Zero { key: "units" }),
        ),
        (
            Shape::flat(4),
            vec![dense(u32::MAX)],
            problem(0, "dense", too_large),
        ),
        (
            Shape::flat(MAX_ELEMENTS as u32),
            vec![dense(1), dense(3)],
            problem(0, "dense", too_large),
        ),
        (
            picture,
            vec![conv(u32::MAX, 1)],
            problem(0, "conv2d", too_large),
        ),
        (
            picture,
            vec![conv(1, u32::MAX)],
            problem(0, "conv2d", too_large),
        ),
        (
            picture,
            vec![LayerKind::UpSample2d {
                size: [u32::MAX; 2],
            }],
            problem(0, "up_sampling2d", too_large),
        ),
        (
            picture,
            vec![LayerKind::UpSample2d { size: [1 << 14; 2] }],
            problem(0, "up_sampling2d", too_large),
        ),
        (
            Shape::flat(u32::MAX),
            vec![dense(1)],
            Error::Input {
                shape: Shape::flat(u32::MAX),
            },
        ),
        (
            Shape::flat(0),
            vec![dense(1)],
            Error::Input {
                shape: Shape::flat(0),
            },
        ),
        (
            Shape::picture(u32::MAX, u32::MAX, u32::MAX),
            vec![LayerKind::Flatten],
            Error::Input {
                shape: Shape::picture(u32::MAX, u32::MAX, u32::MAX),
            },
        ),
        (
            Shape::flat(1 << 14),
            vec![dense(16_383), dense(16_384)],
            Error::TooManyParameters {
                limit: MAX_ELEMENTS,
            },
        ),
        (
            Shape::flat(4),
            vec![],
            Error::LayerCount {
                limit: MAX_LAYERS,
                given: 0,
            },
        ),
    ];
    for (input, kinds, expected) in cases {
        let header = Header {
            input,
            layers: layers(&kinds),
            code: 0,
            ..dense_header()
        };
        assert_eq!(
            refused(assemble(&encoded(&header), &[]).bytes()),
            expected,
            "{kinds:?}"
        );
    }
}

#[test]
fn a_code_outside_the_layers_and_a_name_that_is_there_twice_are_refused() {
    for given in [2, 3, u32::MAX] {
        let error = refused(
            with_header(&Header {
                code: given,
                ..dense_header()
            })
            .bytes(),
        );
        assert_eq!(
            error,
            Error::Code {
                layers: 2,
                given: given as usize
            }
        );
    }
    let twice = [
        Layer {
            name: "same",
            kind: dense(3),
        },
        Layer {
            name: "same",
            kind: dense(2),
        },
    ];
    let error = refused(
        with_header(&Header {
            layers: twice.into_iter().collect(),
            ..dense_header()
        })
        .bytes(),
    );
    assert_eq!(
        error,
        Error::Layer {
            index: 1,
            kind: "dense",
            problem: LayerProblem::DuplicateName
        }
    );
}

#[test]
fn rules_without_an_extent_are_refused() {
    let window = |step, sample_rate| Rule::Window { step, sample_rate };
    let resize = |height, width| Rule::Resize {
        height,
        width,
        filter: Filter::Triangle,
    };
    for (rule, key) in [
        (window(Some(0), Some(1)), "preprocessing.step"),
        (window(None, Some(0)), "preprocessing.sample_rate"),
        (resize(0, 1), "preprocessing.height"),
        (resize(1, 0), "preprocessing.width"),
    ] {
        let mut header = dense_header();
        header.preprocessing.rule = rule;
        assert_eq!(
            refused(with_header(&header).bytes()),
            Error::Setting {
                key,
                expected: "at least 1",
                given: 0.0
            }
        );
    }
}

#[test]
fn numbers_in_the_header_that_are_not_finite_are_refused() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let good = dense_header();
        let headers = [
            Header {
                input_kind: InputKind::Raw {
                    scale: bad,
                    zero_point: 0,
                },
                ..good.clone()
            },
            Header {
                preprocessing: Preprocessing {
                    offset: bad,
                    scale: 1.0,
                    rule: Rule::None,
                },
                ..good.clone()
            },
            Header {
                preprocessing: Preprocessing {
                    offset: 0.0,
                    scale: bad,
                    rule: Rule::None,
                },
                ..good.clone()
            },
            Header {
                threshold: Some(bad),
                ..good
            },
        ];
        for (index, header) in headers.iter().enumerate() {
            assert_eq!(
                refused(with_header(header).bytes()),
                Error::NotFinite {
                    what: "header's number",
                    index
                }
            );
        }
    }
}

#[test]
fn int8_parts_in_an_f32_model_are_refused() {
    for rounding in [Rounding::Once, Rounding::Twice] {
        let header = Header {
            rounding: heapless::Vec::from_iter([rounding]),
            ..dense_header()
        };
        assert_eq!(
            refused(with_header(&header).bytes()),
            Error::Blob(BlobProblem::Precision)
        );
    }
    let header = Header {
        input_kind: InputKind::Int8 {
            scale: 0.5,
            zero_point: -3,
        },
        ..dense_header()
    };
    assert_eq!(
        refused(with_header(&header).bytes()),
        Error::Blob(BlobProblem::Precision)
    );
}

#[test]
fn math_that_answers_otherwise_is_refused_with_both_digests() {
    let error = refused(
        with_header(&Header {
            math_digest: 7,
            ..dense_header()
        })
        .bytes(),
    );
    assert_eq!(
        error,
        Error::Blob(BlobProblem::Math {
            expected: 7,
            found: 0
        })
    );
}

#[test]
#[cfg(feature = "fast-math")]
fn another_release_of_the_fast_math_is_refused_with_both_digests() {
    let found = Math::Fast.digest();
    for expected in [0, found ^ 1, !found] {
        let error = refused(
            with_header(&Header {
                math: Math::Fast,
                math_digest: expected,
                ..dense_header()
            })
            .bytes(),
        );
        assert_eq!(error, Error::Blob(BlobProblem::Math { expected, found }));
        let message = format!(
            "blob: expected math that answers {expected:08x}, but this build's answers {found:08x}"
        );
        assert_eq!(error.to_string(), message);
    }
}

#[test]
#[cfg(not(feature = "fast-math"))]
fn fast_math_is_refused_by_name_where_the_build_has_none() {
    for math_digest in [0, 7] {
        let error = refused(
            with_header(&Header {
                math: Math::Fast,
                math_digest,
                ..dense_header()
            })
            .bytes(),
        );
        assert_eq!(
            error.to_string(),
            "math \"fast\" needs a build with the feature \"fast-math\""
        );
    }
}

/// The header of [`BY_HAND`], and where things are in it.
const HEADER: Range<usize> = 16..62;
const PARAMETERS: Range<usize> = 64..76;
const NAME: usize = 1;
const INPUT: usize = 3;
const INPUT_KIND: usize = 5;
const LAYERS: usize = 6;
const LAYER_NAME: usize = 8;
const LAYER_KIND: usize = 9;
const ACTIVATION: usize = 11;
const RULE: usize = 21;
const PRECISION: usize = 27;
const MATH: usize = 28;
const ROUNDING: usize = 30;
const THRESHOLD: usize = 31;

fn not_a_header(header: &[u8]) {
    let error = refused(assemble(header, &BY_HAND[PARAMETERS]).bytes());
    assert_eq!(error, Error::Blob(BlobProblem::Header), "{header:02x?}");
    assert_eq!(
        error.to_string(),
        "blob: expected a header, but the bytes do not decode as one"
    );
}

#[test]
fn bytes_that_do_not_decode_are_not_a_header() {
    let good = &BY_HAND[HEADER];
    assert!(Model::read(assemble(good, &BY_HAND[PARAMETERS]).bytes()).is_ok());
    // Cut anywhere, or longer.
    (0..good.len()).for_each(|length| not_a_header(&good[..length]));
    not_a_header(&[good, &[0]].concat());
    let changed = |at: usize, to: &[u8]| not_a_header(&[&good[..at], to, &good[at + 1..]].concat());
    // Text that is not UTF-8.
    changed(NAME, &[0xff]);
    changed(LAYER_NAME, &[0xc3]);
    // Variants that are not there.
    for (at, variants) in [
        (INPUT, 2),
        (INPUT_KIND, 3),
        (LAYER_KIND, 6),
        (ACTIVATION, 5),
        (RULE, 3),
        (PRECISION, 1),
        (MATH, 2),
        (THRESHOLD, 2),
    ] {
        changed(at, &[variants]);
        changed(at, &[0xff, 0xff, 0xff, 0xff, 0x0f]);
    }
    // Lengths beyond the end, and numbers that do not fit.
    for at in [0, LAYERS, ROUNDING] {
        changed(at, &[0xff, 0xff, 0xff, 0xff, 0x0f]);
        changed(at, &[0xff; 10]);
    }
}

#[test]
fn more_layers_than_a_network_can_hold_are_not_a_header() {
    let good = &BY_HAND[HEADER];
    let with_layers = |count: u8| {
        let layers = (0..count).flat_map(|index| [1, b'0' + index, 0, 1, 1]);
        let (before, after) = (&good[..LAYERS], &good[LAYERS + 6..]);
        before
            .iter()
            .copied()
            .chain([count])
            .chain(layers)
            .chain(after.iter().copied())
            .collect::<Vec<u8>>()
    };
    // The first of 32 layers has two inputs, the others one.
    assert!(Model::read(assemble(&with_layers(32), &[0; 4 * (3 + 31 * 2)]).bytes()).is_ok());
    not_a_header(&with_layers(33));
    not_a_header(&with_layers(127));
}

#[test]
fn the_golden_digest_is_that_of_the_answer() {
    let network = every_kind();
    let mut parameters = parameters(&network, 5);
    let (mut input, mut output) = (vec![f32::NAN; 16], vec![f32::NAN; 3]);
    let mut workspace = vec![f32::NAN; inference::workspace_len(&network, 0..6, 1)];
    let executor = Sequential::<Portable>::new();
    let mut digest = |parameters: &[f32], seed| {
        let digest = blob::golden_digest(
            &Inference {
                executor: &executor,
                network: &network,
                parameters,
                math: Math::Exact,
            },
            seed,
            &mut input,
            &mut output,
            &mut workspace,
        );
        assert!(input.iter().all(|value| (0.0..1.0).contains(value)));
        assert_eq!(
            digest,
            Ok(crc32(
                &output
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect::<Vec<u8>>()
            ))
        );
        digest
    };
    let first = digest(&parameters, 1);
    assert_ne!(digest(&parameters, 2), first);
    assert_eq!(digest(&parameters, 1), first);
    let last = parameters.last_mut().unwrap();
    *last = f32::from_bits(last.to_bits() ^ 1 << 20);
    assert_ne!(digest(&parameters, 1), first);
}

#[test]
fn a_name_too_long_for_a_message_is_refused() {
    let name = "n".repeat(65);
    let network = checked(Shape::flat(2), &[dense(2)]);
    let header = header(&name, &network);
    let error = blob::write(&header, &[0.0; 6], &mut [0; 1000]).unwrap_err();
    let problem = BlobProblem::LongName {
        limit: 64,
        given: 65,
    };
    assert_eq!(error, Error::Blob(problem));
    assert_eq!(
        error.to_string(),
        "blob: name: expected at most 64 bytes, but 65 came"
    );
}
