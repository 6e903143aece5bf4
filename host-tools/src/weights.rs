//! Weights in and out: a `.npz` with an array for each, in Keras's layouts.
//!
//! | array | numbers | shape |
//! | --- | --- | --- |
//! | `0.weight` | 32-bit real | dense `[input][output]`, convolution `[ky][kx][channel in][channel out]` |
//! | `0.bias` | 32-bit real | `[output]` |
//! | `0.weight.m`, `0.weight.v`, `0.bias.m`, ... | 32-bit real | Adam's moments, as what they belong to |
//! | `0.weight.momentum`, `0.bias.momentum`, ... | 32-bit real | what SGD with momentum keeps (Keras's sign) |
//! | `steps` | 64-bit integer | one number: the optimizer's steps |
//! | `beta_1_power`, `beta_2_power` | 64-bit real | one number each: Adam's β1 and β2 to the power of `steps` |
//!
//! The number is the layer's index among all of the network's, from 0; layers without parameters have no arrays. Moments
//! are there for all layers, or for those from the first on that is not frozen.
//!
//! In Python, `numpy.load` reads them, and what `numpy.savez` writes is read here: see [`load`].

use std::ops::Range;
use std::path::Path;

use narrows_core::blob::Model;
use narrows_core::layer::Work;
use narrows_core::network::Network;

use crate::data::numpy::{self, Archive, Elements};
use crate::error::{Error, Result};
use crate::files;
use crate::train::Checkpoint;

const STEPS: &str = "steps";
const POWERS: [&str; 2] = ["beta_1_power", "beta_2_power"];
const ADAM: &[&str] = &["m", "v"];
const MOMENTUM: &[&str] = &["momentum"];

/// What a file has.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// The network's parameters, as core keeps them.
    pub parameters: Vec<f32>,
    /// Where an optimizer was, if the file says so.
    pub moments: Option<Moments>,
}

/// Where an optimizer is after some steps: what [`narrows_core::training::Trainer::restore`] takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// The moments of each trainable parameter: all the first ones, then all the second ones.
    pub state: Vec<f32>,
    /// Steps done.
    pub steps: u64,
    /// Adam's powers of β1 and β2; 1 for other optimizers.
    pub powers: [f64; 2],
}

impl Moments {
    /// The moments behind the parameters of `model`, from the checkpoint that its training left.
    ///
    /// # Errors
    /// As [`Checkpoint::read`]; [`Error::Unusable`] where the checkpoint is not one of exactly these parameters, or its
    /// optimizer keeps no moments.
    pub fn read(path: &Path, model: &Model<'_>) -> Result<Self> {
        let checkpoint = Checkpoint::read(path)?;
        let unusable = |problem: String| Error::Unusable {
            path: path.to_path_buf(),
            problem,
        };
        let bits = |values: &[f32]| {
            values
                .iter()
                .map(|value| value.to_bits())
                .collect::<Vec<_>>()
        };
        let name = model.header.name;
        if bits(&checkpoint.parameters) != bits(model.parameters) {
            let why = match &checkpoint.best {
                Some(best) => format!(
                    "; a model of the best epoch, {}, has no moments",
                    best.epoch
                ),
                None => String::new(),
            };
            return Err(unusable(format!(
                "expected the checkpoint that the model \"{name}\" was made from, but it has other parameters{why}"
            )));
        }
        if checkpoint.state.is_empty() {
            return Err(unusable(
                "expected an optimizer that keeps moments, but sgd without momentum came".into(),
            ));
        }
        let moments = Self {
            state: checkpoint.state,
            steps: checkpoint.steps,
            powers: checkpoint.powers,
        };
        let fits = moments.first_trainable(&model.network).is_some();
        fits.then_some(moments).ok_or_else(|| {
            unusable(format!(
                "expected the moments of the layers of \"{name}\", but others came"
            ))
        })
    }

    /// What the optimizer keeps for each parameter. Every step of Adam's makes the powers smaller, and of no other's.
    fn kinds(&self) -> &'static [&'static str] {
        if self.powers == [1.0; 2] && self.steps > 0 {
            MOMENTUM
        } else {
            ADAM
        }
    }

    /// The first parameter that has moments, if these belong to the network: it is a layer's first.
    fn first_trainable(&self, network: &Network<'_>) -> Option<usize> {
        let (kinds, len) = (self.kinds().len(), self.state.len());
        let first = network.parameter_len().checked_sub(len / kinds)?;
        let begins = |part: Part| part.parameters.start == first;
        (len.is_multiple_of(kinds) && parts(network).into_iter().any(begins)).then_some(first)
    }
}

/// The weights or the biases of a layer.
struct Part {
    name: String,
    shape: Vec<u64>,
    parameters: Range<usize>,
}

/// All of a network, in the order of its parameters.
fn parts(network: &Network<'_>) -> Vec<Part> {
    let mut parts = Vec::new();
    for step in network.steps() {
        let shape = match step.work {
            Work::Dense { inputs, outputs } => vec![inputs, outputs],
            Work::Conv2d(window) => {
                let (y, x) = (window.y.size, window.x.size);
                vec![y, x, window.channels_in, window.channels_out]
            }
            Work::MaxPool2d(_) | Work::UpSample2d(_) | Work::View { .. } => continue,
        };
        let shape: Vec<u64> = shape.into_iter().map(|extent| extent as u64).collect();
        let Range { start, end } = step.parameters;
        let bias = start + step.work.parameter_lens().0;
        let of_bias = shape[shape.len() - 1..].to_vec();
        for (kind, shape, parameters) in
            [("weight", shape, start..bias), ("bias", of_bias, bias..end)]
        {
            let name = format!("{}.{kind}", step.index);
            parts.push(Part {
                name,
                shape,
                parameters,
            });
        }
    }
    parts
}

