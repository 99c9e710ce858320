//! Columns of text: .csv and .tsv, plain or compressed with gzip.

use std::path::Path;

use clap::{Args, ValueEnum};
use csv::StringRecord;

use super::columns;
use super::elements::{Array, Data};
use super::read_all_of;
use crate::failure::{Failure, Outcome};
use crate::progress;

/// How files of text are read.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct TextOptions {
    /// Whether the first line of .csv and .tsv files names the columns. auto: yes where none of its fields is a number, no
    /// where all are; a line of both, or 0,1,2,..., is a header if a column is asked for by name, and otherwise an error.
    #[arg(long, value_enum, default_value = "auto", help_heading = "Files of text")]
    pub(super) csv_header: HeaderOption,
    /// The character between fields, or tab [default: a comma; for .tsv a tab].
    #[arg(long, value_name = "C", value_parser = delimiter, help_heading = "Files of text")]
    pub(super) csv_delimiter: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum HeaderOption {
    #[default]
    Auto,
    Yes,
    No,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        &[byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n.+-".contains(&byte) => Ok(byte),
        _ => Err("expected one character such as ; or |, or tab".into()),
    }
}

/// The columns that were asked for.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) array: Array,
    /// The names of these columns; `None` without a header.
    pub(super) names: Option<Vec<String>>,
    /// The column as text, where it is one and text was allowed. The array is then empty.
    pub(super) texts: Option<Vec<String>>,
}

/// The sentence for a memory that is not there.
fn no_memory(path: &Path) -> impl Fn(std::collections::TryReserveError) -> Failure {
    move |_| Failure::file(path, "its columns do not fit in memory")
}

/// Reads columns of a file whose bytes are given. With `is_class`, one column may hold text.
pub(super) fn read(
    path: &Path,
    bytes: &[u8],
    wanted: &str,
    delimiter: u8,
    options: TextOptions,
    is_class: bool,
) -> Outcome<Table> {
    let fail = |message: String| Failure::file(path, message);
    let _stage = progress::stage(format!("reading {} as text", path.display()));
    check_longest_line(path, bytes)?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .delimiter(options.csv_delimiter.unwrap_or(delimiter))
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let mut record = StringRecord::new();
    let is_over = |reader: &csv::Reader<&[u8]>| reader.position().byte() >= bytes.len() as u64;
    let read_record = |reader: &mut csv::Reader<&[u8]>, record: &mut StringRecord| match reader.read_record(record) {
        Ok(false) => Ok(None),
        Ok(true) => Ok(Some(record.position().map_or(0, |position| position.byte() as usize))),
        Err(error) => {
            let start = error.position().map_or(0, |position| position.byte() as usize);
            Err(fail(open_quote(bytes, start, is_over(reader)).unwrap_or_else(|| describe(&error))))
        }
    };
    let Some(start) = read_record(&mut reader, &mut record)? else {
        return Err(fail("the file is empty".into()));
    };
    if is_blank(bytes, start) {
        return Err(fail("line 1 is blank: expected a header or a row".into()));
    }
    let first = record.clone();
    let fields: Vec<&str> = first.iter().collect();
    let has_header = has_header(&fields, wanted, options.csv_header).map_err(fail)?;
    let names = has_header.then_some(&fields[..]);
    let places = columns::find(wanted, names, fields.len()).map_err(|message| {
        // One long column is often several, between other characters.
        let other = [';', '\t', '|', ','].into_iter().find(|&c| fields.len() == 1 && fields[0].contains(c));
        let hint = other.map(|c| if c == '\t' { "tab".into() } else { format!("'{c}'") });
        let hint = hint.map(|c| format!("; there is one column only: is --csv-delimiter {c}?")).unwrap_or_default();
        fail(message + &hint)
    })?;
    let is_class = is_class && places.len() == 1;
    let mut columns: Vec<Column> = places.iter().map(|_| Column::Unknown).collect();
    let (mut rows, mut line) = (0usize, 1u64);
    let mut is_there = !has_header;
    let mut at = start;
    loop {
        if is_over(&reader)
            && let Some(message) = open_quote(bytes, at, true)
        {
            return Err(fail(message));
        }
        if is_there {
            for (column, (name, place)) in columns.iter_mut().zip(&places) {
                let field = record.get(*place).unwrap_or_default();
                if !column.push(field, is_class).map_err(no_memory(path))? {
                    let expected = column.expected();
                    return Err(fail(format!("row {rows} (line {line}), column {name}: {expected}, got {field:?}")));
                }
            }
            rows += 1;
        }
        line = reader.position().line();
        let Some(start) = read_record(&mut reader, &mut record)? else { break };
        if is_blank(bytes, start) {
            return Err(fail(format!("row {rows} (line {line}) is blank: expected {} fields", fields.len())));
        }
        (is_there, at) = (true, start);
    }
    let names = has_header.then(|| places.into_iter().map(|(name, _)| name).collect());
    let only = if columns.len() == 1 { columns.pop() } else { None };
    let (shape, data, texts) = match only {
        Some(Column::Texts(texts)) => (vec![rows], Data::I64(Vec::new()), Some(texts)),
        Some(Column::Floats(x)) => (vec![rows], Data::F64(x), None),
        Some(Column::Bools(x)) => (vec![rows], Data::Bool(x), None),
        Some(Column::Integers(x)) => (vec![rows], Data::I64(x), None),
        Some(Column::Unknown) => (vec![rows], Data::F64(Vec::new()), None),
        None => {
            let count = rows.checked_mul(columns.len()).ok_or_else(|| fail("too many fields".into()))?;
            let mut all = Vec::new();
            all.try_reserve_exact(count).map_err(no_memory(path))?;
            all.extend((0..rows).flat_map(|row| columns.iter().map(move |column| column.number(row))));
            (vec![rows, columns.len()], Data::F64(all), None)
        }
    };
    Ok(Table { array: Array { shape, data }, names, texts })
}

