//! `serial`: bars from a serial line (UART, USB adapter), so that a microcontroller or a modem can be the feed; emits
//! [`BarMessage`]s.
//!
//! On the line each bar is a JSON object as `tcp-lines` reads it, in a frame of its own: a CRC-32 after it, COBS over
//! both, a zero byte at the end (`frames`). Noise costs the frame that it hits. A line that goes away, such as an adapter
//! that is pulled out, is opened again as soon as it is back, with pauses that grow up to two seconds.
//!
//! One thread reads and sends bars over a bounded channel. When the pipeline is full the thread stops reading, the
//! kernel's buffer fills, and with `flow = "rts-cts"` the sender waits; without it, bytes that arrive then are lost in the kernel
//! and cause a broken frame.
//!
//! Counts `connect` and `disconnect`; `bad_frame` for bytes between two zero bytes that are not a frame, of these
//! `bad_frame_cobs`, `bad_frame_crc` and `bad_frame_long`; `bad_bar` for frames that are not bars, of these
//! `bad_bar_syntax` and `bad_bar_value`; `refused_symbol` for bars of symbols above the limit and `future_bar` for those of a
//! day after tomorrow.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use heqis_actors::{BuildContext, Counter, LogLimit, Next, Source, StageError};
use heqis_messages::BarMessage;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{ControlModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bad_input::BadInput;
use super::frames::{Frames, Noise};
use super::json_bar::json_bar;
use super::live::{LiveInput, LiveSender};
use super::live_config::{LiveConfig, outside};

/// Bytes that are asked for at once.
const CHUNK: usize = 1024;
/// How often the thread checks whether it must end.
const POLL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// Shortest and longest pause before a line is opened again.
const REOPEN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Least and most that may be asked for.
const FRAME_BYTES: (usize, usize) = (64, 65_536);
const BAUD: (u32, u32) = (50, 4_000_000);

/// Parity bit of a character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Parity {
    /// No parity bit.
    #[default]
    None,
    /// The ones are even in number.
    Even,
    /// The ones are odd in number.
    Odd,
}

/// How the receiving side makes the sender wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Flow {
    /// Not at all.
    #[default]
    None,
    /// By the lines RTS and CTS.
    RtsCts,
}

/// Parameters of a `serial` source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SerialConfig {
    /// The line, such as `/dev/ttyS3`, or better a name that stays, such as `/dev/serial/by-id/…`. It need not be there yet.
    pub path: PathBuf,
    /// Bits a second; eight data bits, one stop bit.
    #[serde(default = "baud")]
    #[schemars(range(min = BAUD.0, max = BAUD.1))]
    pub baud: u32,
    /// Parity bit.
    #[serde(default)]
    pub parity: Parity,
    /// How the sender is made to wait.
    #[serde(default)]
    pub flow: Flow,
    /// Longest frame, bytes; a longer one is passed over.
    #[serde(default = "max_frame_bytes")]
    #[schemars(range(min = FRAME_BYTES.0, max = FRAME_BYTES.1))]
    pub max_frame_bytes: usize,
    /// Symbols that are admitted, and bars from before.
    #[serde(flatten)]
    pub live: LiveConfig,
}

fn baud() -> u32 {
    115_200
}

fn max_frame_bytes() -> usize {
    4096
}

/// Reads bars from a serial line.
#[derive(Debug)]
pub struct Serial {
    input: LiveInput,
    reader: Option<JoinHandle<()>>,
}

impl Source for Serial {
    type Config = SerialConfig;
    type Out = BarMessage;
    const KIND: &'static str = "serial";
    const ABOUT: &'static str = "Takes bars from a serial line, in frames with a checksum.";
    const REPLAYABLE: bool = false;

    fn check(config: &SerialConfig, base: &Path) -> Vec<String> {
        outside("max_frame_bytes", config.max_frame_bytes, FRAME_BYTES)
            .into_iter()
            .chain(outside("baud", config.baud, BAUD))
            .chain(config.live.faults(base))
            .chain(no_line(&base.join(&config.path)))
            .collect()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a blocking read has a thread, joined when the source is dropped"
    )]
    fn build(config: &SerialConfig, cx: &BuildContext) -> Result<Self, StageError> {
        // Refuses the same where nothing was checked before, as in a test.
        let faults = Self::check(config, &cx.path(""));
        if !faults.is_empty() {
            return Err(StageError::Config(faults.join("; ")));
        }
        let (input, sender) = LiveInput::open(&config.live, cx)?;
        let line = Line {
            path: cx.path(&config.path),
            config: config.clone(),
            frames: Frames::new(config.max_frame_bytes),
            sender,
            stage: cx.stage().to_owned(),
            connect: cx.counter("connect"),
            disconnect: cx.counter("disconnect"),
            bad_frame: cx.counter("bad_frame"),
            bad_frames: ["cobs", "crc", "long"].map(|why| cx.counter(&format!("bad_frame_{why}"))),
            bad_bars: BadInput::new(cx, "bad_bar"),
            log: LogLimit::new(cx.clock().clone()),
            away: LogLimit::new(cx.clock().clone()),
        };
        let reader = std::thread::Builder::new()
            .name("serial".into())
            .spawn(move || line.read())
            .map_err(StageError::config)?;
        Ok(Self {
            input,
            reader: Some(reader),
        })
    }

    fn warm_up(&mut self) -> Result<Option<BarMessage>, StageError> {
        self.input.warm_up()
    }

    fn next(&mut self) -> Result<Next<BarMessage>, StageError> {
        Ok(self.input.next())
    }
}

