//! The recording of a source that makes its items once only, so that the source can be replayed like a file.
//!
//! An item is written before it is emitted, so that every decision derived from it can be reproduced. The stream of a
//! recorded source is that of its recording, so that positions mean the same in each run.
//!
//! ```text
//! DIRECTORY/00000001.rec, 00000002.rec, …
//! segment: magic "HQRC"   version u32   stream u64   first position u64   crc32 u32   items
//! item:    length u32     wire frame (seq: position, ts_ns: when it was made)
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::encoding::Encoding;
use crate::file_lock::lock_for_writing;
use crate::payload::{PayloadError, Tensor};
use crate::wire::{Encoded, Header, MessageKind, WireError, WireFrame};
use crate::{setters, wire_meta};

const MAGIC: [u8; 4] = *b"HQRC";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 28;
/// Length from which a segment is followed by a new one, bytes.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Longest item, bytes.
const MAX_ITEM_BYTES: usize = 16 << 20;

/// How a source is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordingOptions {
    /// The directory of the segments.
    pub path: PathBuf,
    /// Bytes that are kept in addition to those that a restart needs.
    pub keep_bytes: u64,
    /// Whether each item is synced to the disk before it is emitted, so that it survives a power cut.
    pub sync: bool,
}

setters!(RecordingOptions: keep_bytes: u64, sync: bool);

impl RecordingOptions {
    /// A recording in the directory `path` that keeps 256 MiB and does not sync each item.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            keep_bytes: 256 << 20,
            sync: false,
        }
    }
}

/// Why a recording cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The operating system refused.
    #[error("recording {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a recording, or is damaged before its end.
    #[error("recording {path}: {rule}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        rule: String,
    },
    /// An item cannot be encoded.
    #[error("recording: {0}")]
    Item(#[from] WireError),
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> RecordingError {
    let path = path.to_owned();
    move |source| RecordingError::Io { path, source }
}

/// The item's own meta part.
#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct MetaWire {
    bytes: Vec<u8>,
}

wire_meta!(MetaWire, "recorded item");

/// One segment, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    number: u64,
    first: u64,
    path: PathBuf,
    bytes: u64,
}

/// A recording that is being written.
#[derive(Debug)]
pub struct Recording {
    options: RecordingOptions,
    stream: u64,
    /// The last position written.
    position: u64,
    segments: Vec<Segment>,
    file: File,
}

