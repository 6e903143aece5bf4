//! Charts as inline SVG. They have no colours of their own: the page's style sheet gives each class one, for light, dark
//! and paper. Sizes are user units; a chart is as wide as its place on the page.

use maud::{Markup, html};

use super::text::{figure, short};

/// Of every chart with axes.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 250.0;
/// The height of those whose axes mean the same.
const SQUARE: f64 = 430.0;
/// Room for the names of ticks and axes: left, right, top, bottom.
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 40.0;

/// A chart, ready to stand in a figure.
pub(super) struct Chart {
    /// Width and height.
    pub(super) size: [f64; 2],
    pub(super) body: Markup,
    /// The main numbers in words.
    pub(super) text: String,
    /// Classes and names of what is in it.
    pub(super) legend: Vec<(String, String)>,
}

/// From where to where, and how it is written.
pub(super) struct Axis<'a> {
    pub(super) name: &'a str,
    pub(super) range: [f64; 2],
    pub(super) log: bool,
    /// Only whole numbers have ticks.
    pub(super) whole: bool,
}

impl<'a> Axis<'a> {
    /// One with ticks at both ends that takes all of `values` in.
    pub(super) fn of(name: &'a str, values: impl IntoIterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            if value.is_finite() {
                (low, high) = (low.min(value), high.max(value));
            }
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        Self::from_to(name, low, high)
    }

    /// One that ends a little beyond the outermost of `values`.
    fn around(name: &'a str, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let margin = 0.03 * (high - low);
        if margin > 0.0 {
            Self {
                name,
                range: [low - margin, high + margin],
                log: false,
                whole: false,
            }
        } else {
            Self::of(name, [low, high])
        }
    }

    /// One with ticks at both ends that has `low` and `high` on it.
    pub(super) fn from_to(name: &'a str, low: f64, high: f64) -> Self {
        let (low, high) = if high > low {
            (low, high)
        } else {
            let around = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            (low - around, high + around)
        };
        let outwards = |[low, high]: [f64; 2]| {
            let step = step(high - low);
            [
                (low / step + 1e-9).floor() * step,
                (high / step - 1e-9).ceil() * step,
            ]
        };
        Self {
            name,
            // The wider range may have a wider step.
            range: outwards(outwards([low, high])),
            log: false,
            whole: false,
        }
    }

    /// A logarithmic one, where all values are above zero and they span more than a decade.
    fn log_where_it_helps(self, low: f64, high: f64) -> Self {
        if low > 0.0 && high / low > 12.0 {
            Self {
                range: [low / 1.15, high * 1.15],
                log: true,
                ..self
            }
        } else {
            self
        }
    }

    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.log { value.ln() } else { value };
        let [low, high] = self.range.map(scale);
        ((scale(value) - low) / (high - low)).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        let [low, high] = self.range;
        if self.log {
            let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
            let few = high / low < 200.0;
            let all = decades.flat_map(|decade| {
                let multiples: &[f64] = if few { &[1.0, 2.0, 5.0] } else { &[1.0] };
                multiples
                    .iter()
                    .map(move |multiple| multiple * 10f64.powi(decade))
            });
            return all
                .filter(|tick| (low..=high).contains(tick))
                .map(|tick| (tick, short(tick)))
                .collect();
        }
        let mut step = step(high - low);
        if self.whole {
            step = step.max(1.0);
        }
        let digits = (-step.log10().floor()).max(0.0) as usize;
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        (first..=last)
            .map(|index| {
                let tick = index as f64 * step;
                let name = if tick.abs() >= 1e4 {
                    short(tick)
                } else {
                    // No minus before a zero.
                    format!("{:.digits$}", tick + 0.0)
                };
                (tick, name)
            })
            .collect()
    }
}

/// 1, 2 or 5 times a power of ten, of which four to eight make `span`.
fn step(span: f64) -> f64 {
    let rough = span / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|factor| factor * power >= rough * 0.999)
        .unwrap_or(10.0);
    factor * power
}

/// One axis across, one up.
struct Plane<'a> {
    x: Axis<'a>,
    y: Axis<'a>,
    height: f64,
}

