//! Columns of a table of record batches (Parquet, Arrow IPC), read in order, batch by batch.

mod decode;
mod ipc;
mod parquet;

use std::fmt::{self, Debug, Display};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};

use super::argument::Format;
use super::columns;
use super::elements::{Data, elements};
use super::shape::Shape;
use crate::failure::{Failure, Outcome};

/// Elements decoded at a time, where the format leaves the choice.
const BATCH_ELEMENTS: usize = 1 << 18;

trait Batches: Send {
    fn rows(&self) -> usize;

    /// Goes to a batch that holds this row, and returns the batch's first row. Where the format lets the reader choose,
    /// a batch has at most `most_rows` rows.
    fn seek(&mut self, row: usize, most_rows: usize) -> Result<usize, ArrowError>;

    /// The next batch, with the chosen columns in file order.
    fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>>;
}

/// The open columns that an argument names.
pub(in crate::file) struct Table {
    path: PathBuf,
    batches: Box<dyn Batches>,
    /// Each column's name, and its place in a batch.
    columns: Vec<(String, usize)>,
    /// (rows) for one column of numbers; (rows, elements per row) for several columns or a column of lists.
    shape: Vec<usize>,
    /// An empty vector of the type that the elements are read as.
    empty: Data,
    /// The elements of the last decoded batch. `start` is the index of the first of them among all elements.
    decoded: Data,
    start: usize,
}

impl Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("path", &self.path).field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl Table {
    pub(in crate::file) fn new(opened: Opened) -> Outcome<Self> {
        let Opened { path, batches, columns, schema } = opened;
        let fail = |message: String| Failure::file(&path, message);
        let mut types = Vec::new();
        for (name, place) in &columns {
            let data_type = schema.field(*place).data_type();
            let none = decode::empty(data_type).ok_or_else(|| {
                fail(format!("column {name:?}: expected numbers, booleans, or lists of them, got {data_type}"))
            })?;
            types.push((data_type, none));
        }
        let has_lists = types.iter().any(|(data_type, _)| decode::is_list(data_type));
        if has_lists && columns.len() > 1 {
            return Err(fail("a column of lists is a whole row: expected it alone".into()));
        }
        let first_type = types.first().map(|(data_type, _)| (*data_type).clone());
        let empty = decode::interleaved(types.into_iter().map(|(_, none)| none).collect())?;
        let places = distinct(&columns);
        let in_batch = |(name, place): (String, usize)| (name, places.partition_point(|&other| other < place));
        let mut table = Self {
            shape: vec![batches.rows()],
            path,
            batches,
            columns: columns.into_iter().map(in_batch).collect(),
            decoded: empty.clone(),
            empty,
            start: 0,
        };
        match first_type {
            Some(data_type) if has_lists => {
                let length = table.list_length(&data_type)?;
                table.shape.push(length);
            }
            _ if table.columns.len() > 1 => table.shape.push(table.columns.len()),
            _ => {}
        }
        if elements(&table.shape).is_none() {
            return Err(table.fail(format!("{} are more elements than can be addressed", Shape(&table.shape))));
        }
        table.seek(0)?;
        Ok(table)
    }

    /// The length of the lists, from their type or else from the first list.
    fn list_length(&mut self, data_type: &DataType) -> Outcome<usize> {
        if let DataType::FixedSizeList(_, length) = data_type {
            return usize::try_from(*length).map_err(|_| self.fail(format!("lists of length {length}")));
        }
        self.batches.seek(0, 1).map_err(|error| self.fail(error))?;
        let first = self.batches.next().transpose().map_err(|error| self.fail(error))?;
        match first.as_ref().and_then(|batch| decode::first_list_length(batch.column(0).as_ref())) {
            Some(length) => Ok(length),
            None => Err(self.fail("expected lists, got no rows, so that nothing says how long they are")),
        }
    }

    pub(in crate::file) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The names of the columns, but not that of a column of lists.
    pub(in crate::file) fn names(&self) -> Vec<String> {
        let is_each = self.columns.len() == self.width();
        self.columns.iter().map(|(name, _)| name.clone()).filter(|_| is_each).collect()
    }

    pub(in crate::file) fn empty(&self) -> Data {
        self.empty.clone()
    }

    /// Bytes of all elements after decoding.
    pub(in crate::file) fn bytes(&self) -> u64 {
        let elements = elements(&self.shape).unwrap_or(0) as u64;
        elements.saturating_mul(self.empty.element_bytes() as u64)
    }

    fn width(&self) -> usize {
        self.shape.get(1).copied().unwrap_or(1).max(1)
    }