impl Drop for Serial {
    fn drop(&mut self) {
        self.input.close();
        if let Some(reader) = self.reader.take() {
            reader.thread().unpark();
            let _ = reader.join();
        }
    }
}

/// The thread that reads.
struct Line {
    path: PathBuf,
    config: SerialConfig,
    frames: Frames,
    sender: LiveSender,
    stage: String,
    connect: Counter,
    disconnect: Counter,
    bad_frame: Counter,
    bad_frames: [Counter; 3],
    bad_bars: BadInput,
    log: LogLimit,
    /// For a line that is not there: an adapter may be away for days.
    away: LogLimit,
}

/// Why reading ended.
enum End {
    /// The line went away.
    Gone(io::Error),
    /// The input is closed.
    Stopped,
}

impl Line {
    fn read(mut self) {
        let mut pause = REOPEN.0;
        while !self.sender.is_closed() {
            match open(&self.path, &self.config) {
                Ok(port) => {
                    self.connect.inc();
                    tracing::info!(stage = %self.stage, path = %self.path.display(), "line open");
                    pause = REOPEN.0;
                    self.frames.reset();
                    match self.take(port) {
                        End::Stopped => return,
                        End::Gone(error) => {
                            self.disconnect.inc();
                            if let Some(left_out) = self.log.admit() {
                                tracing::warn!(stage = %self.stage, path = %self.path.display(), %error, suppressed = left_out, "line lost");
                            }
                        }
                    }
                }
                Err(error) => {
                    if let Some(left_out) = self.away.admit() {
                        tracing::warn!(stage = %self.stage, path = %self.path.display(), %error, suppressed = left_out, "line cannot be opened, will retry");
                    }
                }
            }
            std::thread::park_timeout(pause);
            pause = (pause * 2).min(REOPEN.1);
        }
    }

    /// Reads until the line goes away or the source is dropped.
    fn take(&mut self, mut port: File) -> End {
        let mut chunk = [0; CHUNK];
        while !self.sender.is_closed() {
            let mut waiting = [PollFd::new(&port, PollFlags::IN)];
            match poll(&mut waiting, Some(&POLL)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return End::Gone(error.into()),
            }
            match port.read(&mut chunk) {
                // Poll reported data, and the read returned no byte: the line was hung up.
                Ok(0) => return End::Gone(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    if !self.feed(&chunk[..count]) {
                        return End::Stopped;
                    }
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                    ) => {}
                Err(error) => return End::Gone(error),
            }
        }
        End::Stopped
    }

    /// Sends the bars in `bytes`; returns `false` once the input is closed.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        let mut taken = true;
        let Self {
            frames,
            sender,
            bad_frame,
            bad_frames,
            bad_bars,
            log,
            stage,
            ..
        } = self;
        frames.feed(bytes, |frame| match frame.map(json_bar) {
            Ok(Ok(bar)) => taken &= sender.send(bar),
            Ok(Err(error)) => bad_bars.take((&error).into(), &error),
            Err(noise) => {
                bad_frame.inc();
                bad_frames[match noise {
                    Noise::Cobs => 0,
                    Noise::Crc => 1,
                    Noise::Long => 2,
                }]
                .inc();
                if let Some(left_out) = log.admit() {
                    tracing::warn!(%stage, ?noise, suppressed = left_out, "no frame");
                }
            }
        });
        taken
    }
}

/// Returns what is wrong with a path that can never be a line. A missing one may appear later.
fn no_line(path: &Path) -> Option<String> {
    let kind = std::fs::metadata(path).ok()?.file_type();
    (!kind.is_char_device()).then(|| format!("{}: must be a serial line", path.display()))
}

/// Opens a line for reading, raw and with its speed.
fn open(path: &Path, config: &SerialConfig) -> io::Result<File> {
    // Without O_NONBLOCK a line without a carrier would wait for one; NOCTTY keeps its signals away.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let port = rustix::fs::open(path, flags, Mode::empty())?;
    let mut settings = tcgetattr(&port)?;
    settings.make_raw();
    settings.set_speed(config.baud)?;
    let modes = &mut settings.control_modes;
    modes.remove(
        ControlModes::PARENB | ControlModes::PARODD | ControlModes::CSTOPB | ControlModes::CRTSCTS,
    );
    modes.insert(ControlModes::CREAD | ControlModes::CLOCAL);
    match config.parity {
        Parity::None => {}
        Parity::Even => modes.insert(ControlModes::PARENB),
        Parity::Odd => modes.insert(ControlModes::PARENB | ControlModes::PARODD),
    }
    if config.flow == Flow::RtsCts {
        modes.insert(ControlModes::CRTSCTS);
    }
    settings.special_codes[SpecialCodeIndex::VMIN] = 1;
    settings.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(&port, OptionalActions::Flush, &settings)?;
    Ok(port.into())
}
