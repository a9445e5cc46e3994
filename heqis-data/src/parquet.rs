//! Parquet as text: the rows of a flat table, each as one line of CSV. Numbers are written so that they are read with the
//! same bits, and a table means the same in both forms.

use std::fs::File;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use heqis_quant::Date;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::column::page::Page;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;

use crate::bars::is_bar_column;
use crate::error::DataError;

/// Nanoseconds of a day.
const DAY_NS: i64 = 86_400_000_000_000;

/// How a column is written.
#[derive(Clone, Copy)]
enum Form {
    Plain,
    /// A time in units of `unit_ns` nanoseconds; `utc` is whether it is in UTC.
    Time {
        unit_ns: i64,
        utc: bool,
    },
    /// A time of day in units of `unit_ns` nanoseconds.
    Clock {
        unit_ns: i64,
    },
}

/// A Parquet file that reads as CSV.
pub(crate) struct ParquetText {
    rows: RowIter<'static>,
    forms: Vec<Form>,
    text: Vec<u8>,
    read: usize,
}

impl ParquetText {
    pub(crate) fn open(path: &Path, file: File) -> Result<Self, DataError> {
        let fault = |error: parquet::errors::ParquetError| {
            DataError::kind(path, format!("must be a valid Parquet file: {error}"))
        };
        let bytes = file
            .metadata()
            .map_err(|source| DataError::file(path, source))?
            .len();
        let reader = SerializedFileReader::new(file).map_err(fault)?;
        // The `parquet` crate does not check these numbers, and panics.
        let groups = reader.metadata().row_groups().iter();
        let lies_inside = |chunk: &ColumnChunkMetaData| {
            let first = chunk.dictionary_page_offset();
            let from = first.unwrap_or_else(|| chunk.data_page_offset());
            let end = from.checked_add(chunk.compressed_size());
            from >= 0 && chunk.compressed_size() >= 0 && end.is_some_and(|end| end as u64 <= bytes)
        };
        if !groups.flat_map(RowGroupMetaData::columns).all(lies_inside) {
            let rule = "must be a valid Parquet file: a column is outside of it";
            return Err(DataError::kind(path, rule));
        }
        if !dictionaries_fit(&reader) {
            let rule = "must be a valid Parquet file: a dictionary is shorter than it states";
            return Err(DataError::kind(path, rule));
        }
        let schema = reader.metadata().file_metadata().schema().clone();
        let (mut columns, mut forms, mut text) = (Vec::new(), Vec::new(), Vec::new());
        for column in schema.get_fields() {
            let Some(form) = form_of(column) else {
                if is_bar_column(column.name()) {
                    let kind = match column.is_primitive() {
                        true => column.get_physical_type().to_string(),
                        false => "nested".to_owned(),
                    };
                    let rule = format!(
                        "column {} is of the type {kind}, which is not read",
                        column.name()
                    );
                    return Err(DataError::kind(path, rule));
                }
                continue;
            };
            let name = match (column.name(), form) {
                // The name of an unnamed index in pandas.
                ("__index_level_0__", Form::Time { .. }) => "date",
                (name, _) => name,
            };
            if !columns.is_empty() {
                text.push(b',');
            }
            quote(name, &mut text);
            columns.push(Arc::clone(column));
            forms.push(form);
        }
        text.push(b'\n');
        let flat = Type::group_type_builder(schema.name())
            .with_fields(columns)
            .build()
            .map_err(fault)?;
        let rows = RowIter::from_file_into(Box::new(reader))
            .project(Some(flat))
            .map_err(fault)?;
        Ok(Self {
            rows,
            forms,
            text,
            read: 0,
        })
    }

    fn write(&mut self, row: &Row) {
        for (at, ((_, field), form)) in row.get_column_iter().zip(&self.forms).enumerate() {
            if at > 0 {
                self.text.push(b',');
            }
            cell(field, *form, &mut self.text);
        }
        self.text.push(b'\n');
    }
}

