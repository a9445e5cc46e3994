//! The vendor's runtime: raw calls under a session that owns the context and its memory.
#![allow(
    unsafe_code,
    reason = "the border to Rockchip's C library; nothing outside this file touches it"
)]

use std::ffi::{c_char, c_void};
use std::path::Path;
use std::ptr::NonNull;

use rknpu2_sys as sys;

use super::fault::{RknnFault, Versions};

/// How a tensor's dimensions are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Nchw,
    Nhwc,
    /// Channels in groups: N, C1, H, W, C2.
    Nc1hwc2,
    /// Row-major, for a tensor that is not an image.
    Undefined,
    Other(u32),
}

/// How an element is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ElementType {
    F32,
    F16,
    I8,
    U8,
    Other(u32),
}

/// The runtime's description of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TensorAttr {
    pub(super) name: String,
    /// Shape in the model, ordered by `format`.
    pub(super) dims: Vec<u32>,
    pub(super) format: Format,
    /// Shape in memory, ordered by `native_format`.
    pub(super) native_dims: Vec<u32>,
    pub(super) native_format: Format,
    pub(super) element: ElementType,
    pub(super) scale: f32,
    pub(super) zero_point: i32,
    /// Width in memory, 0 for the width itself.
    pub(super) w_stride: u32,
    /// Size of the memory.
    pub(super) bytes: u32,
}

/// The functions that are used, each checked to be there.
struct Calls {
    destroy: unsafe extern "C" fn(sys::rknn_context) -> i32,
    query: unsafe extern "C" fn(sys::rknn_context, sys::rknn_query_cmd, *mut c_void, u32) -> i32,
    create_mem: unsafe extern "C" fn(sys::rknn_context, u32) -> *mut sys::rknn_tensor_mem,
    destroy_mem: unsafe extern "C" fn(sys::rknn_context, *mut sys::rknn_tensor_mem) -> i32,
    set_io_mem: unsafe extern "C" fn(
        sys::rknn_context,
        *mut sys::rknn_tensor_mem,
        *mut sys::rknn_tensor_attr,
    ) -> i32,
    mem_sync: unsafe extern "C" fn(
        sys::rknn_context,
        *mut sys::rknn_tensor_mem,
        sys::rknn_mem_sync_mode,
    ) -> i32,
    run: unsafe extern "C" fn(sys::rknn_context, *mut sys::rknn_run_extend) -> i32,
    /// For chips with several cores; older libraries lack it.
    set_core_mask: Option<unsafe extern "C" fn(sys::rknn_context, sys::rknn_core_mask) -> i32>,
}

impl Calls {
    fn of(library: &sys::rknn, path: &Path) -> Result<Calls, RknnFault> {
        macro_rules! function {
            ($name:ident) => {
                function(&library.$name, path, stringify!($name))?
            };
        }
        Ok(Calls {
            destroy: function!(rknn_destroy),
            query: function!(rknn_query),
            create_mem: function!(rknn_create_mem),
            destroy_mem: function!(rknn_destroy_mem),
            set_io_mem: function!(rknn_set_io_mem),
            mem_sync: function!(rknn_mem_sync),
            run: function!(rknn_run),
            set_core_mask: library.rknn_set_core_mask.as_ref().ok().copied(),
        })
    }
}

/// Returns a function of the library's table.
fn function<F: Copy, E>(
    entry: &Result<F, E>,
    path: &Path,
    name: &'static str,
) -> Result<F, RknnFault> {
    entry.as_ref().copied().map_err(|_| RknnFault::Symbol {
        path: path.display().to_string(),
        name,
    })
}

