"""A peer that speaks through the NNG C library, for the interoperability tests.

Usage: nng_peer.py PROTOCOL listen|dial ENDPOINT ROLE [ARGUMENT ...] [--tls DIRECTORY NAME PEER]

With --tls the endpoint is tls+tcp: DIRECTORY has ca.pem, NAME.pem and NAME.key, and the certificate of
the other side, which it must have, is that of PEER.

Roles:
  echo              sends every message back until an empty one has been echoed
  send SIZE ...     sends one message of each size
  recv SIZE ...     receives one message of each size and checks its bytes

Byte i of a message of size n is (n * 31 + i * 7) mod 256. The script prints "ready" once it
listens or dials, and "done" when its role is over.
"""

import pathlib
import sys

import pynng

TIMEOUT_MS = 20_000


def message(size):
    # The pattern repeats every 256 bytes.
    pattern = bytes((size * 31 + i * 7) % 256 for i in range(256))
    return (pattern * (size // 256 + 1))[:size]


def receive(socket):
    # Socket.recv() of pynng 0.9.0 fails on an empty message; a message object does not, as long
    # as its absent bytes are left alone.
    received = socket.recv_msg()
    size = pynng.lib.nng_msg_len(received._nng_msg)
    return received.bytes if size else b""


def tls_config(side, directory, name, peer):
    def text(file):
        return (pathlib.Path(directory) / file).read_text()

    config = pynng.TLSConfig
    return config(
        config.MODE_SERVER if side == "listen" else config.MODE_CLIENT,
        server_name=peer if side == "dial" else None,
        ca_string=text("ca.pem"),
        own_cert_string=text(f"{name}.pem"),
        own_key_string=text(f"{name}.key"),
        auth_mode=config.AUTH_MODE_REQUIRED,
    )


def main():
    arguments = sys.argv[1:]
    tls = []
    if "--tls" in arguments:
        at = arguments.index("--tls")
        arguments, tls = arguments[:at], arguments[at + 1 :]
    protocol, side, endpoint, role, *sizes = arguments
    sizes = [int(size) for size in sizes]
    kinds = {"pair1": pynng.Pair1, "push": pynng.Push0, "pull": pynng.Pull0}
    timeouts = {"send_timeout": TIMEOUT_MS}
    if protocol != "push":
        timeouts["recv_timeout"] = TIMEOUT_MS
    with kinds[protocol](recv_max_size=64 << 20, **timeouts) as socket:
        if tls:
            socket.tls_config = tls_config(side, *tls)
        if side == "listen":
            socket.listen(endpoint)
        else:
            socket.dial(endpoint, block=False)
        print("ready", flush=True)
        if role == "echo":
            body = None
            while body != b"":
                body = receive(socket)
                socket.send(body)
        for size in sizes:
            if role == "send":
                socket.send(message(size))
            elif receive(socket) != message(size):
                raise SystemExit(f"message of {size} bytes arrived damaged")
        print("done", flush=True)
        # Closing at once would discard what NNG has queued; the tests close standard input.
        sys.stdin.read()


main()
