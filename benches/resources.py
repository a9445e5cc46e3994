#!/usr/bin/env python3
"""Resources of a node: size of the binary, start-up time, memory, threads, processor time per frame.

    benches/resources.py BINARY [BINARY ...]

A binary for another machine is run under qemu-aarch64-static. Its memory is then what is resident of the mappings that the
emulator made for it, without the emulator's own; one of the threads is the emulator's, and times say nothing. Prints one
Markdown table. Uses the standard library only.
"""

import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROUNDS = 5
MIB = 1024 * 1024


def emulator(binary):
    """Arguments in front of `binary`; ELF's e_machine, 183, is 64-bit ARM."""
    head = pathlib.Path(binary).read_bytes()[:20]
    arm = int.from_bytes(head[18:20], "little") == 183
    return ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"] if arm and os.uname().machine != "aarch64" else []


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


# Addresses where qemu's user mode maps the program, its libraries, heap and stacks; qemu's own memory is above and below.
GUEST = range(0x55_0000_0000, 0x56_0000_0000)


def guest(pid):
    """Resident MiB of an emulated program."""
    resident, inside = 0, False
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first = line.split(" ", 1)[0]
        if not first.endswith(":"):
            inside = int(first.split("-")[0], 16) in GUEST
        elif inside and first == "Rss:":
            resident += int(line.split()[1])
    return resident * 1024 / MIB


def status(pid, emulated):
    """Resident MiB, its peak so far where the kernel keeps one, and the number of threads."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    value = {line.split(":")[0]: line.split(":")[1].split()[0] for line in lines if ":" in line and line.split(":")[1].split()}
    threads = int(value["Threads"])
    if emulated:
        resident = guest(pid)
        return resident, resident, threads
    return int(value["VmRSS"]) * 1024 / MIB, int(value["VmHWM"]) * 1024 / MIB, threads


def ready(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as reply:
            return reply.status == 200
    except OSError:
        return False


def start(binary, topology, node, sets):
    command = emulator(binary) + [binary, "--topology", f"topologies/{topology}.toml", "--json", "--node", node]
    for change in sets:
        command += ["--set", change]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def until_ready(process, port):
    while not ready(port):
        if process.poll() is not None:
            sys.exit(f"a node ended with {process.returncode}")
        time.sleep(0.001)


def idle(binary):
    """Both nodes of the live topology, connected and idle: start-up seconds, MiB and threads of each."""
    metrics = free_ports(2)
    feed, one, two = free_ports(3)
    folder = tempfile.mkdtemp()
    sets = [
        f'nodes.gateway.metrics="127.0.0.1:{metrics[0]}"',
        f'nodes.compute.metrics="127.0.0.1:{metrics[1]}"',
        'nodes.gateway.dashboard.address="127.0.0.1:0"',
        f'stages.market.params.listen="127.0.0.1:{feed}"',
        f"edges.ring->engine.transport.port={one}",
        f"edges.signal->feedback.transport.port={two}",
        f'stages.journal.params.path="{folder}/journal.jsonl"',
    ]
    figures = {}
    running = []
    for node, port in (("compute", metrics[1]), ("gateway", metrics[0])):
        begin = time.perf_counter()
        process = start(binary, "live-tcp", node, sets)
        until_ready(process, port)
        figures[node] = [time.perf_counter() - begin]
        running.append((node, process))
    time.sleep(1)
    for node, process in running:
        resident, _, threads = status(process.pid, bool(emulator(binary)))
        figures[node] += [resident, threads]
    for _, process in reversed(running):
        process.terminate()
        process.communicate(timeout=60)
    return figures


def busy(binary):
    """The main job: peak MiB, threads, and microseconds of processor time per decision of each node."""
    metrics = free_ports(2)
    one, two = free_ports(2)
    folder = tempfile.mkdtemp()
    sets = [
        f'nodes.gateway.metrics="127.0.0.1:{metrics[0]}"',
        f'nodes.compute.metrics="127.0.0.1:{metrics[1]}"',
        'nodes.gateway.dashboard.address="127.0.0.1:0"',
        f"edges.ring->engine.transport.port={one}",
        f"edges.signal->feedback.transport.port={two}",
        f'stages.journal.params.path="{folder}/journal.jsonl"',
    ]
    # The gateway first: its queues fill while it waits for the compute node.
    running = {node: start(binary, "dual-board", node, sets) for node in ("gateway", "compute")}
    seen = {node: (0.0, 0, 0.0) for node in running}
    emulated = bool(emulator(binary))
    while any(process.poll() is None for process in running.values()):
        for node, process in running.items():
            try:
                _, peak, threads = status(process.pid, emulated)
                seen[node] = (max(seen[node][0], peak), max(seen[node][1], threads), seen[node][2])
            except (OSError, KeyError):
                pass
        spent = {node: cpu(process.pid) for node, process in running.items()}
        for node, seconds in spent.items():
            if seconds:
                seen[node] = (*seen[node][:2], seconds)
        time.sleep(0.002)
    decisions = None
    for node, process in running.items():
        out, _ = process.communicate()
        report = json.loads(out)
        if report["faults"] or process.returncode:
            sys.exit(f"the run failed: {report['faults']}")
        for stage in report["nodes"][0]["stages"]:
            if stage["stage"] == "journal":
                decisions = stage["frames"]
    return {node: [peak, threads, seconds * 1e6 / decisions] for node, (peak, threads, seconds) in seen.items()}


def cpu(pid):
    """User and system seconds of a process, or None when it has ended."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return None


def median(rounds, node, index):
    return statistics.median(one[node][index] for one in rounds)


def main():
    binaries = sys.argv[1:] or sys.exit(__doc__)
    print("| binary | size | node | start-up | idle | threads | running, peak | threads | processor time per decision |")
    print("|---|---|---|---|---|---|---|---|---|")
    for binary in binaries:
        binary = str(pathlib.Path(binary).resolve())
        emulated = bool(emulator(binary))
        quiet = [idle(binary) for _ in range(ROUNDS)]
        full = [busy(binary) for _ in range(ROUNDS)]
        name = "ARM, emulated" if emulated else os.uname().machine
        size = os.path.getsize(binary) / MIB
        for node in ("gateway", "compute"):
            times = ["–", "–"] if emulated else [f"{median(quiet, node, 0) * 1e3:.0f} ms", f"{median(full, node, 2):.0f} µs"]
            print(
                f"| {name} | {size:.1f} MiB | {node} | {times[0]} | {median(quiet, node, 1):.1f} MiB "
                f"| {median(quiet, node, 2):.0f} | {median(full, node, 0):.1f} MiB | {median(full, node, 1):.0f} | {times[1]} |"
            )


if __name__ == "__main__":
    main()
