//! Sections on their way from a payload.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::codec::ans::{Order, Reader, Source, lanes};
use crate::codec::entropy::{FIXED, Groups};
use crate::codec::gauge::Gauge;
use crate::codec::model::{ChunkAt, Fault, Geometry, Group, Head, Marks, Model, Spare};
use crate::codec::{CodecError, Expected, fixed};
use crate::kernel::Level;
use crate::quantise::Scales;
use crate::scale::{CODE_MAX, value_of};
use crate::section::SectionData;
use crate::settings::{Coder, Quantiser};

/// Bits of a section by the shares of its symbols.
pub(crate) fn information(bytes: &[u8], expected: Expected<'_>) -> Result<f64, CodecError> {
    if let Some((&FIXED, rest)) = bytes.split_first() {
        return fixed::information(rest, expected);
    }
    let (mut bits, mut data) = (0.0, expected.room());
    let (head, reader) = open(bytes, &expected, Level::Plain)?;
    Reading::new(head, Gauge::new(reader, &mut bits), expected, &mut data, Memory::default()).read()?;
    Ok(bits)
}

/// A section to be read, and what came of it.
pub(crate) struct Work<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) expected: Expected<'a>,
    pub(crate) data: &'a mut SectionData,
    pub(crate) result: &'a mut Result<(), CodecError>,
}

/// Memory to read a section.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    model: Spare,
    chunks: Vec<ChunkAt>,
    order: Order,
}

/// Memory of sections that were read.
pub(crate) type Pool = Mutex<Vec<Memory>>;

/// Sections of which nobody reads one yet, and memory to do it.
pub(crate) struct Queue<'a> {
    work: Mutex<Vec<Work<'a>>>,
    pool: &'a Pool,
    threads: usize,
}

impl<'a> Queue<'a> {
    /// The next section. Who reads one already leaves one for every thread.
    fn next(&self, alone: bool) -> Option<Work<'a>> {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        if alone || work.len() > self.threads { work.pop() } else { None }
    }

    fn memory(&self) -> Memory {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give_back(&self, memory: Memory) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}

/// Reads sections in parallel, those first that have the most bytes.
pub(crate) fn read_all(mut work: Vec<Work<'_>>, (coder, level): (Coder, Level), pool: &Pool) {
    if coder == Coder::Fixed {
        return work.into_par_iter().for_each(|work| work.read_fixed(level));
    }
    work.sort_by_key(|work| work.bytes.len());
    let queue = Queue { work: Mutex::new(work), pool, threads: rayon::current_num_threads() };
    (0..queue.threads).into_par_iter().for_each(|_| level.read_sections(&queue));
}

impl Work<'_> {
    fn read_fixed(self, level: Level) {
        let Work { bytes, expected, data, result } = self;
        expected.make_room(data);
        *result = fixed::decode(bytes, expected, level, data);
    }
}

/// Reads sections until none are left: two at a time where the machine gains by it, as long as there are enough. Compiled once for each level of
/// vector instructions, hence inlined.
#[inline(always)]
pub(crate) fn read_sections(queue: &Queue<'_>, level: Level) {
    let mut slots = [None, None];
    let used = if Reader::pairs(level) { 2 } else { 1 };
    loop {
        for number in 0..used {
            let alone = slots[1 - number].is_none();
            begin(&mut slots[number], (queue, alone), level);
        }
        match &mut slots {
            [None, None] => return,
            [Some(one), Some(other)] => Reading::places_of_two([&mut one.0, &mut other.0]),
            [Some(one), None] | [None, Some(one)] => one.0.places(),
        }
        for slot in &mut slots {
            if let Some((reading, _)) = slot
                && let Err(fault) = reading.finish()
            {
                end(slot, Err(fault), queue);
            }
        }
    }
}

/// A section that is being read, and where to say what came of it.
type Slot<'a> = Option<(Reading<'a, Reader<'a>>, &'a mut Result<(), CodecError>)>;

/// Begins the next group of a section, or another section if it has none.
#[inline(always)]
fn begin<'a>(slot: &mut Slot<'a>, (queue, alone): (&Queue<'a>, bool), level: Level) {
    loop {
        if slot.is_none() {
            *slot = next((queue, alone), level);
        }
        let Some((reading, _)) = slot else { return };
        let result = match reading.begin() {
            Ok(true) => return,
            Ok(false) => reading.end(),
            Err(fault) => Err(fault),
        };
        end(slot, result, queue);
    }
}

fn end(slot: &mut Slot<'_>, result: Result<(), CodecError>, queue: &Queue<'_>) {
    if let Some((reading, place)) = slot.take() {
        *place = result;
        let Reading { source, mut model, chunks, data, .. } = reading;
        let Group { indices, codes, .. } = &mut model.group;
        data.take_back((std::mem::take(indices), std::mem::take(codes)));
        queue.give_back(Memory { model: model.into_spare(), chunks, order: source.spare });
    }
}

