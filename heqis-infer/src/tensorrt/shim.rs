//! The C interface of `tensorrt/shim.cpp`, under a value that owns runtime, engine and execution context.
#![allow(
    unsafe_code,
    reason = "the border to the shim over NVIDIA's C++ library; nothing outside this file and the driver's touches it"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::NonNull;

use libloading::Library;

use super::fault::TensorrtFault;

/// Version of the interface below; the shim must have the same.
const ABI: c_int = 1;
/// Size of the buffer for an error message.
const WORDS: usize = 1024;

/// Returns a function of a library.
///
/// # Safety
///
/// `F` must be the function's type, and the library must stay loaded for as long as it is called.
pub(super) unsafe fn entry<F: Copy>(
    library: &Library,
    path: &Path,
    name: &'static str,
) -> Result<F, TensorrtFault> {
    // SAFETY: guaranteed by the caller.
    unsafe { library.get::<F>(name.as_bytes()) }
        .map(|symbol| *symbol)
        .map_err(|_| TensorrtFault::Symbol {
            path: path.display().to_string(),
            name,
        })
}

/// A tensor as the shim describes it.
#[repr(C)]
struct RawTensor {
    name: [c_char; 256],
    is_input: i32,
    element: i32,
    rank: i32,
    dims: [i64; 8],
}

/// The functions, each checked to be there.
struct Calls {
    open: unsafe extern "C" fn(*const c_char, *mut c_char, usize) -> *mut c_void,
    version: unsafe extern "C" fn(*const c_void) -> c_int,
    load: unsafe extern "C" fn(*mut c_void, *const c_void, usize, *mut c_char, usize) -> c_int,
    io_count: unsafe extern "C" fn(*const c_void) -> c_int,
    io: unsafe extern "C" fn(*const c_void, c_int, *mut RawTensor) -> c_int,
    enqueue: unsafe extern "C" fn(
        *mut c_void,
        *const *mut c_void,
        *mut c_void,
        *mut c_char,
        usize,
    ) -> c_int,
    close: unsafe extern "C" fn(*mut c_void),
    /// Keeps the functions loaded.
    _library: Library,
}

/// A tensor of an engine.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct IoTensor {
    pub(super) name: String,
    pub(super) is_input: bool,
    /// TensorRT's number of the element type.
    pub(super) element: i32,
    /// Dimensions; −1 for a dynamic one.
    pub(super) dims: Vec<i64>,
}

/// TensorRT and, after [`load`](Runtime::load), one engine.
pub(super) struct Runtime {
    calls: Calls,
    raw: NonNull<c_void>,
    /// The device address of each tensor of the engine.
    addresses: Vec<*mut c_void>,
}

// SAFETY: the value owns the runtime, which has no thread of its own and is used by one at a time; the addresses are only
// passed to the device.
unsafe impl Send for Runtime {}

