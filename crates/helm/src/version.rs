//! Versions and ranges as Helm compares them.
//!
//! Two habits differ from what Rust's own packages do: a range may have `||`, ` - ` and a bare version that means just
//! that version; and a prerelease satisfies a range only if each of its bounds names a prerelease itself.

use std::str::FromStr;

use semver::Version;

use crate::ChartError;

/// Reads a version as loosely as Helm does: with a leading `v`, and without minor or patch.
pub fn parse(text: &str) -> Option<Version> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let missing = match numbers.split('.').count() {
        1 => ".0.0",
        2 => ".0",
        _ => "",
    };
    Version::parse(&format!("{numbers}{missing}{rest}")).ok()
}

/// A range: what one of several groups of bounds takes, each group as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    any_of: Vec<Vec<Bound>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bound {
    operator: Operator,
    version: Version,
    /// What was left out or written as `x`.
    open: Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Same,
    Other,
    Above,
    Below,
    AtLeast,
    AtMost,
    Tilde,
    Caret,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Open {
    Nothing,
    Patch,
    Minor,
    All,
}

impl FromStr for Constraint {
    type Err = ChartError;
    fn from_str(text: &str) -> Result<Self, ChartError> {
        let wrong = || ChartError::Constraint { text: text.to_owned() };
        let groups: Option<Vec<_>> = text.split("||").map(group).collect();
        Ok(Self { any_of: groups.ok_or_else(wrong)? })
    }
}

impl Constraint {
    pub fn takes(&self, version: &Version) -> bool {
        self.any_of.iter().any(|group| group.iter().all(|bound| bound.takes(version)))
    }

    /// The same range with prereleases in it, as `helm … --devel` looks for them.
    pub fn any_version() -> Self {
        let version = Version::parse("0.0.0-0").expect("a version");
        let bound = Bound { operator: Operator::Above, version, open: Open::Nothing };
        Self { any_of: vec![vec![bound]] }
    }
}

fn group(text: &str) -> Option<Vec<Bound>> {
    if let Some((low, high)) = text.split_once(" - ") {
        let bound = |operator: &str, text: &str| bound(&format!("{operator}{}", text.trim()));
        return Some(vec![bound(">=", low)?, bound("<=", high)?]);
    }
    let mut words = Vec::new();
    let mut operator = String::new();
    // `>= 1.2` is one bound, although a space ends a bound elsewhere.
    for word in text.split([',', ' ', '\t']).filter(|word| !word.is_empty()) {
        operator.push_str(word);
        if !word.ends_with(['=', '<', '>', '~', '^', '!']) {
            words.push(std::mem::take(&mut operator));
        }
    }
    if words.is_empty() || !operator.is_empty() {
        return None;
    }
    words.iter().map(|word| bound(word)).collect()
}

fn bound(text: &str) -> Option<Bound> {
    let start = text.find(|c: char| !"=<>~^!".contains(c))?;
    let (operator, version) = text.split_at(start);
    let operator = match operator {
        "" | "=" => Operator::Same,
        "!=" => Operator::Other,
        ">" => Operator::Above,
        "<" => Operator::Below,
        ">=" | "=>" => Operator::AtLeast,
        "<=" | "=<" => Operator::AtMost,
        "~" | "~>" => Operator::Tilde,
        "^" => Operator::Caret,
        _ => return None,
    };
    let (version, open) = opened(version)?;
    Some(Bound { operator, version, open })
}

/// The lowest version that `1.x`, `1` or `*` can mean, and what it leaves open.
fn opened(text: &str) -> Option<(Version, Open)> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let parts: Vec<&str> = numbers.split('.').collect();
    let is_open = |part: &&str| matches!(*part, "x" | "X" | "*");
    let closed = parts.iter().position(is_open).unwrap_or(parts.len());
    if parts.len() > 3 {
        return None;
    }
    let open = [Open::All, Open::Minor, Open::Patch, Open::Nothing][closed];
    let known = parts[..closed].iter().copied().chain(["0"; 3]).take(3);
    let numbers = known.collect::<Vec<_>>().join(".");
    Some((Version::parse(&format!("{numbers}{rest}")).ok()?, open))
}

