"""Twelve indicators of the TA-Lib C library, and some of pandas, over the market of `benches/indicators.rs`.

usage: talib_bench.py SEED SYMBOLS DAYS

Prints a line per peer and indicator: peer, indicator, nanoseconds per bar, and the sum over all symbols of the last
value of each line. Only the calls are timed, not the drawing of the bars.
"""
import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"

try:
    import numpy as np
    import pandas as pd
    import talib
except ImportError as error:
    sys.exit(f"TA-Lib and pandas: not installed in this Python ({error.name} is missing)")


def draw(seed, places):
    """The splitmix64 of the bench; numpy's unsigned integers wrap as in Rust."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + (places + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def bars(seed, symbol, days):
    """High, low, close and volume of one symbol, bit for bit those of the bench."""
    first = np.uint64(symbol * days * 5)
    numbers = draw(seed, first + np.arange(days * 5, dtype=np.uint64)).reshape(days, 5)
    at = lambda k, below: (numbers[:, k] % np.uint64(below)).astype(np.int64)
    close = 100_000 + np.cumsum(at(0, 301) - 150)
    before = np.concatenate(([100_000], close[:-1]))
    opened = before + at(1, 61) - 30
    high = np.maximum(opened, close) + at(2, 80)
    low = np.minimum(opened, close) - at(3, 80)
    volume = (1000 + at(4, 100_000)) * 100
    return high / 100.0, low / 100.0, close / 100.0, volume.astype(np.float64)


def volatility(close):
    """The sample deviation of 20 returns; TA-Lib divides by n, so the result is scaled by n/(n - 1)."""
    return talib.STDDEV(talib.ROCP(close, 1)[1:], 20) * np.sqrt(20 / 19)


TALIB = {
    "ma20": lambda h, l, c, v: [talib.SMA(c, 20)],
    "ema12": lambda h, l, c, v: [talib.EMA(c, 12)],
    "macd": lambda h, l, c, v: talib.MACD(c, 12, 26, 9),
    "rsi14": lambda h, l, c, v: [talib.RSI(c, 14)],
    "boll20": lambda h, l, c, v: talib.BBANDS(c, 20, 2, 2),
    "atr14": lambda h, l, c, v: [talib.ATR(h, l, c, 14)],
    "adx14": lambda h, l, c, v: [
        talib.ADX(h, l, c, 14),
        talib.PLUS_DI(h, l, c, 14),
        talib.MINUS_DI(h, l, c, 14),
    ],
    "obv": lambda h, l, c, v: [talib.OBV(c, v)],
    "cci14": lambda h, l, c, v: [talib.CCI(h, l, c, 14)],
    "stoch9": lambda h, l, c, v: talib.STOCH(h, l, c, 9, 3, 0, 3, 0),
    "return5": lambda h, l, c, v: [talib.ROCP(c, 5)],
    "volatility20": lambda h, l, c, v: [volatility(c)],
}


def boll(c):
    rolling = c.rolling(20)
    middle, width = rolling.mean(), 2 * rolling.std(ddof=0)
    return [middle + width, middle, middle - width]


PANDAS = {
    "ma20": lambda c, v: [c.rolling(20).mean()],
    "ema12": lambda c, v: [c.ewm(span=12, adjust=False).mean()],
    "boll20": lambda c, v: boll(c),
    "obv": lambda c, v: [(np.sign(c.diff()).fillna(1) * v).cumsum()],
    "return5": lambda c, v: [c.pct_change(5)],
    "volatility20": lambda c, v: [c.pct_change().rolling(20).std()],
}


def main():
    seed, symbols, days = (int(argument) for argument in sys.argv[1:])
    times, sums = {}, {}

    def run(key, call, *arrays):
        start = time.perf_counter_ns()
        lines = call(*arrays)
        times[key] = times.get(key, 0) + time.perf_counter_ns() - start
        last = np.array([np.asarray(line)[-1] for line in lines])
        sums[key] = sums.get(key, 0) + last

    for symbol in range(symbols):
        high, low, close, volume = bars(seed, symbol, days)
        for name, call in TALIB.items():
            run(("talib", name), call, high, low, close, volume)
        # pandas is slower by an order of magnitude; a tenth of the symbols is enough.
        if symbol % 10 == 0:
            close, volume = pd.Series(close), pd.Series(volume)
            for name, call in PANDAS.items():
                run(("pandas", name), call, close, volume)
    for (peer, name), elapsed in times.items():
        count = symbols if peer == "talib" else (symbols + 9) // 10
        print(peer, name, elapsed / (count * days), *(repr(float(x)) for x in sums[peer, name]))


main()