impl Runtime {
    /// Loads the shim, and TensorRT through it.
    pub(super) fn open(shim: &Path, tensorrt: &Path) -> Result<Runtime, TensorrtFault> {
        let path = shim.display().to_string();
        // SAFETY: loading runs the library's initialisers. Who configures the path, or owns the loader's directories,
        // decides what code runs, as with any linked library.
        let library = unsafe { Library::new(shim) }.map_err(|error| TensorrtFault::Library {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        // SAFETY: `abi` keeps its type for ever; the others have these types when it answers `ABI`.
        let calls = unsafe {
            let abi: unsafe extern "C" fn() -> c_int = entry(&library, shim, "heqis_tensorrt_abi")?;
            let found = abi();
            if found != ABI {
                return Err(TensorrtFault::ShimAbi { path, found });
            }
            Calls {
                open: entry(&library, shim, "heqis_tensorrt_open")?,
                version: entry(&library, shim, "heqis_tensorrt_version")?,
                load: entry(&library, shim, "heqis_tensorrt_load")?,
                io_count: entry(&library, shim, "heqis_tensorrt_io_count")?,
                io: entry(&library, shim, "heqis_tensorrt_io")?,
                enqueue: entry(&library, shim, "heqis_tensorrt_enqueue")?,
                close: entry(&library, shim, "heqis_tensorrt_close")?,
                _library: library,
            }
        };
        let fault = |reason: String| TensorrtFault::Library {
            path: tensorrt.display().to_string(),
            reason,
        };
        let name = CString::new(tensorrt.as_os_str().as_encoded_bytes())
            .map_err(|error| fault(error.to_string()))?;
        let mut words = [0; WORDS];
        // SAFETY: name and words outlive the call, and `WORDS` is the room for the latter.
        let raw = unsafe { (calls.open)(name.as_ptr(), words.as_mut_ptr(), WORDS) };
        match NonNull::new(raw) {
            Some(raw) => Ok(Runtime {
                calls,
                raw,
                addresses: Vec::new(),
            }),
            None => Err(fault(text(&words))),
        }
    }

    /// Returns the library's version, such as `8.5.2`.
    pub(super) fn version(&self) -> String {
        // SAFETY: the runtime is live.
        let number = unsafe { (self.calls.version)(self.raw.as_ptr()) };
        // Four digits until TensorRT 9, six since 10.
        let major = if number < 100_000 { 1000 } else { 10_000 };
        let (major, rest) = (number / major, number % major);
        format!("{major}.{}.{}", rest / 100, rest % 100)
    }

    /// Reads a serialised engine.
    pub(super) fn load(&mut self, engine: &[u8]) -> Result<(), TensorrtFault> {
        let mut words = [0; WORDS];
        // SAFETY: the runtime is live; engine and words outlive the call and have these lengths.
        let code = unsafe {
            (self.calls.load)(
                self.raw.as_ptr(),
                engine.as_ptr().cast(),
                engine.len(),
                words.as_mut_ptr(),
                WORDS,
            )
        };
        said(code, &words)
    }

    /// Describes the tensors of the engine that was loaded.
    pub(super) fn tensors(&self) -> Result<Vec<IoTensor>, TensorrtFault> {
        // SAFETY: the runtime is live and has an engine.
        let count = unsafe { (self.calls.io_count)(self.raw.as_ptr()) };
        (0..count)
            .map(|index| {
                let mut raw = RawTensor {
                    name: [0; 256],
                    is_input: 0,
                    element: 0,
                    rank: 0,
                    dims: [0; 8],
                };
                // SAFETY: the runtime is live and has an engine; `raw` outlives the call.
                let code = unsafe { (self.calls.io)(self.raw.as_ptr(), index, &raw mut raw) };
                let rank = usize::try_from(raw.rank).unwrap_or(usize::MAX);
                match raw.dims.get(..rank) {
                    Some(dims) if code == 0 => Ok(IoTensor {
                        name: text(&raw.name),
                        is_input: raw.is_input != 0,
                        element: raw.element,
                        dims: dims.to_vec(),
                    }),
                    _ => Err(TensorrtFault::Call(format!(
                        "tensor {index} of the engine cannot be described"
                    ))),
                }
            })
            .collect()
    }

    /// Sets the memory of each tensor, in the engine's order: memory of the device as large as the tensor, which must stay
    /// live as long as the runtime computes.
    pub(super) fn bind(&mut self, addresses: Vec<*mut c_void>) {
        self.addresses = addresses;
    }

    /// Starts the computation on a stream, which must be live until it has been waited for.
    pub(super) fn enqueue(&mut self, stream: *mut c_void) -> Result<(), TensorrtFault> {
        let mut words = [0; WORDS];
        // SAFETY: the runtime is live and has an engine; `bind` was given an address for each of its tensors at their size.
        let code = unsafe {
            (self.calls.enqueue)(
                self.raw.as_ptr(),
                self.addresses.as_ptr(),
                stream,
                words.as_mut_ptr(),
                WORDS,
            )
        };
        said(code, &words)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // SAFETY: the runtime is live and not used after this call.
        unsafe { (self.calls.close)(self.raw.as_ptr()) };
    }
}

fn said(code: c_int, words: &[c_char]) -> Result<(), TensorrtFault> {
    match code {
        0 => Ok(()),
        _ => Err(TensorrtFault::Call(text(words))),
    }
}

/// Reads a C string that may fill its array without a terminator.
fn text(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().map(|&byte| byte.to_ne_bytes()[0]).collect();
    match CStr::from_bytes_until_nul(&bytes) {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    }
}