/// Loads the library and the model, and returns the functions and the model's context.
fn init(path: &Path, model: &[u8]) -> Result<(sys::rknn, Calls, sys::rknn_context), RknnFault> {
    let size =
        u32::try_from(model.len()).map_err(|_| RknnFault::ModelSize { bytes: model.len() })?;
    // SAFETY: loading runs the library's initialisers. Who configures the path, or owns the loader's directories, decides
    // what code runs, as with any linked library.
    let library = unsafe { sys::rknn::new(path) }.map_err(|error| RknnFault::Library {
        path: path.display().to_string(),
        reason: error.to_string(),
    })?;
    let init = function(&library.rknn_init, path, "rknn_init")?;
    let destroy = function(&library.rknn_destroy, path, "rknn_destroy")?;
    let mut context = 0;
    // The interface takes the model without `const`; it gets a copy that it may write to.
    let mut model = model.to_vec();
    // SAFETY: `context` and `model` outlive the call, `size` is the model's length, and null asks for no extension.
    let code = unsafe {
        init(
            &raw mut context,
            model.as_mut_ptr().cast(),
            size,
            0,
            std::ptr::null_mut(),
        )
    };
    // Called before the other functions are resolved: without an NPU, its error code is more specific than a function that the
    // vendor's proxy for a PC lacks.
    check(code, || "rknn_init".to_owned())?;
    match Calls::of(&library, path) {
        Ok(calls) => Ok((library, calls, context)),
        Err(fault) => {
            // SAFETY: the context is live, and nothing uses it after this call.
            unsafe { destroy(context) };
            Err(fault)
        }
    }
}

/// A model's context on the NPU, with one bound buffer for each tensor.
pub(super) struct Session {
    calls: Calls,
    context: sys::rknn_context,
    versions: Versions,
    inputs: Vec<TensorAttr>,
    outputs: Vec<TensorAttr>,
    input_memory: Vec<NonNull<sys::rknn_tensor_mem>>,
    output_memory: Vec<NonNull<sys::rknn_tensor_mem>>,
    /// Keeps the functions loaded until the session is dropped.
    _library: sys::rknn,
}

// SAFETY: the context and its memory are owned by this value alone and have no thread of their own; the vendor asks only
// that one thread at a time uses a context, which `&mut self` on every call sees to.
unsafe impl Send for Session {}

impl Session {
    /// Loads the library and the model, and makes and binds a buffer for each tensor.
    pub(super) fn open(library: &Path, model: &[u8]) -> Result<Session, RknnFault> {
        let (library, calls, context) = init(library, model)?;
        // From here on, dropping the session frees everything.
        let mut session = Session {
            calls,
            context,
            versions: Versions {
                runtime: String::new(),
                driver: String::new(),
            },
            inputs: Vec::new(),
            outputs: Vec::new(),
            input_memory: Vec::new(),
            output_memory: Vec::new(),
            _library: library,
        };
        session.read_versions()?;
        session.bind_tensors()?;
        Ok(session)
    }

    /// Runs the model on the cores whose bits are set; with no bit set the runtime selects them.
    pub(super) fn set_cores(&mut self, path: &Path, mask: u8) -> Result<(), RknnFault> {
        let Some(set) = self.calls.set_core_mask else {
            return Err(RknnFault::Symbol {
                path: path.display().to_string(),
                name: "rknn_set_core_mask",
            });
        };
        // SAFETY: the context is live.
        let code = unsafe { set(self.context, mask.into()) };
        check(code, || "rknn_set_core_mask".to_owned())
    }

    pub(super) fn versions(&self) -> &Versions {
        &self.versions
    }

    pub(super) fn inputs(&self) -> &[TensorAttr] {
        &self.inputs
    }

    pub(super) fn outputs(&self) -> &[TensorAttr] {
        &self.outputs
    }

    /// The memory of an input.
    pub(super) fn input_bytes(&mut self, index: usize) -> &mut [u8] {
        // SAFETY: `create` has checked address and size of this memory, which lives until the session is dropped; the
        // mutable borrow of the session excludes every other access, the NPU's included, since `run` borrows it too.
        unsafe {
            let memory = self.input_memory[index].as_ref();
            std::slice::from_raw_parts_mut(memory.virt_addr.cast(), memory.size as usize)
        }
    }

    /// The memory of an output.
    pub(super) fn output_bytes(&self, index: usize) -> &[u8] {
        // SAFETY: as above; `run` needs a mutable borrow, so that nothing writes while this one lives.
        unsafe {
            let memory = self.output_memory[index].as_ref();
            std::slice::from_raw_parts(memory.virt_addr.cast(), memory.size as usize)
        }
    }

