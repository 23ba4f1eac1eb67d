#!/usr/bin/env python3
"""The mock under clients that we did not write, and our devices at servers that we did not write.

    cargo build && python3 tests/conformance/run.py [WORDS ...]

With words, only the cases that have all of them in their name. The clients go to fixed ports and to one host name;
both are theirs alone in a network and a mount namespace, so that nothing else on this machine sees or disturbs it.
Where that, or a client, cannot be had, its cases are skipped, and it says why. If everything was skipped, it fails.
"""

import concurrent.futures
import contextlib
import hashlib
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FLEETSTORM = Path(os.environ.get("FLEETSTORM", ROOT / "target/debug/fleetstorm"))
INSTALLED = ROOT / "target/conformance"
HOST, SCOPE = "global.azure-devices-provisioning.net", "0ne00C04F04"
WEBHOOK = 8444
INSIDE = "CONFORMANCE_INSIDE"
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="
WRONG_KEY = "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eDf3t3c29rZ2NfW1dTT0tHQz87NzMvKycjHxsXEw8LBwA=="
CLIENTS = {"python": ("mqtt", "mqtt-ws"), "node": ("https", "mqtt", "mqtt-ws", "amqp", "amqp-ws")}
# Who comes at the same time as others: a second connection under an id would end the first.
VISITORS = [f"{client}-{transport}" for client, transports in CLIENTS.items() for transport in transports]


class Skipped(Exception):
    """This machine lacks what it takes."""


