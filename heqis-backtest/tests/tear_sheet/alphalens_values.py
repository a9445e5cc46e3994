"""Writes scores.csv and alphalens.json: made-up scores and prices of 12 stocks, and alphalens-reloaded's values for them.

    pip install alphalens-reloaded && python heqis-backtest/tests/tear_sheet/alphalens_values.py

The prices are closes; one stock has no rows for some days, some scores are equal, and some are missing.
"""
import json
import pathlib
import warnings

import numpy as np
import pandas as pd
from alphalens import performance, utils
from scipy import stats

warnings.filterwarnings("ignore")
here = pathlib.Path(__file__).parent
random = np.random.default_rng(7)
days = pd.bdate_range("2021-01-04", periods=90)
symbols = [f"60000{n}.SH" if n < 10 else f"6000{n}.SH" for n in range(12)]
moves = random.normal(0, 0.02, (90, 12))
prices = pd.DataFrame(10 * np.exp(np.cumsum(moves, axis=0)), index=days, columns=symbols).round(4)
future = np.vstack([moves[1:], np.zeros((1, 12))])
scores = pd.DataFrame(future * 0.3 + random.normal(0, 0.02, (90, 12)), index=days, columns=symbols).round(6)
scores.iloc[10, 3] = scores.iloc[10, 4]
scores.iloc[20, :5] = 0.01
scores.iloc[30:34, 7] = np.nan
prices.iloc[50:58, 5] = np.nan
scores.iloc[50:58, 5] = np.nan

rows = [
    (day.date().isoformat(), stock, prices.loc[day, stock], scores.loc[day, stock])
    for day in days
    for stock in symbols
    if not np.isnan(prices.loc[day, stock])
]
table = pd.DataFrame(rows, columns=["date", "symbol", "close", "score"])
table.to_csv(here / "scores.csv", index=False)

factor = scores.stack().dropna()
factor.index.names = ["date", "asset"]
sector = {stock: "even" if n % 2 == 0 else "odd" for n, stock in enumerate(symbols)}
data = utils.get_clean_factor_and_forward_returns(
    factor, prices, groupby=sector, quantiles=4, periods=(1, 3), filter_zscore=None, max_loss=1.0
)


def listed(values):
    return {str(key): (None if pd.isna(value) else float(value)) for key, value in values.items()}


ic = performance.factor_information_coefficient(data)
means, _ = performance.mean_return_by_quantile(data, demeaned=True)
raw, _ = performance.mean_return_by_quantile(data, demeaned=False)
by_group = performance.mean_information_coefficient(data, by_group=True)
out = {"rows": len(data)}
for period, column in [(1, "1D"), (3, "3D")]:
    values = ic[column].dropna()
    out[column] = {
        "ic_mean": float(values.mean()),
        "ic_deviation": float(values.std()),
        "ic_skew": float(stats.skew(values)),
        "ic_kurtosis": float(stats.kurtosis(values)),
        "ic_t": float(stats.ttest_1samp(values, 0).statistic),
        "excess": listed(means[column]),
        "returns": listed(raw[column]),
        "long_short": float(performance.factor_returns(data)[column].mean()),
        "turnover": {
            str(quantile): float(performance.quantile_turnover(data["factor_quantile"], quantile, period).dropna().mean())
            for quantile in range(1, 5)
        },
        "autocorrelation": float(performance.factor_rank_autocorrelation(data, period).dropna().mean()),
        "by_group": listed(by_group[column]),
    }
(here / "alphalens.json").write_text(json.dumps(out, indent=1) + "\n")
