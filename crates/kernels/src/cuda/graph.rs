//! Attention as a graph of operations on tensors, in the form that cuDNN knows and makes one kernel of. Plain data: what
//! becomes of it in the library is in the module beside this one.

use crate::attention::Attention;
use crate::device::Attend;

/// What a tensor's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// 32 bits.
    Single,
    /// The upper 16 of them.
    Short,
    /// A whole number, of a place in a tensor.
    Whole,
    /// True or false.
    Truth,
}

/// What a tensor's memory is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Memory {
    /// None: it never leaves the kernel.
    Inside,
    /// A buffer from one of its elements on.
    Buffer(Slot, usize),
    /// One number that is given with a call.
    Number(f32),
}

/// The buffers of [`Attend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Fused,
    Mixed,
    Logs,
    Slope,
    Gradient,
    Pulls,
}

impl Slot {
    /// Where a call has it; zero where it has none.
    pub(super) fn of(self, call: &Attend) -> u64 {
        let [slope, gradient, pulls] = call.back.unwrap_or_default();
        match self {
            Slot::Fused => call.fused,
            Slot::Mixed => call.mixed,
            Slot::Logs => call.logs,
            Slot::Slope => slope,
            Slot::Gradient => gradient,
            Slot::Pulls => pulls,
        }
    }
}

/// Sequences, heads, rows and columns.
pub(super) type Sizes = [usize; 4];

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tensor {
    pub(super) kind: Kind,
    pub(super) sizes: Sizes,
    pub(super) strides: Sizes,
    pub(super) memory: Memory,
}

/// The number of a tensor in its graph.
pub(super) type Id = usize;

/// What is done to each element, or with those of two or three tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Each {
    Add,
    Subtract,
    Multiply,
    Divide,
    Exp,
    Log,
    /// The number of the row (2) or of the column (3) that the element is in.
    Index(usize),
    /// Whether the first is no less than the second.
    NoLess,
    /// The first where the third is true, else the second.
    Choose,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// A matrix product for each sequence and head.
    Product { left: Id, right: Id, out: Id },
    /// The same arithmetic for every element. A size of one is that of the other tensors, repeated.
    Each { what: Each, from: Vec<Id>, out: Id },
    /// Sums, or the largest, over the dimensions that are one in the output. Fewer heads have those of their neighbours.
    Fold { largest: bool, from: Id, out: Id },
    /// The same numbers under other strides.
    View { from: Id, out: Id },
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) tensors: Vec<Tensor>,
    pub(super) nodes: Vec<Node>,
}

/// Strides of a tensor without gaps.
fn packed([_, b, c, d]: Sizes) -> Sizes {
    [b * c * d, c * d, d, 1]
}

/// With rows and columns exchanged.
fn turned([a, b, c, d]: Sizes) -> Sizes {
    [a, b, d, c]
}

impl Graph {
    /// Of `sequences` sequences, forward or backward.
    pub(super) fn new(shape: &Attention, sequences: usize, backward: bool) -> Graph {
        let mut graph = Graph::default();
        let heads = Heads { shape: *shape, sequences };
        if backward {
            graph.backward(&heads)
        } else {
            graph.forward(&heads)
        }
        graph
    }

    /// Shares are the exponentials of the scores less the largest, over their sum; what is left for the backward pass is
    /// the logarithm of the sum. Both factors of a product have 16 bits.
    fn forward(&mut self, heads: &Heads) {
        let (queries, keys) = (self.add(heads.queries(Slot::Fused)), self.add(heads.keys(Slot::Fused).turn()));
        let scores = self.scores(heads, queries, keys);
        let (square, column) = (heads.square(), heads.column());
        let scores = self.hide(heads, scores);
        let top = self.fold(true, scores, Tensor::inside(Kind::Single, column));
        let lowered = self.each(Each::Subtract, vec![scores, top], Tensor::inside(Kind::Single, square));
        let weights = self.each(Each::Exp, vec![lowered], Tensor::inside(Kind::Single, square));
        let sum = self.fold(false, weights, Tensor::inside(Kind::Single, column));
        let log = self.each(Each::Log, vec![sum], Tensor::inside(Kind::Single, column));
        self.each(
            Each::Add,
            vec![top, log],
            Tensor { memory: Memory::Buffer(Slot::Logs, 0), ..Tensor::inside(Kind::Single, column) },
        );
        let shares = self.each(Each::Divide, vec![weights, sum], Tensor::inside(Kind::Short, square));
        let (values, out) = (self.add(heads.values(Slot::Fused)), self.add(heads.mixed(Slot::Mixed)));
        self.nodes.push(Node::Product { left: shares, right: values, out });
    }

