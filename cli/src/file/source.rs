//! An array in a file, read part by part, so that it need not fit in memory.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::elements::{Array, Data, Keep, StoredAt, elements};
#[cfg(feature = "arrow")]
use super::table::Table;
use super::{bar, csv, npy, safetensors};
use crate::failure::{Failure, Outcome};

const PIECE: usize = 8 << 20;

#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    shape: Vec<usize>,
    stored: Stored,
}

#[derive(Debug)]
enum Stored {
    /// Arrays that cannot be read part by part: text, and matrices in column-major order.
    Memory(Data),
    File {
        /// Read at offsets, so that several readers do not share a position.
        file: Arc<File>,
        place: StoredAt,
        scratch: Vec<u8>,
    },
    #[cfg(feature = "arrow")]
    Table(Table),
}

/// Extensions of tables: Parquet and Arrow IPC.
const TABLES: [&str; 4] = [".parquet", ".arrow", ".feather", ".ipc"];

/// Splits `FILE:NAME` where FILE has this extension.
fn split(argument: &Path, extension: &str) -> Option<(PathBuf, String)> {
    let text = argument.to_string_lossy();
    let at = text.rfind(&format!("{extension}:"))? + extension.len();
    Some((PathBuf::from(&text[..at]), text[at + 1..].to_owned()))
}

/// The file that an argument names, without the name of an array in it.
pub(super) fn file_of(argument: &Path) -> PathBuf {
    let mut extensions = [".safetensors", ".csv"].into_iter().chain(TABLES);
    extensions.find_map(|extension| split(argument, extension)).map_or(argument.into(), |(path, _)| path)
}

impl Source {
    pub(crate) fn open(argument: &Path) -> Outcome<Self> {
        let text = argument.to_string_lossy();
        let split = |extension| split(argument, extension);
        if let Some((path, tensor)) = split(".safetensors") {
            let (file, place) = safetensors::open(&path, &tensor)?;
            return Ok(Self::in_file(path, file, place));
        }
        if let Some((path, columns)) = split(".csv") {
            let Array { shape, data } = csv::read(&path, &columns)?;
            return Ok(Self { path, shape, stored: Stored::Memory(data) });
        }
        for extension in TABLES {
            if let Some((path, columns)) = split(extension) {
                return Self::in_table(path, extension, &columns);
            }
        }
        match argument.extension().and_then(|e| e.to_str()) {
            Some("npy") => {
                let (file, place, in_rows) = npy::open(argument)?;
                let source = Self::in_file(argument.into(), file, place);
                if !in_rows {
                    let Array { shape, data } = source.read_all()?;
                    let data = data.transposed(&shape);
                    return Ok(Self { path: argument.into(), shape, stored: Stored::Memory(data) });
                }
                Ok(source)
            }
            Some("safetensors") => Err(Failure::usage(format!("{text}: name the tensor, as {text}:TENSOR"))),
            Some("csv" | "parquet" | "arrow" | "feather" | "ipc") => {
                Err(Failure::usage(format!("{text}: name the columns, as {text}:COLUMN[,COLUMN]")))
            }
            _ => Err(Failure::usage(format!(
                "{text}: expected .npy, .safetensors:TENSOR, or .csv, .parquet or .arrow with :COLUMN[,COLUMN]"
            ))),
        }
    }

    #[cfg(feature = "arrow")]
    fn in_table(path: PathBuf, extension: &str, columns: &str) -> Outcome<Self> {
        let table = match extension {
            ".parquet" => Table::parquet(&path, columns)?,
            _ => Table::ipc(&path, columns)?,
        };
        Ok(Self { path, shape: table.shape().to_vec(), stored: Stored::Table(table) })
    }

    #[cfg(not(feature = "arrow"))]
    fn in_table(path: PathBuf, extension: &str, _: &str) -> Outcome<Self> {
        let message = "this program was built without tables; build it with --features arrow to read";
        Err(Failure::usage(format!("{}: {message} {extension}", path.display())))
    }

    fn in_file(path: PathBuf, file: File, place: StoredAt) -> Self {
        Self {
            path,
            shape: place.shape.clone(),
            stored: Stored::File { file: Arc::new(file), place, scratch: Vec::new() },
        }
    }

    /// A second reader of the same array, for another thread; `None` where the array is read in one go.
    pub(crate) fn another(&self) -> Option<Self> {
        let Stored::File { file, place, .. } = &self.stored else { return None };
        let stored = Stored::File { file: file.clone(), place: place.clone(), scratch: Vec::new() };
        Some(Self { path: self.path.clone(), shape: self.shape.clone(), stored })
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
        self.path.extension().is_some_and(|extension| extension == "csv")
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
        let bar = bar(bytes, &self.path.display().to_string());
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
        let (file, place, scratch) = match &mut self.stored {
            Stored::File { file, place, scratch } => (file, place, scratch),
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
        if let Some(own) = data.room_for(range.len(), place.kind, place.big_endian, keep) {
            return read_exact_at(file, own, first).map_err(fail);
        }
        scratch.resize(range.len() * size, 0);
        read_exact_at(file, scratch, first).map_err(fail)?;
        if keep == Keep::Nothing {
            data.clear();
        }
        data.append(place.kind.decode(scratch, place.big_endian));
        Ok(())
    }
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
        let mut source = Source::open(file.path()).unwrap();
        let mut data = source.empty();
        source.read(0..600, &mut data).unwrap();
        assert_eq!(data, Data::F32(vec![0.0; 600]));
        file.as_file().set_len(header.len() as u64 + 2402).unwrap();
        let failure = source.read(600..1000, &mut data).unwrap_err();
        let text = format!("{failure:?}");
        assert!(text.contains("cut while it was read") && text.contains("600 to 1000"), "{text}");
    }
}
