//! The client over real sockets: transport faults.

use std::time::Duration;

use heqis_fetch::FetchError;
use heqis_fetch::api;
use heqis_fetch::call::{Call, Selection};
use heqis_fetch::http::Http;
use heqis_quant::Date;

use crate::vendor::{Fault, Server, market};
use crate::world::{fetch_error, files_in, later, with_client};

fn one_day() -> Call {
    let day = Date::parse("20160817").unwrap();
    let selection = Selection {
        day: Some(day),
        ..Selection::default()
    };
    Call::new(&api::DAILY, selection, day)
}

#[test]
fn every_transport_fault_is_retried_and_leaves_no_files() {
    let faults = [
        Fault::Status(500),
        Fault::Status(502),
        Fault::Status(503),
        Fault::Status(429),
        Fault::Truncated,
        Fault::Unended,
        Fault::Closed,
        Fault::Malformed,
    ];
    for fault in faults {
        let server = Server::start(market(), [Some(fault)]);
        let http = Http::new(&server.url(), Duration::from_secs(60)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ((rows, counts), notes) = with_client(&http, &later(), folder.path(), |client| {
            (client.fetch(&one_day()), client.counts)
        });
        assert_eq!(rows.unwrap().len(), 3, "{fault:?}");
        assert_eq!((counts.requests, counts.retries), (2, 1), "{fault:?}");
        assert!(notes.contains("trying again"), "{fault:?}: {notes}");
        assert_eq!(files_in(&folder.path().join("daily")).len(), 1, "{fault:?}");
    }
}

#[test]
fn a_silent_vendor_is_an_error_after_the_timeout() {
    for fault in [Fault::Silent, Fault::Stalled] {
        let server = Server::start(market(), [Some(fault), Some(fault), None]);
        let http = Http::new(&server.url(), Duration::from_millis(50)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (result, _) = with_client(&http, &later(), folder.path(), |client| {
            client.attempts = 2;
            client.fetch(&one_day())
        });
        let error = fetch_error(result);
        assert!(
            matches!(&error, FetchError::Transport { attempts: 2, reason, .. } if reason.contains("timeout")),
            "{fault:?}: {error}"
        );
        assert!(files_in(folder.path()).is_empty());
        // In the next run the vendor replies.
        let http = Http::new(&server.url(), Duration::from_secs(60)).unwrap();
        let (rows, _) = with_client(&http, &later(), folder.path(), |client| {
            client.fetch(&one_day())
        });
        assert_eq!(rows.unwrap().len(), 3);
    }
}

#[test]
fn a_slow_reply_is_read_completely() {
    let server = Server::start(market(), [Some(Fault::Trickled)]);
    let http = Http::new(&server.url(), Duration::from_secs(60)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (rows, _) = with_client(&http, &later(), folder.path(), |client| {
        client.fetch(&one_day())
    });
    assert_eq!(rows.unwrap().len(), 3);
    assert_eq!(server.received().len(), 1);
}

#[test]
fn redirects_are_refused_and_not_followed() {
    let server = Server::start(market(), [Some(Fault::Redirect)]);
    let http = Http::new(&server.url(), Duration::from_secs(60)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (result, _) = with_client(&http, &later(), folder.path(), |client| {
        client.fetch(&one_day())
    });
    let error = fetch_error(result);
    assert!(
        matches!(error, FetchError::Refused { code: 307, .. }),
        "{error}"
    );
    assert_eq!(server.received().len(), 1);
}
