//! The values that the checks hold a fleet against.

use fleetstorm_model::time::Span;

/// What a fleet is expected to do: one reading of Microsoft's pages, which disagree in places (`retry-and-chaos` 4.5).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Profile {
    /// Its name in records.
    pub(crate) name: &'static str,
    /// How much earlier than `Retry-After` a device may act: its timers are not exact.
    pub(crate) tolerance: Span,
    /// The least wait after a failure that names none (deploy-at-scale: 1,000 ms).
    pub(crate) wait_min: Span,
    /// The least time between attempts after an answer that no retry mends.
    pub(crate) terminal_interval: Span,
    /// The time in which a device may poll five times ([`super::life::POLLS`]; `dps-protocol` 11.1: 10 s).
    pub(crate) polls_window: Span,
    /// The largest share of retries or waits in one slot of 100 ms.
    pub(crate) slot_share_max: f64,
    /// The largest Rayleigh R of retries.
    pub(crate) synchrony_max: f64,
    /// Registrations sent for each device that got its hub.
    pub(crate) amplification_max: f64,
    /// Devices on one hub.
    pub(crate) hub_max: u64,
    /// Registrations a minute where the quota is not known (`dps-protocol` 11.1).
    pub(crate) quota_per_minute: f64,
}

impl Profile {
    /// The newer pages where the older ones disagree.
    pub(crate) const MS_2025: Self = Self {
        name: "ms-2025",
        tolerance: Span::from_millis(50),
        wait_min: Span::from_secs(1),
        terminal_interval: Span::from_secs(600),
        polls_window: Span::from_secs(10),
        slot_share_max: 0.05,
        synchrony_max: 0.2,
        amplification_max: 5.0,
        hub_max: 1_000_000,
        quota_per_minute: 1_000.0,
    };
}
