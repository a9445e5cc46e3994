//! The threads of a training: networks that do not depend on each other learn side by side, each on one thread.
//!
//! Networks of this size gain nothing from more threads than one. Each thread is a pool of one, which the framework takes
//! for all the threads there are: a network's sums are added in the same order whatever the number of threads, and no
//! network waits for pieces of another.

use std::sync::{Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::TrainError;

/// Threads, one at least.
#[derive(Debug)]
pub(crate) struct Crew {
    first: ThreadPool,
    others: Vec<ThreadPool>,
}

impl Crew {
    /// Starts threads: `threads` of them, 0 for one a core, but no more than there are networks to work on.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when the system gives none.
    pub(crate) fn new(threads: usize, networks: usize) -> Result<Self, TrainError> {
        let wanted = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
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
            others: (1..wanted.min(networks))
                .map(start)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Works on the first thread.
    pub(crate) fn lead<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.first.install(work)
    }

    /// Works on each item, on whichever thread is free, and returns the results in the order of the items. Called by what
    /// [`Self::lead`] runs, whose thread works too.
    ///
    /// The last item is begun first: generators are listed by rising windows as a rule, and the dearest work should not be
    /// what is begun last.
    pub(crate) fn each<T: Send, R: Send>(
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
        beside(&self.others, &serve);
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(place, _)| *place);
        done.into_iter().map(|(_, result)| result).collect()
    }

    /// Works on each item as [`Self::each`] does, where work can fail.
    ///
    /// # Errors
    ///
    /// That of the first item, in their order, that failed. All are worked on.
    pub(crate) fn try_each<T: Send, R: Send>(
        &self,
        items: impl IntoIterator<Item = T>,
        work: impl Fn(T) -> Result<R, TrainError> + Sync,
    ) -> Result<Vec<R>, TrainError> {
        self.each(items, work).into_iter().collect()
    }
}

/// Runs `serve` on each of some threads and on the calling one, and returns when all are through.
fn beside(threads: &[ThreadPool], serve: &(dyn Fn() + Sync)) {
    match threads.split_first() {
        None => serve(),
        Some((thread, others)) => thread.in_place_scope(|scope| {
            scope.spawn(|_| serve());
            beside(others, serve);
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items_whoever_works() {
        for threads in [1, 2, 3, 9] {
            let crew = Crew::new(threads, 4).unwrap();
            let squares = crew.lead(|| crew.each(0..50, |n| n * n));
            assert_eq!(squares, (0..50).map(|n| n * n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn items_are_worked_on_at_the_same_time_each_on_a_thread_of_its_own() {
        let crew = Crew::new(3, 3).unwrap();
        // Nobody passes before all three are there.
        let barrier = Barrier::new(3);
        let names = crew.lead(|| {
            crew.each(0..3, |_| {
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
    fn no_thread_is_started_that_has_no_network() {
        assert_eq!(Crew::new(64, 3).unwrap().others.len(), 2);
        assert!(Crew::new(1, 3).unwrap().others.is_empty());
        assert!(Crew::new(4, 0).unwrap().others.is_empty());
    }
}
