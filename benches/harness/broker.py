"""A real Mosquitto, as it comes from Debian."""

import os
import subprocess
from pathlib import Path

from .process import Program, free_port


class Broker(Program):
    """Plain on `port`, TLS on `tls_port`."""

    def __init__(self, folder, ports=None):
        self.folder = Path(folder)
        self.port, self.tls_port = ports or (free_port(), free_port())
        self.ca = self.folder / "ca.pem"
        if not self.ca.exists():
            self._make_certificates()
        config = self.folder / "mosquitto.conf"
        config.write_text(
            "allow_anonymous true\npersistence false\nlog_type error\nset_tcp_nodelay true\n"
            "max_queued_messages 0\nmax_inflight_messages 0\n"
            + ("user root\n" if os.geteuid() == 0 else "")
            + f"listener {self.port} 127.0.0.1\n"
            f"listener {self.tls_port} 127.0.0.1\n"
            f"certfile {self.folder}/server.pem\nkeyfile {self.folder}/server.key\n"
        )
        super().__init__(["mosquitto", "-c", str(config)], self.port, self.folder / "mosquitto.log")

    def again(self):
        """Another one in its place, on the same ports."""
        return Broker(self.folder, (self.port, self.tls_port))

    def _make_certificates(self):
        def openssl(*arguments):
            subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=bench ca")
        openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
        (self.folder / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", "server.pem",
                "-days", "30", "-extfile", "san")
