"""Two virtual boards under systemd: an administrator's actions, and whether the journal stays complete.

Each scenario starts a replay from its first bar, disturbs it, waits for its end and compares the journal, record by record,
with that of an undisturbed run of the same binary on this machine.
"""

import argparse
import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

from machine import Board, BoardError

# What deploy/boot/image makes.
IMAGE = pathlib.Path(__file__).resolve().parents[2] / "target/boards/boot"
JOURNAL = "/var/lib/heqis/decisions.jsonl"
SHARE = "/usr/share/heqis"
# Bars of eleven years at forty days a second: about 3,470 decisions in a hundred seconds. More than 1,024 of them, the
# capacity of an edge, follow each disturbance, so that a stalled edge is detected.
SPEED, LAST_DAY = "3456000.0", "2010-12-31"
BARS = f'stages.market.params.speed={SPEED};stages.market.params.to="{LAST_DAY}"'
# Certificates are a matter of heqis-runtime/tests/guide.rs; the link here is between two virtual machines only.
ADDRESSES = "nodes.gateway.address=10.0.0.1;nodes.compute.address=10.0.0.2;topology.insecure=true"
# After how long without a decision the pipeline counts as stalled, and how soon decisions must continue after a disturbance.
# Both are generous: emulated boards share the host's processors with other work.
STALL_S = 90
RESUME_S = 60
# Decisions before a disturbance: enough that a replay at the pace of the first run would be detected.
BEFORE = 400


def check(holds, fault):
    """Ends the scenario with a description of the fault unless `holds`."""
    if not holds:
        raise BoardError(fault)


def wait(what, condition, within_s, pause_s=1.0):
    """Polls until `condition()` is true; returns how long it took, in seconds."""
    start = time.monotonic()
    while not condition():
        check(time.monotonic() - start < within_s, f"{what}: not within {within_s} s")
        time.sleep(pause_s)
    return time.monotonic() - start


def records(text):
    """The decisions of a journal, without its header and its closing record."""
    return [line for line in text.splitlines() if line.startswith('{"n":')]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def reference(package, folder):
    """The decisions of an undisturbed run of the package's binary on this machine, under user-mode emulation.

    An x86-64 binary would not do: predicted values of two kinds of processor differ in their last digits, within the bound
    of heqis-runtime/tests/boards.rs. The decisions are kept for the next time.
    """
    root, journal = folder / "reference", folder / "reference.jsonl"
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    key = hashlib.sha256(BARS.encode())
    for part in ["usr/bin", "etc", SHARE[1:]]:
        for path in sorted((root / part).rglob("*")):
            key.update(path.read_bytes() if path.is_file() else b"")
    kept = folder / f"reference-{key.hexdigest()[:16]}.jsonl"
    if not kept.exists():
        journal.unlink(missing_ok=True)
        sets = f'{BARS};topology.base="{root}{SHARE}";stages.journal.params.path="{journal}"'
        for name in ["gateway.metrics", "compute.metrics", "gateway.dashboard.address"]:
            sets += f";nodes.{name}=127.0.0.1:0"
        for edge in ["ring->engine", "signal->feedback"]:
            sets += f";edges.{edge}.transport.port={free_port()}"
        command = ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu", root / "usr/bin/heqis-runtime"]
        command += ["--topology", root / "etc/heqis/topology.toml"]
        environment = {**os.environ, "HEQIS_SET": sets}
        with open(folder / "reference.log", "wb") as log:
            runs = [
                subprocess.Popen([*command, "--node", node], env=environment, stdout=log, stderr=log)
                for node in ["gateway", "compute"]
            ]
            codes = [run.wait() for run in runs]
        check(not any(codes), f"the undisturbed run ended with {codes}, see {folder / 'reference.log'}")
        journal.rename(kept)
    shutil.rmtree(root)
    return records(kept.read_text())


