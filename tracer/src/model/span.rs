//! Spans of time in words: the one way in which tables, alerts and messages write them.

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A span to three digits: `800 ns`, `50.2 ms`, `1.23 s`, `2 min 5 s`, `3 h 4 min`.
#[must_use]
pub fn span(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    format!("{sign}{}", unsigned(ns.unsigned_abs()))
}

/// [`span`] of a length.
#[must_use]
pub fn length(ns: u64) -> String {
    unsigned(ns)
}

fn unsigned(ns: u64) -> String {
    match ns {
        0 => "0 ms".to_owned(),
        1..1_000 => format!("{ns} ns"),
        1_000..999_500 => format!("{} µs", three_digits(ns, 1_000)),
        999_500..999_500_000 => format!("{} ms", three_digits(ns, 1_000_000)),
        999_500_000..59_950_000_000 => format!("{} s", three_digits(ns, SECOND)),
        59_950_000_000..HOUR => two_units(ns, (MINUTE, "min"), (SECOND, "s")),
        HOUR..DAY => two_units(ns, (HOUR, "h"), (MINUTE, "min")),
        _ => two_units(ns, (DAY, "d"), (HOUR, "h")),
    }
}

/// `ns` in `unit`s, with as many decimals as three digits leave, rounded.
fn three_digits(ns: u64, unit: u64) -> String {
    let decimals: u32 = match u128::from(ns) * 1_000 / u128::from(unit) {
        ..9_995 => 2,
        9_995..99_950 => 1,
        _ => 0,
    };
    decimal(u128::from(ns), unit, decimals)
}

/// `ns` in `unit`s with so many decimals, rounded.
pub(crate) fn decimal(ns: u128, unit: u64, decimals: u32) -> String {
    let scale = 10_u128.pow(decimals);
    let scaled = (ns * scale + u128::from(unit) / 2) / u128::from(unit);
    if decimals == 0 {
        return scaled.to_string();
    }
    format!("{}.{:0width$}", scaled / scale, scaled % scale, width = decimals as usize)
}

fn two_units(ns: u64, (big, big_name): (u64, &str), (small, small_name): (u64, &str)) -> String {
    // Rounded to the small unit first, or 119.9 s would read "1 min 60 s".
    let smalls = ns / small + u64::from(ns % small >= small / 2);
    let per_big = big / small;
    format!("{} {big_name} {} {small_name}", smalls / per_big, smalls % per_big)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_three_digits_and_the_unit_that_suits_it() {
        for (ns, text) in [
            (0, "0 ms"),
            (800, "800 ns"),
            (1_000, "1.00 µs"),
            (50_200_000, "50.2 ms"),
            (312_400_000, "312 ms"),
            (999_600_000, "1.00 s"),
            (9_996_000_000, "10.0 s"),
            (59_949_999_999, "59.9 s"),
            (119_900_000_000, "2 min 0 s"),
            (125_000_000_000, "2 min 5 s"),
            (11_040_000_000_000, "3 h 4 min"),
            (-1_500_000, "-1.50 ms"),
        ] {
            assert_eq!(span(ns), text);
        }
    }

    #[test]
    fn the_longest_times_do_not_overflow() {
        assert_eq!(span(i64::MIN), "-106752 d 0 h");
        assert_eq!(length(u64::MAX), "213504 d 0 h");
    }
}
