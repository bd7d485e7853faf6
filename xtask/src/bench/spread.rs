//! What several rounds gave.

use serde::{Deserialize, Serialize};

/// The least, the middle and the greatest of several numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of numbers, unless there is none.
    pub fn of(numbers: &[f64]) -> Option<Self> {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        Some(Self { min, median: sorted[sorted.len() / 2], max })
    }

    /// How many times as much as others of the same rounds.
    pub fn of_ratios(numbers: &[f64], others: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = numbers.iter().zip(others).map(|(a, b)| a / b).collect();
        Self::of(&ratios)
    }
}

/// A number as people read it.
pub fn in_unit(number: f64, unit: &str) -> String {
    match unit {
        "ns" if number < 10_000.0 => format!("{number:.0} ns"),
        "ns" if number < 1e6 => format!("{:.1} µs", number / 1e3),
        "ns" if number < 1e9 => format!("{:.1} ms", number / 1e6),
        "ns" => format!("{:.2} s", number / 1e9),
        "bytes" => format!("{:.1} MiB", number / f64::from(1 << 20)),
        unit => format!("{number:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_those_of_each_round() {
        let spread = Spread::of_ratios(&[2.0, 30.0, 8.0], &[1.0, 10.0, 2.0]);
        assert_eq!(spread, Some(Spread { min: 2.0, median: 3.0, max: 4.0 }));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn numbers_are_told_in_a_unit_that_fits() {
        assert_eq!(in_unit(812.4, "ns"), "812 ns");
        assert_eq!(in_unit(81_240.0, "ns"), "81.2 µs");
        assert_eq!(in_unit(81_240_000.0, "ns"), "81.2 ms");
        assert_eq!(in_unit(f64::from(3 << 19), "bytes"), "1.5 MiB");
    }
}
