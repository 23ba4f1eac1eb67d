//! Throttles by name. What Microsoft documents is the quota, not how it is enforced: so there are several.

use fleetstorm_units::time::Span;

use super::{Config, Model, RetryAfterMode};

/// A named throttle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Its name in scenarios.
    pub name: &'static str,
    /// What it is, in one line.
    pub what: &'static str,
    registrations: Model,
}

/// The quota of `dps` 11.1: 1,000 a minute.
const PER_S: f64 = 1_000.0 / 60.0;
const MINUTE: Span = Span::from_secs(60);

/// Every profile.
pub const PROFILES: &[Profile] = &[
    Profile {
        name: "dps-doc",
        what: "1,000 registrations a minute as a token bucket with a burst of 1,000",
        registrations: Model::TokenBucket { rate_per_s: PER_S, burst: 1_000.0 },
    },
    Profile {
        name: "dps-smooth",
        what: "1,000 a minute as a token bucket with a burst of one second (17)",
        registrations: Model::TokenBucket { rate_per_s: PER_S, burst: 17.0 },
    },
    Profile {
        name: "dps-window",
        what: "1,000 in each minute of the clock",
        registrations: Model::FixedWindow { limit: 1_000, window: MINUTE },
    },
    Profile {
        name: "dps-shaped",
        what: "1,000 a minute; a burst of 17 passes, then requests wait in a queue of 500 before they are rejected",
        registrations: Model::Shaped { rate_per_s: PER_S, burst: 17.0, depth: 500.0 },
    },
    Profile {
        name: "dps-penalising",
        what: "as dps-doc, and every rejected request costs 0.02 of a token",
        registrations: Model::Penalising { rate_per_s: PER_S, burst: 1_000.0, rho: 0.02 },
    },
    Profile {
        name: "dps-200",
        what: "200 a minute, the quota before 2022, as a token bucket with a burst of 200",
        registrations: Model::TokenBucket { rate_per_s: 200.0 / 60.0, burst: 200.0 },
    },
    Profile { name: "unlimited", what: "no throttle at all", registrations: Model::Unlimited },
];

/// The throttle of this name: registrations as it says, the same for service operations, 5 polls in 10 seconds for
/// each device, and a `Retry-After` that names when a token will be there.
pub fn profile(name: &str) -> Option<Config> {
    let profile = PROFILES.iter().find(|profile| profile.name == name)?;
    Some(Config {
        registrations: profile.registrations,
        operations: profile.registrations,
        polls_per_window: (profile.registrations != Model::Unlimited).then_some(5),
        poll_window: Span::from_secs(10),
        retry_after: RetryAfterMode::UntilToken,
    })
}
