//! The kernels' text.

/// How the sources must be compiled, so that they compute the same bits as a processor: no product is fused into a sum,
/// division and square root are exact, subnormal numbers keep their values.
pub const OPTIONS: [&str; 4] = ["--fmad=false", "--prec-div=true", "--prec-sqrt=true", "--ftz=false"];

/// One text of CUDA C++ that needs no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Source {
    /// Its name.
    pub name: &'static str,
    /// The whole text.
    pub text: &'static str,
    /// The kernels in it.
    pub kernels: &'static [&'static str],
    /// Whether its results must be those of a processor to the bit.
    pub exact: bool,
}

macro_rules! source {
    ($name:literal, $exact:literal, $($kernel:literal),*) => {
        Source {
            name: $name,
            text: concat!(include_str!("../kernels/base.cuh"), include_str!(concat!("../kernels/", $name, ".cu"))),
            kernels: &[$($kernel),*],
            exact: $exact,
        }
    };
}

/// All sources.
pub const SOURCES: [Source; 7] = [
    source!("compress", true, "compress"),
    source!("update", true, "squares", "norms", "scatter"),
    source!("outer", true, "outer"),
    source!(
        "train",
        false,
        "norm_forward",
        "norm_backward",
        "add_parts",
        "turn",
        "swiglu_forward",
        "swiglu_backward",
        "loss",
        "square_sums",
        "adamw",
        "gather",
        "spread",
        "convert",
        "add_bias",
        "sum_rows"
    ),
    source!("attention", false, "attention_forward", "attention_pulls", "attention_keys", "attention_queries"),
    source!("tensor", false, "tensor_forward", "tensor_keys", "tensor_queries"),
    source!("product", false, "product"),
];

/// What stands at the beginning of every source.
pub(crate) const BASE: &str = include_str!("../kernels/base.cuh");

/// The source that a kernel is in.
#[cfg(feature = "cuda")]
pub(crate) fn source_of(kernel: &str) -> Option<&'static Source> {
    SOURCES.iter().find(|source| source.kernels.contains(&kernel))
}