/// The message for a double quote that is not closed, so that the rest of the file, from the record at `start` on, is one
/// field. `is_last` says whether that record is the last.
fn open_quote(bytes: &[u8], start: usize, is_last: bool) -> Option<String> {
    let rest = bytes.get(start..).filter(|_| is_last)?;
    let quotes = rest.iter().filter(|&&byte| byte == b'"').count();
    // A quote within a field stands for itself; one at its beginning must be closed.
    let opens = |at: usize| at == 0 || !(rest[at - 1].is_ascii_alphanumeric() || rest[at - 1] == b' ');
    let first = rest.iter().enumerate().position(|(at, &byte)| byte == b'"' && opens(at))?;
    let line = 1 + bytes[..start + first].iter().filter(|&&byte| byte == b'\n').count();
    (quotes % 2 == 1).then(|| format!("line {line}: a double quote is not closed"))
}

/// The error without the words that only name its source.
fn describe(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line}: expected {expected_len} fields, as before, got {len}")
        }
        csv::ErrorKind::Utf8 { pos, .. } => {
            format!("line {}: expected text in UTF-8", pos.as_ref().map_or(0, csv::Position::line))
        }
        _ => error.to_string(),
    }
}

/// The reader keeps one row in memory and cannot report that it does not fit, so that is tried before.
fn check_longest_line(path: &Path, bytes: &[u8]) -> Outcome<()> {
    let longest = bytes.split(|&byte| byte == b'\n').map(<[u8]>::len).max().unwrap_or(0);
    // The text of a row and, for each of at most as many fields, its end; both grow by doubling and are kept twice.
    let needed = longest.saturating_mul(2 * 2 * (1 + size_of::<usize>()));
    let mut room = Vec::<u8>::new();
    room.try_reserve_exact(needed)
        .map_err(|_| Failure::file(path, format!("a row of {longest} bytes does not fit in memory")))
}

/// Whether a blank line stands where a record was looked for. The reader skips blank lines.
fn is_blank(bytes: &[u8], start: usize) -> bool {
    let rest = bytes.get(start..).unwrap_or_default();
    // The second half of the end of the line before.
    let rest = match (start.checked_sub(1).and_then(|before| bytes.get(before)), rest) {
        (Some(b'\r'), [b'\n', rest @ ..]) => rest,
        _ => rest,
    };
    matches!(rest, [b'\n' | b'\r', ..])
}

fn boolean(field: &str) -> Option<bool> {
    match () {
        () if field.eq_ignore_ascii_case("true") => Some(true),
        () if field.eq_ignore_ascii_case("false") => Some(false),
        () => None,
    }
}

fn is_value(field: &str) -> bool {
    field.parse::<f64>().is_ok() || boolean(field).is_some()
}

