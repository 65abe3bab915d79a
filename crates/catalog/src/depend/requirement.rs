//! What a bundle requires of others, as OLM's properties say it.

use std::collections::BTreeSet;
use std::fmt;

use semver::Version;
use serde::Deserialize as _;
use serde_json::Value;

use crate::{Bundle, Gvk, Range};

/// What one bundle requires. OLM looks for one bundle that fulfils the whole of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    Package {
        name: String,
        range: Range,
    },
    Gvk(Gvk),
    All(Vec<Requirement>),
    Any(Vec<Requirement>),
    Not(Vec<Requirement>),
    /// A rule in Google's expression language, which airlift does not judge.
    Cel(String),
}

impl Bundle {
    /// What it requires. A property that cannot be read is named in the error.
    pub fn requires(&self) -> Result<Vec<Requirement>, String> {
        let packages = self.properties("olm.package.required").map(package);
        let gvks = self.properties("olm.gvk.required").map(gvk);
        let constraints = self.properties("olm.constraint").map(constraint);
        packages.chain(gvks).chain(constraints).collect()
    }
}

fn package(value: &Value) -> Result<Requirement, String> {
    let text = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .ok_or_else(|| format!("`{key}` is missing in {value}"))
    };
    let range = text("versionRange")?.parse::<Range>().map_err(|err| err.to_string())?;
    Ok(Requirement::Package { name: text("packageName")?.to_owned(), range })
}

fn gvk(value: &Value) -> Result<Requirement, String> {
    Gvk::deserialize(value).map(Requirement::Gvk).map_err(|err| format!("{err} in {value}"))
}

fn constraint(value: &Value) -> Result<Requirement, String> {
    let list = |value: &Value| match value.get("constraints").and_then(Value::as_array) {
        Some(members) => members.iter().map(constraint).collect::<Result<Vec<_>, _>>(),
        None => Err(format!("`constraints` is missing in {value}")),
    };
    let mut kinds =
        value.as_object().into_iter().flatten().filter(|(kind, _)| *kind != "failureMessage");
    match (kinds.next(), kinds.next()) {
        (Some((kind, value)), None) => match kind.as_str() {
            "package" => package(value),
            "gvk" => gvk(value),
            "all" => list(value).map(Requirement::All),
            "any" => list(value).map(Requirement::Any),
            "not" => list(value).map(Requirement::Not),
            "cel" => {
                let rule = value.get("rule").and_then(Value::as_str).unwrap_or_default();
                Ok(Requirement::Cel(rule.to_owned()))
            }
            _ => Err(format!("`{kind}` is no kind of constraint")),
        },
        _ => Err(format!("a constraint is of one kind: {value}")),
    }
}

/// What requirements look at.
pub(super) struct Facts<'a> {
    pub(super) package: &'a str,
    pub(super) version: Option<&'a Version>,
    pub(super) provides: &'a BTreeSet<Gvk>,
}

impl Requirement {
    /// Whether one bundle fulfils it. What cannot be judged is taken to be fulfilled.
    pub(super) fn is_met_by(&self, facts: &Facts) -> bool {
        match self {
            Self::Package { name, range } => {
                facts.package == name && facts.version.is_some_and(|version| range.has(version))
            }
            Self::Gvk(gvk) => facts.provides.contains(gvk),
            Self::All(members) => members.iter().all(|member| member.is_met_by(facts)),
            Self::Any(members) => members.iter().any(|member| member.is_met_by(facts)),
            Self::Not(members) => !members.iter().any(|member| member.is_met_by(facts)),
            Self::Cel(_) => true,
        }
    }

    /// The rules in it that airlift cannot judge.
    pub(super) fn rules(&self) -> Vec<&str> {
        match self {
            Self::Cel(rule) => vec![rule],
            Self::All(members) | Self::Any(members) | Self::Not(members) => {
                members.iter().flat_map(Self::rules).collect()
            }
            Self::Package { .. } | Self::Gvk(_) => Vec::new(),
        }
    }

    /// The packages it names.
    pub(super) fn packages(&self) -> Vec<&str> {
        match self {
            Self::Package { name, .. } => vec![name],
            Self::All(members) | Self::Any(members) => {
                members.iter().flat_map(Self::packages).collect()
            }
            Self::Gvk(_) | Self::Not(_) | Self::Cel(_) => Vec::new(),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |members: &[Self], word: &str| {
            members.iter().map(ToString::to_string).collect::<Vec<_>>().join(word)
        };
        match self {
            Self::Package { name, range } => write!(f, "package {name} {range}"),
            Self::Gvk(gvk) => write!(f, "API {gvk}"),
            Self::All(members) => write!(f, "({})", list(members, " and ")),
            Self::Any(members) => write!(f, "({})", list(members, " or ")),
            Self::Not(members) => write!(f, "neither ({})", list(members, " nor ")),
            Self::Cel(rule) => write!(f, "rule {rule}"),
        }
    }
}