def newer(package, folder):
    """The same package with another version."""
    root = folder / "newer"
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(["dpkg-deb", "-R", package, root], check=True)
    control = root / "DEBIAN/control"
    lines = [f"{line}+upgrade" if line.startswith("Version:") else line for line in control.read_text().splitlines()]
    control.write_text("\n".join(lines) + "\n")
    path = folder / "newer.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, path], check=True, stdout=subprocess.DEVNULL)
    return path


class Boards:
    """The pair: gateway and compute node, with the package installed on both."""

    def __init__(self, image, folder, package, upgrade, expected):
        self.package, self.upgrade, self.expected = package, upgrade, expected
        asked = subprocess.run(["dpkg-deb", "-f", upgrade, "Version"], check=True, capture_output=True, text=True)
        self.newer_version = asked.stdout.strip()
        self.gateway = Board("gateway", 1, image, folder)
        self.compute = Board("compute", 2, image, folder)
        self.both = [self.gateway, self.compute]
        self.cleanups = []

    def boot(self, boards=None, clock="utc"):
        """Switches boards on and waits for both."""
        for board in boards or self.both:
            board.start(clock)
        for board in boards or self.both:
            board.wait_for_boot()

    def install(self, board, settings):
        """The commands of docs/boards/README.md, after the package was copied to the board."""
        board.write("/root/heqis.deb", pathlib.Path(self.package).read_bytes())
        board.run("cd /root && sudo apt install -y ./heqis.deb")
        self.configure(board, settings)
        board.run("heqis-runtime check /etc/heqis/topology.toml")
        board.run(f"sudo systemctl enable heqis@{board.name}")

    def configure(self, board, settings):
        # systemd changes nothing within single quotes.
        board.write("/etc/heqis/environment", f"HEQIS_SET='{settings}'\nRUST_LOG=info\n".encode())

    def journal(self):
        """The decisions in the compute node's journal. The one place that reads it."""
        export = f"heqis-runtime journal export {JOURNAL} 2>/dev/null"
        plain = f"cat {JOURNAL} 2>/dev/null || true"
        return records(self.compute.run(f"if {export} >/tmp/export; then cat /tmp/export; else {plain}; fi"))

    def count(self):
        return len(self.journal())

    def begin(self, settings="", until=BEFORE):
        """Starts both nodes without earlier state, and waits for the first decisions."""
        for board in self.both:
            # A failed scenario may have left it off, or broken.
            try:
                board.run("true", timeout_s=60)
            except BoardError:
                board.cut_power()
                self.boot([board])
            board.run(f"systemctl stop heqis@{board.name}; systemctl reset-failed; find /var/lib/heqis -mindepth 1 -delete; sync")
            self.configure(board, ";".join(part for part in [ADDRESSES, BARS, settings] if part))
        for board in self.both:
            board.run(f"sudo systemctl start --no-block heqis@{board.name}")
        wait(f"the first {until} decisions", lambda: self.count() >= until, RESUME_S + 60)
        self.first_gateway = self.show(self.gateway, "InvocationID")

    def resumed(self, before):
        """Decisions continue after those of `before`, which stay unchanged; returns how long it took."""

        def more():
            now = self.journal()
            check(now[: len(before)] == before, f"records that stood are changed: {self.difference(now, before)}")
            return len(now) > len(before)

        return f"decisions after {wait('decisions go on', more, RESUME_S):.0f} s"

    def finish(self):
        """Waits for the end of the replay, and compares the journal."""
        last, changed = self.count(), time.monotonic()
        while last < len(self.expected):
            time.sleep(2)
            now = self.count()
            if now != last:
                last, changed = now, time.monotonic()
            states = [self.show(board, "ActiveState") for board in self.both]
            ended = all(state in ["inactive", "failed"] for state in states)
            check(
                time.monotonic() - changed < (10 if ended else STALL_S),
                f"stalled at {last} of {len(self.expected)} decisions, gateway {states[0]}, compute {states[1]}",
            )
        # Any repetition would appear now.
        with contextlib.suppress(BoardError):
            wait("the end", lambda: all(self.show(b, "ActiveState") == "inactive" for b in self.both), 15)
        now = self.journal()
        check(now == self.expected, self.difference(now, self.expected))
        check([self.show(b, "Result") for b in self.both] == ["success"] * 2, "a unit did not end with success")
        self.check_feedback()

    def check_feedback(self):
        """The gateway received each decision once: in its books, if one process has seen the whole replay."""
        if self.show(self.gateway, "InvocationID") != self.first_gateway:
            return
        log = self.gateway.run(f"journalctl -o cat --no-pager _SYSTEMD_INVOCATION_ID={self.first_gateway}")
        books = re.findall(r"^ *feedback: (.*)$", log, re.MULTILINE)
        check(books, "the gateway's books do not name the feedback")
        taken = sum(int(count) for count in re.findall(r"\b(?:buy|hold|sell) (\d+)", books[-1]))
        check(taken == len(self.expected), f"the gateway took back {taken} decisions, there are {len(self.expected)}")

    @staticmethod
    def difference(found, expected):
        """Where two journals differ, in a few words."""
        twice = len(found) - len(set(found))
        missing = len(set(expected) - set(found))
        first = next((i for i, pair in enumerate(zip(found, expected)) if pair[0] != pair[1]), min(len(found), len(expected)))
        return (
            f"{len(found)} records for {len(expected)}, {missing} missing, {twice} twice, the first difference at record "
            f"{first + 1}: {(found[first : first + 1] or ['nothing'])[0][:120]}"
        )

    def show(self, board, name):
        """A property of the board's unit."""
        return board.run(f"systemctl show heqis@{board.name} -p {name} --value").strip()

    def readiness(self, board):
        """The first line of the node's answer to /readyz, by a shell, since there is no curl."""
        port = 9101 if board is self.gateway else 9102
        return board.run(
            f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port};"
            r' printf "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" >&3; head -1 <&3'
            "'"
        ).strip()

    def is_ready(self, board):
        return self.show(board, "Type") == "notify" and self.show(board, "ActiveState") == "active"

    def logs(self, folder, name):
        """Keeps what the nodes logged."""
        for board in self.both:
            with contextlib.suppress(BoardError):
                log = board.run(f"journalctl -o short-precise -u heqis@{board.name} --no-pager | tail -n 400", check=False)
                (folder / f"{name}-{board.name}.log").write_text(log)