impl Plane<'_> {
    fn across(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn down(&self, value: f64) -> f64 {
        self.height - BOTTOM - self.y.place(value) * (self.height - TOP - BOTTOM)
    }

    fn points<'p>(&self, points: impl IntoIterator<Item = &'p [f64; 2]>) -> String {
        let points: Vec<String> = points
            .into_iter()
            .map(|[x, y]| format!("{:.1},{:.1}", self.across(*x), self.down(*y)))
            .collect();
        points.join(" ")
    }

    fn axes(&self) -> Markup {
        let bottom = self.height - BOTTOM;
        html! {
            @for (tick, name) in self.y.ticks() {
                @let y = one(self.down(tick));
                line class="gridline" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
                text class="tick" x=(LEFT - 6.0) y=(y) dy="0.35em" text-anchor="end" { (name) }
            }
            line class="axis" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(bottom) y2=(bottom) {}
            @for (tick, name) in self.x.ticks() {
                @let x = one(self.across(tick));
                line class="axis" x1=(x) x2=(x) y1=(bottom) y2=(bottom + 4.0) {}
                text class="tick" x=(x) y=(bottom + 7.0) dy="0.75em" text-anchor="middle" { (name) }
            }
            text class="name" x=(WIDTH - RIGHT) y=(self.height - 4.0) text-anchor="end" { (self.x.name) }
            text class="name" x="2" y="13" { (self.y.name) }
        }
    }

    /// A dashed line up from `x`, with a note beside it.
    fn mark(&self, x: f64, note: &str) -> Markup {
        let at = self.across(x);
        let right = at < (LEFT + WIDTH) / 2.0;
        html! {
            line class="limit" x1=(one(at)) x2=(one(at)) y1=(TOP - 6.0) y2=(self.height - BOTTOM) {}
            text class="note" x=(one(at + if right { 6.0 } else { -6.0 })) y=(TOP - 4.0) dy="0.6em"
                text-anchor=(if right { "start" } else { "end" }) { (note) }
        }
    }

    fn chart(self, body: Markup, text: String, legend: Vec<(String, String)>) -> Chart {
        Chart {
            size: [WIDTH, self.height],
            body: html! { (self.axes()) (body) },
            text,
            legend,
        }
    }
}

fn one(value: f64) -> String {
    format!("{value:.1}")
}

/// A line of a chart.
pub(super) struct Series {
    pub(super) name: String,
    /// Of the style sheet: `s0` to `s7`, with `dashed` where the line is.
    pub(super) class: String,
    pub(super) points: Vec<[f64; 2]>,
}

impl Series {
    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.points.iter().map(|[_, y]| *y)
    }
}

/// Losses against epochs.
pub(super) fn curves(name: &str, series: Vec<Series>, marks: &[(f64, &str)]) -> Chart {
    let values = || {
        series
            .iter()
            .flat_map(Series::values)
            .filter(|y| y.is_finite())
    };
    let (low, high) = (
        values().fold(f64::INFINITY, f64::min),
        values().fold(0.0, f64::max),
    );
    let last = series.iter().flat_map(|series| &series.points);
    let last = last.fold(1.0, |last: f64, [x, _]| last.max(*x));
    let plane = Plane {
        x: Axis {
            name: "epoch",
            range: [1.0 - 0.04 * last, last + 0.04 * last],
            log: false,
            whole: true,
        },
        y: Axis::of(name, values()).log_where_it_helps(low, high),
        height: HEIGHT,
    };
    let dots = last <= 40.0;
    let body = html! {
        @for (x, note) in marks { (plane.mark(*x, note)) }
        @for series in &series {
            @let finite = || series.points.iter().filter(|[_, y]| y.is_finite());
            polyline class=(format!("line {}", series.class)) points=(plane.points(finite())) {}
            @if dots {
                @for [x, y] in finite() {
                    circle class=(format!("dot {}", series.class)) r="3"
                        cx=(one(plane.across(*x))) cy=(one(plane.down(*y))) {
                        title { (series.name) ", epoch " (x) ": " (figure(*y)) }
                    }
                }
            }
        }
    };
    let told = series.iter().filter_map(|series| {
        let ([_, first], [_, last]) = (series.points.first()?, series.points.last()?);
        Some(format!(
            "{}: {} at first, {} at the end.",
            series.name,
            figure(*first),
            figure(*last)
        ))
    });
    let text = told.collect::<Vec<_>>().join(" ");
    let legend = series
        .iter()
        .map(|series| (series.class.clone(), series.name.clone()))
        .collect();
    plane.chart(body, text, legend)
}