    /// Computes the outputs from the inputs, and waits for them.
    pub(super) fn run(&mut self) -> Result<(), RknnFault> {
        use sys::_rknn_mem_sync_mode::{
            RKNN_MEMORY_SYNC_FROM_DEVICE as FROM, RKNN_MEMORY_SYNC_TO_DEVICE as TO,
        };
        for (memory, attr) in self.input_memory.iter().zip(&self.inputs) {
            self.sync(*memory, TO, &attr.name)?;
        }
        // SAFETY: the context is live, every tensor has a bound memory, and null asks for a blocking run.
        let code = unsafe { (self.calls.run)(self.context, std::ptr::null_mut()) };
        check(code, || "rknn_run".to_owned())?;
        for (memory, attr) in self.output_memory.iter().zip(&self.outputs) {
            self.sync(*memory, FROM, &attr.name)?;
        }
        Ok(())
    }

    fn sync(
        &self,
        memory: NonNull<sys::rknn_tensor_mem>,
        mode: sys::rknn_mem_sync_mode,
        tensor: &str,
    ) -> Result<(), RknnFault> {
        // SAFETY: context and memory are live and belong together.
        let code = unsafe { (self.calls.mem_sync)(self.context, memory.as_ptr(), mode) };
        check(code, || format!("rknn_mem_sync of {tensor}"))
    }

    fn read_versions(&mut self) -> Result<(), RknnFault> {
        let mut version = sys::rknn_sdk_version {
            api_version: [0; 256],
            drv_version: [0; 256],
        };
        self.query(
            sys::_rknn_query_cmd::RKNN_QUERY_SDK_VERSION,
            &mut version,
            "versions",
        )?;
        self.versions = Versions {
            runtime: text(&version.api_version),
            driver: text(&version.drv_version),
        };
        Ok(())
    }

    fn bind_tensors(&mut self) -> Result<(), RknnFault> {
        use sys::_rknn_query_cmd as cmd;
        let mut count = sys::rknn_input_output_num {
            n_input: 0,
            n_output: 0,
        };
        self.query(cmd::RKNN_QUERY_IN_OUT_NUM, &mut count, "tensor counts")?;
        for index in 0..count.n_input {
            let (attr, memory) = self.bind(
                index,
                cmd::RKNN_QUERY_INPUT_ATTR,
                cmd::RKNN_QUERY_NATIVE_INPUT_ATTR,
                "input",
            )?;
            self.inputs.push(attr);
            self.input_memory.push(memory);
        }
        for index in 0..count.n_output {
            let (attr, memory) = self.bind(
                index,
                cmd::RKNN_QUERY_OUTPUT_ATTR,
                cmd::RKNN_QUERY_NATIVE_OUTPUT_ATTR,
                "output",
            )?;
            self.outputs.push(attr);
            self.output_memory.push(memory);
        }
        Ok(())
    }

    /// Allocates the memory of one tensor in the NPU's native layout, clears it, and binds it.
    fn bind(
        &mut self,
        index: u32,
        plain: sys::rknn_query_cmd,
        native: sys::rknn_query_cmd,
        kind: &str,
    ) -> Result<(TensorAttr, NonNull<sys::rknn_tensor_mem>), RknnFault> {
        let model = self.attr(index, plain, kind)?;
        let mut native = self.attr(index, native, kind)?;
        // The bytes are in the NPU's native encoding: the runtime must not convert them.
        native.pass_through = 1;
        let attr = attr(&model, &native);
        let memory = self.create(&attr)?;
        // SAFETY: context, memory and attribute are live; the runtime copies the attribute.
        let code =
            unsafe { (self.calls.set_io_mem)(self.context, memory.as_ptr(), &raw mut native) };
        match check(code, || format!("rknn_set_io_mem of {}", attr.name)) {
            Ok(()) => Ok((attr, memory)),
            Err(fault) => {
                self.destroy(memory);
                Err(fault)
            }
        }
    }

    fn create(&self, attr: &TensorAttr) -> Result<NonNull<sys::rknn_tensor_mem>, RknnFault> {
        let no_memory = || RknnFault::NoMemory {
            tensor: attr.name.clone(),
            bytes: attr.bytes,
        };
        // SAFETY: the context is live.
        let raw = unsafe { (self.calls.create_mem)(self.context, attr.bytes) };
        let memory = NonNull::new(raw).ok_or_else(no_memory)?;
        // SAFETY: the runtime returned a pointer to its own live structure.
        let (address, size) = unsafe { (memory.as_ref().virt_addr, memory.as_ref().size) };
        if address.is_null() || size < attr.bytes {
            self.destroy(memory);
            return Err(no_memory());
        }
        // SAFETY: the memory at `address` has `size` bytes and nothing uses it yet. It is cleared because it is read as
        // bytes, and because the padding between elements must not hold NaN.
        unsafe { std::ptr::write_bytes(address.cast::<u8>(), 0, size as usize) };
        Ok(memory)
    }

