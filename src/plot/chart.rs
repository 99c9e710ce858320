//! Charts of lines over steps.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::legend::{colour, legend};
use super::{Figure, Format, failed, text};
use crate::error::{Error, Result};

/// A line of at most this many values gets a dot for each value.
const MOST_DOTS: usize = 60;

/// A chart of lines over the steps 0, 1, 2, ...
#[derive(Clone, Debug, Default)]
pub struct Chart {
    title: String,
    x_label: String,
    y_label: String,
    lines: Vec<(String, Vec<f64>)>,
    /// Names of the steps; their numbers where there are none.
    steps: Vec<String>,
}

impl Chart {
    /// A chart with this title and no lines.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// The name of the steps.
    pub fn x_label(mut self, label: impl Into<String>) -> Self {
        self.x_label = label.into();
        self
    }

    /// The steps' own names, to be written in the place of their numbers.
    pub fn step_names(mut self, names: Vec<String>) -> Self {
        self.steps = names;
        self
    }

    /// The name of the values.
    pub fn y_label(mut self, label: impl Into<String>) -> Self {
        self.y_label = label.into();
        self
    }

    /// Adds a line. A value that is not finite leaves a gap, and a mark at the edge. A chart of several lines has a legend
    /// beside it.
    pub fn line(mut self, name: impl Into<String>, values: &[f64]) -> Self {
        self.lines.push((name.into(), values.to_vec()));
        self
    }

    /// The chart alone as an SVG document, 800 x 480.
    ///
    /// # Errors
    /// [`Error::Plot`] where no value is finite.
    pub fn svg(&self) -> Result<String> {
        Figure::new().chart(self.clone()).svg()
    }

    /// The chart alone as a PNG file, 1600 x 960.
    ///
    /// # Errors
    /// As [`Chart::svg`].
    pub fn png(&self) -> Result<Vec<u8>> {
        Figure::new().chart(self.clone()).png()
    }

    /// The chart's bytes.
    ///
    /// # Errors
    /// As [`Chart::svg`].
    pub fn render(&self, format: Format) -> Result<Vec<u8>> {
        Figure::new().chart(self.clone()).render(format)
    }

    /// The number of steps on the axis: that of the longest line, at least two.
    fn steps(&self) -> usize {
        self.lines.iter().map(|(_, values)| values.len()).max().unwrap_or(0).max(2)
    }

    /// The ranges of steps and values, with a small margin.
    fn ranges(&self) -> Result<(Range<f64>, Range<f64>)> {
        let finite = self.lines.iter().flat_map(|(_, values)| values).copied().filter(|y| y.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), y| (a.min(y), b.max(y)));
        if low > high {
            return Err(Error::Plot { message: "expected at least one finite value, got none".into() });
        }
        let air = if high > low { 0.06 * (high - low) } else { (0.1 * high.abs()).max(0.1) };
        let last = self.steps() - 1;
        let side = 0.02 * last as f64;
        // Halve first: the whole range may overflow f64.
        let clamp = |y: f64| y.clamp(f64::MIN / 4.0, f64::MAX / 4.0);
        Ok((-side..last as f64 + side, clamp(low - air)..clamp(high + air)))
    }

    pub(super) fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: u32) -> Result<()>
    where
        B::ErrorType: 'static,
    {
        let (x_range, y_range) = self.ranges()?;
        let text = |size| text(size, scale);
        let named: Vec<(&str, RGBColor)> =
            self.lines.iter().enumerate().map(|(n, (name, _))| (name.as_str(), colour(n))).collect();
        // Beside the axes, where it hides no value.
        let area = if named.len() > 1 { legend(area, &named, scale)? } else { area.clone() };
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, text(22))
            .margin(12 * scale)
            .x_label_area_size(44 * scale)
            .y_label_area_size(68 * scale)
            .build_cartesian_2d(x_range, y_range.clone())
            .map_err(failed)?;
        let height = y_range.end - y_range.start;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(RGBColor(222, 222, 222).stroke_width(scale))
            .light_line_style(TRANSPARENT)
            .axis_style(RGBColor(120, 120, 120).stroke_width(scale))
            .label_style(text(14))
            .axis_desc_style(text(16))
            .x_labels(self.steps().min(11))
            .y_labels(8)
            .x_label_formatter(&|x| match self.steps.get(x.round().max(0.0) as usize) {
                Some(name) if (x - x.round()).abs() < 1e-6 => name.clone(),
                _ if self.steps.is_empty() => step(x),
                _ => String::new(),
            })
            .y_label_formatter(&|y| short(*y, height))
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .draw()
            .map_err(failed)?;
        let columns = chart.plotting_area().dim_in_pixel().0 as usize;
        for (n, (_, values)) in self.lines.iter().enumerate() {
            let colour = colour(n);
            for run in runs(values) {
                let points = thinned(values, run, columns);
                let dots = if values.len() <= MOST_DOTS || points.len() == 1 { 3 } else { 1 };
                // Dots also round the corners. Between thousands of points there are none to see.
                if points.len() <= MOST_CORNERS {
                    let dot = |&point: &(f64, f64)| Circle::new(point, dots * scale as i32, colour.filled());
                    chart.draw_series(points.iter().map(dot)).map_err(failed)?;
                }
                // Segment by segment: the joins of a whole path would stick out far beyond its points.
                let segment = |pair: &[(f64, f64)]| PathElement::new(pair.to_vec(), colour.stroke_width(2 * scale));
                chart.draw_series(points.windows(2).map(segment)).map_err(failed)?;
            }
            // A value that is not finite is a mark within the edge: infinity above, NaN and -infinity below.
            let inset = 0.015 * height;
            let edge = |y: f64| if y == f64::INFINITY { y_range.end - inset } else { y_range.start + inset };
            let places = marks(values, columns).into_iter().map(|step| (step as f64, edge(values[step])));
            let mark = |place| Cross::new(place, 3 * scale as i32, colour.stroke_width(scale));
            chart.draw_series(places.map(mark)).map_err(failed)?;
        }
        Ok(())
    }
}

