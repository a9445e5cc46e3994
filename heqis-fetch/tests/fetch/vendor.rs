//! A simulated vendor with the real protocol: requested fields, newest rows first, pages up to a cap, business errors with
//! HTTP status 200. It replies in process as a [`Transport`], or over real sockets as a [`Server`].
#![allow(dead_code, reason = "each test file uses a part")]

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use heqis_fetch::http::Transport;
use heqis_quant::Date;
use serde_json::{Value, json};

use crate::world::TOKEN;

pub(crate) struct Stock {
    pub(crate) code: &'static str,
    pub(crate) name: &'static str,
    pub(crate) status: &'static str,
    pub(crate) list_date: &'static str,
    pub(crate) delist_date: Option<&'static str>,
}

/// The data of the vendor. Monday to Friday are open days.
pub(crate) struct Market {
    pub(crate) stocks: Vec<Stock>,
    pub(crate) others: Vec<&'static str>,
    /// The last day with published bars.
    pub(crate) published: &'static str,
    /// Code and day of suspensions.
    pub(crate) suspended: Vec<(&'static str, &'static str)>,
    /// Code, ex-right day and cash in CNY for each share.
    pub(crate) dividends: Vec<(&'static str, &'static str, f64)>,
    /// Largest number of rows in a reply.
    pub(crate) cap_rows: usize,
    /// Whether a reply reports that more rows follow; some interfaces do not.
    pub(crate) reports_more: bool,
}

pub(crate) fn market() -> Market {
    let stock = |code, name| Stock {
        code,
        name,
        status: "L",
        list_date: "19991110",
        delist_date: None,
    };
    Market {
        stocks: vec![
            stock("600000.SH", "浦发银行"),
            stock("002032.SZ", "苏泊尔"),
            stock("000002.SZ", "万  科Ａ"),
            Stock {
                status: "D",
                delist_date: Some("20060120"),
                ..stock("600001.SH", "邯郸钢铁")
            },
        ],
        others: vec!["000300.SH", "510300.SH"],
        published: "20991231",
        suspended: Vec::new(),
        dividends: Vec::new(),
        cap_rows: 6000,
        reports_more: true,
    }
}

fn compact(day: i32) -> String {
    Date::from_days(day).unwrap().to_string().replace('-', "")
}

impl Market {
    /// Returns the reply to a request.
    pub(crate) fn answer(&self, request: &Value) -> Value {
        if request["token"] != TOKEN {
            return json!({ "request_id": "r", "code": 40101, "msg": "您的token不对，请确认。", "data": null });
        }
        let params = &request["params"];
        let text = |name: &str| params[name].as_str();
        let name = request["api_name"].as_str().unwrap();
        let mut rows: Vec<Value> = Vec::new();
        match name {
            "stock_basic" => {
                let all = self.stocks.iter();
                for stock in all.filter(|stock| Some(stock.status) == text("list_status")) {
                    rows.push(json!({
                        "ts_code": stock.code, "name": stock.name, "industry": "x", "market": "主板", "exchange": "SSE",
                        "list_status": stock.status, "list_date": stock.list_date, "delist_date": stock.delist_date, "cnspell": "x",
                    }));
                }
            }
            "dividend" => {
                let wanted = |name, value: &str| text(name).is_none_or(|text| text == value);
                for (code, ex_date, cash) in self.dividends.iter().filter(|(code, ex_date, _)| {
                    wanted("ts_code", code) && wanted("ex_date", ex_date)
                }) {
                    rows.push(json!({
                        "ts_code": code, "end_date": "20151231", "ann_date": "20160401", "div_proc": "实施", "stk_div": 0.0,
                        "stk_bo_rate": null, "stk_co_rate": null, "cash_div": cash * 0.9, "cash_div_tax": cash,
                        "record_date": null, "ex_date": ex_date, "pay_date": "",
                    }));
                }
            }
            "namechange" => {
                for stock in self.stocks.iter() {
                    if text("ts_code").is_none_or(|code| code == stock.code) {
                        rows.push(json!({
                            "ts_code": stock.code, "name": stock.name, "start_date": stock.list_date, "end_date": null,
                            "change_reason": "其他",
                        }));
                    }
                }
            }
            _ => {
                let (from, to) = match text("trade_date") {
                    Some(day) => (day, day),
                    None => (text("start_date").unwrap(), text("end_date").unwrap()),
                };
                let [from, to] = [from, to].map(|day| Date::parse(day).unwrap().days());
                for day in (from..=to).rev() {
                    self.day(name, text("ts_code"), day, &mut rows);
                }
            }
        }
        let offset: usize = text("offset").map_or(0, |offset| offset.parse().unwrap());
        let has_more = self.reports_more && offset + self.cap_rows < rows.len();
        let fields: Vec<&str> = request["fields"].as_str().unwrap().split(',').collect();
        let items: Vec<Vec<Value>> = rows
            .iter()
            .skip(offset)
            .take(self.cap_rows)
            .map(|row| fields.iter().map(|field| row[*field].clone()).collect())
            .collect();
        let data = json!({ "fields": fields, "items": items, "has_more": has_more });
        json!({ "request_id": "r", "code": 0, "msg": null, "data": data })
    }

