//! What misbehaviour costs, and how it is made good.

use pactum_protocol::Ineligible;

/// How much of the lost standing a clean window gives back.
const RECOVERY: f64 = 0.1;

/// Why a window counts against a peer.
///
/// In a window with a penalty the peer's contribution is worth nothing: its value decays as if it had sent nothing. Some
/// penalties also lower its *standing*, a factor in 0..=1 on its score; each clean window gives back a tenth of what is
/// missing, so that half is made good in 7 windows. Some count as the last place in the window's ranking.
///
/// | penalty | standing times | ranked last |
/// |---|---|---|
/// | `Missing`, `Late` | 1 | no |
/// | `OutOfSync` | 0.9 | no |
/// | `Malformed` | 0.7 | yes |
/// | `Overlapping` | 0.5 | yes |
/// | `Replayed` | 0.25 | yes |
/// | `Negative` | 0.5 | as judged |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Penalty {
    /// It sent nothing.
    Missing,
    /// It sent its header too late.
    Late,
    /// Its parameters are not the committed ones.
    OutOfSync,
    /// It sent what cannot be used.
    Malformed,
    /// Its payload shares too many coordinates with somebody else's.
    Overlapping,
    /// It sent a payload that was sent before.
    Replayed,
    /// Its contributions have made the model surely worse for [`Penalty::NEGATIVE_WINDOWS`] judged windows in a row.
    Negative,
}

impl Penalty {
    /// How many harmful windows in a row are one penalty; each further one is another.
    pub const NEGATIVE_WINDOWS: u32 = 3;

    /// What ineligibility costs; nothing where the peer may not be to blame: anybody can put a foreign uid into a
    /// header, and anybody can send a true header of another window or run again.
    #[must_use]
    pub fn of(reason: Ineligible) -> Option<Self> {
        use Ineligible as I;
        match reason {
            I::NotRegistered | I::WrongHotkey | I::BadSignature | I::WrongRun | I::WrongWindow => None,
            I::WrongVersion | I::WrongHparams | I::Unreadable => Some(Self::Missing),
            I::Late => Some(Self::Late),
            I::WrongPrevious | I::OutOfSync => Some(Self::OutOfSync),
            I::Replayed => Some(Self::Replayed),
            I::Overlapping => Some(Self::Overlapping),
            _ => Some(Self::Malformed),
        }
    }

    /// The factor on the peer's standing.
    #[must_use]
    pub fn factor(self) -> f64 {
        match self {
            Self::Missing | Self::Late => 1.0,
            Self::OutOfSync => 0.9,
            Self::Malformed => 0.7,
            Self::Overlapping | Self::Negative => 0.5,
            Self::Replayed => 0.25,
        }
    }

    /// Whether the peer is ranked behind all that were judged.
    #[must_use]
    pub fn ranks_last(self) -> bool {
        matches!(self, Self::Malformed | Self::Overlapping | Self::Replayed)
    }
}

/// A peer's standing after a window.
pub(crate) fn standing(before: f64, penalty: Option<Penalty>) -> f64 {
    match penalty {
        Some(penalty) => before * penalty.factor(),
        None => before + (1.0 - before) * RECOVERY,
    }
}

#[cfg(test)]
mod tests {
    use pactum_protocol::Malformation;

    use super::*;

    #[test]
    fn half_of_a_penalty_is_made_good_in_seven_windows() {
        let mut now = standing(1.0, Some(Penalty::Overlapping));
        assert_eq!(now, 0.5);
        for _ in 0..7 {
            now = standing(now, None);
        }
        assert!((0.75..0.8).contains(&now));
    }

    #[test]
    fn a_missing_window_costs_no_standing() {
        assert_eq!(standing(0.5, Some(Penalty::Missing)), 0.5);
    }

    #[test]
    fn nobody_pays_for_what_a_stranger_says() {
        for (reason, expected) in [
            (Ineligible::WrongHotkey, None),
            (Ineligible::BadSignature, None),
            (Ineligible::WrongWindow, None),
            (Ineligible::Unreadable, Some(Penalty::Missing)),
            (Ineligible::Late, Some(Penalty::Late)),
            (Ineligible::WrongPrevious, Some(Penalty::OutOfSync)),
            (Ineligible::TooLarge, Some(Penalty::Malformed)),
            (Ineligible::Malformed(Malformation::Index), Some(Penalty::Malformed)),
            (Ineligible::Replayed, Some(Penalty::Replayed)),
        ] {
            assert_eq!(Penalty::of(reason), expected, "{reason}");
        }
    }
}
