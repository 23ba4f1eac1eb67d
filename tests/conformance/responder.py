"""Answers the topics of DPS through a broker that knows nothing of them."""

import json
import sys

import paho.mqtt.client as mqtt

OPERATION = "5.71cf7e385566aa10.4469ed4c-dc19-4af8-8b36-9ef6396ac1b3"
device = {}


def answer(client, _, message):
    rid = message.topic.split("$rid=")[1].split("&")[0]
    if "/PUT/" in message.topic:
        device["id"] = json.loads(message.payload)["registrationId"]
        topic = f"$dps/registrations/res/202/?$rid={rid}&retry-after=1"
        body = {"operationId": OPERATION, "status": "assigning"}
    else:
        known = message.topic.endswith(f"operationId={OPERATION}")
        topic = f"$dps/registrations/res/{200 if known else 404}/?$rid={rid}"
        state = {"registrationId": device["id"], "assignedHub": "hub.example.net", "deviceId": device["id"],
                 "status": "assigned", "substatus": "initialAssignment"}
        body = {"operationId": OPERATION, "status": "assigned", "registrationState": state}
    # A late answer to another request, and the right one twice.
    client.publish(topic.replace(f"$rid={rid}", "$rid=4000000"), json.dumps(body), qos=1)
    client.publish(topic, json.dumps(body), qos=1)
    client.publish(topic, json.dumps(body), qos=0)


client = mqtt.Client("responder")
client.on_message = answer
client.on_subscribe = lambda *_: print("ready", flush=True)
client.connect("127.0.0.1", int(sys.argv[1]))
client.subscribe([("$dps/registrations/PUT/#", 1), ("$dps/registrations/GET/#", 1)])
client.loop_forever()
