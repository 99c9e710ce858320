//! An array in a file, read part by part, so that it need not fit in memory.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::argument::{Argument, Format};
use super::csv::{self, TextOptions};
use super::elements::{Array, Data, Keep, StoredAt, elements};
#[cfg(feature = "arrow")]
use super::table::{Opened, Table};
use super::{npy, npz, read_bytes, safetensors};
use crate::failure::{Failure, Outcome};
use crate::progress;
use crate::words::{listed, suggestion};

const PIECE: usize = 8 << 20;

#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    shape: Vec<usize>,
    stored: Stored,
    /// For text: the names of the columns, if there is a header.
    header: Option<Option<Vec<String>>>,
    /// The classes that the elements index, where the file holds text.
    classes: Option<Vec<String>>,
}

#[derive(Debug)]
enum Stored {
    /// Arrays that cannot be read part by part: text, and matrices in column-major order.
    Memory(Data),
    File {
        bytes: Bytes,
        place: StoredAt,
        scratch: Vec<u8>,
    },
    #[cfg(feature = "arrow")]
    Table(Table),
}

/// Bytes that are read at offsets, so that several readers do not share a position.
#[derive(Clone, Debug)]
pub(super) enum Bytes {
    File(Arc<File>),
    /// The content of a pipe, or of a compressed archive.
    Memory(Arc<Vec<u8>>),
}

impl Bytes {
    pub(super) fn read_exact_at(&self, to: &mut [u8], offset: u64) -> std::io::Result<()> {
        match self {
            Self::File(file) => read_exact_at(file, to, offset),
            Self::Memory(all) => {
                let range = usize::try_from(offset).ok().and_then(|start| Some(start..start.checked_add(to.len())?));
                let part = range.and_then(|range| all.get(range)).ok_or(ErrorKind::UnexpectedEof)?;
                to.copy_from_slice(part);
                Ok(())
            }
        }
    }
}

impl Source {
    pub(crate) fn open(argument: &Path, options: TextOptions) -> Outcome<Self> {
        Self::open_as(argument, options, false, &[])
    }

    /// As [`Source::open`], for class indices. Where the file holds text, its elements are the places of the texts among
    /// `known` classes; if `known` lacks one of them, among the file's own texts in the order of their characters.
    pub(crate) fn open_classes(argument: &Path, options: TextOptions, known: &[String]) -> Outcome<Self> {
        Self::open_as(argument, options, true, known)
    }

    fn open_as(argument: &Path, options: TextOptions, is_class: bool, known: &[String]) -> Outcome<Self> {
        let Argument { path, format, within } = Argument::of(argument)?;
        let is_file = std::fs::metadata(&path).map_err(|error| Failure::file(&path, error))?.is_file();
        if !is_file {
            check_first_reading(&path)?;
        }
        match format {
            Format::Npy => {
                let (bytes, beginning, size) = if is_file {
                    let file = File::open(&path).map_err(|error| Failure::file(&path, error))?;
                    let size = file.metadata().map_err(|error| Failure::file(&path, error))?.len();
                    let mut beginning = Vec::new();
                    let read = (&file).take(npy::MOST_BYTES).read_to_end(&mut beginning);
                    read.map_err(|error| Failure::file(&path, error))?;
                    (Bytes::File(Arc::new(file)), beginning, size)
                } else {
                    let all = read_bytes(&path)?;
                    let beginning = all.iter().take(npy::MOST_BYTES as usize).copied().collect();
                    let size = all.len() as u64;
                    (Bytes::Memory(Arc::new(all)), beginning, size)
                };
                let (place, in_rows) = npy::place(&path, &beginning, size)?;
                Self::in_bytes(path, bytes, place).in_rows(in_rows)
            }
            Format::Text { delimiter, is_compressed } => {
                let mut bytes = read_bytes(&path)?;
                if !is_file {
                    check_is_text(&path, &bytes)?;
                }
                if is_compressed || bytes.starts_with(GZIP) {
                    bytes = csv::decompressed(&path, &bytes)?;
                }
                let csv::Table { array, names, texts } =
                    csv::read(&path, &bytes, &within, delimiter, options, is_class)?;
                let (data, classes) = match texts {
                    Some(texts) => {
                        let (indices, classes) = class_indices(&path, &texts, known)?;
                        (Data::I64(indices), Some(classes))
                    }
                    None => (array.data, None),
                };
                Ok(Self { path, shape: array.shape, stored: Stored::Memory(data), header: Some(names), classes })
            }
            _ if !is_file => {
                let message = "is no regular file: a pipe can hold .npy, .csv and .tsv, which are read in one go";
                Err(Failure::file(&path, message))
            }
            Format::Npz => {
                let (bytes, place, in_rows) = npz::open(&path, &within)?;
                Self::in_bytes(path, bytes, place).in_rows(in_rows)
            }
            Format::Safetensors => {
                let (file, place) = safetensors::open(&path, &within)?;
                Ok(Self::in_bytes(path, Bytes::File(Arc::new(file)), place))
            }
            Format::Parquet | Format::Ipc => Self::in_table(path, format, &within, is_class, known),
        }
    }

