//! What a run came to, and the exit code that says so.

use std::path::PathBuf;

use airlift_oc_mirror::{GENERIC, Kind, exit_code, failed_kind};
use airlift_spec::{Failure, Finding, Lock};
use serde::Serialize;

use super::Run;
use super::records;
use crate::app::Exit;
use crate::failure::{FailedItem, failed_items_text};
use crate::output::{Report, counted, findings_text, has_errors, joined};
use crate::verbs::bundle::create::Made;
use crate::verbs::load::Loaded;

/// What a run says at its end, once.
#[derive(Debug, Default, Serialize)]
pub(super) struct Done {
    images: u64,
    workspace: PathBuf,
    /// The file that lists what failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<PathBuf>,
    pub(super) findings: Vec<Finding>,
    /// What could not be brought.
    failures: Vec<FailedItem>,
    /// The volumes that were written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bundle: Option<Made>,
    /// What went into the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    loaded: Option<Loaded>,
    /// Kinds of content that failed.
    #[serde(skip)]
    kinds: Vec<Kind>,
    /// Whether there are no volumes because something failed.
    #[serde(skip)]
    pub(super) is_withheld: bool,
}

impl Done {
    pub(super) fn new(images: u64, findings: Vec<Finding>) -> Self {
        Self { images, findings, ..Self::default() }
    }

    /// Adds what could not be brought of a lock, each once.
    pub(super) fn add_failures(&mut self, failures: Vec<FailedItem>, lock: &Lock) {
        for failed in failures {
            if self.failures.iter().all(|known| known.item != failed.item) {
                self.kinds.push(failed_kind(&failed.item, lock));
                self.failures.push(failed);
            }
        }
    }

    /// Adds kinds of what is not there to be pushed, which findings name.
    pub(super) fn add_lacking(&mut self, kinds: Vec<Kind>) {
        self.kinds.extend(kinds);
    }

    /// Adds what came of a load.
    pub(super) fn add_load(&mut self, loaded: Loaded, locks: &[Lock]) {
        for (lost, _) in loaded.lost() {
            let lock = locks.iter().find(|lock| lock.stack == lost.stack);
            self.kinds.extend(lock.map(|lock| failed_kind(&lost.reference.to_string(), lock)));
        }
        self.loaded = Some(loaded);
    }

    /// Whether what could be brought is not all that was asked for.
    pub(super) fn has_failed(&self) -> bool {
        !self.failures.is_empty() || has_errors(&self.findings)
    }

    fn exit(&self) -> Exit {
        let bundle = self.bundle.as_ref().map_or(Exit::Success, Made::exit);
        let loaded = self.loaded.as_ref().map_or(Exit::Success, Loaded::exit);
        if !self.kinds.is_empty() {
            return Exit::Peer(exit_code(self.kinds.iter().copied()));
        }
        let is_well = !self.has_failed() && bundle == Exit::Success && loaded == Exit::Success;
        if is_well { Exit::Success } else { Exit::Peer(GENERIC) }
    }
}

impl Run<'_> {
    /// Says what the run came to, with what the configuration itself gave reason to say.
    pub(super) fn end(&self, mut done: Done) -> Result<Exit, Failure> {
        done.findings.extend(self.set.warnings.iter().cloned());
        done.findings.sort();
        done.findings.dedup();
        self.way.workspace.root().clone_into(&mut done.workspace);
        let lost = done.loaded.iter().flat_map(Loaded::lost);
        let lost = lost.map(|(lost, why)| format!("{}: {why}\n", lost.reference));
        let lines: String = done.failures.iter().map(records::line).chain(lost).collect();
        done.errors = records::write_errors(&self.way.workspace, &lines)?;
        let exit = done.exit();
        self.app.print(&done)?;
        Ok(exit)
    }
}

impl Report for Done {
    fn to_text(&self) -> String {
        let failed = counted(self.failures.len() as u64, "failure");
        let withheld = self.is_withheld.then(|| {
            "no volumes are written, since not all could be brought; what came is kept for the next run"
                .to_owned()
        });
        let images = counted(self.images, "image");
        let summary = if self.failures.is_empty() { images } else { format!("{images}, {failed}") };
        joined([
            Some(findings_text(&self.findings)),
            failed_items_text(&self.failures),
            self.bundle.as_ref().map(Report::to_text),
            self.loaded.as_ref().map(Report::to_text),
            self.errors.as_ref().map(|file| format!("what failed is listed in {}", file.display())),
            withheld,
            Some(format!("{summary}, see {}", self.workspace.display())),
        ])
    }
}