/// The next section that is to be read group by group. What is on the way to it is dealt with.
#[inline(always)]
fn next<'a>((queue, alone): (&Queue<'a>, bool), level: Level) -> Slot<'a> {
    loop {
        let work = queue.next(alone)?;
        if let Some((&FIXED, bytes)) = work.bytes.split_first() {
            Work { bytes, ..work }.read_fixed(level);
            continue;
        }
        let Work { bytes, expected, data, result } = work;
        expected.make_room(data);
        match open(bytes, &expected, level) {
            Ok((head, mut reader)) => {
                let mut memory = queue.memory();
                std::mem::swap(&mut reader.spare, &mut memory.order);
                return Some((Reading::new(head, reader, expected, data, memory), result));
            }
            Err(fault) => *result = Err(fault),
        }
    }
}

/// Reads the head of a section.
fn open<'a>(bytes: &'a [u8], expected: &Expected<'a>, level: Level) -> Result<(Head, Reader<'a>), CodecError> {
    let Expected { layout, section, limits, .. } = expected;
    let fault = CodecError::SectionEnd { tensor: section.tensor };
    let (head, rest) = Head::read(bytes, limits.settings.quantiser).ok_or(fault.clone())?;
    let lanes = lanes(section.values(layout, limits.settings.top_k));
    Ok((head, Reader::new(rest, lanes, level).ok_or(fault)?))
}

/// A section on its way from a source, group by group.
struct Reading<'a, S> {
    source: S,
    expected: Expected<'a>,
    model: Model,
    groups: Groups<'a>,
    chunks: Vec<ChunkAt>,
    data: &'a mut SectionData,
}

impl<'a, S: Source> Reading<'a, S> {
    #[inline(always)]
    fn new(
        head: Head,
        mut source: S,
        expected: Expected<'a>,
        data: &'a mut SectionData,
        memory: Memory,
    ) -> Reading<'a, S> {
        let Expected { layout, section, limits, .. } = expected;
        let settings = &limits.settings;
        let geometry = Geometry::new(layout, section, settings.top_k);
        let mut marks = Marks::new(&geometry);
        marks.code(&mut source, &head);
        let Memory { model, chunks, .. } = memory;
        let mut model = Model::new((geometry, settings.quantiser), head, &marks, (model, source.level()));
        if source.plans() {
            model.rank(&marks);
        }
        // What is read is put where it is to stay.
        (model.group.indices, model.group.codes) = data.lend();
        let groups = Groups::new(layout, (section, geometry), (settings.top_k, source.lanes()));
        Reading { source, expected, model, groups, chunks, data }
    }

    /// Reads all of it.
    fn read(mut self) -> Result<(), CodecError> {
        while self.begin()? {
            self.places();
            self.finish()?;
        }
        self.end()
    }

    /// Reads what comes before the places of the next group, if there is one.
    #[inline(always)]
    fn begin(&mut self) -> Result<bool, CodecError> {
        let tensor = self.expected.section.tensor;
        let Some(chunks) = self.groups.fill(&mut self.chunks) else { return Ok(false) };
        // What comes after the end is zeros: harmless, but not to be read for long.
        if self.source.is_overrun() {
            return Err(CodecError::SectionEnd { tensor });
        }
        self.model.group.reset();
        self.model.begin(&mut self.source, chunks).map_err(|fault| fault.in_tensor(tensor))?;
        self.model.group.prefetch_next();
        Ok(true)
    }

    /// Reads the places.
    #[inline(always)]
    fn places(&mut self) {
        let (ground, walks, indices) = self.model.ways(self.chunks.len());
        self.source.places(ground, walks, indices);
    }

    /// Reads what comes behind the places.
    #[inline(always)]
    fn finish(&mut self) -> Result<(), CodecError> {
        let (tensor, chunks) = (self.expected.section.tensor, self.chunks.len());
        self.model.finish(&mut self.source, chunks).map_err(|fault| fault.in_tensor(tensor))?;
        take(&self.model.group, chunks, &self.expected, self.data)
    }

    /// Whether everything was read and is as a writer would have it.
    fn end(&self) -> Result<(), CodecError> {
        let tensor = self.expected.section.tensor;
        if self.source.is_exhausted() { Ok(()) } else { Err(CodecError::SectionEnd { tensor }) }
    }
}

impl Reading<'_, Reader<'_>> {
    /// Reads the places of a group of each.
    #[inline(always)]
    fn places_of_two([one, other]: [&mut Self; 2]) {
        let ways = [one.model.ways(one.chunks.len()), other.model.ways(other.chunks.len())];
        Reader::places_of_two([&mut one.source, &mut other.source], ways);
    }
}

impl Fault {
    fn in_tensor(self, tensor: usize) -> CodecError {
        match self {
            Fault::Count => CodecError::Count { tensor },
            Fault::Index => CodecError::Index { tensor },
        }
    }
}

