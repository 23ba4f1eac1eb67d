//! Why a run cannot start or finish.

use std::error::Error;

use fleetstorm_mock::{MockError, ResolveError, identity};
use fleetstorm_net::connect::AddressError;
use fleetstorm_plugin_host::PluginError;

use crate::cause::Cause;

/// Why a run cannot start or finish.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A plugin that the scenario names cannot be used.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A file or variable that the scenario names cannot be used.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A trace of arrivals that no run can follow.
    #[error("{file}: {why}")]
    Trace {
        /// The trace.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// The policy profile that the scenario names has mistakes.
    #[error(transparent)]
    Profile(#[from] fleetstorm_scenario::Problems),
    /// The fleet's keys cannot be made.
    #[error(transparent)]
    Identity(#[from] identity::IdentityError),
    /// The target's address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The embedded mock cannot start.
    #[error(transparent)]
    Mock(#[from] MockError),
    /// A target that is not this machine, without consent for it.
    #[error(
        "{host} is not this machine: name it in [target.consent] with ceilings, or point the scenario at a mock"
    )]
    NoConsent {
        /// The target's host.
        host: String,
    },
    /// A host without consent whose name leads to another machine, or that does not resolve to this one.
    #[error("{what}: name the host in [target.consent] with ceilings, or write 127.0.0.1")]
    DialError {
        /// Where it leads.
        what: String,
    },
    /// A safety ceiling of the consent.
    #[error(
        "stopped at the consent's ceiling {ceiling}: it holds for all runs of a command together; ask for more, or for less"
    )]
    Ceiling {
        /// The ceiling.
        ceiling: String,
    },
    /// Consent for another host.
    #[error("the consent is for `{consented}` and what would be touched is `{host}`")]
    OtherConsent {
        /// The target's host.
        host: String,
        /// The host that the consent names.
        consented: String,
    },
    /// Consent that ends too early.
    #[error(
        "this could last until {until} and the consent for `{host}` ends at {expires}: shorten `horizon`, or ask the \
         owner for longer and set `target.consent.expires`"
    )]
    ConsentExpires {
        /// The target's host.
        host: String,
        /// When the consent ends.
        expires: fleetstorm_units::UtcTime,
        /// When what is wanted ends at the latest.
        until: fleetstorm_units::UtcTime,
    },
    /// The run needs more than the machine has.
    #[error("{0}")]
    Preflight(String),
    /// The target was not in its steady state before the first fault.
    #[error(
        "the steady state does not hold before any fault: of {devices} devices, {failed}; mend the scenario or the \
         target first, since faults would prove nothing"
    )]
    Unsteady {
        /// Devices that were looked at.
        devices: u64,
        /// The objectives that did not hold.
        failed: String,
    },
    /// The target does not answer as a DPS would.
    #[error("the target {address} cannot be used: {why}{}", .source.as_deref().map(because).unwrap_or_default())]
    Unreachable {
        /// Host and port.
        address: String,
        /// What went wrong, and what to do.
        why: String,
        /// What said so.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// A strategy never waits and nothing else takes time, so time stands still.
    #[error(
        "time stands still {at} after the start: devices with the retry strategy `{strategy}` wait for nothing and \
         the scenario's network takes no time; give [network] delays, or the strategy a wait"
    )]
    Livelock {
        /// The strategy.
        strategy: String,
        /// Where time stands.
        at: fleetstorm_units::time::Span,
    },
    /// A thread could not be started or ended badly.
    #[error("a driver failed: {0}")]
    Driver(#[source] Box<dyn Error + Send + Sync>),
}

fn because(source: &(dyn Error + Send + Sync + 'static)) -> String {
    format!(" ({})", Cause::Error(source).told())
}

impl RunError {
    /// A driver failed for this reason.
    pub fn driver<E: Into<Box<dyn Error + Send + Sync>>>(source: E) -> Self {
        Self::Driver(source.into())
    }

    /// The exit code that goes with it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Plugin(_)
            | Self::Resolve(_)
            | Self::Trace { .. }
            | Self::Profile(_)
            | Self::Address(_)
            | Self::NoConsent { .. }
            | Self::DialError { .. }
            | Self::Livelock { .. }
            | Self::ConsentExpires { .. }
            | Self::OtherConsent { .. } => 2,
            Self::Mock(MockError::Service(_) | MockError::Resolve(_)) => 2,
            Self::Mock(_) | Self::Preflight(_) | Self::Unreachable { .. } | Self::Unsteady { .. } => 14,
            Self::Ceiling { .. } => 15,
            Self::Identity(_) | Self::Driver(_) => 1,
        }
    }
}