def quietly(command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise Skipped(f"{command[0]} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


# What is installed, once for each lock file.

def install(name, lock, command):
    if not shutil.which(command):
        raise Skipped(f"there is no {command}")
    place = INSTALLED / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not (place / "done").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        if name == "python":
            quietly([sys.executable, "-m", "venv", place / "venv"])
            quietly([place / "venv/bin/pip", "install", "--quiet", "--no-deps", "-r", lock])
        else:
            for file in ("package.json", "package-lock.json"):
                shutil.copy(lock.parent / file, place)
            quietly(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=place)
        (place / "done").touch()
    return place


def installed():
    """Where each client is, or what is lacking. Done outside, because inside there is no network."""
    places = {}
    for name, lock, command in [("python", "python/requirements.txt", "python3"),
                                ("node", "node/package-lock.json", "npm")]:
        try:
            places[name] = {"place": str(install(name, HERE / lock, command))}
        except Skipped as why:
            places[name] = {"lacking": str(why)}
    return places


# A network and a host name of our own.

def enter():
    """Runs this program again in its own namespaces; returns only if that is impossible, and says why."""
    if shutil.which("unshare") is None:
        return "there is no unshare"
    prepare = "ip link set lo up && mount --bind \"$1\" /etc/hosts && shift && exec \"$@\""
    with tempfile.NamedTemporaryFile("w", prefix="hosts") as hosts:
        hosts.write(f"127.0.0.1 localhost {HOST}\n")
        hosts.flush()
        spaces = ["unshare", "--net", "--mount", "--propagation", "private"]
        if os.geteuid() != 0:
            spaces += ["--user", "--map-root-user"]
        inside = [*spaces, "sh", "-c", prepare, "sh", hosts.name]
        tried = subprocess.run([*inside, "true"], capture_output=True, text=True)
        if tried.returncode != 0:
            return f"no network namespace can be had: {tried.stderr.strip()}"
        environment = {**os.environ, INSIDE: json.dumps(installed())}
        sys.exit(subprocess.run([*inside, sys.executable, __file__, *sys.argv[1:]], env=environment).returncode)


# Certificates of the devices and of the servers that are not ours.

def certificates(directory):
    def openssl(*arguments):
        quietly(["openssl", *arguments], cwd=directory)

    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *ec, "-subj", "/CN=conformance root", "-keyout", "ca.key", "-out", "ca.pem", "-days", "30")
    (directory / "server.ext").write_text(f"subjectAltName=DNS:localhost,DNS:{HOST},IP:127.0.0.1\n")
    (directory / "device.ext").write_text("basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n")
    for name, kind in [("server", "server"), *[(f"x509-{visitor}", "device") for visitor in VISITORS]]:
        openssl("req", *ec, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days",
                "30", "-out", f"{name}.pem", "-extfile", f"{kind}.ext")


@contextlib.contextmanager
def process(command, directory, ready, **more):
    """A server that is ready once it prints a line with `ready`, or, given a port, once that is open."""
    where = subprocess.PIPE if isinstance(ready, str) else subprocess.DEVNULL
    with open(directory / "complaints", "w") as complaints:
        child = subprocess.Popen([str(part) for part in command], cwd=directory, stdout=where, stderr=complaints,
                                 text=True, **more)
    try:
        if isinstance(ready, str):
            line = child.stdout.readline()
            if ready not in line:
                raise AssertionError(f"{command[0]} did not start: {(directory / 'complaints').read_text()}")
            yield line
        else:
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", ready), 1):
                    break
                time.sleep(0.05)
            else:
                raise AssertionError(f"{command[0]} does not listen on {ready}")
            yield None
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def webhook(directory):
    """A custom allocation that names no hub, which fails the assignment."""
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", WEBHOOK), Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem", directory / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@contextlib.contextmanager
def mock(directory, throttle, more=""):
    (directory / "key").write_text(KEY)
    kinds = {"key": "", "disabled": "enabled = false",
             "failed": f'allocation = "custom"\n        webhook_url = "https://localhost:{WEBHOOK}/"'}
    enrollments = "".join(f"""
        [[enrollment]]
        registration_id = "{kind}-{visitor}"
        device_id = "device-{visitor}"
        primary_key = {{ file = "key" }}
        {more}""" for kind, more in kinds.items() for visitor in VISITORS)
    (directory / "mock.toml").write_text(f"""
        id_scope = "{SCOPE}"
        retry_after_s = 1
        overlap = "reuse"
        hub = [{{ host = "hub-1.azure-devices.net" }}]
        listen = {{ https = "127.0.0.1:443", mqtt = "127.0.0.1:8883", amqp = "127.0.0.1:5671" }}
        tls = {{ certificate = "server.pem", key = "server.key" }}
        assignment = {{ kind = "constant", delay = "500ms" }}
        throttle = {throttle}
        webhook = {{ ca_file = "ca.pem" }}
        {enrollments}
        [[enrollment_group]]
        id = "certificates"
        primary_certificate = "ca.pem"
        {more}
    """)
    with process([FLEETSTORM, "mock", "--config", "mock.toml"], directory, "ready") as line:
        yield json.loads(line)


def register(client, place, directory, transport, **case):
    """One registration with a client; what it reports."""
    usual = {"host": HOST, "id_scope": SCOPE, "ca": str(directory / "ca.pem"), "transport": transport, "key": KEY,
             "registration_id": f"key-{client}-{transport}"}
    case = {**usual, **case}
    if client == "python":
        command, environment = [place / "venv/bin/python", HERE / "python/device.py"], {}
    else:
        command = ["node", HERE / "node/device.js"]
        environment = {"NODE_EXTRA_CA_CERTS": case["ca"], "NODE_PATH": str(place / "node_modules")}
    environment = {**os.environ, **environment}
    done = subprocess.run([*map(str, command), json.dumps(case)], capture_output=True, text=True, timeout=120,
                          env=environment)
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if lines else {"error": f"no answer, exit {done.returncode}: {done.stderr[-300:]}"}


def expect(found, wanted):
    if found != wanted:
        raise AssertionError(f"{found} instead of {wanted}")


def reports(found, wanted):
    """Whether a client reports what it should; of an error the name must be right and the message must say `says`."""
    says = wanted.get("says", "")
    if any(found.get(name) != value for name, value in wanted.items() if name != "says") \
            or says not in found.get("message", ""):
        raise AssertionError(f"{found} instead of {wanted}")


def refusal(client, transport, kind):
    """How the unmodified clients report it."""
    amqp = transport.startswith("amqp")
    unknown = {"error": "Error", "says": "Not found" if transport == "https" else "Server unavailable"}
    return {
        ("python", "wrong key"): {"error": "ServiceError", "says": "401"},
        ("python", "disabled"): {"error": "ServiceError", "says": "status disabled"},
        ("python", "unknown scope"): {"error": "ConnectionFailedError", "says": "broker unavailable"},
        ("python", "failed assignment"): {"error": "ServiceError", "says": "failed"},
        ("node", "wrong key"): {"error": "amqp:unauthorized-access", "says": "401"} if amqp else
                               {"error": "UnauthorizedError"},
        ("node", "disabled"): {"error": "SyntaxError", "says": "status is disabled"},
        # That a link is refused after it was attached does not reach this client's caller: it waits until it gives up.
        ("node", "unknown scope"): {"error": "TimeoutError"} if amqp else unknown,
        ("node", "failed assignment"): {"error": "ProvisioningRegistrationFailedError", "code": 400208},
        ("node", "throttled"): {"error": "ThrottlingError"},
    }[client, kind]


def cases(directory, client, transport):
    """Name and deed of each case of this client at the ordinary mock."""
    visitor = f"{client}-{transport}"
    assigned = {"status": "assigned", "hub": "hub-1.azure-devices.net"}
    certificate = {"registration_id": f"x509-{visitor}", "certificate": str(directory / f"x509-{visitor}.pem"),
                   "private_key": str(directory / f"x509-{visitor}.key")}
    kinds = {
        "a symmetric key": ({}, {**assigned, "device": f"device-{visitor}"}),
        "a payload": ({"payload": {"modelId": "dtmi:x:y;1"}}, {**assigned, "device": f"device-{visitor}"}),
        "a certificate": (certificate, {**assigned, "device": f"x509-{visitor}"}),
        "wrong key": ({"key": WRONG_KEY}, None),
        "disabled": ({"registration_id": f"disabled-{visitor}"}, None),
        "failed assignment": ({"registration_id": f"failed-{visitor}"}, None),
        "unknown scope": ({"id_scope": "0ne00FFFFFF"}, None),
    }
    for kind, (case, wanted) in kinds.items():
        wanted = wanted or refusal(client, transport, kind)
        def run(place, case=case, wanted=wanted):
            reports(register(client, place, directory, transport, **case), wanted)
        yield f"{client} {transport} {kind}", client, run


def use_up(directory):
    """Takes the one registration that the throttled mock has to give: the quota counts before anything is checked."""
    context = ssl.create_default_context(cafile=directory / "ca.pem")
    with context.wrap_socket(socket.create_connection(("127.0.0.1", 443)), server_hostname=HOST) as wire:
        wire.sendall(f"PUT /{SCOPE}/registrations/x/register?api-version=2019-03-31 HTTP/1.1\r\nHost: {HOST}\r\n"
                     "Content-Length: 0\r\n\r\n".encode())
        expect(wire.recv(4096).split()[1], b"400")


# The key of the policy that owns the demo, as the README gives it.
OWNER = "6darlZrQpKzmTig66yQGR1wYXc8PGo3BOp3RASkMypg="


def operator_cases(directory):
    def run(place):
        with mock(directory, '{ profile = "unlimited", polls_per_10s = 0 }'):
            registered = register("python", place, directory, "mqtt")
            expect(registered.get("status") or registered, "assigned")
            command = [place / "venv/bin/python", HERE / "python/enrollments.py", HOST, OWNER, directory / "ca.pem",
                       "key-python-mqtt"]
            environment = {**os.environ, "REQUESTS_CA_BUNDLE": str(directory / "ca.pem")}
            done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120, env=environment)
            if done.returncode != 0:
                raise AssertionError(done.stderr.strip()[-500:])
    yield "python enrollment API", "python", run


