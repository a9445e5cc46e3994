//! SVG output: a canvas with drawing primitives, and charts of curves and points.

use std::fmt::{Display, Write};

/// Colours of curves, in the order in which they are drawn.
pub(crate) const COLOURS: [&str; 8] = [
    "#06c", "#c40", "#280", "#80a", "#a80", "#088", "#c08", "#666",
];

/// An SVG document under construction.
#[derive(Clone, Debug)]
pub struct Canvas {
    text: String,
    /// Text after each element.
    end: &'static str,
}

impl Canvas {
    /// Starts a white canvas of `width` × `height` pixels, for a file of its own.
    #[must_use]
    pub fn new(width: f64, height: f64) -> Self {
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"13\" fill=\"#333\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        Self { text, end: "\n" }
    }

    /// Starts a canvas that is part of a page, with the page's font and background.
    #[must_use]
    pub fn inline(width: f64, height: f64) -> Self {
        let text = format!(
            "<svg viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">"
        );
        Self { text, end: "" }
    }

    /// Writes an element with its attributes; `content` is markup.
    pub fn element(
        &mut self,
        name: &str,
        attributes: &[(&str, &dyn Display)],
        content: Option<&str>,
    ) {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "<{name}");
        for (attribute, value) in attributes {
            let _ = write!(self.text, " {attribute}=\"{value}\"");
        }
        let _ = match content {
            None => write!(self.text, "/>{}", self.end),
            Some(content) => write!(self.text, ">{content}</{name}>{}", self.end),
        };
    }

    /// Writes a text; `anchor` is `start`, `middle` or `end`.
    pub fn text(&mut self, x: f64, y: f64, anchor: &str, content: &str) {
        let (x, y) = (format!("{x:.1}"), format!("{y:.1}"));
        let content = content.replace('&', "&amp;").replace('<', "&lt;");
        let place: [(&str, &dyn Display); 3] = [("x", &x), ("y", &y), ("text-anchor", &anchor)];
        self.element("text", &place, Some(&content));
    }

    /// Draws a path of SVG commands.
    pub fn path(&mut self, commands: &str, colour: &str, width: f64) {
        let width = format!("{width:.2}");
        let stroke: [(&str, &dyn Display); 3] = [
            ("d", &commands),
            ("stroke", &colour),
            ("stroke-width", &width),
        ];
        self.element("path", &stroke, None);
    }

    /// Draws a line through points.
    pub fn line(&mut self, points: impl Iterator<Item = (f64, f64)>, colour: &str, width: f64) {
        let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        let stroke: [(&str, &dyn Display); 4] = [
            ("points", &points),
            ("fill", &"none"),
            ("stroke", &colour),
            ("stroke-width", &width),
        ];
        self.element("polyline", &stroke, None);
    }

    /// Draws a dot.
    pub fn dot(&mut self, x: f64, y: f64, colour: &str) {
        let (x, y) = (format!("{x:.1}"), format!("{y:.1}"));
        let dot: [(&str, &dyn Display); 5] = [
            ("cx", &x),
            ("cy", &y),
            ("r", &2),
            ("fill", &colour),
            ("fill-opacity", &0.6),
        ];
        self.element("circle", &dot, None);
    }

    /// Returns the SVG text.
    #[must_use]
    pub fn finish(self) -> String {
        format!("{}</svg>{}", self.text, self.end)
    }
}

/// One curve or one set of dots.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Its points; non-finite ones are left out.
    pub points: Vec<(f64, f64)>,
}

/// How the points of a chart are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A line through the points.
    Line,
    /// A dot for each.
    Dots,
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = WIDTH - 180.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = HEIGHT - 45.0;

/// Draws curves over common axes with a legend; the axes are labelled with the least and the greatest value.
#[must_use]
pub fn chart(title: &str, x_name: &str, curves: &[Curve], style: Style) -> String {
    let all = || {
        let points = curves.iter().flat_map(|curve| &curve.points);
        points.filter(|(x, y)| x.is_finite() && y.is_finite())
    };
    let range = |of: fn(&(f64, f64)) -> f64| {
        all().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), point| {
            (low.min(of(point)), high.max(of(point)))
        })
    };
    let (x_range, y_range) = (range(|p| p.0), range(|p| p.1));
    let place = |value: f64, (low, high): (f64, f64), from: f64, to: f64| match high > low {
        true => from + (value - low) / (high - low) * (to - from),
        false => (from + to) / 2.0,
    };
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    canvas.text(LEFT, 24.0, "start", title);
    let axes = [(LEFT, TOP), (LEFT, BOTTOM), (RIGHT, BOTTOM)];
    canvas.line(axes.into_iter(), "#999", 1.0);
    if all().next().is_some() {
        canvas.text(LEFT - 8.0, TOP + 4.0, "end", &short(y_range.1));
        canvas.text(LEFT - 8.0, BOTTOM + 4.0, "end", &short(y_range.0));
        canvas.text(LEFT, BOTTOM + 20.0, "start", &short(x_range.0));
        canvas.text(RIGHT, BOTTOM + 20.0, "end", &short(x_range.1));
    }
    canvas.text((LEFT + RIGHT) / 2.0, BOTTOM + 20.0, "middle", x_name);
    for (at, curve) in curves.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let finite = curve
            .points
            .iter()
            .filter(|(x, y)| x.is_finite() && y.is_finite());
        let placed = finite.map(|(x, y)| {
            (
                place(*x, x_range, LEFT, RIGHT),
                place(*y, y_range, BOTTOM, TOP),
            )
        });
        match style {
            Style::Line => canvas.line(placed, colour, 1.5),
            Style::Dots => placed.for_each(|(x, y)| canvas.dot(x, y, colour)),
        }
        let y = TOP + 10.0 + 20.0 * at as f64;
        canvas.line(
            [(RIGHT + 12.0, y), (RIGHT + 36.0, y)].into_iter(),
            colour,
            3.0,
        );
        canvas.text(RIGHT + 44.0, y + 4.0, "start", &curve.name);
    }
    canvas.finish()
}

/// Formats a number with at most four decimals, fewer for larger numbers.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 || value == value.trunc() => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_draws_finite_points_inside_its_axes() {
        let curve = Curve {
            name: "a < b & c".to_owned(),
            points: vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)],
        };
        let text = chart("title", "epoch", &[curve], Style::Line);
        assert!(text.contains(&format!(
            "points=\"{LEFT:.1},{BOTTOM:.1} {RIGHT:.1},{TOP:.1}\""
        )));
        assert!(text.contains("a &lt; b &amp; c"));
        assert!(!text.contains("NaN"));
        let empty = chart("title", "epoch", &[], Style::Dots);
        assert!(!empty.contains("inf"), "{empty}");
    }
}
