//! Numbers that are the same bytes in memory here and on a device.
#![expect(unsafe_code, reason = "numbers are seen as bytes without a copy")]

mod sealed {
    pub trait Sealed {}
}

/// A number without padding, for which every pattern of bits is valid.
pub trait Plain: sealed::Sealed + Copy + Default + Send + Sync + 'static {}

macro_rules! plain {
    ($($number:ty)*) => {
        $(
            impl sealed::Sealed for $number {}
            impl Plain for $number {}
        )*
    };
}

plain!(u8 u16 u32 u64 f32 f64 Bf16);

/// A number of 16 bits: the upper half of an `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Bf16(pub u16);

impl From<f32> for Bf16 {
    /// The nearest one, of two equally near ones the even; a NaN stays one.
    fn from(value: f32) -> Bf16 {
        let bits = value.to_bits();
        if value.is_nan() {
            return Bf16((bits >> 16) as u16 | 0x40);
        }
        // No overflow: the largest bits that are not those of a NaN are far below the end.
        Bf16(((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16)
    }
}

impl From<Bf16> for f32 {
    fn from(number: Bf16) -> f32 {
        f32::from_bits(u32::from(number.0) << 16)
    }
}

/// What an operand of a matrix product is made of.
pub trait Element: Plain + From<f32> + Into<f32> {
    /// Whether it has 16 bits.
    const NARROW: bool;
}

impl Element for f32 {
    const NARROW: bool = false;
}

impl Element for Bf16 {
    const NARROW: bool = true;
}

/// The bytes of some numbers.
pub(crate) fn bytes_of<T: Plain>(numbers: &[T]) -> &[u8] {
    // SAFETY: a plain number has no padding, so that all its bytes are initialised; bytes need no alignment.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

/// The bytes of some numbers, to be written.
pub(crate) fn bytes_of_mut<T: Plain>(numbers: &mut [T]) -> &mut [u8] {
    // SAFETY: as above, and every pattern of bits is a plain number.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), size_of_val(numbers)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_short_number_is_chosen() {
        let check = |value: f32, bits: u16| assert_eq!(Bf16::from(value).0, bits, "{value}");
        check(1.0, 0x3f80);
        check(f32::from_bits(0x3f80_8000), 0x3f80);
        check(f32::from_bits(0x3f81_8000), 0x3f82);
        check(f32::from_bits(0x3f80_8001), 0x3f81);
        check(f32::MAX, 0x7f80);
        check(f32::NEG_INFINITY, 0xff80);
        assert!(f32::from(Bf16::from(f32::from_bits(0x7f80_0001))).is_nan());
        assert!(f32::from(Bf16::from(f32::NAN)).is_nan());
    }
}
