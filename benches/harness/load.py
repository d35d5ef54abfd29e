"""wrk with 32 keep-alive connections, and the small tools of benches/tools."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
CONNECTIONS = 32


@dataclass(frozen=True)
class Load:
    """What one turn showed."""

    rate: float
    p50_ms: float
    p99_ms: float
    failed: int


def wrk(port, seconds, devices=1, token=None, prefer=None, connections=CONNECTIONS):
    """A closed loop of POSTs over `devices` devices."""
    command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(HERE / "post.lua"),
               f"http://127.0.0.1:{port}", "--", str(devices), token or "", prefer or ""]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result = json.loads(next(line for line in out.splitlines() if line.startswith("{")))
    return Load(result["rate"], result["p50_us"] / 1000, result["p99_us"] / 1000, result["failed"])


def tool(binaries, name, *arguments):
    """One run of `steady`."""
    command = [str(binaries / name), *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
