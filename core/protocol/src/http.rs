//! How HTTPS spells the device API: paths, headers and JSON bodies, both ways.
//!
//! Bytes in, values out, and back; no I/O. The JSON is the same on MQTT and AMQP, which differ in how they carry it.
//! Reading is total: whatever a peer sends becomes a value that says what it was.

mod json;
mod path;
mod service_json;
mod service_path;
mod webhook;

pub use json::{
    body, read_reply, read_submission, read_tpm, text_of, tpm_keys, write_reply, write_time as iso_time,
};
pub use path::{API_VERSION, API_VERSIONS, Route, RouteCall, path_and_query, route};
pub use service_json::{read_bulk, read_draft, read_query, write_administered};
pub use service_path::{SERVICE_API_VERSIONS, ServiceCall, ServiceRoute, service_route};
pub use webhook::{read_webhook_reply, write_webhook_call};

/// The longest body of a message (`dps` 11.1: 96 KB).
pub const MESSAGE_MAX_BYTES: usize = 96 * 1024;
