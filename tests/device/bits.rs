//! The device's answers are the desktop's, to the bit: the firmware that a user would flash, in the emulator.

use std::path::PathBuf;

use narrows::data::bundled;
use narrows::device::Device;
use narrows::device::qemu::Emulator;
use narrows::error::Error;
use narrows::evaluate::same_bits;
use narrows::model::{self, Blob, Part};
use narrows::processor::Desktop;
use narrows::recipe::{Plan, Preset, Recipe};
use narrows_core::optimizer::Optimizer;
use narrows_core::training::{Mode, Options, Trainer, memory_len};

/// The picture's numbers.
const PIXELS: usize = 784;

fn emulator() -> Device<Emulator> {
    let elf = std::env::var_os("NARROWS_FIRMWARE").map(PathBuf::from).expect(
        "NARROWS_FIRMWARE names the firmware's ELF: `cargo verify` sets it, `cargo firmware` builds it",
    );
    Emulator::start(&elf).unwrap().device().unwrap()
}

/// The first `count` test pictures.
fn pictures(plan: &Plan<'_>, count: usize) -> Vec<f32> {
    let raw = bundled::load(plan.recipe().data.bundled).unwrap();
    let data = raw.training_data(plan, "bundled").unwrap();
    let mut pictures = vec![0.0; count * PIXELS];
    data.validation.unwrap().read(0, &mut pictures).unwrap();
    pictures
}

fn blob(executor: &Desktop, plan: &Plan<'_>, parameters: &[f32]) -> Blob {
    Blob::export(executor, plan, parameters, 0, "test.narrows".as_ref()).unwrap()
}

/// Outputs and codes of 200 pictures. Weights as they are drawn are as good as trained ones here.
fn same_outputs_and_codes(preset: &str) {
    let recipe = Preset::find(preset).unwrap().recipe().unwrap();
    let plan = recipe.plan().unwrap();
    let (executor, pictures) = (Desktop::new(2).unwrap(), pictures(&plan, 200));
    let blob = blob(&executor, &plan, &plan.initial_parameters());
    let model = blob.model().unwrap();
    let outputs = model::run(&executor, &model, Part::Reconstruct, &pictures).unwrap();
    let codes = model::run(&executor, &model, Part::Encode, &pictures).unwrap();
    let code = model.network.code_shape().len();
    assert!(codes.iter().any(|x| *x > 0.0) && outputs.iter().any(|x| *x != outputs[0]));

    let mut device = emulator();
    device.load(blob.bytes()).unwrap();
    for (index, picture) in pictures.chunks(PIXELS).enumerate() {
        let answer = device.reconstruct(picture).unwrap().values;
        same_bits(index, &outputs[index * PIXELS..][..PIXELS], &answer).unwrap();
        let answer = device.encode(picture).unwrap().values;
        same_bits(index, &codes[index * code..][..code], &answer).unwrap();
    }
}

#[test]
fn vanilla_gives_the_desktops_outputs_and_codes_of_200_pictures() {
    same_outputs_and_codes("vanilla");
}

#[test]
fn convolutional_gives_the_desktops_outputs_and_codes_of_200_pictures() {
    same_outputs_and_codes("convolutional");
}

/// All parameters after 20 steps on the device, one sample after the other, and on the desktop, a batch at once.
fn same_parameters(recipe: &str, mode: Mode, batch: usize) {
    const STEPS: usize = 20;
    let recipe = Recipe::parse(recipe, "test").unwrap();
    let plan = recipe.plan().unwrap();
    let (executor, pictures) = (Desktop::new(2).unwrap(), pictures(&plan, STEPS * batch));
    let mut parameters = plan.initial_parameters();
    let blob = blob(&executor, &plan, &parameters);

    let options = Options {
        optimizer: Optimizer::adam(),
        mode,
        ..plan.stages()[0].options()
    };
    let mut device = emulator();
    device.load(blob.bytes()).unwrap();
    device.train_start(options).unwrap();
    let at_once = Options {
        mode: Mode::Accumulate { batch },
        ..options
    };
    let mut memory = vec![0.0; memory_len(plan.network(), &at_once).unwrap()];
    let mut trainer = Trainer::new(plan.network(), at_once, &mut memory).unwrap();
    for batch in pictures.chunks(batch * PIXELS) {
        let loss = trainer
            .step(&executor, &mut parameters, batch, batch)
            .unwrap();
        assert_eq!(
            loss.to_bits(),
            device.train(batch, batch).unwrap().loss.to_bits()
        );
    }
    assert_ne!(parameters, plan.initial_parameters());
    same_bits(0, &parameters, &device.parameters().unwrap()).unwrap();
}

