#!/usr/bin/env python3
"""Faults of packets on a kernel that has netem, whatever kernel this machine has.

    cargo build && python3 tests/netem/run.py

Boots Debian's kernel in an emulator with the command and little else in its memory, runs the script `init` there, and
asserts what that has left. Needs Debian's packages qemu-system-x86, cpio and binutils and its package server; where one
of these cannot be had, or this is no x86-64 Debian, nothing is proved, and it says why.
"""

import base64
import io
import json
import lzma
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FLEETSTORM = Path(os.environ.get("FLEETSTORM", ROOT / "target/debug/fleetstorm"))
FETCHED = ROOT / "target/netem"
# Alone it takes two minutes; a machine that is busy otherwise needs longer.
PATIENCE_S = 600
TOOLS = ["tc", "ip", "setpriv"]


class Skipped(Exception):
    """This machine lacks what it takes."""


def quietly(command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise Skipped(f"{command[0]} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def found(name):
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        raise Skipped(f"there is no {name}")
    return Path(path)


# The guest.

def newest():
    """The place of Debian's newest kernel, by its package's name, as far as the package lists know."""
    known = subprocess.run([found("apt-cache"), "depends", "linux-image-cloud-amd64"], capture_output=True, text=True)
    kernel = re.search(r"Depends: (linux-image-\S+)", known.stdout)
    return FETCHED / kernel[1] if kernel else None


def fetched():
    """Where the kernel, its module and busybox are, unpacked, once for each version."""
    place = newest()
    if os.geteuid() == 0 and not (place and (place / "done").exists()):
        quietly(["apt-get", "update", "-qq"])
        place = newest()
    if place is None:
        raise Skipped("the package lists have no linux-image-cloud-amd64 (apt-get update)")
    if not (place / "done").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as directory:
            quietly(["apt-get", "download", "-q", place.name, "busybox-static"], cwd=directory)
            for package in Path(directory).glob("*.deb"):
                quietly(["dpkg-deb", "-x", package, directory])
            unpacked = Path(directory)
            shutil.copy(next(unpacked.glob("boot/vmlinuz-*")), place / "vmlinuz")
            shutil.copy(next(unpacked.glob("**/bin/busybox")), place / "busybox")
            module = next(unpacked.glob("**/sch_netem.ko*"))
            bytes_ = lzma.decompress(module.read_bytes()) if module.suffix == ".xz" else module.read_bytes()
            (place / "sch_netem.ko").write_bytes(bytes_)
        (place / "done").touch()
    return place


def put(root, source, path):
    """A program with its libraries, at a path of the guest."""
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
    for library in re.findall(r"(/\S+) \(0x", quietly(["ldd", source])):
        if not (root / library.lstrip("/")).exists():
            (root / library.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, root / library.lstrip("/"))


def memory_image(directory, kernel):
    root = directory / "root"
    for name in ("bin", "proc", "sys", "dev", "tmp", "root", "usr/bin", "usr/sbin"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(kernel / "busybox", root / "bin/busybox")
    shutil.copy(kernel / "sch_netem.ko", root)
    shutil.copy(HERE / "fleet.toml", root)
    shutil.copy(HERE / "init", root)
    (root / "init").chmod(0o755)
    for name in TOOLS:
        put(root, found(name), f"/usr/{'bin' if name == 'setpriv' else 'sbin'}/{name}")
    stripped = directory / "fleetstorm"
    quietly([found("strip"), "-o", stripped, FLEETSTORM])
    put(root, stripped, "/usr/bin/fleetstorm")
    image = directory / "image"
    quietly(["sh", "-c", 'cd "$1" && find . | cpio -o -H newc --quiet >"$2"', "sh", root, image])
    return image


def boot(directory, kernel):
    """What the guest hands over, by its path."""
    image, console, results = memory_image(directory, kernel), directory / "console", directory / "results"
    command = [found("qemu-system-x86_64"), "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1G",
               "-no-reboot", "-display", "none", "-monitor", "none", "-nic", "none", "-serial", f"file:{console}",
               "-serial", f"file:{results}", "-kernel", kernel / "vmlinuz", "-initrd", image, "-append",
               "console=ttyS0 panic=-1 quiet"]
    try:
        subprocess.run([str(part) for part in command], capture_output=True, timeout=PATIENCE_S, check=True)
        archive = io.BytesIO(base64.b64decode(results.read_bytes()))
        with tarfile.open(fileobj=archive) as tar:
            return {member.name.removeprefix("./"): tar.extractfile(member).read().decode()
                    for member in tar if member.isfile()}
    except (subprocess.SubprocessError, tarfile.TarError, OSError, ValueError) as error:
        last = console.read_text(errors="replace")[-2000:] if console.exists() else ""
        raise AssertionError(f"the guest ended badly: {error}\n{last}") from error


# What it has to have left.

class Left:
    def __init__(self, files):
        self.files = files

    def ended(self, name, codes):
        code = int(self.files[f"{name}.code"])
        assert code in codes, f"{name} ended with {code}: {self.files[f'{name}.told']}"

    def refused(self, name, *words):
        self.ended(name, [14])
        for word in words:
            assert word in self.files[f"{name}.told"], f"{name}: {word} is not in {self.files[f'{name}.told']}"
        assert f"{name}/run.json" not in self.files

    def record(self, name):
        return json.loads(self.files[f"{name}/run.json"])

    def remains(self, when):
        return {line.split()[0]: int(line.split()[1]) for line in self.files[f"left.{when}"].splitlines()}


def handshakes_ms(record):
    """The fastest of TCP's handshakes, and their median."""
    [phase] = [phase for phase in record["phases"] if (phase["phase"], phase["outcome"]) == ("tcp", "ok")]
    return phase["service"]["min_us"] / 1000, phase["service"]["p50_us"] / 1000


def faults(record):
    return {fault["kind"]: fault for fault in record["chaos"]["faults"]}


def check(left):
    # Each lack is told before anything starts, with what to do.
    left.refused("no-emulator", "CONFIG_NET_SCH_NETEM", "modprobe sch_netem", "net.*")
    left.refused("no-tool", "install iproute2")
    left.refused("no-right", "run as root", "kernel.unprivileged_userns_clone")

    # The kernel is a slow one here: that the run is not trusted (12) is right of it.
    for name in ("clean", "faulty", "user"):
        left.ended(name, [0, 12])
    clean, faulty, user = (left.record(name) for name in ("clean", "faulty", "user"))
    assert [record["totals"]["assigned"] for record in (clean, faulty, user)] == [40, 40, 5]
    assert "chaos" not in clean

    # A handshake takes a packet each way, and each is held back by 90 to 110 ms, unless it overtakes. Emulated or busy
    # machines add to all of it, so what is certain is a least time.
    (fastest, quick), (_, slow), (fastest_held, _) = map(handshakes_ms, (clean, faulty, user))
    assert fastest < 90 and slow >= 180 and fastest_held >= 180, (fastest, slow, fastest_held)

    hit = faults(faulty)
    lost, held, overtook = (hit[f"netem.{kind}"] for kind in ("loss", "delay", "reorder"))
    for fault in hit.values():
        assert fault["status"] != "vacuous" and fault["layer"] == "network" and fault["devices"] == 0, fault
    share = lambda fault: fault["fired"] / fault["eligible"]
    assert lost["eligible"] > 100 and lost["fired"] >= 3 and share(lost) < 0.35, lost
    assert overtook["eligible"] > 100 and 0.1 < share(overtook) < 0.3, overtook
    assert held["eligible"] > lost["eligible"] and share(held) > 0.8, held
    # Hits were seen while the fault was on; the last reading comes when it is taken back.
    assert 0 < lost["first_ns"] and lost["last_ns"] < 9e9 and overtook["first_ns"] > 4e9, (lost, overtook)
    [window] = lost["windows"]
    assert (window["from_ns"], window["until_ns"]) == (0, 4_000_000_000), window

    # The network was the run's own, and went with it.
    gone = {"processes": 0, "networks": 1, "emulators": 0, "host": 0}
    assert left.remains("settled") == gone, left.remains("settled")
    for signal, code in (("INT", 130), ("KILL", 137)):
        left.ended(signal, [code])
        before, after = left.remains(f"before-{signal}"), left.remains(f"after-{signal}")
        assert before["processes"] >= 1 and before["networks"] == 2, before
        assert (before["emulators"], before["host"]) == (1, 0), before
        assert after == gone, after
        # The command's own thread stays outside: who watches a run need not come in.
        assert "fleetstorm_devices" in left.files[f"watched.{signal}"], left.files[f"watched.{signal}"]
    assert left.files["unloaded"].strip() == "0", "something still holds the emulator"
    assert left.record("INT")["end"] == {"how": "interrupted"} and faults(left.record("INT"))["netem.delay"]["fired"] > 0
    assert "KILL/run.json" not in left.files
    return f"half of the TCP handshakes took {quick:.0f} ms at most, and {slow:.0f} ms with packets held back by 100 ms; " \
           f"{lost['fired']} of {lost['eligible']} packets were lost, {overtook['fired']} of {overtook['eligible']} overtook"


def main():
    started = time.monotonic()
    try:
        if platform.machine() != "x86_64":
            raise Skipped(f"this is no x86-64 but {platform.machine()}")
        kernel = fetched()
        with tempfile.TemporaryDirectory() as directory:
            files = boot(Path(directory), kernel)
    except Skipped as why:
        print(f"netem: skipped, because {why}")
        return
    print(f"netem: passed in {time.monotonic() - started:.0f} s on {kernel.name}: {check(Left(files))}")


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(f"netem: failed: {error}")
