"""The cases through RQAlpha: only its data source and its cost model are replaced.

Orders are submitted at the opening auction, which is where RQAlpha fills at the open. Limits come with the bars, as its own
bundle has them. The transfer fee, which it does not know, is added to its cost model, so that it fails no case by that.
"""

import numpy as np
import pandas as pd
from rqalpha import run_func
from rqalpha.const import INSTRUMENT_TYPE, TRADING_CALENDAR_TYPE
from rqalpha.data.base_data_source import BaseDataSource
from rqalpha.interface import AbstractMod, TransactionCost
from rqalpha.model.instrument import Instrument
from rqalpha.mod.rqalpha_mod_sys_transaction_cost.deciders import StockTransactionCostDecider

from cases import transfer_fee

WAIT = "an order lives for a day"
AUCTION = "no slippage in the opening auction"
# What a case needs that RQAlpha does not have.
LACKS = {
    "shares bought today are not sold today": WAIT,
    "T+1 goes by lot": WAIT,
    "a sale waits through limit-down opens": WAIT,
    "a buy of two days pays the least commission twice": WAIT,
    "a large sale takes four days": WAIT,
    "a sale waits 130 days of suspension": WAIT,
    "an ex-right while suspended moves shares and value": WAIT,
    "a sale pays for a buy of the same open": "orders are matched as they came, sales not first",
    "a sale that costs more than the account has is not made": "fees are not rounded to a cent: 105.001 is more than 105.00",
    "a tax may be withheld from the dividend": "taxes dividends when the shares are sold",
    "the share reform gives shares on a day without limits": "no stamp duty of buyers before 2008-09-19",
    "buyers paid stamp duty until 2008-09-18": "no stamp duty of buyers before 2008-09-19",
    "fractions of bonus shares are dropped once": "fractions of shares are rounded half up",
    "a limit that is not known is not guessed": "an unknown limit counts as no limit",
    "ticks are clipped to the limit up": AUCTION,
    "ticks are clipped to the limit down": AUCTION,
    "a rate is rounded away from the trader": AUCTION,
    "a large share of the volume slips by its square": AUCTION,
    "a stock that is delisted is neither sold nor bought": "a delisted stock is paid out at its last close",
}
SUFFIX = {"SH": "XSHG", "SZ": "XSHE", "BJ": "BJSE"}
CURRENT = None


def theirs(symbol):
    code, exchange = symbol.split(".")
    return f"{code}.{SUFFIX[exchange]}"


def stamp(day):
    return int(day.strftime("%Y%m%d"))