const DENSE: &str = r#"
    name = "dense"
    seed = 3
    [network]
    input = [784]
    code = "code"
    layers = [
      { type = "dense", units = 24, activation = "relu", name = "code" },
      { type = "dense", units = 784, activation = "sigmoid" },
    ]
    [training]
    loss = "mse"
    optimizer = { type = "adam" }
"#;

const CONVOLUTIONAL: &str = r#"
    name = "small-convolutional"
    seed = 4
    [network]
    input = [28, 28, 1]
    code = "code"
    layers = [
      { type = "conv2d", filters = 6, kernel_size = 3, strides = 2, padding = "same", activation = "relu" },
      { type = "max_pooling2d", pool_size = 2, padding = "same", name = "code" },
      { type = "up_sampling2d", size = 4 },
      { type = "conv2d", filters = 1, kernel_size = 3, padding = "same", activation = "sigmoid" },
    ]
    [training]
    loss = "mse"
    optimizer = { type = "adam" }
"#;

#[test]
fn a_dense_network_learns_to_the_desktops_parameters_in_batches() {
    same_parameters(DENSE, Mode::Accumulate { batch: 1 }, 3);
}

#[test]
fn a_dense_network_learns_to_the_desktops_parameters_in_the_fused_mode() {
    same_parameters(DENSE, Mode::Fused, 1);
}

#[test]
fn a_convolutional_network_learns_to_the_desktops_parameters() {
    same_parameters(CONVOLUTIONAL, Mode::Accumulate { batch: 1 }, 3);
}

#[test]
fn fast_math_gives_the_same_bits_on_the_device() {
    let text = DENSE
        .replace("[network]", "[network]\n    math = \"fast\"")
        .replace("relu", "tanh");
    let recipe = Recipe::parse(&text, "test").unwrap();
    let plan = recipe.plan().unwrap();
    let (executor, pictures) = (Desktop::new(1).unwrap(), pictures(&plan, 10));
    let blob = blob(&executor, &plan, &plan.initial_parameters());
    let outputs = model::run(
        &executor,
        &blob.model().unwrap(),
        Part::Reconstruct,
        &pictures,
    )
    .unwrap();
    let mut device = emulator();
    device.load(blob.bytes()).unwrap();
    for (index, (picture, output)) in pictures
        .chunks(PIXELS)
        .zip(outputs.chunks(PIXELS))
        .enumerate()
    {
        same_bits(index, output, &device.reconstruct(picture).unwrap().values).unwrap();
    }
}

/// The comparison can fail: one bit of one weight on the device, and it names the first output that differs.
#[test]
fn one_flipped_bit_of_one_weight_fails_the_comparison() {
    let recipe = Recipe::parse(DENSE, "test").unwrap();
    let plan = recipe.plan().unwrap();
    let (executor, picture) = (Desktop::new(1).unwrap(), pictures(&plan, 1));
    let parameters = plan.initial_parameters();
    let expected_blob = blob(&executor, &plan, &parameters);
    let expected = model::run(
        &executor,
        &expected_blob.model().unwrap(),
        Part::Reconstruct,
        &picture,
    )
    .unwrap();
    let mut flipped = parameters;
    // The bias of output 300: no other output depends on it. A bit of zero would vanish in the sum, so a high one.
    let bias = flipped.len() - PIXELS + 300;
    flipped[bias] = f32::from_bits(flipped[bias].to_bits() ^ 1 << 30);
    let mut device = emulator();
    device
        .load(blob(&executor, &plan, &flipped).bytes())
        .unwrap();
    let answer = device.reconstruct(&picture).unwrap().values;
    let error = same_bits(0, &expected, &answer).unwrap_err();
    let Error::Different {
        picture,
        output,
        desktop,
        device,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((*picture, *output), (0, 300));
    assert_eq!((*desktop, *device), (expected[300], answer[300]));
    assert!(error.to_string().contains("output 300"), "{error}");
}