impl Read for ParquetText {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.read == self.text.len() {
            self.text.clear();
            self.read = 0;
            while self.text.len() < 1 << 16 {
                // The `parquet` crate panics on some damaged pages; the file is not read any further.
                let next = catch_unwind(AssertUnwindSafe(|| self.rows.next()));
                let damaged = |_| io::Error::other("the Parquet file is damaged");
                match next.map_err(damaged)? {
                    Some(row) => {
                        let row = row.map_err(io::Error::other)?;
                        self.write(&row);
                    }
                    None => break,
                }
            }
        }
        let left = &self.text[self.read..];
        let count = left.len().min(out.len());
        out[..count].copy_from_slice(&left[..count]);
        self.read += count;
        Ok(count)
    }
}

/// Returns whether the dictionary at the beginning of a column has a byte for each of its values. The `parquet` crate
/// allocates memory for the stated number of values, and a damaged number means gigabytes.
fn dictionaries_fit(reader: &SerializedFileReader<File>) -> bool {
    let groups = 0..reader.num_row_groups();
    groups
        .filter_map(|at| reader.get_row_group(at).ok())
        .all(|group| {
            (0..group.num_columns()).all(|column| {
                let pages = group.get_column_page_reader(column);
                // Unreadable pages are refused when their rows are read.
                match pages.and_then(|mut pages| pages.get_next_page()) {
                    Ok(Some(Page::DictionaryPage {
                        buf, num_values, ..
                    })) => num_values as usize <= buf.len(),
                    _ => true,
                }
            })
        })
}

/// Returns the nanoseconds of a unit of time.
fn nanoseconds(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::MILLIS => 1_000_000,
        TimeUnit::MICROS => 1_000,
        TimeUnit::NANOS => 1,
    }
}

fn form_of(column: &Type) -> Option<Form> {
    if !column.is_primitive()
        || column.get_basic_info().repetition() == parquet::basic::Repetition::REPEATED
    {
        return None;
    }
    let info = column.get_basic_info();
    if let Some(LogicalType::Timestamp(time)) = info.logical_type_ref() {
        let unit_ns = nanoseconds(time.unit);
        return Some(Form::Time {
            unit_ns,
            utc: time.is_adjusted_to_u_t_c,
        });
    }
    if let Some(LogicalType::Time(time)) = info.logical_type_ref() {
        let unit_ns = nanoseconds(time.unit);
        return Some(Form::Clock { unit_ns });
    }
    if let Some(LogicalType::Float16) = info.logical_type_ref() {
        return Some(Form::Plain);
    }
    match (column.get_physical_type(), info.converted_type()) {
        (_, ConvertedType::TIMESTAMP_MILLIS) => Some(Form::Time {
            unit_ns: 1_000_000,
            utc: true,
        }),
        (_, ConvertedType::TIMESTAMP_MICROS) => Some(Form::Time {
            unit_ns: 1_000,
            utc: true,
        }),
        // Old writers; the record reader rounds it to milliseconds.
        (Physical::INT96, _) => Some(Form::Time {
            unit_ns: 1_000_000,
            utc: false,
        }),
        (Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE, ConvertedType::NONE)
        | (
            Physical::INT32 | Physical::INT64,
            ConvertedType::NONE
            | ConvertedType::INT_8
            | ConvertedType::INT_16
            | ConvertedType::INT_32
            | ConvertedType::INT_64
            | ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64
            | ConvertedType::DATE,
        )
        | (Physical::BYTE_ARRAY, ConvertedType::UTF8 | ConvertedType::ENUM)
        | (_, ConvertedType::DECIMAL) => Some(Form::Plain),
        _ => None,
    }
}

