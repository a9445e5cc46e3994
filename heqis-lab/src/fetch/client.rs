//! One call after another: cache, pace, retry, paging.

use std::collections::HashMap;
use std::time::Duration;

use heqis_quant::Date;
use serde::Serialize;
use serde_json::json;

use super::api::Api;
use super::cache::{Cache, Entry};
use super::error::FetchError;
use super::pace::{Backoff, Clock, Pace, SECOND_NS};
use super::reply::{Cell, Reply, rows};
use super::token::Token;
use crate::error::LabError;

/// Carries one request to the vendor.
pub trait Transport {
    /// Posts a JSON body and returns status and text.
    ///
    /// # Errors
    ///
    /// Says why no whole reply came.
    fn post(&self, body: &str) -> Result<(u16, String), String>;
}

/// Plain HTTP/1.1, one base URL.
#[derive(Debug)]
pub struct Http {
    agent: ureq::Agent,
    url: String,
}

impl Http {
    /// Makes a carrier that waits at most `timeout_s` for a whole reply. Redirects are not followed: the token goes
    /// nowhere but to the base URL.
    #[must_use]
    pub fn new(url: &str, timeout_s: u64) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(timeout_s)))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build();
        Self {
            agent: config.new_agent(),
            url: url.to_owned(),
        }
    }
}

impl Transport for Http {
    fn post(&self, body: &str) -> Result<(u16, String), String> {
        let mut reply = self
            .agent
            .post(&self.url)
            .header("content-type", "application/json")
            .send(body)
            .map_err(|error| error.to_string())?;
        let text = reply
            .body_mut()
            .with_config()
            .limit(256 << 20)
            .read_to_string()
            .map_err(|error| error.to_string())?;
        Ok((reply.status().as_u16(), text))
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests sent, each attempt counted.
    pub requests: u64,
    /// Replies taken from the cache.
    pub cached: u64,
    /// Rows after duplicates were removed.
    pub rows: u64,
    /// Rows removed because they came twice.
    pub duplicates: u64,
    /// Attempts repeated after a transport fault.
    pub retries: u64,
    /// Waits for the vendor's rate limit.
    pub rate_waits: u64,
    /// Cache entries found corrupt and fetched again.
    pub corrupt: u64,
}

/// The client. The world (carrier, clock, notes) is handed in.
pub struct Client<'a> {
    /// Carries requests.
    pub transport: &'a dyn Transport,
    /// Tells the time and waits.
    pub clock: &'a dyn Clock,
    /// Takes notes for the person who watches.
    pub note: &'a dyn Fn(&str),
    /// The account's secret; a run that finds everything in the cache needs none.
    pub token: Option<Token>,
    /// Where replies are kept.
    pub cache: Cache,
    /// Spaces calls.
    pub pace: Pace,
    /// Spaces attempts.
    pub backoff: Backoff,
    /// Attempts of one call, and waits for the rate limit in one call, before giving up.
    pub attempts: u32,
    /// What was done so far.
    pub counts: Counts,
}