fn has_header(first: &[&str], wanted: &str, option: HeaderOption) -> Result<bool, String> {
    match option {
        HeaderOption::Yes => return Ok(true),
        HeaderOption::No => return Ok(false),
        HeaderOption::Auto => {}
    }
    // An empty field is a missing number, or the name of an index.
    let (mut numbers, mut texts) = (0, 0);
    for field in first.iter().filter(|field| !field.is_empty()) {
        if is_value(field) { numbers += 1 } else { texts += 1 }
    }
    let of_index = usize::from(first.first().is_some_and(|field| field.is_empty()));
    let counts = first[of_index..].iter().enumerate().all(|(n, field)| *field == n.to_string());
    match (numbers, texts) {
        (0, 0) => Ok(false),
        (0, _) => Ok(true),
        (_, 0) if !counts => Ok(false),
        _ if !columns::are_numbers(wanted) => Ok(true),
        _ => {
            let line: String = first.join(",").chars().take(60).collect();
            Err(format!("the first line, {line}, may be a header or a row; say --csv-header yes or no"))
        }
    }
}

/// The fields of a column, in the narrowest type that holds all of them.
#[derive(Debug)]
enum Column {
    Unknown,
    Bools(Vec<bool>),
    /// Exact, also beyond 2^53.
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    Texts(Vec<String>),
}

impl Column {
    /// Appends a field; false where it does not fit what came before.
    fn push(&mut self, field: &str, is_class: bool) -> Result<bool, std::collections::TryReserveError> {
        fn append<T>(to: &mut Vec<T>, value: Option<T>) -> Result<bool, std::collections::TryReserveError> {
            let Some(value) = value else { return Ok(false) };
            to.try_reserve(1)?;
            to.push(value);
            Ok(true)
        }
        let float = || field.parse::<f64>().ok();
        if let Self::Unknown = self {
            *self = match () {
                () if boolean(field).is_some() => Self::Bools(Vec::new()),
                () if field.parse::<i64>().is_ok() => Self::Integers(Vec::new()),
                () if float().is_none() && is_class && !field.is_empty() => Self::Texts(Vec::new()),
                () => Self::Floats(Vec::new()),
            };
        }
        if let Self::Integers(integers) = self
            && field.parse::<i64>().is_err()
            && float().is_some()
        {
            let mut floats = Vec::new();
            floats.try_reserve(integers.len() + 1)?;
            floats.extend(integers.iter().map(|&x| x as f64));
            *self = Self::Floats(floats);
        }
        match self {
            Self::Unknown => Ok(false),
            Self::Bools(all) => append(all, boolean(field)),
            Self::Integers(all) => append(all, field.parse().ok()),
            Self::Floats(all) => append(all, float()),
            Self::Texts(all) => append(all, (!field.is_empty() && float().is_none()).then(|| field.to_owned())),
        }
    }

    fn expected(&self) -> &'static str {
        match self {
            Self::Bools(_) => "expected True or False, as before",
            Self::Texts(_) => "expected text, as before",
            _ => "expected a number",
        }
    }

    fn number(&self, row: usize) -> f64 {
        match self {
            Self::Bools(all) => all.get(row).map_or(f64::NAN, |&x| f64::from(u8::from(x))),
            Self::Integers(all) => all.get(row).map_or(f64::NAN, |&x| x as f64),
            Self::Floats(all) => all.get(row).copied().unwrap_or(f64::NAN),
            Self::Unknown | Self::Texts(_) => f64::NAN,
        }
    }
}