fn cell(field: &Field, form: Form, text: &mut Vec<u8>) {
    use std::io::Write;
    // Writing to a vector cannot fail.
    let _ = match (field, form) {
        (Field::Null, _) => Ok(()),
        // Missing values of data frames.
        (Field::Double(number), _) if number.is_nan() => Ok(()),
        (Field::Float(number), _) if number.is_nan() => Ok(()),
        (Field::Float16(number), _) if number.is_nan() => Ok(()),
        (Field::TimeMillis(value), Form::Clock { unit_ns }) => {
            write!(text, "{}", clock(i64::from(*value).saturating_mul(unit_ns)))
        }
        (Field::Long(value) | Field::TimeMicros(value), Form::Clock { unit_ns }) => {
            write!(text, "{}", clock(value.saturating_mul(unit_ns)))
        }
        (
            Field::Long(value) | Field::TimestampMillis(value) | Field::TimestampMicros(value),
            Form::Time { unit_ns, utc },
        ) => {
            time(value.checked_mul(unit_ns), utc, text);
            Ok(())
        }
        (Field::Bool(value), _) => write!(text, "{}", u8::from(*value)),
        (Field::Byte(value), _) => write!(text, "{value}"),
        (Field::Short(value), _) => write!(text, "{value}"),
        (Field::Int(value), _) => write!(text, "{value}"),
        (Field::Long(value), _) => write!(text, "{value}"),
        (Field::UByte(value), _) => write!(text, "{value}"),
        (Field::UShort(value), _) => write!(text, "{value}"),
        (Field::UInt(value), _) => write!(text, "{value}"),
        (Field::ULong(value), _) => write!(text, "{value}"),
        // A price in four bytes is the shortest decimal of these bytes.
        (Field::Float(value), _) => write!(text, "{value}"),
        (Field::Double(value), _) => write!(text, "{value}"),
        (Field::Str(value), _) => {
            quote(value, text);
            Ok(())
        }
        (Field::Date(days), _) => match Date::from_days(*days) {
            Some(date) => write!(text, "{date}"),
            None => write!(text, "day {days}"),
        },
        (other, _) => {
            quote(&other.to_string(), text);
            Ok(())
        }
    };
}

/// Returns a time of day.
fn clock(time_ns: i64) -> String {
    let (seconds, ns) = (time_ns / 1_000_000_000, time_ns % 1_000_000_000);
    format!(
        "{:02}:{:02}:{:02}.{ns:09}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Writes a time as a day and a time of day, with a Z if it is in UTC.
fn time(time_ns: Option<i64>, utc: bool, text: &mut Vec<u8>) {
    use std::io::Write;
    let day = time_ns.and_then(|ns| Date::from_days(i32::try_from(ns.div_euclid(DAY_NS)).ok()?));
    let _ = match (day, time_ns) {
        (Some(day), Some(time_ns)) => {
            let zone = if utc { "Z" } else { "" };
            write!(text, "{day} {}{zone}", clock(time_ns.rem_euclid(DAY_NS)))
        }
        _ => write!(text, "outside of the years 1900 to 2199"),
    };
}

/// Writes a text as one cell of one line.
fn quote(value: &str, text: &mut Vec<u8>) {
    text.push(b'"');
    for byte in value.bytes() {
        match byte {
            b'"' => text.extend(b"\"\""),
            b'\n' | b'\r' => text.push(b' '),
            byte => text.push(byte),
        }
    }
    text.push(b'"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use parquet::data_type::DoubleType;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    #[test]
    fn a_dictionary_that_states_more_values_than_it_has_is_refused() {
        let schema = Arc::new(parse_message_type("message m { REQUIRED DOUBLE close; }").unwrap());
        let mut bytes = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let close = column.typed::<DoubleType>();
        close.write_batch(&[10.0; 20], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        let open = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let opened = ParquetText::open(&path, File::open(&path).unwrap());
            opened.map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(open(&bytes), Ok(()));
        // The header of the dictionary, which now states 63 values in eight bytes.
        let header = [0x4c, 0x15, 0x02];
        let at = bytes.windows(3).position(|part| part == header).unwrap();
        bytes[at + 2] = 0x7e;
        assert!(open(&bytes).unwrap_err().contains("shorter than it states"));
    }
}
