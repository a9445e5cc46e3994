//! Where in which text something was written.

use miette::NamedSource;

/// A byte range of one of the texts that make up a topology: the file itself or an override.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Index of the text in [`Sources`]; 0 is the file.
    pub(crate) source: usize,
    /// First byte.
    pub(crate) start: usize,
    /// Byte after the last.
    pub(crate) end: usize,
}

impl Place {
    /// The first byte of the file: where a fault is shown that has no better place.
    pub(crate) const START: Self = Self {
        source: 0,
        start: 0,
        end: 0,
    };

    pub(crate) fn new(source: usize, span: std::ops::Range<usize>) -> Self {
        Self {
            source,
            start: span.start,
            end: span.end,
        }
    }

    pub(crate) fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }
}

/// The texts that make up a topology, each under the name that a reader knows it by.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<NamedSource<String>>);

impl Sources {
    /// Adds a text and returns its index.
    pub(crate) fn add(&mut self, name: impl AsRef<str>, text: impl Into<String>) -> usize {
        self.0.push(NamedSource::new(name, text.into()));
        self.0.len() - 1
    }

    pub(crate) fn get(&self, place: Place) -> Option<&NamedSource<String>> {
        self.0.get(place.source)
    }

    /// Name of the text that `place` lies in: the file's path, `--set` or `HEQIS_SET`.
    #[must_use]
    pub fn name(&self, place: Place) -> &str {
        self.get(place).map_or("", NamedSource::name)
    }

    /// Line and column of the first byte of `place`, both from 1; the column counts characters.
    #[must_use]
    pub fn line_column(&self, place: Place) -> (usize, usize) {
        let text = self.get(place).map_or("", |source| source.inner().as_str());
        let mut start = place.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }
}
