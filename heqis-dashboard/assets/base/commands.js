// The commands that the page offers for copying. A test runs each list in a fresh clone, from its first command to its last.

const BARS = "data/ashare/002032.SZ.csv";
const RUN = "heqis-runtime --topology topologies/single-host.toml";
/** Where the topology above writes its decisions. */
const JOURNAL = "out/single-host/decisions.jsonl";

export const COMMANDS = {
  bars: [`heqis-lab serve --csv ${BARS}`],
  decisions: [RUN, `heqis-lab serve --csv ${BARS} --journal ${JOURNAL}`],
  backtest: [
    `heqis-lab backtest ${BARS} --strategy models/baseline-factors,models/baseline-direction --from 2014-07-18 --benchmark data/ashare/000300.SH.csv --out out/backtest`,
    `heqis-lab serve --csv ${BARS} --results out/backtest`,
  ],
  graph: [`${RUN} --set nodes.host.dashboard.stay=true`],
  training: [
    `heqis-lab prepare ${BARS} --out target/data/002032.SZ`,
    "heqis-lab train --config training/smoke.toml --out out/smoke",
    "heqis-lab serve --results out/smoke",
  ],
  jobs: [`heqis-lab serve --csv ${BARS} --control`],
  watch: [`heqis-lab serve --csv ${BARS} --watch watch.toml`],
};

/** Returns the command that shows the bars and decisions of a topology again once it has ended. */
export function again(topology) {
  const params = (kind) => topology.stages.filter((stage) => stage.kind === kind).map((stage) => stage.params ?? {});
  const bars = params("csv-replay").flatMap(({ paths }) => paths ?? []);
  const journals = params("journal").map(({ path }) => path).filter(Boolean);
  if (!bars.length || !journals.length) return undefined;
  return ["heqis-lab serve --csv", ...bars, ...journals.map((path) => `--journal ${path}`)].join(" ");
}
