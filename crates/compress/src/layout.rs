//! How parameter tensors are cut into chunks.

mod band;
mod block;

use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;

pub(crate) use band::Band;
pub(crate) use block::Block;

/// Largest edge: positions and counts of a chunk fit 16 bits.
const EDGE_MAX: usize = 255;
/// Longest dimension of a tensor, and most parameters of a layout: what the payload format can address, or fewer on a machine of 32 bits.
const DIMENSION_MAX: usize = at_most(1 << 40);
const PARAMETERS_MAX: usize = at_most(1 << 46);
/// Most elements of one row of chunks; it keeps the length of a section inside 32 bits.
const BAND_MAX: usize = 1 << 28;
/// A section is closed once it holds this many elements.
const SECTION_ELEMENTS: usize = 1 << 24;

/// As many as have payloads whose bits can be counted: a parameter has fewer than 64.
const fn at_most(parameters: u64) -> usize {
    let counted = usize::MAX / 64;
    if parameters < counted as u64 { parameters as usize } else { counted }
}

/// Rule by which a matrix is cut into chunks of at most `edge * edge` elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Grid {
    /// Blocks of `edge x edge`, split as evenly as possible: a dimension of `n` is cut into `ceil(n / block)` parts whose
    /// lengths differ by at most one. No padding, any size. A matrix with fewer than `edge` rows (columns) gets blocks
    /// that are longer in the other direction, so that chunks stay near `edge * edge` elements; a vector is cut into
    /// runs of at most `edge * edge`. Of a chunk of `n` elements `round(top_k * n / edge^2)` are kept, at least 1.
    Even,
    /// The reference run's rule: per dimension the largest divisor up to `edge` (1 for a prime above it), vectors
    /// likewise, and of every chunk `min(top_k, n)` elements, made even, at least 2 (1 where the chunk holds only 1).
    Divisor,
}

/// Why a layout cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The edge is zero or its square does not fit a 16-bit index.
    #[error("chunk edge {0} is not in 1..=255")]
    Edge(usize),
    /// A dimension is zero.
    #[error("tensor {0} has a dimension of zero; leave empty tensors out")]
    Empty(usize),
    /// A tensor or the sum of all is beyond what the payload format can address.
    #[error("tensor {0} makes the layout too large for the payload format")]
    TooLarge(usize),
}

/// One tensor of a [`Layout`], seen as a matrix of `rows x columns` in row-major order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorLayout {
    /// Position of its first element in the flat parameter vector.
    pub offset: usize,
    /// Its shape as given.
    pub shape: Vec<usize>,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Number of blocks down the rows: each is a band of whole rows.
    pub(crate) bands: usize,
    /// Number of blocks along the columns: the chunks of a band.
    pub(crate) across: usize,
    /// Number of the tensor's first chunk among all chunks.
    pub(crate) chunk: usize,
}

impl TensorLayout {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// Never true: a layout holds no empty tensor.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of chunks.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.bands * self.across
    }

    fn band_rows(&self, band: usize) -> Range<usize> {
        part(self.rows, self.bands, band)
    }
}

/// Bounds of part `index` when `length` is cut into `parts` as evenly as possible.
pub(crate) fn part(length: usize, parts: usize, index: usize) -> Range<usize> {
    let bound = |i: usize| {
        let (whole, rest) = (length / parts, length % parts);
        whole * i + (rest as u64 * i as u64 / parts as u64) as usize
    };
    bound(index)..bound(index + 1)
}

/// Consecutive bands of one tensor that are coded together and apart from all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) tensor: usize,
    pub(crate) bands: Range<usize>,
    pub(crate) chunks: Range<usize>,
}

impl Section {
    /// The most values that it can hold.
    pub(crate) fn values(&self, layout: &Layout, top_k: usize) -> usize {
        let lengths = layout.bands()[self.bands.clone()].iter().flat_map(Band::lengths);
        lengths.map(|(chunks, length)| chunks * layout.kept(length, top_k)).sum()
    }
}

