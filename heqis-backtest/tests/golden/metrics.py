"""Writes metrics.json: series of daily returns and scores, and their figures by other people's code.

Run once with empyrical-reloaded, quantstats, pandas and scipy installed; the file names their versions.
"""

import json
import random
from importlib.metadata import version
from pathlib import Path

import empyrical
import numpy as np
import pandas as pd
import quantstats.stats as qs
from scipy.stats import pearsonr, spearmanr

YEAR = 244


def walk(seed, days, drift, spread, idle=0.0):
    pick = random.Random(seed)
    return [0.0 if pick.random() < idle else round(pick.gauss(drift, spread), 8) for _ in range(days)]


def figures(returns, benchmark, yearly):
    # A date index, since quantstats resamples by it.
    index = pd.bdate_range("2020-01-01", periods=len(returns))
    r = pd.Series(returns, index=index)
    b = pd.Series(benchmark, index=index)
    rate = (1 + yearly) ** (1 / YEAR) - 1
    spread = (r - b).std(ddof=1)
    empyrical_says = {
        "total_return": empyrical.cum_returns_final(r),
        "annual_return": empyrical.annual_return(r, annualization=YEAR),
        "volatility": empyrical.annual_volatility(r, annualization=YEAR),
        "sharpe": empyrical.sharpe_ratio(r, risk_free=rate, annualization=YEAR),
        "sortino": empyrical.sortino_ratio(r, required_return=rate, annualization=YEAR),
        "max_drawdown": empyrical.max_drawdown(r),
        "calmar": empyrical.calmar_ratio(r, annualization=YEAR),
        "alpha": empyrical.alpha(r, b, risk_free=rate, annualization=YEAR),
        "beta": empyrical.beta(r, b, risk_free=rate),
        # Per day there; a year here.
        "information_ratio": empyrical.excess_sharpe(r, b) * np.sqrt(YEAR),
    }
    quantstats_says = {
        "volatility": qs.volatility(r, periods=YEAR),
        "sharpe": qs.sharpe(r, rf=yearly, periods=YEAR),
        "sortino": qs.sortino(r, rf=yearly, periods=YEAR),
        "max_drawdown": qs.max_drawdown(r),
        "win_rate": qs.win_rate(r),
        "profit_factor": qs.profit_factor(r),
        "information_ratio": qs.information_ratio(r, b, prepare_returns=False) * np.sqrt(YEAR),
    }
    assert spread > 0
    as_floats = lambda d: {k: float(v) for k, v in d.items()}
    return {
        "risk_free": yearly,
        "returns": returns,
        "benchmark": benchmark,
        "empyrical": as_floats(empyrical_says),
        "quantstats": as_floats(quantstats_says),
    }


def correlations(seed, days, stocks):
    pick = random.Random(seed)
    table = []
    for _ in range(days):
        day = []
        for _ in range(stocks):
            # Two decimals, so that ranks are shared.
            score = round(pick.gauss(0, 1), 1)
            day.append([score, round(0.002 * score + pick.gauss(0, 0.02), 6)])
        table.append(day)
    ic = pd.Series([pearsonr(*zip(*day)).statistic for day in table])
    rank = pd.Series([spearmanr(*zip(*day)).statistic for day in table])
    says = {
        "ic": ic.mean(),
        "rank_ic": rank.mean(),
        "icir": ic.mean() / ic.std(ddof=1),
        "rank_icir": rank.mean() / rank.std(ddof=1),
    }
    return {"days": table, "scipy": {k: float(v) for k, v in says.items()}}


packages = ["empyrical-reloaded", "quantstats", "pandas", "numpy", "scipy"]
fixture = {
    "versions": {name: version(name) for name in packages},
    "series": [
        figures(walk(1, 500, 0.0005, 0.015), walk(2, 500, 0.0003, 0.012), 0.0),
        figures(walk(3, 250, -0.001, 0.02), walk(4, 250, 0.0002, 0.01), 0.03),
        figures(walk(5, 122, 0.002, 0.03, idle=0.7), walk(6, 122, 0.0, 0.011), 0.0),
    ],
    "scores": [correlations(7, 40, 12), correlations(8, 5, 3)],
}
Path(__file__).with_suffix(".json").write_text(json.dumps(fixture) + "\n")
