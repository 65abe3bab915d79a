//! Sizes and rates as people write and read them.

use std::str::FromStr;

/// A number of bytes, written like `4088MiB`, `25GB`, `1.5Gi`, or `500k`.
///
/// A unit with an `i` counts in 1,024s, one without in 1,000s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub u64);

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size (expected a number and a unit, like `4088MiB`, `25GB` or `500k`)")]
pub(crate) struct ParseSizeError(String);

impl FromStr for Size {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, ParseSizeError> {
        let malformed = || ParseSizeError(text.to_owned());
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(end);
        let factor = factor(unit.trim()).ok_or_else(malformed)?;
        scale(number, factor).filter(|bytes| *bytes > 0).map(Self).ok_or_else(malformed)
    }
}

fn factor(unit: &str) -> Option<u64> {
    let unit = unit.strip_suffix("/s").unwrap_or(unit);
    let unit = unit.strip_suffix(['b', 'B']).unwrap_or(unit).to_ascii_lowercase();
    let (letter, base) = match unit.strip_suffix('i') {
        Some(letter) => (letter, 1024_u64),
        None => (unit.as_str(), 1000),
    };
    match letter {
        "" if base == 1000 => Some(1),
        "k" => Some(base),
        "m" => Some(base.pow(2)),
        "g" => Some(base.pow(3)),
        "t" => Some(base.pow(4)),
        _ => None,
    }
}

/// `number` times `factor` without floating point, so that no size is off by a few bytes.
fn scale(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let tenths = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let factor = u128::from(factor);
    u64::try_from(whole.checked_mul(factor)? + part * factor / tenths).ok()
}

/// `bytes` with three or four digits and a binary unit.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths of the unit, so that the last digit is rounded and not cut.
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if tenths >= 1000 {
        format!("{} {}", tenths / 10, UNITS[unit])
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_with_an_i_counts_in_1024s_and_one_without_in_1000s() {
        let table = [
            ("1", 1),
            ("500k", 500_000),
            ("500K", 500_000),
            ("500kB", 500_000),
            ("4088MiB", 4088 << 20),
            ("4088Mi", 4088 << 20),
            ("25GB", 25_000_000_000),
            ("25 GB", 25_000_000_000),
            ("1.5Gi", 1_610_612_736),
            ("0.1MB", 100_000),
            ("2TiB", 2 << 40),
            ("25MB/s", 25_000_000),
            ("512B", 512),
        ];
        for (text, bytes) in table {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_and_named() {
        let texts =
            ["", "MiB", "0", "-1M", "1.2.3M", "12Q", "1iB", ".5M", "99999999TB", "1e9", "4,088MiB"];
        for text in texts {
            let err = text.parse::<Size>().unwrap_err();
            assert!(err.to_string().starts_with(&format!("`{text}` is not a size")), "{err}");
        }
    }

    #[test]
    fn sizes_read_with_at_most_four_digits() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (102_400, "100 KiB"),
            (4_286_578_688, "3.9 GiB"),
            (1 << 40, "1.0 TiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(human(bytes), text);
        }
    }
}
