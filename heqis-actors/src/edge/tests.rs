//! Policies and books of an edge.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use heqis_core::Head;
use heqis_core::{Key, Origin};

/// A payload without content.
#[derive(heqis_derive::Payload)]
#[payload(local)]
struct Blank;

fn frame(position: u64, key: Key) -> AnyFrame {
    let origin = Origin {
        stream: 0,
        position,
    };
    AnyFrame::new(Head::new(origin, key, 0), Blank)
}

fn edge_of(options: EdgeOptions, producers: usize) -> Arc<Edge> {
    let metrics = Metrics::new("test");
    Edge::new("a->b", EdgeSide::Local, options, 1, producers, &metrics)
}

fn name(frame: &AnyFrame) -> (u64, Key) {
    (frame.head().origin.position, frame.head().key)
}

#[derive(Clone, Debug)]
enum Act {
    Push(Key),
    Pop,
    Done,
    Drop,
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0u128..4).prop_map(Act::Push),
        4 => Just(Act::Pop),
        2 => Just(Act::Done),
        1 => Just(Act::Drop),
    ]
}

/// The frames dropped, with their cause, or `None` when the producer is turned away.
type Expected = Option<Vec<((u64, Key), DropCause)>>;

/// What each policy does, on a plain list.
fn expected(
    queue: &mut VecDeque<(u64, Key)>,
    new: (u64, Key),
    policy: Policy,
    capacity: usize,
) -> Expected {
    let same_key = queue.iter().position(|(_, key)| *key == new.1);
    if policy == Policy::Conflate
        && let Some(at) = same_key
    {
        // The newer value takes the place of the older one.
        let older = std::mem::replace(&mut queue[at], new);
        return Some(vec![(older, DropCause::Superseded)]);
    }
    let full = queue.len() == capacity;
    let cause = if policy == Policy::Latest {
        DropCause::Superseded
    } else {
        DropCause::Capacity
    };
    match policy {
        Policy::Block if full => return None,
        Policy::DropNewest if full => return Some(vec![(new, DropCause::Capacity)]),
        _ => {}
    }
    let oldest = if full { queue.pop_front() } else { None };
    queue.push_back(new);
    Some(oldest.into_iter().map(|lost| (lost, cause)).collect())
}

proptest! {
    #[test]
    fn every_policy_drops_what_it_says_and_its_books_close_after_every_step(
        policy in prop::sample::select(vec![
            Policy::Block, Policy::DropOldest, Policy::DropNewest, Policy::Latest, Policy::Conflate,
        ]),
        capacity in 1usize..6,
        acts in prop::collection::vec(acts(), 0..80),
    ) {
        let options = EdgeOptions::new().policy(policy).capacity(capacity);
        let edge = edge_of(options, 1);
        let capacity = if policy == Policy::Latest { 1 } else { capacity };
        let (mut queue, mut in_process) = (VecDeque::new(), Vec::new());
        let mut lost: BTreeMap<DropCause, u64> = BTreeMap::new();
        let (mut sent, mut delivered) = (0, 0);
        for (position, act) in (1u64..).zip(acts) {
            match act {
                Act::Push(key) => {
                    let taken = edge.push(frame(position, key)).is_ok();
                    let expected = expected(&mut queue, (position, key), policy, capacity);
                    prop_assert_eq!(taken, expected.is_some());
                    sent += u64::from(taken);
                    for (_, cause) in expected.into_iter().flatten() {
                        *lost.entry(cause).or_default() += 1;
                    }
                }
                Act::Pop => match (edge.pop(0, 0), queue.pop_front()) {
                    (Pop::Frame(frame), Some(expected)) => {
                        prop_assert_eq!(name(&frame), expected);
                        in_process.push(frame);
                    }
                    (Pop::Empty, None) => {}
                    (_, expected) => prop_assert!(false, "expected {:?}", expected),
                },
                Act::Done => {
                    if in_process.pop().is_some() {
                        edge.done(FrameOutcome::Delivered, 1);
                        delivered += 1;
                    }
                }
                Act::Drop => {
                    if let Some(frame) = in_process.pop() {
                        edge.drop_popped(frame, DropCause::StageFailed);
                        *lost.entry(DropCause::StageFailed).or_default() += 1;
                    }
                }
            }
            let report = edge.report();
            prop_assert!(report.closes(), "{:?}", report);
            prop_assert_eq!(edge.queued(), queue.len());
            prop_assert!(queue.len() <= capacity);
            prop_assert_eq!(report.in_flight as usize, queue.len() + in_process.len());
            prop_assert_eq!((report.sent, report.delivered), (sent, delivered));
            prop_assert_eq!(&report.dropped, &lost);
        }
        edge.abandon();
        in_process.into_iter().for_each(|frame| edge.drop_popped(frame, DropCause::Shutdown));
        let report = edge.report();
        prop_assert!(report.closes() && report.in_flight == 0, "{:?}", report);
    }
}

#[test]
fn a_frame_exactly_at_the_age_limit_is_delivered_and_one_beyond_is_not() {
    let options = EdgeOptions::new().max_age(Duration::from_nanos(100));
    let edge = edge_of(options, 1);
    for position in 1..=2 {
        assert!(edge.push(frame(position, 0)).is_ok());
    }
    assert!(matches!(edge.pop(0, 100), Pop::Frame(_)));
    assert!(matches!(edge.pop(0, 101), Pop::Empty));
    assert_eq!(edge.report().dropped[&DropCause::Age], 1);
}

#[test]
fn a_frame_for_a_consumer_that_is_gone_is_dropped_and_never_turned_away() {
    for policy in Policy::ALL {
        let options = EdgeOptions::new().policy(policy).capacity(1);
        let metrics = Metrics::new("test");
        let edge = Edge::new("a->b", EdgeSide::Local, options, 1, 1, &metrics);
        assert!(edge.push(frame(1, 0)).is_ok());
        edge.abandon();
        assert!((2..=4).all(|position| edge.push(frame(position, 0)).is_ok()));
        let report = edge.report();
        assert_eq!((report.sent, report.in_flight), (4, 0), "{report:?}");
        assert_eq!(report.dropped[&DropCause::Shutdown], 4);
    }
}

#[test]
fn an_edge_is_complete_only_when_every_producer_was() {
    for (endings, expected) in [
        ([Ending::Complete, Ending::Complete], Ending::Complete),
        ([Ending::Left, Ending::Complete], Ending::Left),
        ([Ending::Complete, Ending::Left], Ending::Left),
    ] {
        let options = EdgeOptions::default();
        let edge = edge_of(options, 2);
        for ending in endings {
            edge.end_producer(ending);
        }
        assert!(matches!(edge.pop(0, 0), Pop::Ended(ending) if ending == expected));
    }
}

#[test]
fn consumers_find_the_end_after_the_last_frame_of_the_last_producer() {
    let options = EdgeOptions::default();
    let edge = edge_of(options, 2);
    edge.end_producer(Ending::Complete);
    assert!(matches!(edge.pop(0, 0), Pop::Empty));
    assert!(edge.push(frame(1, 0)).is_ok());
    edge.end_producer(Ending::Complete);
    assert!(matches!(edge.pop(0, 0), Pop::Frame(_)));
    assert!(matches!(edge.pop(0, 0), Pop::Ended(Ending::Complete)));
}