    fn destroy(&self, memory: NonNull<sys::rknn_tensor_mem>) {
        // SAFETY: the memory came from `create_mem` of this context and is not used after this call.
        let code = unsafe { (self.calls.destroy_mem)(self.context, memory.as_ptr()) };
        if code != 0 {
            tracing::warn!(code, "rknn_destroy_mem failed");
        }
    }

    fn attr(
        &self,
        index: u32,
        cmd: sys::rknn_query_cmd,
        kind: &str,
    ) -> Result<sys::rknn_tensor_attr, RknnFault> {
        // SAFETY: the structure holds integers, floats and arrays of them, for all of which zero bytes are a value.
        let mut attr: sys::rknn_tensor_attr = unsafe { std::mem::zeroed() };
        attr.index = index;
        self.query(cmd, &mut attr, kind)?;
        Ok(attr)
    }

    fn query<T>(
        &self,
        cmd: sys::rknn_query_cmd,
        answer: &mut T,
        what: &str,
    ) -> Result<(), RknnFault> {
        // Constant and small for every type that is queried here.
        let size = size_of::<T>() as u32;
        // SAFETY: `answer` is the structure that the interface names for `cmd`, and `size` is its size.
        let code =
            unsafe { (self.calls.query)(self.context, cmd, (answer as *mut T).cast(), size) };
        check(code, || format!("rknn_query of {what}"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for &memory in self.input_memory.iter().chain(&self.output_memory) {
            self.destroy(memory);
        }
        // SAFETY: the context is live and nothing of it is used after this call.
        let code = unsafe { (self.calls.destroy)(self.context) };
        if code != 0 {
            tracing::warn!(code, "rknn_destroy failed");
        }
    }
}

fn check(code: i32, call: impl FnOnce() -> String) -> Result<(), RknnFault> {
    match code {
        0 => Ok(()),
        code => Err(RknnFault::Call { call: call(), code }),
    }
}

/// Joins the runtime's descriptions of a tensor in the model and in memory.
fn attr(model: &sys::rknn_tensor_attr, native: &sys::rknn_tensor_attr) -> TensorAttr {
    use sys::{_rknn_tensor_format as fmt, _rknn_tensor_qnt_type as qnt, _rknn_tensor_type as ty};
    let format = |code| match code {
        fmt::RKNN_TENSOR_NCHW => Format::Nchw,
        fmt::RKNN_TENSOR_NHWC => Format::Nhwc,
        fmt::RKNN_TENSOR_NC1HWC2 => Format::Nc1hwc2,
        fmt::RKNN_TENSOR_UNDEFINED => Format::Undefined,
        code => Format::Other(code),
    };
    let dims = |attr: &sys::rknn_tensor_attr| {
        let len = (attr.n_dims as usize).min(attr.dims.len());
        attr.dims[..len].to_vec()
    };
    let (scale, zero_point) = match native.qnt_type {
        // Dynamic fixed point: the number of fractional bits.
        qnt::RKNN_TENSOR_QNT_DFP => (2_f32.powi(-i32::from(native.fl)), 0),
        _ => (native.scale, native.zp),
    };
    TensorAttr {
        name: text(&model.name),
        dims: dims(model),
        format: format(model.fmt),
        native_dims: dims(native),
        native_format: format(native.fmt),
        element: match native.type_ {
            ty::RKNN_TENSOR_FLOAT32 => ElementType::F32,
            ty::RKNN_TENSOR_FLOAT16 => ElementType::F16,
            ty::RKNN_TENSOR_INT8 => ElementType::I8,
            ty::RKNN_TENSOR_UINT8 => ElementType::U8,
            code => ElementType::Other(code),
        },
        scale,
        zero_point,
        w_stride: native.w_stride,
        bytes: native.size_with_stride.max(native.size),
    }
}

/// Reads a C string that may fill its array without a terminator.
fn text(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars
        .iter()
        .map(|&byte| byte.to_ne_bytes()[0])
        .take_while(|&byte| byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
