//! Whether a kustomization is closed: kustomize would fetch nothing while it builds it.
//!
//! By then all that [`each_name`](super::walk::each_name) shows has been brought. What is left:
//!
//! - Generators, transformers and validators name files in fields of their own. They stand in files, in the kustomization
//!   itself, or in folders, which are kustomizations too.
//! - kustomize reads the names of fields in any case, so that `Files:` is `files:`.
//! - Go takes no proxy for this machine's own addresses, so that the one in the program's environment does not help.
//!
//! So any text that kustomize would take for the address of a file is refused, wherever it stands but in values that it
//! never reads files by. A folder of generators may only name files: what changes them could write an address.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::address::is_file_address;
use super::walk::{names, read_file, read_text};
use super::{KustomizeError, Remote, file_of};
use crate::ChartError;

/// Fields that name generators, transformers and validators.
const PLUGINS: &[&str] = &["generators", "transformers", "validators"];

/// Fields that a folder of those may have.
const OF_PLUGINS: &[&str] = &["apiVersion", "kind", "metadata", "resources"];

/// Fields whose texts are never the names of files.
const PLAIN: &[&str] = &["literals", "annotations", "commonAnnotations"];

/// Refuses what kustomize would fetch itself of the kustomization in `folder`, in which all else lies here by now.
pub(super) fn refuse_fetches(folder: &Path) -> Result<(), KustomizeError> {
    let mut seen = BTreeSet::new();
    let mut queue = vec![(folder.to_owned(), false)];
    while let Some((next, is_plugin)) = queue.pop() {
        let whole = fs_err::canonicalize(&next);
        let whole = whole
            .map_err(|source| KustomizeError::Read { path: next.display().to_string(), source })?;
        let Some(file) = file_of(&whole).filter(|_| seen.insert((whole.clone(), is_plugin))) else {
            continue;
        };
        let mut kustomization = read_file(&file)?;
        let path = file.display().to_string();
        refuse_addresses(&path, &kustomization)?;
        if is_plugin {
            refuse_changes(&path, &kustomization)?;
        }
        let plugins = plugins(&kustomization);
        for name in &plugins {
            let target = whole.join(name);
            if !target.exists() {
                refuse_addresses_in(&path, name.as_bytes())?;
            }
        }
        for name in names(&mut kustomization) {
            let target = whole.join(&name);
            let is_plugin = is_plugin || plugins.contains(&name);
            if target.is_dir() {
                queue.push((target, is_plugin));
            } else if is_plugin && target.is_file() {
                refuse_addresses_in(&target.display().to_string(), &read_text(&target)?)?;
            }
        }
    }
    Ok(())
}

/// The generators, transformers and validators: names of files and folders, or their text.
fn plugins(kustomization: &Value) -> BTreeSet<String> {
    let lists = PLUGINS.iter().filter_map(|list| kustomization.get(list)?.as_array());
    lists.flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn refuse_changes(file: &str, kustomization: &Value) -> Result<(), KustomizeError> {
    let mut fields = kustomization.as_object().into_iter().flat_map(|fields| fields.keys());
    match fields.find(|field| !OF_PLUGINS.contains(&field.as_str())) {
        Some(field) => Err(KustomizeError::Field {
            file: file.to_owned(),
            field: field.clone(),
            problem: "could change generators, transformers or validators, which may only be named"
                .to_owned(),
        }),
        None => Ok(()),
    }
}

fn refuse_addresses_in(file: &str, text: &[u8]) -> Result<(), KustomizeError> {
    let broken = |err: airlift_scan::ScanError| {
        KustomizeError::Yaml(ChartError::Yaml { file: file.to_owned(), problem: err.to_string() })
    };
    let documents = airlift_scan::documents(text).map_err(broken)?;
    documents.iter().try_for_each(|document| refuse_addresses(file, &document.object))
}

fn refuse_addresses(file: &str, value: &Value) -> Result<(), KustomizeError> {
    match value {
        Value::String(text) => {
            // The key by which an object holds a file may stand before it.
            let name = text.split_once('=').map_or(text.as_str(), |(_, name)| name);
            match [text, name].into_iter().find(|name| is_file_address(name)) {
                Some(address) => {
                    let remote = Remote { file: file.to_owned(), address: address.to_owned() };
                    let problem = "kustomize would fetch by itself";
                    Err(KustomizeError::Address { remote, problem })
                }
                None => Ok(()),
            }
        }
        Value::Array(items) => items.iter().try_for_each(|item| refuse_addresses(file, item)),
        Value::Object(fields) => {
            let mut fields = fields.iter().filter(|(name, _)| !PLAIN.contains(&name.as_str()));
            fields.try_for_each(|(_, value)| refuse_addresses(file, value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_kustomize_never_fetches_pass() {
        for (text, passes) in [
            ("{literals: ['A=http://h/x'], metadata: {annotations: {a: 'https://h'}}}", true),
            ("{patch: \"- op: add\\n  value: http://h\"}", true),
            ("{files: ['k=http://h/x']}", false),
            ("{Files: ['HTTPS://h/x']}", false),
            ("{a: [{b: \"\\x68ttp://h/x\"}]}", false),
        ] {
            let said = refuse_addresses_in("f", text.as_bytes());
            assert_eq!(said.is_ok(), passes, "{text}: {said:?}");
        }
    }
}
