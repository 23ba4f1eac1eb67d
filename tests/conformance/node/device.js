// One registration with Microsoft's Node client. The answer is one line of JSON on standard output.
'use strict';

const fs = require('fs');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { X509Security } = require('azure-iot-security-x509');

const argument = JSON.parse(process.argv[2]);
const transports = {
  https: () => require('azure-iot-provisioning-device-http').Http,
  mqtt: () => require('azure-iot-provisioning-device-mqtt').Mqtt,
  'mqtt-ws': () => require('azure-iot-provisioning-device-mqtt').MqttWs,
};
const security = argument.certificate
  ? new X509Security(argument.registration_id, {
      cert: fs.readFileSync(argument.certificate, 'ascii'),
      key: fs.readFileSync(argument.private_key, 'ascii'),
    })
  : new SymmetricKeySecurityClient(argument.registration_id, argument.key);
const Transport = transports[argument.transport]();
const client = ProvisioningDeviceClient.create(argument.host, argument.id_scope, new Transport(), security);
if (argument.payload !== undefined) {
  client.setProvisioningPayload(argument.payload);
}

function finish(answer) {
  fs.writeSync(1, JSON.stringify(answer) + '\n');
  process.exit(0);
}
// Some failures of this client escape its callback.
process.on('uncaughtException', (error) => finish({ error: error.name, message: error.message }));
client.register((error, result) => {
  if (error) {
    finish({ error: error.name, message: error.message });
  }
  finish({ status: result.status, hub: result.assignedHub, device: result.deviceId });
});
