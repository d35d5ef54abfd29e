#!/usr/bin/env python3
"""Tries the scripts here against a running `causeway demo`: those that must be accepted, and those that must not.

    python3 -m venv /tmp/paho && /tmp/paho/bin/pip install -r tests/paho/requirements.txt
    /tmp/paho/bin/python tests/paho/check.py causeway-demo/demo.json
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from Crypto.PublicKey import ECC, RSA

HERE = pathlib.Path(__file__).parent


def port(url: str) -> str:
    return url.rsplit(":", 1)[1]


class Check:
    def __init__(self, demo: dict):
        self.plain = ["--port", port(demo["mqtt"])]
        self.tls = ["--port", port(demo["mqtts"]), "--ca", demo["ca_file"]]
        self.sap_port, self.ca = port(demo["sap"]), demo["ca_file"]
        self.devices = {device["id"]: device for device in demo["devices"]}
        self.failures = 0

    def device(self, device_id: str) -> list:
        device = self.devices[device_id]
        return ["akenza_device.py", "--device", device_id, "--key", device["private_key_file"],
                "--algorithm", device["algorithm"]]

    def with_kid(self, device_id: str) -> list:
        return [*self.device(device_id), "--public-key", self.devices[device_id]["public_key_file"]]

    def secret(self, device_id: str) -> list:
        device = self.devices["demo-secret-1"]
        return ["akenza_secret.py", "--device", device_id, "--connector-id", device["connector_id"],
                "--secret", device["secret"]]

    def run(self, accepted: bool, what: str, arguments: list) -> None:
        script, *rest = arguments
        done = subprocess.run([sys.executable, HERE / script, *rest], capture_output=True, text=True, check=False)
        # A script that breaks says neither.
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("accepted", "refused: "))]
        as_expected = bool(lines) and lines[0].startswith("accepted") == accepted == (done.returncode == 0)
        self.failures += not as_expected
        said = lines[0] if lines else f"{done.stdout}{done.stderr}"
        print(f"{'ok  ' if as_expected else 'FAIL'} {what}: {said}", flush=True)


def akenza(check: Check, directory: pathlib.Path) -> None:
    other_rsa, other_ec = directory / "rsa.pem", directory / "ec.pem"
    other_rsa.write_bytes(RSA.generate(2048).export_key("PEM", pkcs=8))
    other_ec.write_text(ECC.generate(curve="P-256").export_key(format="PEM"))
    for version in ("3.1.1", "5"):
        for way, connection in (("plain", check.plain), ("TLS", check.tls)):
            for how in ([], ["--report"]):
                common = [*connection, "--mqtt", version, *how]
                where = f"MQTT {version}, {way}, {'callbacks' if how else 'publish.single'}"
                for device in ("demo-rsa", "demo-ec"):
                    check.run(True, f"{where}: {device}", [*check.device(device), *common])
                    sub_topic = ["--topic", f"/up/device/id/{device}/alerts/critical"]
                    check.run(True, f"{where}: {device} with kid and sub-topic",
                              [*check.with_kid(device), *common, *sub_topic])
                check.run(True, f"{where}: secret", [*check.secret("demo-secret-1"), *common])
                check.run(True, f"{where}: secret, other device", [*check.secret("demo-secret-2"), *common])
        common = [*check.tls, "--mqtt", version, "--report"]
        ec, rsa = [*check.with_kid("demo-ec"), *common], [*check.device("demo-rsa"), *common]
        secret = [*check.secret("demo-secret-1"), *common]
        for what, arguments in (
            ("wrong RSA key", [*rsa, "--key", other_rsa]),
            ("wrong EC key", [*ec, "--key", other_ec]),
            ("wrong audience", [*ec, "--audience", "https://akenza.io/devices/demo-rsa"]),
            ("expired token", [*ec, "--issued", "-3600"]),
            ("token of the future", [*ec, "--issued", "3600"]),
            ("wrong kid", [*ec, "--kid", "0" * 64]),
            ("foreign client id", [*ec, "--client-id", "demo-rsa"]),
            ("unknown client id", [*ec, "--client-id", "nobody"]),
            ("foreign topic", [*ec, "--topic", "/up/device/id/demo-rsa"]),
            ("wrong secret", [*secret, "--secret", "wrong"]),
            ("wrong connector", [*secret, "--connector-id", "other"]),
            ("foreign device with a secret", [*secret, "--device", "demo-rsa"]),
        ):
            check.run(False, f"MQTT {version}: {what}", arguments)
    documented = [*check.device("demo-ec"), *check.plain, "--client-id", "demo-rsa"]
    check.run(False, "publish.single: foreign client id", documented)
    foreign = [*check.device("demo-ec"), *check.plain, "--topic", "/up/device/id/demo-rsa", "--seconds", "3"]
    check.run(False, "publish.single: foreign topic", foreign)
    five = [*check.device("demo-ec"), *check.tls, "--mqtt", "5", "--report"]
    check.run(True, "content type", [*five, "--content-type", "text/csv", "--payload", "a,b"])
    check.run(False, "unknown content type", [*five, "--content-type", "image/png"])
    check.run(False, "broken JSON", [*five, "--payload", "{"])


def sap(check: Check) -> None:
    device = check.devices["demo-sap"]
    bare = ["sap_iot.py", "--port", check.sap_port, "--ca", check.ca, "--device", "demo-sap"]
    own = [*bare, "--certificate", device["certificate_file"], "--passphrase-file", device["passphrase_file"]]
    for version in ("3.1.1", "5"):
        at = ["--mqtt", version]
        check.run(True, f"SAP, MQTT {version}: a measure", [*own, *at])
        for what, arguments in (
            ("malformed measure", [*own, "--payload", '{"measures": []}']),
            ("no certificate", bare),
            ("foreign client id", [*own, "--client-id", "other"]),
            ("foreign topic", [*own, "--topic", "measures/other"]),
            ("foreign device", [*own, "--device", "other"]),
        ):
            check.run(False, f"SAP, MQTT {version}: {what}", [*arguments, *at])


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    check = Check(json.loads(pathlib.Path(sys.argv[1]).read_text()))
    with tempfile.TemporaryDirectory() as directory:
        akenza(check, pathlib.Path(directory))
    sap(check)
    print(f"{check.failures} failures")
    return 1 if check.failures else 0


if __name__ == "__main__":
    sys.exit(main())
