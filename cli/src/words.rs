//! Numbers, lists and suggestions as messages and reports write them.

/// The most names that a message lists.
pub(crate) const MOST_NAMES: usize = 12;

/// Names for a message: the first few, and whether there are more.
pub(crate) fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let first: Vec<&str> = names.iter().take(MOST_NAMES).map(AsRef::as_ref).collect();
    first.join(", ") + if names.len() > MOST_NAMES { ", ..." } else { "" }
}

/// A number as a person writes it: with an exponent where it would have many digits.
pub(crate) fn number_text(x: f64) -> String {
    let is_short = x == 0.0 || !x.is_finite() || (1e-5..1e16).contains(&x.abs());
    if is_short { x.to_string() } else { format!("{x:e}") }
}

/// A count with its noun: 1 row, 2 rows.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// How alike two names must be, from 0 to 1, for one to be taken for a slip of the other.
const ALIKE: f64 = 0.8;

/// The end of a message about a name that does not exist: the one that is most like it, if any is.
pub(crate) fn suggestion<T: AsRef<str>>(name: &str, names: &[T]) -> String {
    let likeness = |other: &str| strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase());
    let rated = names.iter().map(|other| (likeness(other.as_ref()), other.as_ref()));
    // The same text is no help; of equals, the first.
    let alike = rated.filter(|(likeness, other)| *likeness >= ALIKE && *other != name);
    let nearest = alike.fold(None, |best: Option<(f64, &str)>, next| match best {
        Some(best) if best.0 >= next.0 => Some(best),
        _ => Some(next),
    });
    nearest.map(|(_, nearest)| format!("; did you mean {nearest}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_few_digits() {
        for (x, text) in [
            (0.5, "0.5"),
            (1e300, "1e300"),
            (-1e-9, "-1e-9"),
            (0.0, "0"),
            (f64::NAN, "NaN"),
            (123456789.0, "123456789"),
        ] {
            assert_eq!(number_text(x), text);
        }
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        assert_eq!(suggestion("scroes", &["targets", "scores"]), "; did you mean scores?");
        assert_eq!(suggestion("LLVMpip", &["cpu", "llvmpipe"]), "; did you mean llvmpipe?");
        assert_eq!(suggestion("x", &["targets", "scores"]), "");
        assert_eq!(suggestion("scores", &["scores"]), "");
        assert_eq!(suggestion("ab", &["abx", "aby"]), "; did you mean abx?");
        assert_eq!(suggestion::<&str>("x", &[]), "");
    }
}
