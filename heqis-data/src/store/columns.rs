//! Rows ↔ the columns of a Parquet row group.
//!
//! Files are written with the column writers of the `parquet` crate, without Arrow, since twenty flat columns need no second
//! memory layout. Any Parquet reader can open them.

use std::ops::Range;
use std::sync::Arc;

use heqis_quant::label::Direction;
use heqis_quant::{Bar, Date, Marks, Symbol};
use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::RowGroupReader;
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::rows::{NextBar, Rows};

/// Names of the columns of every data set, in order; the features follow.
pub(crate) const FIXED: [&str; 14] = [
    "symbol",
    "date",
    "time_ns",
    "open",
    "high",
    "low",
    "close",
    "pre_close",
    "volume_shares",
    "amount_cny",
    "marks",
    "next_date",
    "next_return",
    "direction",
];
const SYMBOL: usize = 0;
const DATE: usize = 1;

/// Rows of one data page, the unit of decoding.
const PAGE_ROWS: usize = 4096;

/// Returns the schema of a file.
///
/// # Errors
///
/// The error of the `parquet` crate for an invalid name.
pub fn schema(features: &[String]) -> Result<TypePtr> {
    let column = |name: &str, physical: Physical, logical, required: bool| -> Result<TypePtr> {
        let repetition = match required {
            true => Repetition::REQUIRED,
            false => Repetition::OPTIONAL,
        };
        let column = Type::primitive_type_builder(name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical);
        Ok(Arc::new(column.build()?))
    };
    let time = LogicalType::timestamp(true, TimeUnit::NANOS);
    let small = || Some(LogicalType::integer(8, false));
    let (text, date) = (Some(LogicalType::String), || Some(LogicalType::Date));
    let mut columns = vec![
        column(FIXED[0], Physical::BYTE_ARRAY, text, true)?,
        column(FIXED[1], Physical::INT32, date(), true)?,
        column(FIXED[2], Physical::INT64, Some(time), true)?,
        column(FIXED[3], Physical::DOUBLE, None, true)?,
        column(FIXED[4], Physical::DOUBLE, None, true)?,
        column(FIXED[5], Physical::DOUBLE, None, true)?,
        column(FIXED[6], Physical::DOUBLE, None, true)?,
        column(FIXED[7], Physical::DOUBLE, None, false)?,
        column(FIXED[8], Physical::DOUBLE, None, true)?,
        column(FIXED[9], Physical::DOUBLE, None, false)?,
        column(FIXED[10], Physical::INT32, small(), true)?,
        column(FIXED[11], Physical::INT32, date(), false)?,
        column(FIXED[12], Physical::DOUBLE, None, false)?,
        column(FIXED[13], Physical::INT32, small(), false)?,
    ];
    for name in features {
        columns.push(column(name, Physical::DOUBLE, None, false)?);
    }
    let message = Type::group_type_builder("bars").with_fields(columns);
    Ok(Arc::new(message.build()?))
}

/// Returns the properties of files: Snappy compression, which needs no C library; dictionaries only for columns with
/// repeated values; statistics only for symbol and date, the columns that rows are searched by.
#[must_use]
pub fn properties() -> WriterProperties {
    let plain = |name: &str| ColumnPath::from(name);
    let sorted = |column_idx| SortingColumn {
        column_idx,
        descending: false,
        nulls_first: false,
    };
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_sorting_columns(Some(vec![sorted(0), sorted(2)]))
        .set_column_statistics_enabled(plain("symbol"), EnabledStatistics::Page)
        .set_column_statistics_enabled(plain("date"), EnabledStatistics::Page);
    for name in ["symbol", "date", "marks", "next_date", "direction"] {
        properties = properties.set_column_dictionary_enabled(plain(name), true);
    }
    properties
        .set_column_encoding(plain("time_ns"), Encoding::DELTA_BINARY_PACKED)
        .build()
}