/// A line of at most this many points has round corners.
const MOST_CORNERS: usize = 400;

/// The points of a run of values that can be told apart on this many columns of pixels: of the values in one column the
/// first, the lowest, the highest and the last.
fn thinned(values: &[f64], run: Range<usize>, columns: usize) -> Vec<(f64, f64)> {
    let each = values.len().div_ceil(columns.max(1)).max(1);
    let point = |step: usize| (step as f64, values[step]);
    if each < 4 {
        return run.map(point).collect();
    }
    let mut points = Vec::new();
    let steps: Vec<usize> = run.collect();
    for part in steps.chunk_by(|a, b| a / each == b / each) {
        let by_value = |a: &&usize, b: &&usize| values[**a].total_cmp(&values[**b]);
        let ends = [part.first(), part.iter().min_by(by_value), part.iter().max_by(by_value), part.last()];
        let mut kept: Vec<usize> = ends.into_iter().flatten().copied().collect();
        kept.sort_unstable();
        kept.dedup();
        points.extend(kept.into_iter().map(point));
    }
    points
}

/// The steps whose values are not finite, one per column of pixels.
fn marks(values: &[f64], columns: usize) -> Vec<usize> {
    let each = values.len().div_ceil(columns.max(1)).max(1);
    let mut steps: Vec<usize> = (0..values.len()).filter(|&step| !values[step].is_finite()).collect();
    // Infinity and NaN stand at different edges.
    steps.dedup_by_key(|step| (*step / each, values[*step] == f64::INFINITY));
    steps
}

fn runs(values: &[f64]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (step, y) in values.iter().enumerate() {
        match runs.last_mut() {
            _ if !y.is_finite() => {}
            Some(run) if run.end == step => run.end += 1,
            _ => runs.push(step..step + 1),
        }
    }
    runs
}

/// The label of a step; a tick between two steps has none.
fn step(x: &f64) -> String {
    // A tick is a sum of fractions, so it is a whole number only up to rounding.
    if (x - x.round()).abs() < 1e-6 { format!("{:.0}", x.abs()) } else { String::new() }
}

