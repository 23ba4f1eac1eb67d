#!/usr/bin/env python3
"""Time and memory of rendering a report from a record of 1,000,000 virtual devices, and the sizes of both.

    cargo build --release && python3 tests/perf/report.py

Says what it measured and ends with 1 if a limit is missed. The fleet boots at 16 devices a second, within the documented
quota, so the record tells of some 17 hours.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = 'horizon = "24h"\n[fleet]\narrival = { kind = "constant", rate = "16/s" }\n'
LIMITS = {"record MB": 2.0, "report MB": 1.0, "seconds": 1.0, "memory MB": 200.0}


def child(command):
    """Runs a command; returns the seconds it took and the most memory it held, in MB."""
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command} ended with {status}")
    return time.monotonic() - begin, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=ROOT / "target/release/fleetstorm", type=Path)
    parser.add_argument("--devices", default=1_000_000, type=int)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        (directory / "s.toml").write_text(SCENARIO)
        took, memory = child(
            [arguments.binary, "forecast", directory / "s.toml", "--devices", str(arguments.devices)]
            + ["--out", directory, "--progress", "none"]
        )
        print(f"forecast of {arguments.devices} devices: {took:.1f} s, {memory:.0f} MB")
        rendered = [child([arguments.binary, "report", directory / "run.json", "--out", directory / "again.html"])
                    for _ in range(3)]
        measured = {
            "record MB": (directory / "run.json").stat().st_size / 1e6,
            "report MB": (directory / "again.html").stat().st_size / 1e6,
            "seconds": sorted(took for took, _ in rendered)[1],
            "memory MB": max(memory for _, memory in rendered),
        }
    missed = False
    for name, value in measured.items():
        missed |= value > LIMITS[name]
        print(f"{name:<10} {value:8.3f}   limit {LIMITS[name]}{'   MISSED' if value > LIMITS[name] else ''}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