class Source(BaseDataSource):
    """One case in memory."""

    def __init__(self, case):
        self._case = case
        self._calendar = pd.DatetimeIndex(case.days).union(
            pd.bdate_range(case.days[-1], periods=12)[1:]
        ).union(pd.bdate_range(end=case.days[0], periods=400)[:-1])
        self._bars, self._instruments = {}, {}
        kinds = [("datetime", "u8")] + [(n, "f8") for n in
                 ("open", "close", "high", "low", "volume", "total_turnover", "limit_up", "limit_down", "prev_close")]
        for symbol, of in case.bars.items():
            name = theirs(symbol)
            last, table = None, []
            for day, bar in of.items():
                table.append((stamp(day) * 1_000_000, bar.open, bar.close, bar.high, bar.low, bar.volume,
                              bar.volume * bar.close, bar.up if bar.up is not None else np.nan,
                              bar.down if bar.down is not None else np.nan,
                              last if last is not None else np.nan))
                last = bar.close
            self._bars[name] = np.array(table, dtype=kinds)
            facts = case.facts.get(symbol, {})
            code = symbol.split(".")[0]
            board = "KSH" if code.startswith("688") else "BJS" if symbol.endswith("BJ") else "MainBoard"
            self._instruments[name] = Instrument({
                "order_book_id": name, "symbol": name, "type": "CS", "exchange": name.split(".")[1],
                "board_type": board, "round_lot": 100, "market_tplus": 1, "status": "Active",
                "special_type": "Normal", "listed_date": str(facts.get("listed", "1999-01-04")),
                "de_listed_date": str(facts.get("delisted", "0000-00-00")), "trading_hours": "",
            })

    def get_instruments(self, id_or_syms=None, types=None):
        for name, instrument in self._instruments.items():
            if id_or_syms is None or name in id_or_syms:
                yield instrument

    def get_trading_calendars(self):
        return {TRADING_CALENDAR_TYPE.CN_STOCK: self._calendar}

    def _all_day_bars_of(self, instrument):
        return self._bars[instrument.order_book_id]

    def _filtered_day_bars(self, instrument):
        bars = self._all_day_bars_of(instrument)
        return bars[bars["volume"] > 0]

    def get_ex_cum_factor(self, instrument):
        return None

    def _events(self, instrument):
        symbol = next(s for s in self._case.bars if theirs(s) == instrument.order_book_id)
        return self._case.events.get(symbol, [])

    def get_dividend(self, instrument):
        table = [(stamp(e[0]), stamp(e[0]), float(e[1]), stamp(e[0]), stamp(e[0]), 1.0)
                 for e in self._events(instrument) if e[1]]
        kinds = [(n, "f8" if n in ("dividend_cash_before_tax", "round_lot") else "i8") for n in
                 ("book_closure_date", "announcement_date", "dividend_cash_before_tax", "ex_dividend_date",
                  "payable_date", "round_lot")]
        return np.array(table, dtype=kinds) if table else None

    def get_split(self, instrument):
        table = [(stamp(e[0]) * 1_000_000, 1.0 + float(e[2] + e[3])) for e in self._events(instrument) if e[2] + e[3]]
        return np.array(table, dtype=[("ex_date", "i8"), ("split_factor", "f8")]) if table else None

    def is_suspended(self, order_book_id, dates):
        known = {int(b["datetime"]) // 1_000_000 for b in self._bars[order_book_id] if b["volume"] > 0}
        return [stamp(pd.Timestamp(d)) not in known for d in dates]

    def is_st_stock(self, order_book_id, dates):
        return [False] * len(dates)

    def get_share_transformation(self, order_book_id):
        return None

    def available_data_range(self, frequency):
        return self._calendar[0].date(), self._calendar[-1].date()

    def get_yield_curve(self, start_date, end_date, tenor=None):
        return None

    def get_futures_trading_parameters(self, instrument, dt):
        raise NotImplementedError


class Cost(StockTransactionCostDecider):
    """RQAlpha's own, and the transfer fee."""

    def calc(self, args):
        cost = super().calc(args)
        amount = args.price * args.quantity
        symbol = {v: k for k, v in SUFFIX.items()}[args.instrument.exchange if isinstance(args.instrument.exchange, str)
                                                   else args.instrument.exchange.value]
        fee = transfer_fee(self.env.trading_dt.date(), f"x.{symbol}", amount, args.quantity)
        return TransactionCost(commission=cost.commission, tax=cost.tax, other_fees=fee)


class Mod(AbstractMod):
    def start_up(self, env, mod_config):
        env.set_data_source(Source(CURRENT))
        cost = Cost(0.00025 / 0.0008, 5.0, 1.0, True, env.event_bus)
        env.set_transaction_cost_decider(INSTRUMENT_TYPE.CS, cost)

    def tear_down(self, code, exception=None):
        pass


def load_mod():
    return Mod()


def run(case):
    """Returns the account after each close: day to cash, shares, equity."""
    global CURRENT
    CURRENT = case
    seen = {}

    def init(context):
        pass

    def open_auction(context, bar_dict):
        from rqalpha.apis import order_shares

        today = context.now.date()
        for made, symbol, side, shares in case.orders:
            if case.next_day(made) != today:
                continue
            name = theirs(symbol)
            held = context.stock_account.positions[name].quantity
            order_shares(name, (held if shares is None else shares) * (1 if side == "buy" else -1))

    def after_trading(context):
        account = context.stock_account
        # A stock that is not listed yet is unknown.
        held = {position.order_book_id: int(position.quantity) for position in account.get_positions()}
        held = {symbol: held[theirs(symbol)] for symbol in case.bars if held.get(theirs(symbol))}
        seen[context.now.date()] = (account.cash, held, account.total_value)

    ticks = case.slippage.get("ticks")
    simulation = {
        "volume_limit": True, "volume_percent": case.participation,
        "slippage_model": "TickSizeSlippage" if ticks else "PriceRatioSlippage",
        "slippage": ticks or case.slippage.get("rate", 0) / 10_000,
    }
    config = {
        "base": {
            "start_date": str(case.days[0]), "end_date": str(case.days[-1]), "frequency": "1d",
            "accounts": {"STOCK": float(case.cash)}, "partial_fill_on_insufficient_cash": True,
        },
        "extra": {"log_level": "error"},
        "mod": {
            "sys_analyser": {"enabled": False}, "sys_progress": {"enabled": False},
            "sys_simulation": simulation,
            "sys_accounts": {"dividend_tax_enabled": False},
            "cases": {"enabled": True, "lib": "with_rqalpha", "priority": 500},
        },
    }
    run_func(config=config, init=init, open_auction=open_auction, after_trading=after_trading)
    return seen

