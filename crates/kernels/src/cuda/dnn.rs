//! Attention by cuDNN, where it is installed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cudarc::cudnn::sys;
use cudarc::driver::result as driver;
use cudarc::driver::sys::CUstream;

use super::backend::{ALIGNED, Memories, Plan, Target, called};
use super::graph::{Graph, Slot};
use crate::attention::Attention;
use crate::device::{Answer, Attend};
use crate::error::DeviceError;
use crate::trust::Trust;

/// The oldest version that is used: 9.10.
const OLDEST: usize = 91_000;
/// Set to `off`, it keeps attention from the library.
const SWITCH: &str = "PACTUM_CUDNN";

/// The library's handle, and how it makes attention of the shapes that were asked for already.
#[derive(Debug)]
pub(super) struct Dnn {
    handle: sys::cudnnHandle_t,
    trust: Trust,
    plans: Mutex<Plans>,
}

#[derive(Debug, Default)]
struct Plans {
    made: BTreeMap<Shape, Result<Ready, String>>,
    /// Working memory of whichever plan runs, and its bytes.
    workspace: (u64, usize),
}

/// What a plan depends on: the heads, their numbers, the tokens of a sequence; the sequences; whether backward.
type Shape = ([usize; 4], usize, bool);

/// A plan for some of the sequences at a time.
#[derive(Debug)]
struct Ready {
    plan: Plan,
    graph: Graph,
    sequences: usize,
}

/// The version of the library, or why it is not used.
fn version() -> Result<usize, String> {
    // SAFETY: this only tries to load a library by its name.
    if !unsafe { sys::is_culib_present() } {
        return Err("cuDNN (libcudnn.so.9) is not installed or not on the library path".into());
    }
    // SAFETY: the library has been found.
    let version = unsafe { sys::cudnnGetVersion() };
    if version < OLDEST { Err(format!("{} is too old", name_of(version))) } else { Ok(version) }
}

fn name_of(version: usize) -> String {
    format!("cuDNN {}.{}.{}", version / 10_000, version / 100 % 100, version % 100)
}

impl Dnn {
    /// Opens the library, if it is installed and wanted. The context must be this thread's own.
    pub(super) fn find(queue: CUstream) -> Result<Dnn, String> {
        if std::env::var_os(SWITCH).is_some_and(|value| value == "off") {
            return Err(format!("cuDNN is switched off by {SWITCH}"));
        }
        let version = version()?;
        let mut handle = std::ptr::null_mut();
        let said = |error: DeviceError| error.to_string();
        // SAFETY: the library writes a handle.
        called("open cuDNN", unsafe { sys::cudnnCreate(&raw mut handle) }).map_err(said)?;
        let mut dnn = Dnn { handle, trust: Trust::new(name_of(version)), plans: Mutex::default() };
        // SAFETY: both have just been made, and the queue outlives the handle.
        let streamed = called("open cuDNN", unsafe { sys::cudnnSetStream(handle, queue.cast()) });
        if streamed.is_err() {
            dnn.close();
        }
        streamed.map(|()| dnn).map_err(said)
    }

