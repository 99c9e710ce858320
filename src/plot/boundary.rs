//! The decision boundary of a model of two features.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::chart::short;
use super::legend::{colour, legend};
use super::{failed, text};
use crate::error::{Error, Result};

/// Shades on each side of the boundary. Neighbouring cells of one shade are drawn as one.
const SHADES: f64 = 6.0;

/// A map of scores over the plane, with points of two classes.
#[derive(Clone, Debug)]
pub struct Boundary {
    title: String,
    x: Range<f64>,
    y: Range<f64>,
    cells: usize,
    /// Row by row from the lowest y.
    scores: Vec<f64>,
    points: Vec<(f64, f64, bool)>,
    x_label: String,
    y_label: String,
    /// The names of the positive and of the negative class.
    classes: [String; 2],
    /// Weights and bias of a linear model.
    linear: Option<([f64; 2], f64)>,
    /// Whether each point has a dark rim; empty where none has.
    marked: Vec<bool>,
}

/// The colour of a linear model's lines, and of the rims of marked points.
const DARK: RGBColor = RGBColor(40, 40, 40);

impl Boundary {
    /// A map around these points: (x, y, whether the class is the positive one). `score` is called once, for the scores
    /// at the centres of `cells` x `cells` cells.
    ///
    /// # Errors
    /// [`Error::Plot`] for no points, coordinates that are not finite or another number of scores; and any error of
    /// `score`.
    pub fn of(
        title: impl Into<String>,
        points: &[(f64, f64, bool)],
        cells: usize,
        score: impl FnOnce(&[(f64, f64)]) -> Result<Vec<f64>>,
    ) -> Result<Self> {
        let range = |of: fn(&(f64, f64, bool)) -> f64| {
            let (low, high) =
                points.iter().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
            let air = if high > low { 0.08 * (high - low) } else { 0.5 };
            (low.is_finite() && high.is_finite()).then_some(low - air..high + air)
        };
        let (Some(x), Some(y), 1..) = (range(|p| p.0), range(|p| p.1), cells) else {
            return Err(Error::Plot { message: "expected points with finite coordinates".into() });
        };
        let at = |range: &Range<f64>, cell: usize| {
            range.start + (range.end - range.start) * (cell as f64 + 0.5) / cells as f64
        };
        let centres: Vec<_> = (0..cells * cells).map(|i| (at(&x, i % cells), at(&y, i / cells))).collect();
        let scores = score(&centres)?;
        if scores.len() != centres.len() {
            let message = format!("expected {} scores, got {}", centres.len(), scores.len());
            return Err(Error::Plot { message });
        }
        Ok(Self {
            title: title.into(),
            x,
            y,
            cells,
            scores,
            points: points.to_vec(),
            x_label: "first feature".into(),
            y_label: "second feature".into(),
            classes: ["positive".into(), "negative".into()],
            linear: None,
            marked: Vec::new(),
        })
    }

    /// The name of the first feature.
    pub fn x_label(mut self, label: impl Into<String>) -> Self {
        self.x_label = label.into();
        self
    }

    /// The name of the second feature.
    pub fn y_label(mut self, label: impl Into<String>) -> Self {
        self.y_label = label.into();
        self
    }

    /// The names of the classes, in the legend.
    pub fn classes(mut self, positive: impl Into<String>, negative: impl Into<String>) -> Self {
        self.classes = [positive.into(), negative.into()];
        self
    }

    /// Draws the line on which the linear model w x + b is 0, and thinner those on which it is -1 and 1.
    pub fn margins(mut self, weights: [f64; 2], bias: f64) -> Self {
        self.linear = Some((weights, bias));
        self
    }

    /// Gives points a dark rim, such as support vectors.
    pub fn marked(mut self, marked: Vec<bool>) -> Self {
        self.marked = marked;
        self
    }

    /// Where the line w x + b = level crosses the map: its two ends, or nothing.
    fn ends(&self, [u, v]: [f64; 2], constant: f64) -> Option<[(f64, f64); 2]> {
        let mut ends = Vec::new();
        for x in [self.x.start, self.x.end] {
            ends.push((x, -(u * x + constant) / v));
        }
        for y in [self.y.start, self.y.end] {
            ends.push((-(v * y + constant) / u, y));
        }
        let within = |range: &Range<f64>, x: f64| x >= range.start && x <= range.end;
        ends.retain(|&(x, y)| within(&self.x, x) && within(&self.y, y));
        let first = *ends.first()?;
        let length = |end: &(f64, f64)| (end.0 - first.0).abs() + (end.1 - first.1).abs();
        let last = ends.iter().copied().max_by(|a, b| length(a).total_cmp(&length(b)))?;
        (length(&last) > 0.0).then_some([first, last])
    }

    /// The shade of a score relative to the largest: 0 at the boundary, negative on the negative side.
    fn shade(score: f64, largest: f64) -> i32 {
        if largest > 0.0 && score.is_finite() {
            let shade = (score.abs() / largest * SHADES).ceil() as i32;
            if score > 0.0 { shade } else { -shade.max(1) }
        } else {
            0
        }
    }

