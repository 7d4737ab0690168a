//! CUDA devices, by the driver's own interface. The one module that calls foreign code.
#![expect(unsafe_code, reason = "the driver is a foreign library that takes addresses")]

mod backend;
mod blas;
mod dnn;
mod graph;

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::fmt::Display;
use std::sync::{Mutex, OnceLock, PoisonError};

use cudarc::driver::sys::{
    CUcontext, CUdevice, CUdevice_attribute_enum as Attribute, CUevent, CUevent_flags_enum as EventFlags, CUfunction,
    CUfunction_attribute_enum as FunctionAttribute, CUstream,
};
use cudarc::driver::{result as driver, sys};
use cudarc::nvrtc::{self, CompileError, CompileOptions, Ptx};

use blas::Blas;
use dnn::Dnn;
pub(crate) use dnn::plans;

use crate::device::{Answer, Attend, Machine, Multiply};
use crate::error::DeviceError;
use crate::launch::Launch;
use crate::source::{OPTIONS, Source, source_of};
use crate::trust::Trust;

const THREADS: u32 = 256;

/// The primary context of a device, two queues, and the kernels that were used already.
#[derive(Debug)]
pub(crate) struct Cuda {
    device: CUdevice,
    context: CUcontext,
    /// Kernels and copies that keep their order.
    queue: CUstream,
    /// Copies to the host that need not wait for later kernels.
    reads: CUstream,
    name: String,
    shared: usize,
    architecture: String,
    functions: Mutex<BTreeMap<&'static str, Function>>,
    /// The library of matrix products, looked for when it is first wanted.
    blas: OnceLock<Option<Blas>>,
    /// The library of attention, likewise.
    dnn: OnceLock<Result<Dnn, String>>,
}

#[derive(Debug, Clone, Copy)]
struct Function(CUfunction);

// SAFETY: the handles of the driver and of its libraries may be used by any thread that has made their context
// its own, which every call below does first.
unsafe impl Send for Cuda {}
// SAFETY: as above; the driver locks what it changes.
unsafe impl Sync for Cuda {}
// SAFETY: as above.
unsafe impl Send for Function {}

impl Cuda {
    /// The first device.
    pub(crate) fn find() -> Result<Cuda, DeviceError> {
        let absent = |reason: &str| DeviceError::Absent(reason.to_owned());
        // SAFETY: these only try to load a library by its name.
        let (has_driver, has_compiler) = unsafe { (sys::is_culib_present(), cudarc::nvrtc::sys::is_culib_present()) };
        if !has_driver {
            return Err(absent("NVIDIA's driver library (libcuda.so) is not installed"));
        }
        if !has_compiler {
            return Err(no_compiler());
        }
        driver::init().map_err(|error| DeviceError::Absent(error.to_string()))?;
        if driver::device::get_count().map_err(|error| DeviceError::Absent(error.to_string()))? < 1 {
            return Err(absent("the driver has no device"));
        }
        Cuda::open().map_err(|error| called("open a device", error))
    }

    fn open() -> Result<Cuda, driver::DriverError> {
        let device = driver::device::get(0)?;
        // SAFETY: the driver has just given the device.
        let attribute = |which| unsafe { driver::device::get_attribute(device, which) };
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let shared = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        let name = driver::device::get_name(device)?;
        // SAFETY: as above; the context is released when this is dropped.
        let context = unsafe { driver::primary_ctx::retain(device) }?;
        // SAFETY: the context has just been retained.
        unsafe { driver::ctx::set_current(context) }?;
        let queue = driver::stream::create(driver::stream::StreamKind::NonBlocking)?;
        let reads = driver::stream::create(driver::stream::StreamKind::NonBlocking)?;
        Ok(Cuda {
            device,
            context,
            queue,
            reads,
            name,
            shared: usize::try_from(shared).unwrap_or(0),
            architecture: format!("compute_{major}{minor}"),
            functions: Mutex::default(),
            blas: OnceLock::new(),
            dnn: OnceLock::new(),
        })
    }

    /// Makes the context this thread's own.
    fn enter(&self) -> Result<(), DeviceError> {
        // SAFETY: the context lives until this is dropped.
        unsafe { driver::ctx::set_current(self.context) }.map_err(|error| called("enter its context", error))
    }