    /// Adds the rows of one day.
    fn day(&self, api: &str, code: Option<&str>, day: i32, rows: &mut Vec<Value>) {
        let is_open = !Date::from_days(day).unwrap().is_weekend();
        let date = compact(day);
        if api == "trade_cal" {
            rows.push(json!({
                "exchange": "SSE", "cal_date": date, "is_open": i32::from(is_open), "pretrade_date": compact(day - 1),
            }));
            return;
        }
        let is_wanted = |other: &&str| code.is_none_or(|code| code == *other);
        if api == "suspend_d" {
            for (code, _) in self
                .suspended
                .iter()
                .filter(|(code, day)| is_wanted(code) && *day == date)
            {
                rows.push(json!({ "ts_code": code, "trade_date": date, "suspend_timing": null, "suspend_type": "S" }));
            }
            return;
        }
        if !is_open || date.as_str() > self.published {
            return;
        }
        let listed = self.stocks.iter().filter(|stock| {
            stock.list_date <= date.as_str()
                && stock.delist_date.is_none_or(|end| date.as_str() < end)
        });
        let codes: Vec<&str> = match api {
            "index_daily" | "fund_daily" => self.others.clone(),
            _ => listed.map(|stock| stock.code).collect(),
        };
        for code in codes.iter().filter(|code| is_wanted(code)) {
            if self.suspended.contains(&(code, date.as_str())) {
                continue;
            }
            let close = 10.0 + f64::from(day % 100) / 100.0;
            rows.push(json!({
                "ts_code": code, "trade_date": date, "open": close, "high": close + 0.5, "low": close - 0.5,
                "close": close, "pre_close": close, "change": 0.0, "pct_chg": 0.0, "vol": 1000.0, "amount": 1000.0,
                "turnover_rate": 1.0, "volume_ratio": null, "pe": null, "pb": 1.0, "total_share": 1.0,
                "float_share": 1.0, "total_mv": 1.0, "circ_mv": 1.0, "adj_factor": 1.5, "up_limit": close * 1.1,
                "down_limit": close * 0.9,
            }));
        }
    }
}

/// The vendor in process, which records requests.
pub(crate) struct InProcess {
    pub(crate) market: Market,
    pub(crate) requests: RefCell<Vec<String>>,
}

impl InProcess {
    pub(crate) fn new(market: Market) -> Self {
        Self {
            market,
            requests: RefCell::default(),
        }
    }

    /// Returns the requests since the last call, as interface and parameters.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        self.requests.take()
    }
}

impl Transport for InProcess {
    fn post(&self, body: &str) -> Result<(u16, String), String> {
        let request: Value = serde_json::from_str(body).unwrap();
        self.requests.borrow_mut().push(key(&request));
        Ok((200, self.market.answer(&request).to_string()))
    }
}

fn key(request: &Value) -> String {
    format!(
        "{} {}",
        request["api_name"].as_str().unwrap(),
        request["params"]
    )
}

