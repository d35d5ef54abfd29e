"""Programs that are measured: started, watched through /proc, ended by their own id."""

import os
import signal
import socket
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    """A port that was free a moment ago: the peers cannot be told to bind any port and say which."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Program:
    """One running program."""

    def __init__(self, command, port, log, env=None, cwd=None, patience=60):
        self.command = command
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd,
                env={**os.environ, **(env or {})},
            )
        end = time.monotonic() + patience
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended; see {log}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                self.listening = time.monotonic()
                return
            except OSError:
                if time.monotonic() > end:
                    self.stop()
                    raise RuntimeError(f"{command[0]} does not listen; see {log}") from None
                time.sleep(0.002)

    def rss(self):
        """Resident memory, in bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            line = next(line for line in status if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def cpu(self):
        """Processor time so far, in seconds."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
