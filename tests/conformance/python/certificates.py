"""A device made of others' libraries: `cryptography`, `paho-mqtt`, the standard library's HTTPS, and the `openssl` command.

It asks for a certificate over HTTPS and over MQTT, opens its hub with each, renews it there, and opens the hub with what
it got. It shares no code with the mock, so whatever both understand is what they say on the wire.
"""

import base64
import hashlib
import hmac
import http.client
import json
import queue
import ssl
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import paho.mqtt.client as mqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

case = json.loads(sys.argv[1])
HOST, SCOPE, ID, CA = case["host"], case["id_scope"], case["registration_id"], case["ca"]
PLACE = Path(case["place"])
VERSION, HUB_VERSION = "2026-11-01", "2025-08-01-preview"
RESOURCE = f"{SCOPE}/registrations/{ID}"


def token():
    expires = int(time.time()) + 3600
    resource = urllib.parse.quote(RESOURCE, safe="")
    signature = hmac.digest(base64.b64decode(case["key"]), f"{resource}\n{expires}".encode(), hashlib.sha256)
    signature = urllib.parse.quote(base64.b64encode(signature), safe="")
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expires}&skn=registration"


def request(curve):
    """A new key, and a request for a certificate of it."""
    key = ec.generate_private_key(curve)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ID)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return key, base64.b64encode(csr.public_bytes(serialization.Encoding.DER)).decode()


def verified(name, key, chain):
    """The files of a chain and its key, once `openssl verify` has taken it and it is of this key and device."""
    certificates = [x509.load_der_x509_certificate(base64.b64decode(text, validate=True)) for text in chain]
    pem = [certificate.public_bytes(serialization.Encoding.PEM).decode() for certificate in certificates]
    leaf, between, root = PLACE / f"{name}-leaf.pem", PLACE / f"{name}-between.pem", PLACE / f"{name}-root.pem"
    leaf.write_text(pem[0])
    between.write_text("".join(pem[1:-1]))
    root.write_text(pem[-1])
    subprocess.run(["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", root, "-untrusted", between,
                    leaf], check=True, capture_output=True)
    assert certificates[0].public_key() == key.public_key(), "the certificate is of another key"
    names = certificates[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert [one.value for one in names] == [ID], names
    shown, private = PLACE / f"{name}.pem", PLACE / f"{name}.key"
    shown.write_text("".join(pem))
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                          serialization.NoEncryption()))
    return shown, private, certificates[0].serial_number


def over_https(csr):
    wire = http.client.HTTPSConnection(HOST, 443, timeout=20, context=ssl.create_default_context(cafile=CA))
    headers = {"Authorization": token(), "Content-Type": "application/json"}

    def ask(method, path, body=None):
        wire.request(method, f"/{RESOURCE}/{path}?api-version={VERSION}", body and json.dumps(body), headers)
        answer = wire.getresponse()
        return answer.status, answer.headers, json.loads(answer.read())

    status, _, told = ask("PUT", "register", {"registrationId": ID, "csr": csr})
    assert status == 202, (status, told)
    while status == 202:
        time.sleep(0.2)
        status, _, told = ask("GET", f"operations/{told['operationId']}")
    assert (status, told["status"]) == (200, "assigned"), (status, told)
    return told["registrationState"]


class Mqtt:
    """A connection that hands over what was published, one by one."""

    def __init__(self, host, user, password=None, certificate=None):
        self.heard, self.steps = queue.Queue(), queue.Queue()
        self.client = mqtt.Client(client_id=ID, clean_session=True)
        self.client.username_pw_set(user, password)
        shown, private = certificate or (None, None)
        self.client.tls_set(CA, certfile=shown, keyfile=private)
        self.client.on_connect = lambda _c, _u, _f, code: self.steps.put(("connected", code))
        self.client.on_subscribe = lambda _c, _u, _m, granted: self.steps.put(("subscribed", granted[0]))
        self.client.on_message = lambda _c, _u, message: self.heard.put(message)
        self.client.connect(host, 8883)
        self.client.loop_start()
        self.step("connected", 0)

    def step(self, name, code):
        found = self.steps.get(timeout=20)
        assert found == (name, code), (found, name, code)

    def listen(self, topic):
        self.client.subscribe(topic, qos=1)
        self.step("subscribed", 1)

    def publish(self, topic, body):
        self.client.publish(topic, json.dumps(body), qos=1)

    def answer(self, prefix):
        message = self.heard.get(timeout=20)
        assert message.topic.startswith(prefix), message.topic
        return int(message.topic[len(prefix):].split("/")[0]), json.loads(message.payload)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()


def over_mqtt(csr):
    with Mqtt(HOST, f"{RESOURCE}/api-version={VERSION}&ClientVersion=others", token()) as wire:
        wire.listen("$dps/registrations/res/#")
        wire.publish("$dps/registrations/PUT/iotdps-register/?$rid=1", {"registrationId": ID, "csr": csr})
        status, told = wire.answer("$dps/registrations/res/")
        assert status == 202, (status, told)
        while status == 202:
            time.sleep(0.2)
            operation = told["operationId"]
            wire.publish(f"$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={operation}", {})
            status, told = wire.answer("$dps/registrations/res/")
        assert (status, told["status"]) == (200, "assigned"), (status, told)
        return told["registrationState"]


def renewed(hub, certificate, curve):
    """Opens the hub, and asks for the next certificate there: its key and its chain."""
    with Mqtt("localhost", f"{hub}/{ID}/?api-version={HUB_VERSION}", certificate=certificate) as wire:
        wire.listen("$iothub/credentials/res/#")
        key, csr = request(curve)
        wire.publish("$iothub/credentials/POST/issueCertificate/?$rid=1001", {"id": ID, "csr": csr})
        status, told = wire.answer("$iothub/credentials/res/")
        assert status == 202 and "operationExpires" in told, (status, told)
        status, told = wire.answer("$iothub/credentials/res/")
        assert status == 200, (status, told)
        return key, told["certificates"]


serials = []
for way, curve in [(over_https, ec.SECP256R1()), (over_mqtt, ec.SECP384R1())]:
    key, csr = request(curve)
    state = way(csr)
    *certificate, serial = verified(way.__name__, key, state["issuedCertificateChain"])
    serials.append(serial)
    for turn in range(2):
        key, chain = renewed(state["assignedHub"], certificate, curve)
        *certificate, serial = verified(f"{way.__name__}-{turn}", key, chain)
        serials.append(serial)
print(json.dumps({"certificates": len(set(serials))}))