ISSUING = """
        [[certificate_authority]]
        namespace = "ns-1"
        name = "ca-1"
        [[certificate_authority.policy]]
        name = "p30"
        validity_days = 30
        [[enrollment]]
        registration_id = "certified"
        primary_key = { file = "key" }
        certificate_policy = { namespace = "ns-1", authority = "ca-1", policy = "p30" }
"""


def certificate_cases(directory):
    def run(place):
        case = {"host": HOST, "id_scope": SCOPE, "ca": str(directory / "ca.pem"), "key": KEY,
                "registration_id": "certified", "place": str(directory)}
        with mock(directory, '{ profile = "unlimited", polls_per_10s = 0 }', ISSUING):
            command = [place / "venv/bin/python", HERE / "python/certificates.py", json.dumps(case)]
            done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise AssertionError(done.stderr.strip()[-500:])
        # One of each registration, and two renewals of each at the hub.
        expect(json.loads(done.stdout), {"certificates": 6})
    yield "python certificates of paho and cryptography", "python", run


def throttled_cases(directory):
    for client, transports in CLIENTS.items():
        for transport in transports:
            def run(place, client=client, transport=transport):
                with mock(directory, '{ rate = "12/min", burst = 1 }'):
                    use_up(directory)
                    started = time.monotonic()
                    found = register(client, place, directory, transport)
                    if (client, transport) == ("node", "https"):
                        return reports(found, refusal(client, transport, "throttled"))
                    expect(found.get("status") or found, "assigned")
                    if time.monotonic() - started < 4:
                        raise AssertionError("it did not wait for Retry-After")
            yield f"{client} {transport} throttled", client, run


# Our devices at servers that we did not write.

def fleet(directory, scenario, *arguments):
    (directory / "scenario.toml").write_text(scenario)
    done = subprocess.run([FLEETSTORM, "run", "scenario.toml", "--out", "out", "--progress", "none", *arguments],
                          cwd=directory, capture_output=True, text=True, timeout=120)
    if done.returncode not in (0, 12):
        raise AssertionError(f"the fleet ended with {done.returncode}: {done.stdout}{done.stderr}")
    return json.loads((directory / "out/run.json").read_text())


