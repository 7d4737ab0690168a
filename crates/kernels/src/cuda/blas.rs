//! Matrix products by cuBLASLt, where it is installed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use cudarc::cublaslt::result::{self as blas, CublasError};
use cudarc::cublaslt::sys::{
    self, cublasComputeType_t as Compute, cublasLtMatmulAlgo_t as Algorithm, cublasLtMatmulDesc_t as Description,
    cublasLtMatmulDescAttributes_t as DescriptionAttribute,
    cublasLtMatmulPreferenceAttributes_t as PreferenceAttribute, cublasLtMatrixLayout_t as Layout,
    cudaDataType_t as Kind,
};
use cudarc::driver::result as driver;
use cudarc::driver::sys::CUstream;

use super::called;
use crate::device::Multiply;
use crate::error::DeviceError;

/// Bytes of working memory that an algorithm may use: what NVIDIA advises for its larger devices.
const WORKSPACE: usize = 32 << 20;
/// Partial sums of split products may only be added in f32 by a pass of their own (`CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE`).
const REDUCTION: u32 = 2;
/// Alignment beyond which none is asked for, in bytes.
const ALIGNED: u64 = 256;

/// The library's handle, and how it makes the products that were asked for already.
#[derive(Debug)]
pub(super) struct Blas {
    handle: sys::cublasLtHandle_t,
    workspace: u64,
    plans: Mutex<BTreeMap<Shape, Option<Plan>>>,
}

/// What the choice of an algorithm depends on: rows, columns and depth, how the factors lie, which numbers are narrow, and
/// how factors, addend and output are aligned.
type Shape = ([usize; 3], [bool; 4], [u64; 3]);

/// Descriptions of a product, and the algorithm chosen for it.
#[derive(Debug)]
struct Plan {
    parts: Parts,
    algorithm: Algorithm,
}

/// What describes a product to the library.
#[derive(Debug)]
struct Parts {
    product: Description,
    left: Layout,
    right: Layout,
    out: Layout,
}

impl Parts {
    /// Lets go of them. Nothing can be done about a failure to.
    fn close(self) {
        for layout in [self.left, self.right, self.out] {
            // SAFETY: they were made by `plan`, and nobody uses them any more.
            let _ = unsafe { blas::destroy_matrix_layout(layout) };
        }
        // SAFETY: as above.
        let _ = unsafe { blas::destroy_matmul_desc(self.product) };
    }
}

impl Blas {
    /// None where the library is not installed. The context must be this thread's own.
    pub(super) fn find() -> Result<Option<Blas>, DeviceError> {
        // SAFETY: this only tries to load a library by its name.
        if !unsafe { sys::is_culib_present() } {
            return Ok(None);
        }
        let handle = blas::create_handle().map_err(|error| called("open cuBLASLt", error))?;
        // SAFETY: the library says nothing about what the memory holds.
        let workspace = unsafe { driver::malloc_sync(WORKSPACE) }.map_err(|error| called("allocate memory", error))?;
        Ok(Some(Blas { handle, workspace, plans: Mutex::default() }))
    }

