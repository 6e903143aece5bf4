//! Runs side by side.

use maud::{Markup, html};

use super::chart::{self, Series};
use super::document::{Around, Document, Row, rows, whole};
use super::figures::{Figures, Unit};
use super::page::{label, losses, work};
use super::text::{bytes, count, figure, grouped, percent, seconds, short};
use crate::error::{Error, Result};

/// Several runs on one page, as the text of an HTML file. All must have been looked at with the same samples.
///
/// # Errors
/// [`Error::Data`] where there are fewer than two, or a run was looked at with others than the first;
/// [`Error::File`] where a picture would be too large for a PNG.
pub fn compare(runs: &[Figures]) -> Result<String> {
    let names = names(runs);
    let [first, others @ ..] = runs else {
        return Err(refuse("two runs or more", "none came".into()));
    };
    if others.is_empty() {
        return Err(refuse("two runs or more", "one came".into()));
    }
    for (run, name) in runs.iter().zip(&names).skip(1) {
        check(first, &names[0], run, name)?;
    }
    let mut document = Document::default();
    let body = html! {
        (head(runs, &names))
        section { h2 { "Figures" } div.grid { (table(&mut document, runs, &names)) (errors(&mut document, runs, &names)) } }
        (curves(&mut document, runs, &names))
        section { h2 { "The same samples" } div.grid { (samples(&mut document, runs, &names)?) } }
    };
    Ok(whole(&format!("{}: a comparison", names.join(", ")), &body))
}

fn refuse(expected: &str, given: String) -> Error {
    Error::Data {
        place: "comparison".into(),
        expected: expected.into(),
        given,
    }
}

fn check(first: &Figures, first_name: &str, run: &Figures, name: &str) -> Result<()> {
    let expected = format!("the samples that \"{first_name}\" was looked at with");
    if run.shapes[0].len() != first.shapes[0].len() {
        return Err(refuse(
            &expected,
            format!(
                "\"{name}\" takes samples of {} numbers, not {}",
                run.shapes[0].len(),
                first.shapes[0].len()
            ),
        ));
    }
    let same = run.samples == first.samples
        && run.shown.len() == first.shown.len()
        && run
            .shown
            .iter()
            .zip(&first.shown)
            .all(|(run, first)| run.original == first.original);
    if same {
        Ok(())
    } else {
        Err(refuse(
            &expected,
            format!("\"{name}\" has others: of other data, or prepared in another way"),
        ))
    }
}

/// The recipes' names, with the seed or the place in the list where several have the same.
fn names(runs: &[Figures]) -> Vec<String> {
    let is_twice =
        |names: &[String], name: &String| names.iter().filter(|other| *other == name).count() > 1;
    let plain: Vec<String> = runs
        .iter()
        .map(|run| run.record.recipe.name.clone())
        .collect();
    let seeds: Vec<String> = runs
        .iter()
        .zip(&plain)
        .map(|(run, name)| {
            if is_twice(&plain, name) {
                format!("{name} (seed {})", run.record.recipe.seed)
            } else {
                name.clone()
            }
        })
        .collect();
    let numbered = seeds.iter().enumerate();
    numbered
        .map(|(index, name)| {
            if is_twice(&seeds, name) {
                format!("{name} #{}", index + 1)
            } else {
                name.clone()
            }
        })
        .collect()
}

fn class(index: usize) -> String {
    format!("s{}", index % 8)
}

fn error(run: &Figures) -> Option<f64> {
    Some(run.reconstruction.as_ref()?.answers.mean_squared_error)
}

fn accuracy_of(run: &Figures) -> Option<f64> {
    run.confusion
        .last()
        .map(|(_, confusion)| confusion.accuracy())
}

fn training_time(run: &Figures) -> f64 {
    run.record
        .stages
        .iter()
        .flat_map(|stage| &stage.epochs)
        .map(|epoch| epoch.seconds)
        .sum()
}

fn least(values: impl Iterator<Item = Option<f64>>) -> Option<usize> {
    let known = values
        .enumerate()
        .filter_map(|(index, value)| Some((index, value?)));
    known
        .min_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(index, _)| index)
}