    pub(super) fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: u32) -> Result<()>
    where
        B::ErrorType: 'static,
    {
        let [positive, negative] = &self.classes;
        let mut entries = vec![(positive.as_str(), colour(0)), (negative, colour(1))];
        if self.linear.is_some() {
            entries.push(("0, -1 and 1", DARK));
        }
        let area = &legend(area, &entries, scale)?;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, text(22, scale))
            .margin(12 * scale)
            .x_label_area_size(44 * scale)
            .y_label_area_size(48 * scale)
            .build_cartesian_2d(self.x.clone(), self.y.clone())
            .map_err(failed)?;
        let largest = self.scores.iter().filter(|s| s.is_finite()).fold(0.0, |m: f64, s| m.max(s.abs()));
        let edge =
            |range: &Range<f64>, cell: usize| range.start + (range.end - range.start) * cell as f64 / self.cells as f64;
        for (row, scores) in self.scores.chunks_exact(self.cells).enumerate() {
            let shades: Vec<i32> = scores.iter().map(|&score| Self::shade(score, largest)).collect();
            let mut column = 0;
            for run in shades.chunk_by(|a, b| a == b) {
                let corners = [
                    (edge(&self.x, column), edge(&self.y, row)),
                    (edge(&self.x, column + run.len()), edge(&self.y, row + 1)),
                ];
                column += run.len();
                let colour = colour(usize::from(run[0] < 0)).mix(0.08 + 0.5 * f64::from(run[0].abs()) / SHADES);
                chart.draw_series([Rectangle::new(corners, colour.filled())]).map_err(failed)?;
            }
        }
        if let Some((weights, bias)) = self.linear {
            for (level, width) in [(-1.0, 1), (0.0, 2), (1.0, 1)] {
                if let Some(ends) = self.ends(weights, bias - level) {
                    let line = PathElement::new(ends.to_vec(), DARK.stroke_width(width * scale));
                    chart.draw_series([line]).map_err(failed)?;
                }
            }
        }
        for (n, &(x, y, positive)) in self.points.iter().enumerate() {
            let rim = if self.marked.get(n).copied().unwrap_or(false) { DARK } else { WHITE };
            let colour = colour(usize::from(!positive));
            let radius = 3 * scale as i32;
            chart.draw_series([Circle::new((x, y), radius, colour.filled())]).map_err(failed)?;
            chart.draw_series([Circle::new((x, y), radius, rim.stroke_width(scale))]).map_err(failed)?;
        }
        chart
            .configure_mesh()
            .disable_mesh()
            .axis_style(RGBColor(120, 120, 120).stroke_width(scale))
            .label_style(text(14, scale))
            .axis_desc_style(text(16, scale))
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|x| short(*x, self.x.end - self.x.start))
            .y_label_formatter(&|y| short(*y, self.y.end - self.y.start))
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .draw()
            .map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::Figure;

    #[test]
    fn a_map_is_drawn_and_what_cannot_be_is_an_error() {
        let points = [(0.0, 0.0, true), (1.0, 2.0, false)];
        let map = Boundary::of("map", &points, 8, |cells| Ok(cells.iter().map(|(x, y)| x - y).collect())).unwrap();
        let svg = Figure::new().boundary(map).svg().unwrap();
        assert!(svg.contains("map") && svg.matches("<circle").count() == 4, "{svg}");
        assert!(Boundary::of("", &[], 8, |_| Ok(vec![])).is_err());
        assert!(Boundary::of("", &[(f64::NAN, 0.0, true)], 8, |_| Ok(vec![])).is_err());
        assert!(Boundary::of("", &points, 8, |_| Ok(vec![0.0])).is_err());
    }

    #[test]
    fn a_linear_model_has_lines_within_the_map_and_marked_points() {
        let points = [(0.0, 0.0, true), (4.0, 2.0, false)];
        let map = Boundary::of("map", &points, 8, |cells| Ok(cells.iter().map(|(x, y)| x - y).collect())).unwrap();
        let lines = |map: &Boundary| {
            let svg = Figure::new().boundary(map.clone()).svg().unwrap();
            (svg.matches("stroke=\"#282828\"").count(), svg)
        };
        let with = map.clone().margins([1.0, -1.0], 0.0).marked(vec![true, false]);
        // The entry of the legend, three lines and a rim.
        assert_eq!((lines(&map).0, lines(&with).0), (0, 5), "{}", lines(&with).1);
        for (weights, bias) in [([1.0, -1.0], 0.0), ([0.0, 1.0], -1.0), ([1.0, 0.0], -2.0)] {
            let [a, b] = with.ends(weights, bias).unwrap();
            for (x, y) in [a, b] {
                assert!(
                    (weights[0] * x + weights[1] * y + bias).abs() < 1e-9 && with.x.contains(&x) | (x == with.x.end)
                );
                assert!(y >= with.y.start && y <= with.y.end);
            }
        }
        assert!(with.ends([1.0, 0.0], 100.0).is_none() && with.ends([0.0, 0.0], 1.0).is_none());
    }

    #[test]
    fn no_score_has_no_side() {
        assert_eq!([0.5, -0.001, f64::NAN, 1.0].map(|s| Boundary::shade(s, 1.0)), [3, -1, 0, 6]);
    }
}
