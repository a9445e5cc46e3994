//! What has to hold when a run is over.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use heqis_data::journal::Names;
use serde_json::Value;

use crate::course::{Course, Expected};
use crate::schedule::Way;
use crate::world::World;

/// What an undisturbed run left.
pub struct Reference {
    pub expected: Expected,
    /// The journal's segments by name.
    segments: BTreeMap<String, Vec<u8>>,
}

impl Reference {
    pub fn of(course: &Course<'_>, world: &World) -> Self {
        let segments = segments(&course.names);
        let decisions = decisions(&segments);
        let at = |decision: &Value| {
            let text = |key: &str| decision[key].as_str().unwrap().to_owned();
            let (symbol, date) = (text("symbol"), text("date"));
            let begin = format!("{{\"symbol\":\"{symbol}\",\"date\":\"{date}\"");
            let bar = world.bars.iter().position(|bar| bar.starts_with(&begin));
            bar.map_or(0, |bar| bar + 1)
        };
        let next_bar = std::iter::once(0).chain(decisions.iter().map(at)).collect();
        Self {
            expected: Expected {
                total: decisions.len() as u64,
                next_bar: Arc::new(next_bar),
            },
            segments,
        }
    }

    /// Decisions without what is another one in each recording, and without the position, which bars that are sent twice
    /// move.
    pub fn decided(&self) -> Vec<Value> {
        comparable(&decisions(&self.segments), false)
    }
}

/// The segments of a journal by name, the active one included.
fn segments(names: &Names) -> BTreeMap<String, Vec<u8>> {
    let found = names.find().unwrap_or_default();
    let finished = found.segments.iter().map(|&number| names.segment(number));
    finished
        .chain([names.active().to_owned()])
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(&path).unwrap_or_default())
        })
        .collect()
}

/// The decisions of all segments, in the order of their numbers. The active segment's name comes last.
fn decisions(segments: &BTreeMap<String, Vec<u8>>) -> Vec<Value> {
    let lines = segments
        .values()
        .flat_map(|bytes| bytes.split(|&byte| byte == b'\n'));
    let lines = lines.filter(|line| line.starts_with(b"{\"n\":"));
    lines
        .map(|line| serde_json::from_slice(line).unwrap_or_default())
        .collect()
}

fn comparable(decisions: &[Value], with_position: bool) -> Vec<Value> {
    let strip = |decision: &Value| {
        let mut decision = decision.clone();
        if let Value::Object(fields) = &mut decision {
            fields.retain(|key, _| {
                !matches!(key.as_str(), "stream" | "crc") && (with_position || key != "position")
            });
        }
        decision
    };
    decisions.iter().map(strip).collect()
}

/// What is wrong with a run that came to its end.
pub fn problems(course: &Course<'_>, reference: &Reference) -> Vec<String> {
    let got = segments(&course.names);
    let mut problems = Vec::new();
    match course.schedule.way {
        Way::Live => {
            let with_position = course.feed.as_ref().is_some_and(|feed| feed.is_single());
            let expected = comparable(&decisions(&reference.segments), with_position);
            let got = comparable(&decisions(&got), with_position);
            problems.extend(difference(&got, &expected));
        }
        Way::Replay | Way::Paced => {
            problems.extend(difference(
                &decisions(&got),
                &decisions(&reference.segments),
            ));
            for name in reference.segments.keys().chain(got.keys()) {
                let (got, expected) = (got.get(name), reference.segments.get(name));
                if got != expected {
                    problems.push(format!(
                        "segment {name}: {:?} bytes, not the {:?} of an undisturbed run",
                        got.map(Vec::len),
                        expected.map(Vec::len)
                    ));
                }
            }
            problems.dedup();
        }
    }
    if let Err(error) = heqis_data::journal::read(course.names.active()) {
        problems.push(format!("the journal cannot be read: {error}"));
    }
    problems.extend(fed_back(course, &decisions(&got)));
    problems.extend(files(course));
    problems
}

/// The first decision that is another one.
fn difference(got: &[Value], expected: &[Value]) -> Option<String> {
    let at = got
        .iter()
        .zip(expected)
        .position(|(got, expected)| got != expected);
    match at {
        Some(at) => Some(format!(
            "decision {}: {}, undisturbed {}",
            at + 1,
            got[at],
            expected[at]
        )),
        None if got.len() != expected.len() => Some(format!(
            "{} decisions, undisturbed {}",
            got.len(),
            expected.len()
        )),
        None => None,
    }
}

/// Whether the gateway has each decision once, in the journal's order.
fn fed_back(course: &Course<'_>, decisions: &[Value]) -> Option<String> {
    let path = course.stand.folder.path().join("feedback.csv");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let expected: Vec<String> = decisions
        .iter()
        .map(|decision| {
            let text = |key: &str| decision[key].as_str().unwrap_or_default().to_owned();
            let (n, position) = (&decision["n"], &decision["position"]);
            let (symbol, date, side) = (text("symbol"), text("date"), text("side"));
            format!("{n},{},{position},{symbol},{date},{side}", text("stream"))
        })
        .collect();
    let at = lines
        .iter()
        .zip(&expected)
        .position(|(got, expected)| got != expected);
    match at {
        Some(at) => Some(format!(
            "line {} of what came back: {}, the journal has {}",
            at + 1,
            lines[at],
            expected[at]
        )),
        None if lines.len() != expected.len() => Some(format!(
            "{} decisions came back, the journal has {}",
            lines.len(),
            expected.len()
        )),
        None => None,
    }
}

/// Whether every file that was the journal's active segment is still there.
fn files(course: &Course<'_>) -> Vec<String> {
    if course.schedule.troubles_file() {
        return Vec::new();
    }
    let found = course.names.find().unwrap_or_default();
    let finished = found
        .segments
        .iter()
        .map(|&number| course.names.segment(number));
    let there: Vec<PathBuf> = finished.chain([course.names.active().to_owned()]).collect();
    let inodes: Vec<u64> = there
        .iter()
        .filter_map(|path| std::fs::metadata(path).ok())
        .map(|meta| meta.ino())
        .collect();
    course
        .files
        .iter()
        .filter(|(inode, _)| !inodes.contains(inode))
        .map(|(inode, path)| format!("{} was file {inode}, which is gone", path.display()))
        .collect()
}