/// Bars that touch: how many values lie in each of `bins` ranges of the same width. `marked` values have a class of
/// their own, on top of the others.
pub(super) struct Histogram<'a> {
    pub(super) x: Axis<'a>,
    pub(super) y: &'a str,
    pub(super) bins: usize,
    /// Names, classes, values.
    pub(super) groups: Vec<(String, String, Vec<f64>)>,
    pub(super) marks: Vec<(f64, String)>,
    pub(super) text: String,
}

impl Histogram<'_> {
    pub(super) fn chart(self) -> Chart {
        let ([low, high], bins) = (self.x.range, self.bins);
        let width = (high - low) / bins as f64;
        let mut base = vec![0usize; bins];
        let stacked: Vec<_> = self
            .groups
            .iter()
            .map(|(name, class, values)| {
                let mut counts = vec![0usize; bins];
                for value in values {
                    // What lies beyond the axis is counted at its end.
                    let bin = ((value - low) / width)
                        .floor()
                        .clamp(0.0, (bins - 1) as f64);
                    counts[bin as usize] += 1;
                }
                let bars: Vec<[usize; 2]> = base
                    .iter_mut()
                    .zip(&counts)
                    .map(|(base, count)| {
                        let from = *base;
                        *base += count;
                        [from, *base]
                    })
                    .collect();
                (name, class, bars)
            })
            .collect();
        let most = base.iter().copied().max().unwrap_or(0).max(1);
        let plane = Plane {
            y: Axis {
                whole: true,
                ..Axis::from_to(self.y, 0.0, most as f64)
            },
            x: self.x,
            height: HEIGHT,
        };
        let body = html! {
            @for (name, class, bars) in &stacked {
                @for (bin, [from, to]) in bars.iter().enumerate().filter(|(_, [from, to])| to > from) {
                    @let [left, right] = [bin, bin + 1].map(|edge| plane.across(low + edge as f64 * width));
                    @let [top, bottom] = [to, from].map(|count| plane.down(*count as f64));
                    rect class=(format!("bar {class}")) x=(one(left + 0.4)) width=(one(right - left - 0.8))
                        y=(one(top)) height=(one((bottom - top).max(0.8))) {
                        title {
                            (to - from) ", " (name) ": " (short(low + bin as f64 * width)) " to "
                            (short(low + (bin + 1) as f64 * width))
                        }
                    }
                }
            }
            @for (x, note) in &self.marks { (plane.mark(*x, note)) }
        };
        let legend = if stacked.len() > 1 {
            self.groups
                .iter()
                .map(|(name, class, _)| (class.clone(), name.clone()))
                .collect()
        } else {
            Vec::new()
        };
        plane.chart(body, self.text, legend)
    }
}

/// A thin bar for each of many numbers, in their order; those that are `marked` get a cross.
pub(super) fn spectrum(
    x: &str,
    y: &str,
    values: &[f64],
    marked: &[bool],
    name: impl Fn(usize) -> String,
    text: String,
) -> Chart {
    let count = values.len() as f64;
    let plane = Plane {
        x: Axis {
            name: x,
            range: [-0.5, count - 0.5],
            log: false,
            whole: true,
        },
        y: Axis::of(y, values.iter().copied().chain([0.0])),
        height: HEIGHT,
    };
    let width = (WIDTH - LEFT - RIGHT) / count;
    let zero = plane.down(0.0);
    let body = html! {
        @for (index, value) in values.iter().enumerate() {
            @let (centre, end) = (plane.across(index as f64), plane.down(*value));
            @let dead = marked.get(index) == Some(&true);
            rect class=(if dead { "bar warn" } else { "bar s0" }) x=(one(centre - width * 0.4)) width=(one(width * 0.8))
                y=(one(zero.min(end) - 0.4)) height=(one((zero - end).abs().max(0.8))) {
                title { (name(index)) }
            }
            @if dead {
                @let size = (width * 0.45).clamp(1.5, 4.0);
                path class="cross" d=(format!(
                    "M{:.1} {:.1}l{:.1} {:.1}m0 -{:.1}l-{:.1} {:.1}",
                    centre - size, zero - 2.0 * size - 5.0, 2.0 * size, 2.0 * size, 2.0 * size, 2.0 * size, 2.0 * size
                )) {}
            }
        }
    };
    let mut legend = Vec::new();
    if marked.contains(&true) {
        legend.push(("warn".into(), "the same for every sample".into()));
    }
    plane.chart(body, text, legend)
}

