//! Rockchip's toolkit in a Python environment of its own.
//!
//! The toolkit asks for torch, which it imports and does not use for ONNX models: 4 GB that a small stand-in saves.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::LabError;

/// Every package with its version, so that the environment is the same wherever it is made.
const PACKAGES: &str = include_str!("requirements.txt");
/// What takes torch's place.
const TORCH: &str = include_str!("torch.py");

/// Makes the environment and returns the lines to show.
///
/// # Errors
///
/// [`LabError::Rule`] when a step fails, with its last words; [`LabError::Data`] when a file cannot be written.
pub fn make(program: &Path, env: &Path) -> Result<Vec<String>, LabError> {
    let requirements = env.join("requirements.txt");
    call(Command::new(program).args(["-m", "venv"]).arg(env))?;
    write(&requirements, PACKAGES)?;
    let program = python(env);
    // The list is complete: what a package asks for beyond it is what the stand-in is for.
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

/// Runs a step to its end and returns what it says.
fn call(command: &mut Command) -> Result<String, LabError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|source| LabError::file(Path::new(&name), source))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => {
            let words = text(&output.stderr);
            let last = words.lines().last().unwrap_or("no words");
            Err(LabError::rule(
                "convert",
                format!("{name}: {}: {last}", output.status),
            ))
        }
    }
}
