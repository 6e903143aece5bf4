//! The blob: a trained network as bytes, borrowed from flash without a copy.
//!
//! # Format, version 1
//!
//! All numbers are little-endian.
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | `NARW` |
//! | 4 | 2 | format version, 1 |
//! | 6 | 2 | zero |
//! | 8 | 4 | H, the header's length in bytes |
//! | 12 | 4 | P, the parameters' length in bytes |
//! | 16 | H | the header: [`Header`] in postcard's encoding (postcard specification, version 1) |
//! | 16 + H | 0 to 15 | zeros up to a multiple of 16, A |
//! | A | P | the parameters: f32, layer after layer, each layer's weights and then its biases |
//! | A + P | 4 | CRC-32 (ISO-HDLC, the one of zip and Ethernet) of all bytes before it |
//!
//! A blob ends there. Weights lie as [`LayerKind`](crate::layer::LayerKind) says. The bytes must be put at an address that
//! is a multiple of [`ALIGNMENT`]; then the parameters can be used where they lie.
//!
//! [`Model::read`] checks everything before anything is used, and after it nobody checks again.

use serde::{Deserialize, Serialize};

pub use crate::error::BlobProblem;
use crate::error::Error;
use crate::inference::{self, Inference};
use crate::kernels::Executor;
use crate::math::Math;
use crate::memory::bytes_of;
use crate::network::{Layers, MAX_NAME, Network};
use crate::random::{Purpose, Random};
use crate::shape::Shape;

/// The format version that is written, and the only one that is read.
pub const VERSION: u16 = 1;

/// The address of a blob must be a multiple of this many bytes.
pub const ALIGNMENT: usize = 16;

const MAGIC: [u8; 4] = *b"NARW";
const PRELUDE: usize = 16;
const CHECKSUM: usize = 4;
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// All that a blob says beside its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header<'a> {
    /// The model's name: at most [`MAX_NAME`] bytes, as each layer's.
    pub name: &'a str,
    /// The shape of one sample.
    pub input: Shape,
    /// What the device is handed.
    pub input_kind: InputKind,
    /// The layers, with their names.
    #[serde(borrow)]
    pub layers: Layers<'a>,
    /// Index of the layer whose output is the code.
    pub code: u32,
    /// What was done to the data before training.
    pub preprocessing: Preprocessing,
    /// How the parameters are stored.
    pub precision: Precision,
    /// Whose exp the network was trained with.
    pub math: Math,
    /// [`Math::digest`] of the build that wrote the blob.
    pub math_digest: u32,
    /// The rounding rule of each quantized layer; none in an f32 model.
    pub rounding: heapless::Vec<Rounding, { crate::network::MAX_LAYERS }>,
    /// From this score on a sample counts as odd.
    pub threshold: Option<f32>,
    /// Where the model comes from.
    pub provenance: Provenance,
    /// What the model answers to a sample that any device can make.
    pub golden: Golden,
}

/// What kind of numbers an input has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum InputKind {
    /// Real numbers, after preprocessing.
    F32,
    /// Quantized numbers: real = scale · (number - zero point).
    Int8 {
        /// Real distance of neighbours.
        scale: f32,
        /// The number for 0.
        zero_point: i8,
    },
    /// A sensor's counts: real = scale · (count - zero point).
    Raw {
        /// Real distance of neighbours.
        scale: f32,
        /// The count for 0.
        zero_point: i32,
    },
}

/// What data goes through before the network: the rule, and then `(x - offset) · scale`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Taken off first.
    pub offset: f32,
    /// Multiplied with then.
    pub scale: f32,
    /// How what is not a sample yet becomes one.
    pub rule: Rule,
}

/// How a recording or a picture becomes samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// Pictures have the input's size; recordings are cut into windows as long as the input, one after the other.
    #[default]
    None,
    /// A recording is cut into windows as long as the input.
    Window {
        /// Frames, one number of each channel, from the beginning of a window to that of the next; as many as a window has
        /// where none are named.
        step: Option<u32>,
        /// Frames a second that a recording must have, where it says how many it has.
        sample_rate: Option<u32>,
    },
    /// A picture is resized.
    Resize {
        /// Rows of pixels.
        height: u32,
        /// Pixels of a row.
        width: u32,
        /// What the pixels between pixels are.
        filter: Filter,
    },
}