    fn seek(&mut self, row: usize) -> Outcome<()> {
        let most_rows = (BATCH_ELEMENTS / self.width()).max(1);
        let first_row = self.batches.seek(row, most_rows).map_err(|error| self.fail(error))?;
        (self.start, self.decoded) = (first_row * self.width(), self.empty.clone());
        Ok(())
    }

    /// Appends a range of elements. Reading forward is fast; going back is possible.
    pub(in crate::file) fn append(&mut self, range: Range<usize>, data: &mut Data) -> Outcome<()> {
        if range.start < self.start || range.start > self.start + self.decoded.len() {
            self.seek(range.start / self.width())?;
        }
        let mut at = range.start;
        while at < range.end {
            let end = self.start + self.decoded.len();
            if at >= end {
                self.decode_next()?;
                continue;
            }
            let last = range.end.min(end);
            data.append(self.decoded.part(at - self.start..last - self.start));
            at = last;
        }
        Ok(())
    }

    fn decode_next(&mut self) -> Outcome<()> {
        let start = self.start + self.decoded.len();
        let first_row = start / self.width();
        let batch = match self.batches.next() {
            Some(batch) => batch.map_err(|error| self.fail(format!("row {first_row} and on: {error}")))?,
            None => {
                let promised = self.batches.rows();
                return Err(self.fail(format!("the file promises {promised} rows, it ends after {first_row}")));
            }
        };
        let list_length = self.shape.get(1).copied().unwrap_or(1);
        let column = |(name, place): &(String, usize)| {
            decode::column(batch.column(*place).as_ref(), list_length)
                .map_err(|bad| self.fail(format!("row {}, column {name:?}: {}", first_row + bad.row, bad.message)))
        };
        let columns = self.columns.iter().map(column).collect::<Outcome<Vec<_>>>()?;
        (self.start, self.decoded) = (start, decode::interleaved(columns)?);
        Ok(())
    }

    fn fail(&self, message: impl Display) -> Failure {
        Failure::file(&self.path, message)
    }
}

/// An open file, and the columns that are read of it.
pub(in crate::file) struct Opened {
    path: PathBuf,
    batches: Box<dyn Batches>,
    /// Names and places in the schema.
    columns: Vec<(String, usize)>,
    schema: SchemaRef,
}

impl Opened {
    pub(in crate::file) fn of(path: &Path, format: Format, names: &str) -> Outcome<Self> {
        let file = File::open(path).map_err(|error| Failure::file(path, error))?;
        let path = path.to_owned();
        if format == Format::Parquet {
            let file = parquet::Parquet::open(file).map_err(|error| Failure::file(&path, error))?;
            let schema = file.schema();
            let columns = find(&path, &schema, names)?;
            return Ok(Self { path, batches: Box::new(file.choose(&distinct(&columns))), columns, schema });
        }
        let file = ipc::Ipc::open(file).map_err(|error| Failure::file(&path, error))?;
        let schema = file.schema();
        let columns = find(&path, &schema, names)?;
        let chosen = file.choose(distinct(&columns)).map_err(|error| Failure::file(&path, error))?;
        Ok(Self { path, batches: Box::new(chosen), columns, schema })
    }

    /// Whether this is one column, and holds texts.
    pub(in crate::file) fn is_text(&self) -> bool {
        matches!(self.columns[..], [(_, place)] if decode::is_text(self.schema.field(place).data_type()))
    }

    /// The texts of the first column.
    pub(in crate::file) fn texts(mut self) -> Outcome<Vec<String>> {
        let fail = |message: String| Failure::file(&self.path, message);
        let mut all = Vec::new();
        self.batches.seek(0, BATCH_ELEMENTS).map_err(|error| fail(error.to_string()))?;
        while let Some(batch) = self.batches.next() {
            let batch = batch.map_err(|error| fail(error.to_string()))?;
            let texts = decode::texts(batch.column(0).as_ref()).unwrap_or_default();
            if let Some(row) = texts.iter().position(String::is_empty) {
                let name = self.columns.first().map_or("", |(name, _)| name);
                return Err(fail(format!("row {}, column {name:?}: expected text, got none", all.len() + row)));
            }
            all.extend(texts);
        }
        Ok(all)
    }
}

fn find(path: &Path, schema: &Schema, text: &str) -> Outcome<Vec<(String, usize)>> {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    columns::find(text, Some(&names), names.len()).map_err(|message| Failure::file(path, message))
}

/// The places of the columns, without repeats, in file order.
fn distinct(columns: &[(String, usize)]) -> Vec<usize> {
    let mut places: Vec<usize> = columns.iter().map(|&(_, place)| place).collect();
    places.sort_unstable();
    places.dedup();
    places
}