fn head(runs: &[Figures], names: &[String]) -> Markup {
    let best = least(runs.iter().map(error));
    let right = least(runs.iter().map(|run| accuracy_of(run).map(|share| -share)));
    html! {
        div.head {
            h1 { (count(runs.len(), "run")) " side by side" }
            p.flow { @for (index, name) in names.iter().enumerate() { @if index > 0 { ", " } (name) } }
            p.verdict {
                @if let Some((best, found)) = best.and_then(|best| Some((best, error(&runs[best])?))) {
                    "On the same " (count(runs[0].samples, if runs[0].unseen { "unseen sample" } else { "sample" })) " "
                    strong { (names[best]) } " has the least error: " strong { (figure(found)) } ". "
                }
                @if let Some((right, found)) = right.and_then(|right| Some((right, accuracy_of(&runs[right])?))) {
                    strong { (names[right]) } " gives the right label most often: " strong { (percent(found)) } "."
                }
            }
        }
    }
}

/// What is compared, the less the better, and how it is written; none where a run has no such thing.
type Cell = Option<(f64, String)>;
/// A title, and what stands below it for a run.
type Column<'a> = (&'static str, &'a dyn Fn(&Figures) -> Cell);

fn table(document: &mut Document, runs: &[Figures], names: &[String]) -> Markup {
    let columns: [Column<'_>; 11] = [
        ("Error", &|run| {
            error(run).map(|error| (error, figure(error)))
        }),
        ("PSNR", &|run| {
            run.reconstruction.as_ref().map(|found| {
                (
                    -found.answers.psnr(),
                    format!("{:.2}\u{a0}dB", found.answers.psnr()),
                )
            })
        }),
        ("Accuracy", &|run| {
            accuracy_of(run).map(|share| (-share, percent(share)))
        }),
        ("Code", &|run| {
            Some((
                run.shapes[1].len() as f64,
                grouped(run.shapes[1].len() as i64),
            ))
        }),
        ("Zeros", &|run| {
            let units = &run.codes.units;
            let zeros =
                units.iter().map(|unit| unit.zeros).sum::<f64>() / units.len().max(1) as f64;
            Some((-zeros, percent(zeros)))
        }),
        ("Dead", &|run| {
            let dead = run
                .codes
                .units
                .iter()
                .filter(|unit| Unit::is_dead(unit))
                .count();
            Some((dead as f64, grouped(dead as i64)))
        }),
        ("Parameters", &|run| {
            Some((
                run.costs.parameters as f64,
                grouped(run.costs.parameters as i64),
            ))
        }),
        ("Flash", &|run| {
            Some((run.costs.flash as f64, bytes(run.costs.flash)))
        }),
        ("RAM", &|run| {
            Some((run.costs.inference as f64, bytes(run.costs.inference)))
        }),
        ("Work", &|run| {
            Some((
                run.costs.multiply_accumulates as f64,
                work(run.costs.multiply_accumulates),
            ))
        }),
        ("Training", &|run| {
            Some((training_time(run), seconds(training_time(run))))
        }),
    ];
    let columns: Vec<_> = columns
        .iter()
        .map(|(name, of)| (*name, runs.iter().map(of).collect::<Vec<_>>()))
        .filter(|(_, cells)| cells.iter().any(Option::is_some))
        .collect();
    let is_best = |cells: &[Cell], index: usize| {
        let score = |cell: &Cell| cell.as_ref().map(|(score, _)| *score);
        let best = cells.iter().filter_map(score).fold(f64::INFINITY, f64::min);
        let alike = cells.iter().all(|cell| score(cell) == Some(best));
        !alike && cells.get(index).and_then(score) == Some(best)
    };
    let body = html! {
        div.table {
            table {
                thead { tr { th { "Run" } @for (name, _) in &columns { th.n { (name) } } } }
                tbody {
                    @for (index, name) in names.iter().enumerate() {
                        tr {
                            td { span class=(format!("swatch {}", class(index))) {} (name) }
                            @for (title, cells) in &columns {
                                td.n data-name=(title) {
                                    @match &cells[index] {
                                        Some((_, text)) => { span.best[is_best(cells, index)] { (text) } },
                                        None => { "\u{2013}" },
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    document.figure(
        "All at a glance",
        "A tick marks the best of each column where they differ: the least of errors and costs, the most of the others. Zeros is the share of the codes\u{2019} numbers that are exactly zero, dead the code units that are the same for every sample, work the multiply-adds of a sample.",
        body,
    )
}

fn errors(document: &mut Document, runs: &[Figures], names: &[String]) -> Markup {
    let mut bars: Vec<(String, String, f64)> = runs
        .iter()
        .zip(names)
        .enumerate()
        .filter_map(|(index, (run, name))| Some((name.clone(), class(index), error(run)?)))
        .collect();
    if bars.is_empty() {
        return html! {};
    }
    bars.sort_by(|(_, _, a), (_, _, b)| a.total_cmp(b));
    let text: Vec<String> = bars
        .iter()
        .map(|(name, _, error)| format!("{name} {}", figure(*error)))
        .collect();
    let chart = chart::ranking(&bars, format!("Mean squared errors: {}.", text.join(", ")));
    let caption = "The mean squared error of what each gives back; shorter is better. A run with noise had noisy samples to work from.";
    document.chart(
        "Error",
        caption,
        &chart,
        Around {
            wide: true,
            ..Around::default()
        },
    )
}

/// All stages of a run in a row, `which` of the lines of [`losses`].
fn joined(run: &Figures, which: &str) -> Vec<[f64; 2]> {
    let (mut points, mut before) = (Vec::new(), 0.0);
    for stage in &run.record.stages {
        for series in losses(stage)
            .into_iter()
            .filter(|series| series.name == which)
        {
            points.extend(
                series
                    .points
                    .into_iter()
                    .map(|[epoch, loss]| [before + epoch, loss]),
            );
        }
        before += stage.epochs.len() as f64;
    }
    points
}

fn curves(document: &mut Document, runs: &[Figures], names: &[String]) -> Markup {
    let loss = |run: &Figures| {
        serde_json::to_value(&run.record.recipe.training)
            .ok()
            .and_then(|training| Some(training.get("loss")?.to_string()))
    };
    let alike = runs.iter().all(|run| loss(run) == loss(&runs[0]));
    let mut charts = Vec::new();
    for (which, title, caption) in [
        (
            "validation",
            "Validation loss",
            "On samples that no run learns from. The lower line is the better model, the steeper the faster learner.",
        ),
        (
            "training",
            "Training loss",
            "On the samples that each run learns from, without penalties.",
        ),
    ] {
        let of = |(index, run): (usize, &Figures)| Series {
            name: names[index].clone(),
            class: class(index),
            points: joined(run, which),
        };
        let series: Vec<Series> = runs
            .iter()
            .enumerate()
            .map(of)
            .filter(|series| !series.points.is_empty())
            .collect();
        if series.is_empty() {
            continue;
        }
        let note = if alike {
            ""
        } else {
            " These runs have losses of different kinds: compare the shapes of the lines, not their heights."
        };
        let chart = chart::curves("mean loss of a sample", series, &[]);
        charts.push(document.chart(
            title,
            &format!("{caption}{note}"),
            &chart,
            Around::default(),
        ));
    }
    html! { section { h2 { "How they learnt" } div.grid { @for chart in &charts { (chart) } } } }
}

fn samples(document: &mut Document, runs: &[Figures], names: &[String]) -> Result<Markup> {
    let first = &runs[0];
    let classes: Vec<String> = (0..runs.len()).map(class).collect();
    let mut lines: Vec<Row<'_>> = Row::of("original", "orig", &first.shown, |shown| {
        Some(&shown.original[..])
    })
    .into_iter()
    .collect();
    for ((run, name), class) in runs.iter().zip(names).zip(&classes) {
        lines.extend(Row::of(name, class, &run.shown, |shown| {
            shown.answer.as_deref()
        }));
    }
    let under: Vec<Markup> = first
        .shown
        .iter()
        .enumerate()
        .map(|(place, shown)| {
            html! {
                b { (label(shown)) }
                @for (run, class) in runs.iter().zip(&classes) {
                    @if let Some(shown) = run.shown.get(place) {
                        @match shown.answered {
                            Some(answered) => { div { span class=(format!("swatch {class}")) {} (answered) } },
                            None => { div { (short(shown.error)) } },
                        }
                    }
                }
            }
        })
        .collect();
    let caption = "What each makes of the same samples; under them the label, or the sample\u{2019}s number, and in the runs\u{2019} order the mean squared errors.";
    Ok(document.figure("One of each label", caption, rows(first, &lines, &under)?))
}