#[derive(Debug)]
struct Inner {
    edge: usize,
    grid: Grid,
    len: usize,
    tensors: Vec<TensorLayout>,
    bands: Vec<Band>,
    sections: Vec<Section>,
    chunks: usize,
    digest: [u8; 32],
}

/// The tensors of a model in one flat parameter vector, and their cut into chunks. Cheap to clone.
///
/// A tensor of more than two dimensions is a matrix with its last dimension as columns.
#[derive(Debug, Clone)]
pub struct Layout(Arc<Inner>);

/// Layouts are equal if their digests are.
impl PartialEq for Layout {
    fn eq(&self, other: &Layout) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.digest == other.0.digest
    }
}

impl Eq for Layout {}

impl Layout {
    /// Lays out tensors of the given shapes one after the other with [`Grid::Even`].
    ///
    /// # Errors
    /// If `edge` is not in `1..=255`, a dimension is zero, or the sum is too large for the payload format.
    pub fn new(edge: usize, shapes: impl IntoIterator<Item = Vec<usize>>) -> Result<Layout, LayoutError> {
        Layout::with_grid(Grid::Even, edge, shapes)
    }

    /// Like [`Layout::new`], with the rule of cutting chosen.
    ///
    /// # Errors
    /// As [`Layout::new`].
    pub fn with_grid(
        grid: Grid,
        edge: usize,
        shapes: impl IntoIterator<Item = Vec<usize>>,
    ) -> Result<Layout, LayoutError> {
        if !(1..=EDGE_MAX).contains(&edge) {
            return Err(LayoutError::Edge(edge));
        }
        let (mut len, mut chunks, mut tensors) = (0, 0, Vec::new());
        for (index, shape) in shapes.into_iter().enumerate() {
            let tensor = place(grid, edge, index, shape, (len, chunks))?;
            len += tensor.len();
            chunks += tensor.chunks();
            if len > PARAMETERS_MAX {
                return Err(LayoutError::TooLarge(index));
            }
            tensors.push(tensor);
        }
        let mut bands =
            tensors.iter().enumerate().flat_map(|(index, tensor)| bands_of(index, tensor)).collect::<Vec<_>>();
        let sections = assign_sections(&mut bands);
        let digest = digest_of(grid, edge, &tensors);
        Ok(Layout(Arc::new(Inner { edge, grid, len, tensors, bands, sections, chunks, digest })))
    }

    /// Number of parameters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether there is no tensor at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// The tensors in order.
    #[must_use]
    pub fn tensors(&self) -> &[TensorLayout] {
        &self.0.tensors
    }

    /// Edge of the chunks of a large matrix.
    #[must_use]
    pub fn edge(&self) -> usize {
        self.0.edge
    }

    /// Rule by which matrices are cut.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.0.grid
    }

    /// Number of chunks of all tensors.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.0.chunks
    }

    /// BLAKE3 of the edge, the rule and all shapes; a payload names the layout by it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.0.digest
    }

    /// How many elements of a chunk of `length` are selected at most, when `top_k` of a full chunk are.
    #[must_use]
    pub fn kept(&self, length: usize, top_k: usize) -> usize {
        let area = self.0.edge * self.0.edge;
        match self.0.grid {
            Grid::Even => ((top_k.min(area) * length + area / 2) / area).clamp(1, length.max(1)),
            Grid::Divisor => (top_k.min(length) & !1).max(2).min(length),
        }
    }

    pub(crate) fn bands(&self) -> &[Band] {
        &self.0.bands
    }

    pub(crate) fn sections(&self) -> &[Section] {
        &self.0.sections
    }

    /// Cuts a vector of the layout's length into the slices of its bands.
    pub(crate) fn split_mut<'a>(&self, mut flat: &'a mut [f32]) -> Vec<&'a mut [f32]> {
        let mut slices = Vec::with_capacity(self.0.bands.len());
        for band in &self.0.bands {
            let (slice, rest) = flat.split_at_mut(band.len());
            slices.push(slice);
            flat = rest;
        }
        slices
    }
}

