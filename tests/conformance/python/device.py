"""One registration with Microsoft's Python client. The answer is one line of JSON on standard output."""

import json
import logging
import sys

from azure.iot.device import X509, ProvisioningDeviceClient

logging.disable(logging.CRITICAL)
case = json.loads(sys.argv[1])
common = {
    "provisioning_host": case["host"],
    "registration_id": case["registration_id"],
    "id_scope": case["id_scope"],
    "server_verification_cert": open(case["ca"]).read(),
    "websockets": case["transport"] == "mqtt-ws",
}
try:
    if "certificate" in case:
        x509 = X509(cert_file=case["certificate"], key_file=case["private_key"])
        client = ProvisioningDeviceClient.create_from_x509_certificate(x509=x509, **common)
    else:
        client = ProvisioningDeviceClient.create_from_symmetric_key(symmetric_key=case["key"], **common)
    if case.get("payload") is not None:
        client.provisioning_payload = case["payload"]
    result = client.register()
    state = result.registration_state
    answer = {"status": result.status, "hub": state.assigned_hub, "device": state.device_id}
except Exception as error:  # What a user of the client would see is the result; ClientError only wraps it.
    cause = error.__cause__ if type(error).__name__ == "ClientError" and error.__cause__ else error
    answer = {"error": type(cause).__name__, "message": f"{cause} {cause.__cause__ or ''}"}
print(json.dumps(answer), flush=True)
