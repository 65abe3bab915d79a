//! Ranges of versions: the bounds of a filter, and the ranges that bundles require.
//!
//! Both compare by precedence, where build metadata counts for nothing, and differ in what a prerelease is: a filter's
//! bounds leave it out unless one of them has one itself, a requirement's range takes it for the version it is.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use semver::Version;

/// The bounds of a filter, as oc-mirror's library (4.20 and later) understands `>=MIN <=MAX`.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    min: Option<Bound>,
    max: Option<Bound>,
}

#[derive(Debug, Clone)]
struct Bound {
    text: String,
    version: Version,
    /// How many of major, minor and patch are written.
    parts: usize,
}

impl Bounds {
    /// Nothing if neither bound is given; the bound that is no version otherwise.
    pub(crate) fn new(min: Option<&str>, max: Option<&str>) -> Result<Option<Self>, String> {
        let bound = |text: Option<&str>| match text.filter(|text| !text.is_empty()) {
            Some(text) => Bound::parse(text).map(Some).ok_or_else(|| text.to_owned()),
            None => Ok(None),
        };
        let bounds = Self { min: bound(min)?, max: bound(max)? };
        Ok((bounds.min.is_some() || bounds.max.is_some()).then_some(bounds))
    }

    /// The one version that is meant where both bounds are written alike.
    pub(crate) fn exact(&self) -> Option<&Version> {
        let (min, max) = (self.min.as_ref()?, self.max.as_ref()?);
        (min.text == max.text).then_some(&min.version)
    }

    /// One of the bounds, for near misses.
    pub(crate) fn one(&self) -> Option<&Version> {
        self.min.as_ref().or(self.max.as_ref()).map(|bound| &bound.version)
    }

    pub(crate) fn has(&self, version: &Version) -> bool {
        (version.pre.is_empty() || self.takes_prereleases()) && self.spans(version)
    }

    /// Whether the version lies between the bounds and is left out only because it is a prerelease.
    pub(crate) fn leaves_out(&self, version: &Version) -> bool {
        !self.has(version) && self.spans(version)
    }

    /// Whether the lower bound lies above the upper one.
    pub(crate) fn is_empty(&self) -> bool {
        let (Some(min), Some(max)) = (&self.min, &self.max) else { return false };
        !max.reaches(&min.version)
    }

    fn takes_prereleases(&self) -> bool {
        [&self.min, &self.max].into_iter().flatten().any(|bound| !bound.version.pre.is_empty())
    }

    fn spans(&self, version: &Version) -> bool {
        let above = |bound: &Bound| version.cmp_precedence(&bound.version) != Ordering::Less;
        self.min.as_ref().is_none_or(above)
            && self.max.as_ref().is_none_or(|max| max.reaches(version))
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.min, &self.max) {
            (Some(min), Some(max)) => write!(f, ">={} <={}", min.text, max.text),
            (Some(min), None) => write!(f, ">={}", min.text),
            (None, Some(max)) => write!(f, "<={}", max.text),
            (None, None) => f.write_str("any"),
        }
    }
}

impl Bound {
    /// `2`, `2.16` and `v2.16.0` are bounds, too.
    fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('v').unwrap_or(text);
        let parts = bare.split(['-', '+']).next()?.split('.').count();
        let whole = match parts {
            1 | 2 if !bare.contains(['-', '+']) => format!("{bare}{}", ".0".repeat(3 - parts)),
            _ => bare.to_owned(),
        };
        Some(Self { text: text.to_owned(), version: whole.parse().ok()?, parts })
    }

    /// As an upper bound. What is not written may be anything.
    fn reaches(&self, version: &Version) -> bool {
        let bound = &self.version;
        match self.parts {
            1 => version.major <= bound.major,
            2 => (version.major, version.minor) <= (bound.major, bound.minor),
            _ => version.cmp_precedence(bound) != Ordering::Greater,
        }
    }
}

/// The range that a bundle requires of another, in the words of OLM: `>=1.0.0 <2.0.0 || 3.x`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    text: String,
    /// Any of these, all of whose comparisons hold.
    any: Vec<Vec<(Comparison, Version)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
}

/// Why some text is no range.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a range of versions: `{part}` is not understood")]
pub struct ParseRangeError {
    text: String,
    part: String,
}

impl Range {
    pub fn has(&self, version: &Version) -> bool {
        let holds = |(comparison, bound): &(Comparison, Version)| {
            comparison.holds(version.cmp_precedence(bound))
        };
        self.any.iter().any(|all| all.iter().all(holds))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Range {
    type Err = ParseRangeError;

    fn from_str(text: &str) -> Result<Self, ParseRangeError> {
        let any = text.split("||").map(|part| {
            all(part).ok_or_else(|| ParseRangeError {
                text: text.to_owned(),
                part: part.trim().to_owned(),
            })
        });
        Ok(Self { text: text.to_owned(), any: any.collect::<Result<_, _>>()? })
    }
}

/// Comparisons with blanks between them. Blanks behind an operator are no separators.
fn all(text: &str) -> Option<Vec<(Comparison, Version)>> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let operator = rest.find(|c| !"<>=!".contains(c))?;
        let comparison = Comparison::parse(&rest[..operator])?;
        let version = rest[operator..].trim_start();
        let end = version.find([' ', '\t', '<', '>', '=', '!']).unwrap_or(version.len());
        compare(comparison, &version[..end], &mut found)?;
        rest = version[end..].trim_start();
    }
    Some(found)
}

/// One comparison; two where the version ends in `x`.
fn compare(
    comparison: Comparison,
    version: &str,
    found: &mut Vec<(Comparison, Version)>,
) -> Option<()> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    let Some((from, next)) = wildcard(version) else {
        found.push((comparison, version.parse().ok()?));
        return Some(());
    };
    match comparison {
        Less | GreaterOrEqual => found.push((comparison, from)),
        LessOrEqual => found.push((Less, next)),
        Greater => found.push((GreaterOrEqual, next)),
        Equal => found.extend([(GreaterOrEqual, from), (Less, next)]),
        // Nothing is both; OLM reads it so as well.
        NotEqual => found.extend([(Less, from), (GreaterOrEqual, next)]),
    }
    Some(())
}

/// `1.x` and `1.2.x`: the first version, and the first that is no more.
fn wildcard(text: &str) -> Option<(Version, Version)> {
    let parts: Vec<&str> = text.split('.').collect();
    let number = |part: &str| part.parse::<u64>().ok();
    match parts[..] {
        [major, "x"] | [major, "x", "x"] => {
            let major = number(major)?;
            Some((Version::new(major, 0, 0), Version::new(major.checked_add(1)?, 0, 0)))
        }
        [major, minor, "x"] => {
            let (major, minor) = (number(major)?, number(minor)?);
            Some((Version::new(major, minor, 0), Version::new(major, minor.checked_add(1)?, 0)))
        }
        _ => None,
    }
}

impl Comparison {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "=" | "==" => Some(Self::Equal),
            "!" | "!=" => Some(Self::NotEqual),
            "<" => Some(Self::Less),
            "<=" => Some(Self::LessOrEqual),
            ">" => Some(Self::Greater),
            ">=" => Some(Self::GreaterOrEqual),
            _ => None,
        }
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

#[cfg(test)]
mod tests;
