"""What the bridge costs before it has done anything: its size, and the time until it answers."""

import os
import statistics
import time

from . import report
from .bridge import Bridge

DEVICES = 1000


def start(bench, rounds):
    """From the start of the process to the first connection it takes, with so many devices in its configuration."""
    times = []
    for _ in range(max(rounds, 3)):
        begun = time.monotonic()
        with Bridge(bench.binary, bench.folder / "start", bench.broker, DEVICES, eager=False) as bridge:
            times.append((bridge.listening - begun) * 1000)
    result = {"devices": DEVICES, "listening_ms": statistics.median(times), "binary_mb": os.path.getsize(bench.binary) / 1e6}
    report.progress(result)
    return result


def fsyncs(folder, seconds=1):
    """How often a second the disk takes 16 KiB for good: what a 202 waits for."""
    with open(folder / "fsync", "wb") as file:
        file.write(bytes(1 << 20))
        os.fsync(file.fileno())
        count, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            os.pwrite(file.fileno(), os.urandom(16384), count % 32 * 32768)
            os.fdatasync(file.fileno())
            count += 1
    return round(count / seconds)
