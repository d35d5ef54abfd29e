#!/usr/bin/env python3
"""An uplink with device credentials, as akenza's documentation does it: a JWT as password, the device id as client id.

https://docs.akenza.io/akenza.io/get-started/create-and-connect-devices/device-credentials
"""

import argparse
import datetime
import hashlib
import sys

import jwt
from Crypto.PublicKey import ECC, RSA

import deliver


def create_jwt(arguments) -> str:
    with open(arguments.key) as file:
        private_key = file.read()
    issued = datetime.datetime.now(tz=datetime.timezone.utc) + datetime.timedelta(seconds=arguments.issued)
    claims = {
        "iat": int(issued.timestamp()),
        "exp": int(issued.timestamp()) + arguments.lifetime,
        "aud": arguments.audience or f"https://akenza.io/devices/{arguments.device}",
    }
    headers = {"kid": arguments.kid or key_id(arguments)} if arguments.kid or arguments.public_key else None
    return jwt.encode(claims, private_key, algorithm=arguments.algorithm, headers=headers)


def key_id(arguments) -> str:
    with open(arguments.public_key) as file:
        public_key = file.read()
    if arguments.algorithm == "RS256":
        der = RSA.import_key(public_key).export_key("DER")
    else:
        der = ECC.import_key(public_key).export_key(format="DER", compress=False)
    return hashlib.sha256(der).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    deliver.add_arguments(parser)
    parser.add_argument("--device", required=True)
    parser.add_argument("--key", required=True, help="the private key, PEM")
    parser.add_argument("--algorithm", default="RS256")
    parser.add_argument("--public-key", help="its public half, PEM; with it the token gets a kid")
    parser.add_argument("--kid", help="this kid instead")
    parser.add_argument("--audience", help="instead of the device's")
    parser.add_argument("--lifetime", type=int, default=1200, help="seconds")
    parser.add_argument("--issued", type=int, default=0, help="seconds from now; -9999 is a token long expired")
    parser.add_argument("--client-id", help="instead of the device id")
    parser.add_argument("--topic", help="instead of the device's")
    arguments = parser.parse_args()
    return deliver.deliver(
        arguments,
        client_id=arguments.client_id or arguments.device,
        topic=arguments.topic or f"/up/device/id/{arguments.device}",
        auth={"username": "unused", "password": create_jwt(arguments)},
        tls=deliver.tls_of(arguments),
    )


if __name__ == "__main__":
    sys.exit(main())
