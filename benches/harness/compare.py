"""Everything in turns, in one run: ratios first."""

import statistics
from contextlib import ExitStack

from . import load, report, subjects
from .bridge import TOKEN, Bridge


def compare(bench, rounds, seconds, peers=True):
    """Measures all subjects, `rounds` turns of `seconds` each, and gives the rows of the table."""
    with ExitStack() as stack:
        measured = []

        def add(subject):
            measured.append(subject)
            if subject.program:
                stack.callback(subject.program.stop)

        add(subjects.Ceiling(bench))
        for name, options in {
            "Causeway, one session": {},
            "Causeway, 100 sessions": {"devices": 100},
            "Causeway, 1000 sessions": {"devices": 1000},
            "Causeway, TLS to the broker": {"tls": True},
            "Causeway, 202 with fsync": {"prefer": "respond-async"},
        }.items():
            add(subjects.Causeway(bench, name, **options))
            if bench.beside:
                add(subjects.Causeway(bench, f"{name}, the other build", binary=bench.beside, **options))
        if peers:
            for peer in (subjects.Fastify, subjects.NodeRed, subjects.FastApi, subjects.PublishSingle):
                add(peer(bench))
        for subject in measured:
            subject.turn(1)
        turns = {subject.name: [] for subject in measured}
        costs = {subject.name: [] for subject in measured}
        for turn in range(rounds):
            for subject in measured:
                before = used(bench, subject)
                result = subject.turn(seconds)
                spent = [(now - then) / (result.rate * seconds) * 1e6 for now, then in zip(used(bench, subject), before)]
                turns[subject.name].append(result)
                costs[subject.name].append(spent)
                report.progress(f"round {turn + 1} of {rounds}: {subject.name}: {result.rate:,.0f}/s, "
                                f"{spent[0]:.1f} us of processor time for each, {spent[1]:.1f} us of the broker's")
        return [row(subject, turns[subject.name], costs[subject.name], turns[measured[0].name]) for subject in measured]


def used(bench, subject):
    """Processor time of a program and of the broker, in seconds."""
    return (subject.program.cpu() if subject.program else 0, bench.broker.cpu())


def row(subject, turns, costs, ceiling):
    """Medians over the turns; the ratio is the median of the ratios within a round."""
    memory = subject.program.rss() if subject.program else 0
    ratios = [turn.rate / top.rate for turn, top in zip(turns, ceiling)]
    slower = [turn.p99_ms / top.p99_ms for turn, top in zip(turns, ceiling)]
    middle = statistics.median
    return {
        "name": subject.name,
        "note": subject.note,
        "ratio": middle(ratios),
        "p99_ratio": middle(slower),
        "rate": middle(turn.rate for turn in turns),
        "p50_ms": middle(turn.p50_ms for turn in turns),
        "p99_ms": middle(turn.p99_ms for turn in turns),
        "cpu_us": middle(own for own, _ in costs),
        "broker_us": middle(broker for _, broker in costs),
        "rss_mib": memory / 2**20,
        "failed": sum(turn.failed for turn in turns),
    }


def low_load(bench, rounds, seconds):
    """What the bridge adds to a confirmed publish when there is little to do, in microseconds."""
    with Bridge(bench.binary, bench.folder / "low-load", bench.broker) as bridge:
        path = "/v1/devices/bench-0/uplinks"
        http = ("http", f"127.0.0.1:{bridge.port}", path, "--token", TOKEN)
        mqtt = ("mqtt", f"127.0.0.1:{bench.broker.port}")
        load.tool(bench.tools, "steady", *http, "--seconds", 1)
        rows = []
        for _ in range(rounds):
            raw, bridged = (load.tool(bench.tools, "steady", *what, "--seconds", seconds) for what in (mqtt, http))
            rows.append({"raw_p50_us": raw["p50_us"], "bridge_p50_us": bridged["p50_us"],
                         "raw_p99_us": raw["p99_us"], "bridge_p99_us": bridged["p99_us"]})
            report.progress(f"200/s: {rows[-1]}")
        return {key: statistics.median(row[key] for row in rows) for key in rows[0]}
