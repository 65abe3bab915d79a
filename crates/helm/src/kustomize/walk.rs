//! What a kustomization leads to: further kustomizations, and what lies elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::address::{is_file_address, is_remote};
use super::tree::files_below;
use super::{KustomizeError, Remote, file_of};
use crate::yaml;

/// Fields that list files, folders or addresses.
const LISTS: &[&str] = &[
    "resources",
    "bases",
    "components",
    "crds",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "patchesStrategicMerge",
];

/// Fields whose items name one in `path`.
const WITH_PATHS: &[&str] = &["patches", "patchesJson6902", "replacements"];

/// Fields whose items name files in `files` and `envs`, each of them with a key before it perhaps.
const GENERATORS: &[&str] = &["configMapGenerator", "secretGenerator"];

/// Fields by which kustomize has Helm fetch charts.
const CHARTS: &[&str] = &["helmCharts", "helmChartInflationGenerator"];

/// More folders than any kustomization has.
pub(super) const MAX_FOLDERS: usize = 10_000;

/// The folders of kustomizations, as they are on the disk, with what each names elsewhere.
pub(super) type Folders = BTreeMap<PathBuf, BTreeSet<Remote>>;

/// Looks for all that the kustomization in `folder` leads to, none of which may lie outside of `within`.
pub(super) fn walk(folder: &Path, within: &Path) -> Result<Folders, KustomizeError> {
    let mut found = Folders::new();
    let mut queue = vec![folder.to_owned()];
    while let Some(next) = queue.pop() {
        let Some(whole) = whole(&next, within)? else { continue };
        let Some(file) = file_of(&whole).filter(|_| !found.contains_key(&whole)) else { continue };
        if found.len() == MAX_FOLDERS {
            return Err(KustomizeError::TooMany { folder: folder.display().to_string() });
        }
        let mut kustomization = read_file(&file)?;
        let path = file.display().to_string();
        refuse_charts(&path, &kustomization)?;
        let mut remotes = BTreeSet::new();
        each_name(&mut kustomization, &mut |name| {
            let target = whole.join(name);
            // What lies here is here, however it is called, unless kustomize itself would not look.
            if is_file_address(name) {
                remotes.insert(Remote { file: path.clone(), address: name.to_owned() });
            } else if target.is_dir() {
                queue.push(target);
            } else if !target.exists() && is_remote(name) {
                remotes.insert(Remote { file: path.clone(), address: name.to_owned() });
            }
            None
        });
        found.insert(whole, remotes);
    }
    if found.is_empty() {
        return Err(KustomizeError::NoKustomization { folder: folder.display().to_string() });
    }
    Ok(found)
}

/// Refuses pipes and devices in these folders, which are sorted: kustomize opens what it is named, and what looks like a
/// kustomization, whatever it is.
pub(super) fn refuse_devices<'a>(
    folders: impl Iterator<Item = &'a PathBuf>,
) -> Result<(), KustomizeError> {
    let mut last: Option<&Path> = None;
    for folder in folders {
        // One within another is looked through with it.
        if last.is_some_and(|last| folder.starts_with(last)) {
            continue;
        }
        last = Some(folder);
        if let Some(device) = files_below(folder)?.into_iter().find(|path| is_device(path)) {
            return Err(KustomizeError::Device { path: device.display().to_string() });
        }
    }
    Ok(())
}

/// What is there, and neither file nor folder.
fn is_device(path: &Path) -> bool {
    fs_err::metadata(path).is_ok_and(|it| !it.is_file() && !it.is_dir())
}

/// A folder as it is on the disk; none where there is none.
fn whole(folder: &Path, within: &Path) -> Result<Option<PathBuf>, KustomizeError> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let name = folder.display().to_string();
    match fs_err::canonicalize(folder) {
        Ok(whole) if whole.starts_with(within) => Ok(Some(whole)),
        Ok(_) => Err(KustomizeError::Outside { folder: name }),
        Err(source) => Err(KustomizeError::Read { path: name, source }),
    }
}

