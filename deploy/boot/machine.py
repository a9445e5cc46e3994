"""A virtual board: a machine under QEMU that runs commands through Debian's guest agent.

Nothing reaches it but this program, over sockets in its directory, and the other board, over the link between the two.
"""

import base64
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

# Emulation is slow, and slower where the host is busy.
BOOT_S = 600
COMMAND_S = 300


class BoardError(Exception):
    """The board did not execute a command, or does not answer."""


def qemu(image, disk, disk_format, console, append):
    """The arguments that every virtual board has; `image` is the directory of kernel and initrd."""
    return [
        # A processor that many small boards have.
        "qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a72",
        "-smp", "2", "-m", "1024", "-nodefaults", "-display", "none", "-no-reboot",
        "-kernel", f"{image}/vmlinuz", "-initrd", f"{image}/initrd",
        "-append", f"console=ttyAMA0 panic=-1 {append}",
        "-serial", f"file:{console}",
        "-drive", f"file={disk},format={disk_format},if=none,id=disk",
        "-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci",
    ]  # fmt: skip


class Lines:
    """JSON objects over a socket of QEMU's, one a line."""

    def __init__(self, path, timeout_s):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout_s)
        self.socket.connect(str(path))
        self.buffer = b""

    def send(self, message, before=b""):
        self.socket.sendall(before + json.dumps(message).encode() + b"\n")

    def receive(self):
        while b"\n" not in self.buffer:
            part = self.socket.recv(1 << 16)
            if not part:
                raise BoardError("the machine closed its socket")
            self.buffer += part
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line.lstrip(b"\xff"))


class Board:
    """One machine: its disk lasts over power cuts, a copy on write of the image's."""

    def __init__(self, name, number, image, folder):
        self.name, self.number, self.image = name, number, image
        self.folder = pathlib.Path(folder)
        self.disk = self.folder / f"{name}.qcow2"
        self.process = None
        self.agent = None
        self.disk.unlink(missing_ok=True)
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", f"{image}/disk.qcow2", self.disk], check=True
        )

    def _path(self, what):
        return self.folder / f"{self.name}.{what}"

    def start(self, clock="utc"):
        """Switches the machine on; `clock` is the time of its real-time clock. `wait_for_boot` follows."""
        other = self.folder / f"{'gateway' if self.name == 'compute' else 'compute'}.link"
        link = self._path("link")
        for what in ["link", "agent", "qmp"]:
            self._path(what).unlink(missing_ok=True)
        console = self._path("console")
        arguments = qemu(
            self.image, self.disk, "qcow2", console, f"quiet systemd.hostname={self.name} net.ifnames=0"
        ) + [
            "-rtc", f"base={clock}",
            "-netdev", f"dgram,id=link,local.type=unix,local.path={link},remote.type=unix,remote.path={other}",
            "-device", f"virtio-net-pci,netdev=link,id=card,mac=52:54:00:00:00:0{self.number}",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={self._path('agent')},server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
            "-qmp", f"unix:{self._path('qmp')},server=on,wait=off",
        ]  # fmt: skip
        with open(self._path("qemu.log"), "ab") as log:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_for_boot(self):
        """Waits until the agent answers and systemd has started all units."""
        end = time.monotonic() + BOOT_S
        while True:
            if self.process.poll() is not None:
                raise BoardError(f"QEMU ended with {self.process.returncode}, see {self._path('qemu.log')}")
            try:
                self._connect()
                break
            except (OSError, BoardError):
                self.agent = None
                if time.monotonic() > end:
                    raise BoardError(f"no answer {BOOT_S} s after the start, see {self._path('console')}") from None
                time.sleep(0.5)
        self.run("systemctl is-system-running --wait >/dev/null || true", timeout_s=BOOT_S)

    def _connect(self):
        self.agent = Lines(self._path("agent"), 5)
        # Late answers to earlier questions come before the answer to this number.
        number = time.monotonic_ns() % (1 << 50)
        self.agent.send({"execute": "guest-sync-delimited", "arguments": {"id": number}}, before=b"\xff")
        while self.agent.receive().get("return") != number:
            pass
        self.agent.socket.settimeout(COMMAND_S)

    def _ask(self, command, **arguments):
        self.agent.send({"execute": command, "arguments": arguments})
        answer = self.agent.receive()
        if "error" in answer:
            raise BoardError(f"{self.name}: {command}: {answer['error']['desc']}")
        return answer["return"]

    def run(self, script, timeout_s=COMMAND_S, check=True):
        """Runs a shell script as root and returns what it printed."""
        if self.agent is None:
            raise BoardError(f"{self.name} is switched off")
        try:
            pid = self._ask("guest-exec", path="/bin/sh", arg=["-c", script], **{"capture-output": True})["pid"]
            end, pause = time.monotonic() + timeout_s, 0.05
            while not (status := self._ask("guest-exec-status", pid=pid))["exited"]:
                if time.monotonic() > end:
                    raise BoardError(f"{self.name}: still running after {timeout_s} s: {script}")
                time.sleep(pause)
                pause = min(pause * 2, 1)
        except OSError as error:
            raise BoardError(f"{self.name} does not answer: {error}") from error
        text = {key: base64.b64decode(status.get(key, "")).decode(errors="replace") for key in ["out-data", "err-data"]}
        if check and status.get("exitcode") != 0:
            raise BoardError(f"{self.name}: {script}: exit code {status.get('exitcode')}: {text['err-data'].strip()}")
        return text["out-data"]

    def write(self, path, content):
        """Writes a file on the board."""
        handle = self._ask("guest-file-open", path=path, mode="w")
        for start in range(0, len(content), 1 << 19):
            part = base64.b64encode(content[start : start + (1 << 19)]).decode()
            self._ask("guest-file-write", handle=handle, **{"buf-b64": part})
        self._ask("guest-file-close", handle=handle)

    def cable(self, plugged):
        """Pulls or plugs the cable of the link at this board."""
        monitor = Lines(self._path("qmp"), 30)
        for command in [{"execute": "qmp_capabilities"},
                        {"execute": "set_link", "arguments": {"name": "card", "up": plugged}}]:  # fmt: skip
            monitor.send(command)
            while "return" not in (answer := monitor.receive()):
                if "error" in answer:
                    raise BoardError(f"{self.name}: {answer['error']['desc']}")
        monitor.socket.close()

    def wait_for_end(self):
        """Waits until a machine that restarts has ended; `start` starts it again."""
        try:
            self.process.wait(BOOT_S)
        except subprocess.TimeoutExpired:
            raise BoardError(f"{self.name} did not restart within {BOOT_S} s") from None
        self.process = self.agent = None

    def cut_power(self):
        """Stops the machine at once; data that it had not synced is lost."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process = self.agent = None


def second_stage(image):
    """Boots the raw disk of `image` once, to make the system on it."""
    console = f"{image}/second_stage.console"
    arguments = qemu(image, f"{image}/disk.raw", "raw", console, "second_stage")
    subprocess.run(arguments, check=True, timeout=3600, stdin=subprocess.DEVNULL)
    sys.stdout.write(pathlib.Path(console).read_text(errors="replace"))


if __name__ == "__main__":
    os.nice(10)
    second_stage(sys.argv[1])