/// How a picture is resized. All are sums of products in single precision, none takes a function of a math library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// Linear interpolation, over as many pixels as one of the result covers.
    #[default]
    Triangle,
    /// Cubic interpolation, likewise.
    CatmullRom,
}

/// How parameters are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    /// IEEE 754 single.
    F32,
}

/// How an integer layer rounds when it requantizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rounding {
    /// Once, after multiplier and shift together.
    Once,
    /// Twice: rounded doubling high multiply, then rounded right shift.
    Twice,
}

/// Where a model comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The seed of the training run.
    pub seed: u64,
    /// CRC-32 of the data it was trained on.
    pub data_digest: u32,
    /// CRC-32 of the recipe's settings, however they were written down.
    pub recipe_digest: u32,
}

/// A self-test that takes no room: a sample of uniform numbers in [0, 1) from the counter-based generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Golden {
    /// The generator's seed.
    pub seed: u64,
    /// [`digest`] of what the whole network answers.
    pub digest: u32,
}

/// A blob that was checked, with its parameters where they lie.
#[derive(Clone, Debug)]
pub struct Model<'a> {
    /// What it says of itself.
    pub header: Header<'a>,
    /// Its layers.
    pub network: Network<'a>,
    /// Its parameters.
    pub parameters: &'a [f32],
}

impl<'a> Model<'a> {
    /// Checks a blob.
    ///
    /// # Errors
    /// [`Error::Blob`], [`Error::Misaligned`], what [`Network::new`] says of its layers, [`Error::NotFinite`], and
    /// [`Error::Mode`] where the build has not its math.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let sizes = check(bytes)?;
        let (head, tail) = bytes
            .split_at_checked(sizes.parameters_at)
            .ok_or(Error::Blob(BlobProblem::Header))?;
        let (header, network) = decode(head, sizes)?;
        let parameters = tail.get(..sizes.parameters).unwrap_or(&[]);
        let parameters: &[f32] = bytemuck::try_cast_slice(parameters).map_err(|_| MISALIGNED)?;
        inference::check_finite(Error::PARAMETER, parameters)?;
        Ok(Self {
            header,
            network,
            parameters,
        })
    }
}

/// A blob that was checked, in memory where its parameters can learn. Its checksum no longer holds once they have.
#[derive(Debug)]
pub struct ModelMut<'a> {
    /// What it says of itself.
    pub header: Header<'a>,
    /// Its layers.
    pub network: Network<'a>,
    /// Its parameters.
    pub parameters: &'a mut [f32],
}

impl<'a> ModelMut<'a> {
    /// Checks a blob.
    ///
    /// # Errors
    /// As [`Model::read`].
    pub fn read(bytes: &'a mut [u8]) -> Result<Self, Error> {
        let sizes = check(bytes)?;
        let (head, tail) = bytes
            .split_at_mut_checked(sizes.parameters_at)
            .ok_or(Error::Blob(BlobProblem::Header))?;
        let (header, network) = decode(head, sizes)?;
        let parameters = tail.get_mut(..sizes.parameters).unwrap_or(&mut []);
        let parameters: &mut [f32] =
            bytemuck::try_cast_slice_mut(parameters).map_err(|_| MISALIGNED)?;
        inference::check_finite(Error::PARAMETER, parameters)?;
        Ok(Self {
            header,
            network,
            parameters,
        })
    }
}

const MISALIGNED: Error = Error::Misaligned {
    what: "blob",
    alignment: ALIGNMENT,
};

/// Where things lie, in bytes.
#[derive(Clone, Copy)]
struct Sizes {
    header: usize,
    parameters_at: usize,
    parameters: usize,
}

fn four(bytes: &[u8], at: usize) -> [u8; 4] {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<4>())
        .copied()
        .unwrap_or([0; 4])
}

