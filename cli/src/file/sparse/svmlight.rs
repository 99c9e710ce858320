//! svmlight text: a line per row, `LABEL INDEX:VALUE INDEX:VALUE ... # comment`, with ascending indices.
//!
//! The file is read piece by piece, and a piece's lines are parsed on all threads. A first look counts what may be
//! entries, so that the memory for them is taken once.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::path::Path;
use std::str::FromStr;

use rayon::prelude::*;

use super::{SparseArray, Values, Wanted, check_columns};
use crate::failure::{Failure, Outcome};
use crate::progress;
use crate::words::number_text;

/// Bytes that are read at a time, and of these that a thread parses at a time.
const PIECE: usize = 16 << 20;
const CHUNK: usize = 256 << 10;

/// The largest whole number below which f64 has all.
const MOST_LABEL: f64 = (1u64 << 53) as f64;

/// The number of the first column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Base(u64);

impl Default for Base {
    fn default() -> Self {
        Self(1)
    }
}

impl FromStr for Base {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "0" => Ok(Self(0)),
            "1" => Ok(Self(1)),
            _ => Err("expected 1 or 0"),
        }
    }
}

/// The rows of some lines.
#[derive(Default)]
struct Part {
    lines: usize,
    labels: Vec<f64>,
    /// Entries of each row.
    lengths: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f64>,
    /// The largest column, and its line among these.
    largest: Option<(u32, usize)>,
}

/// What is wrong with a line, counted from 0 among those that were parsed together.
struct Wrong {
    line: usize,
    what: String,
}

pub(super) fn read(path: &Path, wanted: Wanted) -> Outcome<SparseArray> {
    let fail = |error: std::io::Error| Failure::file(path, error);
    // Opening a pipe would wait for its writer.
    let about = std::fs::metadata(path).map_err(fail)?;
    if !about.is_file() {
        return Err(Failure::file(path, "is no regular file: svmlight text is read in two passes"));
    }
    let (mut file, size) = (File::open(path).map_err(fail)?, about.len());
    let (lines, most) = count(&mut file).map_err(fail)?;
    file.rewind().map_err(fail)?;
    let mut all = Part::default();
    let mut starts: Vec<usize> = Vec::new();
    let no_memory = |_| Failure::file(path, format!("{most} entries do not fit in memory"));
    starts.try_reserve_exact(lines + 2).map_err(no_memory)?;
    all.labels.try_reserve_exact(lines + 1).map_err(no_memory)?;
    all.indices.try_reserve_exact(most).map_err(no_memory)?;
    all.values.try_reserve_exact(most).map_err(no_memory)?;
    starts.push(0);
    let bar = progress::bytes(size, &format!("reading {}", path.display()));
    let mut pieces = Pieces { file: &mut file, bytes: Vec::new(), taken: 0, ended: false };
    while let Some(piece) = pieces.next().map_err(fail)? {
        // Programs of Windows put a mark before the text.
        let text = if all.lines == 0 { piece.strip_prefix(b"\xef\xbb\xbf").unwrap_or(piece) } else { piece };
        let parts: Vec<Result<Part, Wrong>> = chunks(text).into_par_iter().map(|lines| parse(lines, wanted)).collect();
        for part in parts {
            let part = part.map_err(|Wrong { line, what }| {
                Failure::file(path, format!("line {}: {what}", all.lines + line + 1))
            })?;
            for length in &part.lengths {
                starts.push(starts[starts.len() - 1] + length);
            }
            all.labels.extend(part.labels);
            all.indices.extend(part.indices);
            all.values.extend(part.values);
            if part.largest.is_some_and(|(column, _)| all.largest.is_none_or(|(most, _)| column > most)) {
                all.largest = part.largest.map(|(column, line)| (column, all.lines + line));
            }
            all.lines += part.lines;
        }
        bar.inc(piece.len() as u64);
    }
    bar.finish_and_clear();
    let columns = match (all.largest, wanted.columns) {
        (_, Some(columns)) => columns,
        (Some((column, line)), None) => {
            let place = format!("line {}: index {}", line + 1, u64::from(column) + wanted.base.0);
            check_columns(path, u64::from(column) + 1, all.indices.len(), &place)?;
            column as usize + 1
        }
        (None, None) => {
            let what = if all.labels.is_empty() { "no rows" } else { "rows without entries" };
            return Err(Failure::file(path, format!("features: expected at least one entry, got {what}")));
        }
    };
    let values = Values::F64(all.values).narrowed();
    Ok(SparseArray { starts, indices: all.indices, values, columns, labels: Some(all.labels) })
}

