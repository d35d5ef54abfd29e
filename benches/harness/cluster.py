"""One replica with its store in a file, one on NATS JetStream, and three of them, in turns."""

import shutil
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from . import load, report
from .bridge import TOKEN, Bridge
from .process import Program, free_port

DEVICES = 120
PARTITIONS = 64


class NatsServer(Program):
    """A real nats-server with JetStream, as it comes from Debian."""

    def __init__(self, folder):
        port = free_port()
        self.url = f"nats://127.0.0.1:{port}"
        command = [shutil.which("nats-server"), "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", str(folder / "nats")]
        super().__init__(command, port, folder / "nats.log")


def cluster(bench, rounds, seconds):
    """Rates with 32 connections, and the time that a request takes which comes to the wrong replica."""
    with ExitStack() as stack:
        nats = stack.enter_context(NatsServer(bench.folder))
        start = lambda *arguments, **options: stack.enter_context(Bridge(*arguments, **options))
        file = start(bench.binary, bench.folder / "file", bench.broker, DEVICES)
        one = replicas(start, bench, nats, "one", 1, DEVICES)
        three = replicas(start, bench, nats, "three", 3, DEVICES)
        for group in (one, three):
            whole(group)
        subjects = {
            "one process, its store in a file": [file],
            "one replica on NATS": one,
            "three replicas, all requests to one": three[:1],
            "three replicas, requests to each": three,
        }
        for doors in subjects.values():
            turn(doors, 1)
        turns = {name: [] for name in subjects}
        for number in range(rounds):
            for name, doors in subjects.items():
                turns[name].append(turn(doors, seconds))
                report.progress(f"round {number + 1} of {rounds}: {name}: {turns[name][-1].rate:,.0f}/s")
        first = turns[next(iter(subjects))]
        middle = statistics.median
        rows = [{
            "name": name,
            "ratio": middle(now.rate / then.rate for now, then in zip(measured, first)),
            "rate": middle(now.rate for now in measured),
            "p50_ms": middle(now.p50_ms for now in measured),
            "p99_ms": middle(now.p99_ms for now in measured),
            "failed": sum(now.failed for now in measured),
        } for name, measured in turns.items()]
    return {"rows": rows, "doors": doors_of_one_device(bench, rounds, seconds), "nats": version()}


def replicas(start, bench, nats, group, count, devices):
    names = [f"{group}-{number}" for number in range(count)]
    return [start(bench.with_nats, bench.folder / name, bench.broker, devices, cluster=(name, group, nats.url)) for name in names]


def whole(group, patience=60):
    """Waits until every partition of a cluster has an owner, and every replica has some."""
    end = time.monotonic() + patience
    held = lambda member: len(member["partitions"])
    while True:
        members = group[0].cluster()["members"]
        if len(members) == len(group) and all(map(held, members)) and sum(map(held, members)) == PARTITIONS:
            return
        if time.monotonic() > end:
            raise RuntimeError(f"the cluster is not whole: {members}")
        time.sleep(0.1)


def turn(doors, seconds):
    """The same load, spread over the doors."""
    with ThreadPoolExecutor(len(doors)) as pool:
        measure = lambda door: load.wrk(door.port, seconds, DEVICES, TOKEN, connections=load.CONNECTIONS // len(doors))
        results = list(pool.map(measure, doors))
    return load.Load(sum(r.rate for r in results), statistics.mean(r.p50_ms for r in results),
                     max(r.p99_ms for r in results), sum(r.failed for r in results))


def doors_of_one_device(bench, rounds, seconds):
    """A device's uplinks at 200 a second, to the replica that has it and to another one, in microseconds."""
    with ExitStack() as stack:
        nats = stack.enter_context(NatsServer(bench.folder))
        start = lambda *arguments, **options: stack.enter_context(Bridge(*arguments, **options))
        group = replicas(start, bench, nats, "door", 2, 1)
        whole(group)
        while sum(door.connected() for door in group) != 1:
            time.sleep(0.1)
        right, wrong = sorted(group, key=lambda door: -door.connected())
        rows = []
        for _ in range(rounds):
            steady = [load.tool(bench.tools, "steady", "http", f"127.0.0.1:{door.port}", "/v1/devices/bench-0/uplinks",
                                "--token", TOKEN, "--seconds", seconds) for door in (right, wrong)]
            rows.append({"right_p50_us": steady[0]["p50_us"], "wrong_p50_us": steady[1]["p50_us"],
                         "right_p99_us": steady[0]["p99_us"], "wrong_p99_us": steady[1]["p99_us"]})
            report.progress(f"200/s: {rows[-1]}")
        return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def version():
    out = subprocess.run([shutil.which("nats-server"), "--version"], capture_output=True, text=True).stdout
    return out.strip()
