// Drives the mock's enrollment API with Microsoft's own client, unmodified.
//
// The client always dials the default HTTPS port; the agent's default port is where the mock listens, so neither the
// client nor its requests are touched. Arguments: port, file with the owner's key, PEM file with a certificate, id scope.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import https from "node:https";
import sdk from "azure-iot-provisioning-service";

const [port, ownerKeyFile, certificateFile, scope] = process.argv.slice(2);
https.globalAgent.defaultPort = Number(port);
const ownerKey = readFileSync(ownerKeyFile, "utf8").trim();
const connect = (name, key) =>
  sdk.ProvisioningServiceClient.fromConnectionString(
    `HostName=localhost;SharedAccessKeyName=${name};SharedAccessKey=${key}`,
  );
const client = connect("provisioningserviceowner", ownerKey);

const key = (byte) => Buffer.alloc(64, byte).toString("base64");
const bodyOf = (result) => result.responseBody;
// Without a token the client asks for the first page again.
const nextPage = (query) => query.next(query.continuationToken);
const refused = async (promise, status) => {
  const error = await promise.then(
    () => assert.fail(`this should have been a ${status}`),
    (error) => error,
  );
  assert.equal(error.response?.statusCode, status, `${error}`);
};

const steps = {
  async "an individual enrollment is created, read, updated and deleted"() {
    const wanted = {
      registrationId: "node-1",
      deviceId: "thermostat",
      provisioningStatus: "enabled",
      attestation: { type: "symmetricKey", symmetricKey: { primaryKey: key(1), secondaryKey: key(2) } },
      initialTwin: { tags: { floor: 3 }, properties: { desired: { rate: 5 } } },
      reprovisionPolicy: { updateHubAssignment: true, migrateDeviceData: false },
    };
    const created = bodyOf(await client.createOrUpdateIndividualEnrollment(wanted));
    assert.equal(created.deviceId, "thermostat");
    assert.deepEqual(created.initialTwin, wanted.initialTwin);
    await refused(client.createOrUpdateIndividualEnrollment(wanted), 409);

    const read = bodyOf(await client.getIndividualEnrollment("node-1"));
    assert.deepEqual(read, created);
    assert.equal(read.attestation.symmetricKey, undefined);
    const mechanism = bodyOf(await client.getIndividualEnrollmentAttestationMechanism("node-1"));
    assert.equal(mechanism.symmetricKey.secondaryKey, key(2));

    read.provisioningStatus = "disabled";
    const updated = bodyOf(await client.createOrUpdateIndividualEnrollment(read));
    assert.equal(updated.provisioningStatus, "disabled");
    assert.notEqual(updated.etag, read.etag);
    await refused(client.createOrUpdateIndividualEnrollment(read), 412);
    await refused(client.deleteIndividualEnrollment("node-1", read.etag), 412);
    await client.deleteIndividualEnrollment(updated);
    await refused(client.getIndividualEnrollment("node-1"), 404);
  },

  async "certificates are read by their facts"() {
    const certificate = readFileSync(certificateFile, "utf8");
    const x509 = { clientCertificates: { primary: { certificate } } };
    const enrollment = { registrationId: "node-x509", attestation: { type: "x509", x509 } };
    const created = bodyOf(await client.createOrUpdateIndividualEnrollment(enrollment));
    const { info } = created.attestation.x509.clientCertificates.primary;
    assert.match(info.subjectName, /CN=node-x509/);
    assert.match(info.sha1Thumbprint, /^[0-9A-F]{40}$/);
    assert.match(info.sha256Thumbprint, /^[0-9A-F]{64}$/);
    assert.ok(Date.parse(info.notBeforeUtc) < Date.now() && Date.now() < Date.parse(info.notAfterUtc));
    assert.equal(info.version, 3);
    await client.deleteIndividualEnrollment("node-x509");

    const references = { caReferences: { primary: "held", secondary: "held" } };
    const referring = { enrollmentGroupId: "node-ref", attestation: { type: "x509", x509: references } };
    const held = bodyOf(await client.createOrUpdateEnrollmentGroup(referring));
    assert.deepEqual(held.attestation.x509, references);
    assert.deepEqual(bodyOf(await client.getEnrollmentGroup("node-ref")), held);
    referring.attestation.x509.caReferences = { primary: "absent" };
    referring.etag = held.etag;
    await refused(client.createOrUpdateEnrollmentGroup(referring), 400);
    await client.deleteEnrollmentGroup("node-ref");

    const signing = { signingCertificates: { primary: { certificate } } };
    const group = { enrollmentGroupId: "node-ca", attestation: { type: "x509", x509: signing } };
    const made = bodyOf(await client.createOrUpdateEnrollmentGroup(group));
    assert.match(made.attestation.x509.signingCertificates.primary.info.issuerName, /CN=/);
    await client.deleteEnrollmentGroup(made);
  },

  async "many enrollments are made in bulk and paged through"() {
    const enrollments = [...Array(10).keys()].map((n) => ({
      registrationId: `bulk-${n}`,
      attestation: { type: "symmetricKey", symmetricKey: { primaryKey: key(n), secondaryKey: key(n) } },
    }));
    // The promise of this call never settles in the client; its callback does.
    const bulk = (operation) =>
      new Promise((resolve, reject) =>
        client.runBulkEnrollmentOperation(operation, (error, result) => (error ? reject(error) : resolve(result))),
      );
    const made = await bulk({ mode: "create", enrollments });
    assert.deepEqual(made, { isSuccessful: true, errors: [] });
    const again = await bulk({ mode: "create", enrollments: enrollments.slice(0, 2) });
    assert.equal(again.isSuccessful, false);
    assert.deepEqual(again.errors.map((error) => error.registrationId), ["bulk-0", "bulk-1"]);

    const query = client.createIndividualEnrollmentQuery({ query: "SELECT * FROM enrollments" }, 4);
    const pages = [];
    while (query.hasMoreResults) {
      const { responseBody, httpResponse } = await nextPage(query);
      assert.equal(httpResponse.headers["x-ms-item-type"], "enrollment");
      pages.push(responseBody.map((enrollment) => enrollment.registrationId));
    }
    assert.deepEqual(pages.map((page) => page.length), [4, 4, 2]);
    assert.deepEqual(pages.flat().sort(), enrollments.map((enrollment) => enrollment.registrationId));
    const gone = await bulk({ mode: "delete", enrollments });
    assert.equal(gone.isSuccessful, true);
  },

  async "a group's devices register, are listed and are forgotten"() {
    const attestation = { type: "symmetricKey", symmetricKey: { primaryKey: key(7), secondaryKey: key(8) } };
    const group = bodyOf(await client.createOrUpdateEnrollmentGroup({ enrollmentGroupId: "node-fleet", attestation }));
    assert.equal(group.enrollmentGroupId, "node-fleet");
    for (const n of [1, 2, 3]) await register(`node-dev-${n}`, Buffer.alloc(64, 7));
    const states = client.createEnrollmentGroupDeviceRegistrationStateQuery({ query: "*" }, "node-fleet", 2);
    const ids = [];
    while (states.hasMoreResults) ids.push(...(await nextPage(states)).responseBody.map((state) => state.registrationId));
    assert.deepEqual(ids, ["node-dev-1", "node-dev-2", "node-dev-3"]);
    const state = bodyOf(await client.getDeviceRegistrationState("node-dev-2"));
    assert.ok(["assigning", "assigned"].includes(state.status), state.status);
    await client.deleteDeviceRegistrationState(state);
    await refused(client.getDeviceRegistrationState("node-dev-2"), 404);

    const mechanism = bodyOf(await client.getEnrollmentGroupAttestationMechanism("node-fleet"));
    assert.equal(mechanism.symmetricKey.primaryKey, key(7));
    const groups = client.createEnrollmentGroupQuery({ query: "SELECT * FROM enrollmentGroups" });
    const listed = (await nextPage(groups)).responseBody.map((one) => one.enrollmentGroupId);
    assert.ok(listed.includes("node-fleet"), `${listed}`);
    await client.deleteEnrollmentGroup("node-fleet");
    await refused(client.getEnrollmentGroup("node-fleet"), 404);
  },

  async "who may not is told so"() {
    const stranger = connect("provisioningserviceowner", key(9));
    await refused(stranger.getEnrollmentGroup("node-fleet"), 401);
    const reader = connect("reader", key(5));
    await refused(reader.getEnrollmentGroup("node-fleet"), 404);
    await refused(reader.deleteEnrollmentGroup("node-fleet"), 401);
    const malformed = { registrationId: "node-bad", attestation: { type: "symmetricKey", symmetricKey: { primaryKey: "?" } } };
    await refused(client.createOrUpdateIndividualEnrollment(malformed), 400);
  },
};

/** A device of the group registers, as its own requests. */
function register(id, groupKey) {
  const resource = encodeURIComponent(`${scope}/registrations/${id}`);
  const expiry = Math.floor(Date.now() / 1000) + 3600;
  const derived = createHmac("sha256", groupKey).update(id).digest();
  const signature = createHmac("sha256", derived).update(`${resource}\n${expiry}`).digest("base64");
  const token = `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}&se=${expiry}&skn=registration`;
  return new Promise((resolve, reject) => {
    const request = https.request(
      {
        host: "localhost",
        method: "PUT",
        path: `/${scope}/registrations/${id}/register?api-version=2019-03-31`,
        headers: { Authorization: token, "Content-Type": "application/json" },
      },
      (response) => {
        response.resume();
        response.on("end", () => (response.statusCode === 202 ? resolve() : reject(new Error(`${response.statusCode}`))));
      },
    );
    request.on("error", reject);
    request.end(JSON.stringify({ registrationId: id }));
  });
}

for (const [name, step] of Object.entries(steps)) {
  await step();
  console.log(`ok ${name}`);
}
