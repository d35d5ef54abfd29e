"""Many sessions, many listeners, and a broker that comes back."""

import http.client
import json
import subprocess
import time

from . import load, report
from .bridge import TOKEN, Bridge


def sessions(bench, counts, tls, seconds):
    """Memory of idle sessions, and the rate over all of them."""
    rows = []
    for count in counts:
        with Bridge(bench.binary, bench.folder / "sessions", bench.broker, 1, tls) as bridge:
            until(lambda: bridge.connected() >= 1)
            empty = bridge.rss()
        start = time.monotonic()
        with Bridge(bench.binary, bench.folder / "sessions", bench.broker, count, tls) as bridge:
            listening = time.monotonic() - start
            until(lambda: bridge.connected() >= count)
            connected, cpu = time.monotonic() - start, bridge.cpu()
            time.sleep(1)
            idle = bridge.rss()
            active = load.wrk(bridge.port, seconds, count, TOKEN)
            rows.append({"sessions": count, "tls": tls, "kb_each": (idle - empty) / count / 1000, "listening_s": listening,
                         "connected_s": connected, "cpu_s": cpu, "rate": active.rate, "p50_ms": active.p50_ms,
                         "p99_ms": active.p99_ms, "failed": active.failed})
            report.progress(f"sessions: {rows[-1]}")
    return rows


def storm(bench, count, tls):
    """The broker is killed and started again under `count` devices that sign tokens."""
    key = bench.folder / "storm.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key)],
                   check=True, capture_output=True)
    with Bridge(bench.binary, bench.folder / "storm", bench.broker, count, tls, [key]) as bridge:
        until(lambda: bridge.connected() >= count)
        bench.broker.kill()
        until(lambda: bridge.connected() == 0)
        time.sleep(1)
        bench.broker = bench.broker.again()
        start, cpu, refused, took = time.monotonic(), bridge.cpu(), 0, []
        while bridge.connected() < count:
            # Each of another device, connected again or not.
            begun = time.monotonic()
            refused += post(bridge.port, f"bench-{len(took) * 37 % count}") not in (200, 202)
            took.append(time.monotonic() - begun)
            time.sleep(0.02)
        back = time.monotonic() - start
        result = {"sessions": count, "tls": tls, "back_s": back, "cpu_s": bridge.cpu() - cpu,
                  "requests": len(took), "refused": refused, "slowest_ms": max(took) * 1000}
        report.progress(f"storm: {result}")
        return result


def listeners(bench, counts):
    """Memory of listeners, and one downlink to all of them."""
    rows = []
    for count in counts:
        with Bridge(bench.binary, bench.folder / "listeners", bench.broker) as bridge:
            until(lambda: bridge.connected() >= 1)
            before = bridge.rss()
            command = [str(bench.tools / "listeners"), f"127.0.0.1:{bridge.port}", f"127.0.0.1:{bench.broker.port}",
                       "bench-0", str(count), "--token", TOKEN]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
                assert running.stdout.readline() == "ready\n", "the listeners did not come up"
                each = (bridge.rss() - before) / count / 1000
                out, _ = running.communicate("\n", timeout=300)
            result = json.loads(out.splitlines()[-1])
            rows.append({"listeners": count, "kb_each": each, "p50_ms": result["p50_us"] / 1000,
                         "p99_ms": result["p99_us"] / 1000, "last_ms": result["max_us"] / 1000})
            report.progress(f"listeners: {rows[-1]}")
    return rows


def post(port, device):
    """An uplink that is to be stored at once: 202 or 200 when it is taken."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", "Prefer": "respond-async"}
        connection.request("POST", f"/v1/devices/{device}/uplinks", "{}", headers)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def until(condition, patience=180):
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("waited in vain")
        time.sleep(0.02)
