"""The same kind of history and the same trivial model as `backtest.rs`, traded by simulators from PyPI.

    python backtest_peers.py [SYMBOLS DAYS ROUNDS [PEER...]]

Rules are as similar as each simulator allows; rules that it cannot express are left out, in its favour:

              next open   limits   lots of 100   rate   minimum fee   stamp duty   slippage   volume cap   T+1 by lot
vectorbt         yes       mask        yes        yes       no          mean          yes         no        by signals
backtesting      yes       mask        yes        yes      yes           yes          yes         no        by signals
backtrader       yes       mask        yes        yes      yes           yes          yes         no        by signals

"mask": orders are removed before the run where the next open is at its limit, so unfilled sales do not wait. Signals of
one stock alternate with a day between them, so T+1 is never violated. Times are of the simulation and its daily account
alone: prices and signals are computed before. vectorbt is compiled by a first run, which is not timed. The two that run bar
by bar in Python trade a part of the symbols; bars per second are comparable.
"""

import resource
import statistics
import sys
import time
import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")
SYMBOLS, DAYS, ROUNDS = [int(a) for a in sys.argv[1:4]] + [500, 2500, 5][len(sys.argv) - 1 :]
WANTED = sys.argv[4:]
MEAN = 20
RATE, LEAST, DUTY, TRANSFER, SLIP = 0.00025, 5.0, 0.0005, 0.00001, 0.0005


def history(symbols, days, seed=1):
    pick = np.random.default_rng(seed)
    open_, close = np.empty((days, symbols)), np.empty((days, symbols))
    up, down = np.empty((days, symbols)), np.empty((days, symbols))
    last = pick.integers(1000, 5000, symbols).astype(float)
    for day in range(days):
        up[day], down[day] = np.floor(last * 1.1 + 0.5), np.floor(last * 0.9 + 0.5)
        o = np.clip(np.floor(last * (1 + pick.integers(-300, 301, symbols) / 1e4)), down[day], up[day])
        dice = pick.integers(0, 100, symbols)
        o = np.where(dice == 0, up[day], np.where(dice == 1, down[day], o))
        c = np.floor(last * (1 + pick.integers(-300, 301, symbols) / 1e4))
        open_[day], close[day] = o, np.maximum(np.clip(c, down[day], up[day]), 200)
        last = close[day]
    return open_ / 100, close / 100, up / 100, down / 100


def signals(open_, close, up, down):
    """Entries and exits at the open of a day, from the close before."""
    mean = pd.DataFrame(close).rolling(MEAN).mean().to_numpy()
    above = np.nan_to_num(close > mean).astype(bool) & ~np.isnan(mean)
    before = np.vstack([np.zeros((1, close.shape[1]), bool), above[:-1]])
    enter, leave = above & ~before, ~above & before
    shift = lambda a: np.vstack([np.zeros((1, close.shape[1]), bool), a[:-1]])
    return shift(enter) & (open_ < up), shift(leave) & (open_ > down)


def timed(name, bars, rounds, work):
    times = []
    busy = time.process_time()
    for _ in range(rounds):
        start = time.perf_counter()
        trades = work()
        times.append(time.perf_counter() - start)
    busy = time.process_time() - busy
    middle = statistics.median(times)
    print(
        f"{name}: {middle:.3f} s (best {min(times):.3f}), {bars / middle / 1e6:.3f} million bars/s, "
        f"{bars * rounds / busy / 1e6:.3f} million bars per processor second, {trades} orders or trades"
    )


def vectorbt(data):
    import vectorbt as vbt

    open_, close, up, down = data
    enter, leave = signals(*data)

    def run():
        portfolio = vbt.Portfolio.from_signals(
            close,
            enter,
            leave,
            price=open_,
            init_cash=1e6,
            fees=RATE + TRANSFER + DUTY / 2,
            slippage=SLIP,
            size_granularity=100,
            freq="D",
        )
        portfolio.value()
        return len(portfolio.orders.records_arr)

    run()
    timed(f"vectorbt {version('vectorbt')}", close.size, ROUNDS, run)


