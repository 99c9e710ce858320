//! Arrow IPC: files (also called Feather, version 2), and streams (what Hugging Face's datasets are stored in).

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use arrow_array::RecordBatch;
use arrow_ipc::reader::{FileReader, StreamReader, read_footer_length};
use arrow_ipc::{Block, root_as_footer, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};

use super::Batches;

/// The marker before the four bytes of a message's length. Files from before Arrow 0.15 lack it.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Bytes at the end of the file: the footer's length (4) and `ARROW1` (6).
const TRAILER: u64 = 10;

/// What a file, and not a stream, begins with.
const MAGIC: &[u8] = b"ARROW1";

pub(super) struct Ipc {
    file: File,
    reader: Reader,
    /// The columns to read; all where there is none.
    places: Option<Vec<usize>>,
    /// The first row of each batch, then the number of all rows.
    first_rows: Vec<usize>,
}

enum Reader {
    File(FileReader<File>),
    Stream(StreamReader<BufReader<File>>),
}

impl Ipc {
    pub(super) fn open(mut file: File) -> Result<Self, ArrowError> {
        let size = file.seek(SeekFrom::End(0))?;
        if size >= 4 && read(&mut file, 0, 4, size)? == b"FEA1" {
            return Err(ArrowError::ParseError("Feather version 1 is not read; write the table as version 2".into()));
        }
        let is_file = size >= MAGIC.len() as u64 && read(&mut file, 0, MAGIC.len() as u64, size)? == MAGIC;
        // This comes first: the readers trust the lengths of blocks and messages, and `first_rows` checks them.
        let first_rows = if is_file { rows_of_file(&mut file)? } else { rows_of_stream(&mut file)? };
        let reader = match is_file {
            true => Reader::File(FileReader::try_new(file.try_clone()?, None)?),
            false => Reader::stream(&file, None)?,
        };
        Ok(Self { file, reader, places: None, first_rows })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        match &self.reader {
            Reader::File(reader) => reader.schema(),
            Reader::Stream(reader) => reader.schema(),
        }
    }

    /// Reads only the columns with these indices.
    pub(super) fn choose(self, places: Vec<usize>) -> Result<Self, ArrowError> {
        let reader = match self.reader {
            Reader::File(_) => Reader::File(FileReader::try_new(self.file.try_clone()?, Some(places.clone()))?),
            Reader::Stream(_) => Reader::stream(&self.file, Some(places.clone()))?,
        };
        Ok(Self { reader, places: Some(places), ..self })
    }
}

impl Reader {
    /// A stream from its beginning. A clone of a file shares its position.
    fn stream(file: &File, places: Option<Vec<usize>>) -> Result<Self, ArrowError> {
        let mut file = file.try_clone()?;
        file.rewind()?;
        Ok(Self::Stream(StreamReader::try_new(BufReader::new(file), places)?))
    }
}

impl Batches for Ipc {
    fn rows(&self) -> usize {
        self.first_rows.last().copied().unwrap_or(0)
    }

    fn seek(&mut self, row: usize, _: usize) -> Result<usize, ArrowError> {
        let batches = self.first_rows.len().saturating_sub(1);
        if batches == 0 {
            return Ok(row);
        }
        let batch = self.first_rows[..batches].partition_point(|&first| first <= row).saturating_sub(1);
        match &mut self.reader {
            Reader::File(reader) => reader.set_index(batch)?,
            // A stream has no index: its batches are read again from the beginning.
            Reader::Stream(_) => {
                self.reader = Reader::stream(&self.file, self.places.clone())?;
                for _ in 0..batch {
                    self.next().transpose()?;
                }
            }
        }
        Ok(self.first_rows[batch])
    }

    fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        match &mut self.reader {
            Reader::File(reader) => reader.next(),
            Reader::Stream(reader) => reader.next(),
        }
    }
}

