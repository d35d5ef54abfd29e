"""Causeway with everything on: tokens, JSON check, receipts, store, metrics."""

import json
import urllib.request
from pathlib import Path

from .process import Program, free_port

TOKEN = "bench-" + "0123456789abcdef" * 3


def configuration(folder, port, management, broker, devices, tls=False, keys=None, eager=True, cluster=None):
    """`devices` devices, each with a session of its own; with `keys` they sign tokens. `cluster`: the name of this replica, that
    of its cluster, and the store that all of them share."""
    profile = "akenza-device" if keys else "plain"
    connect = "eager" if eager else "lazy"
    url = f"mqtts://localhost:{broker.tls_port}" if tls else f"mqtt://127.0.0.1:{broker.port}"
    lines = [
        f'[http]\nlisten = "127.0.0.1:{port}"\nmax_connections = 20000',
        f'[management]\nlisten = "127.0.0.1:{management}"',
        f'[store]\nurl = "{cluster[2]}"\nprefix = "{cluster[1]}"\n[cluster]\nname = "{cluster[0]}"' if cluster
        else f'[store]\npath = "{folder}/causeway.redb"',
        "[limits]\nconnects_per_second = 10000\nconcurrent_connects = 256",
        f'[access.tokens.bench]\ntoken = "{TOKEN}"\nscopes = ["uplink", "downlink", "devices:read"]',
        f'[connectors.bench]\nprofile = "{profile}"\nurl = "{url}"\nconnect = "{connect}"',
    ]
    if tls:
        lines.append(f'ca_file = "{broker.ca}"')
    if not keys:
        # Several bridges share the broker in turns, and no two of them a client id.
        group = cluster[1] if cluster else port
        lines.append(f'override.session = "device"\noverride.connect.client_id = "{group}-{{device}}"')
    for number in range(devices):
        lines.append(f'[devices.bench-{number}]\nconnector = "bench"')
        if keys:
            lines.append(f'private_key_file = "{keys[number % len(keys)]}"')
    return "\n".join(lines) + "\n"


class Bridge(Program):
    """A release build of the bridge."""

    def __init__(self, binary, folder, broker, devices=1, tls=False, keys=None, eager=True, cluster=None):
        self.port, self.management, self.devices = free_port(), free_port(), devices
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("causeway.redb*"):
            old.unlink()
        config = folder / "causeway.toml"
        config.write_text(configuration(folder, self.port, self.management, broker, devices, tls, keys, eager, cluster))
        config.chmod(0o600)
        super().__init__([binary, "serve", "--config", str(config)], self.port, folder / "causeway.log")

    def metrics(self):
        url = f"http://127.0.0.1:{self.management}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read().decode()

    def cluster(self):
        """What it says of its cluster."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/cluster", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def connected(self):
        """How many sessions are connected."""
        lines = (line for line in self.metrics().splitlines() if line.startswith("causeway_sessions{"))
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if 'state="connected"' in line)
