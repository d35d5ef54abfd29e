"""What is measured beside each other. Each is started once and measured in turns with the others."""

import json
import subprocess
from pathlib import Path

from . import load
from .bridge import TOKEN, Bridge
from .process import Program, free_port

HERE = Path(__file__).resolve().parent.parent


class Ceiling:
    name, note = "bare axum handler, 202 (the ceiling)", "nothing is published"

    def __init__(self, bench):
        port = free_port()
        self.program = Program([bench.tools / "ceiling", f"127.0.0.1:{port}"], port, bench.folder / "ceiling.log")
        self.turn = lambda seconds: load.wrk(port, seconds)


class Causeway:
    """The bridge with everything on."""

    def __init__(self, bench, name, devices=1, tls=False, prefer=None, binary=None):
        self.name = name
        self.note = "on disk (fsync)" if prefer else "after the PUBACK"
        folder = bench.folder / name.replace(" ", "-").replace(",", "")
        self.program = Bridge(binary or bench.binary, folder, bench.broker, devices, tls)
        self.turn = lambda seconds: load.wrk(self.program.port, seconds, devices, TOKEN, prefer)


class Fastify:
    name, note = "fastify + mqtt.js", "after the PUBACK"

    def __init__(self, bench):
        port = free_port()
        command = ["node", "fastify.js", str(port), str(bench.broker.port)]
        self.program = Program(command, port, bench.folder / "fastify.log", cwd=HERE / "peers/node")
        self.turn = lambda seconds: load.wrk(port, seconds)


class NodeRed:
    name, note = "Node-RED, http in to mqtt out", "before the broker has answered"

    def __init__(self, bench):
        port = free_port()
        env = {"HTTP_PORT": str(port), "BROKER_PORT": str(bench.broker.port)}
        command = ["node", "node_modules/node-red/red.js", "--settings", "settings.js", "--userDir", bench.folder / "node-red"]
        self.program = Program(command, port, bench.folder / "node-red.log", env, HERE / "peers/node")
        self.turn = lambda seconds: load.wrk(port, seconds)


class FastApi:
    name, note = "FastAPI + aiomqtt", "after the PUBACK"

    def __init__(self, bench):
        port = free_port()
        env = {"BROKER_PORT": str(bench.broker.port)}
        command = [bench.python, "-m", "uvicorn", "fastapi_peer:app", "--port", str(port), "--no-access-log", "--log-level", "warning"]
        self.program = Program(command, port, bench.folder / "fastapi.log", env, HERE / "peers/python")
        self.turn = lambda seconds: load.wrk(port, seconds)


class PublishSingle:
    name, note = "paho publish.single, 32 threads", "a connection for each message, after the PUBACK"
    program = None

    def __init__(self, bench):
        self.command = [bench.python, HERE / "peers/python/publish_single.py", str(bench.broker.port)]

    def turn(self, seconds):
        out = subprocess.run([*self.command, str(seconds)], check=True, capture_output=True, text=True).stdout
        result = json.loads(out)
        return load.Load(result["rate"], result["p50_us"] / 1000, result["p99_us"] / 1000, result["failed"])
