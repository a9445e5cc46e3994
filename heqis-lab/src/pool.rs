//! Independent tasks on several threads, with results in the order of the tasks whatever the number of threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::LabError;

/// Runs `task` on each item with its thread's state and returns the results in the order of the items. Calls `done` after
/// each.
///
/// # Errors
/// The error of the first failed item in the order of the items. Items after a failure may be skipped.
pub(crate) fn map<T: Send, S, R: Send>(
    items: Vec<T>,
    threads: usize,
    state: impl Fn() -> S + Sync,
    task: impl Fn(&mut S, T) -> Result<R, LabError> + Sync,
    done: impl Fn() + Sync,
) -> Result<Vec<R>, LabError> {
    let count = items.len();
    let results: Vec<Mutex<Option<Result<R, LabError>>>> =
        items.iter().map(|_| Mutex::new(None)).collect();
    let left = Mutex::new(items.into_iter().zip(&results));
    let has_failed = AtomicBool::new(false);
    // After a failure no thread takes another item. Items taken before are finished, so the first failure is known.
    let next = || match has_failed.load(Ordering::Relaxed) {
        true => None,
        false => left.lock().ok()?.next(),
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, count.max(1)) {
            scope.spawn(|| {
                let mut state = state();
                while let Some((item, slot)) = next() {
                    let result = task(&mut state, item);
                    if result.is_err() {
                        has_failed.store(true, Ordering::Relaxed);
                    }
                    if let Ok(mut slot) = slot.lock() {
                        *slot = Some(result);
                    }
                    done();
                }
            });
        }
    });
    drop(left);
    let mut found = Vec::with_capacity(count);
    for slot in results {
        match slot.into_inner() {
            Ok(Some(result)) => found.push(result?),
            // The scope has re-raised the panic of a thread.
            _ => break,
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn results_keep_their_order_and_the_first_failure_wins() {
        let items: Vec<u32> = (0..100).collect();
        let double = |_: &mut (), item: u32| Ok(item * 2);
        for threads in [1, 3, 200] {
            let results = map(items.clone(), threads, || (), double, || ()).unwrap();
            assert!(results.iter().zip(&items).all(|(r, i)| *r == i * 2));
        }
        let fails = |_: &mut (), item: u32| match item {
            7 | 8 => Err(LabError::rule_got("item", "must be good", item)),
            _ => Ok(()),
        };
        let error = map(items, 4, || (), fails, || ()).unwrap_err();
        assert!(error.to_string().ends_with("got 7"), "{error}");
        assert!(map(Vec::new(), 4, || (), double, || ()).unwrap().is_empty());
    }
}
