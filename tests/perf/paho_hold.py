"""Connects many idle clients of paho-mqtt to the mock, says so, and holds them until a line comes in.

    python paho_hold.py HOST:PORT CA SCOPE COUNT

One thread for all of them: paho's own loop would take a thread, and its stack, for each.
"""

import json
import select
import ssl
import sys

import paho.mqtt.client as mqtt

address, ca, scope, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
host, port = address.rsplit(":", 1)
context = ssl.create_default_context(cafile=ca)
# Python's own client speaks nothing newer either.
context.maximum_version = ssl.TLSVersion.TLSv1_2
subscribed = 0


def on_connect(client, *_):
    client.subscribe("$dps/registrations/res/#", 1)


def on_subscribe(*_):
    global subscribed
    subscribed += 1


clients = []
for number in range(count):
    name = f"dev-{number:06}"
    options = [mqtt.CallbackAPIVersion.VERSION1] if hasattr(mqtt, "CallbackAPIVersion") else []
    client = mqtt.Client(*options, client_id=name)
    client.username_pw_set(f"{scope}/registrations/{name}/api-version=2019-03-31", "none")
    client.tls_set_context(context)
    client.on_connect, client.on_subscribe = on_connect, on_subscribe
    client.connect(host, int(port), keepalive=60)
    clients.append(client)
    wanted = number + 1
    while subscribed < wanted:
        select.select([client.socket()], [client.socket()] if client.want_write() else [], [], 1)
        client.loop_read()
        client.loop_write()
        client.loop_misc()
print(json.dumps({"event": "holding", "connections": subscribed}), flush=True)
sys.stdin.readline()
