//! The restart budget of a stage.

use std::collections::VecDeque;

use crate::clock::duration_ns;
use crate::options::RestartOptions;

/// Counts restarts in a sliding window, and gives the pause before the next one.
#[derive(Debug)]
pub struct RestartBudget {
    options: RestartOptions,
    /// Times of the restarts inside the window, oldest first; never longer than `options.max`.
    recent_ns: VecDeque<i64>,
}

impl RestartBudget {
    /// A budget of which nothing is spent.
    #[must_use]
    pub fn new(options: RestartOptions) -> Self {
        Self {
            options,
            recent_ns: VecDeque::new(),
        }
    }

    /// The pause before a restart now, nanoseconds; `None` when the budget is used up.
    pub fn spend(&mut self, now_ns: i64) -> Option<i64> {
        let window_ns = duration_ns(self.options.window);
        while self
            .recent_ns
            .front()
            .is_some_and(|&at| now_ns.saturating_sub(at) > window_ns)
        {
            self.recent_ns.pop_front();
        }
        if self.recent_ns.len() >= self.options.max as usize {
            return None;
        }
        let doublings = u32::try_from(self.recent_ns.len())
            .unwrap_or(u32::MAX)
            .min(30);
        self.recent_ns.push_back(now_ns);
        let pause_ns = duration_ns(self.options.backoff_min).saturating_mul(1 << doublings);
        Some(pause_ns.min(duration_ns(self.options.backoff_max)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_the_budget_recovers_after_the_window() {
        let options = RestartOptions::new()
            .max(4)
            .window(Duration::from_secs(10))
            .backoff_min(Duration::from_millis(100))
            .backoff_max(Duration::from_millis(300));
        let mut budget = RestartBudget::new(options);
        let ms = 1_000_000;
        let pauses: Vec<_> = (0..5).map(|i| budget.spend(i).map(|ns| ns / ms)).collect();
        assert_eq!(pauses, [Some(100), Some(200), Some(300), Some(300), None]);
        assert_eq!(
            budget
                .spend(duration_ns(options.window) + 1)
                .map(|ns| ns / ms),
            Some(300)
        );
        assert_eq!(
            budget
                .spend(duration_ns(options.window) * 3)
                .map(|ns| ns / ms),
            Some(100)
        );
    }

    #[test]
    fn a_budget_of_zero_never_restarts() {
        let mut budget = RestartBudget::new(RestartOptions::new().max(0));
        assert_eq!(budget.spend(0), None);
    }
}
