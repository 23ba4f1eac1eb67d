//! The Azure IoT C SDK of 2026 (`Azure/azure-iot-sdk`, `c/`). Everything here is read, nothing measured (`strategies` 2.7).

use bytemuck::{Pod, Zeroable};
use fleetstorm_plugin::{Answered, Attempt, Class, Decision, Error, Kept, Operation, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{error, error_at_hub, is_refused, seconds};
use crate::{S, ns};

/// `connection_client.c` and `retry_policy.c`: a ladder for DPS, one for the hub and one for refused identities.
///
/// A ladder waits `b - s + U{0..2s}` ms with `b = min(cap, initial * 2^(n-1))` and `s = jitter * b`: the jitter is added
/// after the cap, so a wait may pass it. Which ladder is climbed depends on where the next attempt goes.
///
/// Not said by this model: a source of its own for each of DPS and hub (a device here has one list of credentials for both),
/// refusals of MQTT 5, an application that asks for a new registration.
pub(crate) struct C2026(Config);

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The first wait of the ladders for DPS and the hub, in milliseconds.
    initial_ms: u32,
    /// No wait of theirs is longer than this many milliseconds before jitter; 0 for `initial_ms`.
    cap_ms: u32,
    /// Their jitter up and down, in percent of the wait.
    jitter_pct: u8,
    /// Transient failures at the hub in a row after which the device registers anew; 0 for never.
    reprovision_after: u32,
    /// What a device does whose identity its hub has refused.
    identity: Identity,
    /// The first wait after such a refusal, in milliseconds. 0 for a structure that was left zero: the waits are those of
    /// the other ladders then.
    identity_initial_ms: u32,
    /// No such wait is longer than this many milliseconds before jitter; 0 for `identity_initial_ms`.
    identity_cap_ms: u32,
    /// Its jitter up and down, in percent.
    identity_jitter_pct: u8,
    /// Seconds after the first refusal from which no attempt is started, until the hub has let the device in; 0 for no end.
    max_duration_s: u64,
    /// How many credentials are configured, of those that the device has; 0 for all.
    sources: u32,
    /// Milliseconds until the application opens the client again after it has stopped; 0 for never.
    restart_ms: u64,
}

/// What a device does whose identity its hub has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Identity {
    /// It tries its hub again, and never registers for it.
    RetryHub,
    /// It registers anew.
    Reprovision,
    /// The client stops.
    None,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            initial_ms: 1_000,
            cap_ms: 60_000,
            jitter_pct: 20,
            reprovision_after: 50,
            identity: Identity::RetryHub,
            identity_initial_ms: 300_000,
            identity_cap_ms: 3_600_000,
            identity_jitter_pct: 25,
            max_duration_s: 0,
            sources: 0,
            restart_ms: 0,
        }
    }
}

/// What the client remembers of a device.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Session {
    /// One more than the time of the first refusal of the episode, in ns; 0 outside of one.
    refused_ns: u64,
    /// How far each ladder was climbed.
    dps: u32,
    hub: u32,
    identity: u32,
    /// Transient failures at the hub in a row.
    transient: u32,
    /// Credentials that were refused in this pass.
    refused: u32,
    reserved: u32,
}

/// A ladder's numbers, in milliseconds and percent.
#[derive(Clone, Copy)]
struct Ladder {
    initial: u32,
    cap: u32,
    jitter: u8,
}

impl Ladder {
    /// The wait before retry `n` in ns, in the 32 bits of the original.
    fn wait(self, n: u32, attempt: &Attempt) -> u64 {
        let cap = if self.cap == 0 { self.initial } else { self.cap };
        let doubled = u64::from(self.initial) << (n.max(1) - 1).min(30);
        let base = doubled.min(u64::from(cap));
        let span = base * u64::from(self.jitter) / 100;
        let wait = base - span + attempt.uniform(2 * span + 1);
        ns(wait.clamp(1, u64::from(u32::MAX)))
    }
}

impl C2026 {
    fn ordinary(&self) -> Ladder {
        let Config { initial_ms: initial, cap_ms: cap, jitter_pct: jitter, .. } = self.0;
        Ladder { initial, cap, jitter }
    }

    fn identity(&self) -> Ladder {
        match self.0 {
            Config { identity_initial_ms: 0, .. } => self.ordinary(),
            Config { identity_initial_ms, identity_cap_ms, identity_jitter_pct, .. } => {
                Ladder { initial: identity_initial_ms, cap: identity_cap_ms, jitter: identity_jitter_pct }
            }
        }
    }

    /// Whether a credential is left that this pass has not tried; the one in hand was refused.
    fn goes_on_in_pass(&self, session: &mut Session, attempt: &Attempt) -> bool {
        session.refused = session.refused.saturating_add(1);
        if session.refused < self.sources(attempt) {
            return true;
        }
        session.refused = 0;
        false
    }

