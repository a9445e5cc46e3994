// Metrics of a running graph: sums, rates, and whether books close.

const KEPT_MS = 120_000;

/** Stages or edges of all nodes in one list. */
export const all = (state, key) => state.nodes.flatMap((node) => (node[key] ?? []).map((one) => ({ ...one, node: node.node })));
export const lost = (edge) => Object.values(edge.dropped).reduce((sum, frames) => sum + frames, 0);
export const closes = (edge) => edge.sent === edge.delivered + edge.duplicate + lost(edge) + edge.in_flight;
/** Returns all dropped frames; the two halves of a bridged edge count once. */
export const losses = (state) => all(state, "edges").filter((edge) => edge.side !== "receiver").reduce((sum, edge) => sum + lost(edge), 0);

/** Frames of each stage over the last minutes. */
export class History {
  constructor(topology) {
    this.topology = topology;
    this.moments = [];
  }

  /** Returns the frames processed by each stage, where its node has reported; for a source, the frames it sent. */
  done(state) {
    const frames = Object.fromEntries(all(state, "stages").map((stage) => [stage.stage, stage.frames]));
    const sent = Object.fromEntries(all(state, "edges").filter((edge) => edge.side !== "receiver").map((edge) => [edge.edge, edge.sent]));
    return Object.fromEntries(this.topology.stages.map(({ name }) => {
      const out = this.topology.edges.filter((edge) => edge.from === name).map((edge) => sent[edge.name] ?? 0);
      return [name, frames[name] === undefined ? undefined : frames[name] || Math.max(0, ...out)];
    }));
  }

  push(state) {
    const last = this.moments.at(-1);
    const done = this.done(state);
    // A new process restarts its counters.
    if (last && Object.entries(done).some(([name, frames]) => frames < last.done[name])) this.moments = [];
    this.moments.push({ at: state.at_ms, done });
    this.moments = this.moments.filter((moment) => state.at_ms - moment.at <= KEPT_MS);
  }

  /** Returns frames per second of each stage at index `at`, over the two seconds before: other nodes report less often. */
  rates(at = this.moments.length - 1) {
    const to = this.moments[at];
    let from = at;
    while (from > 0 && to.at - this.moments[from].at < 2000) from -= 1;
    const seconds = Math.max(0.001, (to.at - this.moments[from].at) / 1000);
    const before = this.moments[from].done;
    const rate = (frames, was) => (frames === undefined || was === undefined ? undefined : Math.max(0, frames - was) / seconds);
    return Object.fromEntries(Object.entries(to.done).map(([name, frames]) => [name, rate(frames, before[name])]));
  }

  /** Returns the rates of the stages `names` over the kept minutes, at most `most` points: {times, columns}. */
  curves(names, most = 240) {
    const step = Math.max(1, Math.ceil((this.moments.length - 1) / most));
    const points = [...this.moments.keys()].filter((at) => at > 0 && (this.moments.length - 1 - at) % step === 0);
    const rates = points.map((at) => this.rates(at));
    return { times: points.map((at) => this.moments[at].at / 1000), columns: names.map((name) => rates.map((one) => one[name] ?? null)) };
  }
}

/** Returns the sources and the last stages. */
export function ends(topology) {
  const fed = new Set(topology.edges.map((edge) => edge.to));
  const feeding = new Set(topology.edges.map((edge) => edge.from));
  return topology.stages.map(({ name }) => name).filter((name) => !fed.has(name) || !feeding.has(name)).slice(0, 4);
}

/** Returns the largest measured clock offset of two nodes, where there is one: {ahead_us, uncertainty_us}. */
export function clocks(state) {
  const known = all(state, "edges").filter((edge) => edge.clock).map((edge) => edge.clock);
  return known.reduce((far, clock) => (!far || Math.abs(clock.ahead_us) > Math.abs(far.ahead_us) ? clock : far), undefined);
}

/** Returns the stage after which frames are oldest. */
export function oldest(state) {
  return all(state, "stages").filter((stage) => stage.frames).reduce((old, stage) => (!old || stage.age.p99_us > old.age.p99_us ? stage : old), undefined);
}