    #[cfg(feature = "arrow")]
    fn in_table(path: PathBuf, format: Format, columns: &str, is_class: bool, known: &[String]) -> Outcome<Self> {
        let opened = Opened::of(&path, format, columns)?;
        if is_class && opened.is_text() {
            let texts = opened.texts()?;
            let (indices, classes) = class_indices(&path, &texts, known)?;
            let stored = Stored::Memory(Data::I64(indices));
            return Ok(Self { path, shape: vec![texts.len()], stored, header: None, classes: Some(classes) });
        }
        let table = Table::new(opened)?;
        let shape = table.shape().to_vec();
        Ok(Self { path, shape, stored: Stored::Table(table), header: None, classes: None })
    }

    #[cfg(not(feature = "arrow"))]
    fn in_table(path: PathBuf, _: Format, _: &str, _: bool, _: &[String]) -> Outcome<Self> {
        let message = "this program was built without tables; build it with --features arrow to read Parquet and Arrow";
        Err(Failure::usage(format!("{}: {message}", path.display())))
    }

    fn in_bytes(path: PathBuf, bytes: Bytes, place: StoredAt) -> Self {
        let shape = place.shape.clone();
        let stored = Stored::File { bytes, place, scratch: Vec::new() };
        Self { path, shape, stored, header: None, classes: None }
    }

    /// The same array in row-major order. A matrix in column-major order is read in one go.
    fn in_rows(self, is_in_rows: bool) -> Outcome<Self> {
        if is_in_rows {
            return Ok(self);
        }
        let path = self.path.clone();
        let Array { shape, data } = self.read_all()?;
        let data = data.transposed(&shape);
        let data =
            data.map_err(|_| Failure::file(&path, "does not fit in memory twice, to be put in row-major order"))?;
        Ok(Self { path, shape, stored: Stored::Memory(data), header: None, classes: None })
    }

    /// A second reader of the same array, for another thread; `None` where the array is read in one go.
    pub(crate) fn another(&self) -> Option<Self> {
        let Stored::File { bytes, place, .. } = &self.stored else { return None };
        Some(Self::in_bytes(self.path.clone(), bytes.clone(), place.clone()))
    }

    /// For text: whether a header was found.
    pub(crate) fn has_header(&self) -> Option<bool> {
        self.header.as_ref().map(Option::is_some)
    }

    /// The names of the columns that are read, where the file has names.
    pub(crate) fn names(&self) -> Vec<String> {
        match &self.stored {
            #[cfg(feature = "arrow")]
            Stored::Table(table) => table.names(),
            _ => self.header.clone().flatten().unwrap_or_default(),
        }
    }

    /// For a message: what may have made a class too few.
    pub(crate) fn header_hint(&self) -> &'static str {
        if self.has_header() == Some(true) { " (the first line was read as a header: --csv-header no?)" } else { "" }
    }

    /// The classes that the elements index, where the file holds text.
    pub(crate) fn classes(&self) -> Option<&[String]> {
        self.classes.as_deref()
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(crate) fn len(&self) -> usize {
        // The shape was checked with the header.
        elements(&self.shape).unwrap_or(0)
    }

    pub(crate) fn bytes(&self) -> u64 {
        match &self.stored {
            Stored::Memory(_) => 0,
            Stored::File { place, .. } => place.bytes().unwrap_or(0) as u64,
            #[cfg(feature = "arrow")]
            Stored::Table(table) => table.bytes(),
        }
    }

    /// An empty vector of the type that elements are read as.
    pub(crate) fn empty(&self) -> Data {
        match &self.stored {
            Stored::Memory(data) => data.part(0..0),
            Stored::File { place, .. } => place.kind.empty(),
            #[cfg(feature = "arrow")]
            Stored::Table(table) => table.empty(),
        }
    }

    /// True for text, where whole numbers may be scores.
    pub(crate) fn is_text(&self) -> bool {
        self.header.is_some()
    }

    /// Reads a range of elements into `data`, whose memory is reused.
    pub(crate) fn read(&mut self, range: Range<usize>, data: &mut Data) -> Outcome<()> {
        if let Stored::Memory(all) = &self.stored {
            *data = all.part(range);
            return Ok(());
        }
        let empty = self.empty();
        if !data.has_type_of(&empty) {
            *data = empty;
        }
        self.read_file(range, data, Keep::Nothing)
    }

    /// The whole array. A long one shows a bar on a terminal.
    pub(crate) fn read_all(mut self) -> Outcome<Array> {
        if let Stored::Memory(data) = self.stored {
            return Ok(Array { shape: self.shape, data });
        }
        let (count, mut data) = (self.len(), self.empty());
        let bytes = self.bytes();
        let too_large = |_| Failure::file(&self.path, format!("{bytes} bytes do not fit in memory"));
        data.reserve(count).map_err(too_large)?;
        let bar = progress::bytes(bytes, &format!("reading {}", self.path.display()));
        let piece = PIECE / data.element_bytes();
        for start in (0..count).step_by(piece) {
            let end = (start + piece).min(count);
            self.read_file(start..end, &mut data, Keep::All)?;
            bar.set_position((u128::from(bytes) * end as u128 / count as u128) as u64);
        }
        bar.finish_and_clear();
        Ok(Array { shape: self.shape, data })
    }

    /// Reads a range of elements of a file. They are appended to `data` or replace its elements, as `keep` says.
    fn read_file(&mut self, range: Range<usize>, data: &mut Data, keep: Keep) -> Outcome<()> {
        let (bytes, place, scratch) = match &mut self.stored {
            Stored::File { bytes, place, scratch } => (bytes, place, scratch),
            #[cfg(feature = "arrow")]
            Stored::Table(table) => {
                if keep == Keep::Nothing {
                    data.clear();
                }
                return table.append(range, data);
            }
            Stored::Memory(_) => return Ok(()),
        };
        let size = place.kind.bytes();
        let fail = |error: std::io::Error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                let message = "the file was cut while it was read: expected elements";
                Failure::file(&self.path, format!("{message} {} to {}, it ends before", range.start, range.end))
            }
            _ => Failure::file(&self.path, error),
        };
        let first = place.start + (range.start * size) as u64;
        let no_memory = |_| Failure::file(&self.path, format!("{} elements do not fit in memory", range.len()));
        if let Some(own) = data.room_for(range.len(), place.kind, place.big_endian, keep).map_err(no_memory)? {
            return bytes.read_exact_at(own, first).map_err(fail);
        }
        scratch.try_reserve((range.len() * size).saturating_sub(scratch.len())).map_err(no_memory)?;
        scratch.resize(range.len() * size, 0);
        bytes.read_exact_at(scratch, first).map_err(fail)?;
        if keep == Keep::Nothing {
            data.clear();
        }
        data.append(place.kind.decode(scratch, place.big_endian));
        Ok(())
    }
}

