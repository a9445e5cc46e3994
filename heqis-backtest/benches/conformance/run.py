"""Counts the hand-computed A-share cases that simulators from PyPI pass.

    pip install -r requirements-rqalpha.txt && python run.py rqalpha
    pip install -r requirements-vectorbt.txt && python run.py vectorbt

The two need other versions of pandas, so each has an environment of its own.

A case passes when cash, shares and equity equal the results by hand after every close that it lists, to two cents: the
peers do not round each fee to a cent. A case that fails is shown with what the peer lacks for it and the first line that
differs; one that fails without a known reason, or passes in spite of one, ends the run with an error.
"""

import importlib
import logging
import sys
import warnings
from importlib.metadata import version

from cases import cases

# Fees are rounded one by one, in real accounts and in the cases.
CENTS = 2.01


def fault(case, seen):
    for day, cash, shares, equity in case.expect:
        if day not in seen:
            return f"{day}: no account"
        got = seen[day]
        close = abs(got[0] - float(cash)) * 100 <= CENTS and abs(got[2] - float(equity)) * 100 <= CENTS
        if not close or got[1] != shares:
            return f"{day}: {cash} {shares or '-'} {equity}, got {got[0]:.2f} {got[1] or '-'} {got[2]:.2f}"
    return None


def main():
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    known, strange = cases(), []
    for peer in sys.argv[1:]:
        runner = importlib.import_module(f"with_{peer}")
        missed, odd = {}, []
        for case in known:
            try:
                wrong = fault(case, runner.run(case))
            except Exception as error:
                wrong = f"{type(error).__name__}: {error}".splitlines()[0][:150]
            lack = runner.LACKS.get(case.name)
            if (wrong is None) != (lack is None):
                odd.append((case.name, wrong or f"passes, though {lack}"))
            elif wrong is not None:
                missed.setdefault(lack, []).append((case, wrong))
        count = len(known) - sum(map(len, missed.values()))
        print(f"\n{peer} {version(peer)}: {count} of {len(known)} cases")
        for lack, of in sorted(missed.items(), key=lambda item: -len(item[1])):
            print(f"  {len(of):2} {lack}")
            for case, wrong in of:
                print(f"       {case.file}: {case.name}\n         {wrong}")
        strange += odd
    for name, wrong in strange:
        print(f"not explained: {name}: {wrong}")
    return 1 if strange else 0


if __name__ == "__main__":
    sys.exit(main())