fn place(
    grid: Grid,
    edge: usize,
    index: usize,
    shape: Vec<usize>,
    (offset, chunk): (usize, usize),
) -> Result<TensorLayout, LayoutError> {
    let too_large = LayoutError::TooLarge(index);
    if shape.contains(&0) {
        return Err(LayoutError::Empty(index));
    }
    let (rows, columns) = matrix(&shape).ok_or(too_large.clone())?;
    let fits = rows <= DIMENSION_MAX && columns <= DIMENSION_MAX;
    if !fits || rows.checked_mul(columns).is_none_or(|len| len > PARAMETERS_MAX) {
        return Err(too_large);
    }
    let (block_rows, block_columns) = match grid {
        Grid::Even => even_block(edge, rows, columns),
        Grid::Divisor => (divisor(edge, rows), divisor(edge, columns)),
    };
    let (bands, across) = (rows.div_ceil(block_rows), columns.div_ceil(block_columns));
    if block_rows.saturating_mul(columns) > BAND_MAX {
        return Err(too_large);
    }
    Ok(TensorLayout { offset, shape, rows, columns, bands, across, chunk })
}

/// A vector is a column, a scalar a vector of one, anything above two dimensions has its last one as columns.
fn matrix(shape: &[usize]) -> Option<(usize, usize)> {
    match shape {
        [] => Some((1, 1)),
        [length] => Some((*length, 1)),
        [leading @ .., columns] => {
            let rows = leading.iter().try_fold(1_usize, |product, &d| product.checked_mul(d))?;
            Some((rows, *columns))
        }
    }
}

fn even_block(edge: usize, rows: usize, columns: usize) -> (usize, usize) {
    let area = edge * edge;
    if columns <= edge {
        (area / columns, columns)
    } else if rows <= edge {
        (rows, area / rows)
    } else {
        (edge, edge)
    }
}

fn divisor(edge: usize, length: usize) -> usize {
    (1..=edge.min(length)).rev().find(|d| length.is_multiple_of(*d)).unwrap_or(1)
}

fn bands_of(index: usize, tensor: &TensorLayout) -> impl Iterator<Item = Band> + '_ {
    (0..tensor.bands).map(move |band| {
        let rows = tensor.band_rows(band);
        Band {
            tensor: index,
            offset: tensor.offset + rows.start * tensor.columns,
            rows: rows.len(),
            columns: tensor.columns,
            across: tensor.across,
            narrow: tensor.columns / tensor.across,
            wide: tensor.columns % tensor.across,
            chunk: tensor.chunk + band * tensor.across,
            section: 0,
        }
    })
}

fn assign_sections(bands: &mut [Band]) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut elements = 0;
    for (index, band) in bands.iter_mut().enumerate() {
        let chunks = band.chunk..band.chunk + band.across;
        match sections.last_mut() {
            Some(open) if open.tensor == band.tensor && elements < SECTION_ELEMENTS => {
                open.bands.end = index + 1;
                open.chunks.end = chunks.end;
            }
            _ => {
                elements = 0;
                sections.push(Section { tensor: band.tensor, bands: index..index + 1, chunks });
            }
        }
        band.section = sections.len() - 1;
        elements += band.len();
    }
    sections
}

