#!/usr/bin/env python3
"""Whole-process performance, side by side with a peer in the same run.

    cargo build --release -p fleetstorm -p fleetstorm-perf-peer && cargo install oha --locked
    python3 tests/perf/run.py [keep-alive|armed|register|memory|lag|quickstart|mqtt-register|mqtt-memory|amqp-memory|mosquitto ...]

The mock runs on the first core and every client on the second, so that neither slows the other. CPU time is that of
the whole client process, start-up included, as the kernel counts it. Figures are medians of the rounds.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLEETSTORM = ROOT / "target/release/fleetstorm"
PEER = ROOT / "target/release/fleetstorm-perf-peer"
OHA = shutil.which("oha")
SCOPE, DEVICE = "0ne00F1EE75", "dev-000001"
REGISTER = f"/{SCOPE}/registrations/{{}}/register?api-version=2019-03-31"
# As long as a real one. Where the mock is to accept it, devices sign their own.
TOKEN = (
    f"SharedAccessSignature sr={SCOPE}%2Fregistrations%2F{DEVICE}"
    "&sig=eg1rWF3ZMGavnJD4rHkAivFB3jPy9u6uvYJyGyKQSLI%3D&se=1900000000&skn=registration"
)
CONNECTIONS = 50


class Mock:
    """A mock on the first core; `file` is its configuration."""

    def __init__(self, directory, file):
        (directory / "mock.toml").write_text(file)
        self.process = subprocess.Popen(
            [FLEETSTORM, "mock", "--config", "mock.toml", "--set", "listen.https=127.0.0.1:0",
             "--set", "listen.mqtt=127.0.0.1:0", "--set", "listen.amqp=127.0.0.1:0"],
            cwd=directory,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, {0}),
        )
        ready = json.loads(self.process.stdout.readline())
        self.address, self.mqtt, self.amqp, self.ca = (ready[name] for name in ("https", "mqtt", "amqp", "ca"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


def client(command, directory):
    """Runs a client on the second core; returns its CPU seconds, wall seconds and output."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [str(part) for part in command],
        cwd=directory,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {min(1, os.cpu_count() - 1)}),
    )
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, wall, done


