//! The legend of a panel, beside its axes, and the colours of series.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{failed, text};
use crate::error::Result;

/// Colours that colour-blind readers can tell apart, also in print (Okabe and Ito, 2008).
pub(super) const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

/// The colour of a series: no two are equal. Hues go round by the golden angle, which keeps neighbours apart.
pub(super) fn colour(series: usize) -> RGBColor {
    let Some(further) = series.checked_sub(COLOURS.len()) else { return COLOURS[series] };
    let hue = (further as f64 * 0.381_966_011_25).fract();
    let lightness = [0.35, 0.5, 0.65][further % 3];
    let (red, green, blue) = HSLColor(hue, 0.65, lightness).rgb();
    RGBColor(red, green, blue)
}

/// Height of an entry, in points.
const ROW: u32 = 17;

/// Space above the first entry, below the panel's caption.
const TOP: u32 = 48;

/// The most columns of entries.
const MOST_COLUMNS: usize = 4;

/// The most characters of a name.
const MOST_LETTERS: usize = 14;

/// Draws a legend at the right of a panel, and returns the area that is left of it. Names that do not fit are counted.
pub(super) fn legend<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    series: &[(&str, RGBColor)],
    scale: u32,
) -> Result<DrawingArea<B, Shift>>
where
    B::ErrorType: 'static,
{
    let (width, height) = area.dim_in_pixel();
    let rows = ((height / scale).saturating_sub(TOP + ROW) / ROW).max(1) as usize;
    let fits = rows * MOST_COLUMNS;
    let shown = if series.len() > fits { fits - 1 } else { series.len() };
    let letters = series[..shown].iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(MOST_LETTERS);
    // A line of 18 points, and letters of at most 8.
    let column = (34 + 8 * letters as u32) * scale;
    let columns = series.len().min(fits).div_ceil(rows) as u32;
    let (left, right) = area.split_horizontally(width.saturating_sub(columns * column));
    let place = |entry: usize| {
        let (column_number, row) = ((entry / rows) as u32, (entry % rows) as u32);
        ((column_number * column) as i32, ((TOP + row * ROW) * scale) as i32)
    };
    let middle = (7 * scale) as i32;
    for (entry, (name, colour)) in series[..shown].iter().enumerate() {
        let (x, y) = place(entry);
        let line = vec![(x, y + middle), (x + (18 * scale) as i32, y + middle)];
        right.draw(&PathElement::new(line, colour.stroke_width(2 * scale))).map_err(failed)?;
        let name = match name.chars().count() {
            0..=MOST_LETTERS => (*name).to_owned(),
            _ => name.chars().take(MOST_LETTERS - 3).chain("...".chars()).collect(),
        };
        let style = text(14, scale).pos(Pos::new(HPos::Left, VPos::Center));
        right.draw(&Text::new(name, (x + (24 * scale) as i32, y + middle), style)).map_err(failed)?;
    }
    if series.len() > shown {
        let (x, y) = place(shown);
        let more = format!("and {} more", series.len() - shown);
        right.draw(&Text::new(more, (x, y), text(14, scale))).map_err(failed)?;
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_colours_are_equal() {
        let mut colours: Vec<_> = (0..200).map(colour).map(|RGBColor(r, g, b)| (r, g, b)).collect();
        assert_eq!(colours[0], (0x00, 0x72, 0xb2));
        colours.sort_unstable();
        colours.dedup();
        assert_eq!(colours.len(), 200);
    }
}
