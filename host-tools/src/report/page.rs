//! The report of one run.

use maud::{Markup, html};
use narrows_core::memory::bytes_of;
use narrows_core::shape::Shape;
use serde_json::Value;

use super::chart::{self, Axis, Chart, Group, Histogram, Series};
use super::document::{Around, Document, Row, label_class, png, rows, whole};
use super::figures::{Detection, Figures, Filters, LayerCost, Reconstruction, Shown, View};
use super::text::{bytes, count, figure, grouped, percent, seconds, short};
use crate::error::Result;
use crate::evaluate::Quality;
use crate::picture::{Tile, sheet};
use crate::train::{Ended, StageRecord};

/// The report as the text of an HTML file.
///
/// # Errors
/// [`Error::File`](crate::error::Error::File) where a picture would be too large for a PNG.
pub fn page(figures: &Figures) -> Result<String> {
    let mut document = Document::default();
    let body = html! {
        (head(figures))
        (learning(&mut document, figures))
        (answers(&mut document, figures)?)
        (code(&mut document, figures)?)
        (first_layer(&mut document, figures)?)
        (device(&mut document, figures))
        (origin(figures))
    };
    let title = format!("{}: report of a training run", figures.record.recipe.name);
    Ok(whole(&title, &body))
}

/// `784`, or `28 x 28 x 1`.
pub(super) fn shape(shape: Shape) -> String {
    match shape {
        Shape::Flat { length } => grouped(length),
        Shape::Picture {
            height,
            width,
            channels,
        } => format!("{height} \u{d7} {width} \u{d7} {channels}"),
    }
}

fn samples(figures: &Figures) -> String {
    let unseen = if figures.unseen {
        "unseen sample"
    } else {
        "sample"
    };
    count(figures.samples, unseen)
}

/// The share of the variance that is in the answers.
pub(super) fn explained(answers: Quality, mean_sample: Quality) -> f64 {
    1.0 - answers.mean_squared_error / mean_sample.mean_squared_error
}

fn dead_units(figures: &Figures) -> usize {
    figures
        .codes
        .units
        .iter()
        .filter(|unit| unit.is_dead())
        .count()
}

/// Whether all samples get the same code, or an answer that is the same in all but a twentieth of it.
fn has_collapsed(figures: &Figures) -> bool {
    let units = figures.codes.units.len();
    let constant =
        |found: &Reconstruction| found.varying > 0 && found.constant * 20 >= found.varying * 19;
    (units > 0 && dead_units(figures) == units)
        || figures.reconstruction.as_ref().is_some_and(constant)
}

/// Whether the answers are no better than the mean sample, as far as it matters.
fn is_no_better(found: &Reconstruction) -> bool {
    found.varying > 0 && explained(found.answers, found.mean_sample) < 0.02
}

/// What the record warns of, and what the samples show.
fn warnings(figures: &Figures) -> Vec<String> {
    let record = &figures.record;
    let mut found: Vec<String> = record.warnings.iter().map(ToString::to_string).collect();
    let unfinished = record.stages.iter().filter(|stage| stage.ended.is_none());
    found.extend(unfinished.map(|stage| {
        format!(
            "Stage \u{201c}{}\u{201d} did not come to its end.",
            stage.name
        )
    }));
    let (units, dead) = (figures.codes.units.len(), dead_units(figures));
    if units > 0 && dead == units {
        found.push(
            "The code is the same for every sample: nothing of the input gets through it.".into(),
        );
    } else if dead > 0 {
        found.push(format!(
            "{} of {} code units are dead: the same for every sample.",
            grouped(dead as i64),
            grouped(units as i64)
        ));
    }
    if let Some(reconstruction) = &figures.reconstruction {
        let (constant, varying) = (reconstruction.constant, reconstruction.varying);
        if varying > 0 && constant == varying {
            found.push("Every sample gets the same answer, or nearly so.".into());
        } else if constant * 10 > varying {
            found.push(format!(
                "{} of {} outputs hardly differ between answers, though they do between samples.",
                grouped(constant as i64),
                grouped(varying as i64)
            ));
        }
        if has_collapsed(figures) {
            found.push("Another seed, or a lower learning rate, is worth a try.".into());
        } else if is_no_better(reconstruction) {
            found.push("The answers are no better than the mean sample. More epochs, or another learning rate, are worth a try.".into());
        }
    }
    found
}

