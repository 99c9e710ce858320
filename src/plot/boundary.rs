//! The decision boundary of a network of two features.

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
}

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
        let area = &legend(area, &[(positive, colour(0)), (negative, colour(1))], scale)?;
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
        for &(x, y, positive) in &self.points {
            let colour = colour(usize::from(!positive));
            let radius = 3 * scale as i32;
            chart.draw_series([Circle::new((x, y), radius, colour.filled())]).map_err(failed)?;
            chart.draw_series([Circle::new((x, y), radius, WHITE.stroke_width(scale))]).map_err(failed)?;
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
    fn no_score_has_no_side() {
        assert_eq!([0.5, -0.001, f64::NAN, 1.0].map(|s| Boundary::shade(s, 1.0)), [3, -1, 0, 6]);
    }
}
