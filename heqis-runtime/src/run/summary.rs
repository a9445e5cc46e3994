//! The report of a run: the books of every edge, latencies, and the counters of the stages.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use heqis_actors::{EdgeReport, EdgeSide, NodeReport, Quantiles};
use serde::Serialize;

/// The reports of all nodes of a run, put together.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Name of the topology.
    pub topology: String,
    /// One report per node that lived to the end.
    pub nodes: Vec<NodeReport>,
    /// Times each node had to be started again after it died.
    pub restarts: BTreeMap<String, u64>,
    /// What went wrong, one sentence each; empty after a clean run.
    pub faults: Vec<String>,
}

impl Summary {
    /// Puts reports together and audits them: each book closes, nothing is left in flight, and the two halves of a
    /// bridged edge agree.
    #[must_use]
    pub fn new(topology: &str, nodes: Vec<NodeReport>, restarts: BTreeMap<String, u64>) -> Self {
        let mut faults = Vec::new();
        for node in &nodes {
            if let Some(failure) = &node.failure {
                faults.push(format!("node '{}': {failure}", node.node));
            }
            for edge in &node.edges {
                if !edge.closes() {
                    faults.push(format!(
                        "node '{}': the books of edge '{}' do not close",
                        node.node, edge.edge
                    ));
                } else if edge.in_flight > 0 {
                    faults.push(format!(
                        "node '{}': {} frames of edge '{}' are still in flight",
                        node.node, edge.in_flight, edge.edge
                    ));
                }
                let lost = node.lost_on(edge);
                if lost > 0 {
                    faults.push(format!(
                        "node '{}': {lost} frames were lost on edge '{}', which loses nothing by its policy",
                        node.node, edge.edge
                    ));
                }
            }
        }
        let all: Vec<&EdgeReport> = nodes.iter().flat_map(|node| &node.edges).collect();
        // A node that died took its half of the books along; the sender's half, kept by acknowledgement, stands.
        if restarts.values().all(|&times| times == 0) {
            for sender in all.iter().filter(|edge| edge.side == EdgeSide::Sender) {
                let Some(receiver) = all
                    .iter()
                    .find(|e| e.side == EdgeSide::Receiver && e.edge == sender.edge)
                else {
                    continue;
                };
                // What the receiver did after the sender had ended is in doubt there.
                let in_doubt = sender.in_doubt.map_or(0, |doubt| doubt.frames);
                if !(sender.delivered..=sender.delivered + in_doubt).contains(&receiver.delivered) {
                    faults.push(format!(
                        "edge '{}': the sender booked {} frames as delivered, the receiver {}",
                        sender.edge, sender.delivered, receiver.delivered
                    ));
                }
            }
        }
        Self {
            topology: topology.to_owned(),
            nodes,
            restarts,
            faults,
        }
    }

    /// Whether everything ended well.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// The summary as text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = format!("\n{}\n", self.topology);
        let _ = writeln!(out, "\nframes per edge\n{}", self.edges());
        let _ = writeln!(
            out,
            "\nlatency per stage, and age of frames when the stage is done (µs)\n{}",
            self.stages()
        );
        let events = self.events();
        if !events.is_empty() {
            let _ = writeln!(out, "\ncounters of the stages\n{events}");
        }
        for (node, times) in self.restarts.iter().filter(|(_, times)| **times > 0) {
            let _ = writeln!(
                out,
                "node '{node}' died and was started again {times} time(s)"
            );
        }
        for node in self.nodes.iter().filter(|node| node.left) {
            let _ = writeln!(
                out,
                "node '{}' left before its streams were complete",
                node.node
            );
            for (edge, doubt) in node
                .edges
                .iter()
                .filter_map(|e| Some((&e.edge, e.in_doubt?)))
            {
                let _ = writeln!(
                    out,
                    "  edge '{edge}': {} frames in doubt, numbers {} to {}, positions {} to {}; they are sent again",
                    doubt.frames,
                    doubt.first_seq,
                    doubt.last_seq,
                    doubt.first_position,
                    doubt.last_position
                );
            }
        }
        for fault in &self.faults {
            let _ = writeln!(out, "fault: {fault}");
        }
        if self.is_clean() {
            out.push_str("books closed: on every edge sent = delivered + duplicate + dropped\n");
        }
        out
    }

    fn edges(&self) -> Table {
        let mut table = table(
            &[
                "edge",
                "node",
                "side",
                "sent",
                "delivered",
                "duplicate",
                "dropped",
                "causes",
            ],
            3..7,
        );
        for node in &self.nodes {
            for edge in &node.edges {
                let causes: Vec<String> = edge
                    .dropped
                    .iter()
                    .map(|(cause, frames)| format!("{} {frames}", cause.name()))
                    .collect();
                table.add_row([
                    edge.edge.clone(),
                    node.node.clone(),
                    edge.side.name().to_owned(),
                    edge.sent.to_string(),
                    edge.delivered.to_string(),
                    edge.duplicate.to_string(),
                    edge.dropped_total().to_string(),
                    causes.join(", "),
                ]);
            }
        }
        table
    }

    fn stages(&self) -> Table {
        let mut table = table(
            &[
                "stage",
                "node",
                "frames",
                "p50",
                "p99",
                "p99.9",
                "age p50",
                "age p99",
                "age p99.9",
                "restarts",
            ],
            2..10,
        );
        for node in &self.nodes {
            // A source takes no frames, so there is nothing to time.
            for stage in node.stages.iter().filter(|stage| stage.frames > 0) {
                let mut row = vec![
                    stage.stage.clone(),
                    node.node.clone(),
                    stage.frames.to_string(),
                ];
                row.extend(quantiles(stage.latency));
                row.extend(quantiles(stage.age));
                row.push(stage.restarts.to_string());
                table.add_row(row);
            }
        }
        table
    }

    fn events(&self) -> String {
        let mut lines = Vec::new();
        for stage in self.nodes.iter().flat_map(|node| &node.stages) {
            let events: Vec<String> = stage
                .events
                .iter()
                .filter(|(_, count)| *count > 0)
                .map(|(event, count)| format!("{event} {count}"))
                .collect();
            if !events.is_empty() {
                lines.push(format!("  {}: {}", stage.stage, events.join(", ")));
            }
        }
        lines.join("\n")
    }
}

fn table(header: &[&str], numbers: std::ops::Range<usize>) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_header(header.iter().copied());
    for index in numbers {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn quantiles(quantiles: Quantiles) -> [String; 3] {
    [quantiles.p50_us, quantiles.p99_us, quantiles.p999_us].map(|us| format!("{us:.1}"))
}
