"""The cases through vectorbt's `Portfolio.from_orders`: the orders of a day are filled at the next open.

What it has is used: a fixed fee and a rate by order, slippage as a rate, lots, fills cut to the cash, sales before buys, one
account. The fixed fee is the minimum commission and the rates are those of the day, computed before the run.
"""

import numpy as np
import pandas as pd
import vectorbt as vbt

from cases import stamp_duty, transfer_fee

ONE = "one order of a stock a day"
EXRIGHT = "no ex-rights on held shares"
LIMITS = "no price limits"
VOLUME = "no bound by volume"
WAIT = "an order lives for a day"
# What a case needs that vectorbt does not have.
LACKS = {
    "shares bought today are not sold today": ONE,
    "T+1 goes by lot": ONE,
    "STAR: 199, 200 and 201 shares": ONE,
    "the main board buys hundreds": ONE,
    "two orders share the volume of a day": ONE,
    "a sale that costs more than the account has is not made": EXRIGHT,
    "a cash dividend is credited on the ex-day": EXRIGHT,
    "a tax may be withheld from the dividend": EXRIGHT,
    "bonus shares are held from the ex-day, and limits follow the reference": EXRIGHT,
    "the share reform gives shares on a day without limits": EXRIGHT,
    "fractions of bonus shares are dropped once": EXRIGHT,
    "an odd remainder is sold whole": EXRIGHT,
    "an ex-right while suspended moves shares and value": EXRIGHT,
    "the commission has a minimum and a rate": "a fixed fee or a rate, not the greater of both",
    "no buy at a limit-up open, though the limit opens later in the day": LIMITS,
    "no buy on a limit-locked bar": LIMITS,
    "a sale waits through limit-down opens": LIMITS,
    "special treatment before and after 2026-07-06": LIMITS,
    "ChiNext before and after 2020-08-24": LIMITS,
    "a limit that is not known is not guessed": LIMITS,
    "ticks are clipped to the limit up": LIMITS,
    "ticks are clipped to the limit down": LIMITS,
    "a stock that is delisted is neither sold nor bought": LIMITS,
    "a rate is rounded away from the trader": "prices are not whole cents",
    "a large share of the volume slips by its square": VOLUME,
    "a tenth of the volume is bought, the rest expires": VOLUME,
    "a buy of two days pays the least commission twice": VOLUME,
    "a large sale takes four days": VOLUME,
    "a sale waits 130 days of suspension": WAIT,
}


def run(case):
    """Returns the account after each close: day to cash, shares, equity."""
    index, symbols = pd.DatetimeIndex(case.days), sorted(case.bars)
    shape = (len(index), len(symbols))
    opens, closes = np.full(shape, np.nan), np.full(shape, np.nan)
    sizes, rates, fixed = np.full(shape, np.nan), np.zeros(shape), np.zeros(shape)
    for s, symbol in enumerate(symbols):
        for day, bar in case.bars[symbol].items():
            if bar.volume > 0:
                opens[case.days.index(day), s], closes[case.days.index(day), s] = bar.open, bar.close
        # A position is worth its last close.
        closes[:, s] = pd.Series(closes[:, s]).ffill().bfill()
    for made, symbol, side, shares in case.orders:
        day = case.next_day(made)
        if day is None:
            continue
        at = (case.days.index(day), symbols.index(symbol))
        size = np.inf if shares is None else float(shares)
        size = size if side == "buy" else -size
        if not np.isnan(sizes[at]):
            raise ValueError(ONE)
        price = opens[at]
        if np.isnan(price):
            continue
        sizes[at], fixed[at] = size, 5.0
        rates[at] = stamp_duty(day, side) + transfer_fee(day, symbol, price, 1.0) / price
    slip = case.slippage.get("rate", 0) / 10_000
    lot = 1 if all(s.startswith("688") or s.endswith("BJ") for s in symbols) else 100
    frame = lambda values: pd.DataFrame(values, index=index, columns=symbols)
    book = vbt.Portfolio.from_orders(
        frame(closes), size=frame(sizes), price=frame(opens), fees=frame(rates), fixed_fees=frame(fixed),
        slippage=slip, size_granularity=lot, init_cash=float(case.cash), group_by=True, cash_sharing=True,
        call_seq="auto", direction="longonly", freq="1D",
    )
    cash, equity, assets = book.cash(), book.value(), book.assets()
    return {
        day: (float(cash.iloc[i]), {s: int(round(assets[s].iloc[i])) for s in symbols if round(assets[s].iloc[i])},
              float(equity.iloc[i]))
        for i, day in enumerate(case.days)
    }
