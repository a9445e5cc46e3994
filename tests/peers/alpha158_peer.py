#!/usr/bin/env python3
"""Alpha158 by Qlib's own expression engine, for heqis-factors.

    alpha158_peer.py golden TABLE OUT [FROM STEP]   the factors of every STEP-th bar of a table, from bar FROM on, as CSV
    alpha158_peer.py time DIR STOCKS BARS           seconds for the set over synthetic stocks, through D.features

Needs `pip install pyqlib==0.9.7`. `golden` gives Qlib the prices of the table as 64-bit numbers, since its own files hold 32-bit ones;
expressions, operators and rolling kernels are Qlib's. `data/golden/alpha158_002032_qlib.csv` was made by

    alpha158_peer.py golden data/ashare/002032.SZ.csv data/golden/alpha158_002032_qlib.csv 60 55

`time` writes a directory in Qlib's format (32-bit files) below DIR unless it is there, and the same prices as 64-bit little-endian
numbers [stock][bar][open high low close volume amount vwap] in DIR/bars.f64 for `cargo bench --bench factors`.
"""

import sys
import time
from pathlib import Path


def config():
    from qlib.contrib.data.loader import Alpha158DL

    return Alpha158DL.get_feature_config()


def golden(table, out, first=60, step=1):
    import pandas as pd
    import qlib.data.ops  # noqa: F401, the operators must be known to the parser
    from qlib.config import C
    from qlib.data.base import Feature
    from qlib.data.data import ExpressionD  # noqa: F401
    from qlib.data.ops import register_all_ops

    C.set("client", kernels=1)
    register_all_ops(C)
    rows = pd.read_csv(table)
    rows.columns = [name.lower() for name in rows.columns]
    dates = rows["date"].astype(str)
    prices = rows[["open", "high", "low", "close", "volume"]].astype("float64")
    if "amount" in rows:
        prices["vwap"] = rows["amount"] / prices["volume"]

    def load(self, instrument, start, end, freq):
        return prices[str(self)[1:]].iloc[start : end + 1]

    Feature._load_internal = load
    from qlib.data.data import ExpressionProvider

    class Provider(ExpressionProvider):
        def expression(self, *_):
            raise NotImplementedError

    provider = Provider()
    columns = {}
    for field, name in zip(*config()):
        if "$vwap" in field and "vwap" not in prices:
            continue
        expression = provider.get_expression_instance(field)
        columns[name] = expression.load("X", 0, len(prices) - 1, "day").astype("float64").to_numpy()
    chosen = range(first, len(prices), step)
    with open(out, "w", encoding="utf-8", newline="\n") as file:
        file.write(",".join(["bar", "date", *columns]) + "\n")
        for bar in chosen:
            cells = ["" if value != value else repr(float(value)) for value in (column[bar] for column in columns.values())]
            file.write(",".join([str(bar), dates[bar], *cells]) + "\n")
    print(f"{out}: {len(chosen)} bars, {len(columns)} factors")


def write_stocks(root, stocks, bars):
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(7)
    days = pd.bdate_range("2010-01-04", periods=bars)
    (root / "calendars").mkdir(parents=True, exist_ok=True)
    (root / "instruments").mkdir(exist_ok=True)
    (root / "calendars" / "day.txt").write_text("\n".join(str(day.date()) for day in days) + "\n")
    names = [f"SH{600000 + i}" for i in range(stocks)]
    span = f"{days[0].date()}\t{days[-1].date()}"
    (root / "instruments" / "all.txt").write_text("".join(f"{name}\t{span}\n" for name in names))
    every = np.empty((stocks, bars, 7))
    for i, name in enumerate(names):
        close = 20 * np.exp(np.cumsum(rng.normal(0, 0.02, bars)))
        open_ = close * (1 + rng.normal(0, 0.005, bars))
        high = np.maximum(open_, close) * (1 + abs(rng.normal(0, 0.004, bars)))
        low = np.minimum(open_, close) * (1 - abs(rng.normal(0, 0.004, bars)))
        volume = np.round(np.exp(rng.normal(13, 0.5, bars)))
        vwap = (high + low + close) / 3
        table = dict(open=open_, high=high, low=low, close=close, volume=volume, amount=vwap * volume, vwap=vwap)
        folder = root / "features" / name.lower()
        folder.mkdir(parents=True, exist_ok=True)
        for at, (field, values) in enumerate(table.items()):
            values = values.astype("<f4")
            np.hstack([[0], values]).astype("<f4").tofile(folder / f"{field}.day.bin")
            every[i, :, at] = values
    every.astype("<f8").tofile(root / "bars.f64")


def timed(root, stocks, bars):
    import qlib
    from qlib.data import D

    root = Path(root) / f"{stocks}x{bars}"
    if not (root / "bars.f64").exists():
        write_stocks(root, stocks, bars)
    qlib.init(provider_uri=str(root), region="cn", expression_cache=None, dataset_cache=None, kernels=2)
    fields, names = config()
    start = time.perf_counter()
    table = D.features(D.instruments("all"), fields, freq="day")
    seconds = time.perf_counter() - start
    print(f"qlib: {table.shape[0]} rows, {len(names)} factors, {seconds:.2f} s, {seconds / table.shape[0] * 1e6:.2f} us a bar")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["golden", table, out, *rest]:
            golden(table, out, *map(int, rest))
        case ["time", root, stocks, bars]:
            timed(root, int(stocks), int(bars))
        case _:
            sys.exit(__doc__)
