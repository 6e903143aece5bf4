//! `cargo docs-pictures`: makes the pictures of `docs` anew, from the presets and the data that come with the library.

use std::path::Path;

use narrows::analysis::features::{self, nearest};
use narrows::analysis::score;
use narrows::data::{self, Samples};
use narrows::error::Result;
use narrows::evaluate::corrupt;
use narrows::model::{self, Blob, Part};
use narrows::picture::{self, Row, Tile};
use narrows::processor::Desktop;
use narrows::recipe::{Bundled, Preset, Recipe};
use narrows::{files, train};
use narrows_core::random::{Purpose, Random};

const SIDES: [u32; 2] = [28, 28];
const PIXELS: usize = 28 * 28;
/// Pictures in a row.
const SHOWN: usize = 10;
/// Where the pages say nothing else; the bundled pictures are a thirtieth of all.
const EPOCHS: u32 = 40;

fn main() -> Result<()> {
    let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs"));
    let folder = docs.join("pictures");
    files::make_folder(&folder)?;
    let make = |name: &str, rows: &[(&str, &[f32])]| {
        let rows: Vec<Row<'_>> = rows
            .iter()
            .map(|&(name, samples)| Row { name, samples })
            .collect();
        picture::write(&folder.join(name), SIDES, &rows)
    };
    let executor = Desktop::new(1)?;
    let preset = |name: &str, epochs| trained(&executor, Preset::find(name)?.recipe()?, epochs);
    let answers = |blob: &Blob, samples: &[f32]| {
        model::run(&executor, &blob.model()?, Part::Reconstruct, samples)
    };

    let (vanilla, test) = preset("vanilla", Some(EPOCHS))?;
    let all = test.to_vec()?;
    let labels = test.labels().unwrap_or_default();
    let originals = pick(&all, first_of_each(labels));
    let (multilayer, _) = preset("multilayer", Some(EPOCHS))?;
    make(
        "dense.png",
        &[
            ("original", &originals),
            ("vanilla", &answers(&vanilla, &originals)?),
            ("multilayer", &answers(&multilayer, &originals)?),
        ],
    )?;

    let (convolutional, _) = preset("convolutional", Some(EPOCHS))?;
    make(
        "convolutional.png",
        &[
            ("original", &originals),
            ("answer", &answers(&convolutional, &originals)?),
        ],
    )?;

    let (sparse, _) = preset("sparse", Some(EPOCHS))?;
    let (sparse_kl, _) = preset("sparse-kl", Some(EPOCHS))?;
    make(
        "sparse.png",
        &[
            ("original", &originals),
            ("sparse", &answers(&sparse, &originals)?),
            ("sparse-kl", &answers(&sparse_kl, &originals)?),
        ],
    )?;
    let mut tiles = Vec::new();
    for blob in [&vanilla, &sparse, &sparse_kl] {
        tiles.extend(filters(blob, 16)?);
    }
    files::write_whole(
        &folder.join("sparse-weights.png"),
        &picture::sheet(&tiles, 16, 4)?,
    )?;

    let recipe = Preset::find("denoising")?.recipe()?;
    let plan = recipe.plan()?;
    let noisy = match plan.noise() {
        Some(noise) => corrupt(&executor, noise, recipe.seed, &test)?,
        None => all.clone(),
    };
    let noisy = pick(&noisy, first_of_each(labels));
    let (denoising, _) = preset("denoising", Some(EPOCHS))?;
    let (denoising_convolutional, _) = preset("denoising-convolutional", Some(EPOCHS))?;
    make(
        "denoising.png",
        &[
            ("original", &originals),
            ("noisy", &noisy),
            ("denoising", &answers(&denoising, &noisy)?),
            ("convolutional", &answers(&denoising_convolutional, &noisy)?),
        ],
    )?;

    let (stacked, _) = preset("stacked", None)?;
    let taken = classes(&answers(&stacked, &all)?);
    let wrong: Vec<usize> = (0..labels.len())
        .filter(|&index| taken[index] != usize::from(labels[index]))
        .take(SHOWN)
        .collect();
    let codes = model::run(&executor, &stacked.model()?, Part::Encode, &all)?;
    // The nearest one that has rightly the label which the wrong one was given.
    let like = wrong.iter().filter_map(|&index| {
        let found = nearest(&codes, codes.len() / labels.len(), index, labels.len());
        let right = |other: &usize| {
            taken[*other] == taken[index] && usize::from(labels[*other]) == taken[index]
        };
        found.iter().map(|neighbour| neighbour.sample).find(right)
    });
    make(
        "stacked.png",
        &[
            ("mistaken", &pick(&all, wrong.iter().copied())),
            ("taken for", &pick(&all, like)),
        ],
    )?;

    let vanilla_model = vanilla.model()?;
    let code = vanilla_model.network.code();
    let codes = features::of(&executor, &vanilla_model, code, &all)?;
    let rows = [17, 0, 1, 5].map(|sample| {
        let found = nearest(&codes, codes.len() / labels.len(), sample, SHOWN - 1);
        let found = found.iter().map(|neighbour| neighbour.sample);
        let name = format!("sample {sample}");
        (name, pick(&all, std::iter::once(sample).chain(found)))
    });
    let rows: Vec<(&str, &[f32])> = rows.iter().map(|(name, row)| (&**name, &**row)).collect();
    make("neighbours.png", &rows)?;

    let (anomaly, _) = preset("anomaly", Some(EPOCHS))?;
    let scores = score::errors(&executor, &anomaly.model()?, &all)?;
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let normal = |index: &usize| labels[*index] == 1;
    let worst_normal = order.iter().rev().copied().filter(normal).take(SHOWN);
    let normal_pictures = pick(&all, worst_normal);
    make(
        "anomaly.png",
        &[
            ("normal", &normal_pictures),
            ("answer", &answers(&anomaly, &normal_pictures)?),
            ("odd", &originals),
            ("answer", &answers(&anomaly, &originals)?),
        ],
    )?;

    let text = String::from_utf8_lossy(&files::read(&docs.join("copier.toml"))?).into_owned();
    let (copier, _) = trained(&executor, Recipe::parse(&text, "copier.toml")?, None)?;
    let shuffled = shuffled(&originals);
    make(
        "diagnosis.png",
        &[
            ("original", &originals),
            ("learnt", &answers(&vanilla, &originals)?),
            ("copied", &answers(&copier, &originals)?),
            ("shuffled", &shuffled),
            ("learnt", &answers(&vanilla, &shuffled)?),
            ("copied", &answers(&copier, &shuffled)?),
        ],
    )
}

