//! Paths to fields as `kubectl` writes them, by which people name where else a chart has images.

use std::str::FromStr;

use airlift_spec::{Class, Explain};
use serde_json::Value;

/// A path like `{.spec.template.spec.containers[*].image}`: fields by name, items by number, or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath {
    written: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Item(usize),
    /// Every item of a list, or every value of a map.
    All,
}

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not a path to fields: {reason}")]
pub struct ParsePathError {
    path: String,
    reason: &'static str,
}

impl Explain for ParsePathError {
    fn class(&self) -> Class {
        Class::Input
    }

    fn help(&self) -> Option<String> {
        Some("write it like `{.spec.containers[*].image}`".to_owned())
    }
}

impl FieldPath {
    /// The texts that it leads to in `object`, in their order.
    pub fn texts<'v>(&self, object: &'v Value) -> Vec<&'v str> {
        let mut values = vec![object];
        for step in &self.steps {
            values = values.into_iter().flat_map(|value| step.from(value)).collect();
        }
        values.into_iter().filter_map(Value::as_str).collect()
    }

    pub(super) fn written(&self) -> &str {
        &self.written
    }
}

impl Step {
    fn from<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match (self, value) {
            (Self::Field(name), value) => value.get(name).into_iter().collect(),
            (Self::Item(number), value) => value.get(number).into_iter().collect(),
            (Self::All, Value::Array(items)) => items.iter().collect(),
            (Self::All, Value::Object(fields)) => fields.values().collect(),
            (Self::All, _) => Vec::new(),
        }
    }
}

impl FromStr for FieldPath {
    type Err = ParsePathError;

    fn from_str(text: &str) -> Result<Self, ParsePathError> {
        let wrong = |reason| ParsePathError { path: text.to_owned(), reason };
        let inner = text.trim();
        let inner = inner.strip_prefix('{').and_then(|it| it.strip_suffix('}')).unwrap_or(inner);
        let mut rest = inner.strip_prefix('$').unwrap_or(inner);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = match rest.strip_prefix('[') {
                Some(bracket) => in_bracket(bracket).map_err(wrong)?,
                None => field(rest.strip_prefix('.').unwrap_or(rest)).map_err(wrong)?,
            };
            steps.push(step);
            rest = after;
        }
        if steps.is_empty() {
            return Err(wrong("it names no field"));
        }
        Ok(Self { written: text.to_owned(), steps })
    }
}

/// A field up to the next step. `\.` is a dot of its name.
fn field(text: &str) -> Result<(Step, &str), &'static str> {
    let mut name = String::new();
    let mut letters = text.char_indices();
    let mut end = text.len();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => name.extend(letters.next().map(|(_, letter)| letter)),
            '.' | '[' => {
                end = at;
                break;
            }
            '{' | '}' | '(' | ')' | '?' | '@' | ',' => {
                return Err("only plain fields are followed");
            }
            letter => name.push(letter),
        }
    }
    match name.as_str() {
        "" => Err("a field has no name"),
        "*" => Ok((Step::All, &text[end..])),
        _ => Ok((Step::Field(name), &text[end..])),
    }
}

/// A number, `*`, or a name in quotes.
fn in_bracket(text: &str) -> Result<(Step, &str), &'static str> {
    let (inner, after) = text.split_once(']').ok_or("a bracket is not closed")?;
    let quoted = inner.strip_prefix('\'').and_then(|it| it.strip_suffix('\''));
    let step = match (inner, quoted) {
        (_, Some(name)) if !name.is_empty() => Step::Field(name.to_owned()),
        ("*" | "", _) => Step::All,
        (number, _) => Step::Item(number.parse().map_err(|_| "only plain items are followed")?),
    };
    Ok((step, after))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_to_the_texts_of_an_object() {
        let object = json!({"spec": {
            "image": "a", "a.b": "dotted", "number": 1,
            "list": [{"image": "b"}, {"image": "c"}, {}],
            "map": {"x": {"image": "d"}, "y": {"image": "e"}},
        }});
        let texts = |path: &str| path.parse::<FieldPath>().unwrap().texts(&object);
        assert_eq!(texts("{.spec.image}"), ["a"]);
        assert_eq!(texts("$.spec.list[*].image"), ["b", "c"]);
        assert_eq!(texts("{.spec.list[1].image}"), ["c"]);
        assert_eq!(texts("{.spec.map.*.image}"), ["d", "e"]);
        assert_eq!(texts("{.spec['a.b']}"), ["dotted"]);
        assert_eq!(texts(r"{.spec.a\.b}"), ["dotted"]);
        assert_eq!(texts("{.spec.number}"), [""; 0]);
        assert_eq!(texts("{.none.image}"), [""; 0]);
    }

    #[test]
    fn what_is_not_followed_is_refused() {
        for path in ["", "{}", "{.a[?(@.b)]}", "{..image}", "{.a[1:2]}", "{.a[", "{.a}{.b}"] {
            assert!(path.parse::<FieldPath>().is_err(), "{path}");
        }
    }
}
