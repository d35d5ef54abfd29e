"""The platforms' tutorials: a connection for each message.   publish_single.py BROKER_PORT SECONDS"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from paho.mqtt import publish

port, seconds = int(sys.argv[1]), float(sys.argv[2])
body = '{"temperature":21.5,"pressure":1013.25,"pump":"on","seq":1000001}'
end = time.monotonic() + seconds


def worker(number):
    latencies = []
    while time.monotonic() < end:
        start = time.perf_counter()
        publish.single(f"devices/bench-{number}/up", body, qos=1, hostname="127.0.0.1", port=port)
        latencies.append(time.perf_counter() - start)
    return latencies


with ThreadPoolExecutor(32) as pool:
    latencies = sorted(latency for part in pool.map(worker, range(32)) for latency in part)
at = lambda part: round(latencies[int((len(latencies) - 1) * part)] * 1e6)
print(json.dumps({"rate": len(latencies) / seconds, "p50_us": at(0.5), "p99_us": at(0.99), "failed": 0}))
