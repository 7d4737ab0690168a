//! Descriptors of cuDNN's backend interface: what a graph becomes in the library, and the plan that it makes of one.

use std::ffi::{CStr, c_char, c_void};

use cudarc::cudnn::sys::{
    self, cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Kinds, cudnnBackendHeurMode_t as Advice, cudnnDataType_t as DataType,
    cudnnPointwiseMode_t as Mode, cudnnReduceTensorOp_t as Reduction, cudnnStatus_t as Status,
};

use super::graph::{Each, Graph, Id, Kind, Memory, Node, Slot, Tensor};
use crate::error::DeviceError;

/// Alignment of tensors, in bytes.
pub(super) const ALIGNED: u64 = 16;
/// Engines that are tried at most.
const ENGINES: usize = 16;
/// Notes of an engine that are read at most.
const NOTES: usize = 32;
/// The note of an engine whose results may differ from one time to the next.
const NONDETERMINISTIC: i32 = sys::cudnnBackendNumericalNote_t::CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC as i32;

/// What the library says about a call.
pub(super) fn called(what: &'static str, status: Status) -> Result<(), DeviceError> {
    if status == Status::CUDNN_STATUS_SUCCESS {
        return Ok(());
    }
    let mut said = [0; 512];
    // SAFETY: the library writes no more than it is told that there is room for, and ends it with a zero.
    let said = unsafe {
        sys::cudnnGetLastErrorString(said.as_mut_ptr().cast::<c_char>(), said.len());
        CStr::from_ptr(said.as_ptr().cast::<c_char>())
    };
    Err(DeviceError::Call { what, reason: format!("{status:?}: {}", said.to_string_lossy().trim()) })
}

/// Something that the library knows by a handle, until it is dropped.
#[derive(Debug)]
pub(super) struct Descriptor(sys::cudnnBackendDescriptor_t);

/// A value that an attribute may have: the same bytes here and there.
trait Value: Copy {
    const TYPE: Type;
}

macro_rules! values {
    ($($value:ty => $kind:ident),*) => { $(impl Value for $value { const TYPE: Type = Type::$kind; })* };
}

values!(i64 => CUDNN_TYPE_INT64, bool => CUDNN_TYPE_BOOLEAN, u8 => CUDNN_TYPE_CHAR, DataType => CUDNN_TYPE_DATA_TYPE,
    Mode => CUDNN_TYPE_POINTWISE_MODE, Reduction => CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, Advice => CUDNN_TYPE_HEUR_MODE,
    *mut c_void => CUDNN_TYPE_VOID_PTR, sys::cudnnHandle_t => CUDNN_TYPE_HANDLE);

impl Descriptor {
    pub(super) fn new(kind: Kinds) -> Result<Descriptor, DeviceError> {
        let mut descriptor = std::ptr::null_mut();
        // SAFETY: the library writes a handle.
        called("describe attention", unsafe { sys::cudnnBackendCreateDescriptor(kind, &raw mut descriptor) })?;
        Ok(Descriptor(descriptor))
    }

    fn with<T: Value>(self, name: Name, values: &[T]) -> Result<Descriptor, DeviceError> {
        self.put(name, T::TYPE, values)?;
        Ok(self)
    }

    fn with_parts(self, name: Name, parts: &[&Descriptor]) -> Result<Descriptor, DeviceError> {
        let parts = parts.iter().map(|part| part.0).collect::<Vec<_>>();
        self.put(name, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &parts)?;
        Ok(self)
    }

    fn put<T: Copy>(&self, name: Name, kind: Type, values: &[T]) -> Result<(), DeviceError> {
        let (count, values) = (values.len() as i64, values.as_ptr().cast::<c_void>());
        // SAFETY: there are as many values of the type that the attribute has; the library copies them.
        called("describe attention", unsafe { sys::cudnnBackendSetAttribute(self.0, name, kind, count, values) })
    }