impl Recording {
    /// Opens the recording, or creates one of the stream `fresh`. An incomplete last item is removed.
    ///
    /// # Errors
    /// `RecordingError` where another process writes it, a segment is damaged before its end, or the operating system refuses.
    pub fn open(options: RecordingOptions, fresh: u64) -> Result<Self, RecordingError> {
        let path = options.path.clone();
        fs::create_dir_all(&path).map_err(io_error(&path))?;
        let mut segments = list(&path)?;
        // A process killed between creating a segment and writing its head leaves one without a head.
        while let Some(last) = segments.last()
            && last.bytes < HEAD_BYTES as u64
        {
            fs::remove_file(&last.path).map_err(io_error(&last.path))?;
            segments.pop();
        }
        let Some(last) = segments.last_mut() else {
            let (segment, file) = begin(&path, 1, fresh, 1)?;
            return Ok(Self {
                options,
                stream: fresh,
                position: 0,
                segments: vec![segment],
                file,
            });
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&last.path)
            .map_err(io_error(&last.path))?;
        lock(&last.path, &file)?;
        let mut items = Items::open(&last.path)?;
        let (stream, mut position) = (items.stream, items.first - 1);
        let mut sound = HEAD_BYTES as u64;
        loop {
            match items.next_item() {
                Ok(Some((at, _))) => (position, sound) = (at, items.read_bytes),
                Ok(None) => break,
                Err(RecordingError::Damaged { rule, .. }) => {
                    let bytes = last.bytes - sound;
                    tracing::warn!(path = %last.path.display(), bytes, rule, "an incomplete item is removed from the recording");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        file.set_len(sound).map_err(io_error(&last.path))?;
        file.seek(SeekFrom::End(0)).map_err(io_error(&last.path))?;
        last.bytes = sound;
        Ok(Self {
            options,
            stream,
            position,
            segments,
            file,
        })
    }

    /// Identity of the recorded stream.
    #[must_use]
    pub fn stream(&self) -> u64 {
        self.stream
    }

    /// The last position written.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The first position that is kept.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.segments.first().map_or(1, |segment| segment.first)
    }

    /// Writes the next item: the meta part of its payload, its tensor, and when it was made. A failed write leaves no part of it.
    ///
    /// # Errors
    /// `RecordingError` where the item is too long or the operating system refuses.
    pub fn append(
        &mut self,
        meta: Vec<u8>,
        tensor: Option<&Tensor>,
        made_ns: i64,
    ) -> Result<(), RecordingError> {
        let header = Header {
            kind: MessageKind::Data,
            route: 0,
            epoch: 0,
            seq: self.position + 1,
            ts_ns: made_ns,
        };
        let item =
            Encoded::with(header, &MetaWire { bytes: meta }, tensor, Encoding::F32)?.concat(tensor);
        if self
            .segments
            .last()
            .is_some_and(|last| last.bytes >= SEGMENT_BYTES)
        {
            let number = self.segments.last().map_or(1, |last| last.number + 1);
            self.file
                .sync_data()
                .map_err(io_error(&self.options.path))?;
            let (segment, file) =
                begin(&self.options.path, number, self.stream, self.position + 1)?;
            self.segments.push(segment);
            self.file = file;
        }
        let Some(segment) = self.segments.last_mut() else {
            return Ok(());
        };
        // The limit on an item is far below 4 GiB.
        let mut out = Vec::with_capacity(4 + item.len());
        out.extend((item.len() as u32).to_le_bytes().iter().chain(&item[..]));
        if out.len() > MAX_ITEM_BYTES {
            return Err(RecordingError::Damaged {
                path: segment.path.clone(),
                rule: format!("an item of {} bytes is above {MAX_ITEM_BYTES}", out.len()),
            });
        }
        let mut written = self.file.write_all(&out);
        if self.options.sync {
            written = written.and_then(|()| self.file.sync_data());
        }
        if let Err(error) = written {
            let cut = self.file.set_len(segment.bytes);
            cut.and_then(|()| self.file.seek(SeekFrom::End(0)))
                .map_err(io_error(&segment.path))?;
            return Err(io_error(&segment.path)(error));
        }
        segment.bytes += out.len() as u64;
        self.position += 1;
        Ok(())
    }

    /// Reads the items from position `from` to the last one written so far.
    #[must_use]
    pub fn replay(&self, from: u64) -> Replay {
        let after = self
            .segments
            .partition_point(|segment| segment.first <= from);
        let paths = self.segments[after.saturating_sub(1)..]
            .iter()
            .map(|segment| segment.path.clone());
        Replay {
            paths: paths.collect::<Vec<_>>().into_iter(),
            items: None,
            from,
            last: self.position,
        }
    }

    /// Removes the oldest segments without an item after `position`, down to the bytes to be kept.
    ///
    /// # Errors
    /// `RecordingError::Io` where a file cannot be removed.
    pub fn prune(&mut self, position: u64) -> Result<(), RecordingError> {
        let mut bytes: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        while let [oldest, next, ..] = &self.segments[..]
            && next.first <= position.saturating_add(1)
            && bytes > self.options.keep_bytes
        {
            fs::remove_file(&oldest.path).map_err(io_error(&oldest.path))?;
            bytes -= oldest.bytes;
            self.segments.remove(0);
        }
        Ok(())
    }
}

/// Items of a recording, oldest first.
#[derive(Debug)]
pub struct Replay {
    paths: std::vec::IntoIter<PathBuf>,
    items: Option<Items>,
    from: u64,
    last: u64,
}

impl Replay {
    /// The next item with its position.
    ///
    /// # Errors
    /// `RecordingError` where a segment is damaged or cannot be read.
    pub fn next_item(&mut self) -> Result<Option<(u64, WireFrame)>, RecordingError> {
        if self.from > self.last {
            return Ok(None);
        }
        loop {
            let Some(items) = &mut self.items else {
                let Some(path) = self.paths.next() else {
                    return Ok(None);
                };
                self.items = Some(Items::open(&path)?);
                continue;
            };
            match items.next_item()? {
                Some((position, _)) if position < self.from => {}
                Some((position, frame)) => {
                    self.from = position + 1;
                    return Ok(Some((position, frame)));
                }
                None => self.items = None,
            }
        }
    }
}

/// The payload's own meta part of a recorded item.
///
/// # Errors
/// [`PayloadError`] where the item has no meta part.
pub fn meta_of(frame: &WireFrame) -> Result<Vec<u8>, PayloadError> {
    match frame.read::<MetaWire>() {
        Ok(MetaWire { bytes }) => Ok(bytes),
        Err(WireError::Payload(error)) => Err(error),
        Err(error) => Err(PayloadError::Rule {
            payload: "recorded item",
            rule: error.to_string(),
        }),
    }
}

/// The items of one segment.
#[derive(Debug)]
struct Items {
    path: PathBuf,
    file: BufReader<File>,
    stream: u64,
    first: u64,
    next: u64,
    /// Bytes of the head and of whole items read so far.
    read_bytes: u64,
}

impl Items {
    fn open(path: &Path) -> Result<Self, RecordingError> {
        let mut file = BufReader::new(File::open(path).map_err(io_error(path))?);
        let mut head = [0; HEAD_BYTES];
        file.read_exact(&mut head).map_err(io_error(path))?;
        let damaged = |rule: &str| RecordingError::Damaged {
            path: path.to_owned(),
            rule: rule.to_owned(),
        };
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        if head[..4] != MAGIC || word(4) != VERSION {
            return Err(damaged("is not a segment of a recording"));
        }
        if crc32fast::hash(&head[..24]) != word(24) {
            return Err(damaged("the checksum of its head does not fit"));
        }
        let (stream, first) = (long(8), long(16));
        if first == 0 {
            return Err(damaged("positions start at 1"));
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            stream,
            first,
            next: first,
            read_bytes: HEAD_BYTES as u64,
        })
    }

    fn next_item(&mut self) -> Result<Option<(u64, WireFrame)>, RecordingError> {
        let damaged = |rule: String| RecordingError::Damaged {
            path: self.path.clone(),
            rule,
        };
        let mut length = [0; 4];
        match read_up_to(&mut self.file, &mut length).map_err(io_error(&self.path))? {
            0 => return Ok(None),
            4 => {}
            bytes => return Err(damaged(format!("a length has {bytes} of 4 bytes"))),
        }
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_ITEM_BYTES {
            return Err(damaged(format!("an item claims {length} bytes")));
        }
        let mut item = vec![0; length];
        let read = read_up_to(&mut self.file, &mut item).map_err(io_error(&self.path))?;
        if read < length {
            return Err(damaged(format!("an item has {read} of {length} bytes")));
        }
        let frame = WireFrame::parse(item.into()).map_err(|error| damaged(error.to_string()))?;
        if frame.header.seq != self.next {
            return Err(damaged(format!(
                "position {} where {} is expected",
                frame.header.seq, self.next
            )));
        }
        self.next += 1;
        self.read_bytes += 4 + length as u64;
        Ok(Some((frame.header.seq, frame)))
    }
}

fn read_up_to(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Locks a segment against other writers.
fn lock(path: &Path, file: &File) -> Result<(), RecordingError> {
    match lock_for_writing(file).map_err(io_error(path))? {
        true => Ok(()),
        false => Err(RecordingError::Damaged {
            path: path.to_owned(),
            rule: "another process is writing it".into(),
        }),
    }
}

fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:08}.rec"))
}