/// Ends decoded chunks, if their scales or values are within the limits.
#[inline(always)]
fn take(group: &Group, chunks: usize, expected: &Expected<'_>, data: &mut SectionData) -> Result<(), CodecError> {
    let (limits, tensor) = (expected.limits, expected.section.tensor);
    let (quantiser, counts) = (limits.settings.quantiser, &group.counts[..chunks]);
    let sound = |(&count, scales): (&usize, &Scales)| {
        let ordered = 0 < scales.high && scales.low <= scales.high && scales.high <= CODE_MAX;
        count == 0 || quantiser.scales() == 0 || ordered && value_of(scales.high) <= limits.scale_max
    };
    if !counts.iter().zip(&group.scales).all(sound) {
        return Err(CodecError::Scale { tensor });
    }
    if quantiser == Quantiser::Exact {
        for (&code, bits) in group.codes().iter().zip(&group.magnitudes) {
            let value = limits.admit(f32::from_bits(u32::from(code & 1) << 31 | bits));
            data.push_value(value.ok_or(CodecError::Value { tensor })?);
        }
    }
    data.close_chunks(counts, &group.scales);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{HEADER_BYTES, TABLE_BYTES};
    use crate::kernel::Instructions;
    use crate::laws::gradient;
    use crate::{Compressor, Decoder, Layout, Limits, Settings, SparseUpdate};
    use proptest::prelude::*;
    use rayon::ThreadPoolBuilder;

    /// Crowded rows and columns, and signs that follow them.
    fn leaning(layout: &Layout, seed: u64) -> Vec<f32> {
        let mut values = gradient(seed, layout.len());
        for tensor in layout.tensors() {
            let columns = *tensor.shape.last().unwrap();
            for (place, value) in values[tensor.offset..tensor.offset + tensor.len()].iter_mut().enumerate() {
                let (row, column) = (place / columns, place % columns);
                let sign = [-1.0, 1.0][usize::from((row % 3 == 0) == (column % 2 == 0))];
                *value = value.abs() * (1 + row % 5 * (column % 7)) as f32 * sign;
            }
        }
        values
    }

    /// On one thread, so that which two sections are read together is always the same.
    fn read_alike(layout: &Layout, settings: Settings, payload: &[u8]) -> Result<SparseUpdate, CodecError> {
        let pool = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let read = |instructions: Instructions| {
            let decoder = Decoder::new(layout.clone(), Limits::new(settings)).with_instructions(instructions);
            decoder.map(|mut decoder| pool.install(|| [decoder.decode(payload), decoder.decode(payload)]))
        };
        let [plain, again] = read(Instructions::Plain).unwrap();
        assert_eq!(plain, again);
        for found in
            [Instructions::Neon, Instructions::Avx2, Instructions::Avx512].into_iter().filter_map(read).flatten()
        {
            assert_eq!(found, plain);
        }
        plain
    }

    #[test]
    fn two_sections_of_half_the_states_are_read_together() {
        let layout = Layout::new(64, [[700, 512], [1024, 512], [640, 640], [1024, 1024]].map(Vec::from)).unwrap();
        for quantiser in [Quantiser::SignScale, Quantiser::TwoLevels] {
            let settings = Settings::new(64, quantiser);
            let compressor = Compressor::new(layout.clone(), settings);
            let payload = compressor.unwrap().compress(&mut gradient(5, layout.len()));
            assert!(read_alike(&layout, settings, &payload).is_ok());
        }
    }

    #[test]
    fn groups_of_chunks_without_values_are_read() {
        // Alone, and together with another section that has none either.
        for tensors in [1, 2] {
            let layout = Layout::new(64, vec![vec![1024, 1088]; tensors]).unwrap();
            let (settings, mut values) = (Settings::new(64, Quantiser::SignScale), gradient(5, layout.len()));
            values.chunks_mut(1024 * 1088).for_each(|tensor| tensor[..300 * 1088].fill(0.0));
            let payload = Compressor::new(layout.clone(), settings).unwrap().compress(&mut values);
            assert!(read_alike(&layout, settings, &payload).is_ok());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        // Sections have 1, 16 or 32 states each.
        #[test]
        fn all_instructions_read_the_same_of_whatever_comes(
            shapes in prop::collection::vec(prop::sample::select(vec![
                vec![250, 400], vec![700, 512], vec![90, 4000], vec![300], vec![1024, 1024], vec![1100, 1024],
            ]), 1..4),
            seed in 1_u64.., damage in prop::option::of((any::<prop::sample::Index>(), 1_u8..)),
            settings in prop::sample::select(vec![
                Settings::new(64, Quantiser::SignScale), Settings::new(64, Quantiser::TwoLevels),
                Settings::new(700, Quantiser::SignScale), Settings::new(9, Quantiser::FourBits),
            ]),
        ) {
            let layout = Layout::new(64, shapes).unwrap();
            let compressor = Compressor::new(layout.clone(), settings);
            let mut payload = compressor.unwrap().compress(&mut leaning(&layout, seed));
            let head = HEADER_BYTES + TABLE_BYTES * layout.sections().len();
            if let Some((place, change)) = damage {
                let content = &mut payload[head..];
                content[place.index(content.len())] ^= change;
            }
            let read = read_alike(&layout, settings, &payload);
            prop_assert!(damage.is_some() || read.is_ok());
        }
    }
}
