//! What all reports share: the document around them, figures, and samples as pictures or lines.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::{self, Chart};
use super::figures::{Figures, Shown, View};
use super::text::{figure, grouped};
use crate::error::Result;
use crate::picture::{Tile, sheet};

/// Names and values of the style sheet's colours: on a screen in the light and on paper, and in the dark.
///
/// Blue and vermilion, of Okabe and Ito's palette, carry what has to be told apart; the ten for labels are Tol's muted
/// ones, lighter where the paper is dark. No chart depends on a colour alone.
const COLOURS: [(&str, &str, &str); 28] = [
    ("paper", "#f7f6f3", "#101317"),
    ("card", "#ffffff", "#181c22"),
    ("tint", "#eff2f5", "#222832"),
    ("ink", "#1b1f24", "#e9ebee"),
    ("soft", "#57606b", "#a3acb8"),
    ("faint", "#8b939d", "#6f7884"),
    ("rule", "#e2e1dc", "#2b313a"),
    ("warn", "#b03a00", "#ff9a5c"),
    ("alert", "#fff4ec", "#2a1d14"),
    ("s0", "#0a6cb0", "#5cb3ea"),
    ("s1", "#d1600a", "#f2a24a"),
    ("s2", "#00866a", "#3ecba3"),
    ("s3", "#a8488a", "#dd8fc4"),
    ("s4", "#7d6b00", "#d9c546"),
    ("s5", "#4a4fa8", "#a3a6f5"),
    ("s6", "#3d8fa8", "#8fd5e8"),
    ("s7", "#6b7178", "#b4bac2"),
    ("l0", "#332288", "#8f86e8"),
    ("l1", "#4aaedb", "#88ccee"),
    ("l2", "#2f9c8c", "#44c4ae"),
    ("l3", "#117733", "#4fae6a"),
    ("l4", "#8a8a20", "#b5b549"),
    ("l5", "#c9ae3c", "#ebdd8f"),
    ("l6", "#cc6677", "#e88c9a"),
    ("l7", "#882255", "#c2578c"),
    ("l8", "#aa4499", "#d07fc4"),
    ("l9", "#7f7f7f", "#b9b9b9"),
    ("orig", "#9aa2ab", "#7d8692"),
];

fn style() -> String {
    let variables = |dark: bool| {
        let mut text = String::new();
        for (name, light, other) in COLOURS {
            let value = if dark { other } else { light };
            let _ = write!(text, "--{name}:{value};");
        }
        let scheme = if dark { "dark" } else { "light" };
        let _ = write!(text, "color-scheme:{scheme}");
        text
    };
    let (light, dark) = (variables(false), variables(true));
    let mut text = format!(
        ":root{{{light}}}\n\
        @media screen and (prefers-color-scheme:dark){{:root:not(:has(#light:checked)){{{dark}}}}}\n\
        @media screen{{:root:has(#dark:checked){{{dark}}}}}\n"
    );
    for (name, _, _) in COLOURS.iter().skip_while(|(name, _, _)| *name != "s0") {
        let _ = writeln!(text, ".{name}{{--c:var(--{name})}}");
    }
    text.push_str(".warn{--c:var(--warn)}\n");
    text.push_str(include_str!("style.css"));
    text
}

/// A report being written: it numbers its figures.
#[derive(Default)]
pub(super) struct Document {
    figures: usize,
}

/// What stands in a figure beside its chart.
#[derive(Default)]
pub(super) struct Around {
    pub(super) wide: bool,
    pub(super) behind: Option<Markup>,
    /// The legend shows areas rather than lines.
    pub(super) blocks: bool,
}

impl Document {
    fn id(&mut self) -> String {
        self.figures += 1;
        format!("figure-{}", self.figures)
    }

    /// A chart with its title and what to look for.
    pub(super) fn chart(
        &mut self,
        title: &str,
        caption: &str,
        chart: &Chart,
        around: Around,
    ) -> Markup {
        let id = self.id();
        html! {
            figure.wide[around.wide] {
                (heading(&id, title, caption))
                (svg(chart, &id))
                @if !chart.legend.is_empty() {
                    ul class=(if around.blocks { "legend blocks" } else { "legend" }) {
                        @for (class, name) in &chart.legend { li class=(class) { i {} (name) } }
                    }
                }
                @if let Some(behind) = around.behind { (behind) }
            }
        }
    }