    /// Queues a product; false where the library has no algorithm for it. The context must be this thread's own.
    pub(super) fn multiply(&self, call: &Multiply, queue: CUstream) -> Result<bool, DeviceError> {
        let shape = shape_of(call);
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = match plans.entry(shape) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                place.insert(self.plan(call, &shape).map_err(|error| called("plan a product", error))?)
            }
        };
        match plan {
            Some(plan) => self.run(plan, call, queue).map(|()| true).map_err(|error| called("multiply", error)),
            None => Ok(false),
        }
    }

    /// The library's matrices lie column after column: to it the output's transpose is the product of the right factor's
    /// transpose with the left one's.
    fn plan(&self, call: &Multiply, (_, _, aligned): &Shape) -> Result<Option<Plan>, CublasError> {
        let product = blas::create_matmul_desc(Compute::CUBLAS_COMPUTE_32F, Kind::CUDA_R_32F)?;
        let [left_turned, right_turned] = call.transposed;
        for (attribute, turned) in [
            (DescriptionAttribute::CUBLASLT_MATMUL_DESC_TRANSA, right_turned),
            (DescriptionAttribute::CUBLASLT_MATMUL_DESC_TRANSB, left_turned),
        ] {
            let value = i32::from(turned);
            // SAFETY: the description has just been made, and the attribute is a number of four bytes.
            unsafe { blas::set_matmul_desc_attribute(product, attribute, address(&value), size_of::<i32>()) }?;
        }
        let [input, output] = call.narrow.map(|narrow| if narrow { Kind::CUDA_R_16BF } else { Kind::CUDA_R_32F });
        let left = layout(input, (call.rows, call.depth), left_turned)?;
        let right = layout(input, (call.depth, call.columns), right_turned)?;
        let out = layout(output, (call.rows, call.columns), false)?;
        let preference = preference(*aligned)?;
        // SAFETY: everything has just been made.
        let found = unsafe {
            let found = blas::get_matmul_algo_heuristic(self.handle, product, right, left, out, out, preference);
            blas::destroy_matmul_pref(preference)?;
            found
        };
        let parts = Parts { product, left, right, out };
        match found {
            Ok(found) => Ok(Some(Plan { parts, algorithm: found.algo })),
            Err(_) => {
                parts.close();
                Ok(None)
            }
        }
    }

    fn run(&self, plan: &Plan, call: &Multiply, queue: CUstream) -> Result<(), CublasError> {
        let (one, added) = (1.0_f32, if call.sum == 0 { 0.0_f32 } else { 1.0 });
        let (parts, addend) = (&plan.parts, if call.sum == 0 { call.out } else { call.sum });
        // SAFETY: the caller has checked that the addresses have room for the matrices that the plan describes, and that
        // they are aligned as it was made for; factors of numbers are read during the call.
        unsafe {
            blas::matmul(
                self.handle,
                parts.product,
                address(&one),
                address(&added),
                pointer(call.right),
                parts.right,
                pointer(call.left),
                parts.left,
                pointer(addend),
                parts.out,
                pointer(call.out).cast_mut(),
                parts.out,
                &raw const plan.algorithm,
                pointer(self.workspace).cast_mut(),
                WORKSPACE,
                queue.cast(),
            )
        }
    }

    /// Lets go of everything. The context must be this thread's own, and the work that was queued must be done.
    pub(super) fn close(&mut self) {
        let plans = std::mem::take(self.plans.get_mut().unwrap_or_else(PoisonError::into_inner));
        plans.into_values().flatten().for_each(|plan| plan.parts.close());
        // SAFETY: both are this one's own, and no queued work uses them. Nothing can be done about a failure to let go.
        let _ = unsafe { driver::free_sync(self.workspace) };
        // SAFETY: as above.
        let _ = unsafe { blas::destroy_handle(self.handle) };
    }
}

fn shape_of(call: &Multiply) -> Shape {
    let aligned = |address: u64| ALIGNED.min(1 << address.trailing_zeros().min(8));
    let addend = if call.sum == 0 { ALIGNED } else { aligned(call.sum) };
    (
        [call.rows, call.columns, call.depth],
        [call.transposed[0], call.transposed[1], call.narrow[0], call.narrow[1]],
        [aligned(call.left), aligned(call.right), aligned(call.out).min(addend)],
    )
}

/// A matrix of rows as the library sees it: its transpose.
fn layout(kind: Kind, (rows, columns): (usize, usize), turned: bool) -> Result<Layout, CublasError> {
    let (down, across) = if turned { (rows, columns) } else { (columns, rows) };
    blas::create_matrix_layout(kind, down as u64, across as u64, down as i64)
}

fn preference([left, right, out]: [u64; 3]) -> Result<sys::cublasLtMatmulPreference_t, CublasError> {
    let preference = blas::create_matmul_pref()?;
    let set = |attribute, value: *const c_void, bytes| {
        // SAFETY: the preference has just been made, and the value has as many bytes as the attribute.
        unsafe { blas::set_matmul_pref_attribute(preference, attribute, value, bytes) }
    };
    let room = WORKSPACE as u64;
    set(PreferenceAttribute::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, address(&room), size_of::<u64>())?;
    set(PreferenceAttribute::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, address(&REDUCTION), size_of::<u32>())?;
    for (attribute, aligned) in [
        (PreferenceAttribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, right),
        (PreferenceAttribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, left),
        (PreferenceAttribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, out),
        (PreferenceAttribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, out),
    ] {
        let aligned = aligned as u32;
        set(attribute, address(&aligned), size_of::<u32>())?;
    }
    Ok(preference)
}

fn address<T>(value: &T) -> *const c_void {
    std::ptr::from_ref(value).cast()
}

fn pointer(address: u64) -> *const c_void {
    address as usize as *const c_void
}