fn verdict(figures: &Figures) -> Markup {
    let of = samples(figures);
    let Some(found) = &figures.reconstruction else {
        let Some((_, confusion)) = figures.confusion.last() else {
            return html! { "A classifier, looked at with " (of) " without labels." };
        };
        return html! { "Gives " strong { (percent(confusion.accuracy())) } " of " (of) " the right label." };
    };
    let quality = |quality: Quality| format!("{:.2}\u{a0}dB", quality.psnr());
    html! {
        @if has_collapsed(figures) || is_no_better(found) {
            strong { @if has_collapsed(figures) { "Collapsed." } @else { "Nothing learnt yet." } } " On " (of) " the error is " (figure(found.answers.mean_squared_error))
            ", and a network that always gave back the mean sample would have "
            (figure(found.mean_sample.mean_squared_error)) "."
        } @else {
            @if let Some(noisy) = found.noisy {
                "Brings " (of) " from " (quality(noisy)) " with noise to "
                strong { (quality(found.answers)) } ". "
                @if found.answers.mean_squared_error >= noisy.mean_squared_error { "That is no gain. " }
            } @else {
                "Gives " (of) " back with a mean squared error of "
                strong { (figure(found.answers.mean_squared_error)) } ". "
            }
            @if found.varying > 0 {
                (percent(explained(found.answers, found.mean_sample))) " of what tells one sample from another gets through a code of "
                (count(figures.shapes[1].len(), "number")) "."
            }
        }
    }
}

fn head(figures: &Figures) -> Markup {
    let record = &figures.record;
    let [input, code, output] = figures.shapes;
    let warnings = warnings(figures);
    let epochs: usize = record.stages.iter().map(|stage| stage.epochs.len()).sum();
    let all = || record.stages.iter().flat_map(|stage| &stage.epochs);
    let time: f64 = all().map(|epoch| epoch.seconds).sum();
    let speed = all().map(|epoch| epoch.samples_per_second).sum::<f64>() / epochs.max(1) as f64;
    let (units, dead) = (figures.codes.units.len(), dead_units(figures));
    let card = |warn: bool, name: &str, value: Markup, note: String| {
        html! { div.warn[warn] { dt { (name) } dd { (value) } dd { (note) } } }
    };
    html! {
        div.head {
            h1 { (record.recipe.name) }
            p.flow {
                (shape(input)) " \u{2192} code " (shape(code)) " \u{2192} " (shape(output))
                ", trained on " (record.data) " for " (count(epochs, "epoch")) ", seed " (record.recipe.seed)
            }
            p.verdict { (verdict(figures)) }
            @if !warnings.is_empty() {
                div.warnings role="note" {
                    h2 { "Look here first" }
                    ul { @for warning in &warnings { li { (warning) } } }
                }
            }
            dl.cards {
                @if let Some(found) = &figures.reconstruction {
                    (card(has_collapsed(figures) || is_no_better(found), "Error (MSE)", html! { (figure(found.answers.mean_squared_error)) },
                        format!("mean sample: {}", figure(found.mean_sample.mean_squared_error))))
                    (card(false, "Signal to noise (PSNR)", html! { (format!("{:.2}", found.answers.psnr())) small { " dB" } },
                        found.noisy.map_or_else(|| "for a peak of 1".into(), |noisy| format!("{:.2} dB before", noisy.psnr()))))
                }
                @if let Some((stage, confusion)) = figures.confusion.last() {
                    (card(false, "Accuracy", html! { (percent(confusion.accuracy())) }, format!("after {stage}")))
                }
                (card(false, "Code", html! { (grouped(code.len() as i64)) small { " of " (grouped(input.len() as i64)) } },
                    if code.len() < input.len() {
                        format!("numbers, {:.1} times fewer", input.len() as f64 / code.len() as f64)
                    } else {
                        "numbers, no fewer than come in".into()
                    }))
                (card(dead > 0, "Dead code units", html! { (grouped(dead as i64)) small { " of " (grouped(units as i64)) } },
                    "the same for every sample".into()))
                (card(false, "Flash", html! { (bytes(figures.costs.flash)) }, format!("{} parameters", grouped(figures.costs.parameters as i64))))
                (card(false, "RAM to infer", html! { (bytes(figures.costs.inference)) }, "input, output, workspace".into()))
                (card(false, "Work a sample", html! { (work(figures.costs.multiply_accumulates)) }, "multiply-adds".into()))
                (card(false, "Training took", html! { (seconds(time)) },
                    format!("{} samples/s, {}", grouped(speed.round() as i64), count(record.threads, "thread"))))
            }
        }
    }
}