    pub(super) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Queues attention, unless there is no plan for it. The context must be this thread's own.
    pub(super) fn attend(&self, call: &Attend, queue: CUstream) -> Result<Answer, DeviceError> {
        if !aligned(call) {
            return Ok(Answer::Refused("its numbers are not aligned".into()));
        }
        let mut plans = self.plans();
        let Plans { made, workspace } = &mut *plans;
        let Attention { heads, kv_heads, width, length } = call.shape;
        let ready = match made.entry(([heads, kv_heads, width, length], call.sequences, call.back.is_some())) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                place.insert(ready(call, &Target::Here(self.handle)).map_err(|error| error.to_string()))
            }
        };
        match ready {
            Ok(ready) => self.run(ready, call, room(workspace, ready.plan.workspace, queue)?).map(|()| Answer::Done),
            Err(reason) => Ok(Answer::Refused(reason.clone())),
        }
    }

    /// One part of the sequences after the other.
    fn run(&self, ready: &Ready, call: &Attend, workspace: u64) -> Result<(), DeviceError> {
        for first in (0..call.sequences).step_by(ready.sequences) {
            let memories = Memories::new(&ready.graph, workspace, |tensor, slot: Slot| {
                slot.of(call) + (first * tensor.strides[0] * tensor.bytes()) as u64
            });
            ready.plan.run(self.handle, &memories)?;
        }
        Ok(())
    }

    fn plans(&self) -> MutexGuard<'_, Plans> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of everything. The context must be this thread's own, and the work that was queued must be done.
    pub(super) fn close(&mut self) {
        let plans = std::mem::take(self.plans.get_mut().unwrap_or_else(PoisonError::into_inner));
        if plans.workspace.0 != 0 {
            // SAFETY: it is this one's own, and no queued work uses it. Nothing can be done about a failure to let go.
            let _ = unsafe { driver::free_sync(plans.workspace.0) };
        }
        drop(plans);
        // SAFETY: as above.
        let _ = unsafe { sys::cudnnDestroy(self.handle) };
    }
}

/// Plans of both passes over some sequences on a device that need not be here, by its properties in the library's own form.
pub(crate) fn plans(
    shape: &Attention,
    sequences: usize,
    properties: &str,
) -> Result<[(i64, usize, usize); 2], DeviceError> {
    version().map_err(DeviceError::Absent)?;
    let target = Target::elsewhere(properties)?;
    let of = |back| {
        let call = Attend { shape: *shape, sequences, fused: 0, mixed: 0, logs: 0, back };
        ready(&call, &target).map(|ready| (ready.plan.engine, ready.plan.workspace, ready.sequences))
    };
    Ok([of(None)?, of(Some([0; 3]))?])
}

/// A plan for as many sequences at a time as the working memory allows.
fn ready(call: &Attend, target: &Target) -> Result<Ready, DeviceError> {
    let Attention { heads, length, .. } = call.shape;
    let mut refusal = DeviceError::Call { what: "plan attention", reason: "one sequence needs too much memory".into() };
    let most = if call.back.is_some() { call.shape.at_once(call.sequences) } else { call.sequences };
    let room = call.shape.working_bytes(call.sequences);
    for sequences in (1..=most).rev() {
        // Every part must begin where numbers are aligned: a head's width is a multiple already.
        let whole = sequences == call.sequences || (sequences * heads * length * 4).is_multiple_of(ALIGNED as usize);
        if !(whole && call.sequences.is_multiple_of(sequences)) {
            continue;
        }
        let graph = Graph::new(&call.shape, sequences, call.back.is_some());
        match Plan::new(&graph, target, room) {
            Ok(plan) => return Ok(Ready { plan, graph, sequences }),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

/// Working memory of at least so many bytes.
fn room((address, bytes): &mut (u64, usize), needed: usize, queue: CUstream) -> Result<u64, DeviceError> {
    if needed > *bytes {
        let failed =
            |error: driver::DriverError| DeviceError::Call { what: "allocate memory", reason: error.to_string() };
        // SAFETY: the queue is the device's own.
        unsafe { driver::stream::synchronize(queue) }.map_err(failed)?;
        if std::mem::take(bytes) > 0 {
            // SAFETY: no queued work uses it any more.
            unsafe { driver::free_sync(std::mem::take(address)) }.map_err(failed)?;
        }
        // SAFETY: the library says nothing about what the memory holds.
        *address = unsafe { driver::malloc_sync(needed) }.map_err(failed)?;
        *bytes = needed;
    }
    Ok(*address)
}

fn aligned(call: &Attend) -> bool {
    let Attend { fused, mixed, logs, back, .. } = *call;
    let all = [fused, mixed, logs].into_iter().chain(back.unwrap_or_default());
    all.into_iter().all(|address| address.is_multiple_of(ALIGNED))
}
