//! Work on many things, shared out over the cores.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::thread;

/// Cuts `0..count` into a share for each thread, and returns what `work` made of the shares, in their order.
pub(crate) fn share<R: Send>(
    count: usize,
    threads: NonZeroUsize,
    work: impl Fn(Range<usize>) -> R + Sync,
) -> Vec<R> {
    /// Fewer are not worth a thread.
    const LEAST: usize = 64;
    let share = count.div_ceil(threads.get()).max(LEAST);
    thread::scope(|scope| {
        let begin = |start: usize| {
            let (work, range) = (&work, start..count.min(start + share));
            scope.spawn(move || work(range))
        };
        let shares: Vec<_> = (0..count).step_by(share).map(begin).collect();
        let end = |share: thread::ScopedJoinHandle<'_, R>| share.join().expect("it does not panic");
        shares.into_iter().map(end).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_in_one_share_and_the_order_stays() {
        for count in [0, 1, 63, 64, 65, 1000] {
            for threads in [1, 2, 7] {
                let shares = share(count, NonZeroUsize::new(threads).unwrap(), Iterator::collect);
                let all: Vec<Vec<usize>> = shares;
                assert!(all.len() <= threads, "{count} on {threads}");
                assert!(all.concat().into_iter().eq(0..count), "{count} on {threads}");
            }
        }
    }
}
