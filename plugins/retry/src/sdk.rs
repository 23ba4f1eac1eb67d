//! Models of the Azure SDKs' device clients.
//!
//! Models: written from behaviour, for fleets that run this software. Each says what of it was measured, by driving the
//! SDK against a stub, and what is a reading of one version's source; where the two differ, the measured one stands. An
//! SDK that reports an error has done its part: what follows is the application's choice, which `restart_ms` states.

pub(crate) mod arduino;
pub(crate) mod c;
pub(crate) mod c_2026;
pub(crate) mod csharp;
pub(crate) mod csharp_2026;
pub(crate) mod embedded_c;
pub(crate) mod freertos;
pub(crate) mod identity_service;
pub(crate) mod java;
pub(crate) mod netxduo;
pub(crate) mod node;
pub(crate) mod nrf;
pub(crate) mod python;

use fleetstorm_plugin::{Attempt, Class, Decision, Given, Operation};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{S, ns};

/// What the application does when the SDK has given up.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Application {
    /// Milliseconds until the application calls the SDK again after an error; 0 for never, which leaves the device
    /// silent.
    restart_ms: u64,
}

impl Application {
    fn error(self) -> Decision {
        error(self.restart_ms)
    }
}

/// An SDK that reacts differently on each transport.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Carried {
    /// The transport.
    transport: Transport,
    /// Milliseconds until the application calls the SDK again after an error; 0 for never.
    restart_ms: u64,
}

/// The SDK reports an error, and the application restarts it.
fn error(restart_ms: u64) -> Decision {
    if restart_ms == 0 { Decision::NEVER } else { Decision::Restart(ns(restart_ms)) }
}

/// The SDK reports an error at the hub, and the application connects to the same hub again.
fn error_at_hub(restart_ms: u64) -> Decision {
    if restart_ms == 0 { Decision::NEVER } else { Decision::UseCachedHub(ns(restart_ms)) }
}

/// The transport that carries the registration; SDKs react differently on each.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Transport {
    /// HTTPS.
    Https,
    /// MQTT, over WebSocket too.
    #[default]
    Mqtt,
    /// AMQP, over WebSocket too.
    Amqp,
}

/// 429 or any 5xx.
fn is_transient(attempt: &Attempt) -> bool {
    matches!(attempt.class, Class::Throttled | Class::ServerError)
}

/// Retry-After in whole seconds, as a client reads it that only knows numbers.
fn seconds(attempt: &Attempt) -> Option<u64> {
    match attempt.given {
        Given::Seconds(secs) => Some(u64::from(secs)),
        Given::Absent | Given::Date(_) | Given::Malformed => None,
    }
}

/// `min(cap, (2^(n-1) - 1) * U{80..119 ms} + 100 ms)`, the first one at once: `ExponentialBackoffWithJitter` of the C# and
/// Java SDKs. The whole milliseconds of the draw are theirs.
fn delta_backoff(cap_s: u64, attempt: &Attempt) -> u64 {
    let n = attempt.failures.max(1) - 1;
    if n == 0 {
        return 0;
    }
    let factor = 1u64.checked_shl(n).unwrap_or(u64::MAX) - 1;
    let delta = ns(80 + attempt.uniform(40));
    factor.saturating_mul(delta).saturating_add(ns(100)).min(cap_s * S)
}

/// Whether a service, or a hub, has refused the device's identity before any request: MQTT's return codes 4 and 5.
fn is_refused(attempt: &Attempt) -> bool {
    attempt.class == Class::Unauthorized && attempt.status == 0
}

/// Whether the SDK has an operation to poll.
fn is_poll(attempt: &Attempt) -> bool {
    attempt.operation == Operation::Poll
}
