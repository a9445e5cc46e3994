#!/usr/bin/env python3
"""Effects of f16 and int8 on the wire: bytes per frame, and differences of the decisions.

    benches/encodings.py BINARY

Runs the dual-board topology once for each encoding of the edge from the gateway to the compute node and compares the
journals with that of f32. Uses the standard library only.
"""

import json
import pathlib
import sys
import tempfile
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from resources import free_ports, start, until_ready  # noqa: E402

EDGE = "ring->engine"


def metric(port, name, label):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        for line in reply.read().decode().splitlines():
            if line.startswith(name) and label in line:
                return float(line.rsplit(" ", 1)[1])
    return 0.0


def run(binary, encoding):
    """Decisions in order, and bytes per frame on the edge."""
    metrics = free_ports(2)
    one, two = free_ports(2)
    folder = pathlib.Path(tempfile.mkdtemp())
    sets = [
        f'nodes.gateway.metrics="127.0.0.1:{metrics[0]}"',
        f'nodes.compute.metrics="127.0.0.1:{metrics[1]}"',
        'nodes.gateway.dashboard.address="127.0.0.1:0"',
        # Keeps the node, and with it its byte counter, after its stages have ended.
        "nodes.gateway.dashboard.stay=true",
        f"edges.{EDGE}.transport.port={one}",
        f"edges.signal->feedback.transport.port={two}",
        f"edges.{EDGE}.transport.encoding={encoding}",
        f'stages.journal.params.path="{folder}/journal.jsonl"',
    ]
    gateway = start(binary, "dual-board", "gateway", sets)
    compute = start(binary, "dual-board", "compute", sets)
    until_ready(gateway, metrics[0])
    compute.communicate(timeout=600)
    label = f'edge="{EDGE}"'
    sent = metric(metrics[0], "heqis_link_sent_bytes_total", label)
    gateway.terminate()
    gateway.communicate(timeout=60)
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    decisions = [line for line in lines if "side" in line]
    return decisions, sent / len(decisions)


def main():
    binary = str(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else sys.exit(__doc__)).resolve())
    plain, plain_bytes = run(binary, "f32")
    print("| encoding | bytes per frame | of f32 | largest error of a probability | of a predicted return | sides that differ |")
    print("|---|---|---|---|---|---|")
    print(f"| f32 | {plain_bytes:.0f} | 1 | – | – | – |")
    for encoding in ("f16", "int8"):
        decisions, size = run(binary, encoding)
        if len(decisions) != len(plain):
            sys.exit(f"{encoding}: {len(decisions)} decisions, not {len(plain)}")
        pairs = list(zip(plain, decisions))
        chances = max(abs(a - b) for one, other in pairs for a, b in zip(one["probabilities"], other["probabilities"]))
        returns = max(abs(one["predicted_return"] - other["predicted_return"]) for one, other in pairs)
        flips = sum(one["side"] != other["side"] for one, other in pairs)
        print(
            f"| {encoding} | {size:.0f} | {size / plain_bytes:.2f} | {chances:.1e} | {returns:.1e} "
            f"| {flips} of {len(plain)} |"
        )


if __name__ == "__main__":
    main()
