//! Columns as an argument names them: `a,b`, `2-785`, `"a,b"`.

use crate::words::{MOST_NAMES, listed, suggestion};

/// Names and places of the columns that `text` names among `count` columns. Names come first: the whole text as one
/// name, then each part between commas; a part N or N-M that is no name is a position, or a range of positions, from 0.
///
/// # Errors
/// A sentence: no such column, or a name that stands twice.
pub(super) fn find(text: &str, names: Option<&[&str]>, count: usize) -> Result<Vec<(String, usize)>, String> {
    if let Some(place) = named(text, names)? {
        return Ok(vec![(text.to_owned(), place)]);
    }
    let mut found = Vec::new();
    for part in parts(text)? {
        let near = || suggestion(part.trim_matches('"'), names.unwrap_or_default());
        let unknown = || format!("no column {part}; {}{}", there_are(names, count), near());
        let name = match quoted(part) {
            Some(name) => {
                let place = named(&name, names)?.ok_or_else(unknown)?;
                found.push((name, place));
                continue;
            }
            None => part,
        };
        if let Some(place) = named(name, names)? {
            found.push((name.to_owned(), place));
            continue;
        }
        let (first, last) = range(name, names)?.ok_or_else(unknown)?;
        if first > last || last >= count {
            return Err(unknown());
        }
        let name_of = |place: usize| names.map_or_else(|| place.to_string(), |names| names[place].to_owned());
        found.extend((first..=last).map(|place| (name_of(place), place)));
    }
    Ok(found)
}

/// True where every part of `text` is a number or a range of numbers.
pub(super) fn are_numbers(text: &str) -> bool {
    let is_number = |part: &str| part.split('-').all(|end| end.parse::<usize>().is_ok());
    text.split(',').all(is_number)
}

/// The place of a name; `None` where it is none.
fn named(name: &str, names: Option<&[&str]>) -> Result<Option<usize>, String> {
    let mut places = names.unwrap_or_default().iter().enumerate().filter(|(_, other)| **other == name);
    match (places.next(), places.next()) {
        (Some((first, _)), Some((second, _))) => {
            Err(format!("the name {name:?} stands twice, in columns {first} and {second}, counted from 0"))
        }
        (first, _) => Ok(first.map(|(place, _)| place)),
    }
}

/// The first and the last place of N or N-M. The ends of a range are names first.
fn range(text: &str, names: Option<&[&str]>) -> Result<Option<(usize, usize)>, String> {
    let Some((first, last)) = text.split_once('-') else {
        return Ok(text.parse().ok().map(|place| (place, place)));
    };
    if let (Some(first), Some(last)) = (named(first, names)?, named(last, names)?) {
        return Ok(Some((first, last)));
    }
    Ok(first.parse().ok().zip(last.parse().ok()))
}

/// The parts between commas that are not within double quotes.
fn parts(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut is_quoted) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if is_quoted {
        return Err(format!("columns {text}: a double quote is not closed"));
    }
    parts.push(&text[start..]);
    Ok(parts)
}

/// The name within double quotes, in which two quotes stand for one.
fn quoted(part: &str) -> Option<String> {
    let inner = part.strip_prefix('"')?.strip_suffix('"')?;
    Some(inner.replace("\"\"", "\""))
}

fn there_are(names: Option<&[&str]>, count: usize) -> String {
    match names {
        Some(names) if names.len() <= MOST_NAMES => format!("there are {}", listed(names)),
        Some(names) => format!("there are {count}: {}", listed(names)),
        None if count == 0 => "there are none".into(),
        None => format!("without a header they are 0 to {}", count - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str, names: &[&str]) -> Result<Vec<usize>, String> {
        let names = Some(names).filter(|names| !names.is_empty());
        let found = find(text, names, names.map_or(5, <[&str]>::len))?;
        Ok(found.into_iter().map(|(_, place)| place).collect())
    }

    #[test]
    fn names_come_before_positions() {
        let plain: [&str; 0] = [];
        for (text, names, expected) in [
            ("3", &plain[..], vec![3]),
            ("0,2-4", &plain, vec![0, 2, 3, 4]),
            ("b,a", &["a", "b"], vec![1, 0]),
            // The whole text first, then quotes.
            ("a,b", &["a,b", "a", "b"], vec![0]),
            ("\"a,b\",b", &["a,b", "a", "b"], vec![0, 2]),
            ("\"say \"\"x\"\"\"", &["say \"x\"", "y"], vec![0]),
            // Numbers that are names; where they are none, positions.
            ("1", &["1", "0"], vec![0]),
            ("0-2", &["label", "0", "1", "2"], vec![1, 2, 3]),
            ("1-2", &["label", "x", "y"], vec![1, 2]),
            ("1-2", &["1-2", "1", "2"], vec![0]),
        ] {
            assert_eq!(places(text, names), Ok(expected), "{text} of {names:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        for (text, names, words) in [
            ("5", &[][..], "without a header they are 0 to 4"),
            ("3-1", &[], "no column 3-1"),
            ("c", &["a", "b"], "no column c; there are a, b"),
            ("a", &["a", "b", "a"], "twice, in columns 0 and 2"),
            ("\"a", &["a"], "not closed"),
            ("a,", &["a"], "no column ;"),
            ("-1", &["a"], "no column -1"),
        ] {
            let error = places(text, names).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
