"""The hand-computed cases of `heqis-backtest/tests/cases/`, as data for simulators from PyPI."""

import tomllib
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "cases"

@dataclass
class Bar:
    open: float
    high: float
    low: float
    close: float
    volume: float
    up: float | None
    down: float | None


@dataclass
class Case:
    name: str
    file: str
    cash: Decimal
    days: list[date]
    bars: dict[str, dict[date, Bar]]
    orders: list[tuple[date, str, str, int | None]]
    expect: list[tuple[date, Decimal, dict[str, int], Decimal]]
    events: dict[str, list[tuple]]
    facts: dict
    slippage: dict
    participation: float

    def next_day(self, day):
        later = [other for other in self.days if other > day]
        return later[0] if later else None


def rows(text):
    return [line.split() for line in text.splitlines() if line.strip()]


def half_up(value):
    return Decimal(value).quantize(Decimal("0.01"), ROUND_HALF_UP)


def percent(symbol, day, special):
    """The price limit of a board in percent, as a vendor would deliver limits with its bars."""
    code, exchange = symbol.split(".")
    if exchange == "BJ":
        return 30
    if code.startswith(("688", "689")):
        return 20
    if code.startswith(("300", "301", "302")):
        return 20 if day >= date(2020, 8, 24) else 10
    return 5 if special and day < date(2026, 7, 6) else 10


def reference(last, event):
    """The ex-right reference in cents, half up."""
    if event is None:
        return last
    _, cash, gift, more, rights, price, _ = event
    value = (last - cash + rights * price) / (1 + gift + more + rights)
    return half_up(value)


def case(raw, file):
    bars, references, days = {}, {}, set()
    for day, symbol, *prices in rows(raw["bars"]):
        day = date.fromisoformat(day)
        days.add(day)
        numbers = [float(p) for p in prices[:4]]
        bars.setdefault(symbol, {})[day] = Bar(*numbers, float(prices[5]), None, None)
        references.setdefault(symbol, {})[day] = prices[4]
    if ".." in raw.get("calendar", ""):
        day, last = (date.fromisoformat(d) for d in raw["calendar"].split(".."))
        days = set()
        while day <= last:
            days |= {day} if day.weekday() < 5 else set()
            day += timedelta(1)
    days = sorted(days)
    events = {}
    for symbol, given in raw.get("stock", {}).items():
        events[symbol] = [
            (date.fromisoformat(row[0]), *(Decimal(x) for x in row[1:6]), row[6])
            for row in rows(given.get("events", ""))
        ]
    for symbol, of in bars.items():
        given = raw.get("stock", {}).get(symbol, {})
        listed = given.get("listed")
        before, last = date.min, None
        for day, bar in of.items():
            # The reference across an ex-right is not given: it follows from the last close and the event since.
            event = next((e for e in events.get(symbol, []) if before < e[0] <= day), None)
            text = references[symbol][day]
            if event is not None and event[6] == "reform":
                known = None
            elif text != "-":
                known = Decimal(text)
            else:
                known = None if last is None else reference(last, event)
            free = listed is not None and days.index(day) - days.index(date.fromisoformat(str(listed))) < 5
            special = any(str(a) <= str(day) <= str(b) for a, b in given.get("special", []))
            if known is not None and not free:
                p = Decimal(percent(symbol, day, special)) / 100
                bar.up, bar.down = float(half_up(known * (1 + p))), float(half_up(known * (1 - p)))
            before, last = day, Decimal(str(bar.close))
    orders = [
        (date.fromisoformat(day), symbol, side, None if size == "all" else int(size))
        for day, symbol, side, size in rows(raw["orders"])
    ]
    expect = []
    for day, cash, held, equity in rows(raw["expect"]):
        shares = {} if held == "-" else {s: int(n) for s, n in (part.split(":") for part in held.split(","))}
        expect.append((date.fromisoformat(day), Decimal(cash), shares, Decimal(equity)))
    return Case(
        raw["name"], file, Decimal(raw["cash"]), days, bars, orders, expect, events, raw.get("stock", {}),
        raw.get("slippage", {}) if isinstance(raw.get("slippage"), dict) else {},
        raw.get("participation_e4", 10_000) / 10_000,
    )


def cases():
    found = []
    for path in sorted(FOLDER.glob("*.toml")):
        raw = tomllib.loads(path.read_text())
        found += [case(one, path.stem) for one in raw["case"]]
    return found


def stamp_duty(day, side):
    """Rates of the stamp duty: `heqis-quant/rules/` has them with their sources."""
    if day >= date(2023, 8, 28):
        return 0.0005 if side == "sell" else 0.0
    if day >= date(2008, 9, 19):
        return 0.001 if side == "sell" else 0.0
    return 0.001


def transfer_fee(day, symbol, amount, shares):
    if day >= date(2022, 4, 29):
        return amount * 0.00001
    if symbol.endswith(".SH") and day < date(2015, 8, 1):
        return shares * 0.0003
    return amount * 0.00002
