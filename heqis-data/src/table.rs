//! A table, written as CSV for people and as Parquet for programs.

use std::fs::File;
use std::io::Write;
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

use crate::error::DataError;

/// Number of rows of a column that are written at once: many pages, but a small part of a large table. A multiple of the
/// writer's own batch, so that it does not change the bytes.
const BATCH: usize = 8 * 1024;

/// Computes the value of a column in a row.
type Cells<'a, T> = Box<dyn Fn(usize) -> T + 'a>;

/// The values of one column, computed while they are written, since the table of a market has millions of rows. A missing
/// value is an empty cell.
pub enum Values<'a> {
    /// Text.
    Text(Cells<'a, String>),
    /// Days.
    Days(Cells<'a, Date>),
    /// Integers: cents and shares.
    Whole(Cells<'a, Option<i64>>),
    /// Floating-point numbers, written so that reading returns the same bits.
    Numbers(Cells<'a, Option<f64>>),
}

impl<'a> Values<'a> {
    /// A column of text.
    pub fn text<T>(rows: &'a [T], value: impl Fn(&T) -> String + 'a) -> Self {
        Self::Text(Box::new(move |row| value(&rows[row])))
    }

    /// A column of days.
    pub fn days<T>(rows: &'a [T], value: impl Fn(&T) -> Date + 'a) -> Self {
        Self::Days(Box::new(move |row| value(&rows[row])))
    }

    /// A column of integers.
    pub fn whole<T>(rows: &'a [T], value: impl Fn(&T) -> Option<i64> + 'a) -> Self {
        Self::Whole(Box::new(move |row| value(&rows[row])))
    }

    /// A column of floating-point numbers.
    pub fn numbers<T>(rows: &'a [T], value: impl Fn(&T) -> Option<f64> + 'a) -> Self {
        Self::Numbers(Box::new(move |row| value(&rows[row])))
    }

    fn cell(&self, row: usize) -> String {
        match self {
            Self::Text(value) => value(row),
            Self::Days(value) => value(row).to_string(),
            Self::Whole(value) => value(row).map_or(String::new(), |value| value.to_string()),
            Self::Numbers(value) => value(row).map_or(String::new(), |value| value.to_string()),
        }
    }
}

/// A table of named columns.
pub struct Table<'a> {
    rows: usize,
    columns: Vec<(&'static str, Values<'a>)>,
}

impl std::fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        let mut shown = f.debug_struct("Table");
        shown.field("rows", &self.rows).field("columns", &names);
        shown.finish()
    }
}

impl<'a> Table<'a> {
    /// Creates a table without columns.
    #[must_use]
    pub fn new(rows: usize) -> Self {
        let columns = Vec::new();
        Self { rows, columns }
    }

    /// Adds a column, which has a value for every row.
    #[must_use]
    pub fn with(mut self, name: &'static str, values: Values<'a>) -> Self {
        self.columns.push((name, values));
        self
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Writes `DIR/NAME.csv` and `DIR/NAME.parquet`.
    ///
    /// # Errors
    /// [`DataError::File`] and [`DataError::Parquet`] when a file cannot be written.
    pub fn save(&self, dir: &Path, name: &str) -> std::result::Result<(), DataError> {
        let path = dir.join(name).with_extension("csv");
        File::create(&path)
            .and_then(|file| self.csv(file))
            .map_err(|e| DataError::file(&path, e))?;
        let path = dir.join(name).with_extension("parquet");
        let file = File::create(&path).map_err(|e| DataError::file(&path, e))?;
        self.parquet(name, file)
            .map_err(|e| DataError::parquet(&path, e))
    }

    pub(crate) fn csv(&self, to: impl Write) -> std::io::Result<()> {
        let mut writer = csv::Writer::from_writer(to);
        writer.write_record(self.columns.iter().map(|(name, _)| name))?;
        for row in 0..self.rows {
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

    pub(crate) fn parquet(&self, name: &str, to: impl Write + Send) -> Result<()> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .build();
        let mut file = SerializedFileWriter::new(to, self.schema(name)?, Arc::new(properties))?;
        let mut group = file.next_row_group()?;
        let mut columns = self.columns.iter();
        while let (Some(mut column), Some((name, values))) = (group.next_column()?, columns.next())
        {
            for from in (0..self.rows).step_by(BATCH) {
                let rows = from..self.rows.min(from + BATCH);
                match (column.untyped(), values) {
                    (ColumnWriter::ByteArrayColumnWriter(writer), Values::Text(value)) => {
                        let texts: Vec<ByteArray> = rows
                            .map(|row| ByteArray::from(value(row).into_bytes()))
                            .collect();
                        writer.write_batch(&texts, None, None)?;
                    }
                    (ColumnWriter::Int32ColumnWriter(writer), Values::Days(value)) => {
                        let days: Vec<i32> = rows.map(|row| value(row).days()).collect();
                        writer.write_batch(&days, None, None)?;
                    }
                    (ColumnWriter::Int64ColumnWriter(writer), Values::Whole(value)) => {
                        let (present, levels) = split(rows.map(value));
                        writer.write_batch(&present, Some(&levels), None)?;
                    }
                    (ColumnWriter::DoubleColumnWriter(writer), Values::Numbers(value)) => {
                        let (present, levels) = split(rows.map(value));
                        writer.write_batch(&present, Some(&levels), None)?;
                    }
                    _ => {
                        let message = format!("column {name} has no writer");
                        return Err(ParquetError::General(message));
                    }
                }
            }
            column.close()?;
        }
        group.close()?;
        file.close()?;
        Ok(())
    }
}

/// Returns the values that are present, and the definition level of each row: 1 with a value, 0 without.
fn split<T>(values: impl Iterator<Item = Option<T>>) -> (Vec<T>, Vec<i16>) {
    let mut present = Vec::with_capacity(BATCH);
    let mut levels = Vec::with_capacity(BATCH);
    for value in values {
        levels.push(i16::from(value.is_some()));
        present.extend(value);
    }
    (present, levels)
}