/// Multiply-accumulates, short.
pub(super) fn work(multiply_accumulates: u64) -> String {
    match multiply_accumulates {
        0..10_000 => grouped(multiply_accumulates),
        10_000..1_000_000 => format!("{:.0} k", multiply_accumulates as f64 / 1e3),
        _ => format!("{:.2} M", multiply_accumulates as f64 / 1e6),
    }
}

/// The lines of a stage's losses: `training`, `training with penalties` and `validation`, where there are such.
pub(super) fn losses(stage: &StageRecord) -> Vec<Series> {
    let of = |value: &dyn Fn(usize) -> Option<f64>| -> Vec<[f64; 2]> {
        let points = stage.epochs.iter().enumerate();
        points
            .filter_map(|(index, epoch)| Some([f64::from(epoch.number), value(index)?]))
            .collect()
    };
    let epoch = |index: usize| &stage.epochs[index];
    let series = |name: &str, class: &str, points| Series {
        name: name.into(),
        class: class.into(),
        points,
    };
    let mut found = vec![series(
        "training",
        "s0",
        of(&|index| Some(epoch(index).loss)),
    )];
    if stage.epochs.iter().any(|epoch| epoch.penalty != 0.0) {
        found.push(series(
            "training with penalties",
            "s0 dashed",
            of(&|index| Some(epoch(index).loss + epoch(index).penalty)),
        ));
    }
    let validation = of(&|index| epoch(index).validation);
    if !validation.is_empty() {
        found.push(series("validation", "s1", validation));
    }
    found
}

fn learning(document: &mut Document, figures: &Figures) -> Markup {
    let record = &figures.record;
    let mut charts = Vec::new();
    let several = record.stages.len() > 1;
    for stage in record
        .stages
        .iter()
        .filter(|stage| !stage.epochs.is_empty())
    {
        let title = if several {
            format!("Loss, {}", stage.name)
        } else {
            "Loss".into()
        };
        let best = stage
            .best
            .filter(|best| *best as usize != stage.epochs.len());
        let marks: Vec<(f64, &str)> = best.iter().map(|best| (f64::from(*best), "kept")).collect();
        let mut caption = String::from(
            "Both should fall and stay close. Validation that rises while training falls means that samples are learnt by heart; lines that still fall at the end ask for more epochs.",
        );
        if stage.epochs.iter().all(|epoch| epoch.validation.is_none()) {
            caption =
                "It should fall. A line that still falls at the end asks for more epochs.".into();
        }
        if let (Some(first), Some(last)) = (stage.epochs.first(), stage.epochs.last())
            && first.learning_rate != last.learning_rate
        {
            caption += &format!(
                " The learning rate went from {} to {}.",
                short(first.learning_rate),
                short(last.learning_rate)
            );
        }
        if stage.ended == Some(Ended::EarlyStopping) {
            caption += " Training stopped early: validation no longer fell.";
        }
        let chart = chart::curves("mean loss of a sample", losses(stage), &marks);
        charts.push(document.chart(&title, &caption, &chart, Around::default()));
        let accuracies: Vec<[f64; 2]> = stage
            .epochs
            .iter()
            .filter_map(|epoch| Some([f64::from(epoch.number), epoch.accuracy?]))
            .collect();
        if !accuracies.is_empty() {
            let title = if several {
                format!("Accuracy, {}", stage.name)
            } else {
                "Accuracy".into()
            };
            let series = Series {
                name: "validation".into(),
                class: "s1".into(),
                points: accuracies,
            };
            let chart = chart::curves("share of right answers", vec![series], &marks);
            charts.push(document.chart(
                &title,
                "Of the validation samples, after each epoch.",
                &chart,
                Around::default(),
            ));
        }
    }
    if let Some(found) = &figures.reconstruction
        && let Some(last) = record
            .stages
            .iter()
            .rev()
            .find_map(|stage| stage.epochs.last())
    {
        let mut rows = vec![
            (
                "mean sample".to_owned(),
                "orig".to_owned(),
                found.mean_sample.mean_squared_error,
            ),
            (
                "this model".to_owned(),
                "s0".to_owned(),
                found.answers.mean_squared_error,
            ),
        ];
        if let Some(noisy) = found.noisy {
            rows.insert(
                0,
                ("noisy input".into(), "s1".into(), noisy.mean_squared_error),
            );
        }
        if let Some(components) = found.components {
            rows.insert(
                rows.len() - 1,
                (
                    format!("PCA, {}", grouped(figures.shapes[1].len() as i64)),
                    "s7".into(),
                    components.mean_squared_error,
                ),
            );
        }
        let text: Vec<String> = rows
            .iter()
            .map(|(name, _, value)| format!("{name} {}", figure(*value)))
            .collect();
        let chart = chart::ranking(&rows, format!("Mean squared errors: {}.", text.join(", ")));
        let caption = format!(
            "The model against simpler answers, on {}; shorter is better.{} The last epoch\u{2019}s training loss was {}.",
            samples(figures),
            if found.components.is_some() {
                " PCA is the best linear code of the same size, and fitted to these very samples, which the model was not."
            } else {
                ""
            },
            figure(last.loss)
        );
        charts.push(document.chart("Is it any good?", &caption, &chart, Around::default()));
    }
    if charts.is_empty() {
        return html! {};
    }
    html! { section { h2 { "How it learnt" } div.grid { @for chart in &charts { (chart) } } } }
}

