"""Parses Prometheus text from standard input with the official client and prints what it holds as JSON.

A line that breaks the format, a sample without its type, or a duplicate sample ends with an error.
"""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

text = sys.stdin.read()
seen = set()
families = {}
for family in text_string_to_metric_families(text):
    if family.type in ("unknown", "untyped"):
        sys.exit(f"family {family.name} has no type")
    if not family.documentation:
        sys.exit(f"family {family.name} has no help")
    labels = families.setdefault(family.name, {"type": family.type, "labels": {}, "samples": 0})
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        if key in seen:
            sys.exit(f"sample {key} stands twice")
        seen.add(key)
        labels["samples"] += 1
        for name, value in sample.labels.items():
            if name != "le":
                values = labels["labels"].setdefault(name, [])
                if value not in values:
                    values.append(value)
json.dump(families, sys.stdout)