/// The label of a tick on an axis of this length, with enough digits to tell neighbours apart.
pub(super) fn short(y: f64, length: f64) -> String {
    // A tick is a sum of fractions, so that 0 may miss by a rounding error.
    let y = if y.abs() < 1e-9 * length { 0.0 } else { y };
    let magnitude = y.abs();
    if y == 0.0 || (1e-3..1e5).contains(&magnitude) {
        let text = format!("{y:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{y:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_leave_out_what_is_not_finite() {
        assert_eq!(runs(&[1.0, 2.0, f64::NAN, 3.0, f64::INFINITY]), [0..2, 3..4]);
        assert!(runs(&[]).is_empty());
    }

    #[test]
    fn thinning_keeps_extremes() {
        let mut values: Vec<f64> = (0..100_000).map(|i| f64::from(i % 7)).collect();
        (values[43_217], values[70_001]) = (99.0, -5.0);
        let points = thinned(&values, 0..values.len(), 700);
        assert!(points.len() <= 4 * 700 + 4, "{}", points.len());
        assert!(points.contains(&(43_217.0, 99.0)) && points.contains(&(70_001.0, -5.0)));
        assert!(points.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(thinned(&values, 3..9, 700_000).len(), 6);
        let marked = marks(&[1.0, f64::NAN, f64::INFINITY, 2.0, f64::NEG_INFINITY], 700);
        assert_eq!(marked, [1, 2, 4]);
        assert_eq!(marks(&vec![f64::NAN; 10_000], 100).len(), 100);
    }

    #[test]
    fn ticks_are_short() {
        assert_eq!(short(-5.55e-17, 1.0), "0");
        assert_eq!(short(-5.55e-17, 1e-16), "-5.55e-17");
        assert_eq!([short(0.25, 1.0), short(1e6, 1e6)], ["0.25", "1.00e6"]);
    }

    #[test]
    fn only_whole_steps_are_labelled() {
        assert_eq!([0.0, -0.0, 0.999_999_999_9, 2.5].map(|x| step(&x)), ["0", "0", "1", ""]);
    }

    #[test]
    fn charts_of_odd_values_are_drawn() {
        for values in [&[1.0][..], &[1.0, 1.0], &[0.0, f64::NAN, -1e-300], &[-f64::MAX, f64::MAX], &[5.0; 1000]] {
            let chart = Chart::new("odd").line("a", values).line("b", &[0.5]);
            assert!(chart.svg().unwrap().contains("odd"), "{values:?}");
            assert_eq!(&chart.png().unwrap()[..4], b"\x89PNG");
        }
    }

    /// The rows of pixels that have a colour of a series, from the first to the last.
    fn rows_with(png: &[u8], colour: RGBColor) -> Option<(usize, usize)> {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        let wanted = [colour.0, colour.1, colour.2];
        let rows = pixels.chunks_exact(info.line_size);
        let found: Vec<usize> =
            rows.enumerate().filter(|(_, row)| row.as_chunks().0.contains(&wanted)).map(|(row, _)| row).collect();
        Some((*found.first()?, *found.last()?))
    }

    #[test]
    fn ink_stays_within_the_axes() {
        let steep: Vec<f64> = (0..1000).map(|i| f64::from(i % 2)).collect();
        let few: Vec<f64> = (0..20).map(|i| f64::from(i % 2)).collect();
        let gaps: Vec<f64> = (0..50).map(|i| [0.5, f64::NAN, 1.0, f64::INFINITY, f64::NEG_INFINITY][i % 5]).collect();
        for values in [&steep, &few, &gaps, &vec![1e300, -1e300], &vec![0.0; 3]] {
            let png = Chart::new("title").x_label("x").y_label("y").line("a", values).png().unwrap();
            let (first, last) = rows_with(&png, colour(0)).unwrap();
            assert!(60 <= first && last < 960 - 60, "rows {first} to {last} of {} values", values.len());
        }
    }

    #[test]
    fn every_line_is_in_the_legend() {
        let chart = (0..40).fold(Chart::new("classes"), |chart, n| chart.line(format!("class {n}"), &[n.into(), 1.0]));
        let svg = chart.svg().unwrap();
        for n in 0..40 {
            assert!(svg.contains(&format!("class {n}\n")), "class {n} is missing");
        }
        assert!(rows_with(&chart.png().unwrap(), colour(39)).is_some());
        let many = (0..1000).fold(Chart::new("classes"), |chart, n| chart.line(format!("class {n}"), &[1.0, n.into()]));
        assert!(many.svg().unwrap().contains("and 905 more"));
    }

    #[test]
    fn nothing_to_plot_is_an_error() {
        assert!(matches!(Chart::new("empty").line("a", &[f64::NAN]).svg(), Err(Error::Plot { .. })));
        assert!(matches!(Chart::new("empty").png(), Err(Error::Plot { .. })));
    }
}