def fleet(directory, mock, scenario, allowed=(0, 12)):
    """Runs a fleet; returns CPU seconds, wall seconds and the record."""
    (directory / "scenario.toml").write_text(scenario)
    ports = [f"target.{door}_port={address.split(':')[1]}" for door, address in (("mqtt", mock.mqtt), ("amqp", mock.amqp))]
    cpu, wall, done = client(
        [FLEETSTORM, "run", "scenario.toml", "--target", f"https://{mock.address}", "--ca", mock.ca,
         "--out", "out", "--progress", "none", "--shards", "1", "--set", ports[0], "--set", ports[1]],
        directory,
    )
    if done.returncode not in allowed:
        sys.exit(f"the fleet ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return cpu, wall, json.loads((directory / "out/run.json").read_text())


def oha(directory, mock, count, *more):
    if OHA is None:
        sys.exit("oha is not installed: cargo install oha --locked")
    cpu, _, done = client(
        [OHA, "-n", count, "-c", CONNECTIONS, "--no-tui", "-m", "PUT", "-T", "application/json; charset=utf-8",
         "-d", json.dumps({"registrationId": DEVICE}), "-H", f"Authorization: {TOKEN}", "--cacert", mock.ca, *more,
         f"https://{mock.address}{REGISTER.format(DEVICE)}"],
        directory,
    )
    if done.returncode != 0 or "Success rate" not in done.stdout:
        sys.exit(f"oha failed:\n{done.stdout}\n{done.stderr}")
    return cpu


def peer(directory, mock, mode, device, count):
    address = mock.mqtt if mode.startswith("mqtt") else mock.address
    cpu, _, done = client(
        [PEER, address, "--path", REGISTER.format(device), "--authorization", TOKEN, "--ca", mock.ca,
         "--mode", mode, "--concurrency", CONNECTIONS, "--count", count],
        directory,
    )
    if done.returncode != 0 or json.loads(done.stdout.splitlines()[-1])["errors"]:
        sys.exit(f"the peer failed:\n{done.stdout}\n{done.stderr}")
    return cpu


def medians(rows):
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


# The same PUT again and again on 50 kept connections; every one is answered with 429.
HAMMERED = '[throttle]\nrate = "1/h"\nburst = 1\nretry_after = "none"\n'
HAMMER = (
    f'horizon = "6s"\n[fleet]\ndevices = {CONNECTIONS}\narrival = {{ kind = "all-at-once", spread = "0s" }}\n'
    '[[cohort]]\nretry = "immediate"\n'
)


def keep_alive(directory, rounds):
    """Requests on kept connections, beside oha and a bare loop."""
    count, rows = 300_000, []
    with Mock(directory, HAMMERED) as mock:
        for _ in range(rounds):
            cpu, _, record = fleet(directory, mock, HAMMER)
            rows.append({
                "fleetstorm": cpu / record["totals"]["requests"] * 1e6,
                "oha": oha(directory, mock, count) / count * 1e6,
                "bare loop": peer(directory, mock, "keep-alive", DEVICE, count) / count * 1e6,
            })
    print("\nKeep-alive requests: CPU us a request")
    table(rows)
    found = medians(rows)
    verdict("fleetstorm / oha", found["fleetstorm"] / found["oha"], 1.0)


def armed(directory, rounds):
    """The same requests, with a fault of the network armed that selects nobody."""
    fault = '[[chaos]]\nfault = { kind = "net.reset", phase = "after-request" }\nselect = { share = 1e-9 }\nmin_fired = 0\n'
    rows = []
    with Mock(directory, HAMMERED) as mock:
        for _ in range(rounds):
            row = {}
            for name, scenario in (("no fault", HAMMER), ("armed", HAMMER + fault)):
                # A fleet that only hammers never comes back, which is no verdict on what the fault costs.
                cpu, _, record = fleet(directory, mock, scenario, allowed=(0, 10, 12))
                row[name] = cpu / record["totals"]["requests"] * 1e6
            rows.append(row)
    print("\nA fault that selects nobody: CPU us a keep-alive request")
    table(rows)
    found = medians(rows)
    verdict("armed / no fault", found["armed"] / found["no fault"], 1.03)


def register(directory, rounds):
    """A new TLS connection for every registration: PUT, one GET of the operation, close."""
    count, rows = 10_000, []
    file = 'retry_after_s = -1\n[throttle]\nprofile = "unlimited"\n[assignment]\nkind = "constant"\ndelay = "0s"\n'
    scenario = (
        f'horizon = "5m"\n[fleet]\ndevices = {count}\nmax_concurrent = {CONNECTIONS}\n'
        'arrival = { kind = "all-at-once", spread = "0s" }\n[[cohort]]\npoll_interval = "1ns"\npoll_jitter = "0s"\n'
    )
    with Mock(directory, file) as mock:
        for _ in range(rounds):
            cpu, _, record = fleet(directory, mock, scenario)
            assert record["totals"]["assigned"] == count and record["totals"]["requests"] == 2 * count
            rows.append({
                "fleetstorm": cpu / count * 1e6,
                "bare loop": peer(directory, mock, "register", "dev-{n}", count) / count * 1e6,
                # oha cannot send two different requests on one connection. Twice the PUT, each on its own connection,
                # is what it can do of the same work; the PUT alone is half of it.
                "oha, 2 connections": oha(directory, mock, 2 * count, "--disable-keepalive") / count * 1e6,
                "oha, the PUT alone": oha(directory, mock, count, "--disable-keepalive") / count * 1e6,
            })
    print("\nA new TLS connection for every registration: CPU us a registration")
    table(rows)
    found = medians(rows)
    verdict("fleetstorm / bare loop", found["fleetstorm"] / found["bare loop"], 1.15)
    verdict("fleetstorm / oha, 2 connections", found["fleetstorm"] / found["oha, 2 connections"], 1.0)


def memory(directory, rounds):
    """Devices connected over TLS at once, waiting out a Retry-After; the mock is a process of its own."""
    file = '[throttle]\nrate = "1/h"\nburst = 1\nretry_after = { constant = 40 }\n'
    print("\nDevices connected over TLS at once: resident memory of the whole client, KiB a device")
    with Mock(directory, file) as mock:
        for devices, limit in ((5_000, 32), (15_000, 32)):
            scenario = (
                f'horizon = "{devices // 1_000 + 6}s"\n[fleet]\ndevices = {devices}\n'
                'arrival = { kind = "constant", rate = "1000/s" }\n'
                '[[cohort]]\nretry = { kind = "retry-after", spread = "none" }\n'
            )
            values = []
            for _ in range(rounds if devices == 5_000 else 1):
                _, _, record = fleet(directory, mock, scenario)
                assert record["totals"]["connections"] >= devices - 1, "all of them are connected"
                values.append(record["audit"]["rss_max_bytes"] / 1024 / devices)
            print(f"  {devices:>6} devices, {record['audit']['descriptors_max']} descriptors")
            verdict("KiB a device", statistics.median(values), limit)


def lag(directory, rounds):
    """How late devices are woken at half of the rate that saturates the client's core."""
    file = 'retry_after_s = -1\n[throttle]\nprofile = "unlimited"\n[assignment]\nkind = "constant"\ndelay = "0s"\n'

    def scenario(arrival, count, limit):
        return (
            f'horizon = "2m"\n[fleet]\ndevices = {count}\nmax_concurrent = {limit}\narrival = {arrival}\n'
            '[[cohort]]\npoll_interval = "1ns"\npoll_jitter = "0s"\n'
        )

    with Mock(directory, file) as mock:
        _, _, record = fleet(directory, mock, scenario('{ kind = "all-at-once", spread = "0s" }', 10_000, CONNECTIONS))
        most = 10_000 / (record["duration_ns"] / 1e9)
        half = scenario(f'{{ kind = "constant", rate = "{most / 2:.0f}/s" }}', 10_000, 5_000)
        values = [fleet(directory, mock, half)[2]["audit"]["send_lag"]["p99_us"] / 1e3 for _ in range(rounds)]
    print(f"\nSend lag at half of the maximal rate ({most:.0f} registrations/s): p99 in ms")
    verdict("ms", statistics.median(values), 1.0)


def mqtt_register(directory, rounds):
    """A new TLS connection for every registration over MQTT and over AMQP, greeting, register, a poll; beside HTTPS."""
    count, rows = 5_000, []
    file = 'retry_after_s = -1\n[throttle]\nprofile = "unlimited"\n[assignment]\nkind = "constant"\ndelay = "0s"\n'
    scenario = (
        f'horizon = "5m"\n[fleet]\ndevices = {count}\nmax_concurrent = {CONNECTIONS}\n'
        'arrival = { kind = "all-at-once", spread = "0s" }\n[[cohort]]\npoll_interval = "1ns"\npoll_jitter = "0s"\n'
    )
    rates = []
    with Mock(directory, file) as mock:
        for _ in range(rounds):
            row, rate = {}, {}
            for transport in ("mqtt", "mqtt-ws", "amqp", "amqp-ws", "https"):
                cpu, _, record = fleet(directory, mock, f'{scenario}transport = "{transport}"\n')
                assert record["totals"]["assigned"] == count and record["totals"]["requests"] == 2 * count
                row[f"fleetstorm {transport}"] = cpu / count * 1e6
                rate[f"fleetstorm {transport}"] = count / (record["duration_ns"] / 1e9)
            row["full rumqttc client"] = peer(directory, mock, "mqtt-register", "dev-{n}", count) / count * 1e6
            rows.append(row)
            rates.append(rate)
    print("\nA new TLS connection for every registration, by transport: CPU us of the client a registration")
    table(rows)
    print("Registrations a second, one core for each end")
    table(rates)
    found = medians(rows)
    verdict("fleetstorm mqtt / full rumqttc client", found["fleetstorm mqtt"] / found["full rumqttc client"], 1.0)


def connected(directory, rounds, transport, limit):
    """KiB of the whole client for each device that is connected over TLS at once and waits out a Retry-After."""
    file = '[throttle]\nrate = "1/h"\nburst = 1\nretry_after = { constant = 40 }\n'
    print(f"\nDevices connected over {transport} at once: resident memory of the whole client, KiB a device")
    with Mock(directory, file) as mock:
        for devices in (5_000, 15_000):
            scenario = (
                f'horizon = "{devices // 1_000 + 6}s"\n[fleet]\ndevices = {devices}\n'
                'arrival = { kind = "constant", rate = "1000/s" }\n'
                f'[[cohort]]\ntransport = "{transport}"\nretry = {{ kind = "retry-after", spread = "none" }}\n'
            )
            values = []
            for _ in range(rounds if devices == 5_000 else 1):
                _, _, record = fleet(directory, mock, scenario)
                assert record["totals"]["connections"] >= devices - 1, "all of them are connected"
                values.append(record["audit"]["rss_max_bytes"] / 1024 / devices)
            print(f"  {devices:>6} devices, {record['audit']['descriptors_max']} descriptors")
            verdict("KiB a device", statistics.median(values), limit)
            if devices == 5_000:
                ours = statistics.median(values)
    return ours


def amqp_memory(directory, rounds):
    """Devices connected over AMQP and TLS at once."""
    connected(directory, rounds, "amqp", 32)


def mqtt_memory(directory, rounds):
    """Devices connected over MQTT and TLS at once, beside full clients of others that are idle."""
    ours = connected(directory, rounds, "mqtt", 28)
    with Mock(directory, '[throttle]\nprofile = "unlimited"\n') as mock:
        command = [PEER, mock.mqtt, "--path", REGISTER.format("dev-{n}"), "--authorization", TOKEN, "--ca", mock.ca,
                   "--mode", "mqtt-hold", "--count", 5_000]
        full = held(directory, command, 5_000)
        print(f"  full rumqttc client, 5000 of them: {full:.1f} KiB each")
        paho = next((ROOT / "target/conformance").glob("python-*/venv/bin/python"), None)
        if paho is None:
            print("  paho-mqtt: not measured, because tests/conformance/run.py has not installed it")
        else:
            command = [paho, ROOT / "tests/perf/paho_hold.py", mock.mqtt, mock.ca, SCOPE, 1_000]
            print(f"  paho-mqtt, 1000 of them on one thread: {held(directory, command, 1_000):.1f} KiB each")
    verdict("fleetstorm / full rumqttc client", ours / full, 0.7)


def mosquitto(directory, rounds):
    """CONNECT and SUBSCRIBE over fresh TLS connections at a broker that we did not write, beside a bare rumqttc loop."""
    broker = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if broker is None:
        sys.exit("there is no mosquitto (Debian: apt-get install mosquitto)")
    count, rows = 3_000, []
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    (directory / "server.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-subj", "/CN=perf root", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2")
    openssl("req", *key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-out", "server.pem", "-extfile", "server.ext")
    (directory / "server.key").chmod(0o644)
    directory.chmod(0o755)
    (directory / "mosquitto.conf").write_text(
        "listener 18883 127.0.0.1\ncertfile server.pem\nkeyfile server.key\nallow_anonymous true\n")
    # A broker answers no registration: a device that has subscribed asks once and stops.
    scenario = (
        f'horizon = "5m"\n[fleet]\ndevices = {count}\nmax_concurrent = {CONNECTIONS}\n'
        'arrival = { kind = "all-at-once", spread = "0s" }\n[[cohort]]\ntransport = "mqtt"\nretry = "none"\n'
        'request_timeout = "1ms"\n[target]\nkind = "endpoint"\naddress = "https://127.0.0.1:18883"\nmqtt_port = 18883\n'
        'ca_file = "ca.pem"\n'
    )
    process = subprocess.Popen([broker, "-c", "mosquitto.conf"], cwd=directory, stderr=subprocess.DEVNULL,
                               preexec_fn=lambda: os.sched_setaffinity(0, {0}))
    try:
        time.sleep(1)
        (directory / "scenario.toml").write_text(scenario)
        for _ in range(rounds):
            ours, _, done = client([FLEETSTORM, "run", "scenario.toml", "--out", "out", "--progress", "none", "--shards", "1"],
                                   directory)
            if done.returncode not in (0, 11, 12):
                sys.exit(f"the fleet ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
            record = json.loads((directory / "out/run.json").read_text())
            subscribed = next(phase["service"]["count"] for phase in record["phases"] if phase["phase"] == "subscribe")
            assert subscribed >= count, f"{subscribed} of {count} subscribed"
            theirs, wall, done = client(
                [PEER, "127.0.0.1:18883", "--path", REGISTER.format("dev-{n}"), "--ca", "ca.pem", "--mode", "mqtt-connect",
                 "--concurrency", CONNECTIONS, "--count", count], directory)
            if done.returncode != 0 or json.loads(done.stdout.splitlines()[-1])["errors"]:
                sys.exit(f"the peer failed:\n{done.stdout}\n{done.stderr}")
            rows.append({"fleetstorm": subscribed / ours, "bare rumqttc loop": count / theirs})
    finally:
        process.terminate()
        process.wait()
    print("\nCONNECT and SUBSCRIBE at Mosquitto over fresh TLS connections: connections for a second of the client's CPU")
    table(rows)
    found = medians(rows)
    verdict("bare rumqttc loop / fleetstorm", found["bare rumqttc loop"] / found["fleetstorm"], 1.0)


def held(directory, command, count):
    """KiB a connection that idle full clients take."""
    process = subprocess.Popen([str(part) for part in command], cwd=directory, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    if json.loads(process.stdout.readline()).get("event") != "holding":
        sys.exit("the peer does not hold its connections")
    status = Path(f"/proc/{process.pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    process.communicate("\n")
    return int(resident.split()[1]) / count


def quickstart(directory, rounds):
    """The README's first command from a warm build."""
    values = []
    for _ in range(rounds):
        start = time.monotonic()
        command = [FLEETSTORM, "run", ROOT / "scenarios/quickstart.toml", "--out", "out", "--progress", "none"]
        done = subprocess.run([str(part) for part in command], cwd=directory, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"the quickstart ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        values.append(time.monotonic() - start)
    print("\nQuickstart from a warm build")
    verdict("seconds", statistics.median(values), 20)
    verdict("KB of report", (directory / "out/report.html").stat().st_size / 1e3, 1_000)


def table(rows):
    names = list(rows[0])
    width = max(map(len, names)) + 2
    for name in names:
        values = " ".join(f"{row[name]:8.1f}" for row in rows)
        print(f"  {name:<{width}} median {statistics.median(row[name] for row in rows):8.1f}   rounds {values}")


def verdict(what, value, limit):
    print(f"  {what}: {value:.2f} (limit {limit}) {'ok' if value <= limit else 'MISSED'}")


ALL = (keep_alive, armed, register, memory, lag, quickstart, mqtt_register, mqtt_memory, amqp_memory, mosquitto)
SECTIONS = {section.__name__.replace("_", "-"): section for section in ALL}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; default: all")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for name in arguments.sections:
        if name not in SECTIONS:
            parser.error(f"there is no section `{name}`; there are {', '.join(SECTIONS)}")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    for name in arguments.sections or SECTIONS:
        with tempfile.TemporaryDirectory() as directory:
            SECTIONS[name](Path(directory), arguments.rounds)


if __name__ == "__main__":
    main()