/// Points of the code's plane, group after group.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) class: String,
    pub(super) points: Vec<[f64; 2]>,
}

/// Points in a plane, with each group's name at its middle.
pub(super) fn scatter(x: &str, y: &str, groups: &[Group], text: String) -> Chart {
    let all = || groups.iter().flat_map(|group| &group.points);
    let plane = Plane {
        x: Axis::around(x, all().map(|[x, _]| *x)),
        y: Axis::around(y, all().map(|[_, y]| *y)),
        height: SQUARE,
    };
    let middle = |group: &Group| {
        let median = |axis: usize| {
            let mut values: Vec<f64> = group.points.iter().map(|point| point[axis]).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        median(0).zip(median(1))
    };
    let body = html! {
        @for group in groups {
            g class=(format!("points {}", group.class)) data-group=(group.name) {
                @for [x, y] in &group.points {
                    circle cx=(one(plane.across(*x))) cy=(one(plane.down(*y))) r="2.4" {}
                }
            }
        }
        circle class="ring" r="6" visibility="hidden" {}
        @if groups.len() > 1 {
            @for group in groups {
                @if let Some((x, y)) = middle(group) {
                    text class=(format!("label {}", group.class)) x=(one(plane.across(x))) y=(one(plane.down(y)))
                        dy="0.35em" text-anchor="middle" { (group.name) }
                }
            }
        }
    };
    plane.chart(body, text, Vec::new())
}

/// The receiver operating characteristic.
pub(super) fn roc(points: &[[f64; 2]], auc: f64, text: String) -> Chart {
    let axis = |name| Axis {
        name,
        range: [0.0, 1.0],
        log: false,
        whole: false,
    };
    let plane = Plane {
        x: axis("false alarms, share of the normal"),
        y: axis("found, share of the odd"),
        height: HEIGHT,
    };
    // More points than pixels say nothing.
    let every = points.len().div_ceil(400).max(1);
    let few = points.iter().step_by(every).chain(points.last());
    let outline = plane.points(few);
    let [left, right, bottom] = [plane.across(0.0), plane.across(1.0), plane.down(0.0)];
    let body = html! {
        polygon class="area s0" points=(format!("{outline} {right:.1},{bottom:.1} {left:.1},{bottom:.1}")) {}
        polyline class="line chance" points=(plane.points(&[[0.0, 0.0], [1.0, 1.0]])) {}
        polyline class="line s0" points=(outline) {}
        text class="big" x=(one(plane.across(0.95))) y=(one(plane.down(0.12))) text-anchor="end" {
            "AUC " (format!("{auc:.4}"))
        }
    };
    plane.chart(body, text, Vec::new())
}

/// Bars from the left, a name before and a number behind each.
pub(super) fn ranking(rows: &[(String, String, f64)], text: String) -> Chart {
    const ROW: f64 = 22.0;
    let longest = rows
        .iter()
        .fold(0.0, |most: f64, (_, _, value)| most.max(*value));
    let names = rows
        .iter()
        .map(|(name, _, _)| name.len())
        .max()
        .unwrap_or(0) as f64;
    let left = (names * 7.2 + 14.0).min(180.0);
    let room = WIDTH - left - 70.0;
    let body = html! {
        @for (index, (name, class, value)) in rows.iter().enumerate() {
            @let y = index as f64 * ROW + 6.0;
            @let width = room * value / longest.max(f64::MIN_POSITIVE);
            text class="tick strong" x=(left - 8.0) y=(y + ROW / 2.0) dy="0.35em" text-anchor="end" { (name) }
            rect class=(format!("bar {class}")) x=(one(left)) y=(one(y + 3.0)) width=(one(width.max(0.8)))
                height=(ROW - 6.0) rx="2" {}
            text class="tick" x=(one(left + width + 7.0)) y=(y + ROW / 2.0) dy="0.35em" { (figure(*value)) }
        }
    };
    Chart {
        size: [WIDTH, rows.len() as f64 * ROW + 12.0],
        body,
        text,
        legend: Vec::new(),
    }
}

/// Counts by label, down, and answer, across.
pub(super) fn confusion(matrix: &[Vec<u64>], text: String) -> Chart {
    let classes = matrix.len().max(1);
    let (left, top, cell) = (40.0, 30.0, (WIDTH - 48.0) / classes as f64);
    let high = cell.min(34.0);
    let numbers = classes <= 16;
    let body = html! {
        text class="name" x="2" y="13" { "label" }
        text class="name" x=(WIDTH - 8.0) y="13" text-anchor="end" { "answer" }
        @for (label, row) in matrix.iter().enumerate() {
            @let sum = row.iter().sum::<u64>().max(1);
            @let y = top + label as f64 * high;
            @if numbers {
                text class="tick" x=(left - 8.0) y=(one(y + high / 2.0)) dy="0.35em" text-anchor="end" { (label) }
                text class="tick" x=(one(left + (label as f64 + 0.5) * cell)) y=(top - 6.0) text-anchor="middle" { (label) }
            }
            @for (answer, count) in row.iter().enumerate() {
                @let share = *count as f64 / sum as f64;
                @let x = left + answer as f64 * cell;
                @let class = if answer == label { "cell right" } else { "cell wrong" };
                // A few per cent are wrong answers that one wants to see.
                @let ink = if answer == label { share } else { share.sqrt() };
                rect class="cell paper" x=(one(x + 0.5)) y=(one(y + 0.5)) width=(one(cell - 1.0)) height=(one(high - 1.0)) rx="2" {}
                rect class=(class) x=(one(x + 0.5)) y=(one(y + 0.5)) width=(one(cell - 1.0)) height=(one(high - 1.0)) rx="2"
                    fill-opacity=(format!("{:.2}", 0.9 * ink)) {
                    title { (count) " of label " (label) " answered as " (answer) }
                }
                @if numbers && *count > 0 {
                    text class=(if ink > 0.55 { "count inverse" } else { "count" }) x=(one(x + cell / 2.0))
                        y=(one(y + high / 2.0)) dy="0.35em" text-anchor="middle" { (count) }
                }
            }
        }
    };
    Chart {
        size: [WIDTH, top + classes as f64 * high + 6.0],
        body,
        text,
        legend: Vec::new(),
    }
}

/// A signal in its forms, over each other.
pub(super) fn signals(lines: &[(&str, &[f32])], range: [f32; 2], text: String) -> Chart {
    const SIZE: [f64; 2] = [220.0, 90.0];
    let [low, high] = range.map(f64::from);
    let points = |values: &[f32]| {
        let last = values.len().saturating_sub(1).max(1) as f64;
        let points: Vec<String> = (0u32..)
            .zip(values)
            .map(|(index, value)| {
                let share = (f64::from(*value) - low) / (high - low);
                format!(
                    "{:.1},{:.1}",
                    f64::from(index) / last * SIZE[0],
                    SIZE[1] - 3.0 - share * (SIZE[1] - 6.0)
                )
            })
            .collect();
        points.join(" ")
    };
    let body = html! {
        @for (class, values) in lines {
            polyline class=(format!("line {class}")) points=(points(values)) {}
        }
    };
    Chart {
        size: SIZE,
        body,
        text,
        legend: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_and_the_axis_ends_at_them() {
        let ticks = |low, high| -> Vec<String> {
            let axis = Axis::from_to("", low, high);
            let names = axis.ticks().into_iter().map(|(_, name)| name);
            names.collect()
        };
        assert_eq!(ticks(0.0, 9.3), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(ticks(-0.11, 0.13), ["-0.2", "-0.1", "0.0", "0.1", "0.2"]);
        assert_eq!(ticks(3.0, 3.0).len(), 5, "one value has an axis around it");
        let axis = Axis::of("", [0.01, 1.0]).log_where_it_helps(0.01, 1.0);
        let names: Vec<_> = axis.ticks().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]);
    }

    #[test]
    fn every_value_is_in_a_bar_even_beyond_the_axis() {
        let chart = Histogram {
            x: Axis::from_to("", 0.0, 1.0),
            y: "",
            bins: 4,
            groups: vec![(
                "all".into(),
                "s0".into(),
                vec![-1.0, 0.1, 0.3, 0.99, 1.0, 7.0],
            )],
            marks: Vec::new(),
            text: String::new(),
        };
        let drawn = chart.chart().body.into_string();
        let counts: Vec<_> = drawn
            .split("<title>")
            .skip(1)
            .map(|title| title.split(',').next())
            .collect();
        assert_eq!(counts, [Some("2"), Some("1"), Some("3")]);
    }
}