# Scenarios: each returns the text to print after PASS.


def first_signal(boards):
    boards.begin(until=1)
    for board in boards.both:
        check(boards.is_ready(board), f"heqis@{board.name} is {boards.show(board, 'ActiveState')}, not active")
        log = board.run(f"journalctl -b -u heqis@{board.name} --no-pager")
        check(f"Started heqis@{board.name}" in log, "systemd was not notified that the node is ready")
        check(boards.readiness(board).startswith("HTTP/1.1 200"), f"/readyz of {board.name}: {boards.readiness(board)}")
    boards.finish()


def restart(name):
    def scenario(boards):
        boards.begin()
        before = boards.journal()
        getattr(boards, name).run(f"sudo systemctl restart heqis@{name}")
        detail = boards.resumed(before)
        boards.finish()
        return detail

    return scenario


def restart_again(boards):
    """Both nodes, one after the other, twice."""
    boards.begin()
    detail = []
    for board in boards.both * 2:
        before = boards.journal()
        board.run(f"sudo systemctl restart heqis@{board.name}")
        detail.append(boards.resumed(before))
    boards.finish()
    return ", ".join(detail)


def upgrade(name):
    def scenario(boards):
        board = getattr(boards, name)
        boards.begin()
        board.write("/root/newer.deb", pathlib.Path(boards.upgrade).read_bytes())
        board.run("sudo dpkg -i /root/newer.deb")
        check(boards.newer_version in board.run("dpkg-query -W heqis"), "dpkg does not know the new version")
        # The package leaves the node running; the administrator, who knows the order, restarts it.
        check(boards.is_ready(board), "the upgrade ended the node")
        before = boards.journal()
        board.run(f"sudo systemctl restart heqis@{name}")
        detail = boards.resumed(before)
        pid = boards.show(board, "MainPID")
        check("deleted" not in board.run(f"readlink /proc/{pid}/exe"), "the node runs the old binary")
        boards.finish()
        board.run("sudo dpkg -i --force-downgrade /root/heqis.deb")
        return detail

    return scenario


