//! Arithmetic coding with 64-bit state and 32-bit output words.
//!
//! The code is a binary fraction. An encoder keeps the interval `[low, low + range)` that it lies in; a symbol that owns
//! `from..to` of `total` equal parts narrows the interval to that share, where a part is `range / total` rounded down.
//! Whenever the range falls below 2^32, the upper word of `low` is final up to a carry and is written out, most
//! significant byte first. At the end the fewest bytes are written that fix a fraction inside the interval; the decoder
//! recomputes them, so that a section has exactly one encoding.

/// Ranges below this are widened by one word.
const WORD: u64 = 1 << 32;
/// Probabilities are in units of 2^-16.
const ONE_BITS: u32 = 16;
/// The probability 1.
pub(crate) const ONE: u32 = 1 << ONE_BITS;

/// Sums of weights that are a power of two, this one, need no division.
pub(crate) const WEIGHTS: u16 = 1 << 15;

/// One binary choice with a probability that adapts: fast at first, slower as it gains experience.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bit {
    /// Probability of `true` in 2^-16.
    chance: u16,
    /// Choices seen, up to the limit; selects the rate.
    seen: u8,
}

/// Choices after which a probability adapts no slower.
const SEEN_MAX: u8 = 126;
/// Rates `2^17 / (2 * seen + 3)`, in units of 2^-16.
const RATES: [u32; SEEN_MAX as usize + 1] = {
    let mut rates = [0; SEEN_MAX as usize + 1];
    let mut seen = 0;
    while seen < rates.len() {
        rates[seen] = (1 << 17) / (2 * seen as u32 + 3);
        seen += 1;
    }
    rates
};
/// Probabilities keep this distance from 0 and 1.
const CHANCE_MIN: u16 = 32;

impl Bit {
    /// A choice believed to be `true` with the given probability, as if it had been seen `seen` times already.
    pub(crate) const fn new(chance: u16, seen: u8) -> Bit {
        Bit { chance, seen }
    }

    #[inline]
    fn adapt(&mut self, value: bool) {
        let rate = RATES[usize::from(self.seen)] as i32;
        // Without a branch, since the value cannot be predicted; the shift rounds towards lower probabilities.
        let (chance, goal) = (i32::from(self.chance), -i32::from(value) & 0xffff);
        let moved = chance + (((goal - chance) * (rate >> 1)) >> 15);
        self.chance = moved.clamp(i32::from(CHANCE_MIN), i32::from(u16::MAX - CHANCE_MIN)) as u16;
        self.seen = (self.seen + 1).min(SEEN_MAX);
    }
}

/// A part of the range if it has `total` of them.
#[inline]
fn part_of(range: u64, total: u16) -> u64 {
    if total == WEIGHTS { range >> WEIGHTS.trailing_zeros() } else { range / u64::from(total) }
}

/// How many of some ascending sums are at most `place`.
#[inline]
fn begun(sums: &[u16], place: u16) -> usize {
    if sums.len() > COUNTED_MAX {
        return sums.partition_point(|&sum| sum <= place);
    }
    // Counting them all has no branch and is done in vectors.
    usize::from(sums.iter().map(|&sum| u16::from(sum <= place)).sum::<u16>())
}

/// Most sums that are counted one by one.
const COUNTED_MAX: usize = 256;

/// Both directions of coding, so that a model is written once. An encoder writes the value that it is given and returns
/// it; a decoder ignores the argument and returns what it reads.
pub(crate) trait Coding {
    /// An adaptive binary choice.
    fn bit(&mut self, model: &mut Bit, value: bool) -> bool;

    /// A symbol below `sums.len() - 1`, where symbol `s` has the weight `sums[s + 1] - sums[s]`, at least 1.
    fn pick(&mut self, sums: &[u16], value: usize) -> usize;

    /// A symbol of a complete set: symbol `s` has the probability `sums[s + 1] - sums[s]`, the last sum is [`ONE`].
    fn choose(&mut self, sums: &[u32], value: usize) -> usize;

    /// A number of `width <= 16` equally probable bits.
    fn raw(&mut self, width: u32, value: u32) -> u32;
}

/// Writes.
pub(crate) struct Encoder<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
    low: u64,
    range: u64,
}

