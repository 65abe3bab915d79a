//! Fuzz targets: what must hold for any bytes whatever. See `fuzz/` and `airlift-fuzzkit`.

use crate::kustomize::unpack;
use crate::{Address, Chart, Constraint, Listed, Listing, Wanted, index, pack, switch, version};

/// A package: what is read packs to a chart that is the same.
pub fn chart_package(data: &[u8]) {
    let Ok(chart) = Chart::from_package(data.to_vec(), "app.tgz".to_owned()) else { return };
    assert_eq!(chart.package().as_ref(), data, "a package is carried as it came");
    for (path, _) in chart.files() {
        assert!(
            !path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        );
    }
    let packed = Chart::from_package(chart.packed(), "again.tgz".to_owned());
    let packed = packed.expect("what we pack we read");
    assert_eq!(packed.metadata, chart.metadata);
    assert!(packed.files().eq(chart.files()));
    if let Ok(values) = chart.all_values() {
        drop(chart.unrendered(&values));
    }
    let is_there = |file: &str| file.starts_with("templates/") || file.starts_with("charts/");
    assert!(chart.lookups().iter().all(|it| is_there(&it.file) && it.line > 0));
    let text = index(&[Listed::of(&chart, chart.file_name())]);
    let listing = Listing::read(text.as_bytes(), "index.yaml", &chart.metadata.name);
    let listing = listing.expect("what we write we read");
    let wanted = Wanted::Version(chart.metadata.version.clone());
    assert!(listing.choose(&wanted).is_ok(), "it lacks {wanted}");
}

/// An index: what is chosen is one of its entries, and the newest comes first.
pub fn chart_index(data: &[u8]) {
    let Ok(listing) = Listing::read(data, "index.yaml", "app") else { return };
    for wanted in [Wanted::Latest, Wanted::LatestWithPrereleases, Wanted::Version("1.x".to_owned())]
    {
        if let Ok(entry) = listing.choose(&wanted) {
            assert!(listing.entries.contains(entry));
            assert_eq!(entry.addresses("https://h.test/charts").len(), entry.urls.len());
        }
    }
    for pair in listing.entries.windows(2) {
        let [newer, older] = pair else { unreachable!("a window of two") };
        assert!(version::parse(&newer.version) >= version::parse(&older.version));
    }
}

/// A range and versions, a line each: a range that names a version alone takes that version.
pub fn chart_versions(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let constraint = lines.next().unwrap_or_default().parse::<Constraint>();
    for line in lines {
        let Some(version) = version::parse(line) else { continue };
        if let Ok(constraint) = &constraint {
            constraint.takes(&version);
        }
        let same = format!("={version}").parse::<Constraint>().expect("a version is a range");
        assert!(same.takes(&version), "{line}");
    }
}

/// A values file: the choices in its comments belong to keys, and are words.
pub fn chart_comments(data: &[u8]) {
    for (path, choices) in switch::choices(&String::from_utf8_lossy(data)) {
        assert!(!path.is_empty() && choices.len() >= 2);
    }
}

/// An address that a kustomization names: what Git is told is no option and has no password, and the folder lies in the
/// repository.
pub fn kustomize_address(data: &[u8]) {
    for line in String::from_utf8_lossy(data).lines() {
        let found = match Address::parse(line) {
            Ok(Address::Repository(found)) => found,
            Ok(Address::File(url)) => {
                assert!(!has_password(&url), "{url}");
                continue;
            }
            Err(_) => continue,
        };
        assert!(!has_password(&found.url), "{found:?}");
        assert!(found.url.contains(':') && !found.url.starts_with('-'), "{found:?}");
        assert!(!found.folder.split('/').any(|part| part == ".."), "{found:?}");
        let revision = found.revision.unwrap_or_default();
        assert!(!revision.starts_with('-') && !revision.contains(':'), "{revision}");
    }
}

/// Whether a colon stands before the `@` of an address.
fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    // What stands behind these is no part of the host, whatever signs are in it.
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    host.split_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// An archive of a kustomization: nothing is written outside of its folder, and what packs again is the same.
pub fn kustomize_archive(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let into = folder.path().join("into");
    if unpack(data, &into).is_ok() {
        let names = fs_err::read_dir(folder.path()).expect("a folder");
        assert_eq!(names.count(), 1, "something lies beside the folder");
        if let Ok(packed) = pack(&into, "") {
            let again = folder.path().join("again");
            unpack(&packed, &again).expect("what we pack we unpack");
            assert_eq!(pack(&again, "").expect("what was packed packs"), packed);
        }
    }
}

#[cfg(test)]
mod tests {
    use airlift_fuzzkit::check;

    #[test]
    fn any_bytes_are_a_package_that_stays_the_same_or_are_refused() {
        check("chart_package", super::chart_package);
    }

    #[test]
    fn any_bytes_are_an_index_from_which_one_of_its_entries_is_chosen_or_are_refused() {
        check("chart_index", super::chart_index);
    }

    #[test]
    fn any_address_leads_into_its_repository_or_is_refused() {
        check("kustomize_address", super::kustomize_address);
    }

    #[test]
    fn any_archive_stays_in_its_folder_or_is_refused() {
        check("kustomize_archive", super::kustomize_archive);
    }

    #[test]
    fn any_range_takes_versions_or_is_refused() {
        check("chart_versions", super::chart_versions);
    }

    #[test]
    fn any_values_have_choices_that_belong_to_keys() {
        check("chart_comments", super::chart_comments);
    }
}
