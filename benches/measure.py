"""The benchmark; `benches/run` does the set-up and calls this. See benches/README.md."""

import argparse
import resource
import tempfile
import traceback
from pathlib import Path

from harness import cluster, compare, report, scale, start
from harness.broker import Broker

HERE = Path(__file__).resolve().parent


class Bench:
    """What all measurements share."""

    def __init__(self, folder, target, python):
        self.folder = Path(folder)
        self.binary = str(target / "release/causeway")
        self.with_nats = str(target / "with-nats/release/causeway")
        self.beside = None
        self.tools = target / "bench-tools/release"
        self.python = str(python)
        self.broker = Broker(folder)


MEASUREMENTS = {
    "compare": lambda bench, o: compare.compare(bench, o.rounds, o.seconds, not o.no_peers),
    "low-load": lambda bench, o: compare.low_load(bench, o.rounds, o.seconds),
    "start": lambda bench, o: start.start(bench, o.rounds),
    "sessions": lambda bench, o: scale.sessions(bench, o.sessions, False, o.seconds),
    "sessions-tls": lambda bench, o: scale.sessions(bench, o.tls_sessions, True, o.seconds),
    "storm": lambda bench, o: scale.storm(bench, max(o.tls_sessions), True),
    "listeners": lambda bench, o: scale.listeners(bench, o.listeners),
    "cluster": lambda bench, o: cluster.cluster(bench, o.rounds, o.seconds),
}


def arguments():
    parser = argparse.ArgumentParser(prog="benches/run", description="Measures the bridge. See benches/README.md.")
    parser.add_argument("what", nargs="*", metavar="MEASUREMENT", help=f"{', '.join(MEASUREMENTS)}; default: all of them")
    parser.add_argument("--quick", action="store_true", help="short and small: whether it works, not how fast it is")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--no-peers", action="store_true", help="compare without the programs of others")
    parser.add_argument("--beside", metavar="PROGRAM", help="another build of the bridge, compared in the same turns")
    parser.add_argument("--sessions", type=int, nargs="+", default=[100, 1000, 5000, 9000])
    parser.add_argument("--tls-sessions", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--listeners", type=int, nargs="+", default=[100, 1000, 9000])
    parser.add_argument("--target", type=Path, default=HERE.parent / "target")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    if unknown := set(options.what) - set(MEASUREMENTS):
        parser.error(f"there is no measurement {', '.join(unknown)}")
    if options.quick:
        options.rounds, options.seconds = 1, 2
        options.sessions = options.tls_sessions = options.listeners = [100, 500]
    return options


def main():
    options = arguments()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    results, failed = {"machine": report.machine()}, []
    with tempfile.TemporaryDirectory(prefix="causeway-bench-") as folder:
        bench = Bench(folder, options.target, options.target / "bench-python/bin/python")
        bench.beside = options.beside
        results["machine"]["fsyncs a second"] = start.fsyncs(bench.folder)
        try:
            for name in options.what or MEASUREMENTS:
                report.progress(name)
                # One that fails must not cost the figures of the others.
                try:
                    results[name] = MEASUREMENTS[name](bench, options)
                except Exception:
                    traceback.print_exc()
                    failed.append(name)
                report.write(options.out, results)
        finally:
            bench.broker.stop()
    print(report.text(results))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
