"""What was measured, as a table and a plot."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import escape


def progress(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def machine():
    """Where this was measured, without naming the machine."""
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine())
    version = lambda *command: subprocess.run(command, capture_output=True, text=True).stdout.strip().splitlines()
    mosquitto = next(iter(version("mosquitto", "-h")), "mosquitto")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": model,
        "kernel": platform.release().split("-")[0],
        "broker": mosquitto,
        "rustc": " ".join(version("rustc", "--version")[0].split()[:2]),
        "node": version("node", "--version")[0],
        "python": platform.python_version(),
    }


def table(rows):
    lines = [
        "| | of the ceiling | uplinks/s | p50 ms | p99 ms | µs of processor time for each (the broker's) | memory MiB | answers |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        memory = f"{row['rss_mib']:.0f}" if row["rss_mib"] else ""
        cost = f"{row['cpu_us']:.1f} ({row['broker_us']:.1f})" if row["rss_mib"] else f"({row['broker_us']:.1f})"
        failed = f", **{row['failed']} failed**" if row["failed"] else ""
        lines.append(f"| {row['name']} | **{row['ratio']:.2f}** | {row['rate']:,.0f} | {row['p50_ms']:.2f} "
                     f"| {row['p99_ms']:.2f} | {cost} | {memory} | {row['note']}{failed} |")
    return "\n".join(lines)


def beside(results):
    """The other measurements, as tables."""
    parts = []
    if low := results.get("low-load"):
        added = low["bridge_p50_us"] - low["raw_p50_us"]
        parts.append(f"At 200 requests a second the bridge adds {added / 1000:.2f} ms at the median to a confirmed publish "
                     f"({low['raw_p50_us'] / 1000:.2f} ms raw, {low['bridge_p50_us'] / 1000:.2f} ms through the bridge).")
    if start := results.get("start"):
        parts.append(f"With {start['devices']:,} devices configured, the bridge takes its first connection "
                     f"{start['listening_ms']:.0f} ms after its start. The binary has {start['binary_mb']:.1f} MB.")
    sessions = [*results.get("sessions", []), *results.get("sessions-tls", [])]
    if sessions:
        lines = ["| sessions | KB each, idle | all connected after s | uplinks/s over all | p99 ms |", "|---|---|---|---|---|"]
        for row in sessions:
            lines.append(f"| {row['sessions']:,}{' with TLS' if row['tls'] else ''} | {row['kb_each']:.1f} "
                         f"| {row['connected_s']:.1f} | {row['rate']:,.0f} | {row['p99_ms']:.2f} |")
        parts.append("\n".join(lines))
    if storm := results.get("storm"):
        parts.append(f"After a restart of the broker {storm['sessions']:,} sessions that sign their tokens (ES256), over TLS, were back "
                     f"within {storm['back_s']:.1f} s, for {storm['cpu_s']:.1f} s of processor time. Of {storm['requests']} uplinks that were "
                     f"posted meanwhile {storm['refused']} were refused; the slowest answer took {storm['slowest_ms']:.0f} ms.")
    if listeners := results.get("listeners"):
        lines = ["| listeners | KB each | one downlink to all: median ms | last ms |", "|---|---|---|---|"]
        for row in listeners:
            lines.append(f"| {row['listeners']:,} | {row['kb_each']:.1f} | {row['p50_ms']:.1f} | {row['last_ms']:.1f} |")
        parts.append("\n".join(lines))
    if cluster := results.get("cluster"):
        lines = ["| | of one process | uplinks/s | p50 ms | p99 ms |", "|---|---|---|---|---|"]
        for row in cluster["rows"]:
            failed = f", **{row['failed']} failed**" if row["failed"] else ""
            lines.append(f"| {row['name']}{failed} | {row['ratio']:.2f} | {row['rate']:,.0f} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f} |")
        doors = cluster["doors"]
        added = (doors["wrong_p50_us"] - doors["right_p50_us"]) / 1000
        parts.append(f"Several replicas on {cluster['nats']}:\n\n" + "\n".join(lines) + "\n\n"
                     f"At 200 requests a second, an uplink that comes to another replica than the one that has the device takes "
                     f"{added:.2f} ms longer at the median ({doors['right_p50_us'] / 1000:.2f} ms, {doors['wrong_p50_us'] / 1000:.2f} ms).")
    return "\n\n".join(parts)


def text(results):
    """All that was measured, as the page that users read."""
    about = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    parts = [f"Measured in one run, in turns: {about}."]
    if rows := results.get("compare"):
        parts.append(table(rows))
    return "\n\n".join([*parts, beside(results)]).rstrip() + "\n"


def plot(rows, path):
    """Bars of the ratios; colours that hold on a light and a dark page."""
    width, bar, gap, left = 760, 22, 10, 270
    height = len(rows) * (bar + gap) + gap
    top = max(row["ratio"] for row in rows)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
             'role="img" aria-label="Uplinks per second as a part of a bare HTTP handler\'s" '
             'font-family="system-ui, sans-serif" font-size="13">']
    for number, row in enumerate(rows):
        y = gap + number * (bar + gap)
        length = max(2, (width - left - 120) * row["ratio"] / top)
        colour = "#1f8a70" if row["name"].startswith("Causeway") else "#8a8f98"
        parts.append(f'<text x="{left - 10}" y="{y + 15}" text-anchor="end" fill="#808691">{escape(row["name"])}</text>')
        parts.append(f'<rect x="{left}" y="{y}" width="{length:.0f}" height="{bar}" rx="3" fill="{colour}"/>')
        parts.append(f'<text x="{left + length + 8:.0f}" y="{y + 15}" fill="#808691">{row["ratio"]:.2f} · {row["rate"]:,.0f}/s</text>')
    parts.append("</svg>\n")
    Path(path).write_text("\n".join(parts))


def write(folder, results):
    """`results.json`, the tables, and where there is a comparison its plot."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "table.md").write_text(text(results))
    if rows := results.get("compare"):
        plot(rows, folder / "plot.svg")
