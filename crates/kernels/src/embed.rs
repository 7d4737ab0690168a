//! Rows of the embedding by token, and their gradients.

use crate::device::{Buffer, Device};
use crate::error::DeviceError;
use crate::launch::{Call, blocks_of, rows_of};

const THREADS: usize = 256;

/// Tokens on a device, and where each of those that occur does: what makes the embedding's gradient a sum in a fixed order.
#[derive(Debug)]
pub struct Ids {
    /// The tokens, then the places of each in order of token, then those that occur, then where the places of each begin.
    words: Buffer<u32>,
    room: usize,
    tokens: usize,
    distinct: usize,
    vocabulary: usize,
}

impl Ids {
    /// Room for so many tokens, of which there are none yet.
    ///
    /// # Errors
    /// If the device has too little memory left.
    pub fn room(device: &Device, tokens: usize) -> Result<Ids, DeviceError> {
        let words = tokens.checked_mul(4).and_then(|words| words.checked_add(1));
        let words = device.zeros(words.ok_or(DeviceError::Shape("more tokens than can be addressed"))?)?;
        Ok(Ids { words, room: tokens, tokens: 0, distinct: 0, vocabulary: 0 })
    }

    /// Replaces the tokens; all must be below `vocabulary`.
    ///
    /// # Errors
    /// If there is too little room, a token is not in the vocabulary, or the device refuses.
    pub fn write(&mut self, tokens: &[u32], vocabulary: usize) -> Result<(), DeviceError> {
        if tokens.iter().any(|&token| token as usize >= vocabulary) || u32::try_from(tokens.len()).is_err() {
            return Err(DeviceError::Shape("a token is not in the vocabulary"));
        }
        if tokens.len() > self.room {
            let (expected, found) = (tokens.len(), self.room);
            return Err(DeviceError::Length { what: "the room for tokens", expected, found });
        }
        let mut places = (0..tokens.len() as u32).collect::<Vec<_>>();
        places.sort_by_key(|&place| tokens[place as usize]);
        let token_at = |at: usize| tokens[places[at] as usize];
        let starts = (0..places.len()).filter(|&at| at == 0 || token_at(at) != token_at(at - 1)).collect::<Vec<_>>();
        let distinct = starts.iter().map(|&at| token_at(at)).collect::<Vec<_>>();
        let starts = starts.iter().map(|&at| at as u32).chain([tokens.len() as u32]).collect::<Vec<_>>();
        let words = [tokens, &places, &distinct, &starts].concat();
        self.words.part(0..words.len())?.write(&words)?;
        (self.tokens, self.distinct, self.vocabulary) = (tokens.len(), distinct.len(), vocabulary);
        Ok(())
    }

    /// Queues `out[t] = table[token t]`; `table` is `[vocabulary, width]`, `out` `[tokens, width]`.
    ///
    /// # Errors
    /// If a buffer has another length, or the device refuses.
    pub fn gather(&self, table: &Buffer<f32>, out: &mut Buffer<f32>) -> Result<(), DeviceError> {
        let (device, width) = (table.device(), self.width(table, out)?);
        let call = Call::on(device).buffer("the table", table, (0, table.len()))?;
        let call =
            call.buffer("the tokens", &self.words, (0, self.tokens))?.buffer("the output", out, (0, out.len()))?;
        call.number(width).number(self.vocabulary).launch("gather", blocks_of(self.tokens)?, 0)
    }

    /// Queues `gradient[token t] += slope[t]` for all tokens, those of one row in their order.
    ///
    /// # Errors
    /// As [`Ids::gather`].
    pub fn spread(&self, slope: &Buffer<f32>, gradient: &mut Buffer<f32>) -> Result<(), DeviceError> {
        let (width, tokens, distinct) = (self.width(gradient, slope)?, self.tokens, self.distinct);
        let (device, across) = (slope.device(), width.div_ceil(THREADS));
        let call = Call::on(device).buffer("the gradient", gradient, (0, gradient.len()))?;
        let call = call.buffer("the slope", slope, (0, slope.len()))?;
        let call = call.buffer("the tokens", &self.words, (2 * tokens, distinct))?;
        let call = call.buffer("their places", &self.words, (2 * tokens + distinct, distinct + 1))?;
        let call = call.buffer("their places", &self.words, (tokens, tokens))?.number(width).number(across);
        call.launch("spread", blocks_of(distinct.saturating_mul(across))?, 0)
    }

    /// Of a table and of tokens' rows.
    fn width(&self, table: &Buffer<f32>, rows: &Buffer<f32>) -> Result<usize, DeviceError> {
        let width = table.len() / self.vocabulary.max(1);
        if self.tokens == 0 || rows_of(table, width)? != self.vocabulary || rows_of(rows, width)? != self.tokens {
            return Err(DeviceError::Shape("the tokens do not fit the table or the rows"));
        }
        Ok(width)
    }
}
