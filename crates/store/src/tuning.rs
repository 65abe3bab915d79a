//! The one place where the store's concurrency, buffers and syncs are decided.

use std::num::NonZeroUsize;
use std::thread;

/// How the store treats the disk. The default suits SSDs and network disks alike.
///
/// | decision | default | why |
/// |---|---|---|
/// | bytes between checkpoints of a blob | 64 MiB | the most that a power cut costs a transfer; below 32 MiB the syncs show |
/// | unsynced bytes a commit may leave to its group | 1 MiB | a large blob is synced by its own writer, not at everybody's expense |
/// | commits waiting from which one `syncfs` replaces a sync a file | 8 | below, threads that sync at once are as fast, and nobody waits for the bytes of strangers |
/// | room reserved ahead, and direct writes | from 1 MiB on | a full disk is named before the transfer, not after it; the page cache costs a copy of each byte |
/// | read buffer | 1 MiB | larger ones gain nothing, smaller ones cost system calls |
/// | threads that hash in `fsck` | the machine's | hashing is the limit, 1.4 GB/s a core |
#[derive(Debug, Clone)]
pub struct Tuning {
    /// A blob on its way in makes its bytes durable and notes them each time this many were written.
    pub checkpoint_bytes: u64,
    /// A commit with more unsynced bytes than this syncs its own file before it joins a group.
    pub grouped_bytes: u64,
    /// So many commits must be waiting for the next to leave its bytes to one `syncfs` for all of them.
    pub syncfs_from: usize,
    /// Smallest blob for which room is reserved, and which is written past the page cache.
    pub large_from_bytes: u64,
    /// Size of the buffer that bytes are read back through.
    pub buffer_bytes: usize,
    /// Threads that stat or hash at once.
    pub threads: NonZeroUsize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            checkpoint_bytes: 64 << 20,
            grouped_bytes: 1 << 20,
            syncfs_from: 8,
            large_from_bytes: 1 << 20,
            buffer_bytes: 1 << 20,
            threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}
