//! The input of live sources: the channel from the threads that read to the pipeline, and its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use heqis_actors::{BuildContext, Next, StageError, Waker};
use heqis_messages::BarMessage;
use heqis_quant::Bar;

use super::admission::Admission;
use super::live_config::LiveConfig;
use super::past::Past;

/// Bars that wait between the reading threads and the pipeline. A full channel makes the threads stop reading, so that the
/// sender waits.
const CHANNEL: usize = 256;

/// The receiving end of a live source: the bars of its threads that are admitted, after those of its files.
#[derive(Debug)]
pub(super) struct LiveInput {
    /// `None` once the input is closed.
    bars: Option<Receiver<Bar>>,
    closed: Arc<AtomicBool>,
    admission: Admission,
    past: Past,
}

/// The sending end, one for each thread that reads.
#[derive(Clone, Debug)]
pub(super) struct LiveSender {
    bars: SyncSender<Bar>,
    closed: Arc<AtomicBool>,
    waker: Waker,
}

impl LiveInput {
    /// Returns both ends.
    ///
    /// # Errors
    /// [`StageError::Config`] when a file of symbols or of bars cannot be read.
    pub(super) fn open(
        config: &LiveConfig,
        cx: &BuildContext,
    ) -> Result<(Self, LiveSender), StageError> {
        let (sender, bars) = sync_channel(CHANNEL);
        let closed = Arc::new(AtomicBool::new(false));
        let input = Self {
            bars: Some(bars),
            closed: closed.clone(),
            admission: Admission::new(cx, config)?,
            past: Past::open(&config.warm_up, cx)?,
        };
        let sender = LiveSender {
            bars: sender,
            closed,
            waker: cx.waker(),
        };
        Ok((input, sender))
    }

    /// Returns the next bar from before the source, for [`heqis_actors::Source::warm_up`].
    pub(super) fn warm_up(&mut self) -> Result<Option<BarMessage>, StageError> {
        self.past.next()
    }

    /// Returns the next admitted bar; [`Next::End`] when every sender is gone.
    pub(super) fn next(&mut self) -> Next<BarMessage> {
        let Some(bars) = &self.bars else {
            return Next::End;
        };
        loop {
            return match bars.try_recv() {
                Ok(bar) if self.admission.admit(&bar) => Next::Item(BarMessage(bar)),
                Ok(_) => continue,
                Err(TryRecvError::Empty) => Next::Waiting,
                Err(TryRecvError::Disconnected) => Next::End,
            };
        }
    }

    /// Makes every sender fail, also one that waits for room in the channel.
    pub(super) fn close(&mut self) {
        self.closed.store(true, Ordering::Release);
        self.bars = None;
    }
}

impl LiveSender {
    /// Passes a bar on and wakes the source; waits while the channel is full. Returns `false` once the input is closed.
    pub(super) fn send(&self, bar: Bar) -> bool {
        let taken = self.bars.send(bar).is_ok();
        self.wake();
        taken
    }

    /// Lets the source look for its end.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// Returns whether the input is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}