/// The label of a sample, or its number.
pub(super) fn label(shown: &Shown) -> String {
    match (shown.label, shown.answered) {
        (Some(label), None) => format!("label {label}"),
        (Some(label), Some(_)) => label.to_string(),
        (None, _) => format!("#{}", shown.index),
    }
}

fn under(shown: &Shown) -> Markup {
    let wrong = shown.answered.is_some() && shown.answered != shown.label.map(usize::from);
    html! {
        div.wrong[wrong] {
            b {
                (label(shown))
                @if let Some(answered) = shown.answered { " \u{2192} " (answered) }
            }
            @if shown.answer.is_some() { (short(shown.error)) }
        }
    }
}

fn sample_rows(figures: &Figures, shown: &[Shown]) -> Result<Markup> {
    let answer = if figures
        .reconstruction
        .as_ref()
        .is_some_and(|found| found.noisy.is_some())
    {
        "denoised"
    } else {
        "reconstructed"
    };
    let lines: Vec<Row<'_>> = [
        Row::of("original", "orig", shown, |shown| Some(&shown.original[..])),
        Row::of("noisy", "faint s1", shown, |shown| shown.noisy.as_deref()),
        Row::of(answer, "s0", shown, |shown| shown.answer.as_deref()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let under: Vec<Markup> = shown.iter().map(under).collect();
    rows(figures, &lines, &under)
}

fn answers(document: &mut Document, figures: &Figures) -> Result<Markup> {
    let mut parts = Vec::new();
    let classifier = figures.reconstruction.is_none();
    let (what, caption) = if classifier {
        (
            "What it answers",
            "Under each sample: its label, and the label that it got.",
        )
    } else {
        (
            "What it gives back",
            "Under each sample: its label (its number, where there are no labels) and its mean squared error. What an answer lacks did not get through the code.",
        )
    };
    parts.push(document.figure(
        "A few samples",
        caption,
        sample_rows(figures, &figures.shown)?,
    ));
    parts.push(document.figure(
        "The worst",
        if classifier {
            "Those that were given the least share of their own label."
        } else {
            "Those with the largest errors of all. Samples that are odd in themselves are no fault of the model; ordinary ones are."
        },
        sample_rows(figures, &figures.worst)?,
    ));
    if let Some(found) = &figures.reconstruction {
        parts.push(error_histogram(document, figures, &found.errors));
        if found.labels.len() > 1 && found.labels.len() <= 20 {
            let mut rows: Vec<(String, String, f64)> = found
                .labels
                .iter()
                .map(|(label, quality)| {
                    (
                        label.to_string(),
                        label_class(Some(*label)),
                        quality.mean_squared_error,
                    )
                })
                .collect();
            rows.sort_by(|(_, _, a), (_, _, b)| b.total_cmp(a));
            let text = match (rows.first(), rows.last()) {
                (Some((worst, _, most)), Some((best, _, least))) => {
                    format!(
                        "Label {worst} has the largest mean error, {}, and label {best} the smallest, {}.",
                        figure(*most),
                        figure(*least)
                    )
                }
                _ => String::new(),
            };
            let chart = chart::ranking(&rows, text);
            parts.push(document.chart(
                "Error by label",
                "The mean squared error of each label\u{2019}s samples, the hardest first.",
                &chart,
                Around::default(),
            ));
        }
    }
    if let Some(Detection { normal, roc, .. }) = &figures.detection {
        let names: Vec<String> = normal.iter().map(u8::to_string).collect();
        let text = format!(
            "Area under the curve {:.4}, where 0.5 is chance and 1 is perfect.",
            roc.auc
        );
        let points: Vec<[f64; 2]> = roc
            .points
            .iter()
            .map(|point| [point.false_positive_rate, point.true_positive_rate])
            .collect();
        let chart = chart::roc(&points, roc.auc, text);
        let caption = format!(
            "How well the error alone tells samples of label {} from all others, for every threshold. The nearer to the upper left corner, the better; the dotted line is chance.",
            names.join(", ")
        );
        parts.push(document.chart(
            "Telling the odd from the normal (ROC)",
            &caption,
            &chart,
            Around::default(),
        ));
    }
    for (stage, confusion) in &figures.confusion {
        let text = format!(
            "{} of the answers are right.",
            percent(confusion.accuracy())
        );
        let title = format!(
            "Confusion matrix, {stage}: {} right",
            percent(confusion.accuracy())
        );
        let chart = chart::confusion(confusion.counts(), text);
        parts.push(document.chart(&title, "Rows are labels, columns what the samples were taken for. Right answers lie on the diagonal.", &chart, Around::default()));
    }
    Ok(html! { section { h2 { (what) } div.grid { @for part in &parts { (part) } } } })
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
    sorted.get(place).copied().unwrap_or(0.0)
}

fn error_histogram(document: &mut Document, figures: &Figures, errors: &[f64]) -> Markup {
    let mut sorted = errors.to_vec();
    sorted.sort_by(f64::total_cmp);
    let [median, high, most] = [0.5, 0.99, 1.0].map(|share| quantile(&sorted, share));
    let (limit, note) = match figures.threshold {
        Some(threshold) => (threshold, format!("threshold {}", figure(threshold))),
        None => (high, format!("99 % are below {}", figure(high))),
    };
    let above = errors.iter().filter(|error| **error > limit).count();
    // A few far outliers would press all others into one bar.
    let end = most.min(quantile(&sorted, 0.995) * 1.5).max(limit);
    let groups = match &figures.detection {
        None => vec![("samples".to_owned(), "s0".to_owned(), errors.to_vec())],
        Some(Detection { odd, .. }) => {
            let split = |wanted: bool| {
                errors
                    .iter()
                    .zip(odd)
                    .filter(move |(_, odd)| **odd == wanted)
                    .map(|(error, _)| *error)
                    .collect()
            };
            vec![
                ("normal".into(), "s0".into(), split(false)),
                ("others".into(), "s1".into(), split(true)),
            ]
        }
    };
    let beyond = if most > end {
        " The last bar has all that lie beyond."
    } else {
        ""
    };
    let caption = match figures.threshold {
        Some(_) => format!(
            "Samples to the right of the threshold, which the model carries, count as odd: {} of {}.{beyond}",
            grouped(above as i64),
            grouped(errors.len() as i64)
        ),
        None => format!(
            "A long tail to the right is samples that the model does not know how to give back. The model carries no threshold yet; the line is where one that lets 99 % of these pass would lie.{beyond}"
        ),
    };
    let text = format!(
        "Median {}, 99 % quantile {}, largest {}. {} lie above {}.",
        figure(median),
        figure(high),
        figure(most),
        count(above, "sample"),
        figure(limit)
    );
    let chart = Histogram {
        x: Axis {
            range: [0.0, end.max(f64::MIN_POSITIVE)],
            ..Axis::from_to("mean squared error of a sample", 0.0, end)
        },
        y: "samples",
        bins: 48,
        groups,
        marks: vec![(limit, note)],
        text,
    }
    .chart();
    document.chart(
        "Errors",
        &caption,
        &chart,
        Around {
            blocks: true,
            ..Around::default()
        },
    )
}

fn code(document: &mut Document, figures: &Figures) -> Result<Markup> {
    let (units, mut parts) = (&figures.codes.units, Vec::new());
    if !figures.codes.points.is_empty() {
        parts.push(map(document, figures)?);
    }
    let means: Vec<f64> = units.iter().map(|unit| unit.mean).collect();
    let dead: Vec<bool> = units.iter().map(super::figures::Unit::is_dead).collect();
    let mean = means.iter().sum::<f64>() / means.len().max(1) as f64;
    let zeros = units.iter().map(|unit| unit.zeros).sum::<f64>() / units.len().max(1) as f64;
    let has_dead = dead.contains(&true);
    let crosses = if has_dead {
        " A cross marks a unit that is the same for every sample, and so says nothing."
    } else {
        ""
    };
    if (1..=512).contains(&units.len()) {
        let text = format!(
            "Mean activity of all units {}; {} of {} are dead.",
            figure(mean),
            dead_units(figures),
            units.len()
        );
        let name = |index: usize| {
            let unit = units[index];
            format!(
                "unit {index}: mean {}, zero for {}, from {} to {}",
                figure(unit.mean),
                percent(unit.zeros),
                figure(unit.range[0].into()),
                figure(unit.range[1].into())
            )
        };
        let chart = chart::spectrum("code unit", "mean activity", &means, &dead, name, text);
        let caption = format!(
            "Each unit\u{2019}s mean over all samples; that of all units is {}. Even bars mean that all units are in use.{crosses}",
            figure(mean)
        );
        parts.push(document.chart(
            "Activity of the code",
            &caption,
            &chart,
            Around {
                blocks: true,
                ..Around::default()
            },
        ));
    } else {
        let chart = Histogram {
            x: Axis::of("mean activity of a unit", means.iter().copied()),
            y: "code units",
            bins: 40,
            groups: vec![("units".into(), "s0".into(), means.clone())],
            marks: Vec::new(),
            text: format!(
                "Mean activity of all {} units {}.",
                units.len(),
                figure(mean)
            ),
        }
        .chart();
        parts.push(document.chart(
            "Activity of the code",
            "How many units have which mean over all samples.",
            &chart,
            Around::default(),
        ));
    }
    if zeros > 0.0 {
        let split = |wanted: bool| -> Vec<f64> {
            units
                .iter()
                .filter(|unit| unit.is_dead() == wanted)
                .map(|unit| unit.zeros * 100.0)
                .collect()
        };
        let mut groups = vec![("units in use".to_owned(), "s0".to_owned(), split(false))];
        if has_dead {
            groups.push((
                "the same for every sample".into(),
                "warn".into(),
                split(true),
            ));
        }
        let chart = Histogram {
            x: Axis {
                range: [0.0, 100.0],
                ..Axis::from_to("samples for which a unit is zero, %", 0.0, 100.0)
            },
            y: "code units",
            bins: 20,
            groups,
            marks: vec![(zeros * 100.0, format!("mean {}", percent(zeros)))],
            text: format!(
                "Of all numbers of all codes {} are exactly zero.",
                percent(zeros)
            ),
        }
        .chart();
        let caption = format!(
            "{} of all the codes\u{2019} numbers are exactly zero. A sparse code has most of its units to the right, each in use for a few samples.",
            percent(zeros)
        );
        parts.push(document.chart(
            "Sparsity",
            &caption,
            &chart,
            Around {
                blocks: true,
                ..Around::default()
            },
        ));
    }
    Ok(html! { section { h2 { "The code" } div.grid { @for part in &parts { (part) } } } })
}

fn map(document: &mut Document, figures: &Figures) -> Result<Markup> {
    let codes = &figures.codes;
    let mut groups: Vec<Group> = Vec::new();
    for point in &codes.points {
        let name = point
            .label
            .map_or_else(String::new, |label| label.to_string());
        match groups.last_mut() {
            Some(group) if group.name == name => group.points.push(point.place),
            _ => groups.push(Group {
                name,
                class: label_class(point.label),
                points: vec![point.place],
            }),
        }
    }
    let [first, second] = codes.explained;
    let labels = if groups.len() > 1 {
        " Each number stands in the middle of its label\u{2019}s samples: labels that lie apart are told apart by the code, though no one told the model of them."
    } else {
        ""
    };
    let labels = if figures.reconstruction.is_some() {
        labels
    } else {
        ""
    };
    let caption = format!(
        "{} of the samples by the two directions in which their codes differ most; they have {} of the codes\u{2019} variance. Point at one, or touch it, to see the sample.{labels}",
        grouped(codes.points.len() as i64),
        percent(first + second)
    );
    let text = format!(
        "{} samples{} in a plane; its axes have {} and {} of the codes' variance.",
        codes.points.len(),
        if groups.len() > 1 {
            format!(" of {} labels", groups.len())
        } else {
            String::new()
        },
        percent(first),
        percent(second)
    );
    let (x, y) = (
        format!("first component, {}", percent(first)),
        format!("second component, {}", percent(second)),
    );
    let chart: Chart = chart::scatter(&x, &y, &groups, text);
    document.map("The codes in two dimensions", &caption, &chart, figures)
}

fn first_layer(document: &mut Document, figures: &Figures) -> Result<Markup> {
    let Some(filters) = &figures.filters else {
        return Ok(html! {});
    };
    let long = filters.size[0] == 1;
    let tiles = filters
        .weights
        .iter()
        .map(|weights| filter(filters, weights, figures.view))
        .collect::<Result<Vec<_>>>()?;
    let dead = filters.dead.iter().filter(|dead| **dead).count();
    let shown = if filters.kernels {
        filters.count.min(filters.weights.len())
    } else {
        filters.weights.len()
    };
    let (what, sees) = if filters.kernels {
        (
            "kernels",
            "Each kernel is laid over every place of the input.",
        )
    } else {
        ("units", "Each unit sees the whole input.")
    };
    let mut caption = format!(
        "{sees} Orange weights raise the output where the input is bright, blue ones lower it; each picture has its own scale. Edges, strokes and blobs are patterns that were learnt; even grain is none."
    );
    if long {
        caption = format!(
            "{sees} Each line is a filter\u{2019}s weights along the input, about the zero line. Waves and spikes are patterns that were learnt; even grain is none."
        );
    }
    if shown < filters.count {
        caption += &format!(
            " The first {shown} of {} {what} are shown.",
            grouped(filters.count as i64)
        );
    }
    if dead > 0 {
        caption += &format!(
            " Marked: {}, whose output is the same for every sample.",
            count(dead, "dead one")
        );
    }
    let body = html! {
        div class=(if long { "filters long" } else { "filters" }) {
            @for (index, (tile, dead)) in tiles.iter().zip(&filters.dead).enumerate() {
                div.dead[*dead] title=(format!("{} {index}", what.trim_end_matches('s'))) { (tile) @if *dead { span { "dead" } } }
            }
        }
    };
    let title = format!(
        "{} of layer \u{201c}{}\u{201d}",
        if filters.kernels {
            "Kernels"
        } else {
            "Weights"
        },
        filters.layer
    );
    Ok(
        html! { section { h2 { "What the first layer looks for" } div.grid { (document.figure(&title, &caption, body)) } } },
    )
}

fn filter(filters: &Filters, weights: &[f32], view: View) -> Result<Markup> {
    if filters.size[0] == 1 {
        let channels = match view {
            View::Signal { channels, .. } if !filters.kernels => channels.max(1) as usize,
            _ => 1,
        };
        let weights: Vec<f32> = weights.iter().step_by(channels).copied().collect();
        let farthest = weights.iter().fold(f32::MIN_POSITIVE, |farthest, weight| {
            farthest.max(weight.abs())
        });
        let chart = chart::signals(
            &[("s0", &weights)],
            [-farthest, farthest],
            format!("Weights up to {} from zero.", figure(farthest.into())),
        );
        return Ok(html! {
            svg viewBox=(format!("0 0 {} {}", chart.size[0], chart.size[1])) role="img" aria-label=(chart.text) {
                line class="gridline" x1="0" x2=(chart.size[0]) y1=(chart.size[1] / 2.0) y2=(chart.size[1] / 2.0) {}
                (chart.body)
            }
        });
    }
    let tile = Tile::signed(weights, filters.size, 64);
    let farthest = weights
        .iter()
        .fold(0.0f32, |farthest, weight| farthest.max(weight.abs()));
    let alternative = format!("weights up to {} from zero", figure(farthest.into()));
    Ok(html! { img src=(png(&sheet(&[tile], 1, 0)?)) alt=(alternative); })
}

fn device(document: &mut Document, figures: &Figures) -> Markup {
    let costs = &figures.costs;
    let longest = figures
        .layers
        .iter()
        .fold(0.0, |most: f64, layer| most.max(layer.time));
    let row = |layer: &LayerCost| {
        html! {
            tr.code[layer.is_code] {
                td { (layer.name) @if layer.is_code { span.chip { "code" } } small { (layer.kind) } }
                td.n data-name="output" { (shape(layer.output)) }
                td.n data-name="parameters" { (grouped(layer.parameters as i64)) }
                td.n data-name="multiply-adds" { (grouped(i128::from(layer.multiply_accumulates))) }
                td.n data-name="flash" { (bytes(bytes_of(layer.parameters))) }
                td.n data-name="RAM" { (bytes(bytes_of(layer.output.len()))) }
                td.n.bars data-name="time" {
                    div.share {
                        i style=(format!("width:{:.1}%", layer.time / longest.max(f64::MIN_POSITIVE) * 65.0)) {}
                        span { (percent(layer.time)) }
                    }
                }
            }
        }
    };
    let body = html! {
        div.table {
            table {
                thead {
                    tr {
                        th { "Layer" } th.n { "Output" } th.n { "Parameters" } th.n { "Multiply-adds" } th.n { "Flash" } th.n { "RAM" } th.n { "Time" }
                    }
                }
                tbody { @for layer in &figures.layers { (row(layer)) } }
                tfoot {
                    tr {
                        td { "The whole model" }
                        td.n data-name="output" { (shape(figures.shapes[2])) }
                        td.n data-name="parameters" { (grouped(costs.parameters as i64)) }
                        td.n data-name="multiply-adds" { (grouped(i128::from(costs.multiply_accumulates))) }
                        td.n data-name="flash" { (bytes(costs.flash)) }
                        td.n data-name="RAM" { (bytes(costs.inference)) }
                        td.n data-name="time" { "100 %" }
                    }
                }
            }
        }
    };
    let caption = format!(
        "Flash is four bytes a parameter, in the last row with the blob\u{2019}s header: {} bytes. RAM of a layer is its output; in the last row it is what inference of a sample needs at once, input and output among it: {} bytes. Time is each layer\u{2019}s share on the desktop that wrote this report, one thread, layer after layer; a device has other shares.",
        grouped(costs.flash as i64),
        grouped(costs.inference as i64)
    );
    html! { section { h2 { "What it takes on a device" } div.grid { (document.figure("Layers", &caption, body)) } } }
}

fn origin(figures: &Figures) -> Markup {
    let record = &figures.record;
    let mut settings = Vec::new();
    // By way of the text, in which a number of 32 bits has no more digits than it needs.
    let recipe = serde_json::to_string(&record.recipe);
    if let Ok(recipe) = recipe.and_then(|recipe| serde_json::from_str(&recipe)) {
        flatten("", &recipe, &mut settings);
    }
    let facts = |facts: &[(String, String)]| {
        html! { dl.facts { @for (name, value) in facts { dt { (name) } dd.mono { (value) } } } }
    };
    let [offset, scale] = figures.preprocessing;
    let provenance = [
        ("seed".into(), figures.provenance.seed.to_string()),
        (
            "digest of the data".into(),
            format!("{:08x}", record.data_digest),
        ),
        (
            "digest of the recipe".into(),
            format!("{:08x}", record.recipe_digest),
        ),
        ("data trained on".into(), record.data.clone()),
        (
            "data looked at here".into(),
            format!("{}, {}", figures.place, samples(figures)),
        ),
        (
            "integers become".into(),
            format!("(x \u{2212} {offset}) \u{d7} {scale}"),
        ),
        (
            "processor".into(),
            format!("{}, {}", record.processor, count(record.threads, "thread")),
        ),
    ];
    html! {
        section {
            h2 { "How to make it again" }
            p { "The same recipe, data and seed give the same bits, on any machine and with any number of threads." }
            div.grid {
                figure { figcaption { h3 { "Origin" } } (facts(&provenance)) }
                figure { figcaption { h3 { "Recipe" } } (facts(&settings)) }
            }
        }
    }
}

/// Settings by the path of their keys. What has no tables in it is a line.
fn flatten(path: &str, value: &Value, found: &mut Vec<(String, String)>) {
    let join = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match value {
        Value::Object(keys) if path.matches('.').count() < 1 && !keys.is_empty() => {
            for (key, value) in keys {
                flatten(&join(key), value, found);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                found.push((format!("{path}[{index}]"), line(item)));
            }
        }
        Value::Null => {}
        other => found.push((path.to_owned(), line(other))),
    }
}

/// `dense: units 64, activation relu` for `{"dense": {"units": 64, "activation": "relu"}}`.
fn line(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(keys) => {
            if let (1, Some((key, Value::Object(inner)))) = (keys.len(), keys.iter().next()) {
                let inner = line(&Value::Object(inner.clone()));
                return if inner.is_empty() {
                    key.clone()
                } else {
                    format!("{key}: {inner}")
                };
            }
            let parts = keys
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| format!("{key} {}", line(value)));
            parts.collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(line).collect::<Vec<_>>().join(", ")
        ),
        other => other.to_string(),
    }
}
