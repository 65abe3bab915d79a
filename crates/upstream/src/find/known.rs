//! What knowledge packs say of something that is carried.

use std::collections::BTreeSet;

use airlift_scan::knowledge::{Advice, Dependency, EnvAlias, Gap, Knowledge};
use airlift_spec::Finding;
use airlift_spec::stack::{FinderKind, Stack};

use crate::resolve::Upstream;
use crate::{UpstreamError, blocking};

/// Everything that is known: what the stack brings, and what airlift itself knows.
pub(super) async fn knowledge(
    stack: &Stack,
    upstream: &Upstream,
) -> Result<Knowledge, UpstreamError> {
    let (packs, base) = (stack.knowledge.clone(), upstream.base.clone());
    let read = move || {
        let mut own = Knowledge::default();
        for pack in packs {
            let more = Knowledge::read(&base.join(&pack.path), &pack.path).map_err(|source| {
                UpstreamError::Knowledge { line: pack.line, path: pack.path, source }
            })?;
            own = own.and(more);
        }
        Ok(own)
    };
    // Whoever writes a pack knows his product better, so that his reasons go first.
    Ok(blocking(read).await?.and(Knowledge::embedded().clone()))
}

/// The packages that any source of the stack names.
pub(super) fn packages_of(stack: &Stack) -> BTreeSet<&str> {
    let catalogs = stack.finders.iter().filter_map(|finder| match &finder.kind {
        FinderKind::Catalog(catalog) => Some(catalog),
        _ => None,
    });
    catalogs.flat_map(|catalog| &catalog.selection.packages).map(|it| it.name.as_str()).collect()
}

/// What there is to say of `object`; `packages` are those that need no mention.
pub(super) fn findings<'a>(
    advice: &'a Advice,
    object: &'a str,
    packages: &'a BTreeSet<&str>,
) -> impl Iterator<Item = Finding> + 'a {
    let missing = advice.dependencies.iter().filter(|it| !packages.contains(it.package.as_str()));
    let missing =
        missing.map(move |it| Finding::warning("undeclared-dependency", object, undeclared(it)));
    let aliases = advice.env_aliases.iter();
    let aliases =
        aliases.map(move |alias| Finding::warning("unset-variable", object, unset(alias)));
    missing.chain(aliases).chain(advice.gaps.iter().map(Gap::finding))
}

fn undeclared(dependency: &Dependency) -> String {
    let Dependency { package, catalog, needed_for, origin } = dependency;
    let part = needed_for.as_ref().map(|part| format!(" for {part}")).unwrap_or_default();
    let from = catalog.as_ref().map(|catalog| format!(", from {catalog}")).unwrap_or_default();
    format!(
        "it needs package `{package}`{part}{from}, and no source of the stack names it: {} ({})",
        origin.why, origin.source
    )
}

/// What a program misses that reads a variable which nobody sets, and what helps.
fn unset(alias: &EnvAlias) -> String {
    let EnvAlias { reads, sets, fallback, origin } = alias;
    let takes = match fallback {
        Some(fallback) => format!(", and takes `{fallback}`, which is carried"),
        None => String::new(),
    };
    let remedy = match sets {
        Some(sets) => {
            format!("set it in `spec.config.env` of the Subscription to what `{sets}` has")
        }
        None => {
            "set it in `spec.config.env` of the Subscription, if you use what needs it".to_owned()
        }
    };
    format!(
        "it reads `{reads}`, which its bundle does not set{takes}; {remedy} ({})",
        origin.source
    )
}
