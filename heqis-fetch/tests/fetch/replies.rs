//! How the client treats replies: pages, refusals, faults, rows that break a rule.

use std::path::Path;

use heqis_fetch::FetchError;
use heqis_fetch::api;
use heqis_fetch::call::{Call, Selection};
use heqis_fetch::client::Counts;
use heqis_fetch::pace::{SECOND_NS, WallClock};
use heqis_fetch::token::Token;
use heqis_quant::{Date, Span, Symbol};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{
    Script, Still, TOKEN, fetch_error, files_in, later, refused, script, table, with_client,
};

fn ok(rows: Value, has_more: bool) -> Result<(u16, String), String> {
    table(&["ts_code", "trade_date", "adj_factor"], &rows, has_more)
}

fn day(text: &str) -> Date {
    Date::parse(text).unwrap()
}

/// One day of `adj_factor`.
fn one_day() -> Call {
    let selection = Selection {
        day: Some(day("20160817")),
        ..Selection::default()
    };
    Call::new(&api::ADJ_FACTOR, selection, day("20160817"))
}

/// Fetches one day of `adj_factor` and returns the result, the counts and the notes.
fn fetch(
    script: &Script,
    clock: &Still,
    folder: &Path,
) -> (Result<usize, FetchError>, Counts, String) {
    let ((rows, counts), notes) = with_client(script, clock, folder, |client| {
        let rows = client.fetch(&one_day()).map(|rows| rows.len());
        (rows, client.counts)
    });
    (rows, counts, notes)
}

#[test]
fn pages_are_followed_duplicates_are_dropped_and_the_second_run_sends_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let pages = [
        ok(
            json!([
                ["600000.SH", "20160817", 7.5],
                ["600001.SH", "20160817", 1.0]
            ]),
            true,
        ),
        ok(
            json!([
                ["600001.SH", "20160817", 1.0],
                ["600002.SH", "20160817", 2.0]
            ]),
            false,
        ),
    ];
    let vendor = script(pages);
    let (rows, counts, _) = fetch(&vendor, &later(), folder.path());
    assert_eq!(
        (rows.unwrap(), counts.requests, counts.duplicates),
        (3, 2, 1)
    );
    let requests = vendor.requests.borrow();
    assert_eq!(
        requests[1]["params"],
        json!({ "trade_date": "20160817", "offset": "2" })
    );
    assert_eq!(requests[0]["fields"], "ts_code,trade_date,adj_factor");
    let offline = script([]);
    let (rows, counts, _) = fetch(&offline, &later(), folder.path());
    assert_eq!((rows.unwrap(), counts.requests, counts.cached), (3, 0, 2));
}

#[test]
fn after_a_rate_limit_the_client_waits_a_minute_and_continues() {
    let folder = tempfile::tempdir().unwrap();
    let limit = refused(
        40203,
        "抱歉，您每分钟最多访问该接口500次，权限的具体详情访问",
    );
    let vendor = script([limit, ok(json!([["600000.SH", "20160817", 7.5]]), false)]);
    let clock = later();
    let begun = clock.now_ns();
    let (rows, counts, _) = fetch(&vendor, &clock, folder.path());
    assert_eq!((rows.unwrap(), counts.rate_waits), (1, 1));
    assert!(clock.now_ns() - begun >= 60 * SECOND_NS);
}

#[test]
fn a_missing_permission_is_final() {
    let refusals = [
        (40203, "抱歉，您没有接口访问权限，权限的具体详情访问"),
        (2002, "权限不足"),
    ];
    for (code, msg) in refusals {
        let folder = tempfile::tempdir().unwrap();
        let vendor = script([refused(code, msg)]);
        let (result, counts, _) = fetch(&vendor, &later(), folder.path());
        let error = fetch_error(result);
        assert!(matches!(error, FetchError::Permission { .. }), "{error}");
        assert_eq!(counts.requests, 1, "not retried");
    }
    let folder = tempfile::tempdir().unwrap();
    let vendor = script([refused(40001, "参数校验失败")]);
    let error = fetch_error(fetch(&vendor, &later(), folder.path()).0);
    assert!(matches!(error, FetchError::Refused { .. }), "{error}");
}

