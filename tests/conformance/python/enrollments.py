"""The enrollment API with Microsoft's Python service client, unmodified. What went well is one line of JSON.

The arguments are the host, the key of the owner's access policy, the CA file is REQUESTS_CA_BUNDLE.
"""

import json
import sys

from provisioningserviceclient import ProvisioningServiceClient, ProvisioningServiceError, QuerySpecification
from provisioningserviceclient.client import BULKOP_CREATE
from provisioningserviceclient.models import (
    AttestationMechanism, BulkEnrollmentOperation, EnrollmentGroup, IndividualEnrollment, SymmetricKeyAttestation)

host, key, certificate, registered = sys.argv[1:]
client = ProvisioningServiceClient.create_from_connection_string(
    f"HostName={host};SharedAccessKeyName=provisioningserviceowner;SharedAccessKey={key}")


def symmetric():
    return AttestationMechanism(type="symmetricKey", symmetric_key=SymmetricKeyAttestation())


def refused(status, deed):
    try:
        deed()
    except ProvisioningServiceError as error:
        assert str(status) in str(error), error
    else:
        raise AssertionError(f"this should have been a {status}")


made = client.create_or_update(IndividualEnrollment.create("python-1", symmetric(), device_id="thermostat"))
assert (made.device_id, made.provisioning_status) == ("thermostat", "enabled"), made
made.provisioning_status = "disabled"
changed = client.create_or_update(made)
assert changed.provisioning_status == "disabled" and changed.etag != made.etag, changed
refused(412, lambda: client.create_or_update(made))
assert client.get_individual_enrollment("python-1").etag == changed.etag
assert client.get_individual_enrollment_attestation_mechanism("python-1").symmetric_key.primary_key
refused(400, lambda: client.create_or_update(
    IndividualEnrollment.create("python-tpm", AttestationMechanism.create_with_tpm("bm8ga2V5"))))

pem = open(certificate).read()
group = client.create_or_update(
    EnrollmentGroup.create("python-group", AttestationMechanism.create_with_x509_signing_certs(pem)))
assert client.get_enrollment_group("python-group").etag == group.etag

many = [IndividualEnrollment.create(f"python-bulk-{n}", symmetric()) for n in range(3)]
result = client.run_bulk_operation(BulkEnrollmentOperation(BULKOP_CREATE, many))
assert result.is_successful, result.errors
pages = [len(page) for page in client.create_individual_enrollment_query(QuerySpecification("SELECT *"), 2)]
assert sum(pages) >= 4 and max(pages) == 2, pages

state = client.get_registration_state(registered)
assert state.status == "assigned", state
client.delete_registration_state_by_param(registered, state.etag)
refused(404, lambda: client.get_registration_state(registered))

client.delete(group)
client.delete(changed)
refused(404, lambda: client.get_individual_enrollment("python-1"))
print(json.dumps({"status": "done"}))
