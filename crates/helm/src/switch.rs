//! The values that switch something in a chart, and what comes when they are thrown.

use std::fmt;

use serde_json::{Map, Value};

mod candidates;
mod comments;
mod explore;

#[cfg(any(test, fuzzing))]
pub(crate) use comments::choices;
pub use explore::{ExploreOptions, Explored, Gated};

/// Names of values that switch a part of a chart on.
pub(crate) const NAMES: &[&str] = &["enabled", "enable", "create", "install", "deploy", "deployed"];

/// A value that is changed: `gds.enabled=true`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Switch {
    /// The keys that lead to it.
    pub path: Vec<String>,
    pub value: Value,
}

/// As `--set` wants it.
impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.path.iter().map(|key| escaped(key, ".,=[]{}\\")).collect();
        write!(f, "{}=", keys.join("."))?;
        match &self.value {
            Value::String(text) => f.write_str(&escaped(text, ",{}\\")),
            other => write!(f, "{other}"),
        }
    }
}

fn escaped(text: &str, special: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if special.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The switches as a values file.
pub(crate) fn values(switches: &[Switch]) -> Map<String, Value> {
    let mut all = Map::new();
    for switch in switches {
        let Some((last, above)) = switch.path.split_last() else { continue };
        let mut at = &mut all;
        for key in above {
            let below = at.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
            if !below.is_object() {
                *below = Value::Object(Map::new());
            }
            at = below.as_object_mut().expect("it was made one");
        }
        at.insert(last.clone(), switch.value.clone());
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn switch(path: &[&str], value: Value) -> Switch {
        Switch { path: path.iter().map(|key| (*key).to_owned()).collect(), value }
    }

    #[test]
    fn switches_are_written_as_set_wants_them() {
        assert_eq!(switch(&["gds", "enabled"], json!(true)).to_string(), "gds.enabled=true");
        assert_eq!(switch(&["a.b/c", "d"], json!("x,y")).to_string(), "a\\.b/c.d=x\\,y");
    }

    #[test]
    fn several_switches_make_one_file() {
        let all = [
            switch(&["a", "b"], json!(true)),
            switch(&["a", "c", "d"], json!("x")),
            switch(&["e"], json!(false)),
        ];
        let file = Value::Object(values(&all));
        assert_eq!(file, json!({"a": {"b": true, "c": {"d": "x"}}, "e": false}));
    }
}