/// Reads a kustomization's file.
pub(super) fn read_file(file: &Path) -> Result<Value, KustomizeError> {
    let path = file.display().to_string();
    let kustomization = yaml::read(&read_text(file)?, &path).map_err(KustomizeError::Yaml)?;
    refuse_other_cases(&path, &kustomization)?;
    Ok(kustomization)
}

pub(super) fn read_text(file: &Path) -> Result<Vec<u8>, KustomizeError> {
    let failed = |source| KustomizeError::Read { path: file.display().to_string(), source };
    fs_err::read(file).map_err(failed)
}

/// kustomize takes `Resources:` for `resources:`, and what it names would not be seen here.
fn refuse_other_cases(file: &str, kustomization: &Value) -> Result<(), KustomizeError> {
    let known = || [LISTS, WITH_PATHS, GENERATORS, CHARTS, &["openapi"]].into_iter().flatten();
    for field in kustomization.as_object().into_iter().flat_map(|fields| fields.keys()) {
        let meant = known().find(|known| known.eq_ignore_ascii_case(field) && *known != field);
        if let Some(meant) = meant {
            let (file, field) = (file.to_owned(), field.clone());
            let problem = format!("is written `{meant}`");
            return Err(KustomizeError::Field { file, field, problem });
        }
    }
    Ok(())
}

/// Each file, folder and address that a kustomization names.
pub(super) fn names(kustomization: &mut Value) -> Vec<String> {
    let mut names = Vec::new();
    each_name(kustomization, &mut |name| {
        names.push(name.to_owned());
        None
    });
    names
}

fn refuse_charts(file: &str, kustomization: &Value) -> Result<(), KustomizeError> {
    let lists = CHARTS.iter().filter_map(|list| kustomization.get(list)?.as_array());
    let Some(chart) = lists.flatten().next() else { return Ok(()) };
    let field = |name: &str| chart.get(name).and_then(yaml::text);
    let name = field("name").or_else(|| field("chartName")).unwrap_or_default();
    Err(KustomizeError::Chart { file: file.to_owned(), chart: name })
}

/// Shows each file, folder and address that a kustomization names. What `change` returns stands in its place then.
pub(super) fn each_name(
    kustomization: &mut Value,
    change: &mut impl FnMut(&str) -> Option<String>,
) {
    for list in LISTS {
        for item in items(kustomization, list) {
            show(item, change);
        }
    }
    for list in WITH_PATHS {
        for item in items(kustomization, list) {
            item.get_mut("path").into_iter().for_each(|path| show(path, change));
        }
    }
    if let Some(path) = kustomization.get_mut("openapi").and_then(|it| it.get_mut("path")) {
        show(path, change);
    }
    for list in GENERATORS {
        for item in items(kustomization, list) {
            items(item, "files").for_each(|file| show_keyed(file, change));
            items(item, "envs").for_each(|file| show(file, change));
            item.get_mut("env").into_iter().for_each(|file| show(file, change));
        }
    }
}

fn items<'a>(value: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
}

fn show(value: &mut Value, change: &mut impl FnMut(&str) -> Option<String>) {
    // A text with several lines is a patch that stands here itself.
    let Some(name) = value.as_str().filter(|name| !name.contains('\n')) else { return };
    if let Some(other) = change(name) {
        *value = Value::String(other);
    }
}

/// A file that may have the key before it by which the object will hold it; else that is the name of the file.
fn show_keyed(value: &mut Value, change: &mut impl FnMut(&str) -> Option<String>) {
    let Some(text) = value.as_str() else { return };
    let (key, name) =
        text.split_once('=').unwrap_or_else(|| (text.rsplit('/').next().unwrap_or(text), text));
    if let Some(other) = change(name) {
        *value = Value::String(format!("{key}={other}"));
    }
}