def at_mosquitto(directory, transport):
    def run(place):
        if shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") is None:
            raise Skipped("there is no mosquitto (Debian: apt-get install mosquitto)")
        kind = "protocol websockets\n" if transport == "mqtt-ws" else ""
        (directory / "mosquitto.conf").write_text(f"""
listener 1883 127.0.0.1
listener 8884 127.0.0.1
{kind}cafile ca.pem
certfile server.pem
keyfile server.key
allow_anonymous true
""")
        (directory / "server.key").chmod(0o644)
        directory.chmod(0o755)
        mosquitto = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        with process([mosquitto, "-c", "mosquitto.conf"], directory, 1883), \
             process([place / "venv/bin/python", HERE / "responder.py", "1883"], directory, "ready"):
            record = fleet(directory, f"""
                horizon = "30s"
                objectives = ["assigned == 100%"]
                # A broker sends every answer to everybody, so one device at a time.
                fleet = {{ devices = 3, max_concurrent = 1 }}
                [[cohort]]
                transport = "{transport}"
                keep_alive = "1s"
                [target]
                kind = "endpoint"
                address = "https://localhost:8884"
                mqtt_port = 8884
                ca_file = "ca.pem"
            """)
        expect((record["totals"]["assigned"], record["totals"]["requests"], record["totals"]["failed"]), (3, 6, 0))
    return run


def at_openssl(directory, version):
    def run(_):
        command = ["openssl", "s_server", "-accept", "127.0.0.1:4433", "-cert", "server.pem", "-key", "server.key",
                   "-CAfile", "ca.pem", "-verify", "2", "-www", f"-tls{version.replace('.', '_')}"]
        with process(command, directory, 4433, stdin=subprocess.DEVNULL):
            record = fleet(directory, f"""
                horizon = "20s"
                objectives = ["count(tls-other) == 0", "stopped == 1"]
                fleet = {{ devices = 1 }}
                [[cohort]]
                attestation = "x509"
                retry = "none"
                # It answers no PUT: what is proved is the handshake.
                request_timeout = "1s"
                tls = "{version}"
                [target]
                kind = "endpoint"
                address = "https://localhost:4433"
                ca_file = "ca.pem"
                device_ca_file = "ca.pem"
                device_ca_key = {{ file = "ca.key" }}
            """)
        handshakes = [phase["service"]["count"] for phase in record["phases"] if phase["phase"] == "tls"]
        expect(handshakes, [1])
    return run


def foreign_cases(directory):
    yield "our device mqtt at mosquitto", "python", at_mosquitto(directory, "mqtt")
    yield "our device mqtt-ws at mosquitto", "python", at_mosquitto(directory, "mqtt-ws")
    for version in ("1.2", "1.3"):
        yield f"our device TLS {version} at openssl s_server", None, at_openssl(directory, version)


# All of it.

class Tally:
    def __init__(self, words, places):
        self.words, self.counts, self.places = words, {"passed": 0, "failed": 0, "skipped": 0}, places

    def wants(self, name):
        return all(word in name for word in self.words)

    def run(self, name, needs, case):
        started = time.monotonic()
        try:
            place = self.places.get(needs, {})
            if "lacking" in place:
                raise Skipped(place["lacking"])
            case(Path(place["place"]) if place else None)
            how, why = "passed", ""
        except Skipped as lacking:
            how, why = "skipped", f": {lacking}"
        except Exception as error:
            how, why = "failed", f": {type(error).__name__}: {error}"
        self.counts[how] += 1
        print(f"  {how:<8} {name} ({time.monotonic() - started:.1f} s){why}", flush=True)

    def close(self):
        counts = self.counts
        print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
        return 1 if counts["failed"] or not counts["passed"] else 0


def main():
    if INSIDE not in os.environ:
        why = enter()
        print(f"  skipped  everything: {why}\n0 passed, 0 failed, 1 skipped")
        return 1
    tally = Tally(sys.argv[1:], json.loads(os.environ[INSIDE]))
    with tempfile.TemporaryDirectory(prefix="conformance") as directory:
        directory = Path(directory)
        certificates(directory)
        visits = [
            [case for case in cases(directory, client, transport) if tally.wants(case[0])]
            for client, transports in CLIENTS.items() for transport in transports
        ]
        if any(visits):
            with webhook(directory), mock(directory, '{ profile = "unlimited", polls_per_10s = 0 }'), \
                 concurrent.futures.ThreadPoolExecutor(len(visits)) as pool:
                for done in pool.map(lambda visit: [tally.run(*case) for case in visit], visits):
                    del done
        for case in [*operator_cases(directory), *certificate_cases(directory), *throttled_cases(directory),
                     *foreign_cases(directory)]:
            if tally.wants(case[0]):
                tally.run(*case)
    return tally.close()


if __name__ == "__main__":
    sys.exit(main())