impl<'a> Encoder<'a> {
    /// Appends to `bytes`.
    pub(crate) fn new(bytes: &'a mut Vec<u8>) -> Encoder<'a> {
        let start = bytes.len();
        Encoder { bytes, start, low: 0, range: u64::MAX }
    }

    #[inline]
    fn narrow(&mut self, from: u64, range: u64) {
        let (low, carry) = self.low.overflowing_add(from);
        self.low = low;
        self.range = range;
        if carry {
            self.carry();
        }
        if self.range < WORD {
            self.bytes.extend_from_slice(&((self.low >> 32) as u32).to_be_bytes());
            self.low <<= 32;
            self.range <<= 32;
        }
    }

    #[cold]
    fn carry(&mut self) {
        for byte in self.bytes[self.start..].iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }

    /// Writes what is left of the code.
    pub(crate) fn finish(mut self) {
        let (code, count) = shortest(self.low, self.range);
        if code < self.low {
            self.carry();
        }
        self.bytes.extend_from_slice(&code.to_be_bytes()[..count]);
    }
}

/// The number in `low..low + range` (modulo 2^64) whose upper bytes, the fewest, are not followed by anything but zeros.
fn shortest(low: u64, range: u64) -> (u64, usize) {
    for count in 0..8 {
        let rest = u64::MAX.checked_shr(8 * count).unwrap_or(0);
        let code = low.wrapping_add(rest) & !rest;
        if code.wrapping_sub(low) < range {
            return (code, count as usize);
        }
    }
    (low, 8)
}

impl Coding for Encoder<'_> {
    #[inline]
    fn bit(&mut self, model: &mut Bit, value: bool) -> bool {
        let share = (self.range >> ONE_BITS) * u64::from(model.chance);
        let upper = u64::from(value).wrapping_sub(1);
        self.narrow(share & upper, if value { share } else { self.range - share });
        model.adapt(value);
        value
    }

    #[inline]
    fn pick(&mut self, sums: &[u16], value: usize) -> usize {
        let first = sums[0];
        let part = part_of(self.range, sums[sums.len() - 1] - first);
        let (from, to) = (u64::from(sums[value] - first), u64::from(sums[value + 1] - first));
        self.narrow(part * from, part * (to - from));
        value
    }

    #[inline]
    fn choose(&mut self, sums: &[u32], value: usize) -> usize {
        let part = self.range >> ONE_BITS;
        self.narrow(part * u64::from(sums[value]), part * u64::from(sums[value + 1] - sums[value]));
        value
    }

    #[inline]
    fn raw(&mut self, width: u32, value: u32) -> u32 {
        let part = self.range >> width;
        self.narrow(part * u64::from(value), part);
        value
    }
}

/// Reads what an [`Encoder`] wrote.
pub(crate) struct Decoder<'a> {
    bytes: &'a [u8],
    /// Bytes taken into the window, zeros past the end included.
    taken: usize,
    /// The 64 bits of the code at the current place.
    window: u64,
    /// The code less the encoder's `low`.
    offset: u64,
    range: u64,
    broken: bool,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Decoder<'a> {
        let mut decoder = Decoder { bytes, taken: 0, window: 0, offset: 0, range: u64::MAX, broken: false };
        decoder.window = u64::from(decoder.word()) << 32;
        decoder.window |= u64::from(decoder.word());
        decoder.offset = decoder.window;
        decoder.broken = decoder.offset == u64::MAX;
        decoder
    }

    fn word(&mut self) -> u32 {
        let rest = self.bytes.get(self.taken..).unwrap_or(&[]);
        self.taken += 4;
        match rest.first_chunk::<4>() {
            Some(word) => u32::from_be_bytes(*word),
            None => rest.iter().zip([24, 16, 8]).fold(0, |word, (&byte, shift)| word | u32::from(byte) << shift),
        }
    }

    #[inline]
    fn narrow(&mut self, from: u64, range: u64) {
        self.offset = self.offset.wrapping_sub(from);
        self.range = range;
        if self.range < WORD {
            let word = u64::from(self.word());
            self.window = self.window << 32 | word;
            self.offset = self.offset << 32 | word;
            self.range <<= 32;
        }
    }

    /// Whether no encoder can have written what was read so far.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken || self.taken > self.bytes.len() + 8
    }

    /// Whether the bytes end exactly as an encoder would have ended them.
    pub(crate) fn is_exhausted(&self) -> bool {
        let (code, count) = shortest(self.window.wrapping_sub(self.offset), self.range);
        !self.broken && code == self.window && self.taken - 8 + count == self.bytes.len()
    }
}