#[test]
fn transport_faults_are_retried_a_limited_number_of_times() {
    let folder = tempfile::tempdir().unwrap();
    let broken = [
        Err("connection reset".to_owned()),
        Ok((503, "busy".to_owned())),
        Ok((200, "{\"code\": 0, \"data\": {\"fie".to_owned())),
        ok(json!([["600000.SH", "20160817", 7.5]]), false),
    ];
    let clock = later();
    let begun = clock.now_ns();
    let (rows, counts, notes) = fetch(&script(broken), &clock, folder.path());
    assert_eq!((rows.unwrap(), counts.retries), (1, 3));
    assert!(
        notes.contains("connection reset") && notes.contains("503"),
        "{notes}"
    );
    // 1 s, 2 s and 4 s, each at least half.
    assert!(clock.now_ns() - begun >= 7 * SECOND_NS / 2);
    let folder = tempfile::tempdir().unwrap();
    let down = (0..4).map(|_| Err("connection refused".to_owned()));
    let (result, counts, _) = fetch(&script(down), &later(), folder.path());
    let error = fetch_error(result);
    assert!(
        matches!(error, FetchError::Transport { attempts: 4, .. }),
        "{error}"
    );
    assert_eq!(counts.requests, 4);
}

#[test]
fn replies_that_break_a_rule_are_errors_with_field_and_value() {
    let faults = [
        (json!([["600000.SH", "20160817", "seven"]]), "adj_factor"),
        (json!([["600000.SH", "2016-13-17", 7.5]]), "trade_date"),
        (json!([["600000.SH", "20160818", 7.5]]), "trade_date"),
        (
            json!([
                ["600000.SH", "20160817", 7.5],
                ["600000.SH", "20160817", 7.6]
            ]),
            "ts_code",
        ),
    ];
    for (rows, field) in faults {
        let folder = tempfile::tempdir().unwrap();
        let (result, _, _) = fetch(&script([ok(rows.clone(), false)]), &later(), folder.path());
        let text = fetch_error(result).to_string();
        assert!(
            text.contains(field) && text.contains("adj_factor"),
            "{rows}: {text}"
        );
    }
}

#[test]
fn a_token_echoed_by_the_vendor_does_not_appear_in_errors_notes_or_cache() {
    let folder = tempfile::tempdir().unwrap();
    let echo = refused(2002, &format!("token {TOKEN} lacks the permission"));
    let (result, _, notes) = fetch(&script([echo]), &later(), folder.path());
    let text = format!("{0} {0:?} {notes}", fetch_error(result));
    assert!(!text.contains(TOKEN), "{text}");
    let broken = (0..4).map(|_| Err(format!("proxy says {TOKEN}")));
    let (result, _, notes) = fetch(&script(broken), &later(), folder.path());
    let text = format!("{0} {0:?} {notes}", fetch_error(result));
    assert!(!text.contains(TOKEN), "{text}");
    // Where a number is expected, the message of the decoder quotes the value found.
    let mistyped = json!({ "code": TOKEN }).to_string();
    let replies = (0..4).map(|_| Ok((200, mistyped.clone())));
    let (result, _, notes) = fetch(&script(replies), &later(), folder.path());
    let text = format!("{0} {0:?} {notes}", fetch_error(result));
    assert!(!text.contains(TOKEN), "{text}");
    assert!(!format!("{0} {0:?}", Token::parse(TOKEN, "test").unwrap()).contains(TOKEN));
}

#[test]
fn an_endless_rate_limit_is_an_error_and_after_a_used_up_daily_quota_there_is_no_wait() {
    let folder = tempfile::tempdir().unwrap();
    let limit = || refused(40203, "抱歉，您的访问频率超限(200次/分钟)");
    let clock = later();
    let begun = clock.now_ns();
    let (result, counts, _) = fetch(
        &script([limit(), limit(), limit(), limit(), limit()]),
        &clock,
        folder.path(),
    );
    let error = fetch_error(result);
    assert!(
        matches!(error, FetchError::RateLimit { waits: 4, .. }),
        "{error}"
    );
    assert_eq!((counts.requests, counts.rate_waits), (5, 4));
    assert!(clock.now_ns() - begun >= 240 * SECOND_NS);
    let day_is_over = refused(40203, "抱歉，您每天最多访问该接口100次，权限的具体详情访问");
    let clock = later();
    let begun = clock.now_ns();
    let (result, counts, _) = fetch(&script([day_is_over]), &clock, folder.path());
    let error = fetch_error(result);
    assert!(matches!(error, FetchError::Permission { .. }), "{error}");
    assert_eq!((counts.requests, clock.now_ns()), (1, begun));
}

