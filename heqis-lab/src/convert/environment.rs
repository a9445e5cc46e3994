//! A Python environment for Rockchip's toolkit.
//!
//! The toolkit imports torch but does not use it for ONNX models. A small stub replaces the 4 GB package.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::LabError;

/// Every package with its version, so that the environment is reproducible.
const PACKAGES: &str = include_str!("requirements.txt");
/// The stub of torch.
const TORCH: &str = include_str!("torch.py");

/// Makes the environment and returns the lines to show.
///
/// # Errors
///
/// [`LabError::Rule`] when a step fails, with the last line of its message; [`LabError::Data`] when a file cannot be written.
pub fn make(program: &Path, env: &Path) -> Result<Vec<String>, LabError> {
    let requirements = env.join("requirements.txt");
    call(Command::new(program).args(["-m", "venv"]).arg(env))?;
    write(&requirements, PACKAGES)?;
    let program = python(env);
    // The list is complete; the stub replaces the only dependency beyond it.
    let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "-r"];
    call(Command::new(&program).args(pip).arg(&requirements))?;
    let place = "import sysconfig; print(sysconfig.get_paths()['purelib'], end='')";
    let place = PathBuf::from(call(Command::new(&program).args(["-c", place]))?);
    let torch = place.join("torch");
    std::fs::create_dir_all(&torch).map_err(|source| LabError::file(&torch, source))?;
    write(&torch.join("__init__.py"), TORCH)?;
    call(Command::new(&program).args(["-c", "import rknn.api"]))?;
    Ok(vec![format!("made {}", env.display())])
}

/// Returns the Python of an environment.
#[must_use]
pub fn python(env: &Path) -> PathBuf {
    env.join("bin/python")
}

fn write(path: &Path, text: &str) -> Result<(), LabError> {
    std::fs::write(path, text).map_err(|source| LabError::file(path, source))
}

/// Runs a step and returns its output.
fn call(command: &mut Command) -> Result<String, LabError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|source| LabError::file(Path::new(&name), source))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => {
            let message = text(&output.stderr);
            let last = message.lines().last().unwrap_or("no message");
            Err(LabError::rule(
                "convert",
                format!("{name}: {}: {last}", output.status),
            ))
        }
    }
}