def power_cut(*names):
    def scenario(boards):
        # Data that a power cut could lose must be on the disk before it is acknowledged.
        boards.begin("stages.journal.params.sync=batch")
        struck = [getattr(boards, name) for name in names]
        before = boards.journal()
        for board in struck:
            board.cut_power()
        start = time.monotonic()
        boards.boot(struck)
        booted = time.monotonic() - start
        detail = boards.resumed(before)
        boards.finish()
        return f"booted in {booted:.0f} s, {detail}"

    return scenario


def cable(boards):
    boards.begin()
    for board in boards.both:
        board.cable(False)
        boards.cleanups.append(lambda board=board: board.cable(True))
    time.sleep(5)
    before = boards.journal()
    time.sleep(15)
    check(boards.count() == len(before), "decisions came without a cable")
    for board in boards.both:
        board.cable(True)
    detail = boards.resumed(before)
    boards.finish()
    return detail


def cable_late(boards):
    """Both nodes are started before their cards have a link, and so an address."""
    for board in boards.both:
        board.cable(False)
        boards.cleanups.append(lambda board=board: board.cable(True))
    boards.begin(until=0)
    time.sleep(90)
    for board in boards.both:
        board.cable(True)
    took = wait("the first decisions", lambda: boards.count() > 0, RESUME_S + 60)
    boards.finish()
    return f"decisions {took:.0f} s after the cable"


def reboot(boards):
    """Both machines are restarted regularly; the units end with them and start again."""
    boards.begin()
    before = boards.journal()
    for board in boards.both:
        # It may end before it can answer.
        with contextlib.suppress(BoardError):
            board.run("systemctl --no-block reboot")
    start = time.monotonic()
    for board in boards.both:
        board.wait_for_end()
    boards.boot()
    booted = time.monotonic() - start
    detail = boards.resumed(before)
    boards.finish()
    return f"down and up in {booted:.0f} s, {detail}"


def clock(boards):
    """No battery, no time server: the boards start with an old time, then the time is set."""
    for board in boards.both:
        board.cut_power()
    boards.boot(clock="1970-01-01T00:00:00")
    booted = boards.compute.run("date -u +%F").strip()
    # systemd moves a clock before its own build up to that; a board without such a systemd starts here.
    for board in boards.both:
        board.run("date -u -s @60")
    boards.begin()
    for board in boards.both:
        check(board.run("date -u +%Y").strip() == "1970", "the clock is not at 1970")
    before = boards.journal()
    for board in boards.both:
        board.run(f"date -u -s @{int(time.time())}")
    detail = boards.resumed(before)
    boards.finish()
    return f"{booted} after the boot, {detail}"


def full_disk(boards):
    board = boards.compute
    board.run("systemctl stop heqis@compute")
    board.run(
        "mkdir -p /var/lib/heqis && truncate -s 16M /root/small.img && mkfs.ext4 -q -m 0 /root/small.img && mount -o loop /root/small.img /var/lib/heqis"
    )
    boards.cleanups.append(lambda: board.run("systemctl stop heqis@compute; umount /var/lib/heqis; rm /root/small.img"))
    boards.begin()
    board.run("fallocate -l 1G /var/lib/heqis/ballast || true; dd if=/dev/zero of=/var/lib/heqis/rest bs=1k 2>/dev/null || true")
    time.sleep(5)
    before = boards.journal()
    time.sleep(20)
    check(len(boards.journal()) - len(before) < 20, "the disk was not full")
    board.run("rm -f /var/lib/heqis/ballast /var/lib/heqis/rest")
    detail = boards.resumed(before)
    boards.finish()
    return detail


