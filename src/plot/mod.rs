//! Curves of values by step (batches, epochs) and decision boundaries as SVG and PNG. Needs the feature `plot`.
//!
//! ```
//! use maxmargin::plot::Chart;
//! let chart = Chart::new("Hinge loss by batch").x_label("batch").y_label("loss").line("batch", &[0.9, 1.1, 0.8]);
//! assert!(chart.svg()?.starts_with("<svg"));
//! # Ok::<(), maxmargin::Error>(())
//! ```

mod boundary;
mod chart;
mod legend;

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, TextStyle, register_font};

pub use boundary::Boundary;
pub use chart::Chart;

use crate::error::{Error, Result};

/// Height of a panel: in points in an SVG, in half pixels in a PNG.
const HEIGHT: u32 = 480;

const CHART_WIDTH: u32 = 800;

/// Width of a map with its legend. Its inside is then about square.
const BOUNDARY_WIDTH: u32 = 600;

/// The file format of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Scalable lines and text.
    Svg,
    /// Pixels.
    Png,
}

impl Format {
    /// The format that a path's extension names, in upper or lower case.
    ///
    /// # Errors
    /// [`Error::Plot`] for an extension other than `svg` and `png`.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()).map(str::to_lowercase).as_deref() {
            Some("svg") => Ok(Format::Svg),
            Some("png") => Ok(Format::Png),
            _ => Err(Error::Plot {
                message: format!("expected a name that ends in .svg or .png, got {}", path.display()),
            }),
        }
    }
}

/// Panels side by side.
#[derive(Clone, Debug, Default)]
pub struct Figure {
    panels: Vec<Panel>,
}

#[derive(Clone, Debug)]
enum Panel {
    Chart(Chart),
    Boundary(Boundary),
}

impl Panel {
    fn width(&self) -> u32 {
        match self {
            Panel::Chart(_) => CHART_WIDTH,
            Panel::Boundary(_) => BOUNDARY_WIDTH,
        }
    }
}

impl Figure {
    /// A figure without panels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a chart.
    pub fn chart(mut self, chart: Chart) -> Self {
        self.panels.push(Panel::Chart(chart));
        self
    }

    /// Adds a decision boundary.
    pub fn boundary(mut self, boundary: Boundary) -> Self {
        self.panels.push(Panel::Boundary(boundary));
        self
    }

    /// The figure as an SVG document, 480 high.
    ///
    /// # Errors
    /// [`Error::Plot`] for a chart without a finite value, or a figure without panels.
    pub fn svg(&self) -> Result<String> {
        let mut text = String::new();
        self.draw(&SVGBackend::with_string(&mut text, self.size()).into_drawing_area(), 1)?;
        Ok(text)
    }

    /// The figure as a PNG file, 960 pixels high.
    ///
    /// # Errors
    /// As [`Figure::svg`].
    pub fn png(&self) -> Result<Vec<u8>> {
        let (width, height) = (2 * self.size().0, 2 * self.size().1);
        let mut pixels = vec![0; width as usize * height as usize * 3];
        self.draw(&BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area(), 2)?;
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels)).map_err(failed)?;
        Ok(file)
    }

    /// The figure's bytes.
    ///
    /// # Errors
    /// As [`Figure::svg`].
    pub fn render(&self, format: Format) -> Result<Vec<u8>> {
        match format {
            Format::Svg => self.svg().map(String::into_bytes),
            Format::Png => self.png(),
        }
    }

    fn size(&self) -> (u32, u32) {
        (self.panels.iter().map(Panel::width).sum::<u32>().max(1), HEIGHT)
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: u32) -> Result<()>
    where
        B::ErrorType: 'static,
    {
        if self.panels.is_empty() {
            return Err(Error::Plot { message: "expected at least one panel, got none".into() });
        }
        register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
            .map_err(|_| Error::Plot { message: "the font cannot be read".into() })?;
        area.fill(&WHITE).map_err(failed)?;
        let mut rest = area.clone();
        for panel in &self.panels {
            let (own, others) = rest.split_horizontally(panel.width() * scale);
            match panel {
                Panel::Chart(chart) => chart.draw(&own, scale)?,
                Panel::Boundary(boundary) => boundary.draw(&own, scale)?,
            }
            rest = others;
        }
        area.present().map_err(failed)
    }
}

fn text(size: u32, scale: u32) -> TextStyle<'static> {
    ("sans-serif", (size * scale) as i32).into_font().color(&RGBColor(40, 40, 40))
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Plot { message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_decides() {
        assert_eq!(Format::of(Path::new("plot.SVG")), Ok(Format::Svg));
        assert!(matches!(Format::of(Path::new("plot.jpg")), Err(Error::Plot { .. })));
        assert!(matches!(Figure::new().svg(), Err(Error::Plot { .. })));
    }
}
