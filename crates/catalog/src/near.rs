//! Near misses: what somebody may have meant.

use semver::Version;

/// As many as help.
const FEW: usize = 3;

/// The names most like `wanted`, the most like it first.
pub(crate) fn names<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut found: Vec<((bool, usize), &str)> =
        names.into_iter().filter_map(|name| Some((unlikeness(wanted, name)?, name))).collect();
    found.sort_unstable();
    found.into_iter().take(FEW).map(|(_, name)| name.to_owned()).collect()
}

/// The versions next to `wanted`, in order.
pub(crate) fn versions<'a>(
    wanted: &Version,
    versions: impl IntoIterator<Item = &'a Version>,
) -> Vec<String> {
    let mut all: Vec<&Version> = versions.into_iter().collect();
    all.sort_unstable();
    all.dedup();
    let at = all.partition_point(|version| *version < wanted);
    all[at.saturating_sub(2)..].iter().take(2 + FEW - 1).map(ToString::to_string).collect()
}

/// Whether no word is the same, and how many letters differ; nothing if the two have too little in common.
fn unlikeness(wanted: &str, name: &str) -> Option<(bool, usize)> {
    let (wanted, name) = (wanted.to_lowercase(), name.to_lowercase());
    let distance = distance(wanted.as_bytes(), name.as_bytes());
    let is_part =
        wanted.len() > 2 && (name.contains(&wanted) || (name.len() > 2 && wanted.contains(&name)));
    // The first word of a name is the product's.
    let stem = |text: &str| text.split(['-', '.']).next().unwrap_or_default().to_owned();
    let same_stem = wanted.len() > 2 && stem(&wanted) == stem(&name);
    let most = (wanted.len() / 3).max(if wanted.len() > 3 { 2 } else { 1 });
    let is_related = is_part || same_stem;
    (is_related || distance <= most).then_some((!is_related, distance))
}

/// Levenshtein's distance.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// `a`, `b` and 7 more.
pub(crate) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    const MANY: usize = 6;
    let shown: Vec<String> =
        names.iter().take(MANY).map(|name| format!("`{}`", name.as_ref())).collect();
    match names.len().saturating_sub(MANY) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likely_names_come_first_and_unlikely_ones_not_at_all() {
        let all =
            ["gpu-operator-certified", "nfd", "stable-3.4", "stable-3.x", "fast", "rhods-operator"];
        assert_eq!(names("gpu-operator", all), ["gpu-operator-certified"]);
        assert_eq!(names("stable-3.5", all)[..2], ["stable-3.4", "stable-3.x"]);
        assert_eq!(names("rhod-operator", all), ["rhods-operator"]);
        assert!(names("kubevirt", all).is_empty());
        assert_eq!(names("alfa", ["alpha", "stable"]), ["alpha"]);
        let operators = ["acme-operator", "gpu-operator-certified"];
        assert_eq!(names("gpu-operator", operators)[0], "gpu-operator-certified");
        assert_eq!(names("Acme-Operator", operators)[0], "acme-operator");
    }

    #[test]
    fn the_versions_on_both_sides_are_near() {
        let all: Vec<Version> = ["1.0.0", "1.1.0", "1.2.0", "2.0.0", "3.0.0", "4.0.0"]
            .map(|text| text.parse().unwrap())
            .into();
        assert_eq!(versions(&"1.5.0".parse().unwrap(), &all), ["1.1.0", "1.2.0", "2.0.0", "3.0.0"]);
        assert_eq!(versions(&"9.0.0".parse().unwrap(), &all), ["3.0.0", "4.0.0"]);
    }
}