/// Writes all rows as one row group.
///
/// # Errors
///
/// The error of the `parquet` crate when the file cannot be written.
pub fn write<W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &Rows,
) -> Result<()> {
    let bars = rows.bars();
    let mut index = 0;
    let mut doubles = Vec::with_capacity(rows.len());
    let mut levels = Vec::with_capacity(rows.len());
    while let Some(mut column) = group.next_column()? {
        match column.untyped() {
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                let symbols: Vec<ByteArray> = bars
                    .iter()
                    .map(|bar| ByteArray::from(bar.symbol.as_str()))
                    .collect();
                writer.write_batch(&symbols, None, None)?;
            }
            ColumnWriter::Int64ColumnWriter(writer) => {
                let times: Vec<i64> = bars.iter().map(|bar| bar.time_ns).collect();
                writer.write_batch(&times, None, None)?;
            }
            ColumnWriter::Int32ColumnWriter(writer) => {
                let whole: Vec<Option<i32>> = match index {
                    DATE => bars.iter().map(|bar| Some(bar.date.days())).collect(),
                    10 => bars
                        .iter()
                        .map(|bar| Some(bar.marks.bits().into()))
                        .collect(),
                    11 => rows
                        .next()
                        .iter()
                        .map(|next| Some(next.as_ref()?.date.days()))
                        .collect(),
                    _ => rows
                        .next()
                        .iter()
                        .map(|next| Some(next.as_ref()?.direction.class() as i32))
                        .collect(),
                };
                levels.clear();
                levels.extend(whole.iter().map(|value| i16::from(value.is_some())));
                let present: Vec<i32> = whole.into_iter().flatten().collect();
                let required = matches!(index, DATE | 10);
                writer.write_batch(&present, (!required).then_some(&levels[..]), None)?;
            }
            ColumnWriter::DoubleColumnWriter(writer) => {
                doubles.clear();
                levels.clear();
                let mut put = |value: Option<f64>| {
                    levels.push(i16::from(value.is_some()));
                    doubles.extend(value);
                };
                for (row, bar) in bars.iter().enumerate() {
                    put(match index {
                        3 => Some(bar.open),
                        4 => Some(bar.high),
                        5 => Some(bar.low),
                        6 => Some(bar.close),
                        7 => bar.pre_close,
                        8 => Some(bar.volume_shares),
                        9 => bar.amount_cny,
                        12 => rows.next()[row].map(|next| next.next_return),
                        feature => rows
                            .features(row)
                            .map(|values| values[feature - FIXED.len()]),
                    });
                }
                let required = matches!(index, 3..=6 | 8);
                writer.write_batch(&doubles, (!required).then_some(&levels[..]), None)?;
            }
            _ => {
                return Err(ParquetError::General(format!(
                    "column {index} has no writer"
                )));
            }
        }
        column.close()?;
        index += 1;
    }
    Ok(())
}

/// The columns to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Bars and labels, without features.
    Bars,
    /// All columns.
    All,
}

/// Returns the symbol of each row of a row group.
///
/// # Errors
///
/// The error of the `parquet` crate for a damaged file.
pub fn symbols(group: &dyn RowGroupReader) -> Result<Vec<ByteArray>> {
    let len = group.metadata().num_rows().max(0) as usize;
    let ColumnReader::ByteArrayColumnReader(reader) = group.get_column_reader(SYMBOL)? else {
        return Err(damaged("symbol"));
    };
    required(reader, "symbol", &whole(len))
}

/// Returns the date of each row of a row group, in days since 1970-01-01.
///
/// # Errors
///
/// As [`symbols`].
pub fn days(group: &dyn RowGroupReader) -> Result<Vec<i32>> {
    let len = group.metadata().num_rows().max(0) as usize;
    let ColumnReader::Int32ColumnReader(reader) = group.get_column_reader(DATE)? else {
        return Err(damaged("date"));
    };
    required(reader, "date", &whole(len))
}

/// Reads ranges of rows of a row group, given in ascending order.
///
/// # Errors
///
/// The error of the `parquet` crate for a damaged file, and an error with the column for an invalid value.
pub fn read(
    group: &dyn RowGroupReader,
    ranges: &[Range<usize>],
    columns: Columns,
    feature_count: usize,
) -> Result<Rows> {
    let doubles = |index: usize| -> Result<Vec<f64>> {
        let ColumnReader::DoubleColumnReader(reader) = group.get_column_reader(index)? else {
            return Err(damaged(FIXED[index]));
        };
        required(reader, FIXED[index], ranges)
    };
    let maybe_doubles = |index: usize| -> Result<Vec<Option<f64>>> {
        let name = FIXED.get(index).copied().unwrap_or("feature");
        let ColumnReader::DoubleColumnReader(reader) = group.get_column_reader(index)? else {
            return Err(damaged(name));
        };
        optional(reader, name, ranges)
    };
    let maybe_whole = |index: usize| -> Result<Vec<Option<i32>>> {
        let ColumnReader::Int32ColumnReader(reader) = group.get_column_reader(index)? else {
            return Err(damaged(FIXED[index]));
        };
        optional(reader, FIXED[index], ranges)
    };
    let ColumnReader::ByteArrayColumnReader(reader) = group.get_column_reader(SYMBOL)? else {
        return Err(damaged("symbol"));
    };
    let symbols = required(reader, "symbol", ranges)?;
    let ColumnReader::Int64ColumnReader(reader) = group.get_column_reader(2)? else {
        return Err(damaged("time_ns"));
    };
    let times = required(reader, "time_ns", ranges)?;
    let ColumnReader::Int32ColumnReader(reader) = group.get_column_reader(DATE)? else {
        return Err(damaged("date"));
    };
    let dates = required(reader, "date", ranges)?;
    let ColumnReader::Int32ColumnReader(reader) = group.get_column_reader(10)? else {
        return Err(damaged("marks"));
    };
    let marks = required(reader, "marks", ranges)?;
    let (open, high, low, close) = (doubles(3)?, doubles(4)?, doubles(5)?, doubles(6)?);
    let (pre_close, volume, amount) = (maybe_doubles(7)?, doubles(8)?, maybe_doubles(9)?);
    let (next_date, next_return) = (maybe_whole(11)?, maybe_doubles(12)?);
    let direction = maybe_whole(13)?;
    let feature_count = match columns {
        Columns::Bars => 0,
        Columns::All => feature_count,
    };
    let (matrix, known) = features(group, ranges, symbols.len(), feature_count)?;

    let mut rows = Rows::new(feature_count);
    let mut last: Option<(&ByteArray, Symbol)> = None;
    for row in 0..symbols.len() {
        let symbol = match last {
            Some((name, symbol)) if *name == symbols[row] => symbol,
            _ => symbol_of(&symbols[row])?,
        };
        last = Some((&symbols[row], symbol));
        let next = match (next_date[row], next_return[row], direction[row]) {
            (Some(days), Some(next_return), Some(class)) => Some(NextBar {
                date: date_of(days)?,
                next_return,
                direction: direction_of(class)?,
            }),
            _ => None,
        };
        let bar = Bar {
            symbol,
            time_ns: times[row],
            date: date_of(dates[row])?,
            open: open[row],
            high: high[row],
            low: low[row],
            close: close[row],
            pre_close: pre_close[row],
            volume_shares: volume[row],
            amount_cny: amount[row],
            marks: u16::try_from(marks[row])
                .ok()
                .and_then(Marks::from_bits)
                .ok_or_else(|| damaged("marks"))?,
        };
        let values = &matrix[row * feature_count..(row + 1) * feature_count];
        rows.push(bar, known[row].then_some(values), next);
    }
    Ok(rows)
}

