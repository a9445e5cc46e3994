//! The decoders of files and lines: tables of bars, topologies, journals, manifests of bundles,
//! factors, bars as JSON.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use heqis_data::Import;
use heqis_data::{BarReader, TableOptions};
use heqis_factors::{Columns, FactorSeries, FactorSet};
use heqis_gateway::source::json_bar as read_json_bar;
use heqis_infer::bundle::Manifest;
use heqis_quant::decision::journal::{Contents, JournalLine};
use heqis_quant::{Bar, CleanConfig, Cleaner, Date, Marks, QuantError, Symbol};
use heqis_runtime::registry::registry;
use heqis_runtime::topology::report::{self, Look};
use heqis_runtime::topology::{Faults, Plan, Request, graph, load_text};
use parquet::basic::{Compression as Codec, GzipLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, DoubleType};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::TempDir;

use crate::memory::peak_bytes;

/// Memory limit of reading a table, whatever its decompressed size.
const MAX_TABLE_BYTES: usize = 64 << 20;
/// Rows that a reader takes ahead, up to which looking ahead and surveying are one.
const ROWS_AHEAD: usize = 256;
/// First bytes of binary files.
const PACKED: [&[u8]; 4] = [b"\x1f\x8b", b"PAR1", b"PK\x03\x04", b"\x28\xb5\x2f\xfd"];
/// The file that a table is written to; its name gives the symbol of a table without a symbol column.
const TABLE: &str = "600000.SH.csv";

thread_local! {
    static SCENE: TempDir = scene().expect("a folder can be made");
}

/// A folder with the files that topologies name, and one for a table.
fn scene() -> std::io::Result<TempDir> {
    let scene = TempDir::new()?;
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for folder in ["topologies", "data/ashare"] {
        std::fs::create_dir_all(scene.path().join(folder))?;
    }
    for table in ["data/ashare/002032.SZ.csv", "data/ashare/600000.SH.csv"] {
        // A check reads all rows; a few do.
        let text = std::fs::read_to_string(home.join(table))?;
        let rows: Vec<&str> = text.lines().take(8).collect();
        std::fs::write(scene.path().join(table), rows.join("\n"))?;
    }
    for bundle in [
        "baseline-factors",
        "baseline-direction",
        "cae-factors",
        "multi-gan-direction",
    ] {
        let (from, to) = (
            home.join("models").join(bundle),
            scene.path().join("models").join(bundle),
        );
        std::fs::create_dir_all(&to)?;
        for entry in std::fs::read_dir(from)? {
            let path = entry?.path();
            std::fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
        }
    }
    Ok(scene)
}

fn stock() -> TableOptions {
    TableOptions {
        symbol: Some(Symbol::parse("600000.SH").expect("a symbol")),
        ..TableOptions::default()
    }
}

/// The result of a table: its rows, or why it was refused as a whole.
type Rows = Result<Vec<Result<Bar, String>>, String>;

fn rows(reader: Result<impl Iterator<Item = Result<Bar, QuantError>>, QuantError>) -> Rows {
    let text = |error: QuantError| error.to_string();
    let rows = reader.map_err(text)?.map(|row| row.map_err(text));
    Ok(rows.inspect(|row| row.iter().for_each(sound)).collect())
}

/// A bar that was read has finite numbers, and a time that lies on its day anywhere in the world.
fn sound(bar: &Bar) {
    let numbers = [bar.open, bar.high, bar.low, bar.close, bar.volume_shares];
    let optional = bar.pre_close.into_iter().chain(bar.amount_cny);
    assert!(
        numbers.into_iter().chain(optional).all(f64::is_finite),
        "{bar:?}"
    );
    let day = Date::of_time_ns(bar.time_ns).map(Date::days);
    assert!(
        day.is_ok_and(|day| day.abs_diff(bar.date.days()) <= 1),
        "{bar:?}"
    );
    let again = Symbol::parse(bar.symbol.as_str());
    assert!(again.is_ok_and(|symbol| symbol == bar.symbol), "{bar:?}");
}

/// The lines of a table that are not blank.
fn lines(data: &[u8]) -> usize {
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let lines = data.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.filter(|line| !line.trim_ascii().is_empty()).count()
}

