#!/usr/bin/env python3
"""What connections that say nothing cost the mock.

    cargo build --release && python3 tests/perf/silent.py [PROGRAM] [CONNECTIONS]

Opens TCP connections to the HTTPS port of `fleetstorm mock`, holds them until the mock has sent them away, and prints its
memory (PSS) before, while they are held, and after. The mock has to answer a client meanwhile.
"""

import json
import re
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parents[2] / "target/release/fleetstorm")
CONNECTIONS = int(sys.argv[2]) if len(sys.argv) > 2 else 19_500


def pss_mib(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1)) / 1024


def answered_in_s(port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain, context.wrap_socket(plain) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert stream.recv(64).startswith(b"HTTP/1.1 "), "no answer"
    return time.monotonic() - start


def main():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    zero = [f"--set=listen.{door}=127.0.0.1:0" for door in ("https", "mqtt", "amqp")]
    directory = tempfile.TemporaryDirectory()
    program = str(Path(PROGRAM).resolve())
    mock = subprocess.Popen([program, "mock", *zero], stdout=subprocess.PIPE, text=True, cwd=directory.name)
    try:
        port = int(json.loads(mock.stdout.readline())["https"].rsplit(":", 1)[1])
        answered_in_s(port)
        before = pss_mib(mock.pid)
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
        time.sleep(2)
        during, took = pss_mib(mock.pid), answered_in_s(port)
        time.sleep(12)  # `limits.first_byte` is 10 s.
        ended = sum(1 for connection in held if is_over(connection))
        after = pss_mib(mock.pid)
        print(f"{CONNECTIONS} silent connections: {before:.1f} MiB before, {during:.1f} while they are held")
        print(f"({(during - before) * 1024 / CONNECTIONS:.1f} KiB each), {after:.1f} after; a client was answered in {took:.2f} s meanwhile;")
        print(f"{ended} were sent away")
    finally:
        mock.terminate()
        mock.wait()


def is_over(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


if __name__ == "__main__":
    main()