    /// The kernel, compiled for this device when it is first used.
    fn function(&self, kernel: &'static str) -> Result<CUfunction, DeviceError> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(kernel) {
            return Ok(function.0);
        }
        let source = source_of(kernel).ok_or(DeviceError::Shape("there is no such kernel"))?;
        let code = compile(source, &self.architecture)?;
        let image = code.as_bytes().ok_or(DeviceError::Shape("the compiler made no code"))?;
        // SAFETY: the image is the compiler's, which ends it with a zero. The module is never unloaded.
        let module = unsafe { driver::module::load_data(image.as_ptr().cast::<c_void>()) };
        let module = module.map_err(|error| called("load its kernels", error))?;
        for kernel in source.kernels {
            let name = CString::new(*kernel).map_err(|error| called("name a kernel", error))?;
            // SAFETY: the module has just been loaded.
            let function = unsafe { driver::module::get_function(module, name) };
            let function = function.map_err(|error| called("find a kernel", error))?;
            self.give_shared(function).map_err(|error| called("allow a kernel all shared memory", error))?;
            functions.insert(kernel, Function(function));
        }
        functions.get(kernel).map(|function| function.0).ok_or(DeviceError::Shape("there is no such kernel"))
    }

    fn blas(&self) -> Result<Option<&Blas>, DeviceError> {
        if self.blas.get().is_none() {
            // Whoever comes second finds what the first has found, and closes its own.
            if let Err(Some(mut other)) = self.blas.set(Blas::find()?) {
                other.close();
            }
        }
        Ok(self.blas.get().and_then(Option::as_ref))
    }

    /// The library of attention; one that cannot be opened is none.
    fn dnn(&self) -> Result<&Dnn, String> {
        if self.dnn.get().is_none() {
            // As above.
            if let Err(Ok(mut other)) = self.dnn.set(Dnn::find(self.queue)) {
                other.close();
            }
        }
        self.dnn.get().map_or(Err("cuDNN was not looked for".into()), |found| found.as_ref().map_err(String::clone))
    }

    /// Lets blocks of a kernel use all shared memory that there is, and gives it as much as caches leave: what the kernels
    /// read, they read once.
    fn give_shared(&self, function: CUfunction) -> Result<(), driver::DriverError> {
        let most = FunctionAttribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let percent = FunctionAttribute::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT;
        let shared = i32::try_from(self.shared).unwrap_or(i32::MAX);
        // SAFETY: the caller has just found the function.
        unsafe {
            driver::function::set_function_attribute(function, most, shared)?;
            driver::function::set_function_attribute(function, percent, 100)
        }
    }
}

/// Compiles a source for an architecture such as `compute_90`.
pub(crate) fn compile(source: &Source, architecture: &str) -> Result<Ptx, DeviceError> {
    // SAFETY: this only tries to load a library by its name.
    if !unsafe { cudarc::nvrtc::sys::is_culib_present() } {
        return Err(no_compiler());
    }
    let mut options = OPTIONS.map(str::to_owned).to_vec();
    options.push(format!("--gpu-architecture={architecture}"));
    let options = CompileOptions { options, name: Some(format!("{}.cu", source.name)), ..CompileOptions::default() };
    nvrtc::compile_ptx_with_opts(source.text, options).map_err(|error| {
        let reason = match &error {
            CompileError::CompileError { log, .. } => log.to_string_lossy().into_owned(),
            other => other.to_string(),
        };
        DeviceError::Compile { source_name: source.name, reason }
    })
}

fn no_compiler() -> DeviceError {
    DeviceError::Absent("the run-time compiler NVRTC (libnvrtc.so) is not installed or not on the library path".into())
}

fn called(what: &'static str, error: impl Display) -> DeviceError {
    DeviceError::Call { what, reason: error.to_string() }
}

impl Machine for Cuda {
    fn name(&self) -> &str {
        &self.name
    }

    fn shared(&self) -> usize {
        self.shared
    }

    fn allocate(&self, bytes: usize) -> Result<u64, DeviceError> {
        self.enter()?;
        // SAFETY: nothing is read before it is written: buffers are cleared or written when they are made.
        unsafe { driver::malloc_sync(bytes) }.map_err(|error| called("allocate memory", error))
    }