/// Checks everything but the header's contents and the parameters' numbers.
fn check(bytes: &[u8]) -> Result<Sizes, Error> {
    let problem = |problem| Err(Error::Blob(problem));
    let given = bytes.len();
    if given >= MAGIC.len() && four(bytes, 0) != MAGIC {
        return problem(BlobProblem::NotABlob {
            found: four(bytes, 0),
        });
    }
    let [low, high, zeros @ ..] = four(bytes, 4);
    let version = u16::from_le_bytes([low, high]);
    if given < PRELUDE.saturating_add(CHECKSUM) {
        return problem(BlobProblem::Length {
            expected: 20,
            given,
        });
    }
    if version != VERSION {
        return problem(BlobProblem::Version {
            supported: VERSION,
            found: version,
        });
    }
    let (header, parameters) = (
        u32::from_le_bytes(four(bytes, 8)),
        u32::from_le_bytes(four(bytes, 12)),
    );
    let parameters_at = u64::from(header)
        .saturating_add(PRELUDE as u64)
        .next_multiple_of(ALIGNMENT as u64);
    let checksum_at = parameters_at.saturating_add(u64::from(parameters));
    let expected = checksum_at.saturating_add(CHECKSUM as u64);
    if expected != given as u64 {
        return problem(BlobProblem::Length { expected, given });
    }
    let checksum_at = given.saturating_sub(CHECKSUM);
    let found = CRC.checksum(bytes.get(..checksum_at).unwrap_or(&[]));
    let expected = u32::from_le_bytes(four(bytes, checksum_at));
    if found != expected {
        return problem(BlobProblem::Checksum { expected, found });
    }
    let sizes = Sizes {
        header: header as usize,
        parameters_at: parameters_at as usize,
        parameters: parameters as usize,
    };
    let header_end = PRELUDE.saturating_add(sizes.header);
    let padding = bytes.get(header_end..sizes.parameters_at).unwrap_or(&[]);
    if zeros.iter().chain(padding).any(|byte| *byte != 0) {
        return problem(BlobProblem::NotZero);
    }
    if !bytes.as_ptr().addr().is_multiple_of(ALIGNMENT) {
        return Err(MISALIGNED);
    }
    Ok(sizes)
}

/// Decodes the header, and checks what it says and how many parameters go with it.
fn decode(head: &[u8], sizes: Sizes) -> Result<(Header<'_>, Network<'_>), Error> {
    let problem = |problem| Error::Blob(problem);
    let bytes = head
        .get(PRELUDE..PRELUDE.saturating_add(sizes.header))
        .unwrap_or(&[]);
    let (header, rest) =
        postcard::take_from_bytes::<Header<'_>>(bytes).map_err(|_| problem(BlobProblem::Header))?;
    if !rest.is_empty() {
        return Err(problem(BlobProblem::Header));
    }
    let network = check_header(&header)?;
    let (expected, given) = (bytes_of(network.parameter_len()), sizes.parameters);
    if expected != given {
        return Err(problem(BlobProblem::Parameters { expected, given }));
    }
    Ok((header, network))
}

/// Checks what a header says.
fn check_header<'a>(header: &Header<'a>) -> Result<Network<'a>, Error> {
    let problem = |problem| Error::Blob(problem);
    if header.name.len() > MAX_NAME {
        return Err(problem(BlobProblem::LongName {
            limit: MAX_NAME,
            given: header.name.len(),
        }));
    }
    if !header.rounding.is_empty() || matches!(header.input_kind, InputKind::Int8 { .. }) {
        return Err(problem(BlobProblem::Precision));
    }
    let scale = match header.input_kind {
        InputKind::Raw { scale, .. } => scale,
        _ => 1.0,
    };
    let Preprocessing {
        offset,
        scale: factor,
        rule,
    } = header.preprocessing;
    inference::check_finite(
        "header's number",
        &[scale, offset, factor, header.threshold.unwrap_or(0.0)],
    )?;
    check_rule(rule)?;
    inference::check_math(header.math)?;
    let (expected, found) = (header.math_digest, header.math.digest());
    if expected != found {
        return Err(problem(BlobProblem::Math { expected, found }));
    }
    Network::new(header.input, &header.layers, header.code as usize)
}

/// Checks that no extent of a rule is zero.
fn check_rule(rule: Rule) -> Result<(), Error> {
    let extents = match rule {
        Rule::None => [("", 1), ("", 1)],
        Rule::Window { step, sample_rate } => [
            ("preprocessing.step", step.unwrap_or(1)),
            ("preprocessing.sample_rate", sample_rate.unwrap_or(1)),
        ],
        Rule::Resize { height, width, .. } => [
            ("preprocessing.height", height),
            ("preprocessing.width", width),
        ],
    };
    match extents.iter().find(|(_, extent)| *extent == 0) {
        None => Ok(()),
        Some((key, _)) => Err(Error::Setting {
            key,
            expected: "at least 1",
            given: 0.0,
        }),
    }
}

