//! A chart that lies open on the disk.

use std::io;
use std::path::{Path, PathBuf};

use super::archive::Budget;
use super::ignore::Ignored;
use super::{Files, MAX_CHART_DEPTH};
use crate::ChartError;

/// The folder's files without those that its `.helmignore` leaves out.
pub(super) fn read(folder: &Path) -> Result<Files, ChartError> {
    let chart = folder.display().to_string();
    let failed = |source| ChartError::Read { chart: chart.clone(), source };
    let root = fs_err::canonicalize(folder).map_err(failed)?;
    let ignored = match fs_err::read_to_string(root.join(".helmignore")) {
        Ok(text) => Ignored::parse(&text),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ignored::parse(""),
        Err(err) => return Err(failed(err)),
    };
    let mut walk = Walk { root, chart, ignored, files: Files::new(), budget: Budget::default() };
    walk.enter(&PathBuf::new(), 0)?;
    Ok(walk.files)
}

struct Walk {
    root: PathBuf,
    chart: String,
    ignored: Ignored,
    files: Files,
    budget: Budget,
}

impl Walk {
    fn enter(&mut self, within: &Path, depth: usize) -> Result<(), ChartError> {
        // A link to a folder above it would never end.
        if depth > 8 * MAX_CHART_DEPTH {
            return Err(self.refused(format!("`{}` lies too deep", within.display())));
        }
        let entries = fs_err::read_dir(self.root.join(within)).map_err(|err| self.failed(err))?;
        for entry in entries {
            let entry = entry.map_err(|err| self.failed(err))?;
            self.take(&within.join(entry.file_name()), depth)?;
        }
        Ok(())
    }

    fn take(&mut self, path: &Path, depth: usize) -> Result<(), ChartError> {
        let name = self.name(path)?;
        // Links are followed, as Helm does, but not to what does not belong to the chart.
        let target = fs_err::canonicalize(self.root.join(path)).map_err(|err| self.failed(err))?;
        let metadata = fs_err::metadata(&target).map_err(|err| self.failed(err))?;
        if self.ignored.matches(&name, metadata.is_dir()) {
            return Ok(());
        }
        if !target.starts_with(&self.root) {
            return Err(self.refused(format!("`{name}` is a link that leads out of it")));
        }
        if metadata.is_dir() {
            return self.enter(path, depth + 1);
        }
        if !metadata.is_file() {
            return Err(self.refused(format!("`{name}` is not a plain file")));
        }
        self.budget.take(metadata.len()).map_err(|problem| self.refused(problem))?;
        let bytes = fs_err::read(&target).map_err(|err| self.failed(err))?;
        self.files.insert(name, bytes.into());
        Ok(())
    }

    fn name(&self, path: &Path) -> Result<String, ChartError> {
        let parts: Option<Vec<&str>> = path.iter().map(|part| part.to_str()).collect();
        let unreadable = || self.refused(format!("the name `{}` is not UTF-8", path.display()));
        Ok(parts.ok_or_else(unreadable)?.join("/"))
    }

    fn failed(&self, source: io::Error) -> ChartError {
        ChartError::Read { chart: self.chart.clone(), source }
    }

    fn refused(&self, problem: String) -> ChartError {
        ChartError::NotAChart {
            chart: self.chart.clone(),
            problem,
            help: Some("put a copy in its place, or name it in `.helmignore`".to_owned()),
        }
    }
}