/// A recipe's model, trained on the pictures that come with the library, and their test pictures.
fn trained(executor: &Desktop, mut recipe: Recipe, epochs: Option<u32>) -> Result<(Blob, Samples)> {
    for training in recipe.trainings_mut() {
        training.epochs = epochs.unwrap_or(training.epochs);
    }
    let plan = recipe.plan()?;
    let data = data::bundled::load(recipe.data.bundled)?.training_data(&plan, "bundled data")?;
    let outcome = executor.enter(|| train::run(executor, &plan, &data, None, &mut ()))?;
    let path = Path::new(&recipe.name);
    let digest = data.train.digest()?;
    let blob = Blob::export(executor, &plan, &outcome.parameters, digest, path)?;
    // Whatever a recipe trains on, it is shown the same test pictures.
    let preprocessing = plan.preprocessing();
    let raw = data::bundled::load(Bundled::default())?;
    let test = raw.test_data(plan.network(), preprocessing, "bundled data")?;
    Ok((blob, test))
}

/// The first sample of each label.
fn first_of_each(labels: &[u8]) -> impl Iterator<Item = usize> {
    (0..SHOWN).filter_map(|label| labels.iter().position(|other| usize::from(*other) == label))
}

fn pick(samples: &[f32], indices: impl IntoIterator<Item = usize>) -> Vec<f32> {
    let sample = |index: usize| &samples[index * PIXELS..][..PIXELS];
    indices.into_iter().flat_map(sample).copied().collect()
}

/// Each sample's most likely class.
fn classes(answers: &[f32]) -> Vec<usize> {
    let likeliest = |shares: &[f32]| {
        let order = |a: &usize, b: &usize| shares[*a].total_cmp(&shares[*b]);
        (0..shares.len()).max_by(order).unwrap_or_default()
    };
    answers.chunks_exact(10).map(likeliest).collect()
}

/// The weights of the first units of a dense first layer, whose kernel is `[input][unit]`.
fn filters(blob: &Blob, count: usize) -> Result<Vec<Tile>> {
    let model = blob.model()?;
    let units = model.network.shape_before(1).len();
    let weights = |unit: usize| -> Vec<f32> {
        let place = |pixel: usize| model.parameters[pixel * units + unit];
        (0..PIXELS).map(place).collect()
    };
    let tile = |unit| Tile::signed(&weights(unit), SIDES, SIDES[0]);
    Ok((0..count).map(tile).collect())
}

/// Samples whose pixels have all gone to other places, the same in each.
fn shuffled(samples: &[f32]) -> Vec<f32> {
    let mut order: Vec<u32> = (0..PIXELS as u32).collect();
    Random::new(0, Purpose::Shuffle).shuffle(0, &mut order);
    let shuffle = |sample: &[f32]| -> Vec<f32> {
        order.iter().map(|pixel| sample[*pixel as usize]).collect()
    };
    samples.chunks_exact(PIXELS).flat_map(shuffle).collect()
}