fn digest_of(grid: Grid, edge: usize, tensors: &[TensorLayout]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("pactum-compress layout 1");
    let mut number = |value: usize| {
        hasher.update(&(value as u64).to_le_bytes());
    };
    number(match grid {
        Grid::Even => 0,
        Grid::Divisor => 1,
    });
    number(edge);
    number(tensors.len());
    for tensor in tensors {
        number(tensor.shape.len());
        tensor.shape.iter().copied().for_each(&mut number);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(grid: Grid, edge: usize, shape: &[usize]) -> Vec<Block> {
        let layout = Layout::with_grid(grid, edge, [shape.to_vec()]).unwrap();
        layout.bands().iter().flat_map(|band| (0..band.across).map(|i| band.block(i)).collect::<Vec<_>>()).collect()
    }

    fn check_cover(layout: &Layout) {
        let mut seen = vec![0; layout.len()];
        let mut chunks = 0;
        let blocks = layout.bands().iter().flat_map(|band| (0..band.across).map(move |i| (band, i, band.block(i))));
        for (band, index, block) in blocks {
            assert_eq!(band.chunk + index, chunks);
            assert!((1..=layout.edge() * layout.edge()).contains(&block.len()), "{layout:?} {block:?}");
            (0..block.len()).for_each(|i| seen[band.offset + block.position(i)] += 1);
            chunks += 1;
        }
        assert_eq!(chunks, layout.chunks());
        assert!(seen.iter().all(|&times| times == 1), "{layout:?}");
    }

    #[test]
    fn every_element_is_in_exactly_one_chunk_of_bounded_size() {
        let shapes: [&[usize]; 12] = [
            &[1],
            &[7],
            &[97],
            &[4096],
            &[4097],
            &[64, 64],
            &[65, 67],
            &[3, 1009],
            &[1009, 3],
            &[5, 6, 7],
            &[],
            &[256, 96],
        ];
        for shape in shapes {
            for edge in [1, 2, 8, 64] {
                check_cover(&Layout::with_grid(Grid::Even, edge, [shape.to_vec()]).unwrap());
                check_cover(&Layout::with_grid(Grid::Divisor, edge, [shape.to_vec()]).unwrap());
            }
        }
    }

    #[test]
    fn even_chunks_are_near_full_size() {
        for shape in [vec![65, 67], vec![8192, 3], vec![3, 8192], vec![50_257], vec![1000, 96]] {
            let sizes = blocks(Grid::Even, 64, &shape).iter().map(Block::len).collect::<Vec<_>>();
            assert!(sizes.iter().all(|&size| size >= 1024), "{shape:?}: {sizes:?}");
        }
    }

    #[test]
    fn the_reference_cuts_by_divisors() {
        check_divisor(&[96, 128], 48, 64);
        check_divisor(&[65, 67], 13, 1);
        check_divisor(&[128], 64, 1);
    }

    fn check_divisor(shape: &[usize], rows: usize, width: usize) {
        let blocks = blocks(Grid::Divisor, 64, shape);
        assert!(blocks.iter().all(|b| b.rows == rows && b.width == width), "{shape:?}");
    }

    #[test]
    fn impossible_layouts_are_refused() {
        assert_eq!(Layout::new(0, [vec![1]]).unwrap_err(), LayoutError::Edge(0));
        assert_eq!(Layout::new(256, [vec![1]]).unwrap_err(), LayoutError::Edge(256));
        assert_eq!(Layout::new(64, [vec![1], vec![4, 0]]).unwrap_err(), LayoutError::Empty(1));
        for shape in
            [vec![usize::MAX, 2], vec![usize::MAX, usize::MAX, 2], vec![1 << 24, 1 << 24], vec![DIMENSION_MAX + 1]]
        {
            assert_eq!(Layout::new(64, [shape]).unwrap_err(), LayoutError::TooLarge(0));
        }
    }

    #[test]
    fn digests_tell_layouts_apart() {
        let digest = |grid, edge, shapes: &[&[usize]]| {
            Layout::with_grid(grid, edge, shapes.iter().map(|s| s.to_vec())).unwrap().digest()
        };
        let base = digest(Grid::Even, 64, &[&[2, 3], &[4]]);
        assert_eq!(base, digest(Grid::Even, 64, &[&[2, 3], &[4]]));
        assert_ne!(base, digest(Grid::Divisor, 64, &[&[2, 3], &[4]]));
        assert_ne!(base, digest(Grid::Even, 32, &[&[2, 3], &[4]]));
        assert_ne!(base, digest(Grid::Even, 64, &[&[3, 2], &[4]]));
        assert_ne!(base, digest(Grid::Even, 64, &[&[2], &[3, 4]]));
    }
}