    fn finish(self) -> Result<Descriptor, DeviceError> {
        // SAFETY: the descriptor lives.
        called("describe attention", unsafe { sys::cudnnBackendFinalize(self.0) })?;
        Ok(self)
    }

    /// Reads up to as many values as there is room for, and says how many there are.
    fn read<T>(&self, name: Name, kind: Type, room: &mut [T]) -> Result<usize, DeviceError> {
        let (asked, mut count) = (room.len() as i64, 0);
        let into = room.as_mut_ptr().cast::<c_void>();
        // SAFETY: there is room for as many values as are asked for, of the type that the attribute has.
        let status = unsafe { sys::cudnnBackendGetAttribute(self.0, name, kind, asked, &raw mut count, into) };
        called("describe attention", status)?;
        Ok(usize::try_from(count).unwrap_or(0).min(room.len()))
    }

    /// Lets the library fill descriptors, and says how many it filled.
    fn fill(&self, name: Name, parts: &[Descriptor]) -> Result<usize, DeviceError> {
        let mut parts = parts.iter().map(|part| part.0).collect::<Vec<_>>();
        self.read(name, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &mut parts)
    }

    fn number(&self, name: Name) -> Result<i64, DeviceError> {
        let mut number = [0_i64];
        self.read(name, Type::CUDNN_TYPE_INT64, &mut number)?;
        Ok(number[0])
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: it was made by `new`. Nothing can be done about a failure to let go.
        let _ = unsafe { sys::cudnnBackendDestroyDescriptor(self.0) };
    }
}

/// The device that plans are made for.
pub(super) enum Target {
    /// That of a handle.
    Here(sys::cudnnHandle_t),
    /// One that need not be here, by its properties.
    Elsewhere(Descriptor),
}

impl Target {
    /// A device by its properties in the library's own form.
    pub(super) fn elsewhere(properties: &str) -> Result<Target, DeviceError> {
        let descriptor = Descriptor::new(Kinds::CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR)?;
        let name = Name::CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION;
        Ok(Target::Elsewhere(descriptor.with(name, properties.as_bytes())?.finish()?))
    }

    /// Names it in a descriptor that takes either.
    fn named(
        &self,
        descriptor: Descriptor,
        handle: Option<Name>,
        properties: Option<Name>,
    ) -> Result<Descriptor, DeviceError> {
        match (self, handle, properties) {
            (Target::Here(here), Some(name), _) => descriptor.with(name, &[*here]),
            (Target::Elsewhere(there), _, Some(name)) => descriptor.with_parts(name, &[there]),
            _ => Ok(descriptor),
        }
    }
}

/// A graph in the library, and the engine that runs it. The parts live as long as what is made of them.
#[derive(Debug)]
pub(super) struct Plan {
    plan: Descriptor,
    /// Number of the engine.
    pub(super) engine: i64,
    /// Bytes of working memory.
    pub(super) workspace: usize,
    _parts: Vec<Descriptor>,
}

