//! To which signs elements lean, thirty-two at once.

use crate::codec::{Ground, LANES, Walk};
use crate::kernel::Level;
use crate::kernel::narrow::member;
use crate::kernel::places::MOST;
use crate::kernel::ranks::lines_and_columns;
use crate::kernel::twins::{Task, Twins};

/// Tells what [`Walk::lean`] says of each element of a group, if there are such vectors and chunks; and whether it was done.
#[inline(always)]
pub(crate) fn lean(level: Level, ground: &Ground, walks: &[Walk], indices: &[u16], leans: &mut Vec<u8>) -> bool {
    if ground.widest > MOST {
        return false;
    }
    leans.resize(indices.len(), 0);
    level.narrowed().run_twins(Lean { ground, walks, indices, leans }).is_some()
}

struct Lean<'a> {
    ground: &'a Ground,
    walks: &'a [Walk],
    indices: &'a [u16],
    leans: &'a mut [u8],
}

impl Task for Lean<'_> {
    type Result = ();

    #[inline(always)]
    fn run<I: Twins>(self, i: I) {
        for walk in self.walks {
            let (lines, columns) = self.ground.sides(walk);
            let chunk = Chunk { lines: few(lines.leans), columns: few(columns.leans), length: walk.cut.length };
            let (whole, rest) = self.indices[walk.values()].as_chunks();
            let (of_whole, of_rest) = self.leans[walk.values()].as_chunks_mut();
            for (indices, leans) in whole.iter().zip(of_whole) {
                chunk.lean(i, indices, leans);
            }
            if !rest.is_empty() {
                let (mut last, mut all) = ([0; LANES], [0; LANES]);
                last[..rest.len()].copy_from_slice(rest);
                chunk.lean(i, &last, &mut all);
                of_rest.copy_from_slice(&all[..rest.len()]);
            }
        }
    }
}

/// Few bytes, and zeros.
#[inline(always)]
fn few(bytes: &[u8]) -> [u8; MOST] {
    let mut all = [0; MOST];
    all[..bytes.len()].copy_from_slice(bytes);
    all
}

/// How the lines and columns of a chunk lean.
struct Chunk {
    lines: [u8; MOST],
    columns: [u8; MOST],
    /// Elements of a line.
    length: usize,
}

impl Chunk {
    #[inline(always)]
    fn lean<I: Twins>(&self, i: I, indices: &[u16; LANES], leans: &mut [u8; LANES]) {
        let (line, column) = lines_and_columns(i, self.length, indices);
        let (line, column) = (member(i, &self.lines, line), member(i, &self.columns, column));
        // A leaning counts only where there are two: of these 1 and 3 differ in bit 1, as does what the one has more than the other.
        let both = i.and(i.and(line, column), i.byte(1));
        let sign = i.and(i.sub_bytes(line, column), i.add_bytes(both, both));
        i.keep(i.or(both, sign), leans);
    }
}