impl Coding for Decoder<'_> {
    #[inline]
    fn bit(&mut self, model: &mut Bit, _: bool) -> bool {
        let share = (self.range >> ONE_BITS) * u64::from(model.chance);
        let value = self.offset < share;
        let upper = u64::from(value).wrapping_sub(1);
        self.narrow(share & upper, if value { share } else { self.range - share });
        model.adapt(value);
        value
    }

    #[inline]
    fn pick(&mut self, sums: &[u16], _: usize) -> usize {
        let (first, symbols) = (sums[0], sums.len() - 1);
        let total = sums[symbols] - first;
        let part = part_of(self.range, total);
        let place = self.offset / part;
        self.broken |= place >= u64::from(total);
        let place = first + place.min(u64::from(total) - 1) as u16;
        let value = begun(&sums[1..symbols], place);
        let (from, to) = (u64::from(sums[value] - first), u64::from(sums[value + 1] - first));
        self.narrow(part * from, part * (to - from));
        value
    }

    #[inline]
    fn choose(&mut self, sums: &[u32], _: usize) -> usize {
        let part = self.range >> ONE_BITS;
        let last = sums.len() - 2;
        self.broken |= self.offset >= part << ONE_BITS;
        // Few symbols: comparing with each costs less than a division.
        let mut value = 0;
        while value < last && self.offset >= part * u64::from(sums[value + 1]) {
            value += 1;
        }
        self.narrow(part * u64::from(sums[value]), part * u64::from(sums[value + 1] - sums[value]));
        value
    }

    #[inline]
    fn raw(&mut self, width: u32, _: u32) -> u32 {
        let part = self.range >> width;
        let place = self.offset / part;
        self.broken |= place >> width != 0;
        let value = place.min((1 << width) - 1);
        self.narrow(part * value, part);
        value as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Symbol {
        Bit(usize, bool),
        Pick(usize, usize, usize),
        Raw(u32, u32),
        Choose(usize),
    }

    const COMPLETE: [u32; 5] = [0, 1, 40_000, 40_001, ONE];
    const SUMS: [u16; 9] = [0, 1, 2, 1000, 1001, 30_000, WEIGHTS, 65_534, 65_535];

    fn symbol() -> impl Strategy<Value = Symbol> {
        let pick = (0_usize..8, 0_usize..8, 0_usize..8).prop_map(|(a, b, c)| {
            let mut sorted = [a, b, c];
            sorted.sort_unstable();
            Symbol::Pick(sorted[0], sorted[2] + 1, sorted[1])
        });
        let raw = (0_u32..=16, any::<u32>()).prop_map(|(width, value)| Symbol::Raw(width, value & ((1 << width) - 1)));
        let choose = (0_usize..4).prop_map(Symbol::Choose);
        prop_oneof![choose, (0_usize..3, any::<bool>()).prop_map(|(m, v)| Symbol::Bit(m, v)), pick, raw]
    }

    fn run(coding: &mut impl Coding, symbols: &[Symbol], decode: bool) -> Vec<usize> {
        let mut models = [Bit::new(1 << 15, 0), Bit::new(CHANCE_MIN, 0), Bit::new(u16::MAX - CHANCE_MIN, 100)];
        let known = |value: usize| if decode { 0 } else { value };
        let code = |symbol: &Symbol| match *symbol {
            Symbol::Bit(model, value) => usize::from(coding.bit(&mut models[model], known(usize::from(value)) == 1)),
            Symbol::Pick(from, to, value) => {
                from + coding.pick(&SUMS[from..=to], if decode { 0 } else { value - from })
            }
            Symbol::Choose(value) => coding.choose(&COMPLETE, known(value)),
            Symbol::Raw(width, value) => coding.raw(width, known(value as usize) as u32) as usize,
        };
        symbols.iter().map(code).collect()
    }

    proptest! {
        #[test]
        fn reads_what_was_written_and_nothing_else(
            symbols in prop::collection::vec(symbol(), 0..300), change in any::<(prop::sample::Index, u8)>(),
        ) {
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(&mut bytes);
            let written = run(&mut encoder, &symbols, false);
            encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            prop_assert_eq!(run(&mut decoder, &symbols, true), written.clone());
            prop_assert!(decoder.is_exhausted() && !decoder.is_broken());
            let longer = [&bytes[..], &[0]].concat();
            let mut decoder = Decoder::new(&longer);
            run(&mut decoder, &symbols, true);
            prop_assert!(!decoder.is_exhausted());
            // Another byte string is refused or says something else.
            if !bytes.is_empty() && change.1 != 0 {
                let place = change.0.index(bytes.len());
                bytes[place] ^= change.1;
                let mut decoder = Decoder::new(&bytes);
                let read = run(&mut decoder, &symbols, true);
                prop_assert!(!decoder.is_exhausted() || read != written);
            }
        }
    }

    #[test]
    fn skewed_choices_cost_little() {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        let mut model = Bit::new(1 << 15, 0);
        for _ in 0..8000 {
            encoder.bit(&mut model, true);
        }
        encoder.finish();
        assert!(bytes.len() < 16, "{}", bytes.len());
    }
}
