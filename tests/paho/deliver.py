"""One publish with paho, and what the broker said to it.

`paho.mqtt.publish.single`, which platforms' documentation uses, does not look at the reason in a PUBACK and connects
again for ever when the broker closes the connection. So there are two ways here: the documented one under a time limit,
and one with callbacks, which reports.
"""

import argparse
import signal
import sys

import paho.mqtt.client as mqtt
import paho.mqtt.publish as publish
from paho.mqtt import MQTTException
from paho.mqtt.packettypes import PacketTypes

PROTOCOLS = {"3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--ca", help="the CA's certificate, PEM; with it the connection is TLS")
    parser.add_argument("--mqtt", choices=PROTOCOLS, default="3.1.1")
    parser.add_argument("--payload", default='{"temperature": 21.5}')
    parser.add_argument("--content-type", help="MQTT 5 only; with --report only")
    parser.add_argument("--report", action="store_true", help="use callbacks, and name the reason of a refusal")
    parser.add_argument("--seconds", type=int, default=10, help="the time limit")


def tls_of(arguments):
    return {"ca_certs": arguments.ca} if arguments.ca else None


def deliver(arguments, client_id, topic, auth=None, tls=None) -> int:
    """Publishes with QoS 1; 0 is a success, anything else is not, and says why."""

    def too_late(*_):
        print("refused: no confirmation in time, or the connection was closed", file=sys.stderr)
        sys.exit(3)

    signal.signal(signal.SIGALRM, too_late)
    signal.alarm(arguments.seconds)
    try:
        send = report if arguments.report else single
        reason = send(arguments, client_id, topic, auth, tls)
    except (OSError, MQTTException) as error:
        reason = str(error) or type(error).__name__
    if reason:
        print(f"refused: {reason}", file=sys.stderr)
        return 1
    print("accepted")
    return 0


def single(arguments, client_id, topic, auth, tls):
    """As documented."""
    publish.single(
        topic,
        payload=arguments.payload,
        qos=1,
        hostname=arguments.host,
        port=arguments.port,
        client_id=client_id,
        auth=auth,
        tls=tls,
        protocol=PROTOCOLS[arguments.mqtt],
    )


def report(arguments, client_id, topic, auth, tls):
    """With callbacks; gives the reason of a refusal."""
    outcome = ["the connection was closed"]
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=PROTOCOLS[arguments.mqtt],
        reconnect_on_failure=False,
    )
    if auth:
        client.username_pw_set(auth["username"], auth["password"])
    if tls:
        client.tls_set(**tls)

    def on_connect(client, _userdata, _flags, reason, properties):
        if reason.is_failure:
            words = getattr(properties, "ReasonString", None)
            outcome[0] = f"CONNACK: {reason}" + (f": {words}" if words else "")
            client.disconnect()
            return
        described = None
        if arguments.content_type:
            described = mqtt.Properties(PacketTypes.PUBLISH)
            described.ContentType = arguments.content_type
        client.publish(topic, arguments.payload, qos=1, properties=described)

    def on_publish(client, _userdata, _mid, reason, _properties):
        outcome[0] = f"PUBACK: {reason}" if reason.is_failure else None
        client.disconnect()

    client.on_connect, client.on_publish = on_connect, on_publish
    client.connect(arguments.host, arguments.port)
    client.loop_forever()
    return outcome[0]
