//! The plan as a drawing: mermaid for documents, dot for Graphviz.

use std::fmt::Write;

use heqis_actors::{Policy, port_of};

use super::plan::{Edge, Plan};

/// Draws `plan` as a mermaid flowchart, one box per node.
#[must_use]
pub fn mermaid(plan: &Plan) -> String {
    let mut text = String::from("flowchart LR\n");
    for (index, node) in plan.nodes.iter().enumerate() {
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "    subgraph {}[\"{} ({})\"]",
            id(&node.name, "node"),
            node.name,
            node.board.name()
        );
        for stage in plan.stages.iter().filter(|stage| stage.node == index) {
            let label = format!("{}<br/><small>{}</small>", stage.name, stage.kind.name);
            let _ = match (stage.kind.is_source(), stage.kind.is_sink()) {
                (true, _) => writeln!(text, "        {}([\"{label}\"])", id(&stage.name, "stage")),
                (_, true) => writeln!(text, "        {}[[\"{label}\"]]", id(&stage.name, "stage")),
                _ => writeln!(text, "        {}[\"{label}\"]", id(&stage.name, "stage")),
            };
        }
        text.push_str("    end\n");
    }
    for edge in &plan.edges {
        let (from, to) = (
            id(&plan.stages[edge.from].name, "stage"),
            id(&plan.stages[edge.to].name, "stage"),
        );
        let arrow = if edge.bridge.is_some() { "==>" } else { "-->" };
        let _ = writeln!(
            text,
            "    {from} {arrow}|\"{}\"| {to}",
            label(edge, "<br/>")
        );
    }
    text
}

/// Draws `plan` for Graphviz, one cluster per node.
#[must_use]
pub fn dot(plan: &Plan) -> String {
    let mut text = format!(
        "digraph \"{}\" {{\n    rankdir=LR;\n    node [shape=box, style=rounded];\n",
        plan.name
    );
    for (index, node) in plan.nodes.iter().enumerate() {
        let _ = writeln!(text, "    subgraph \"cluster_{}\" {{", node.name);
        let _ = writeln!(
            text,
            "        label=\"{} ({})\";",
            node.name,
            node.board.name()
        );
        for stage in plan.stages.iter().filter(|stage| stage.node == index) {
            let _ = writeln!(
                text,
                "        \"{}\" [label=\"{}\\n{}\"];",
                stage.name, stage.name, stage.kind.name
            );
        }
        text.push_str("    }\n");
    }
    for edge in &plan.edges {
        let style = if edge.bridge.is_some() {
            ", penwidth=2"
        } else {
            ""
        };
        let (from, to) = (&plan.stages[edge.from].name, &plan.stages[edge.to].name);
        let _ = writeln!(
            text,
            "    \"{from}\" -> \"{to}\" [label=\"{}\"{style}];",
            label(edge, "\\n")
        );
    }
    text.push_str("}\n");
    text
}

/// Mermaid has reserved words, such as `end`, which a prefix keeps clear of.
fn id(name: &str, prefix: &str) -> String {
    format!("{prefix}_{}", name.replace('-', "_"))
}

/// What a reader wants to know of an edge: its ports, its policy and capacity, and how it crosses.
fn label(edge: &Edge, line: &str) -> String {
    let options = &edge.options;
    let (from, to) = edge.ends();
    let mut label = match (port_of(from), port_of(to)) {
        ("", "") => String::new(),
        (from, "") => format!("from {from}{line}"),
        ("", to) => format!("to {to}{line}"),
        (from, to) => format!("{from} to {to}{line}"),
    };
    label.push_str(options.policy.name());
    if options.policy != Policy::Latest {
        let _ = write!(label, " {}", options.capacity);
    }
    if options.partition_by_key {
        label.push_str(", by key");
    }
    if let Some(bridge) = &edge.bridge {
        let _ = write!(label, "{line}{}", bridge.options.endpoint);
    }
    label
}