/// A table of bars as text: through every reader, and as a file, plain and compressed. Each line is one row, every reader
/// gives the same rows, their bars are sound, and memory is bounded.
pub fn table(data: &[u8]) {
    let peak = peak_bytes(|| {
        let whole = rows(BarReader::with_options(data, stock(), "t"));
        let format = BarReader::survey(data, stock(), "t")
            .and_then(|format| BarReader::with_format(data, stock(), format, "t"));
        let format = rows(format);
        let lines = lines(data);
        if lines <= ROWS_AHEAD {
            assert_eq!(whole, format);
        }
        // Up to five lines may stand before the header of a table that is no live one.
        for (rows, preamble) in [
            (&whole, 5),
            (&format, 5),
            (&rows(BarReader::live(data, stock(), "t")), 0),
        ] {
            if let Ok(rows) = rows {
                let headed = lines - rows.len();
                assert!(
                    (1..=1 + preamble).contains(&headed),
                    "{lines} lines, {} rows",
                    rows.len()
                );
            }
        }
        let _ = rows(BarReader::new(data, None, "t"));
        SCENE.with(|scene| {
            let path = scene.path().join(TABLE);
            if PACKED.iter().any(|magic| data.starts_with(magic)) {
                return;
            }
            assert_same(&format, &of_file(&path, data));
            if data.len() % 4 == 0 {
                assert_same(&format, &of_file(&path, &gzip(data)));
            }
        });
    });
    assert!(peak <= MAX_TABLE_BYTES, "{peak} bytes at once");
}

/// A compressed file of bars, gzip or Parquet: its bars are sound, and memory is bounded. A page of Parquet may claim
/// a decompressed size of 2 GiB, which the `parquet` crate allocates before it reads the page.
pub fn table_file(data: &[u8]) {
    let path = SCENE.with(|scene| scene.path().join(TABLE));
    let peak = peak_bytes(|| drop(of_file(&path, data)));
    let page = if data.starts_with(b"PAR1") {
        1 << 31
    } else {
        0
    };
    assert!(peak <= MAX_TABLE_BYTES + page, "{peak} bytes at once");
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = gzip.write_all(data).and_then(|()| gzip.finish());
    packed.expect("memory can be written")
}

/// Writes and reads a file, and checks its bars.
fn of_file(path: &Path, data: &[u8]) -> Rows {
    // A new file each time: some file systems write an old one that is cut to the disk at once.
    let _ = std::fs::remove_file(path);
    std::fs::write(path, data).expect("a file can be written");
    let options = TableOptions::default();
    let mut import = Import::default();
    let read = import
        .read(path, &options)
        .and_then(|()| import.settle(&options));
    if read.is_ok() {
        let cleaner = Cleaner::new(CleanConfig::default()).expect("a cleaner");
        let _ = import.clean(&cleaner);
    }
    let file =
        heqis_data::bar_file::open_series(path, &options).map_err(|error| error.to_string())?;
    rows(Ok(file))
}

/// Whether two readers gave the same rows, except for the marks and the table's name in messages.
fn assert_same(one: &Rows, other: &Rows) {
    let bare = |rows: &Rows| {
        let bar = |row: &Result<Bar, String>| {
            let bar = row.as_ref().ok().copied();
            bar.map(|bar| Bar {
                marks: Marks::NONE,
                ..bar
            })
        };
        rows.as_ref()
            .ok()
            .map(|rows| rows.iter().map(bar).collect::<Vec<_>>())
    };
    assert_eq!(bare(one), bare(other), "{one:?} and {other:?}");
}

/// A topology, with every profile. A refused topology has faults with places in the text that can be drawn; an accepted one can be
/// drawn too.
pub fn topology(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match check(text) {
        Ok(plan) => drop((graph::mermaid(&plan), graph::dot(&plan))),
        Err(faults) => {
            assert!(!faults.list.is_empty());
            for fault in &faults.list {
                let (line, column) = faults.sources.line_column(fault.place);
                let length = text
                    .split('\n')
                    .nth(line - 1)
                    .map(|line| line.chars().count());
                assert!(
                    length.is_some_and(|length| column <= length + 1),
                    "{fault:?}"
                );
                assert_eq!(faults.sources.name(fault.place), "topologies/fuzz.toml");
                assert!(!fault.message.is_empty(), "{fault:?}");
            }
            let drawn = report::render(&faults, Look::Plain, 80);
            let shown = drawn.matches("fuzz.toml:").count();
            assert!(shown > faults.list.len(), "{shown} places in {drawn}");
            let json: Vec<serde_json::Value> =
                serde_json::from_str(&report::json(&faults)).expect("a report is JSON");
            assert_eq!(json.len(), faults.list.len());
        }
    }
}