def watchdog(name):
    def scenario(boards):
        board = getattr(boards, name)
        drop_in = "/run/systemd/system/heqis@.service.d/watchdog.conf"
        board.run(
            f"mkdir -p $(dirname {drop_in}) && printf '[Service]\\nWatchdogSec=15\\nTimeoutAbortSec=5\\n' >{drop_in}"
            " && systemctl daemon-reload"
        )
        boards.cleanups.append(lambda: board.run(f"rm -f {drop_in}; systemctl daemon-reload"))
        boards.begin()
        board.run(f"systemctl kill --signal=STOP heqis@{name}")
        before = boards.journal()
        took = wait("systemd starts it again", lambda: int(boards.show(board, "NRestarts")) > 0, 90)
        log = board.run(f"journalctl -b -u heqis@{name} --no-pager")
        check("Watchdog timeout" in log, "it was not the watchdog that ended it")
        detail = boards.resumed(before)
        boards.finish()
        check(boards.show(board, "NRestarts") == "1", "the watchdog ended a node that made progress")
        return f"started again after {took:.0f} s, {detail}"

    return scenario


SCENARIOS = {
    "first-signal": first_signal,
    "restart-compute": restart("compute"),
    "restart-gateway": restart("gateway"),
    "restart-both-twice": restart_again,
    "upgrade-compute": upgrade("compute"),
    "upgrade-gateway": upgrade("gateway"),
    "power-cut-compute": power_cut("compute"),
    "power-cut-gateway": power_cut("gateway"),
    "power-cut-both": power_cut("compute", "gateway"),
    "reboot-both": reboot,
    "cable": cable,
    "cable-late": cable_late,
    "clock-1970": clock,
    "full-disk": full_disk,
    "watchdog-compute": watchdog("compute"),
    "watchdog-gateway": watchdog("gateway"),
}


def play(name, boards, folder):
    """Runs one scenario; returns whether it passed."""
    start = time.monotonic()
    try:
        detail, passed = SCENARIOS[name](boards), True
    except BoardError as error:
        detail, passed = str(error), False
    boards.logs(folder, name)
    for cleanup in boards.cleanups:
        with contextlib.suppress(BoardError):
            cleanup()
    boards.cleanups.clear()
    seconds = time.monotonic() - start
    print(f"{'PASS' if passed else 'FAIL'}  {name}  {seconds:.0f} s{f'  {detail}' if detail else ''}", flush=True)
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=pathlib.Path, help="for arm64")
    parser.add_argument("--upgrade", type=pathlib.Path, help="a newer package; by default the same with another version")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"all unless named: {', '.join(SCENARIOS)}")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    # An interrupted run leaves no machine running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.nice(10)
    package, folder = arguments.package.resolve(), IMAGE / "run"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.log"):
        old.unlink()
    results = []
    boards = None
    try:
        start = time.monotonic()
        expected = reference(package, IMAGE)
        print(f"undisturbed run: {len(expected)} decisions ({time.monotonic() - start:.0f} s)", flush=True)
        upgrade_to = arguments.upgrade or newer(package, folder)
        boards = Boards(IMAGE, folder, package, upgrade_to, expected)
        start = time.monotonic()
        boards.boot()
        for board in boards.both:
            boards.install(board, ADDRESSES)
        print(f"both boards are up, the package is installed ({time.monotonic() - start:.0f} s)", flush=True)
        for name in arguments.scenarios or SCENARIOS:
            results.append(play(name, boards, folder))
    except BoardError as error:
        print(f"FAIL  before the scenarios: {error}")
        results.append(False)
    finally:
        for board in boards.both if boards else []:
            board.cut_power()
    print(f"{results.count(True)} passed, {results.count(False)} failed, 0 skipped")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