/// Named parameters of a call.
pub type Params<'p> = &'p [(&'p str, String)];

impl Client<'_> {
    /// Fetches all rows of a call, page by page. `last_day` is the latest day that the rows may belong to: a reply kept
    /// from before that day was over is fetched again.
    ///
    /// # Errors
    ///
    /// [`LabError::Fetch`] as its variants tell, [`LabError::File`] when the cache fails.
    pub fn fetch(
        &mut self,
        api: &'static Api,
        params: Params<'_>,
        last_day: Option<Date>,
    ) -> Result<Vec<Vec<Cell>>, LabError> {
        let mut all: Vec<Vec<Cell>> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut offset = 0;
        loop {
            let mut asked: Vec<(&str, String)> = params.to_vec();
            if offset > 0 {
                asked.push(("offset", offset.to_string()));
            }
            let reply = self.page(api, &asked, last_day)?;
            let Some(data) = reply.data else {
                return Err(
                    whole(api, "data", "a reply without a fault must have it", "null").into(),
                );
            };
            let page = rows(api, &data)?;
            let (count, before) = (page.len(), all.len());
            for (number, row) in page.into_iter().enumerate() {
                check_asked(api, number, &row, params)?;
                let key: Vec<String> = row[..api.key_fields].iter().map(Cell::to_text).collect();
                let key = key.join("\u{1f}");
                match known.get(&key) {
                    None => {
                        known.insert(key, all.len());
                        all.push(row);
                    }
                    Some(first) if all[*first] == row => self.counts.duplicates += 1,
                    Some(_) => {
                        return Err(FetchError::Reply {
                            api: api.name,
                            row: number,
                            field: api.fields[0].0.to_owned(),
                            rule: "two rows of one key must be equal",
                            value: key.replace('\u{1f}', " "),
                        }
                        .into());
                    }
                }
            }
            if !data.has_more && count < api.cap_rows {
                break;
            }
            if all.len() == before && (data.has_more || count > 0) {
                return Err(whole(
                    api,
                    "has_more",
                    "a further page must bring new rows",
                    "true",
                )
                .into());
            }
            offset += count;
        }
        self.counts.rows += all.len() as u64;
        Ok(all)
    }

    /// Returns one page, from the cache or the vendor.
    fn page(
        &mut self,
        api: &'static Api,
        params: Params<'_>,
        last_day: Option<Date>,
    ) -> Result<Reply, LabError> {
        let fields: Vec<&str> = api.fields.iter().map(|(name, _)| *name).collect();
        let params: serde_json::Map<String, serde_json::Value> = params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let mut request =
            json!({"api_name": api.name, "params": params, "fields": fields.join(",")});
        let key = request.to_string();
        match self.cache.get(api.name, &key)? {
            Entry::Whole {
                body,
                fetched_unix_s,
            } if is_final(fetched_unix_s, last_day) => {
                if let Ok(reply) = serde_json::from_str(&body) {
                    self.counts.cached += 1;
                    return Ok(reply);
                }
            }
            Entry::Whole { .. } | Entry::Absent => {}
            Entry::Corrupt => {
                self.counts.corrupt += 1;
                (self.note)(&format!(
                    "corrupt cache entry set aside, fetching again: {key}"
                ));
            }
        }
        let Some(token) = self.token.clone() else {
            return Err(FetchError::Setting {
                place: "token".into(),
                rule: "HEQIS_TUSHARE_TOKEN or --token-file must be given, since the cache lacks a reply".into(),
            }
            .into());
        };
        request["token"] = json!(token.reveal());
        let (body, reply) = self.ask(api, &request.to_string(), &token)?;
        if body.contains(token.reveal()) {
            return Err(whole(api, "data", "a reply must not hold the token", "<token>").into());
        }
        // A day that is still empty may only be late: it must be asked for again.
        if reply
            .data
            .as_ref()
            .is_some_and(|data| !data.items.is_empty())
            || last_day.is_none_or(|day| is_final(self.clock.now_ns() / SECOND_NS, Some(day)))
        {
            let now_s = self.clock.now_ns() / SECOND_NS;
            self.cache.put(api.name, &key, &body, now_s)?;
        }
        Ok(reply)
    }

    /// Asks the vendor until there is an answer that settles the call.
    fn ask(
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
                        // The words for the limit also speak of 权限, so they are looked for first.
                        if code == 40203
                            && (msg.contains("每分钟最多访问") || msg.contains("频率超限"))
                        {
                            if waits >= self.attempts {
                                return Err(FetchError::RateLimit { api, waits, msg });
                            }
                            waits += 1;
                            self.counts.rate_waits += 1;
                            (self.note)(&format!("{api}: rate limit, waiting a minute"));
                            self.clock
                                .sleep_ns(60 * SECOND_NS + self.backoff.wait_ns(0));
                            continue;
                        }
                        return Err(match code {
                            2002 | 40203 => FetchError::Permission { api, code, msg },
                            _ => FetchError::Refused { api, code, msg },
                        });
                    }
                    Err(error) => token.redact(&format!("reply is not the JSON expected: {error}")),
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
            (self.note)(&format!("{}: {fault}; trying again", api.name));
            self.clock.sleep_ns(self.backoff.wait_ns(failures - 1));
        }
    }
}

/// Whether a reply that came at a time can still change: it can while the last day it covers is not over in China.
fn is_final(fetched_unix_s: u64, last_day: Option<Date>) -> bool {
    let Some(day) = last_day else { return true };
    // The close is at 15:00; the day is over nine hours later.
    let over_s = day.close_time_ns() / 1_000_000_000 + 9 * 3600;
    i64::try_from(fetched_unix_s).is_ok_and(|fetched| fetched >= over_s)
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

/// A row must be of the code and day that were asked for.
fn check_asked(
    api: &'static Api,
    number: usize,
    row: &[Cell],
    params: Params<'_>,
) -> Result<(), FetchError> {
    for (name, asked) in params {
        let Some(place) = api.fields.iter().position(|(field, _)| field == name) else {
            continue;
        };
        // Ranges of start_date and end_date mean other columns.
        if !matches!(*name, "ts_code" | "trade_date" | "list_status") {
            continue;
        }
        let got = row[place].to_text();
        if got != *asked {
            return Err(FetchError::Reply {
                api: api.name,
                row: number,
                field: (*name).to_owned(),
                rule: "must be what was asked for",
                value: format!("{got} instead of {asked}"),
            });
        }
    }
    Ok(())
}