/// What a gzip file begins with.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// A pipe can be read only once.
fn check_first_reading(path: &Path) -> Outcome<()> {
    static READ: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if read.iter().any(|other| other == path) {
        return Err(Failure::usage(format!("{}: a pipe can be read only once", path.display())));
    }
    read.push(path.into());
    Ok(())
}

/// What comes through a pipe has no extension to tell its format.
fn check_is_text(path: &Path, bytes: &[u8]) -> Outcome<()> {
    for (magic, format) in [(&b"PK\x03\x04"[..], ".npz"), (b"PAR1", ".parquet"), (b"ARROW1", ".arrow")] {
        if bytes.starts_with(magic) {
            let message = format!("a pipe can hold .npy, .csv and .tsv, which are read in one go, but not {format}");
            return Err(Failure::file(path, message));
        }
    }
    Ok(())
}

/// Texts as places among `known` classes, if these hold all of them, or among the sorted texts; and those classes.
///
/// # Errors
/// Some of the texts are known classes, and others are not: neither order would be right.
fn class_indices(path: &Path, texts: &[String], known: &[String]) -> Outcome<(Vec<i64>, Vec<String>)> {
    let place_in = |classes: &[&String]| -> Option<Vec<i64>> {
        let mut places: Vec<(&String, i64)> = classes.iter().copied().zip(0..).collect();
        places.sort_unstable();
        let place = |text: &String| places.binary_search_by_key(&text, |(class, _)| class).ok().map(|at| places[at].1);
        texts.iter().map(place).collect()
    };
    let known: Vec<&String> = known.iter().collect();
    if let Some(indices) = place_in(&known) {
        return Ok((indices, known.into_iter().cloned().collect()));
    }
    let mut own: Vec<&String> = texts.iter().collect();
    own.sort_unstable();
    own.dedup();
    if own.iter().any(|class| known.contains(class))
        && let Some(other) = own.iter().find(|class| !known.contains(class))
    {
        let near = suggestion(other, &known);
        let message = format!("targets: the class {other:?} is not among {}, as others are{near}", listed(&known));
        return Err(Failure::file(path, message));
    }
    Ok((place_in(&own).unwrap_or_default(), own.into_iter().cloned().collect()))
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => (bytes, offset) = (&mut bytes[count..], offset + count as u64),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use npyz::WriterBuilder;

    use super::*;

    #[test]
    fn a_file_that_is_cut_while_it_is_read_is_an_error_with_the_place() {
        let mut file = tempfile::Builder::new().suffix(".npy").tempfile().unwrap();
        let mut header = Vec::new();
        let options = npyz::WriteOptions::<f32>::new().default_dtype().shape(&[1000]);
        options.writer(&mut header).begin_nd().map(drop).unwrap();
        std::io::Write::write_all(&mut file, &header).unwrap();
        file.as_file().set_len(header.len() as u64 + 4000).unwrap();
        let mut source = Source::open(file.path(), TextOptions::default()).unwrap();
        let mut data = source.empty();
        source.read(0..600, &mut data).unwrap();
        assert_eq!(data, Data::F32(vec![0.0; 600]));
        file.as_file().set_len(header.len() as u64 + 2402).unwrap();
        let failure = source.read(600..1000, &mut data).unwrap_err();
        let text = format!("{failure:?}");
        assert!(text.contains("cut while it was read") && text.contains("600 to 1000"), "{text}");
    }
}
