//! Calls, one after another, with cache, pacing, retries, splitting and paging.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::json;

use crate::api::Api;
use crate::cache::{Cache, Entry};
use crate::call::Call;
use crate::error::FetchError;
use crate::http::Transport;
use crate::pace::{Backoff, Pace, SECOND_NS, WallClock};
use crate::progress::Progress;
use crate::reply::{Cell, Reply, rows};
use crate::token::Token;

/// Counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests sent, all attempts included.
    pub requests: u64,
    /// Replies taken from the cache.
    pub cached: u64,
    /// Rows after duplicates were removed.
    pub rows: u64,
    /// Duplicate rows removed.
    pub duplicates: u64,
    /// Spans of days split in two because their rows filled a page.
    pub splits: u64,
    /// Retries after a transport fault.
    pub retries: u64,
    /// Waits for the rate limit.
    pub rate_waits: u64,
    /// Corrupt cache entries, fetched again.
    pub corrupt: u64,
}

/// The client. Transport, clock and progress are parameters.
pub struct Client<'a> {
    /// Sends requests.
    pub transport: &'a dyn Transport,
    /// Gives the time and waits.
    pub clock: &'a dyn WallClock,
    /// Receives progress and notes for the user.
    pub progress: &'a Progress<'a>,
    /// The token of the account; a run that only reads the cache needs none.
    pub token: Option<Token>,
    /// The stored replies.
    pub cache: Cache,
    /// Whether to request everything again, even if cached.
    pub refresh: bool,
    /// The interval between requests.
    pub pace: Pace,
    /// The interval between attempts.
    pub backoff: Backoff,
    /// Largest number of attempts of one call, and of its waits for the rate limit.
    pub attempts: u32,
    /// The counts so far.
    pub counts: Counts,
    /// Calls whose reply lacks the day that it must reach.
    pub late: Vec<String>,
}

/// One page of a call.
struct Page {
    rows: Vec<Vec<Cell>>,
    /// Whether there may be further rows.
    is_full: bool,
    fetched_unix_s: u64,
}

/// Rows of a call, by unique key.
#[derive(Default)]
struct Rows {
    all: Vec<Vec<Cell>>,
    known: HashMap<String, usize>,
}