fn check(text: &str) -> Result<Plan, Faults> {
    let mut request = SCENE.with(|scene| Request::new("topologies/fuzz.toml", scene.path()));
    request.every_profile = true;
    load_text(text, &request, &registry())
}

/// A journal as it is, and once more with matching checksums. An accepted one is written and read again unchanged, and
/// can be split anywhere.
pub fn journal(data: &[u8]) {
    whole_journal(data);
    let lines = data.split_inclusive(|byte| *byte == b'\n');
    let sealed: Vec<u8> = lines.flat_map(seal_line).collect();
    whole_journal(&sealed);
}

fn seal_line(line: &[u8]) -> Vec<u8> {
    const CRC: &[u8] = b",\"crc\":\"";
    match line.windows(CRC.len()).rposition(|part| part == CRC) {
        Some(at) => {
            let crc = format!("{:08x}\"}}\n", crc32fast::hash(&line[..at]));
            [&line[..at], CRC, crc.as_bytes()].concat()
        }
        None => line.to_vec(),
    }
}

fn whole_journal(data: &[u8]) {
    let Ok(contents) = Contents::parse(data, "j") else {
        return;
    };
    assert!(contents.whole_bytes <= data.len() as u64);
    let (text, whole) = (written(&contents), &data[..contents.whole_bytes as usize]);
    for same in [whole, text.as_bytes()] {
        let again = Contents::parse(same, "j").expect("what was read can be read again");
        // A number that is not finite is equal to nothing; its text is.
        assert_eq!(written(&again), text);
    }
    let cut = crc32fast::hash(data) as usize % (text.len() + 1);
    let cut = Contents::parse(&text.as_bytes()[..cut], "j").expect("a cut is a torn write");
    assert!(cut.decisions.len() <= contents.decisions.len());
}

fn written(contents: &Contents) -> String {
    let mut text = String::new();
    if let Some(header) = &contents.header {
        JournalLine::Header(header.clone()).write(&mut text);
    }
    for name in &contents.streams {
        JournalLine::Stream(name.clone()).write(&mut text);
    }
    for (id, record) in &contents.decisions {
        JournalLine::Decision(id.clone(), *record).write(&mut text);
    }
    if contents.closed {
        let before = contents.header.as_ref().map_or(0, |header| header.before);
        let decisions = before + contents.decisions.len() as u64;
        JournalLine::Closing { decisions }.write(&mut text);
    }
    text
}

/// A manifest. An accepted one is written and read again unchanged.
pub fn manifest(data: &[u8]) {
    let Ok(manifest) = Manifest::parse(data) else {
        return;
    };
    let json = manifest.to_json().expect("what was read can be written");
    assert_eq!(
        Manifest::parse(&json).expect("what was written can be read"),
        manifest
    );
}

/// A file of factors, and the same bytes as the saved state of some. An accepted set is read again from its definitions; an
/// accepted state takes bars.
pub fn factors(data: &[u8]) {
    let columns = Columns::bars();
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(set) = FactorSet::parse(text, &columns)
    {
        let again = FactorSet::parse(&set.definitions().join("\n"), &columns);
        assert_eq!(again.expect("what was written can be read"), set);
    }
    let text = "a = ema(close, 5) / mean(close, 9)\nb = quantile(volume, 4, 0.3) / ref(volume, 2)";
    let set = FactorSet::parse(text, &columns).expect("a valid text");
    if let Ok(mut series) = FactorSeries::restore(&set, data) {
        let bar = [10.0, 10.2, 9.9, 10.1, 1000.0, 10_050.0, 10.05];
        let mut row = [0.0; 2];
        series.rescale(0.5);
        series.update(&bar, &mut row).expect("lengths are right");
        assert!(row.iter().all(|value| !value.is_infinite()));
    }
}

/// A bar as a JSON object. An accepted one is a sound bar.
pub fn json_bar(data: &[u8]) {
    if let Ok(bar) = read_json_bar(data) {
        assert!(data.trim_ascii_start().starts_with(b"{"));
        sound(&bar);
    }
}