/// A fault of one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A status without a reply.
    Status(u16),
    /// A redirect to another path of this server.
    Redirect,
    /// A body that is shorter than its declared length.
    Truncated,
    /// A chunked body without its last chunk.
    Unended,
    /// The connection ends before a reply.
    Closed,
    /// A complete body with half of a JSON text.
    Malformed,
    /// The head and half of the body; the connection stays open.
    Stalled,
    /// No byte; the connection stays open.
    Silent,
    /// The whole reply, byte by byte.
    Trickled,
}

/// The vendor on a socket of this machine.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    market: Market,
    faults: Mutex<VecDeque<Option<Fault>>>,
    /// The requests received, and those answered without a fault.
    received: Mutex<Vec<String>>,
    answered: Mutex<Vec<String>>,
    /// After this number of replies, the next request is reported on the channel and not answered.
    hold: Mutex<Option<(usize, Sender<()>)>>,
}

impl Server {
    /// Serves until the test ends; the first replies have the given faults, in order.
    pub(crate) fn start(market: Market, faults: impl IntoIterator<Item = Option<Fault>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            market,
            faults: Mutex::new(faults.into_iter().collect()),
            received: Mutex::default(),
            answered: Mutex::default(),
            hold: Mutex::default(),
        });
        let server = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::clone(&shared),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A client that was killed or timed out closes the connection early.
                std::thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        server
    }

    /// Returns a channel that receives a message when `count` requests are answered and the next one has arrived.
    pub(crate) fn hold_after(&self, count: usize) -> Receiver<()> {
        let (sender, receiver) = channel();
        *self.shared.hold.lock().unwrap() = Some((count, sender));
        receiver
    }

    pub(crate) fn received(&self) -> Vec<String> {
        self.shared.received.lock().unwrap().clone()
    }

    pub(crate) fn answered(&self) -> Vec<String> {
        self.shared.answered.lock().unwrap().clone()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                if line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let request: Value = serde_json::from_slice(&body)?;
            self.received.lock().unwrap().push(key(&request));
            let text = self.market.answer(&request).to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
            let half = &text[..text.len() / 4];
            let wait_until_the_client_closes = |mut reader: BufReader<TcpStream>| {
                let mut rest = [0; 1];
                reader.read(&mut rest).map(drop)
            };
            let is_held = match &*self.hold.lock().unwrap() {
                Some((count, sender)) if self.answered.lock().unwrap().len() >= *count => {
                    let _ = sender.send(());
                    true
                }
                _ => false,
            };
            if is_held {
                return wait_until_the_client_closes(reader);
            }
            match self.faults.lock().unwrap().pop_front().flatten() {
                None => write!(stream, "{head}{text}")?,
                Some(Fault::Trickled) => {
                    for byte in format!("{head}{text}").bytes() {
                        stream.write_all(&[byte])?;
                    }
                }
                Some(Fault::Status(status)) => {
                    write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n")?;
                    continue;
                }
                Some(Fault::Redirect) => {
                    let place = stream.local_addr()?;
                    write!(
                        stream,
                        "HTTP/1.1 307 Go\r\nLocation: http://{place}/other\r\nContent-Length: 0\r\n\r\n"
                    )?;
                    continue;
                }
                Some(Fault::Truncated) => return write!(stream, "{head}{half}"),
                Some(Fault::Unended) => {
                    return write!(
                        stream,
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{half}\r\n",
                        half.len()
                    );
                }
                Some(Fault::Closed) => return Ok(()),
                Some(Fault::Malformed) => {
                    let length = half.len();
                    write!(
                        stream,
                        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{half}"
                    )?;
                    continue;
                }
                Some(Fault::Stalled) => {
                    write!(stream, "{head}{half}")?;
                    return wait_until_the_client_closes(reader);
                }
                Some(Fault::Silent) => return wait_until_the_client_closes(reader),
            }
            self.answered.lock().unwrap().push(key(&request));
        }
    }
}

/// Returns the calls that were answered more than once.
pub(crate) fn repeated(answered: &[String]) -> Vec<&String> {
    let mut seen = BTreeSet::new();
    answered.iter().filter(|call| !seen.insert(*call)).collect()
}
