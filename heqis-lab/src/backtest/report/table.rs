//! One table, written as CSV for people and as Parquet for programs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use heqis_quant::Date;
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};

use crate::error::LabError;

/// The values of one column; a value that is not there is an empty cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Text.
    Text(Vec<String>),
    /// Days.
    Days(Vec<Date>),
    /// Whole numbers: cents and shares.
    Whole(Vec<Option<i64>>),
    /// Numbers, written so that they read back as the same bits.
    Numbers(Vec<Option<f64>>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Text(values) => values.len(),
            Self::Days(values) => values.len(),
            Self::Whole(values) => values.len(),
            Self::Numbers(values) => values.len(),
        }
    }

    fn cell(&self, row: usize) -> String {
        match self {
            Self::Text(values) => values[row].clone(),
            Self::Days(values) => values[row].to_string(),
            Self::Whole(values) => values[row].map_or(String::new(), |value| value.to_string()),
            Self::Numbers(values) => values[row].map_or(String::new(), |value| value.to_string()),
        }
    }
}

/// A table of named columns of one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    columns: Vec<(&'static str, Values)>,
}

impl Table {
    /// Makes a table without columns.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column.
    ///
    /// # Panics
    /// Panics when the column has another length than the ones before.
    #[must_use]
    pub fn with(mut self, name: &'static str, values: Values) -> Self {
        if let Some((_, first)) = self.columns.first() {
            assert_eq!(first.len(), values.len(), "rows of {name}");
        }
        self.columns.push((name, values));
        self
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, values)| values.len())
    }

    /// Writes `DIR/NAME.csv` and `DIR/NAME.parquet`.
    ///
    /// # Errors
    /// [`LabError::File`] and [`LabError::Parquet`] when a file cannot be written.
    pub fn save(&self, dir: &Path, name: &str) -> std::result::Result<(), LabError> {
        let path = dir.join(name).with_extension("csv");
        File::create(&path)
            .and_then(|file| self.csv(file))
            .map_err(|e| LabError::file(&path, e))?;
        let path = dir.join(name).with_extension("parquet");
        let file = File::create(&path).map_err(|e| LabError::file(&path, e))?;
        self.parquet(name, file)
            .map_err(|e| LabError::parquet(&path, e))
    }

    pub(crate) fn csv(&self, to: impl Write) -> std::io::Result<()> {
        let mut writer = csv::Writer::from_writer(to);
        writer.write_record(self.columns.iter().map(|(name, _)| name))?;
        for row in 0..self.rows() {
            writer.write_record(self.columns.iter().map(|(_, values)| values.cell(row)))?;
        }
        writer.flush()
    }

    fn schema(&self, name: &str) -> Result<TypePtr> {
        let columns = self.columns.iter().map(|(name, values)| {
            let (physical, logical, repetition) = match values {
                Values::Text(_) => (
                    Physical::BYTE_ARRAY,
                    Some(LogicalType::String),
                    Repetition::REQUIRED,
                ),
                Values::Days(_) => (
                    Physical::INT32,
                    Some(LogicalType::Date),
                    Repetition::REQUIRED,
                ),
                Values::Whole(_) => (Physical::INT64, None, Repetition::OPTIONAL),
                Values::Numbers(_) => (Physical::DOUBLE, None, Repetition::OPTIONAL),
            };
            let column = Type::primitive_type_builder(name, physical)
                .with_repetition(repetition)
                .with_logical_type(logical);
            Ok(Arc::new(column.build()?))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let message = Type::group_type_builder(name).with_fields(columns);
        Ok(Arc::new(message.build()?))
    }

    pub(crate) fn parquet(&self, name: &str, file: File) -> Result<()> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .build();
        let mut file = SerializedFileWriter::new(
            BufWriter::new(file),
            self.schema(name)?,
            Arc::new(properties),
        )?;
        let mut group = file.next_row_group()?;
        let mut columns = self.columns.iter();
        while let (Some(mut column), Some((name, values))) = (group.next_column()?, columns.next())
        {
            match (column.untyped(), values) {
                (ColumnWriter::ByteArrayColumnWriter(writer), Values::Text(values)) => {
                    let texts: Vec<ByteArray> = values
                        .iter()
                        .map(|text| ByteArray::from(text.as_str()))
                        .collect();
                    writer.write_batch(&texts, None, None)?;
                }
                (ColumnWriter::Int32ColumnWriter(writer), Values::Days(values)) => {
                    let days: Vec<i32> = values.iter().map(|date| date.days()).collect();
                    writer.write_batch(&days, None, None)?;
                }
                (ColumnWriter::Int64ColumnWriter(writer), Values::Whole(values)) => {
                    let (present, levels) = split(values);
                    writer.write_batch(&present, Some(&levels), None)?;
                }
                (ColumnWriter::DoubleColumnWriter(writer), Values::Numbers(values)) => {
                    let (present, levels) = split(values);
                    writer.write_batch(&present, Some(&levels), None)?;
                }
                _ => {
                    let message = format!("column {name} has no writer");
                    return Err(ParquetError::General(message));
                }
            }
            column.close()?;
        }
        group.close()?;
        file.close()?;
        Ok(())
    }
}

/// The values that are there, and for each row whether it has one.
fn split<T: Copy>(values: &[Option<T>]) -> (Vec<T>, Vec<i16>) {
    let levels = values.iter().map(|value| i16::from(value.is_some()));
    (values.iter().flatten().copied().collect(), levels.collect())
}
