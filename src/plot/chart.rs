//! Charts of lines over steps.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{COLOURS, Figure, Format, failed, text};
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

    /// The name of the values.
    pub fn y_label(mut self, label: impl Into<String>) -> Self {
        self.y_label = label.into();
        self
    }

    /// Adds a line. A value that is not finite leaves a gap. A chart of several lines has a legend.
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

    /// Whether the last quarters of the lines lie in the upper half, where a legend would hide them.
    fn ends_high(&self, y_range: &Range<f64>) -> bool {
        let middle = y_range.start / 2.0 + y_range.end / 2.0;
        let last = self.lines.iter().flat_map(|(_, values)| &values[values.len() - values.len().div_ceil(4)..]);
        let (high, low): (Vec<f64>, Vec<f64>) = last.filter(|y| y.is_finite()).partition(|&&y| y > middle);
        high.len() > low.len()
    }

    pub(super) fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: u32) -> Result<()>
    where
        B::ErrorType: 'static,
    {
        let (x_range, y_range) = self.ranges()?;
        let text = |size| text(size, scale);
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, text(22))
            .margin(12 * scale)
            .x_label_area_size(44 * scale)
            .y_label_area_size(68 * scale)
            .build_cartesian_2d(x_range, y_range.clone())
            .map_err(failed)?;
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
            .x_label_formatter(&step)
            .y_label_formatter(&short)
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .draw()
            .map_err(failed)?;
        for ((name, values), colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let mut named = false;
            for run in runs(values) {
                let points: Vec<_> = run.map(|step| (step as f64, values[step])).collect();
                if values.len() <= MOST_DOTS || points.len() == 1 {
                    let dot = |&point: &(f64, f64)| Circle::new(point, 3 * scale as i32, colour.filled());
                    chart.draw_series(points.iter().map(dot)).map_err(failed)?;
                }
                let series =
                    chart.draw_series(LineSeries::new(points, colour.stroke_width(2 * scale))).map_err(failed)?;
                if !named {
                    named = true;
                    let length = 24 * scale as i32;
                    let stroke = colour.stroke_width(2 * scale);
                    series.label(name).legend(move |(x, y)| PathElement::new(vec![(x, y), (x + length, y)], stroke));
                }
            }
        }
        if self.lines.len() > 1 {
            chart
                .configure_series_labels()
                .position(if self.ends_high(&y_range) {
                    SeriesLabelPosition::LowerRight
                } else {
                    SeriesLabelPosition::UpperRight
                })
                .legend_area_size(32 * scale)
                .margin(10 * scale)
                .background_style(WHITE.mix(0.85))
                .border_style(RGBColor(200, 200, 200))
                .label_font(text(14))
                .draw()
                .map_err(failed)?;
        }
        Ok(())
    }
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

/// The label of a tick, with enough digits to tell neighbours apart.
pub(super) fn short(y: &f64) -> String {
    let magnitude = y.abs();
    if *y == 0.0 || (1e-3..1e5).contains(&magnitude) {
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

    #[test]
    fn nothing_to_plot_is_an_error() {
        assert!(matches!(Chart::new("empty").line("a", &[f64::NAN]).svg(), Err(Error::Plot { .. })));
        assert!(matches!(Chart::new("empty").png(), Err(Error::Plot { .. })));
    }
}
