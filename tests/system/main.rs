//! Whole-system tests: they run the built command as a user does, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod advisories;
mod alerts;
mod amqp;
mod amqp_captures;
mod analysis;
mod bad_input;
mod bad_target;
mod browser;
mod canaries;
mod ceilings;
mod chaos;
mod chaos_doors;
mod chaos_safety;
mod conformance;
mod door;
mod enroll;
mod enrollment_api;
mod error_table;
mod error_table_mqtt;
mod harness;
mod hostile_plugins;
mod hubs;
mod interruption;
mod lives;
mod metrics;
mod mock;
mod mqtt;
mod mqtt_wire;
mod packets;
mod pkcs11;
mod places;
mod plugins;
mod report;
mod rumqttc;
mod runs;
mod scenario_files;
mod service_log;
mod shrink;
mod stopped;
mod terminal;
mod told;
mod tpm;
mod transports;
mod webhook;
