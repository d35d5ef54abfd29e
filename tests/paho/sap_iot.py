#!/usr/bin/env python3
"""A measure with a client certificate, as SAP's tutorials do it, and the gateway's answer on the ack topic."""

import argparse
import json
import ssl
import sys
import threading

import paho.mqtt.client as mqtt

MEASURE = {"capabilityAlternateId": "climate", "sensorAlternateId": "s1", "measures": [{"temperature": 21.5}]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=8884)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--device", required=True, help="the alternate id")
    parser.add_argument("--certificate", help="the PEM as SAP hands it out: encrypted key and certificate")
    parser.add_argument("--passphrase-file")
    parser.add_argument("--client-id", help="instead of the device's alternate id")
    parser.add_argument("--topic", help="instead of the device's")
    parser.add_argument("--payload", default=json.dumps(MEASURE))
    parser.add_argument("--mqtt", choices=("3.1.1", "5"), default="3.1.1")
    parser.add_argument("--seconds", type=int, default=10, help="the time limit")
    arguments = parser.parse_args()

    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=arguments.client_id or arguments.device,
        protocol=mqtt.MQTTv5 if arguments.mqtt == "5" else mqtt.MQTTv311,
        reconnect_on_failure=False,
    )
    outcome, done = ["refused: no answer in time"], threading.Event()

    def end(words):
        outcome[0] = words
        done.set()

    def on_connect(client, _userdata, _flags, reason, _properties):
        if reason.is_failure:
            end(f"refused: CONNACK: {reason}")
        else:
            client.subscribe([(f"ack/{arguments.device}", 1), (f"commands/{arguments.device}", 1)])

    def on_subscribe(client, _userdata, _mid, reasons, _properties):
        if any(reason.is_failure for reason in reasons):
            end(f"refused: SUBACK: {reasons[0]}")
        else:
            client.publish(arguments.topic or f"measures/{arguments.device}", arguments.payload, qos=1)

    def on_publish(_client, _userdata, _mid, reason, _properties):
        if reason.is_failure:
            end(f"refused: PUBACK: {reason}")

    def on_message(_client, _userdata, message):
        ack = json.loads(message.payload)[0]
        end(f"accepted: {ack}" if ack["code"] in (200, 202) else f"refused: {ack}")

    def on_disconnect(*_):
        if not done.is_set():
            end("refused: the connection was closed")

    client.on_connect, client.on_subscribe, client.on_publish = on_connect, on_subscribe, on_publish
    client.on_message, client.on_disconnect = on_message, on_disconnect
    try:
        client.tls_set(
            ca_certs=arguments.ca,
            certfile=arguments.certificate,
            keyfile=arguments.certificate,
            keyfile_password=passphrase(arguments),
        )
        client.connect(arguments.host, arguments.port)
    except (ssl.SSLError, OSError) as error:
        end(f"refused: {error}")
    client.loop_start()
    done.wait(arguments.seconds)
    client.loop_stop()
    print(outcome[0])
    return 0 if outcome[0].startswith("accepted") else 1


def passphrase(arguments):
    if not arguments.passphrase_file:
        return None
    with open(arguments.passphrase_file) as file:
        return file.read().strip()


if __name__ == "__main__":
    sys.exit(main())