    fn sources(&self, attempt: &Attempt) -> u32 {
        match self.0.sources {
            0 => attempt.credentials,
            sources => sources.min(attempt.credentials),
        }
    }

    /// Whether an attempt after `wait` would start when the episode of refusals is over.
    fn is_too_late(&self, session: &Session, attempt: &Attempt, wait: u64) -> bool {
        let lasts = self.0.max_duration_s.saturating_mul(S);
        lasts > 0
            && session.refused_ns > 0
            && attempt.now_ns.saturating_add(wait) >= (session.refused_ns - 1).saturating_add(lasts)
    }

    /// The client has stopped, and the application opens it again: nothing is left of its ladders.
    fn fault(&self, session: &mut Session) -> Decision {
        *session = Session::zeroed();
        error_at_hub(self.0.restart_ms)
    }
}

impl RetryStrategy for C2026 {
    const ID: &'static str = "sdk-c-2026";
    const SUMMARY: &'static str = "A model of the Azure C SDK of 2026: ladders of 1 to 60 s for DPS and hub, 5 min to 1 h when refused.";
    const MODEL: bool = true;
    const PACES_POLLS: bool = true;
    const DECIDES_AT_HUB: bool = true;
    type Config = Config;
    type Session = Session;
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        if config.initial_ms == 0 {
            return Err(Error::new(
                "initial_ms: 0 switches the SDK's retries off; use the strategy `none` for that",
            ));
        }
        for (name, percent) in
            [("jitter_pct", config.jitter_pct), ("identity_jitter_pct", config.identity_jitter_pct)]
        {
            if percent > 100 {
                return Err(Error::new(format!("{name}: {percent} is not between 0 and 100")));
            }
        }
        Ok(Self(config))
    }

    fn wait(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let session = kept.session;
        session.dps = session.dps.saturating_add(1);
        let told = seconds(attempt).unwrap_or(0) * S;
        Some(self.ordinary().wait(session.dps, attempt).max(told))
    }

    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        let Kept { session, shared } = kept;
        let refused = is_refused(attempt) || attempt.code == 401_000;
        if !refused {
            session.refused = 0;
        } else if self.goes_on_in_pass(session, attempt) {
            return Decision::SwitchCredential(0);
        }
        let wait = self.wait(Kept { session, shared }, attempt).unwrap_or(0);
        if self.is_too_late(session, attempt, wait) {
            *session = Session::zeroed();
            return error(self.0.restart_ms);
        }
        // The next pass begins where this one did.
        if refused && self.sources(attempt) > 1 {
            Decision::SwitchCredential(wait)
        } else {
            Decision::Restart(wait)
        }
    }

    fn on_answer(&self, _: Kept<'_, Self>, answer: &Attempt) -> Answered {
        if answer.assigned {
            Answered::AsUsual
        } else {
            Answered::PollAfter(seconds(answer).unwrap_or(0) * S)
        }
    }

    fn on_hub_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        let session = kept.session;
        if attempt.class != Class::Unauthorized {
            session.refused = 0;
            session.transient = session.transient.saturating_add(1);
            let reprovisions = self.0.reprovision_after > 0 && session.transient >= self.0.reprovision_after;
            let wait = if reprovisions {
                (session.transient, session.dps) = (0, 1);
                self.ordinary().wait(1, attempt)
            } else {
                session.hub = session.hub.saturating_add(1);
                self.ordinary().wait(session.hub, attempt)
            };
            return match self.is_too_late(session, attempt, wait) {
                true => self.fault(session),
                false if reprovisions => Decision::Restart(wait),
                false => Decision::UseCachedHub(wait),
            };
        }
        session.transient = 0;
        if self.goes_on_in_pass(session, attempt) {
            return Decision::SwitchCredential(0);
        }
        if session.refused_ns == 0 {
            session.refused_ns = attempt.now_ns.saturating_add(1);
        }
        session.identity = session.identity.saturating_add(1);
        let wait = self.identity().wait(session.identity, attempt);
        if self.0.identity == Identity::None || self.is_too_late(session, attempt, wait) {
            return self.fault(session);
        }
        match self.0.identity {
            Identity::Reprovision => Decision::Restart(wait),
            Identity::RetryHub if self.sources(attempt) > 1 => Decision::SwitchCredential(wait),
            Identity::RetryHub | Identity::None => Decision::UseCachedHub(wait),
        }
    }

    fn on_success(&self, kept: Kept<'_, Self>, attempt: &Attempt) {
        let session = kept.session;
        if attempt.operation == Operation::Hub {
            *session = Session { dps: session.dps, ..Session::zeroed() };
        } else {
            (session.dps, session.hub, session.refused) = (0, 0, 0);
        }
    }
}

#[cfg(test)]
#[path = "c_2026_tests.rs"]
mod tests;
