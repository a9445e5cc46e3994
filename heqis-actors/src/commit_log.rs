//! A commit log of what a closure writes, in a file.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use crate::context::BuildContext;
use crate::emitter::Emitter;
use crate::stage::Stage;
use heqis_core::Committed;
use heqis_core::Frame;
use heqis_core::{
    CommitLogFile, CommitRecord, Counter, Coverage, Covered, Ending, Nothing, Payload, Snapshot,
    StageError,
};

/// Records a line for each frame.
pub(crate) struct CommitLog<I, F> {
    file: CommitLogFile,
    committed: Committed,
    /// What the file held when it was opened: a batch that has failed may be in it.
    known: Coverage,
    line: Arc<F>,
    /// The frames of the current batch, which are acknowledged after the write.
    batch: Vec<Frame<I>>,
    records: Vec<CommitRecord>,
    duplicate: Counter,
    payload: PhantomData<fn(I)>,
}

impl<I, F> CommitLog<I, F> {
    pub(crate) fn open(path: &Path, line: Arc<F>, cx: &BuildContext) -> Result<Self, StageError> {
        let path = cx.path(path);
        let (file, records) = CommitLogFile::open(path).map_err(StageError::unavailable)?;
        let mut known = Coverage::default();
        for record in &records {
            cx.committed().insert_origins(&record.origins);
            known.insert(&record.origins);
        }
        Ok(Self {
            file,
            committed: cx.committed().clone(),
            known,
            line,
            batch: Vec::new(),
            records: Vec::new(),
            duplicate: cx.counter("duplicate"),
            payload: PhantomData,
        })
    }
}

impl<I: Payload, F: Fn(&Frame<I>) -> String + 'static> Stage for CommitLog<I, F> {
    type Config = ();
    type In = I;
    type Out = Nothing;
    const KIND: &'static str = "commit-log";
    const COMMIT_LOG: bool = true;
    const TAKES_WARM_UP: bool = false;

    fn process(
        &mut self,
        frame: &Frame<I>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        let head = frame.head();
        if self.known.covers_head(head.origin, head.merged.as_deref()) == Covered::All {
            self.duplicate.inc();
            return Ok(());
        }
        self.records.push(CommitRecord {
            origins: frame.head().origins(),
            text: (self.line)(frame),
        });
        self.batch.push(frame.clone());
        Ok(())
    }

    fn flush(&mut self, _: &mut Emitter<'_, Nothing>) -> Result<(), StageError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.file
            .append(&self.records)
            .map_err(StageError::unavailable)?;
        self.records.clear();
        for frame in self.batch.drain(..) {
            self.committed.insert_head(frame.head());
        }
        Ok(())
    }

    /// The file holds the state.
    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn drain(&mut self, _: Ending, _: &mut Emitter<'_, Nothing>) -> Result<(), StageError> {
        self.file.sync().map_err(StageError::unavailable)
    }
}
