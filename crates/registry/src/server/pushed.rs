//! What was pushed to each repository: the store's root of it, kept in memory for reading.
//!
//! **Order.** A change is seen by readers after it is durable, never before: a tag that was answered once must
//! be there after a power cut.
//! **Cost.** Changes that arrive while a root is being written wait and go into the next write together, so a
//! hundred blobs pushed at once cost a few writes of the root and not a hundred.
//! **Other processes.** They may write roots at the same time, but this one sees it with its own next change
//! only: one server takes the pushes to a store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use airlift_spec::Digest;
use airlift_store::{Pushed, Store, StoreError};
use tokio::sync::oneshot;

use super::blocking::blocking;

/// The repositories of a store. Each is read once, when it is first asked for.
#[derive(Debug)]
pub(super) struct Repositories {
    store: Arc<Store>,
    known: Mutex<BTreeMap<String, Arc<Repository>>>,
}

/// One repository.
pub(super) struct Repository {
    name: String,
    store: Arc<Store>,
    durable: Mutex<Arc<Pushed>>,
    waiting: Mutex<Vec<Waiting>>,
    /// Held while the root is written: one writer at a time, the others gather behind it.
    writing: Arc<tokio::sync::Mutex<()>>,
    /// Shared by those who push a manifest, alone for whoever removes one: which blobs nobody names any more
    /// must not change while it is being found out.
    pub(super) removal: tokio::sync::RwLock<()>,
    /// Shared by those who publish a blob that the root names already, alone for whoever takes such a name back.
    pub(super) publishing: tokio::sync::RwLock<()>,
}

struct Waiting {
    change: Box<dyn FnOnce(&mut Pushed) + Send>,
    done: oneshot::Sender<Result<(), ChangeError>>,
}

/// The root could not be read or written; what was to change did not.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("failed to write what was pushed")]
    Interrupted(#[source] std::io::Error),
    #[error("the write of the root failed that this change was to go along with")]
    LostWithOthers,
}

impl Repositories {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// The repository, empty where nothing was pushed yet.
    pub(super) async fn get(&self, name: &str) -> Result<Arc<Repository>, ChangeError> {
        if let Some(known) = lock(&self.known).get(name) {
            return Ok(known.clone());
        }
        let (store, owned) = (self.store.clone(), name.to_owned());
        let found =
            blocking(move || store.pushed(&owned)).await.map_err(ChangeError::Interrupted)?;
        let found = match found {
            // No root can have this name, so nothing was ever pushed to it.
            Err(StoreError::RootName { .. }) => None,
            found => found?,
        };
        let Some(found) = found else {
            // Names that nobody pushed to are not kept: there is no end of them.
            return Ok(Arc::new(Repository::new(name, self.store.clone(), Pushed::default())));
        };
        let read = Arc::new(Repository::new(name, self.store.clone(), found));
        Ok(lock(&self.known).entry(name.to_owned()).or_insert(read).clone())
    }

    /// The repository, kept from now on: somebody is about to push to it.
    pub(super) async fn get_to_push(&self, name: &str) -> Result<Arc<Repository>, ChangeError> {
        let found = self.get(name).await?;
        Ok(lock(&self.known).entry(name.to_owned()).or_insert(found).clone())
    }

    pub(super) async fn names(&self) -> Result<Vec<String>, ChangeError> {
        let store = self.store.clone();
        let names = blocking(move || store.pushed_repositories()).await;
        Ok(names.map_err(ChangeError::Interrupted)??)
    }
}

impl Repository {
    fn new(name: &str, store: Arc<Store>, durable: Pushed) -> Self {
        Self {
            name: name.to_owned(),
            store,
            durable: Mutex::new(Arc::new(durable)),
            waiting: Mutex::default(),
            writing: Arc::default(),
            removal: tokio::sync::RwLock::default(),
            publishing: tokio::sync::RwLock::default(),
        }
    }

    /// What is durable now.
    pub(super) fn pushed(&self) -> Arc<Pushed> {
        lock(&self.durable).clone()
    }

    /// Whether the blob is one of the repository's, and no change under way could be taking it out.
    pub(super) fn has_for_good(&self, blob: &Digest) -> bool {
        let waiting = lock(&self.waiting);
        let is_quiet = waiting.is_empty() && self.writing.try_lock().is_ok();
        is_quiet && lock(&self.durable).blobs.contains(blob)
    }

    /// Changes the root and returns when that is durable.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether the change was made, as a kill does; memory and disk agree.
    pub(super) async fn change<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Pushed) -> T + Send + 'static,
    ) -> Result<(), ChangeError> {
        let (done, mut result) = oneshot::channel();
        let change = Box::new(|pushed: &mut Pushed| drop(change(pushed)));
        lock(&self.waiting).push(Waiting { change, done });
        let writing = self.writing.clone().lock_owned().await;
        if let Ok(result) = result.try_recv() {
            return result;
        }
        let repository = self.clone();
        let write = move || {
            repository.write();
            drop(writing);
        };
        blocking(write).await.map_err(ChangeError::Interrupted)?;
        result.await.unwrap_or(Err(ChangeError::LostWithOthers))
    }

    /// Makes every waiting change in one write.
    fn write(&self) {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        let (changes, done): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|waiting| (waiting.change, waiting.done)).unzip();
        let written = self.store.update_pushed(&self.name, |pushed| {
            for change in changes {
                change(pushed);
            }
            pushed.clone()
        });
        let mut failure = match written {
            Ok(pushed) => {
                *lock(&self.durable) = Arc::new(pushed);
                None
            }
            Err(err) => Some(ChangeError::Store(err)),
        };
        let has_failed = failure.is_some();
        for done in done {
            let lost = || if has_failed { Err(ChangeError::LostWithOthers) } else { Ok(()) };
            // Whoever no longer waits needs no answer.
            let _ = done.send(failure.take().map_or_else(lost, Err));
        }
    }
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repository({})", self.name)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u32) -> Digest {
        Digest::of(&n.to_be_bytes())
    }

    fn store() -> (tempfile::TempDir, Arc<Store>) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store")).unwrap();
        (dir, Arc::new(store))
    }

    #[tokio::test]
    async fn changes_that_come_together_are_all_durable() {
        let (_dir, store) = store();
        let repositories = Repositories::new(store.clone());
        let repository = repositories.get_to_push("a").await.unwrap();
        let changes =
            (0..100).map(|n| repository.change(move |pushed| pushed.blobs.insert(digest(n))));
        for changed in futures::future::join_all(changes).await {
            changed.unwrap();
        }
        assert_eq!(store.pushed("a").unwrap().unwrap().blobs.len(), 100);
        assert_eq!(repository.pushed().blobs.len(), 100);
    }

    #[tokio::test]
    async fn a_write_that_fails_fails_every_change_in_it_and_shows_none() {
        let (dir, store) = store();
        let repositories = Repositories::new(store);
        let repository = repositories.get_to_push("a").await.unwrap();
        // A folder where the root's file belongs: no write can replace it.
        let file = dir.path().join("store/roots/pushed/a.json");
        fs_err::create_dir_all(file.join("in the way")).unwrap();
        let changes =
            (0..3).map(|n| repository.change(move |pushed| pushed.blobs.insert(digest(n))));
        for changed in futures::future::join_all(changes).await {
            assert!(changed.is_err());
        }
        assert!(repository.pushed().blobs.is_empty());
        fs_err::remove_dir_all(&file).unwrap();
        repository.change(|pushed| pushed.blobs.insert(digest(9))).await.unwrap();
        assert_eq!(repository.pushed().blobs.iter().collect::<Vec<_>>(), [&digest(9)]);
    }
}
