//! The rate limit of calls and the progress report, in virtual time.

use std::cell::RefCell;

use heqis_fetch::api;
use heqis_fetch::call::{Call, Selection};
use heqis_fetch::http::Transport;
use heqis_fetch::pace::{Backoff, Pace, SECOND_NS, WallClock, calls_per_minute};
use heqis_fetch::progress::Progress;
use heqis_quant::Date;

use crate::vendor::{InProcess, market};
use crate::world::{Log, Still, later, with_client};

/// Records the times of requests.
struct Timed<'a> {
    vendor: &'a InProcess,
    clock: &'a Still,
    times_ns: RefCell<Vec<u64>>,
}

impl Transport for Timed<'_> {
    fn post(&self, body: &str) -> Result<(u16, String), String> {
        self.times_ns.borrow_mut().push(self.clock.now_ns());
        self.vendor.post(body)
    }
}

#[test]
fn no_minute_has_more_than_four_fifths_of_the_calls_that_the_points_allow() {
    for (points, limit) in [(1999, 50), (4999, 200), (15_000, 500)] {
        assert_eq!(calls_per_minute(points), limit);
    }
    for (points, limit) in [(0, 50), (2000, 200), (5000, 500)] {
        assert_eq!(calls_per_minute(points), limit);
        let calls = limit as usize + 10;
        let (vendor, clock) = (InProcess::new(market()), later());
        let timed = Timed {
            vendor: &vendor,
            clock: &clock,
            times_ns: RefCell::default(),
        };
        let folder = tempfile::tempdir().unwrap();
        let first = Date::parse("20150101").unwrap().days();
        with_client(&timed, &clock, folder.path(), |client| {
            client.pace = Pace::new(calls_per_minute(points));
            for day in first..first + calls as i32 {
                let day = Date::from_days(day).unwrap();
                let selection = Selection {
                    day: Some(day),
                    ..Selection::default()
                };
                client
                    .fetch(&Call::new(&api::SUSPEND_D, selection, day))
                    .unwrap();
            }
        });
        let times = timed.times_ns.take();
        assert_eq!(times.len(), calls);
        let busiest = times
            .iter()
            .map(|begin| {
                let minute = *begin..begin + 60 * SECOND_NS;
                times.iter().filter(|time| minute.contains(time)).count()
            })
            .max();
        let allowed = limit as usize * 4 / 5;
        assert!(busiest <= Some(allowed), "{busiest:?} of {allowed}");
        assert!(
            busiest >= Some(allowed * 9 / 10),
            "{busiest:?} of {allowed}"
        );
    }
}

#[test]
fn a_clock_that_is_set_back_does_not_stop_the_run() {
    let (pace, clock) = (Pace::new(50), later());
    pace.wait(&clock);
    clock.0.set(clock.now_ns() - 3600 * SECOND_NS);
    let begun = clock.now_ns();
    pace.wait(&clock);
    assert!(clock.now_ns() - begun <= 2 * SECOND_NS);
}

#[test]
fn waits_after_failures_double_up_to_a_minute_and_are_determined_by_the_seed() {
    let waits = |seed| {
        let backoff = Backoff::new(seed);
        (0..10)
            .map(|failures| backoff.wait_ns(failures))
            .collect::<Vec<_>>()
    };
    let full_s = [1, 2, 4, 8, 16, 32, 60, 60, 60, 60];
    for (wait, full) in waits(1).into_iter().zip(full_s) {
        let full = full * SECOND_NS;
        assert!((full / 2..=full).contains(&wait), "{wait} of {full}");
    }
    assert_eq!(waits(1), waits(1));
    assert_ne!(waits(1), waits(2));
}

#[test]
fn plain_lines_report_calls_rate_and_time_left_every_ten_seconds_and_at_the_end() {
    let (clock, log) = (later(), Log::default());
    let progress = Progress::lines(log.clone(), &clock);
    progress.begin(25);
    for _ in 0..25 {
        clock.sleep_ns(SECOND_NS / 2);
        progress.step("daily");
    }
    progress.note("something");
    progress.end();
    assert_eq!(
        log.text(),
        "daily: 20 of 25 calls, 2.0 calls/s, 2 s left\n\
         daily: 25 of 25 calls, 2.0 calls/s, 0 s left\n\
         something\n"
    );
}

#[test]
fn a_run_that_takes_no_time_reports_no_rate() {
    let (clock, log) = (later(), Log::default());
    let progress = Progress::lines(log.clone(), &clock);
    progress.begin(2);
    progress.step("daily");
    progress.step("namechange");
    assert_eq!(log.text(), "namechange: 2 of 2 calls\n");
}
