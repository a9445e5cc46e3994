//! The matrix: nodes are restarted, killed, suspended and upgraded at moments drawn from a seed, and the journal, and what came
//! back of it, is that of an undisturbed run.
//!
//! - `schedule`: what happens, drawn from a seed. `world`: programs, clocks and disks. `node`: the processes of a node.
//!   `course`: one run. `feed`: the feed of a live run. `checks`: what has to hold at its end.
//!
//! `HEQIS_MATRIX_SCHEDULES` and `HEQIS_MATRIX_SEED` choose how many schedules and from which seed on, `HEQIS_RUNTIME` another
//! program than the one that was built for the test; `./chaos matrix` sets them.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub
)]

mod checks;
mod course;
mod feed;
mod node;
mod schedule;
#[path = "../stand/mod.rs"]
mod stand;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use checks::Reference;
use course::{Course, Expected};
use heqis_test_harness::{Group, run as run_tests, tests};
use schedule::{Need, Schedule, Way};
use world::World;

/// Schedules when nothing else is asked for.
const SCHEDULES: u64 = 24;
/// Runs side by side.
const SIDE_BY_SIDE: usize = 2;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Undisturbed runs by live or not, small segments or not.
type References = BTreeMap<(bool, bool), Reference>;

fn undisturbed(world: &World) -> References {
    let mut references = References::new();
    for (way, sealed) in [
        (Way::Replay, false),
        (Way::Replay, true),
        (Way::Live, false),
        (Way::Live, true),
    ] {
        let schedule = Schedule::quiet(way, sealed);
        // A replay ends by itself; a feed has to know how many decisions there are.
        let mut expected = Expected::default();
        if let Some(reference) = references.get(&(false, sealed)) {
            expected.total = reference.expected.total;
        }
        let mut course = Course::new(&schedule, world, &expected);
        course.run().unwrap();
        assert!(course.problems.is_empty(), "{:#?}", course.problems);
        let reference = Reference::of(&course, world);
        assert!(reference.expected.total > 300);
        if let Some(replayed) = references.get(&(false, sealed)) {
            assert_eq!(reference.decided(), replayed.decided(), "live as replayed");
        }
        references.insert((way == Way::Live, sealed), reference);
    }
    references
}

/// What a schedule came to.
struct Done {
    took: Duration,
    exits: usize,
    failure: Option<String>,
}

fn run(schedule: &Schedule, world: &World, references: &References) -> Done {
    let begun = Instant::now();
    let reference = &references[&(schedule.way == Way::Live, schedule.sealed)];
    let mut course = Course::new(schedule, world, &reference.expected);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let stood_still = course.run().err();
        let mut problems = std::mem::take(&mut course.problems);
        problems.extend(match stood_still {
            Some(problem) => vec![problem],
            None => checks::problems(&course, reference),
        });
        problems
    }));
    let problems = ended.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        vec![format!("the test panicked: {}", text.unwrap_or_default())]
    });
    let exits = course.exits.len();
    let failure = (!problems.is_empty()).then(|| {
        let folder = course.keep();
        format!(
            "{schedule}\n  - {}\n  logs: {}\n  again: ./chaos matrix --schedules 1 --seed {}",
            problems.join("\n  - "),
            folder.display(),
            schedule.seed
        )
    });
    Done {
        took: begun.elapsed(),
        exits,
        failure,
    }
}

/// What the schedules of all tests share. Its lock lets one test run at a time.
static SHARED: LazyLock<Mutex<(World, References)>> = LazyLock::new(|| {
    let world = World::new();
    let begun = Instant::now();
    let references = undisturbed(&world);
    println!("undisturbed runs: {:.1} s", begun.elapsed().as_secs_f64());
    Mutex::new((world, references))
});

fn main() -> ExitCode {
    let disk = (!world::can_mount()).then(|| "this process may not mount a disk".to_owned());
    let clock = world::clock_library()
        .is_none()
        .then(|| "Debian's faketime is not installed".to_owned());
    run_tests([
        Group::always(tests![
            whatever_happens_to_the_nodes_the_journal_is_that_of_an_undisturbed_run
        ]),
        Group::needs(
            disk,
            tests![a_full_disk_leaves_the_journal_of_an_undisturbed_run],
        ),
        Group::needs(
            clock,
            tests![a_stepped_clock_leaves_the_journal_of_an_undisturbed_run],
        ),
    ])
}

fn whatever_happens_to_the_nodes_the_journal_is_that_of_an_undisturbed_run() {
    matrix(Need::Nothing);
}

fn a_full_disk_leaves_the_journal_of_an_undisturbed_run() {
    matrix(Need::Disk);
}

fn a_stepped_clock_leaves_the_journal_of_an_undisturbed_run() {
    matrix(Need::Clock);
}

/// Runs the schedules of the seeds that have this need; where no seed has it, the next one that does.
fn matrix(need: Need) {
    let (count, first) = (
        number("HEQIS_MATRIX_SCHEDULES", SCHEDULES),
        number("HEQIS_MATRIX_SEED", 1),
    );
    let needing = |seed| Some(Schedule::draw(seed)).filter(|schedule| schedule.need() == need);
    let mut schedules: Vec<Schedule> = (first..first + count).filter_map(needing).collect();
    if schedules.is_empty() {
        schedules.extend((first + count..).find_map(needing));
    }
    let count = schedules.len();
    let shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let (world, references) = &*shared;
    let begun = Instant::now();
    let (schedules, failures) = (Mutex::new(schedules.into_iter()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some(schedule) = schedules.lock().unwrap().next() else {
                return;
            };
            let done = run(&schedule, world, references);
            let (took, exits) = (done.took.as_secs_f64(), done.exits);
            match done.failure {
                None => println!("ok     {took:5.1} s, {exits} processes: {schedule}"),
                Some(failure) => {
                    println!("FAILED {took:5.1} s, {exits} processes: {failure}");
                    failures.lock().unwrap().push(failure);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for number in 0..SIDE_BY_SIDE {
            std::thread::Builder::new()
                .name(format!("runs-{number}"))
                .spawn_scoped(scope, work)
                .unwrap();
        }
    });
    let failures = failures.into_inner().unwrap();
    println!(
        "{count} schedules from seed {first} on, {} failed, {:.0} s",
        failures.len(),
        begun.elapsed().as_secs_f64()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
