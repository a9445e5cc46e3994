//! Faults as a reader or an editor wants them.

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, Severity, SourceCode,
};
use serde::Serialize;

use super::fault::{Code, Fault, Faults};
use super::place::{Place, Sources};

/// How a report is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Unicode lines and colours, for a terminal.
    Colour,
    /// ASCII only, for files, pipes and `NO_COLOR`.
    Plain,
}

/// Draws every fault with the line that it points at, and a closing count.
#[must_use]
pub fn render(faults: &Faults, look: Look, width: usize) -> String {
    let theme = match look {
        Look::Colour => GraphicalTheme::unicode(),
        Look::Plain => GraphicalTheme::none(),
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width)
        .with_links(false);
    let mut text = String::new();
    for fault in &faults.list {
        let drawn = Drawn {
            fault,
            sources: &faults.sources,
        };
        if handler.render_report(&mut text, &drawn).is_err() {
            // Drawing into a string fails only when a place lies outside its text; the fault itself must not be lost.
            text.push_str(&fault.message);
        }
        text.push('\n');
    }
    let warnings = faults.list.iter().filter(|fault| fault.code.is_warning());
    let warnings = warnings.count();
    let counts = [
        (faults.list.len() - warnings, "fault"),
        (warnings, "warning"),
    ];
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
        .collect();
    let file = faults.sources.name(Place::START);
    text.push_str(&format!("{file}: {}\n", counts.join(", ")));
    text.lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

/// The faults and warnings as a JSON array of objects with `code`, `name`, `file`, `line`, `column`, `message` and `help`.
#[must_use]
pub fn json(faults: &Faults) -> String {
    let list: Vec<Listed<'_>> = faults
        .list
        .iter()
        .map(|fault| {
            let (line, column) = faults.sources.line_column(fault.place);
            Listed {
                code: fault.code.number(),
                name: fault.code.name(),
                file: faults.sources.name(fault.place),
                line,
                column,
                message: &fault.message,
                help: fault.help.as_deref(),
            }
        })
        .collect();
    // Strings and numbers only: writing them as JSON cannot fail.
    serde_json::to_string_pretty(&list).unwrap_or_default() + "\n"
}

#[derive(Serialize)]
struct Listed<'a> {
    code: &'static str,
    name: &'static str,
    file: &'a str,
    line: usize,
    column: usize,
    message: &'a str,
    help: Option<&'a str>,
}

struct Drawn<'a> {
    fault: &'a Fault,
    sources: &'a Sources,
}

impl std::fmt::Debug for Drawn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.fault.fmt(f)
    }
}

impl std::fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.fault.message)
    }
}

impl std::error::Error for Drawn<'_> {}

impl Diagnostic for Drawn<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(format!(
            "{} {}",
            self.fault.code.number(),
            self.fault.code.name()
        )))
    }

    fn severity(&self) -> Option<Severity> {
        self.fault.code.is_warning().then_some(Severity::Warning)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.fault
            .help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        if self.fault.code == Code::UnreadableFile {
            return None;
        }
        self.sources
            .get(self.fault.place)
            .map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.fault.place;
        let here = LabeledSpan::new_primary_with_span(None, (place.start, place.len()));
        // One drawing shows one text; a related place in another text is left to the message.
        let related = self
            .fault
            .related
            .as_ref()
            .filter(|(related, _)| related.source == place.source);
        let there = related.map(|(place, label)| {
            LabeledSpan::new_with_span(Some(label.clone()), (place.start, place.len()))
        });
        Some(Box::new(std::iter::once(here).chain(there)))
    }
}
