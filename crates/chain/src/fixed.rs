//! The chain's fixed-point numbers, so that every machine divides emission alike.

/// A number in I32F32: 32 fractional bits; products round down, quotients truncate, a quotient by zero is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fixed(i64);

const ONE_BITS: i64 = 1 << 32;

impl Fixed {
    pub(crate) const ZERO: Self = Self(0);
    pub(crate) const ONE: Self = Self(ONE_BITS);

    /// `part / whole`, truncated; zero if `whole` is.
    pub(crate) fn ratio(part: u64, whole: u64) -> Self {
        let bits = (u128::from(part) << 32).checked_div(u128::from(whole)).unwrap_or(0);
        Self(i64::try_from(bits).unwrap_or(i64::MAX))
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    pub(crate) fn times(self, other: Self) -> Self {
        saturated((i128::from(self.0) * i128::from(other.0)) >> 32)
    }

    pub(crate) fn over(self, other: Self) -> Self {
        saturated((i128::from(self.0) << 32).checked_div(i128::from(other.0)).unwrap_or(0))
    }

    /// `floor(self * 65535)` for a number in 0..=1.
    pub(crate) fn to_u16(self) -> u16 {
        let scaled = (i128::from(self.0) * i128::from(u16::MAX)) >> 32;
        u16::try_from(scaled.clamp(0, i128::from(u16::MAX))).unwrap_or(u16::MAX)
    }

    /// `floor(self * total)` for a number in 0..=1.
    pub(crate) fn of(self, total: u64) -> u64 {
        let scaled = (i128::from(self.0) * i128::from(total)) >> 32;
        u64::try_from(scaled.clamp(0, i128::from(total))).unwrap_or(total)
    }
}

impl std::iter::Sum for Fixed {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Self::plus)
    }
}

fn saturated(bits: i128) -> Fixed {
    Fixed(i64::try_from(bits).unwrap_or(if bits < 0 { i64::MIN } else { i64::MAX }))
}

/// Divides all by their sum; all zero if the sum is.
pub(crate) fn normalise(numbers: &mut [Fixed]) {
    let sum: Fixed = numbers.iter().copied().sum();
    for number in numbers {
        *number = number.over(sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_follows_the_rules() {
        let third = Fixed::ratio(1, 3);
        assert_eq!(third.0, 1_431_655_765);
        assert_eq!(third.times(Fixed::ratio(3, 1)).0, 4_294_967_295);
        assert_eq!(Fixed::ratio(1, 0), Fixed::ZERO);
        assert_eq!(Fixed::ONE.over(Fixed::ZERO), Fixed::ZERO);
        assert_eq!(Fixed(1).minus(Fixed(2)).times(Fixed::ratio(1, 2)).0, -1);
        assert_eq!(Fixed::ratio(u64::MAX, 1), Fixed(i64::MAX));
        assert_eq!(Fixed(i64::MAX).plus(Fixed::ONE), Fixed(i64::MAX));
        assert_eq!(Fixed::ONE.to_u16(), 65535);
        assert_eq!(Fixed::ratio(1, 2).to_u16(), 32767);
        assert_eq!(Fixed::ONE.of(u64::MAX), u64::MAX);
        assert_eq!(third.of(9), 2);
    }
}