/// Reads the features as a row-major matrix `[len, feature_count]`, and returns which rows have them.
///
/// All columns share one pair of buffers: a market has many row groups, and new allocations cause page faults.
fn features(
    group: &dyn RowGroupReader,
    ranges: &[Range<usize>],
    len: usize,
    feature_count: usize,
) -> Result<(Vec<f64>, Vec<bool>)> {
    let mut matrix = vec![0.0; len * feature_count];
    let mut known = vec![feature_count > 0; len];
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    for feature in 0..feature_count {
        let index = FIXED.len() + feature;
        let ColumnReader::DoubleColumnReader(mut reader) = group.get_column_reader(index)? else {
            return Err(damaged("feature"));
        };
        values.clear();
        levels.clear();
        each(&mut reader, "feature", ranges, |reader, len| {
            let read = reader.read_records(len, Some(&mut levels), None, &mut values)?;
            Ok(read.0)
        })?;
        let mut present = values.iter();
        for (row, level) in levels.iter().enumerate() {
            if *level == 0 {
                known[row] = false;
            } else {
                let value = present.next().ok_or_else(|| damaged("feature"))?;
                matrix[row * feature_count + feature] = *value;
            }
        }
    }
    Ok((matrix, known))
}

/// Parses the symbol of a cell.
///
/// # Errors
///
/// An error with the column when the text is not a symbol.
pub(crate) fn symbol_of(cell: &ByteArray) -> Result<Symbol> {
    cell.as_utf8()
        .ok()
        .and_then(|name| Symbol::parse(name).ok())
        .ok_or_else(|| damaged("symbol"))
}

fn date_of(days: i32) -> Result<Date> {
    Date::from_days(days).ok_or_else(|| damaged("date"))
}

fn direction_of(class: i32) -> Result<Direction> {
    [Direction::Down, Direction::Flat, Direction::Up]
        .into_iter()
        .find(|direction| direction.class() as i32 == class)
        .ok_or_else(|| damaged("direction"))
}

fn damaged(column: &str) -> ParquetError {
    ParquetError::General(format!(
        "column {column} has values that are invalid in a data set"
    ))
}

fn whole(len: usize) -> [Range<usize>; 1] {
    std::array::from_fn(|_| 0..len)
}

/// Reads ranges of a column without nulls.
fn required<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    name: &str,
    ranges: &[Range<usize>],
) -> Result<Vec<T::T>> {
    let mut values = Vec::with_capacity(ranges.iter().map(ExactSizeIterator::len).sum());
    each(&mut reader, name, ranges, |reader, len| {
        Ok(reader.read_records(len, None, None, &mut values)?.0)
    })?;
    Ok(values)
}

/// Reads ranges of a column with nulls.
fn optional<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    name: &str,
    ranges: &[Range<usize>],
) -> Result<Vec<Option<T::T>>> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    each(&mut reader, name, ranges, |reader, len| {
        Ok(reader
            .read_records(len, Some(&mut levels), None, &mut values)?
            .0)
    })?;
    let mut values = values.into_iter();
    Ok(levels
        .into_iter()
        .map(|level| if level > 0 { values.next() } else { None })
        .collect())
}

/// Reads ranges of a column and skips the rows between them, page by page.
fn each<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    name: &str,
    ranges: &[Range<usize>],
    mut read: impl FnMut(&mut ColumnReaderImpl<T>, usize) -> Result<usize>,
) -> Result<()> {
    let mut at = 0;
    for range in ranges {
        while at < range.start {
            match reader.skip_records(range.start - at)? {
                0 => return Err(damaged(name)),
                skipped => at += skipped,
            }
        }
        while at < range.end {
            match read(reader, range.end - at)? {
                0 => return Err(damaged(name)),
                got => at += got,
            }
        }
    }
    Ok(())
}
