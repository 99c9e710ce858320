//! Parquet files.

use std::fs::File;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;

use super::Batches;

pub(super) struct Parquet {
    file: File,
    metadata: ArrowReaderMetadata,
    rows: usize,
    chosen: ProjectionMask,
    reader: Option<ParquetRecordBatchReader>,
}

impl Parquet {
    pub(super) fn open(file: File) -> Result<Self, ParquetError> {
        let metadata = ArrowReaderMetadata::load(&file, Default::default())?;
        let rows = metadata.metadata().file_metadata().num_rows();
        let rows = usize::try_from(rows).map_err(|_| ParquetError::General(format!("a file of {rows} rows")))?;
        Ok(Self { file, metadata, rows, chosen: ProjectionMask::all(), reader: None })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.metadata.schema().clone()
    }

    /// Reads only the columns at these places.
    pub(super) fn choose(self, places: &[usize]) -> Self {
        let chosen = ProjectionMask::roots(self.metadata.parquet_schema(), places.iter().copied());
        Self { chosen, ..self }
    }
}

impl Batches for Parquet {
    fn rows(&self) -> usize {
        self.rows
    }

    fn seek(&mut self, row: usize, most_rows: usize) -> Result<usize, ArrowError> {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.try_clone()?, self.metadata.clone());
        let builder = builder.with_projection(self.chosen.clone()).with_batch_size(most_rows).with_offset(row);
        self.reader = Some(builder.build()?);
        Ok(row)
    }

    fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        self.reader.as_mut()?.next()
    }
}