impl Client<'_> {
    /// Fetches all rows of a call. A span of days whose rows fill a page is split in two, recursively; any other call is
    /// fetched page by page.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when a request fails or a reply breaks a rule, [`FetchError::Data`] when the cache fails.
    pub fn fetch(&mut self, call: &Call) -> Result<Vec<Vec<Cell>>, FetchError> {
        let mut rows = Rows::default();
        let mut open = vec![call.clone()];
        while let Some(call) = open.pop() {
            let mut page = self.page(&call, 0, 0)?;
            if page.is_full
                && let Some([earlier, later]) = call.halves()
            {
                self.counts.splits += 1;
                open.extend([later, earlier]);
                continue;
            }
            if !call.is_reached(&page.rows) {
                self.late.push(call.to_string());
                let text = format!("{call}: no rows yet, the next run requests it again");
                self.progress.note(&text);
            }
            let mut offset = 0;
            loop {
                let (count, before) = (page.rows.len(), rows.all.len());
                self.counts.duplicates += rows.add(call.api, page.rows)?;
                if !page.is_full {
                    break;
                }
                if rows.all.len() == before {
                    let rule = "a further page must have new rows";
                    return Err(whole(call.api, "has_more", rule, "true"));
                }
                offset += count;
                // With an older page after a newer one, a row that moved between them could be missing.
                page = self.page(&call, offset, page.fetched_unix_s)?;
            }
        }
        self.counts.rows += rows.all.len() as u64;
        Ok(rows.all)
    }

    /// Returns one page that arrived no earlier than `not_before_s`, from the cache or the vendor.
    fn page(&mut self, call: &Call, offset: usize, not_before_s: u64) -> Result<Page, FetchError> {
        let api = call.api;
        let fields: Vec<&str> = api.fields.iter().map(|(name, _)| *name).collect();
        let fields = fields.join(",");
        let mut request =
            json!({"api_name": api.name, "params": call.params(offset), "fields": fields});
        let key = request.to_string();
        let is_whole = |page: &Page| offset > 0 || call.is_reached(&page.rows);
        match self.cache.get(api.name, &key)? {
            Entry::Valid {
                body,
                fetched_unix_s,
            } if !self.refresh
                && fetched_unix_s >= not_before_s
                && call.is_settled(fetched_unix_s) =>
            {
                if let Ok(reply) = serde_json::from_str(&body) {
                    let page = page(call, reply, fetched_unix_s)?;
                    if is_whole(&page) {
                        self.counts.cached += 1;
                        return Ok(page);
                    }
                }
            }
            Entry::Valid { .. } | Entry::Absent => {}
            Entry::Corrupt => {
                self.counts.corrupt += 1;
                let text = format!("corrupt cache entry, fetching again: {key}");
                self.progress.note(&text);
            }
        }
        let Some(token) = self.token.clone() else {
            return Err(FetchError::Setting {
                place: "token".into(),
                rule: format!(
                    "HEQIS_TUSHARE_TOKEN or --token-file must be given, since the cache lacks {call}"
                ),
            });
        };
        request["token"] = json!(token.reveal());
        let (body, reply) = self.request(api, &request.to_string(), &token)?;
        if body.contains(token.reveal()) {
            return Err(whole(
                api,
                "data",
                "a reply must not contain the token",
                "<token>",
            ));
        }
        let now_s = self.clock.now_ns() / SECOND_NS;
        let page = page(call, reply, now_s)?;
        if is_whole(&page) {
            self.cache.put(api.name, &key, &body, now_s)?;
        }
        Ok(page)
    }

    /// Sends a request until the vendor replies or the attempts are used up.
    fn request(
        &mut self,
        api: &'static Api,
        body: &str,
        token: &Token,
    ) -> Result<(String, Reply), FetchError> {
        let (mut failures, mut waits) = (0, 0);
        loop {
            self.pace.wait(self.clock);
            self.counts.requests += 1;
            let fault = match self.transport.post(body) {
                Ok((200, text)) => match serde_json::from_str::<Reply>(&text) {
                    Ok(reply) if reply.code == 0 => return Ok((text, reply)),
                    Ok(reply) => {
                        let msg = token.redact(&reply.msg.unwrap_or_default());
                        let (api, code) = (api.name, reply.code);
                        // The message of the rate limit also contains 权限 (permission), so it is checked first.
                        if code == 40203
                            && (msg.contains("每分钟最多访问") || msg.contains("频率超限"))
                        {
                            if waits >= self.attempts {
                                return Err(FetchError::RateLimit { api, waits, msg });
                            }
                            waits += 1;
                            self.counts.rate_waits += 1;
                            self.progress
                                .note(&format!("{api}: rate limit, waiting a minute"));
                            self.clock
                                .sleep_ns(60 * SECOND_NS + self.backoff.wait_ns(0));
                            continue;
                        }
                        return Err(match code {
                            2002 | 40203 => FetchError::Permission { api, code, msg },
                            _ => FetchError::Refused { api, code, msg },
                        });
                    }
                    Err(error) => token.redact(&format!("reply is not the expected JSON: {error}")),
                },
                Ok((status, _)) if status >= 500 || status == 429 || status == 408 => {
                    format!("HTTP status {status}")
                }
                Ok((status, _)) => {
                    return Err(FetchError::Refused {
                        api: api.name,
                        code: i64::from(status),
                        msg: "HTTP status".into(),
                    });
                }
                Err(reason) => token.redact(&reason),
            };
            failures += 1;
            if failures >= self.attempts {
                return Err(FetchError::Transport {
                    api: api.name,
                    attempts: failures,
                    reason: fault,
                });
            }
            self.counts.retries += 1;
            self.progress
                .note(&format!("{}: {fault}; trying again", api.name));
            self.clock.sleep_ns(self.backoff.wait_ns(failures - 1));
        }
    }
}

impl Rows {
    /// Adds rows and returns the number of duplicates.
    fn add(&mut self, api: &'static Api, rows: Vec<Vec<Cell>>) -> Result<u64, FetchError> {
        let mut duplicates = 0;
        for (number, row) in rows.into_iter().enumerate() {
            let key: Vec<String> = row[..api.key_fields].iter().map(Cell::to_text).collect();
            let key = key.join("\u{1f}");
            match self.known.get(&key) {
                None => {
                    self.known.insert(key, self.all.len());
                    self.all.push(row);
                }
                Some(first) if self.all[*first] == row => duplicates += 1,
                Some(_) => {
                    return Err(FetchError::Reply {
                        api: api.name,
                        row: number,
                        field: api.fields[0].0.to_owned(),
                        rule: "two rows of one key must be equal",
                        value: key.replace('\u{1f}', " "),
                    });
                }
            }
        }
        Ok(duplicates)
    }
}

/// Turns a reply into a page of a call and checks its rows.
fn page(call: &Call, reply: Reply, fetched_unix_s: u64) -> Result<Page, FetchError> {
    let api = call.api;
    let Some(data) = reply.data else {
        let rule = "must be in a reply without a fault";
        return Err(whole(api, "data", rule, "null"));
    };
    let rows = rows(api, &data)?;
    call.check(&rows)?;
    Ok(Page {
        is_full: data.has_more || rows.len() >= api.cap_rows,
        rows,
        fetched_unix_s,
    })
}

fn whole(api: &'static Api, field: &str, rule: &'static str, value: &str) -> FetchError {
    FetchError::Reply {
        api: api.name,
        row: 0,
        field: field.to_owned(),
        rule,
        value: value.to_owned(),
    }
}