/// Writes a network's parameters, and where the optimizer is if `moments` are given. Returns the number of arrays.
///
/// # Errors
/// [`Error::Core`] where the parameters or the moments are not the network's; [`Error::File`].
pub fn save(
    path: &Path,
    network: &Network<'_>,
    parameters: &[f32],
    moments: Option<&Moments>,
) -> Result<usize> {
    let place = || path.display().to_string();
    network
        .check_parameters(parameters)
        .map_err(Error::core(place()))?;
    let parts = parts(network);
    let mut arrays = Vec::new();
    for Part {
        name,
        shape,
        parameters: range,
    } in &parts
    {
        let elements = Elements::Reals(shape, &parameters[range.clone()]);
        arrays.push((name.clone(), elements));
    }
    if let Some(moments) = moments {
        let (kinds, len) = (moments.kinds(), moments.state.len());
        let first = moments
            .first_trainable(network)
            .ok_or_else(|| Error::Data {
                place: place(),
                expected: format!("moments of {} parameters", network.parameter_len()),
                given: format!("{len} numbers came"),
            })?;
        for (kind, state) in kinds.iter().zip(moments.state.chunks(len / kinds.len())) {
            let trainable = parts.iter().filter(|part| part.parameters.start >= first);
            for Part {
                name,
                shape,
                parameters: range,
            } in trainable
            {
                let elements =
                    Elements::Reals(shape, &state[range.start - first..range.end - first]);
                arrays.push((format!("{name}.{kind}"), elements));
            }
        }
        arrays.push((STEPS.into(), Elements::Count(moments.steps as i64)));
        if kinds == ADAM {
            let powers = POWERS.iter().zip(moments.powers);
            arrays.extend(powers.map(|(name, power)| ((*name).into(), Elements::Double(power))));
        }
    }
    numpy::write_npz(path, &arrays)?;
    Ok(arrays.len())
}

/// Reads what [`save`] or `numpy.savez` wrote: exactly the arrays of this network, each 32-bit real numbers, or 64-bit
/// ones, which are rounded. Either all moments are there, with `steps`, or none.
///
/// # Errors
/// [`Error::File`]; [`Error::Data`] with the array that is missing, is none of the network's, has another shape or type,
/// or a number that is not finite.
pub fn load(path: &Path, network: &Network<'_>) -> Result<Weights> {
    let bytes = files::read(path)?;
    let mut archive = Archive::open(&bytes, &path.display().to_string())?;
    let parts = parts(network);
    let mut known: Vec<String> = parts.iter().map(|part| part.name.clone()).collect();
    let mut parameters = Vec::with_capacity(network.parameter_len());
    for part in &parts {
        parameters.extend(archive.reals(&part.name, &part.shape)?);
    }
    let has = |archive: &Archive<'_>, name: &str| archive.names().iter().any(|other| other == name);
    let mut moments = None;
    if has(&archive, STEPS) {
        let adam = POWERS.iter().any(|name| has(&archive, name));
        let kinds = if adam { ADAM } else { MOMENTUM };
        let array = |part: &Part, kind: &str| format!("{}.{kind}", part.name);
        let frozen = |part: &&Part| !has(&archive, &array(part, kinds[0]));
        let frozen = parts.iter().take_while(frozen).count();
        // Without any moments, the first are what is missing; and a layer's biases are not trained without its weights.
        let trainable = if frozen == parts.len() {
            &parts
        } else {
            &parts[frozen - frozen % 2..]
        };
        let mut state = Vec::new();
        for kind in kinds {
            for part in trainable {
                let name = array(part, kind);
                state.extend(archive.reals(&name, &part.shape)?);
                known.push(name);
            }
        }
        let steps = archive.count(STEPS)?;
        let steps = u64::try_from(steps).map_err(|_| Error::Data {
            place: archive.place(STEPS),
            expected: "a number of steps".into(),
            given: format!("{steps} came"),
        })?;
        known.push(STEPS.into());
        let mut powers = [1.0; 2];
        for (name, power) in POWERS.iter().zip(&mut powers).filter(|_| adam) {
            *power = archive.double(name)?;
            if !(0.0..=1.0).contains(power) {
                return Err(Error::Data {
                    place: archive.place(name),
                    expected: "a number from 0 to 1".into(),
                    given: format!("{power} came"),
                });
            }
            known.push((*name).into());
        }
        moments = Some(Moments {
            state,
            steps,
            powers,
        });
    }
    if let Some(other) = archive.names().iter().find(|name| !known.contains(name)) {
        let layers: Vec<&str> = parts
            .iter()
            .filter_map(|part| part.name.strip_suffix(".bias"))
            .collect();
        return Err(Error::Data {
            place: archive.place(other),
            expected: format!(
                "only N.weight and N.bias of the layers {}, and with {STEPS} their moments",
                layers.join(", ")
            ),
            given: "this came too".into(),
        });
    }
    Ok(Weights {
        parameters,
        moments,
    })
}