    /// Anything else with a title and what to look for.
    pub(super) fn figure(&mut self, title: &str, caption: &str, body: Markup) -> Markup {
        let id = self.id();
        html! { figure.wide { (heading(&id, title, caption)) (body) } }
    }

    /// The plane of the codes, with the sample under the pointer.
    pub(super) fn map(
        &mut self,
        title: &str,
        caption: &str,
        chart: &Chart,
        figures: &Figures,
    ) -> Result<Markup> {
        const COLUMNS: usize = 32;
        let id = self.id();
        let indices: Vec<String> = figures
            .codes
            .points
            .iter()
            .map(|point| point.index.to_string())
            .collect();
        let head = html! { (heading(&id, title, caption)) (svg(chart, &id)) };
        let samples = indices.join(" ");
        Ok(match figures.view {
            View::Picture { .. } => {
                let tiles: Vec<Tile> = figures
                    .thumbnails
                    .iter()
                    .map(|sample| tile(figures, sample, 32))
                    .collect();
                let rows = tiles.len().div_ceil(COLUMNS);
                let [width, height] = tiles.first().map_or([1, 1], Tile::size);
                let style = format!(
                    "aspect-ratio:{width}/{height};background-size:{}% {}%;background-image:url({})",
                    COLUMNS * 100,
                    rows * 100,
                    png(&sheet(&tiles, COLUMNS as u32, 0)?)
                );
                html! {
                    figure.map data-samples=(samples) data-columns=(COLUMNS) data-rows=(rows) {
                        (head)
                        div.probe hidden aria-hidden="true" { div.thumb style=(style) {} span {} }
                    }
                }
            }
            View::Signal { channels, .. } => {
                let lines: Vec<Vec<u8>> = figures
                    .thumbnails
                    .iter()
                    .map(|sample| {
                        let first: Vec<f32> = sample
                            .iter()
                            .step_by(channels.max(1) as usize)
                            .copied()
                            .collect();
                        let [low, high] = figures.range;
                        let few = first.iter().step_by(first.len().div_ceil(128));
                        few.map(|value| ((value - low) / (high - low) * 255.0) as u8)
                            .collect()
                    })
                    .collect();
                let length = lines.first().map_or(0, Vec::len);
                html! {
                    figure.map data-samples=(samples) data-length=(length) data-signals=(BASE64_STANDARD.encode(lines.concat())) {
                        (head)
                        div.probe hidden aria-hidden="true" {
                            svg viewBox="0 0 100 40" { polyline class="line s0" points="" {} }
                            span {}
                        }
                    }
                }
            }
        })
    }
}

fn heading(id: &str, title: &str, caption: &str) -> Markup {
    html! {
        figcaption {
            h3 id=(id) { (title) }
            @if !caption.is_empty() { p { (caption) } }
        }
    }
}

fn svg(chart: &Chart, id: &str) -> Markup {
    let [width, height] = chart.size;
    let text = format!("{id}-text");
    html! {
        svg viewBox=(format!("0 0 {width:.0} {height:.0}")) role="img" aria-labelledby=(id) aria-describedby=(text) {
            desc id=(text) { (chart.text) }
            (chart.body)
        }
    }
}

/// The whole document.
pub(super) fn whole(title: &str, body: &Markup) -> String {
    let switch = |value: &str, checked: bool| {
        html! {
            label {
                input type="radio" name="theme" id=(value) value=(value) checked[checked];
                (value)
            }
        }
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(concat!("narrows ", env!("CARGO_PKG_VERSION")));
                title { (title) }
                // Without an icon of its own, a browser asks a server for one.
                link rel="icon" href="data:,";
                style { (PreEscaped(style())) }
            }
            body {
                header.top {
                    span.mark {
                        svg viewBox="0 0 24 24" aria-hidden="true" {
                            path fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round"
                                d="M3 4C10 4 9 10.2 12 10.2S14 4 21 4M3 20c7 0 6-6.2 9-6.2S14 20 21 20" {}
                        }
                        "narrows"
                    }
                    div.theme role="radiogroup" aria-label="Colours of the page" {
                        (switch("auto", true)) (switch("light", false)) (switch("dark", false))
                    }
                }
                main { (body) }
                footer {
                    "Made by narrows " (env!("CARGO_PKG_VERSION"))
                    ". This file is complete: it loads nothing from a network."
                }
                script { (PreEscaped(include_str!("script.js"))) }
            }
        }
    };
    page.into_string()
}

/// The class of a label's colour.
pub(super) fn label_class(label: Option<u8>) -> String {
    label.map_or_else(|| "s0".into(), |label| format!("l{}", label % 10))
}

