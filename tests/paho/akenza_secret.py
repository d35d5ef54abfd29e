#!/usr/bin/env python3
"""An uplink with an uplink secret, as akenza's documentation does it: connector id and secret, the secret in the topic.

https://docs.akenza.io/akenza.io/get-started/create-and-connect-devices/uplink-secret
"""

import argparse
import sys

import deliver


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    deliver.add_arguments(parser)
    parser.add_argument("--device", required=True)
    parser.add_argument("--connector-id", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--client-id", default="")
    parser.add_argument("--topic", help="instead of the device's")
    arguments = parser.parse_args()
    return deliver.deliver(
        arguments,
        client_id=arguments.client_id,
        topic=arguments.topic or f"/up/{arguments.secret}/id/{arguments.device}",
        auth={"username": arguments.connector_id, "password": arguments.secret},
        tls=deliver.tls_of(arguments),
    )


if __name__ == "__main__":
    sys.exit(main())