/// Lines, and what may be entries.
fn count(file: &mut File) -> std::io::Result<(usize, usize)> {
    let (mut lines, mut entries, mut bytes) = (0, 0, vec![0; PIECE.min(1 << 20)]);
    loop {
        match file.read(&mut bytes) {
            Ok(0) => return Ok((lines, entries)),
            Ok(count) => {
                lines += bytes[..count].iter().filter(|&&byte| byte == b'\n').count();
                entries += bytes[..count].iter().filter(|&&byte| byte == b':').count();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A file in pieces that end with a line.
struct Pieces<'a> {
    file: &'a mut File,
    /// The current piece and what comes behind it.
    bytes: Vec<u8>,
    /// The length of the current piece.
    taken: usize,
    ended: bool,
}

impl Pieces<'_> {
    fn next(&mut self) -> std::io::Result<Option<&[u8]>> {
        self.bytes.drain(..self.taken);
        // What is left has no end of a line.
        let mut searched = self.bytes.len();
        loop {
            let end = match self.ended {
                true => Some(self.bytes.len()),
                false => self.bytes[searched..].iter().rposition(|&byte| byte == b'\n').map(|at| searched + at + 1),
            };
            searched = self.bytes.len();
            if let Some(end) = end {
                self.taken = end;
                return Ok((end > 0).then_some(&self.bytes[..end]));
            }
            self.bytes.try_reserve(PIECE).map_err(|_| std::io::Error::from(ErrorKind::OutOfMemory))?;
            let read = self.file.by_ref().take(PIECE as u64).read_to_end(&mut self.bytes)?;
            self.ended = read < PIECE;
        }
    }
}

/// Lines in chunks for threads.
fn chunks(piece: &[u8]) -> Vec<&[u8]> {
    let (mut all, mut rest) = (Vec::new(), piece);
    while !rest.is_empty() {
        let least = CHUNK.min(rest.len());
        let end = rest[least..].iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| least + at + 1);
        let (chunk, behind) = rest.split_at(end);
        all.push(chunk);
        rest = behind;
    }
    all
}

fn parse(lines: &[u8], wanted: Wanted) -> Result<Part, Wrong> {
    let mut part = Part::default();
    let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
    for (number, line) in lines.split(|&byte| byte == b'\n').enumerate() {
        part.lines += 1;
        part.take(line, number, wanted).map_err(|what| Wrong { line: number, what })?;
    }
    Ok(part)
}

impl Part {
    fn take(&mut self, line: &[u8], number: usize, wanted: Wanted) -> Result<(), String> {
        let line = line.iter().position(|&byte| byte == b'#').map_or(line, |at| &line[..at]);
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let Some(label) = words.next() else { return Ok(()) };
        self.labels.push(label_of(label, wanted.labels)?);
        let before = self.indices.len();
        let mut least = 0;
        for word in words {
            let expected = || format!("expected INDEX:VALUE, got {:?}", shown(word));
            let at = word.iter().position(|&byte| byte == b':').ok_or_else(expected)?;
            let (index, value) = (&word[..at], &word[at + 1..]);
            if index == b"qid" {
                continue;
            }
            let column = column_of(index, least, wanted).ok_or_else(expected)??;
            let value: f64 = number_of(value).ok_or_else(expected)?;
            if !value.is_finite() {
                return Err(format!("index {}: expected a finite number, got {}", shown(index), number_text(value)));
            }
            self.indices.push(column);
            self.values.push(value);
            least = u64::from(column) + 1;
        }
        self.lengths.push(self.indices.len() - before);
        if let Some(&column) = self.indices[before..].last()
            && self.largest.is_none_or(|(largest, _)| column > largest)
        {
            self.largest = Some((column, number));
        }
        Ok(())
    }
}

/// The column of an index, which must not lie below `least`; `None` where it is no number.
fn column_of(index: &[u8], least: u64, wanted: Wanted) -> Option<Result<u32, String>> {
    let Base(base) = wanted.base;
    if index.is_empty() || !index.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = index.iter().map(|digit| u64::from(digit - b'0'));
    // A number beyond u64 is beyond all limits as well.
    let number = digits.fold(0u64, |number, digit| number.saturating_mul(10).saturating_add(digit));
    if number < base {
        return Some(Err("index 0: indices begin at 1 (--svmlight-base 0 for those that begin at 0)".into()));
    }
    let column = number - base;
    if column < least {
        return Some(Err(format!("index {number} behind {}: expected ascending indices", least - 1 + base)));
    }
    if let Some(columns) = wanted.columns.filter(|&columns| column >= columns as u64) {
        return Some(Err(format!("index {}: expected one of the {columns} columns that are known", shown(index))));
    }
    match u32::try_from(column) {
        Ok(column) if column < u32::MAX => Some(Ok(column)),
        _ => Some(Err(format!("index {}: expected one below 2^32 - 1", shown(index)))),
    }
}

fn label_of(word: &[u8], must_be_whole: bool) -> Result<f64, String> {
    let expected = || format!("expected a label in front, got {:?}", shown(word));
    if word.contains(&b':') {
        return Err(expected());
    }
    if word.contains(&b',') {
        return Err(format!("expected one label, got several: {:?}", shown(word)));
    }
    let label = number_of(word).ok_or_else(expected)?;
    if must_be_whole && (label.fract() != 0.0 || label.abs() > MOST_LABEL) || !label.is_finite() {
        return Err(format!("expected a whole number up to 2^53 as label, got {}", shown(word)));
    }
    Ok(label)
}

/// A number, with a sign if need be.
fn number_of(word: &[u8]) -> Option<f64> {
    if let [digit @ b'0'..=b'9'] = word {
        return Some(f64::from(digit - b'0'));
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// A word of a file for a message.
fn shown(word: &[u8]) -> String {
    const MOST: usize = 40;
    let text = String::from_utf8_lossy(&word[..word.len().min(MOST)]).into_owned();
    if word.len() > MOST { text + "..." } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str, wanted: Wanted) -> Outcome<SparseArray> {
        let file = tempfile::Builder::new().suffix(".svm").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path(), wanted)
    }

    const ANY: Wanted = Wanted { base: Base(1), labels: true, columns: None };

    #[test]
    fn rows_of_several_pieces_are_those_of_the_lines() {
        // Lines of different lengths over several pieces and chunks, with blank ones and comments.
        let (mut text, mut expected) = (String::new(), (vec![0usize], Vec::new(), Vec::new(), Vec::new()));
        let mut number = 0u32;
        while text.len() < 2 * PIECE + 1000 {
            number += 1;
            if number.is_multiple_of(50) {
                text += "  \r\n# 7:1 comment\n";
            }
            text += if number.is_multiple_of(2) { "+1" } else { "-1 qid:4" };
            expected.3.push(if number.is_multiple_of(2) { 1.0 } else { -1.0 });
            for k in 0..number % 7 {
                let (column, value) = (k * 3 + number % 3, f64::from(number) / 8.0 - f64::from(k));
                text += &format!(" {}:{value}", column + 1);
                expected.1.push(column);
                expected.2.push(value);
            }
            expected.0.push(expected.1.len());
            text += if number.is_multiple_of(3) { " # 1:2\n" } else { "\r\n" };
        }
        // The last line has no end.
        let rows = read_text(text.trim_end(), ANY).unwrap();
        assert_eq!(rows.starts, expected.0);
        assert_eq!(rows.indices, expected.1);
        assert_eq!(rows.values, Values::F64(expected.2).narrowed());
        assert_eq!(rows.labels, Some(expected.3));
        assert_eq!(rows.columns, 6 * 3);
    }

    #[test]
    fn values_that_f32_holds_take_half_the_memory() {
        assert_eq!(read_text("1 1:0.5 3:2\n", ANY).unwrap().values, Values::F32(vec![0.5, 2.0]));
        assert_eq!(read_text("1 1:0.1 3:2\n", ANY).unwrap().values, Values::F64(vec![0.1, 2.0]));
    }

    #[test]
    fn what_is_wrong_is_told_by_line() {
        let model = Wanted { columns: Some(3), ..ANY };
        for (text, wanted, part) in [
            ("1 1:1\n\n-1 2:1 2:3\n", ANY, "line 3: index 2 behind 2: expected ascending"),
            ("1 3:1 1:2", ANY, "line 1: index 1 behind 3"),
            ("1 1:1\n1 0:2\n", ANY, "line 2: index 0: indices begin at 1 (--svmlight-base 0"),
            ("1 1:1\n1:2 2:3\n", ANY, "line 2: expected a label in front, got \"1:2\""),
            ("1 1:nan\n", ANY, "line 1: index 1: expected a finite number, got NaN"),
            ("1 1:1\n1 4:-inf", ANY, "line 2: index 4: expected a finite number, got -inf"),
            ("1 1:", ANY, "line 1: expected INDEX:VALUE, got \"1:\""),
            ("1 5", ANY, "line 1: expected INDEX:VALUE, got \"5\""),
            ("1 -5:1", ANY, "expected INDEX:VALUE"),
            ("1,2 1:1", ANY, "line 1: expected one label, got several"),
            ("yes 1:1", ANY, "line 1: expected a label in front, got \"yes\""),
            ("1.5 1:1", ANY, "line 1: expected a whole number up to 2^53 as label, got 1.5"),
            ("1 1:1\n1 2147483648:1\n", ANY, "line 2: index 2147483648: expected at most 1048576 columns"),
            ("1 1:1\n\n1e300 1:1\n", ANY, "line 3: expected a whole number up to 2^53 as label, got 1e300"),
            ("1 9223372036854775808:1\n", ANY, "line 1: index 9223372036854775808: expected one below"),
            ("1 99999999999999999999999:1\n", ANY, "line 1: index 99999999999999999999999: expected one below"),
            ("1 4:1\n", model, "line 1: index 4: expected one of the 3 columns that are known"),
            ("", ANY, "no rows"),
            ("# nothing\n", ANY, "no rows"),
            ("1\n-1\n", ANY, "rows without entries"),
        ] {
            let failure = read_text(text, wanted).unwrap_err().line();
            assert!(failure.contains(part), "{text:?}: {failure}");
        }
        let marked = read_text("\u{feff}1 1:1\n", ANY).unwrap();
        assert_eq!(marked.labels, Some(vec![1.0]));
        // Labels that are not asked for may have a fraction, and indices may begin at 0.
        let other = Wanted { labels: false, base: Base(0), columns: Some(5) };
        let rows = read_text("1.5 0:1 4:2\n", other).unwrap();
        assert_eq!((rows.indices, rows.columns), (vec![0, 4], 5));
    }
}