/// A PNG as an address.
pub(super) fn png(bytes: &[u8]) -> String {
    format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes))
}

fn tile(figures: &Figures, values: &[f32], largest: u32) -> Tile {
    match figures.view {
        View::Picture {
            height,
            width,
            channels,
        } => Tile::of(values, [height, width, channels], figures.range, largest),
        View::Signal { length, channels } => {
            Tile::of(values, [1, length, channels], figures.range, largest)
        }
    }
}

/// A line of samples: what they are, the class of their line where they are signals, and the numbers of each.
pub(super) struct Row<'a> {
    pub(super) name: String,
    pub(super) class: &'a str,
    pub(super) samples: Vec<&'a [f32]>,
}

impl<'a> Row<'a> {
    /// One of what `of` gives of each sample; none where it gives nothing.
    pub(super) fn of(
        name: &str,
        class: &'a str,
        shown: &'a [Shown],
        of: impl Fn(&'a Shown) -> Option<&'a [f32]>,
    ) -> Option<Self> {
        let samples: Vec<&[f32]> = shown.iter().filter_map(of).collect();
        let name = name.into();
        (!samples.is_empty() && samples.len() == shown.len()).then_some(Self {
            name,
            class,
            samples,
        })
    }
}

/// Samples in rows: as pictures, five abreast, or as lines over each other. `under` stands under each.
pub(super) fn rows(figures: &Figures, rows: &[Row<'_>], under: &[Markup]) -> Result<Markup> {
    const ABREAST: usize = 5;
    if let View::Signal { channels, .. } = figures.view {
        let firsts = |values: &[f32]| -> Vec<f32> {
            values
                .iter()
                .step_by(channels.max(1) as usize)
                .copied()
                .collect()
        };
        let signal = |index: usize| {
            let mut lines: Vec<(&str, Vec<f32>)> = rows
                .iter()
                .filter_map(|row| Some((row.class, firsts(row.samples.get(index)?))))
                .collect();
            // What is faint lies below the others.
            lines.sort_by_key(|(class, _)| !class.contains("faint"));
            let all = || lines.iter().flat_map(|(_, values)| values).copied();
            let range = [
                all().fold(f32::INFINITY, f32::min),
                all().fold(f32::NEG_INFINITY, f32::max),
            ];
            let range = if range[0] < range[1] {
                range
            } else {
                [range[0] - 1.0, range[0] + 1.0]
            };
            let names: Vec<&str> = rows.iter().map(|row| &*row.name).collect();
            let text = format!(
                "{} as lines, from {} to {}.",
                names.join(", "),
                figure(range[0].into()),
                figure(range[1].into())
            );
            let lines: Vec<(&str, &[f32])> = lines
                .iter()
                .map(|(class, values)| (*class, &values[..]))
                .collect();
            chart::signals(&lines, range, text)
        };
        return Ok(html! {
            div.signals {
                @for (index, under) in under.iter().enumerate() {
                    @let chart = signal(index);
                    div {
                        svg viewBox=(format!("0 0 {} {}", chart.size[0], chart.size[1])) role="img" aria-label=(chart.text) { (chart.body) }
                        div.said { (under) }
                    }
                }
            }
            ul.legend { @for row in rows { li class=(row.class) { i {} (row.name) } } }
        });
    }
    let mut blocks = Vec::new();
    for (block, under) in under.chunks(ABREAST).enumerate() {
        let mut lines = Vec::new();
        for row in rows {
            let samples = row.samples.iter().skip(block * ABREAST).take(ABREAST);
            let tiles: Vec<Tile> = samples.map(|sample| tile(figures, sample, 160)).collect();
            let [width, height] = tiles.first().map_or([1, 1], Tile::size);
            let picture = png(&sheet(
                &tiles,
                ABREAST as u32,
                (width.max(height) / 14).max(1),
            )?);
            let alternative = format!(
                "{}: samples {} to {}",
                row.name,
                grouped((block * ABREAST + 1) as i64),
                grouped((block * ABREAST + tiles.len()) as i64)
            );
            lines.push(html! {
                span { (row.name) }
                img class=(if width.max(height) < 100 { "pixels" } else { "" }) src=(picture) alt=(alternative);
            });
        }
        blocks.push(html! {
            div.block {
                @for line in lines { (line) }
                span {}
                div.under { @for under in under { div { (under) } } }
            }
        });
    }
    Ok(html! { div.rows { @for block in blocks { (block) } } })
}
