//! The thread under an arbiter: its name, its cores, its priority.

use rustix::thread::CpuSet;
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use crate::options::StageOptions;

/// Cores and priority of a thread.
#[derive(Clone, Debug, Default)]
pub struct ThreadConfig {
    cores: Vec<usize>,
    priority: Option<u8>,
}

impl ThreadConfig {
    /// Adds the options of a stage that runs on the thread.
    pub fn add(&mut self, options: &StageOptions) {
        if !options.cores.is_empty() {
            self.cores.clone_from(&options.cores);
        }
        self.priority = self.priority.max(options.priority);
    }

    /// Applies the configuration to the calling thread. Returns a sentence for each setting that was denied.
    pub fn apply(&self, arbiter: &str) -> Vec<String> {
        // The kernel keeps 15 bytes of a thread's name.
        let short: String = arbiter.chars().filter(char::is_ascii).take(15).collect();
        if let Ok(short) = std::ffi::CString::new(short) {
            let _ = rustix::thread::set_name(&short);
        }
        [self.pin(arbiter), self.prioritise(arbiter)]
            .into_iter()
            .filter_map(Result::err)
            .inspect(|reason| tracing::warn!("{reason}"))
            .collect()
    }

    fn pin(&self, arbiter: &str) -> Result<(), String> {
        let cores = &self.cores;
        if cores.is_empty() {
            return Ok(());
        }
        let mut set = CpuSet::new();
        for &core in cores.iter().filter(|&&core| core < CpuSet::MAX_CPU) {
            set.set(core);
        }
        rustix::thread::sched_setaffinity(None, &set)
            .and_then(|()| rustix::thread::sched_getaffinity(None))
            .map_err(|error| format!("arbiter '{arbiter}' is not pinned to cores {cores:?}: {error}"))
            .and_then(|got| {
                // The kernel accepts a set in which one core exists, and ignores the others.
                match cores.iter().find(|&&core| core >= CpuSet::MAX_CPU || !got.is_set(core)) {
                    None => {
                        tracing::info!(arbiter, ?cores, "pinned");
                        Ok(())
                    }
                    Some(core) => Err(format!(
                        "arbiter '{arbiter}' is not pinned to cores {cores:?}: this machine has no core {core}"
                    )),
                }
            })
    }

    fn prioritise(&self, arbiter: &str) -> Result<(), String> {
        let Some(priority) = self.priority else {
            return Ok(());
        };
        let value = ThreadPriorityValue::try_from(priority)
            .map_err(|rule| format!("arbiter '{arbiter}' has no priority {priority}: {rule}"))?;
        set_thread_priority_and_policy(
            thread_native_id(),
            ThreadPriority::Crossplatform(value),
            ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo),
        )
        .map_err(|error| {
            format!(
                "arbiter '{arbiter}' does not get the real-time priority {priority}: {error:?}; it needs CAP_SYS_NICE or LimitRTPRIO"
            )
        })?;
        tracing::info!(arbiter, priority, "real-time priority");
        Ok(())
    }
}
