//! Versions as products write them, and ranges of them.

use std::fmt;
use std::str::FromStr;

/// A version by the rules of semantic versioning; `v1.9` and `4.20` are taken as `1.9.0` and `4.20.0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(semver::Version);

impl FromStr for Version {
    type Err = semver::Error;
    fn from_str(text: &str) -> Result<Self, semver::Error> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(['-', '+']).unwrap_or(text.len());
        let (core, rest) = text.split_at(end);
        let missing = ["", ".0", ".0.0"];
        let dots = core.matches('.').count().min(2);
        format!("{core}{}{rest}", missing[2 - dots]).parse().map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One version, or `>=A <B` with bounds in any number. They compare by precedence alone, prereleases included:
/// `<3.5.0` takes `3.5.0-ea.1`, and `<3.5.0-0` does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range(Vec<(Bound, Version)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Exactly,
    AtLeast,
    Above,
    AtMost,
    Below,
}

/// Those that begin with another stand before it.
const SIGNS: [(&str, Bound); 5] = [
    (">=", Bound::AtLeast),
    ("<=", Bound::AtMost),
    (">", Bound::Above),
    ("<", Bound::Below),
    ("", Bound::Exactly),
];

impl Range {
    pub fn contains(&self, version: &Version) -> bool {
        self.0.iter().all(|(bound, end)| {
            let order = version.0.cmp_precedence(&end.0);
            match bound {
                Bound::Exactly => order.is_eq(),
                Bound::AtLeast => order.is_ge(),
                Bound::Above => order.is_gt(),
                Bound::AtMost => order.is_le(),
                Bound::Below => order.is_lt(),
            }
        })
    }
}

/// As it is written in a pack.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (bound, version)) in self.0.iter().enumerate() {
            let sign = SIGNS.iter().find(|(_, it)| it == bound).map_or("", |(sign, _)| sign);
            write!(f, "{}{sign}{version}", if number == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl FromStr for Range {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bounds: Vec<_> = text.split_whitespace().map(bound).collect::<Result<_, _>>()?;
        if bounds.is_empty() {
            return Err("a range of versions is empty".to_owned());
        }
        if bounds.iter().any(|low| bounds.iter().any(|high| are_apart(low, high))) {
            return Err(format!("no version is in the range `{text}`"));
        }
        Ok(Self(bounds))
    }
}

/// Whether nothing that is above `low` is below `high`.
fn are_apart((low, from): &(Bound, Version), (high, to): &(Bound, Version)) -> bool {
    let is_low = matches!(low, Bound::Exactly | Bound::AtLeast | Bound::Above);
    let is_high = matches!(high, Bound::Exactly | Bound::AtMost | Bound::Below);
    let is_open = *low == Bound::Above || *high == Bound::Below;
    let order = from.0.cmp_precedence(&to.0);
    is_low && is_high && (order.is_gt() || (is_open && order.is_eq()))
}

fn bound(text: &str) -> Result<(Bound, Version), String> {
    let (bound, version) = SIGNS
        .iter()
        .find_map(|(sign, bound)| Some((*bound, text.strip_prefix(sign)?)))
        .expect("the last sign is empty");
    let version = version.parse().map_err(|err| format!("`{text}` bounds no versions: {err}"))?;
    Ok((bound, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_products_write_them() {
        for (text, expected) in [
            ("v1.9", "1.9.0"),
            ("4.20", "4.20.0"),
            ("3", "3.0.0"),
            ("3.4.0-ea.1", "3.4.0-ea.1"),
            ("v24.9.2", "24.9.2"),
        ] {
            assert_eq!(text.parse::<Version>().unwrap().to_string(), expected);
        }
        for text in ["", "latest", "1.2.3.4", "1..2"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_holds_what_lies_between_its_bounds() {
        let holds = |range: &str, version: &str| {
            range.parse::<Range>().unwrap().contains(&version.parse().unwrap())
        };
        assert!(holds(">=3.3.0 <3.5.0", "3.4.4") && holds(">=3.3.0 <3.5.0", "3.5.0-ea.1"));
        assert!(!holds(">=3.3.0 <3.5.0-0", "3.5.0-ea.1") && !holds(">=3.3.0", "3.2.9"));
        assert!(holds("3.4", "3.4.0") && !holds("3.4", "3.4.1"));
        assert!(holds(">1.0.0 <=2.0.0", "2.0.0") && !holds(">1.0.0", "1.0.0"));
        for text in [">=3.3.0 <3.5.0-0", "3.4.1", ">1.0.0 <=2.0.0"] {
            assert_eq!(text.parse::<Range>().unwrap().to_string(), text);
        }
        for text in ["", ">=x", ">=3.0.0 <2.0.0", ">1.0.0 <=1.0.0", ">=1.0.0 <1.0.0", "1.0.0 2.0.0"]
        {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
        assert!(">=1.0.0 <=1.0.0".parse::<Range>().is_ok());
    }
}
