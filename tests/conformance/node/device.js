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
  amqp: () => require('azure-iot-provisioning-device-amqp').Amqp,
  'amqp-ws': () => require('azure-iot-provisioning-device-amqp').AmqpWs,
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
// Over AMQP a rejection comes as it is: a condition and a description, without a name and a message.
const failure = (error) => ({
  error: error.name || error.condition,
  message: error.message || error.description,
  code: error.result && error.result.registrationState && error.result.registrationState.errorCode,
});
// Some failures of this client escape its callback.
process.on('uncaughtException', (error) => finish(failure(error)));
client.register((error, result) => {
  if (error) {
    finish(failure(error));
  }
  finish({ status: result.status, hub: result.assignedHub, device: result.deviceId });
});