impl Bound {
    fn takes(&self, version: &Version) -> bool {
        // Nobody who asks for `>1.0` means 2.0.0-alpha.
        if !version.pre.is_empty() && self.version.pre.is_empty() {
            return false;
        }
        let order = version.cmp_precedence(&self.version);
        match self.operator {
            Operator::Same if self.open == Open::Nothing => order.is_eq(),
            Operator::Other if self.open == Open::Nothing => order.is_ne(),
            Operator::Same | Operator::Tilde => self.tilde(version),
            Operator::Other => !self.agrees(version),
            Operator::Above if self.open == Open::Nothing => order.is_gt(),
            Operator::Above => order.is_gt() && !self.agrees(version),
            Operator::Below => order.is_lt(),
            Operator::AtLeast => order.is_ge(),
            Operator::AtMost if self.open == Open::Nothing => order.is_le(),
            Operator::AtMost => order.is_le() || self.agrees(version),
            Operator::Caret => order.is_ge() && self.caret(version),
        }
    }

    /// Whether the version is the same in all that is not open.
    fn agrees(&self, version: &Version) -> bool {
        let own = &self.version;
        (self.open >= Open::All || version.major == own.major)
            && (self.open >= Open::Minor || version.minor == own.minor)
            && (self.open >= Open::Patch || version.patch == own.patch)
    }

    fn tilde(&self, version: &Version) -> bool {
        let own = &self.version;
        let same_minor = self.open >= Open::Minor || version.minor == own.minor;
        version.cmp_precedence(own).is_ge()
            && (self.open == Open::All || (version.major == own.major && same_minor))
    }

    fn caret(&self, version: &Version) -> bool {
        let own = &self.version;
        if self.open == Open::All {
            return true;
        }
        if own.major > 0 || self.open == Open::Minor || version.major > own.major {
            return version.major == own.major;
        }
        if own.minor > 0 || self.open == Open::Patch || version.minor > own.minor {
            return version.minor == own.minor;
        }
        version.patch == own.patch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(constraint: &str, version: &str) -> bool {
        constraint.parse::<Constraint>().unwrap().takes(&parse(version).unwrap())
    }

    #[test]
    fn ranges_take_what_helm_takes() {
        for (constraint, taken, refused) in [
            ("1.2.3", "v1.2.3 1.2.3+build", "1.2.4 1.3.0"),
            ("v1.2", "1.2.0 1.2.9", "1.3.0"),
            ("1", "1.0.0 1.9.9", "2.0.0 0.9.0"),
            ("*", "0.0.1 9.9.9", "1.0.0-rc1"),
            ("!=1.2", "1.3.0", "1.2.0 1.2.7"),
            (">1.2", "1.3.0", "1.2.0 1.2.9 1.1.0"),
            (">11", "12.0.0", "11.0.0 11.5.1"),
            (">= 1.16.0-0", "1.16.0 1.37.1 1.29.3-gke.1", "1.15.9"),
            ("<=1.2", "1.2.9 0.1.0", "1.3.0"),
            (">=1.2, <2 || ^4.1", "1.9.0 4.9.0", "2.0.0 4.0.9 5.0.0"),
            (">= 1.2 < 2", "1.2.0", "2.0.0"),
            ("1.2 - 1.4.5", "1.2.0 1.4.5", "1.4.6 1.1.9"),
            ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0"),
            ("~1", "1.0.0 1.9.0", "2.0.0"),
            ("^1.2.3", "1.2.3 1.9.0", "1.2.2 2.0.0"),
            ("^0.2.3", "0.2.3 0.2.9", "0.3.0 1.0.0 0.2.2"),
            ("^0.0.3", "0.0.3", "0.0.4 0.1.0"),
            ("^0.0", "0.0.3", "0.1.0"),
            ("^0", "0.9.3", "1.0.0"),
            ("2.x.x", "2.0.0 2.31.4", "3.0.0"),
            ("~1.2.3-alpha.1", "1.2.3-beta.1 1.2.9", "1.2.3-alpha.0"),
            ("v0.17.3", "0.17.3", "0.17.4"),
        ] {
            for version in taken.split(' ') {
                assert!(takes(constraint, version), "{constraint} refuses {version}");
            }
            for version in refused.split(' ') {
                assert!(!takes(constraint, version), "{constraint} takes {version}");
            }
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "latest", ">=", "1.2.3.4", "=>>1", "1.2.3 -", "||"] {
            assert!(text.parse::<Constraint>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_prerelease_is_found_where_any_version_will_do() {
        assert!(Constraint::any_version().takes(&parse("1.0.0-rc.1").unwrap()));
    }
}
