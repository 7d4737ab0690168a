//! What an executor of the training step must offer, and the batch it is given.

use crate::config::ModelConfig;

/// A batch of token ids: `rows` sequences of `columns` tokens, row-major.
///
/// In each row the inputs are `0..columns - 1` and the targets `1..columns`; a full row has `context + 1` columns.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    /// `rows × columns` token ids.
    pub ids: &'a [u32],
    /// Number of sequences.
    pub rows: usize,
    /// Tokens in each sequence, the last target included.
    pub columns: usize,
}

/// Why a step was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The batch is empty or its length is not `rows × columns`.
    #[error(
        "batch has {found} token ids but {rows} rows of {columns}: give rows × columns ids, at least one row of two"
    )]
    BatchShape {
        /// Token ids given.
        found: usize,
        /// Rows claimed.
        rows: usize,
        /// Columns claimed.
        columns: usize,
    },
    /// A row is longer than the model's context.
    #[error("batch rows have {columns} tokens: this model takes at most {max}, one of them as target only")]
    TooLong {
        /// Columns given.
        columns: usize,
        /// Columns allowed.
        max: usize,
    },
    /// A token id is outside the vocabulary.
    #[error("token id {id} is outside the vocabulary of {vocab}: was the text prepared with another tokenizer?")]
    UnknownToken {
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// The parameter or gradient vector does not fit the model.
    #[error("{what} has {found} values but the model has {expected} parameters")]
    WrongLength {
        /// `parameter vector`, `gradient vector` or `vector of moments`.
        what: &'static str,
        /// Values given.
        found: usize,
        /// Parameters of the model.
        expected: usize,
    },
    /// The tensor library of the reference executor failed.
    #[error("tensor library: {0}")]
    Backend(String),
    /// The device of a device's engine failed.
    #[cfg(feature = "cuda")]
    #[error(transparent)]
    Device(#[from] pactum_kernels::DeviceError),
}

/// Runs the model forward and backward from a flat parameter vector.
pub trait Executor {
    /// Mean cross-entropy in nats per token of each sequence, in row order.
    ///
    /// # Errors
    /// If the batch or the parameter vector does not fit the model.
    fn forward_losses(&mut self, parameters: &[f32], batch: &Tokens<'_>) -> Result<Vec<f32>, StepError>;

    /// Mean cross-entropy over all tokens of the batch, in nats; `gradient` is overwritten with its gradient.
    ///
    /// # Errors
    /// If the batch or a vector does not fit the model; `gradient` may then hold anything.
    fn loss_and_gradient(
        &mut self,
        parameters: &[f32],
        batch: &Tokens<'_>,
        gradient: &mut [f32],
    ) -> Result<f32, StepError>;
}

impl<'a> Tokens<'a> {
    /// Inputs of each row.
    pub(crate) fn inputs(&self) -> usize {
        self.columns - 1
    }

    /// The batch in parts of at most `rows` rows.
    pub(crate) fn parts(self, rows: usize) -> impl Iterator<Item = Tokens<'a>> {
        let columns = self.columns;
        self.ids.chunks(rows * columns).map(move |ids| Tokens { ids, rows: ids.len() / columns, columns })
    }

    pub(crate) fn check(&self, config: &ModelConfig) -> Result<(), StepError> {
        let Tokens { ids, rows, columns } = *self;
        if rows == 0 || columns < 2 || rows.checked_mul(columns) != Some(ids.len()) {
            return Err(StepError::BatchShape { found: ids.len(), rows, columns });
        }
        if columns > config.context + 1 {
            return Err(StepError::TooLong { columns, max: config.context + 1 });
        }
        let vocab = config.vocab;
        match ids.iter().find(|&&id| id as usize >= vocab) {
            Some(&id) => Err(StepError::UnknownToken { id, vocab }),
            None => Ok(()),
        }
    }
}

pub(crate) fn check_length(what: &'static str, found: usize, expected: usize) -> Result<(), StepError> {
    if found == expected { Ok(()) } else { Err(StepError::WrongLength { what, found, expected }) }
}