/// The length in bytes of the blob with this header and `parameters` parameters.
///
/// # Errors
/// [`Error::Blob`] where header or parameters are longer than the format can say.
pub fn len(header: &Header<'_>, parameters: usize) -> Result<usize, Error> {
    sizes(header, parameters).map(|sizes| end(sizes).saturating_add(CHECKSUM))
}

fn end(sizes: Sizes) -> usize {
    sizes.parameters_at.saturating_add(sizes.parameters)
}

fn sizes(header: &Header<'_>, parameters: usize) -> Result<Sizes, Error> {
    let too_long = Error::Blob(BlobProblem::Header);
    let header = postcard::experimental::serialized_size(header).map_err(|_| too_long)?;
    let parameters = bytes_of(parameters);
    if u32::try_from(header).is_err() || u32::try_from(parameters).is_err() {
        return Err(too_long);
    }
    Ok(Sizes {
        header,
        parameters_at: header.saturating_add(PRELUDE).next_multiple_of(ALIGNMENT),
        parameters,
    })
}

/// Writes a blob into the first [`len`] bytes of `to`, and returns their number. What would not be read is not written.
///
/// # Errors
/// [`Error::BufferTooSmall`]; [`Error::Length`] where the parameters are not those of the header's layers; what
/// [`Model::read`] says of headers and parameters.
pub fn write(header: &Header<'_>, parameters: &[f32], to: &mut [u8]) -> Result<usize, Error> {
    check_header(header)?.check_parameters(parameters)?;
    inference::check_finite(Error::PARAMETER, parameters)?;
    let sizes = sizes(header, parameters.len())?;
    let (end, given) = (end(sizes), to.len());
    let needed = end.saturating_add(CHECKSUM);
    let to = to.get_mut(..needed).ok_or(Error::BufferTooSmall {
        what: "blob",
        needed,
        given,
    })?;
    to.fill(0);
    let [l0, l1, l2, l3] = (sizes.header as u32).to_le_bytes();
    let [p0, p1, p2, p3] = (sizes.parameters as u32).to_le_bytes();
    let ([m0, m1, m2, m3], [v0, v1]) = (MAGIC, VERSION.to_le_bytes());
    let prelude = [m0, m1, m2, m3, v0, v1, 0, 0, l0, l1, l2, l3, p0, p1, p2, p3];
    copy(to, 0, &prelude);
    let slot = to.get_mut(PRELUDE..sizes.parameters_at).unwrap_or(&mut []);
    postcard::to_slice(header, slot).map_err(|_| Error::Blob(BlobProblem::Header))?;
    let slot = to.get_mut(sizes.parameters_at..end).unwrap_or(&mut []);
    for (bytes, value) in slot.chunks_exact_mut(4).zip(parameters) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    let checksum = CRC.checksum(to.get(..end).unwrap_or(&[]));
    copy(to, end, &checksum.to_le_bytes());
    Ok(needed)
}

fn copy(to: &mut [u8], at: usize, from: &[u8]) {
    for (to, from) in to.iter_mut().skip(at).zip(from) {
        *to = *from;
    }
}

/// CRC-32 of an answer's bits, little-endian.
#[must_use]
pub fn digest(answer: &[f32]) -> u32 {
    let mut digest = CRC.digest();
    for value in answer {
        digest.update(&value.to_le_bytes());
    }
    digest.finalize()
}

/// What a network answers to the golden sample of `seed`: its [`digest`].
///
/// `input` and `output` hold one sample each, `workspace` what inference of one sample needs.
///
/// # Errors
/// As [`Inference::run`].
pub fn golden_digest(
    inference: &Inference<'_, impl Executor>,
    seed: u64,
    input: &mut [f32],
    output: &mut [f32],
    workspace: &mut [f32],
) -> Result<u32, Error> {
    let random = Random::new(seed, Purpose::Golden);
    for (element, value) in (0u32..).zip(&mut *input) {
        *value = random.uniform(0, 0, element);
    }
    inference.reconstruct(input, output, workspace)?;
    Ok(digest(output))
}