#[test]
fn rows_of_another_code_day_exchange_or_span_are_errors_and_not_cached() {
    let span = Span::new(day("20160801"), day("20160831")).unwrap();
    let by_code = Selection {
        code: Some(Symbol::parse("600000.SH").unwrap()),
        span: Some(span),
        ..Selection::default()
    };
    let calendar = Selection {
        exchange: Some("SSE"),
        span: Some(span),
        ..Selection::default()
    };
    let factors = ["ts_code", "trade_date", "adj_factor"];
    let days = ["exchange", "cal_date", "is_open", "pretrade_date"];
    let faults = [
        (
            Call::new(&api::ADJ_FACTOR, by_code, span.to),
            table(&factors, &json!([["600000.SH", "20160731", 1.0]]), false),
            "adj_factor row 0, field trade_date: must be the requested value, got 20160731 instead of a day from 20160801 to 20160831",
        ),
        (
            Call::new(&api::ADJ_FACTOR, by_code, span.to),
            table(
                &factors,
                &json!([
                    ["600000.SH", "20160831", 1.0],
                    ["600000.SH", "20160901", 1.0]
                ]),
                false,
            ),
            "row 1, field trade_date",
        ),
        (
            Call::new(&api::ADJ_FACTOR, by_code, span.to),
            table(&factors, &json!([["600001.SH", "20160817", 1.0]]), false),
            "field ts_code: must be the requested value, got 600001.SH instead of 600000.SH",
        ),
        (
            Call::new(&api::TRADE_CAL, calendar, span.to),
            table(&days, &json!([["SSE", "20170101", 0, null]]), false),
            "field cal_date",
        ),
        (
            Call::new(&api::TRADE_CAL, calendar, span.to),
            table(&days, &json!([["SZSE", "20160817", 1, null]]), false),
            "field exchange",
        ),
        (
            one_day(),
            table(&factors, &json!([["600000.SH", "20160818", 1.0]]), false),
            "got 20160818 instead of 20160817",
        ),
    ];
    for (call, reply, words) in faults {
        let folder = tempfile::tempdir().unwrap();
        let (result, _) = with_client(&script([reply]), &later(), folder.path(), |client| {
            client.fetch(&call)
        });
        let text = fetch_error(result).to_string();
        assert!(text.contains(words), "{words}: {text}");
        assert!(files_in(folder.path()).is_empty(), "{words}");
    }
}

#[test]
fn replies_that_are_not_tables_are_errors() {
    let body = |data: Value| {
        let reply = json!({ "request_id": "r", "code": 0, "msg": null, "data": data });
        Ok((200, reply.to_string()))
    };
    let factors = json!(["ts_code", "trade_date", "adj_factor"]);
    let faults = [
        (body(Value::Null), "field data"),
        (
            body(
                json!({ "fields": ["ts_code", "trade_date"], "items": [["600000.SH", "20160817"]] }),
            ),
            "field adj_factor: must be in the reply",
        ),
        (
            body(json!({ "fields": factors, "items": [["600000.SH", "20160817"]] })),
            "a row must have a cell for each field, got 2 cells",
        ),
        (
            body(json!({ "fields": factors, "items": [["600000", "20160817", 1.0]] })),
            "field ts_code: must be a code",
        ),
        (
            body(json!({ "fields": factors, "items": [["600000.SH", "20160817", null]] })),
            "field adj_factor: must be a number",
        ),
        (
            ok(json!([]), true),
            "field has_more: a further page must have new rows",
        ),
    ];
    for (reply, words) in faults {
        let folder = tempfile::tempdir().unwrap();
        let (result, _, _) = fetch(&script([reply]), &later(), folder.path());
        let text = fetch_error(result).to_string();
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_vendor_that_ignores_the_offset_is_detected() {
    let folder = tempfile::tempdir().unwrap();
    let page = || ok(json!([["600000.SH", "20160817", 7.5]]), true);
    let (result, counts, _) = fetch(&script([page(), page()]), &later(), folder.path());
    let text = fetch_error(result).to_string();
    assert!(text.contains("has_more"), "{text}");
    assert_eq!(counts.requests, 2);
}

#[test]
fn statuses_of_permanent_faults_are_final() {
    for status in [301, 400, 401, 403, 404] {
        let folder = tempfile::tempdir().unwrap();
        let (result, counts, _) = fetch(
            &script([Ok((status, String::new()))]),
            &later(),
            folder.path(),
        );
        let error = fetch_error(result);
        assert!(matches!(error, FetchError::Refused { .. }), "{error}");
        assert_eq!(counts.requests, 1);
    }
}

proptest! {
    #[test]
    fn no_reply_makes_the_client_panic(body in ".{0,200}", code in any::<i64>(), cell in "[^\"\\\\]{0,12}") {
        let folder = tempfile::tempdir().unwrap();
        let replies = std::iter::repeat_n(Ok((200, body)), 4);
        let (result, _, _) = fetch(&script(replies), &later(), folder.path());
        prop_assert!(result.is_err());
        let (result, _, _) = fetch(&script([refused(code, &cell)]), &later(), folder.path());
        // Code 0 without a table is also an error.
        prop_assert!(result.is_err());
        let row = json!([[cell, "20160817", 1.0]]);
        let (result, _, _) = fetch(&script([ok(row, false)]), &later(), folder.path());
        prop_assert!(result.is_err() || Symbol::parse(&cell).is_ok());
    }
}
