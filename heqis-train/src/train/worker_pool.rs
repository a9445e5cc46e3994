//! The threads of a training: networks that do not depend on each other are trained in parallel, each on one thread.
//!
//! Networks of this size gain nothing from more than one thread. Each thread is a rayon pool of size one, which the framework
//! uses as its global pool: a network's sums are added in the same order whatever the number of threads, and no network
//! waits for tasks of another.

use std::sync::{Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::TrainError;

/// At least one thread.
#[derive(Debug)]
pub(crate) struct WorkerPool {
    first: ThreadPool,
    others: Vec<ThreadPool>,
}

impl WorkerPool {
    /// Starts `threads` threads (0: one for each core), at most one for each network.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when a thread cannot be started.
    pub(crate) fn new(threads: usize, networks: usize) -> Result<Self, TrainError> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let start = |number: usize| {
            ThreadPoolBuilder::new()
                .num_threads(1)
                .thread_name(move |_| format!("train-{number}"))
                .build()
                .map_err(|error| TrainError::training("threads", error.to_string()))
        };
        Ok(Self {
            first: start(0)?,
            others: (1..threads.min(networks))
                .map(start)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Runs `work` on the first thread.
    pub(crate) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.first.install(work)
    }

    /// Applies `work` to each item on the next idle thread and returns the results in the order of the items. Must be called
    /// from within [`Self::run`], whose thread takes part.
    ///
    /// The last item starts first: generators are usually listed by rising windows, and the most expensive one should not
    /// start last.
    pub(crate) fn map<T: Send, R: Send>(
        &self,
        items: impl IntoIterator<Item = T>,
        work: impl Fn(T) -> R + Sync,
    ) -> Vec<R> {
        let waiting = Mutex::new(items.into_iter().enumerate().collect::<Vec<_>>());
        let done = Mutex::new(Vec::new());
        let take = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let serve = || {
            while let Some((place, item)) = take() {
                let result = work(item);
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                done.push((place, result));
            }
        };
        on_all(&self.others, &serve);
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(place, _)| *place);
        done.into_iter().map(|(_, result)| result).collect()
    }

    /// Applies fallible `work` to each item, as [`Self::map`] does.
    ///
    /// # Errors
    ///
    /// The error of the first item, in their order, that failed. All items are processed.
    pub(crate) fn try_map<T: Send, R: Send>(
        &self,
        items: impl IntoIterator<Item = T>,
        work: impl Fn(T) -> Result<R, TrainError> + Sync,
    ) -> Result<Vec<R>, TrainError> {
        self.map(items, work).into_iter().collect()
    }
}

/// Runs `serve` on each of `threads` and on the calling one, and returns when all have finished.
fn on_all(threads: &[ThreadPool], serve: &(dyn Fn() + Sync)) {
    match threads.split_first() {
        None => serve(),
        Some((thread, others)) => thread.in_place_scope(|scope| {
            scope.spawn(|_| serve());
            on_all(others, serve);
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items_with_any_number_of_threads() {
        for threads in [1, 2, 3, 9] {
            let workers = WorkerPool::new(threads, 4).unwrap();
            let squares = workers.run(|| workers.map(0..50, |n| n * n));
            assert_eq!(squares, (0..50).map(|n| n * n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn items_run_in_parallel_each_on_its_own_thread() {
        let workers = WorkerPool::new(3, 3).unwrap();
        // Each waits until all three have arrived.
        let barrier = Barrier::new(3);
        let names = workers.run(|| {
            workers.map(0..3, |_| {
                barrier.wait();
                assert_eq!(rayon::current_num_threads(), 1);
                std::thread::current().name().map(str::to_owned).unwrap()
            })
        });
        let mut names: Vec<String> = names;
        names.sort();
        assert_eq!(names, ["train-0", "train-1", "train-2"]);
    }

    #[test]
    fn at_most_one_thread_is_started_per_network() {
        assert_eq!(WorkerPool::new(64, 3).unwrap().others.len(), 2);
        assert!(WorkerPool::new(1, 3).unwrap().others.is_empty());
        assert!(WorkerPool::new(4, 0).unwrap().others.is_empty());
    }
}
