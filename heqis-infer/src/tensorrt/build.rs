//! Building an engine from an ONNX model by NVIDIA's `trtexec`, once per model, version of TensorRT and GPU.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::fault::{EngineInfo, TensorrtFault};

/// Longest time that building an engine may take; minutes are usual on a Jetson.
pub const BUILD_LIMIT: Duration = Duration::from_secs(15 * 60);
/// Interval at which the builder is polled.
const POLL: Duration = Duration::from_millis(20);
/// Bytes of the builder's last output in the error message.
const TAIL: usize = 300;

/// Returns the engine of a model from the cache, or builds it.
#[expect(
    clippy::disallowed_methods,
    reason = "an engine file that can be built again"
)]
pub(super) fn engine(
    trtexec: &Path,
    model: &[u8],
    info: &EngineInfo,
    cache: &Path,
    stop: &AtomicBool,
) -> Result<Vec<u8>, TensorrtFault> {
    let dir = cache.join("tensorrt");
    let kept = dir.join(format!("{}.engine", key(model, info)));
    match fs::read(&kept) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read.map_err(|error| fault(&kept, &error)),
    }
    fs::create_dir_all(&dir).map_err(|error| fault(&dir, &error))?;
    // With the process id, so that two builds at the same time do not write to one file.
    let with = |ending: &str| kept.with_extension(format!("{}.{ending}", std::process::id()));
    let (onnx, part, log) = (with("onnx"), with("part"), with("log"));
    fs::write(&onnx, model).map_err(|error| fault(&onnx, &error))?;
    tracing::info!(%info, engine = %kept.display(), "building a tensorrt engine, which takes minutes");
    let built = run(trtexec, &onnx, &part, &log, stop).and_then(|()| {
        let engine = fs::read(&part).map_err(|error| fault(&part, &error))?;
        fs::rename(&part, &kept).map_err(|error| fault(&kept, &error))?;
        Ok(engine)
    });
    for path in [onnx, part, log] {
        // Leftovers of a failure; the engine itself has been moved.
        let _ = fs::remove_file(path);
    }
    built
}

/// Name of an engine: the hash of everything that it depends on. Each part is preceded by its length, so that the parts
/// cannot be confused.
fn key(model: &[u8], info: &EngineInfo) -> String {
    let mut hash = Sha256::new();
    for part in [
        model,
        info.tensorrt.as_bytes(),
        info.gpu.as_bytes(),
        b"fp16",
    ] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Runs the builder for at most [`BUILD_LIMIT`], or until `stop` is raised.
fn run(
    trtexec: &Path,
    onnx: &Path,
    engine: &Path,
    log: &Path,
    stop: &AtomicBool,
) -> Result<(), TensorrtFault> {
    let program = trtexec.display();
    let file = File::create(log).map_err(|error| fault(log, &error))?;
    let errors = file.try_clone().map_err(|error| fault(log, &error))?;
    let mut command = Command::new(trtexec);
    command
        .arg(format!("--onnx={}", onnx.display()))
        .arg(format!("--saveEngine={}", engine.display()))
        .arg("--fp16")
        // One short run: the flags that skip it have other names in other versions.
        .args(["--iterations=1", "--duration=0", "--warmUp=0"])
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors);
    ends_with_us(&mut command);
    let child = command
        .spawn()
        .map_err(|error| TensorrtFault::Build(format!("{program}: {error}")))?;
    let status = Guarded(child)
        .wait(BUILD_LIMIT, stop)
        .map_err(|error| TensorrtFault::Build(format!("{program}: {error}")))?;
    match status.success() {
        true => Ok(()),
        false => {
            let said = fs::read(log).unwrap_or_default();
            let tail =
                String::from_utf8_lossy(&said[said.len().saturating_sub(TAIL)..]).into_owned();
            let tail = tail.split_whitespace().collect::<Vec<_>>().join(" ");
            Err(TensorrtFault::Build(format!(
                "{program}: {status}: … {tail}"
            )))
        }
    }
}

/// Makes the kernel kill the builder when this process ends for any reason.
#[allow(unsafe_code, reason = "a hook between fork and exec")]
fn ends_with_us(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    let hook = || {
        let signal = rustix::process::Signal::KILL;
        rustix::process::set_parent_process_death_signal(Some(signal)).map_err(io::Error::from)
    };
    // SAFETY: the hook makes one system call and allocates nothing.
    unsafe { command.pre_exec(hook) };
}

/// A child that does not outlive its owner.
struct Guarded(Child);

impl Guarded {
    #[expect(
        clippy::disallowed_methods,
        reason = "bounds the run of another program in real time"
    )]
    fn wait(mut self, limit: Duration, stop: &AtomicBool) -> io::Result<std::process::ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            if stop.load(Ordering::Acquire) {
                let words = "cancelled, since the node stops";
                return Err(io::Error::new(io::ErrorKind::Interrupted, words));
            }
            if Instant::now() >= end {
                let words = format!("took longer than {} s", limit.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, words));
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Both do nothing when it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn fault(path: &Path, error: &io::Error) -> TensorrtFault {
    TensorrtFault::Build(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_builder_that_takes_too_long_or_is_cancelled_is_killed() {
        for (limit, stop, kind) in [
            (Duration::ZERO, false, io::ErrorKind::TimedOut),
            (BUILD_LIMIT, true, io::ErrorKind::Interrupted),
        ] {
            let child = Command::new("sleep").arg("600").spawn().unwrap();
            let id = child.id();
            let error = Guarded(child)
                .wait(limit, &AtomicBool::new(stop))
                .unwrap_err();
            assert_eq!(error.kind(), kind);
            // Reaped, so that not even a zombie is left.
            assert!(!Path::new(&format!("/proc/{id}")).exists());
        }
    }

    #[test]
    fn an_engine_is_named_by_model_version_and_gpu() {
        let info = |tensorrt: &str, gpu: &str| EngineInfo {
            tensorrt: tensorrt.to_owned(),
            gpu: gpu.to_owned(),
        };
        let names = [
            key(b"a", &info("8.5.2", "Xavier")),
            key(b"b", &info("8.5.2", "Xavier")),
            key(b"a", &info("8.5.3", "Xavier")),
            key(b"a", &info("8.5.2", "Orin")),
            key(b"a8", &info(".5.2", "Xavier")),
        ];
        for (i, name) in names.iter().enumerate() {
            assert_eq!(name.len(), 64);
            assert!(!names[..i].contains(name));
        }
    }
}