/// The segments of a directory, oldest first.
fn list(directory: &Path) -> Result<Vec<Segment>, RecordingError> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory).map_err(io_error(directory))? {
        let path = entry.map_err(io_error(directory))?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".rec")?.parse::<u64>().ok());
        let Some(number) = number else { continue };
        let bytes = fs::metadata(&path).map_err(io_error(&path))?.len();
        let first = match bytes < HEAD_BYTES as u64 {
            true => u64::MAX,
            false => Items::open(&path)?.first,
        };
        segments.push(Segment {
            number,
            first,
            path,
            bytes,
        });
    }
    segments.sort_by_key(|segment| segment.number);
    Ok(segments)
}

fn begin(
    directory: &Path,
    number: u64,
    stream: u64,
    first: u64,
) -> Result<(Segment, File), RecordingError> {
    let path = segment_path(directory, number);
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend(MAGIC);
    head.extend(VERSION.to_le_bytes());
    head.extend(stream.to_le_bytes());
    head.extend(first.to_le_bytes());
    head.extend(crc32fast::hash(&head).to_le_bytes());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(io_error(&path))?;
    lock(&path, &file)?;
    file.write_all(&head).map_err(io_error(&path))?;
    let bytes = HEAD_BYTES as u64;
    Ok((
        Segment {
            number,
            first,
            path,
            bytes,
        },
        file,
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn append(recording: &mut Recording, value: u64) {
        let tensor = Tensor::new(&[1, 2], vec![value as f32, f32::NAN]).unwrap();
        let tensor = value.is_multiple_of(3).then_some(&tensor);
        recording
            .append(value.to_le_bytes().to_vec(), tensor, 5)
            .unwrap();
    }

    fn options(path: &Path) -> RecordingOptions {
        RecordingOptions {
            path: path.to_owned(),
            keep_bytes: 0,
            sync: false,
        }
    }

    fn values(recording: &Recording, from: u64) -> Vec<u64> {
        let mut replay = recording.replay(from);
        let mut values = Vec::new();
        while let Some((position, frame)) = replay.next_item().unwrap() {
            assert_eq!(meta_of(&frame).unwrap(), position.to_le_bytes());
            assert_eq!(frame.tensor().unwrap().is_empty(), position % 3 != 0);
            values.push(position);
        }
        values
    }

    #[test]
    fn items_are_replayed_from_any_position_and_an_incomplete_one_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut recording = Recording::open(options(folder.path()), 77).unwrap();
        for value in 1..=20 {
            append(&mut recording, value);
        }
        assert_eq!(values(&recording, 1), (1..=20).collect::<Vec<_>>());
        assert_eq!(values(&recording, 15), (15..=20).collect::<Vec<_>>());
        assert_eq!(values(&recording, 21), [0; 0]);
        drop(recording);
        let path = segment_path(folder.path(), 1);
        let whole = fs::read(&path).unwrap();
        let last = {
            let mut items = Items::open(&path).unwrap();
            for _ in 0..19 {
                items.next_item().unwrap().unwrap();
            }
            items.read_bytes as usize
        };
        for cut in last..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut recording = Recording::open(options(folder.path()), 1).unwrap();
            assert_eq!(
                (recording.stream(), recording.position()),
                (77, 19),
                "cut at {cut}"
            );
            append(&mut recording, 20);
            assert_eq!(values(&recording, 18), [18, 19, 20]);
        }
    }

    #[test]
    fn old_segments_are_removed_when_no_restart_needs_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut recording = Recording::open(options(folder.path()), 77).unwrap();
        let big = Tensor::new(&[1 << 20], vec![0.0; 1 << 20]).unwrap();
        for _ in 1..=12 {
            recording.append(Vec::new(), Some(&big), 5).unwrap();
        }
        assert_eq!(recording.segments.len(), 3);
        let second = recording.segments[1].first;
        recording.prune(second - 2).unwrap();
        assert_eq!(recording.first(), 1);
        recording.prune(second - 1).unwrap();
        assert_eq!(recording.first(), second);
        recording.prune(u64::MAX).unwrap();
        assert_eq!(recording.segments.len(), 1);
        let last = recording.first();
        drop(recording);
        let recording = Recording::open(options(folder.path()), 1).unwrap();
        assert_eq!((recording.first(), recording.position()), (last, 12));
    }

    #[test]
    fn a_file_that_is_not_a_recording_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(segment_path(folder.path(), 1), [7; 100]).unwrap();
        let refused = Recording::open(options(folder.path()), 1).unwrap_err();
        assert!(
            refused.to_string().contains("is not a segment"),
            "{refused}"
        );
    }
}