    fn free(&self, address: u64) {
        // A buffer is dropped after a failure too; the failure has been told then.
        let _ = self.finish();
        // SAFETY: the address is that of a buffer that is being dropped, and no queued work uses it any more.
        let _ = unsafe { driver::free_sync(address) };
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.enter()?;
        // SAFETY: the caller's buffer is as long as the bytes, which are not touched before the queue is done.
        let queued = unsafe { driver::memcpy_htod_async(address, bytes, self.queue) };
        queued.map_err(|error| called("write memory", error))?;
        self.finish()
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.enter()?;
        // SAFETY: the caller's buffer is as long as the bytes, and they are not looked at before the copy is done.
        let read = unsafe {
            driver::memcpy_dtoh_async(bytes, address, self.reads).and_then(|()| driver::stream::synchronize(self.reads))
        };
        read.map_err(|error| called("read memory", error))
    }

    fn clear(&self, address: u64, bytes: usize) -> Result<(), DeviceError> {
        self.enter()?;
        // SAFETY: the caller's buffer is as long.
        unsafe { driver::memset_d8_async(address, 0, bytes, self.queue) }.map_err(|error| called("clear memory", error))
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), DeviceError> {
        self.enter()?;
        // SAFETY: both of the caller's buffers are as long.
        unsafe { driver::memcpy_dtod_async(to, from, bytes, self.queue) }.map_err(|error| called("copy memory", error))
    }

    fn launch(&self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        self.enter()?;
        let function = self.function(launch.kernel)?;
        let shared = u32::try_from(launch.shared).map_err(|error| called("run a kernel", error))?;
        // The driver copies the argument during the call; words of eight bytes have the alignment of the structure.
        let mut arguments = [launch.words.as_ptr().cast::<c_void>().cast_mut()];
        // SAFETY: the words are the fields of the kernel's one argument, and the launchers have checked that its
        // pointers have room for what the kernel does.
        let run = unsafe {
            driver::launch_kernel(function, (launch.blocks, 1, 1), (THREADS, 1, 1), shared, self.queue, &mut arguments)
        };
        run.map_err(|error| called("run a kernel", error))
    }

    fn multiply(&self, call: &Multiply) -> Result<bool, DeviceError> {
        self.enter()?;
        match self.blas()? {
            Some(blas) => blas.multiply(call, self.queue),
            None => Ok(false),
        }
    }

    fn trust(&self) -> Result<&Trust, String> {
        self.enter().map_err(|error| error.to_string())?;
        self.dnn().map(Dnn::trust)
    }

    fn attend(&self, call: &Attend) -> Result<Answer, DeviceError> {
        self.enter()?;
        match self.dnn() {
            Ok(dnn) => dnn.attend(call, self.queue),
            Err(reason) => Ok(Answer::Refused(reason)),
        }
    }

    fn finish(&self) -> Result<(), DeviceError> {
        self.enter()?;
        // SAFETY: the queue lives until this is dropped.
        unsafe { driver::stream::synchronize(self.queue) }.map_err(|error| called("finish its work", error))
    }

    fn mark(&self) -> Result<u64, DeviceError> {
        self.enter()?;
        let event = driver::event::create(EventFlags::CU_EVENT_DISABLE_TIMING);
        let event = event.map_err(|error| called("mark its work", error))?;
        // SAFETY: the event has just been created.
        let recorded = unsafe { driver::event::record(event, self.queue) };
        recorded.map_err(|error| called("mark its work", error))?;
        Ok(event as usize as u64)
    }

    fn wait(&self, mark: u64) -> Result<(), DeviceError> {
        self.enter()?;
        // SAFETY: the mark is an event of `mark` that has not been forgotten.
        unsafe { driver::event::synchronize(event_of(mark)) }.map_err(|error| called("finish its work", error))
    }

    fn forget(&self, mark: u64) {
        // What fails here has been told by another call.
        let _ = self.enter();
        // SAFETY: as above; whoever forgets a mark has the last of it.
        let _ = unsafe { driver::event::destroy(event_of(mark)) };
    }
}

fn event_of(mark: u64) -> CUevent {
    mark as usize as CUevent
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // Nothing can be done about a failure to let go.
        let _ = self.finish();
        if let Some(Some(blas)) = self.blas.get_mut() {
            blas.close();
        }
        if let Some(Ok(dnn)) = self.dnn.get_mut() {
            dnn.close();
        }
        // SAFETY: both queues were created by `open`, and nobody else has them.
        let _ = unsafe { driver::stream::destroy(self.queue).and_then(|()| driver::stream::destroy(self.reads)) };
        // SAFETY: the context was retained by `open`.
        let _ = unsafe { driver::primary_ctx::release(self.device) };
    }
}