impl Plan {
    /// The best plan that is not known to give other bits each time, and needs no more working memory than `room`.
    pub(super) fn new(graph: &Graph, target: &Target, room: usize) -> Result<Plan, DeviceError> {
        let mut parts = graph.tensors.iter().enumerate().map(tensor).collect::<Result<Vec<_>, _>>()?;
        let operations = graph.nodes.iter().map(|node| operation(&parts, node)).collect::<Result<Vec<_>, _>>()?;
        let whole = Descriptor::new(Kinds::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?;
        let whole = target.named(whole, Some(Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE), None)?;
        let links = operations.iter().map(|(operation, _)| operation).collect::<Vec<_>>();
        let whole = whole.with_parts(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS, &links)?.finish()?;
        let (choice, (plan, engine, workspace)) = best(&whole, target, room)?;
        parts.extend(operations.into_iter().flat_map(|(operation, what)| [Some(operation), what]).flatten());
        parts.extend([whole, choice]);
        Ok(Plan { plan, engine, workspace, _parts: parts })
    }

    /// Queues the work on the stream of a handle.
    pub(super) fn run(&self, handle: sys::cudnnHandle_t, memory: &Memories) -> Result<(), DeviceError> {
        let pack = Descriptor::new(Kinds::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)?;
        let pack = pack.with(Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, &memory.ids)?;
        let pack = pack.with(Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, &memory.addresses)?;
        let pack = pack.with(Name::CUDNN_ATTR_VARIANT_PACK_WORKSPACE, &[memory.workspace])?.finish()?;
        // SAFETY: the addresses are those of the tensors that the plan was made for, which the caller has checked, and of
        // numbers that live until this returns.
        called("run attention", unsafe { sys::cudnnBackendExecute(handle, self.plan.0, pack.0) })
    }
}

/// Where the tensors of a graph lie that are not inside of it.
pub(super) struct Memories {
    ids: Vec<i64>,
    addresses: Vec<*mut c_void>,
    workspace: *mut c_void,
}

impl Memories {
    /// Of a graph whose buffers begin where `of` says; the numbers are read from the graph while it runs.
    pub(super) fn new(graph: &Graph, workspace: u64, of: impl Fn(&Tensor, Slot) -> u64) -> Memories {
        let mut found = Memories { ids: Vec::new(), addresses: Vec::new(), workspace: pointer(workspace) };
        for (id, tensor) in graph.tensors.iter().enumerate() {
            let address = match &tensor.memory {
                Memory::Inside => continue,
                Memory::Number(number) => std::ptr::from_ref(number).cast_mut().cast::<c_void>(),
                Memory::Buffer(slot, from) => pointer(of(tensor, *slot) + (from * tensor.bytes()) as u64),
            };
            found.ids.push(name_of(id));
            found.addresses.push(address);
        }
        found
    }
}

fn pointer(address: u64) -> *mut c_void {
    address as usize as *mut c_void
}

fn name_of(id: Id) -> i64 {
    id as i64 + 1
}

fn tensor((id, tensor): (Id, &Tensor)) -> Result<Descriptor, DeviceError> {
    let data = match tensor.kind {
        Kind::Single => DataType::CUDNN_DATA_FLOAT,
        Kind::Short => DataType::CUDNN_DATA_BFLOAT16,
        Kind::Whole => DataType::CUDNN_DATA_INT32,
        Kind::Truth => DataType::CUDNN_DATA_BOOLEAN,
    };
    let whole = |sizes: [usize; 4]| sizes.map(|size| size as i64);
    Descriptor::new(Kinds::CUDNN_BACKEND_TENSOR_DESCRIPTOR)?
        .with(Name::CUDNN_ATTR_TENSOR_UNIQUE_ID, &[name_of(id)])?
        .with(Name::CUDNN_ATTR_TENSOR_DATA_TYPE, &[data])?
        .with(Name::CUDNN_ATTR_TENSOR_DIMENSIONS, &whole(tensor.sizes))?
        .with(Name::CUDNN_ATTR_TENSOR_STRIDES, &whole(tensor.strides))?
        .with(Name::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &[ALIGNED as i64])?
        .with(Name::CUDNN_ATTR_TENSOR_IS_VIRTUAL, &[tensor.memory == Memory::Inside])?
        .with(Name::CUDNN_ATTR_TENSOR_IS_BY_VALUE, &[matches!(tensor.memory, Memory::Number(_))])?
        .finish()
}

/// An operation, and what describes its arithmetic.
fn operation(tensors: &[Descriptor], node: &Node) -> Result<(Descriptor, Option<Descriptor>), DeviceError> {
    match node {
        Node::Product { left, right, out } => {
            let what = Descriptor::new(Kinds::CUDNN_BACKEND_MATMUL_DESCRIPTOR)?;
            let what = what.with(Name::CUDNN_ATTR_MATMUL_COMP_TYPE, &[DataType::CUDNN_DATA_FLOAT])?.finish()?;
            let operation = Descriptor::new(Kinds::CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR)?
                .with_parts(Name::CUDNN_ATTR_OPERATION_MATMUL_DESC, &[&what])?
                .with_parts(Name::CUDNN_ATTR_OPERATION_MATMUL_ADESC, &[&tensors[*left]])?
                .with_parts(Name::CUDNN_ATTR_OPERATION_MATMUL_BDESC, &[&tensors[*right]])?
                .with_parts(Name::CUDNN_ATTR_OPERATION_MATMUL_CDESC, &[&tensors[*out]])?;
            Ok((operation.finish()?, Some(what)))
        }
        Node::Each { what, from, out } => each(tensors, *what, from, *out),
        Node::Fold { largest, from, out } => {
            let sum = if *largest { Reduction::CUDNN_REDUCE_TENSOR_MAX } else { Reduction::CUDNN_REDUCE_TENSOR_ADD };
            let what = Descriptor::new(Kinds::CUDNN_BACKEND_REDUCTION_DESCRIPTOR)?
                .with(Name::CUDNN_ATTR_REDUCTION_OPERATOR, &[sum])?
                .with(Name::CUDNN_ATTR_REDUCTION_COMP_TYPE, &[DataType::CUDNN_DATA_FLOAT])?
                .finish()?;
            let operation = Descriptor::new(Kinds::CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)?
                .with_parts(Name::CUDNN_ATTR_OPERATION_REDUCTION_DESC, &[&what])?
                .with_parts(Name::CUDNN_ATTR_OPERATION_REDUCTION_XDESC, &[&tensors[*from]])?
                .with_parts(Name::CUDNN_ATTR_OPERATION_REDUCTION_YDESC, &[&tensors[*out]])?;
            Ok((operation.finish()?, Some(what)))
        }
        Node::View { from, out } => {
            let operation = Descriptor::new(Kinds::CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR)?
                .with_parts(Name::CUDNN_ATTR_OPERATION_RESHAPE_XDESC, &[&tensors[*from]])?
                .with_parts(Name::CUDNN_ATTR_OPERATION_RESHAPE_YDESC, &[&tensors[*out]])?;
            Ok((operation.finish()?, None))
        }
    }
}

fn each(
    tensors: &[Descriptor],
    what: Each,
    from: &[Id],
    out: Id,
) -> Result<(Descriptor, Option<Descriptor>), DeviceError> {
    let (mode, data) = mode_of(what);
    let mut arithmetic = Descriptor::new(Kinds::CUDNN_BACKEND_POINTWISE_DESCRIPTOR)?
        .with(Name::CUDNN_ATTR_POINTWISE_MODE, &[mode])?
        .with(Name::CUDNN_ATTR_POINTWISE_MATH_PREC, &[data])?;
    if let Each::Index(dimension) = what {
        arithmetic = arithmetic.with(Name::CUDNN_ATTR_POINTWISE_AXIS, &[dimension as i64])?;
    }
    let arithmetic = arithmetic.finish()?;
    let mut operation = Descriptor::new(Kinds::CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)?
        .with_parts(Name::CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, &[&arithmetic])?;
    let names = [
        Name::CUDNN_ATTR_OPERATION_POINTWISE_XDESC,
        Name::CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
        Name::CUDNN_ATTR_OPERATION_POINTWISE_TDESC,
    ];
    for (name, id) in names.into_iter().zip(from) {
        operation = operation.with_parts(name, &[&tensors[*id]])?;
    }
    let operation = operation.with_parts(Name::CUDNN_ATTR_OPERATION_POINTWISE_YDESC, &[&tensors[out]])?;
    Ok((operation.finish()?, Some(arithmetic)))
}

/// The library's name of some arithmetic, and in which numbers it is done.
fn mode_of(what: Each) -> (Mode, DataType) {
    match what {
        Each::Add => (Mode::CUDNN_POINTWISE_ADD, DataType::CUDNN_DATA_FLOAT),
        Each::Subtract => (Mode::CUDNN_POINTWISE_SUB, DataType::CUDNN_DATA_FLOAT),
        Each::Multiply => (Mode::CUDNN_POINTWISE_MUL, DataType::CUDNN_DATA_FLOAT),
        Each::Divide => (Mode::CUDNN_POINTWISE_DIV, DataType::CUDNN_DATA_FLOAT),
        Each::Exp => (Mode::CUDNN_POINTWISE_EXP, DataType::CUDNN_DATA_FLOAT),
        Each::Log => (Mode::CUDNN_POINTWISE_LOG, DataType::CUDNN_DATA_FLOAT),
        Each::Index(_) => (Mode::CUDNN_POINTWISE_GEN_INDEX, DataType::CUDNN_DATA_INT32),
        Each::NoLess => (Mode::CUDNN_POINTWISE_CMP_GE, DataType::CUDNN_DATA_BOOLEAN),
        Each::Choose => (Mode::CUDNN_POINTWISE_BINARY_SELECT, DataType::CUDNN_DATA_FLOAT),
    }
}

/// The first of the advised engines that can be used, and what it comes to.
fn best(graph: &Descriptor, target: &Target, room: usize) -> Result<(Descriptor, Planned), DeviceError> {
    let mut refusal = DeviceError::Call { what: "plan attention", reason: "no engine takes it".into() };
    for advice in [Advice::CUDNN_HEUR_MODE_A, Advice::CUDNN_HEUR_MODE_FALLBACK] {
        for choice in advised(graph, target, advice)? {
            match planned(&choice, target, room) {
                Ok(planned) => return Ok((choice, planned)),
                Err(error) => refusal = error,
            }
        }
    }
    Err(refusal)
}

/// Engines and their settings, the ones first that the library thinks best.
fn advised(graph: &Descriptor, target: &Target, advice: Advice) -> Result<Vec<Descriptor>, DeviceError> {
    let search = Descriptor::new(Kinds::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?
        .with_parts(Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, &[graph])?
        .with(Name::CUDNN_ATTR_ENGINEHEUR_MODE, &[advice])?;
    let search = target.named(search, None, Some(Name::CUDNN_ATTR_ENGINEHEUR_DEVICEPROP))?.finish()?;
    let new = |_| Descriptor::new(Kinds::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    let mut choices = (0..ENGINES).map(new).collect::<Result<Vec<_>, _>>()?;
    let found = search.fill(Name::CUDNN_ATTR_ENGINEHEUR_RESULTS, &choices)?;
    choices.truncate(found);
    Ok(choices)
}

/// A plan of an engine, the engine's number, and the working memory that it needs.
type Planned = (Descriptor, i64, usize);

fn planned(choice: &Descriptor, target: &Target, room: usize) -> Result<Planned, DeviceError> {
    let refused = |reason: String| DeviceError::Call { what: "plan attention", reason };
    let engine = Descriptor::new(Kinds::CUDNN_BACKEND_ENGINE_DESCRIPTOR)?;
    choice.fill(Name::CUDNN_ATTR_ENGINECFG_ENGINE, std::slice::from_ref(&engine))?;
    let mut notes = [-1_i32; NOTES];
    engine.read(Name::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, Type::CUDNN_TYPE_NUMERICAL_NOTE, &mut notes)?;
    if notes.contains(&NONDETERMINISTIC) {
        return Err(refused("its sums have no fixed order".into()));
    }
    let plan = Descriptor::new(Kinds::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?;
    let (handle, there) = (Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, Name::CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
    let plan = target.named(plan, Some(handle), Some(there))?;
    let plan = plan.with_parts(Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, &[choice])?.finish()?;
    let workspace = usize::try_from(plan.number(Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)?).unwrap_or(usize::MAX);
    if workspace > room {
        return Err(refused(format!("it needs {workspace} bytes of working memory")));
    }
    Ok((plan, engine.number(Name::CUDNN_ATTR_ENGINE_GLOBAL_INDEX)?, workspace))
}