def fee(shares, price):
    amount = abs(shares) * price
    duty = DUTY * amount if shares < 0 else 0.0
    return max(LEAST, RATE * amount) + TRANSFER * amount + duty


def frames(data, count):
    open_, close, up, down = data
    enter, leave = signals(*data)
    index = pd.bdate_range("2014-01-01", periods=close.shape[0])
    for k in range(count):
        o, c = open_[:, k], close[:, k]
        yield pd.DataFrame(
            {
                "Open": o,
                "High": np.maximum(o, c),
                "Low": np.minimum(o, c),
                "Close": c,
                "Volume": 1e6,
                # The simulator itself fills orders of a close at the next open.
                "enter": np.append(enter[1:, k], False),
                "leave": np.append(leave[1:, k], False),
            },
            index=index,
        )


def backtesting(data, count):
    from backtesting import Backtest, Strategy

    class Mean(Strategy):
        def init(self):
            self.enter, self.leave = self.data.enter, self.data.leave

        def next(self):
            if self.data.enter[-1] and not self.position:
                lots = int(self.equity * 0.999 / self.data.Close[-1] / 100) * 100
                if lots:
                    self.buy(size=lots)
            elif self.data.leave[-1] and self.position:
                self.position.close()

    stocks = list(frames(data, count))

    def run():
        trades = 0
        for frame in stocks:
            stats = Backtest(frame, Mean, cash=1e6, commission=fee, spread=SLIP, finalize_trades=True).run()
            trades += int(stats["# Trades"])
        return trades

    timed(f"backtesting {version('backtesting')} ({count} symbols)", count * DAYS, 1, run)


def backtrader(data, count):
    import backtrader as bt

    class Fees(bt.CommInfoBase):
        params = (("stocklike", True), ("commtype", bt.CommInfoBase.COMM_PERC))

        def _getcommission(self, size, price, pseudoexec):
            return fee(size, price)

    class Feed(bt.feeds.PandasData):
        lines = ("enter", "leave")
        params = (("enter", "enter"), ("leave", "leave"))

    class Mean(bt.Strategy):
        def next(self):
            if self.data.enter[0] and not self.position:
                lots = int(self.broker.getvalue() * 0.98 / self.data.close[0] / 100) * 100
                if lots:
                    self.buy(size=lots)
            elif self.data.leave[0] and self.position:
                self.close()

        def notify_trade(self, trade):
            self.trades = getattr(self, "trades", 0) + trade.isclosed

    stocks = [frame.astype({"enter": float, "leave": float}) for frame in frames(data, count)]

    def run():
        trades = 0
        for frame in stocks:
            cerebro = bt.Cerebro(stdstats=False)
            cerebro.adddata(Feed(dataname=frame))
            cerebro.addstrategy(Mean)
            cerebro.broker.setcash(1e6)
            cerebro.broker.set_slippage_perc(SLIP)
            cerebro.broker.addcommissioninfo(Fees())
            trades += getattr(cerebro.run()[0], "trades", 0)
        return trades

    timed(f"backtrader {version('backtrader')} ({count} symbols)", count * DAYS, 1, run)


data = history(SYMBOLS, DAYS)
print(f"{SYMBOLS} symbols x {DAYS} days = {SYMBOLS * DAYS} bars; numpy {np.__version__}")
part = min(SYMBOLS, 20)
for name, peer in (
    ("vectorbt", lambda: vectorbt(data)),
    ("backtesting", lambda: backtesting(data, part)),
    ("backtrader", lambda: backtrader(data, part)),
):
    if WANTED and name not in WANTED:
        continue
    try:
        peer()
    except Exception as error:
        print(f"{name} not run: {type(error).__name__}: {error}")
print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000} MB")