/// The bytes of a gzip file.
pub(super) fn decompressed(path: &Path, bytes: &[u8]) -> Outcome<Vec<u8>> {
    read_all_of(&mut flate2::read::MultiGzDecoder::new(bytes), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str, wanted: &str, header: HeaderOption, is_class: bool) -> Result<Table, String> {
        let options = TextOptions { csv_header: header, csv_delimiter: None };
        read(Path::new("x.csv"), text.as_bytes(), wanted, b',', options, is_class).map_err(|failure| failure.line())
    }

    fn numbers(text: &str, wanted: &str, header: HeaderOption) -> Result<(bool, Vec<f64>), String> {
        table(text, wanted, header, false).map(|table| (table.names.is_some(), table.array.data.to_f64().unwrap()))
    }

    #[test]
    fn a_header_is_told_from_a_row() {
        use HeaderOption::{Auto, No, Yes};
        for (text, wanted, header, expected) in [
            ("a,b\n1,2\n", "b", Auto, Ok((true, vec![2.0]))),
            // A position, where a header has no such name.
            ("a,b\n1,2\n", "1", Auto, Ok((true, vec![2.0]))),
            ("3,4\n1,2\n", "1", Auto, Ok((false, vec![4.0, 2.0]))),
            ("3,\n", "0", Auto, Ok((false, vec![3.0]))),
            // pandas' headers of numbers, without and with an index.
            ("0,1\n5,6\n", "1", Auto, Err("--csv-header")),
            (",0,1\n0,5,6\n", "1", Auto, Err("--csv-header")),
            (",0,1\n0,5,6\n", "1", Yes, Ok((true, vec![6.0]))),
            ("0,1\n5,6\n", "1", No, Ok((false, vec![1.0, 6.0]))),
            ("0.0,1\n5,6\n", "1", Auto, Ok((false, vec![1.0, 6.0]))),
            // A column of text, with and without a header.
            ("a,2,1\nb,1,1\nc,1,-1\n", "1,2", Auto, Err("--csv-header")),
            ("a,2,1\nb,1,1\nc,1,-1\n", "1", No, Ok((false, vec![2.0, 1.0, 1.0]))),
            ("x,2020\n1,2\n", "x", Auto, Ok((true, vec![1.0]))),
            ("x,2020\n1,2\n", "2020", Auto, Err("--csv-header")),
            ("True\nfalse\n", "0", Auto, Ok((false, vec![1.0, 0.0]))),
            ("a,a\n1,2\n", "a", Auto, Err("twice")),
        ] {
            match (numbers(text, wanted, header), expected) {
                (Err(error), Err(words)) => assert!(error.contains(words), "{text:?}: {error}"),
                (got, expected) => assert_eq!(got, expected.map_err(String::from), "{text:?}"),
            }
        }
    }

    #[test]
    fn blank_lines_are_rows_without_values_except_at_the_end() {
        for text in ["1\n2\n\n\n", "1\r\n2\r\n\r\n", "1\n2"] {
            assert_eq!(numbers(text, "0", HeaderOption::Auto), Ok((false, vec![1.0, 2.0])), "{text:?}");
        }
        for text in ["1\n\n2\n", "1\r\n\r\n2\r\n", "a\n\n2\n", "\n1\n", "\r\n1\r\n"] {
            let error = numbers(text, "0", HeaderOption::Auto).unwrap_err();
            assert!(error.contains("blank"), "{text:?}: {error}");
        }
        // A line of spaces is a row whose field is empty.
        let error = numbers("1\n  \n2\n", "0", HeaderOption::Auto).unwrap_err();
        assert!(error.contains("row 1 (line 2)") && error.contains("expected a number"), "{error}");
    }

    #[test]
    fn a_quote_that_is_not_closed_is_named() {
        for text in ["a,b\n1,2\n\"3,4\n5,6\n", "a,b\n1,2\n3,\"4\n"] {
            let error = numbers(text, "b", HeaderOption::Auto).unwrap_err();
            assert!(error.contains("line 3: a double quote is not closed"), "{text:?}: {error}");
        }
        assert_eq!(numbers("a,b\n\"1\",\"2\"\n", "b", HeaderOption::Auto), Ok((true, vec![2.0])));
        // Inches: a quote within a field stands for itself.
        assert_eq!(numbers("a,b\n5\",2\n", "b", HeaderOption::Auto), Ok((true, vec![2.0])));
    }

    #[test]
    fn columns_have_the_narrowest_type() {
        let data = |text: &str| table(text, "0", HeaderOption::No, false).unwrap().array.data;
        assert_eq!(data("1\n9007199254740993\n"), Data::I64(vec![1, 9_007_199_254_740_993]));
        assert_eq!(data("1\n2.5\n"), Data::F64(vec![1.0, 2.5]));
        assert_eq!(data("True\nFalse\n"), Data::Bool(vec![true, false]));
        let texts = table("cat\ndog\n", "0", HeaderOption::No, true).unwrap().texts;
        assert_eq!(texts, Some(vec!["cat".to_owned(), "dog".into()]));
        for (text, words) in [
            ("1\ncat\n", "row 1 (line 2), column 0: expected a number, got \"cat\""),
            ("cat\n1\n", "expected text, as before"),
            ("True\n1\n", "expected True or False"),
            ("cat\n\"\"\n", "expected text"),
        ] {
            let error = table(text, "0", HeaderOption::No, true).unwrap_err();
            assert!(error.contains(words), "{text:?}: {error}");
        }
        assert!(table("cat\ndog\n", "0", HeaderOption::No, false).is_err());
    }
}
