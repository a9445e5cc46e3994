//! NVIDIA's driver: the device, a stream, and memory that both the CPU and the GPU see.
#![allow(
    unsafe_code,
    reason = "the border to NVIDIA's driver library; nothing outside this file and the shim's touches it"
)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::ptr::{NonNull, null, null_mut};
use std::sync::Arc;

use libloading::Library;

use super::fault::TensorrtFault;
use super::shim::entry;

/// `CU_MEMHOSTALLOC_DEVICEMAP`: the memory has an address on the device too.
const DEVICE_MAP: c_uint = 2;
/// `CU_STREAM_NON_BLOCKING`: the stream does not synchronise with others.
const NON_BLOCKING: c_uint = 1;

type Code = c_int;

/// The functions that are used, each checked to be there.
struct Calls {
    error_name: unsafe extern "C" fn(Code, *mut *const c_char) -> Code,
    context_release: unsafe extern "C" fn(c_int) -> Code,
    context_set: unsafe extern "C" fn(*mut c_void) -> Code,
    stream_create: unsafe extern "C" fn(*mut *mut c_void, c_uint) -> Code,
    stream_destroy: unsafe extern "C" fn(*mut c_void) -> Code,
    stream_wait: unsafe extern "C" fn(*mut c_void) -> Code,
    allocate: unsafe extern "C" fn(*mut *mut c_void, usize, c_uint) -> Code,
    device_pointer: unsafe extern "C" fn(*mut u64, *mut c_void, c_uint) -> Code,
    free: unsafe extern "C" fn(*mut c_void) -> Code,
    /// Keeps the functions loaded.
    _library: Library,
}

impl Calls {
    fn check(&self, call: &str, code: Code) -> Result<(), TensorrtFault> {
        if code == 0 {
            return Ok(());
        }
        let mut name: *const c_char = null();
        // SAFETY: `name` outlives the call, which points it to a constant text or leaves it null.
        let known = unsafe { (self.error_name)(code, &raw mut name) } == 0 && !name.is_null();
        let name = match known {
            // SAFETY: the driver documents this as a constant, terminated string.
            true => unsafe { CStr::from_ptr(name) }
                .to_string_lossy()
                .into_owned(),
            false => "unknown code".to_owned(),
        };
        Err(TensorrtFault::Cuda {
            call: call.to_owned(),
            code,
            name,
        })
    }
}

/// The first device, with its primary context.
pub(super) struct Device {
    calls: Calls,
    index: c_int,
    context: *mut c_void,
    name: String,
}

// SAFETY: the driver's functions may be called by any thread; `enter` makes the context current on the calling one.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