/// The first row of each batch and the number of all rows of a stream, after a check that every message lies within the
/// file.
fn rows_of_stream(file: &mut File) -> Result<Vec<usize>, ArrowError> {
    let size = file.seek(SeekFrom::End(0))?;
    let broken = |what: &str| ArrowError::ParseError(format!("neither an Arrow IPC file nor a stream: {what}"));
    let (mut at, mut rows, mut all) = (0u64, 0usize, vec![0]);
    let mut is_first = true;
    while at < size {
        let mut length = read(file, at, 4, size)?;
        at += 4;
        if length == CONTINUATION {
            length = read(file, at, 4, size)?;
            at += 4;
        }
        let length = length.first_chunk().map_or(0, |&bytes| u32::from_le_bytes(bytes));
        if length == 0 {
            break;
        }
        let bytes = read(file, at, length.into(), size)?;
        let message = root_as_message(&bytes).map_err(|error| broken(&error.to_string()))?;
        if is_first && message.header_as_schema().is_none() {
            return Err(broken("it does not begin with a schema"));
        }
        is_first = false;
        if let Some(batch) = message.header_as_record_batch() {
            let length = usize::try_from(batch.length()).ok();
            rows = length
                .and_then(|length| rows.checked_add(length))
                .ok_or_else(|| broken("a batch with an invalid number of rows"))?;
            all.push(rows);
        }
        let body = u64::try_from(message.bodyLength()).ok();
        let end = body.and_then(|body| at.checked_add(length.into())?.checked_add(body));
        at = end.filter(|&end| end <= size).ok_or_else(|| broken("a message ends behind the file"))?;
    }
    if is_first {
        return Err(broken("it holds no message"));
    }
    Ok(all)
}

/// The first row of each batch and the number of all rows of a file, read from the messages' headers alone.
fn rows_of_file(file: &mut File) -> Result<Vec<usize>, ArrowError> {
    let size = file.seek(SeekFrom::End(0))?;
    let broken = |what: &str| ArrowError::ParseError(format!("not an Arrow IPC file: {what}"));
    let trailer = read(file, size.checked_sub(TRAILER).ok_or_else(|| broken("too short"))?, TRAILER, size)?;
    let trailer = trailer.first_chunk().ok_or_else(|| broken("too short"))?;
    let footer_bytes = read_footer_length(*trailer).map_err(|_| broken("no footer at its end"))? as u64;
    let footer_start =
        (size - TRAILER).checked_sub(footer_bytes).ok_or_else(|| broken("its footer is larger than the file"))?;
    let footer = read(file, footer_start, footer_bytes, size)?;
    let footer = root_as_footer(&footer).map_err(|error| broken(&error.to_string()))?;
    for block in footer.dictionaries().iter().flatten() {
        header(file, block, size)?;
    }
    let mut rows = 0usize;
    let mut all = vec![0];
    for block in footer.recordBatches().iter().flatten() {
        let bytes = header(file, block, size)?;
        let start = if bytes.starts_with(&CONTINUATION) { 8 } else { 4 };
        let message = bytes.get(start..).ok_or_else(|| broken("a message without a header"))?;
        let message = root_as_message(message).map_err(|error| broken(&error.to_string()))?;
        let batch = message.header_as_record_batch().ok_or_else(|| broken("a message that is no batch"))?;
        let length = usize::try_from(batch.length()).ok();
        rows = length
            .and_then(|length| rows.checked_add(length))
            .ok_or_else(|| broken("a batch with an invalid number of rows"))?;
        all.push(rows);
    }
    Ok(all)
}

/// The header of a block, after a check that header and body lie within the file.
fn header(file: &mut File, block: &Block, size: u64) -> Result<Vec<u8>, ArrowError> {
    let (offset, header, body) = (block.offset(), block.metaDataLength(), block.bodyLength());
    let inside = || {
        let (offset, header, body) =
            (u64::try_from(offset).ok()?, u64::try_from(header).ok()?, u64::try_from(body).ok()?);
        (offset.checked_add(header)?.checked_add(body)? <= size).then_some((offset, header))
    };
    let outside = || {
        ArrowError::ParseError(format!(
            "the block of {header} + {body} bytes at byte {offset} does not lie within the file of {size} bytes"
        ))
    };
    let (offset, header) = inside().ok_or_else(outside)?;
    read(file, offset, header, size)
}

/// Reads `bytes` bytes from an offset; fails if the file, of `size` bytes, ends first.
fn read(file: &mut File, offset: u64, bytes: u64, size: u64) -> Result<Vec<u8>, ArrowError> {
    if offset.checked_add(bytes).is_none_or(|end| end > size) {
        return Err(ArrowError::ParseError(format!("not an Arrow IPC file: it ends before byte {offset} + {bytes}")));
    }
    let mut read = vec![0; bytes as usize];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut read)?;
    Ok(read)
}