    /// The queries' gradient is the output of one product, and not added up in memory: so the library must sum in an order
    /// of its own choice that is the same each time, for which it takes working memory of two bytes for each score.
    fn backward(&mut self, heads: &Heads) {
        let (square, column) = (heads.square(), heads.column());
        let (slope, mixed) = (self.add(heads.mixed(Slot::Slope)), self.add(heads.mixed(Slot::Mixed)));
        let both = self.each(Each::Multiply, vec![slope, mixed], Tensor::inside(Kind::Single, heads.rows()));
        let pull = self.fold(false, both, Tensor::inside(Kind::Single, column));
        let one = self.number(1.0);
        let place = Memory::Buffer(Slot::Pulls, 0);
        let pull = self.each(
            Each::Multiply,
            vec![pull, one],
            Tensor { memory: place, ..Tensor::inside(Kind::Single, column) },
        );

        let (queries, keys) = (self.add(heads.queries(Slot::Fused)), self.add(heads.keys(Slot::Fused).turn()));
        let scores = self.scores(heads, queries, keys);
        let logs = self.add(Tensor { memory: Memory::Buffer(Slot::Logs, 0), ..Tensor::inside(Kind::Single, column) });
        let lowered = self.each(Each::Subtract, vec![scores, logs], Tensor::inside(Kind::Single, square));
        let lowered = self.hide(heads, lowered);
        let shares = self.each(Each::Exp, vec![lowered], Tensor::inside(Kind::Single, square));
        self.by_pairs(heads, (shares, slope), heads.values(Slot::Gradient));

        let values = self.add(heads.values(Slot::Fused).turn());
        let by_shares = self.product(slope, values, Tensor::inside(Kind::Single, square));
        let less = self.each(Each::Subtract, vec![by_shares, pull], Tensor::inside(Kind::Single, square));
        let by_scores = self.each(Each::Multiply, vec![less, shares], Tensor::inside(Kind::Short, square));
        self.by_pairs(heads, (by_scores, queries), heads.keys(Slot::Gradient));

        let upright = self.add(Tensor { memory: Memory::Inside, ..heads.keys(Slot::Fused) });
        self.nodes.push(Node::View { from: keys, out: upright });
        self.product(by_scores, upright, heads.queries(Slot::Gradient));
    }

    fn scores(&mut self, heads: &Heads, queries: Id, keys: Id) -> Id {
        self.product(queries, keys, Tensor::inside(Kind::Single, heads.square()))
    }

    /// Puts minus infinity where the key is of a later token than the query.
    fn hide(&mut self, heads: &Heads, scores: Id) -> Id {
        let square = heads.square();
        let row = self.each(Each::Index(2), vec![scores], Tensor::inside(Kind::Whole, square));
        let column = self.each(Each::Index(3), vec![scores], Tensor::inside(Kind::Whole, square));
        let seen = self.each(Each::NoLess, vec![row, column], Tensor::inside(Kind::Truth, square));
        let nothing = self.number(f32::NEG_INFINITY);
        self.each(Each::Choose, vec![scores, nothing, seen], Tensor::inside(Kind::Single, square))
    }

    /// `weights`, transposed, times `rows`: for each query head, and summed over those that share keys and values.
    fn by_pairs(&mut self, heads: &Heads, (weights, rows): (Id, Id), out: Tensor) {
        let square = heads.square();
        let upright = self.add(Tensor { kind: Kind::Short, ..Tensor::inside(Kind::Single, square).turn() });
        self.nodes.push(Node::View { from: weights, out: upright });
        if heads.shape.heads == heads.shape.kv_heads {
            self.product(upright, rows, out);
            return;
        }
        let each = self.product(upright, rows, Tensor::inside(Kind::Short, heads.rows()));
        self.fold(false, each, out);
    }

    fn add(&mut self, tensor: Tensor) -> Id {
        self.tensors.push(tensor);
        self.tensors.len() - 1
    }

    fn number(&mut self, number: f32) -> Id {
        self.add(Tensor { memory: Memory::Number(number), ..Tensor::inside(Kind::Single, [1; 4]) })
    }

    fn product(&mut self, left: Id, right: Id, out: Tensor) -> Id {
        let out = self.add(out);
        self.nodes.push(Node::Product { left, right, out });
        out
    }

    fn each(&mut self, what: Each, from: Vec<Id>, out: Tensor) -> Id {
        let out = self.add(out);
        self.nodes.push(Node::Each { what, from, out });
        out
    }

    fn fold(&mut self, largest: bool, from: Id, out: Tensor) -> Id {
        let out = self.add(out);
        self.nodes.push(Node::Fold { largest, from, out });
        out
    }
}

impl Tensor {
    fn inside(kind: Kind, sizes: Sizes) -> Tensor {
        Tensor { kind, sizes, strides: packed(sizes), memory: Memory::Inside }
    }

    fn turn(self) -> Tensor {
        Tensor { sizes: turned(self.sizes), strides: turned(self.strides), ..self }
    }

    /// Bytes of an element.
    pub(super) fn bytes(&self) -> usize {
        if self.kind == Kind::Short { 2 } else { 4 }
    }
}

/// Where the heads lie.
struct Heads {
    shape: Attention,
    sequences: usize,
}

impl Heads {
    fn square(&self) -> Sizes {
        [self.sequences, self.shape.heads, self.shape.length, self.shape.length]
    }

    fn column(&self) -> Sizes {
        [self.sequences, self.shape.heads, self.shape.length, 1]
    }

    fn rows(&self) -> Sizes {
        [self.sequences, self.shape.heads, self.shape.length, self.shape.width]
    }

    /// `count` heads of rows that have `all`, from head `first` on.
    fn of(&self, slot: Slot, all: usize, (first, count): (usize, usize)) -> Tensor {
        let Attention { width, length, .. } = self.shape;
        Tensor {
            kind: Kind::Short,
            sizes: [self.sequences, count, length, width],
            strides: [length * all * width, width, all * width, 1],
            memory: Memory::Buffer(slot, first * width),
        }
    }

    fn all(&self) -> usize {
        self.shape.heads + 2 * self.shape.kv_heads
    }

    fn queries(&self, slot: Slot) -> Tensor {
        self.of(slot, self.all(), (0, self.shape.heads))
    }

    fn keys(&self, slot: Slot) -> Tensor {
        self.of(slot, self.all(), (self.shape.heads, self.shape.kv_heads))
    }

    fn values(&self, slot: Slot) -> Tensor {
        self.of(slot, self.all(), (self.shape.heads + self.shape.kv_heads, self.shape.kv_heads))
    }

    fn mixed(&self, slot: Slot) -> Tensor {
        self.of(slot, self.shape.heads, (0, self.shape.heads))
    }
}