impl Device {
    /// Loads the driver and opens the first device.
    pub(super) fn open(path: &Path) -> Result<Arc<Device>, TensorrtFault> {
        // SAFETY: loading runs the library's initialisers. Who configures the path, or owns the loader's directories,
        // decides what code runs, as with any linked library.
        let library = unsafe { Library::new(path) }.map_err(|error| TensorrtFault::Library {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
        // SAFETY: the types are those of the driver's interface, by these names since CUDA 10.
        let (init, device_get, device_name, retain, calls) = unsafe {
            let init: unsafe extern "C" fn(c_uint) -> Code = entry(&library, path, "cuInit")?;
            let get: unsafe extern "C" fn(*mut c_int, c_int) -> Code =
                entry(&library, path, "cuDeviceGet")?;
            let name: unsafe extern "C" fn(*mut c_char, c_int, c_int) -> Code =
                entry(&library, path, "cuDeviceGetName")?;
            let retain: unsafe extern "C" fn(*mut *mut c_void, c_int) -> Code =
                entry(&library, path, "cuDevicePrimaryCtxRetain")?;
            let calls = Calls {
                error_name: entry(&library, path, "cuGetErrorName")?,
                context_release: entry(&library, path, "cuDevicePrimaryCtxRelease")?,
                context_set: entry(&library, path, "cuCtxSetCurrent")?,
                stream_create: entry(&library, path, "cuStreamCreate")?,
                stream_destroy: entry(&library, path, "cuStreamDestroy_v2")?,
                stream_wait: entry(&library, path, "cuStreamSynchronize")?,
                allocate: entry(&library, path, "cuMemHostAlloc")?,
                device_pointer: entry(&library, path, "cuMemHostGetDevicePointer_v2")?,
                free: entry(&library, path, "cuMemFreeHost")?,
                _library: library,
            };
            (init, get, name, retain, calls)
        };
        let (mut index, mut context) = (0, null_mut());
        let mut name = [0 as c_char; 256];
        // SAFETY: every pointer is to a local that outlives its call, and 255 leaves an end to the name.
        unsafe {
            calls.check("cuInit", init(0))?;
            calls.check("cuDeviceGet", device_get(&raw mut index, 0))?;
            calls.check(
                "cuDeviceGetName",
                device_name(name.as_mut_ptr(), 255, index),
            )?;
            calls.check("cuDevicePrimaryCtxRetain", retain(&raw mut context, index))?;
        }
        // SAFETY: the last byte is zero, so the text ends.
        let name = unsafe { CStr::from_ptr(name.as_ptr()) };
        Ok(Arc::new(Device {
            calls,
            index,
            context,
            name: name.to_string_lossy().into_owned(),
        }))
    }

    /// Returns the name that engines are built for.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes the context current on the calling thread, which every other call requires.
    pub(super) fn enter(&self) -> Result<(), TensorrtFault> {
        // SAFETY: the context is retained for as long as this value lives.
        let code = unsafe { (self.calls.context_set)(self.context) };
        self.calls.check("cuCtxSetCurrent", code)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: retained once, released once; streams and memory hold the device and are gone.
        let code = unsafe { (self.calls.context_release)(self.index) };
        if code != 0 {
            tracing::warn!(code, "cuDevicePrimaryCtxRelease failed");
        }
    }
}

/// A stream of the device.
pub(super) struct Stream {
    device: Arc<Device>,
    raw: *mut c_void,
}

// SAFETY: see `Device`; the stream is used by one thread at a time, which `&mut` on the engine sees to.
unsafe impl Send for Stream {}

impl Stream {
    pub(super) fn new(device: &Arc<Device>) -> Result<Self, TensorrtFault> {
        let mut raw = null_mut();
        // SAFETY: `raw` outlives the call.
        let code = unsafe { (device.calls.stream_create)(&raw mut raw, NON_BLOCKING) };
        device.calls.check("cuStreamCreate", code)?;
        Ok(Self {
            device: device.clone(),
            raw,
        })
    }

    pub(super) fn raw(&self) -> *mut c_void {
        self.raw
    }

    /// Waits until the device has completed the stream's work.
    pub(super) fn wait(&self) -> Result<(), TensorrtFault> {
        // SAFETY: the stream is live.
        let code = unsafe { (self.device.calls.stream_wait)(self.raw) };
        self.device.calls.check("cuStreamSynchronize", code)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: the stream is live and not used after this call.
        let code = unsafe { (self.device.calls.stream_destroy)(self.raw) };
        if code != 0 {
            tracing::warn!(code, "cuStreamDestroy failed");
        }
    }
}

/// Memory of 4-byte elements that the CPU reads and writes and the device computes on. On a Jetson both share one memory, so
/// that nothing is copied.
pub(super) struct Memory {
    device: Arc<Device>,
    host: NonNull<u32>,
    address: u64,
    len: usize,
}

// SAFETY: see `Stream`.
unsafe impl Send for Memory {}

impl Memory {
    /// Allocates `len` elements, all zero.
    pub(super) fn new(device: &Arc<Device>, len: usize) -> Result<Self, TensorrtFault> {
        let calls = &device.calls;
        let mut host = null_mut();
        // SAFETY: `host` outlives the call.
        let code = unsafe { (calls.allocate)(&raw mut host, len.saturating_mul(4), DEVICE_MAP) };
        calls.check("cuMemHostAlloc", code)?;
        let host = NonNull::new(host.cast::<u32>()).ok_or_else(|| TensorrtFault::Cuda {
            call: "cuMemHostAlloc".to_owned(),
            code: 0,
            name: "gave no memory".to_owned(),
        })?;
        let mut memory = Self {
            device: device.clone(),
            host,
            address: 0,
            len,
        };
        // SAFETY: the driver gave this many bytes, aligned to pages, and nothing else uses them yet.
        unsafe { std::ptr::write_bytes(host.as_ptr(), 0, len) };
        // SAFETY: `host` is memory of this driver, mapped for the device. On a failure `memory` frees it.
        let code =
            unsafe { (calls.device_pointer)(&raw mut memory.address, host.as_ptr().cast(), 0) };
        calls.check("cuMemHostGetDevicePointer", code)?;
        Ok(memory)
    }

    /// Returns the address for the device.
    pub(super) fn address(&self) -> *mut c_void {
        std::ptr::with_exposed_provenance_mut(self.address as usize)
    }

    /// Returns the elements' bits.
    pub(super) fn bits(&self) -> &[u32] {
        // SAFETY: live memory of `len` elements, all initialised; the device writes only between `enqueue` and `wait`,
        // for which the engine is borrowed mutably.
        unsafe { std::slice::from_raw_parts(self.host.as_ptr(), self.len) }
    }

    /// Returns the elements' bits, mutable.
    pub(super) fn bits_mut(&mut self) -> &mut [u32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.host.as_ptr(), self.len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the memory is live and not used after this call.
        let code = unsafe { (self.device.calls.free)(self.host.as_ptr().cast()) };
        if code != 0 {
            tracing::warn!(code, "cuMemFreeHost failed");
        }
    }
}