/// Folders of this repository with inputs of a target, and how their names end.
pub(crate) fn folders(target: &str) -> Vec<(String, &'static str)> {
    match target {
        "topology" => vec![
            ("../topologies".into(), ".toml"),
            ("../heqis-runtime/tests/faults".into(), ".toml"),
        ],
        "manifest" => ["baseline-factors", "baseline-direction"]
            .map(|bundle| (format!("../models/{bundle}"), "manifest.json"))
            .to_vec(),
        "factors" => vec![("../heqis-factors/sets".into(), ".txt")],
        "journal" => vec![("../heqis-quant/tests/golden".into(), ".jsonl")],
        _ => Vec::new(),
    }
}

/// Compressed tables.
pub(crate) fn seeds(target: &str) -> Vec<(&'static str, Vec<u8>)> {
    if target != "table_file" {
        return Vec::new();
    }
    let mut text = "date,open,high,low,close,volume,amount\n".to_owned();
    for day in 1..=20 {
        let _ = writeln!(text, "2023-02-{day:02},10,10.1,9.9,10,10000,10000000");
    }
    // Small when compressed and large when decompressed: one line, and many short ones.
    let long = [text.as_bytes(), &vec![b'1'; 1_100_000]].concat();
    let many = [text.as_bytes(), &b"1,\n".repeat(2_000)].concat();
    let plain = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None);
    let parquet = |properties: WriterPropertiesBuilder| {
        parquet_table(properties.build()).expect("a table can be written")
    };
    vec![
        ("gzip", gzip(text.as_bytes())),
        ("gzip_long", gzip(&long)),
        ("gzip_many", gzip(&many)),
        ("parquet", parquet(WriterProperties::builder())),
        ("parquet_plain", parquet(plain.clone())),
        (
            "parquet_snappy",
            parquet(plain.clone().set_compression(Codec::SNAPPY)),
        ),
        (
            "parquet_gzip",
            parquet(plain.set_compression(Codec::GZIP(GzipLevel::default()))),
        ),
    ]
}

fn parquet_table(properties: WriterProperties) -> parquet::errors::Result<Vec<u8>> {
    let schema = "message bars { OPTIONAL BYTE_ARRAY symbol (UTF8); REQUIRED DOUBLE open; REQUIRED DOUBLE high;
        REQUIRED DOUBLE low; REQUIRED DOUBLE close; REQUIRED INT64 volume; REQUIRED INT64 time (TIMESTAMP(MILLIS,true)); }";
    let symbols = vec![ByteArray::from("600000.SH"); 20];
    let numbers: Vec<i64> = (0..20).map(|at| 1_675_234_800_000 + at * 60_000).collect();
    let mut bytes = Vec::new();
    let schema = Arc::new(parse_message_type(schema)?);
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    while let Some(mut column) = group.next_column()? {
        match column.untyped() {
            ColumnWriter::ByteArrayColumnWriter(texts) => {
                texts.write_batch(&symbols, Some(&[1; 20]), None)?;
            }
            ColumnWriter::Int64ColumnWriter(times) => {
                times.write_batch(&numbers, None, None)?;
            }
            _ => {
                column
                    .typed::<DoubleType>()
                    .write_batch(&[10.0; 20], None, None)?;
            }
        }
        column.close()?;
    }
    group.close()?;
    writer.close()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A target that refuses all of its inputs tests nothing after the first rule.
    #[test]
    fn what_targets_start_from_is_accepted() {
        let path = SCENE.with(|scene| scene.path().join(TABLE));
        for (name, bytes) in seeds("table_file") {
            let rows = of_file(&path, &bytes).unwrap();
            assert_eq!(rows.iter().flatten().count(), 20, "{name}");
        }
        let read = |target: &str, accepts: &dyn Fn(&[u8]) -> bool| {
            let inputs = crate::inputs(target).unwrap();
            inputs.iter().filter(|bytes| accepts(bytes)).count()
        };
        let table =
            |bytes: &[u8]| of_file(&path, bytes).is_ok_and(|rows| rows.iter().any(Result::is_ok));
        assert!(read("table", &table) >= 12);
        assert!(
            read("topology", &|text| check(
                std::str::from_utf8(text).unwrap()
            )
            .is_ok())
                >= 4
        );
        assert!(read("journal", &|text| Contents::parse(text, "j").is_ok()) >= 3);
        assert!(read("manifest", &|text| Manifest::parse(text).is_ok()) >= 2);
        assert!(read("json_bar", &|text| read_json_bar(text).is_ok()) >= 4);
    }
}
