// Every word of the page, in two languages.

const WORDS = {
  en: {
    review: "Review", pipeline: "Pipeline", colours: "Red up or green up", language: "Language", theme: "Dark or light",
    symbol: "Instrument", toEnd: "Latest", chart: "Candlestick chart; the table below it holds the last bars",
    signals: "Decisions", which: "Instruments", side: "Side", from: "From", to: "To", more: "More",
    allSymbols: "All instruments", thisSymbol: "This instrument", trade: "Buys and sells", buy: "Buy", sell: "Sell",
    hold: "Hold", all: "All", time: "Day", code: "Code", price: "Close", expected: "Expected return", why: "Reason",
    age: "Age", upTag: "B", downTag: "S",
    open: "Open", high: "High", low: "Low", close: "Close", volume: "Volume", amount: "Turnover", change: "Change",
    marks: "Notes", confidence: "Confidence", probabilities: "Down / flat / up", inHand: "In hand afterwards",
    yes: "yes", no: "no",
    bar: "Bar", features: "What the model was fed", output: "What the model said", way: "Its way through the pipeline",
    choose: "Choose a decision: on the chart, or in the list.",
    keys: "Keys: [ and ] go to the previous and the next one, arrows move the chart.",
    noBars: "There are no bars yet. They appear as the pipeline takes them.",
    noSignals: "There is no such decision. Before the first one an instrument needs its warm-up, 250 bars with the shipped models.",
    noBarKept: "Its bar is not kept here.", noFeatures: "The features of this bar are not kept here.",
    noTimings: "Nobody wrote down when each stage had it. A running pipeline tells; a journal does when its stage has timings = true.",
    noGraph: "No graph runs here: this page is for review. heqis-runtime shows its graph on the page whose address it prints.",
    topology: "Topology, live", drain: "Drain this node", sureDrain: "Drain this node? Its sources end, what is under way is finished.",
    alarms: "Alarms", noAlarms: "None.", nodes: "Nodes", node: "Node", condition: "State", restarts: "Restarts", detail: "More",
    latency: "Time in each stage: median, to the 99th, to the 99.9th percentile", throughput: "Frames a second, last two minutes",
    books: "Books of every edge", edge: "Edge", half: "Half", sent: "Sent", delivered: "Delivered", duplicate: "Duplicate",
    dropped: "Dropped", inFlight: "In flight", closes: "Closes", counts: "What the stages counted", stage: "Stage",
    frames: "Frames", event: "Event", total: "Count", queue: "queue",
    building: "building", running: "running", draining: "draining", ended: "ended", unreachable: "does not answer",
    live: "Live", reviewing: "Review", lost: "Connection lost, trying again", p99: "p99 age",
    alarmNode: (node, condition) => `Node ${node}: ${condition}.`,
    alarmDrop: (edge, frames, cause) => `Edge ${edge} lost ${frames} frames: ${cause}.`,
    alarmRestart: (stage, times) => `Stage ${stage} was rebuilt ${times} times.`,
    alarmBooks: (edge) => `The books of edge ${edge} do not close.`,
    alarmBudget: (path, age, most) => `${path}: the 99th percentile of age is ${age}, promised were ${most}.`,
    login: "This page needs its login link, which was printed when it started. After a restart there is a new one.",
    reasons: {
      entered: (d, r) => `Bought: the expected return ${d.ret} reaches ${r.enter ?? "the line to enter"}, and up is likely enough (${d.up}).`,
      exited: (d, r) => `Sold: the expected return ${d.ret} fell to ${r.exit ?? "the line to leave"}, and down is likely enough (${d.down}).`,
      below_enter: (d, r) => `Stays out: the expected return ${d.ret} is below ${r.enter ?? "the line to enter"}.`,
      low_confidence: (d, r) => `Stays out: up is not likely enough, ${d.up} of ${r.min_confidence ?? "what is asked"}.`,
      above_exit: (d, r) => `Stays in: the expected return ${d.ret} is above ${r.exit ?? "the line to leave"}.`,
      low_exit_confidence: (d, r) => `Stays in: down is not likely enough, ${d.down} of ${r.min_exit_confidence ?? "what is asked"}.`,
      invalid_prediction: () => "Holds: the model's output is not valid.",
    },
  },
  zh: {
    review: "K 线复盘", pipeline: "流水线", colours: "红涨或绿涨", language: "语言", theme: "深色或浅色",
    symbol: "证券", toEnd: "最新", chart: "K 线图，其后的表格列出最近的行情",
    signals: "决策", which: "范围", side: "方向", from: "起", to: "止", more: "更多",
    allSymbols: "全部证券", thisSymbol: "当前证券", trade: "买入与卖出", buy: "买入", sell: "卖出",
    hold: "持有", all: "全部", time: "日期", code: "代码", price: "收盘", expected: "预期收益", why: "理由",
    age: "时延", upTag: "买", downTag: "卖",
    open: "开盘", high: "最高", low: "最低", close: "收盘", volume: "成交量", amount: "成交额", change: "涨跌",
    marks: "备注", confidence: "置信度", probabilities: "跌 / 平 / 涨", inHand: "此后持仓",
    yes: "是", no: "否",
    bar: "行情", features: "模型输入", output: "模型输出", way: "流水线各级用时",
    choose: "请选择一条决策：点图上的标记或列表中的一行。",
    keys: "按键：[ 与 ] 跳到上一条与下一条，方向键移动图形。",
    noBars: "尚无行情。流水线收到后即显示。",
    noSignals: "没有这样的决策。首条决策之前每只证券需要预热，随附模型为 250 根 K 线。",
    noBarKept: "此处未保存对应的行情。", noFeatures: "此处未保存该行情的特征。",
    noTimings: "没有记录各级用时。运行中的流水线会给出；日志需在其级上设置 timings = true。",
    noGraph: "此处没有运行流水线，本页用于复盘。heqis-runtime 启动时会打印其页面地址。",
    topology: "拓扑 · 实时", drain: "排空本节点", sureDrain: "排空本节点?数据源将结束，在途的帧会处理完。",
    alarms: "告警", noAlarms: "无。", nodes: "节点", node: "节点", condition: "状态", restarts: "重启", detail: "说明",
    latency: "各级用时：中位数，至 p99，至 p99.9", throughput: "每秒帧数，最近两分钟",
    books: "各边账目", edge: "边", half: "侧", sent: "发出", delivered: "送达", duplicate: "重复",
    dropped: "丢弃", inFlight: "在途", closes: "平账", counts: "各级计数", stage: "级",
    frames: "帧", event: "事件", total: "次数", queue: "队列",
    building: "构建中", running: "运行", draining: "排空中", ended: "已结束", unreachable: "无应答",
    live: "实时", reviewing: "复盘", lost: "连接中断，正在重试", p99: "时延 p99",
    alarmNode: (node, condition) => `节点 ${node}：${condition}。`,
    alarmDrop: (edge, frames, cause) => `边 ${edge} 丢弃 ${frames} 帧：${cause}。`,
    alarmRestart: (stage, times) => `级 ${stage} 重建 ${times} 次。`,
    alarmBooks: (edge) => `边 ${edge} 账目不平。`,
    alarmBudget: (path, age, most) => `${path}：时延 p99 为 ${age}，承诺 ${most}。`,
    login: "本页需要登录链接，启动时打印一次；重启后会有新的链接。",
    reasons: {
      entered: (d, r) => `买入：预期收益 ${d.ret} 达到买入线${r.enter ? ` ${r.enter}` : ""}，上涨概率足够（${d.up}）。`,
      exited: (d, r) => `卖出：预期收益 ${d.ret} 跌至卖出线${r.exit ? ` ${r.exit}` : ""}，下跌概率足够（${d.down}）。`,
      below_enter: (d, r) => `观望：预期收益 ${d.ret} 低于买入线${r.enter ? ` ${r.enter}` : ""}。`,
      low_confidence: (d, r) => `观望：上涨概率不足，${d.up}${r.min_confidence ? ` / ${r.min_confidence}` : ""}。`,
      above_exit: (d, r) => `持有：预期收益 ${d.ret} 高于卖出线${r.exit ? ` ${r.exit}` : ""}。`,
      low_exit_confidence: (d, r) => `持有：下跌概率不足，${d.down}${r.min_exit_confidence ? ` / ${r.min_exit_confidence}` : ""}。`,
      invalid_prediction: () => "持有：模型输出无效。",
    },
  },
};

let current = "en";

export const language = () => current;

export function setLanguage(name) {
  current = name in WORDS ? name : "en";
  document.documentElement.lang = current === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-title]")) {
    node.title = t(node.dataset.title);
    node.setAttribute("aria-label", node.title);
  }
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", t(node.dataset.label));
}

/** A word, or a sentence made of `values`. */
export function t(key, ...values) {
  const word = WORDS[current][key] ?? key;
  return typeof word === "function" ? word(...values) : word;
}

/** The reason of a decision in words; `rule` is the signal stage's, where it is known. */
export function reason(name, decision, rule) {
  const words = WORDS[current].reasons[name];
  return words ? words(decision, rule) : name;
}
