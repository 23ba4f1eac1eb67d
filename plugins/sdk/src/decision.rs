//! What a strategy wants.

use crate::abi;

/// What a device does next. Waits are in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Wait, then the same step again.
    Wait(u64),
    /// Wait, then register from the start.
    Restart(u64),
    /// Wait, then register with the next credential.
    SwitchCredential(u64),
    /// Wait, then go to the cached hub.
    UseCachedHub(u64),
    /// Wait, then ask for the registration's status.
    LookupStatus(u64),
    /// Stop.
    GiveUp {
        /// When to try again; 0 for never.
        rearm_ns: u64,
    },
}

impl Decision {
    /// Stop for good.
    pub const NEVER: Self = Self::GiveUp { rearm_ns: 0 };

    /// The same in the C interface. A wait beyond 292 years is one of 292 years.
    #[inline]
    pub fn to_abi(self) -> abi::Decision {
        let (action, wait_ns) = match self {
            Self::Wait(ns) => (abi::ACTION_WAIT, ns),
            Self::Restart(ns) => (abi::ACTION_RESTART, ns),
            Self::SwitchCredential(ns) => (abi::ACTION_SWITCH_CREDENTIAL, ns),
            Self::UseCachedHub(ns) => (abi::ACTION_USE_CACHED_HUB, ns),
            Self::LookupStatus(ns) => (abi::ACTION_LOOKUP_STATUS, ns),
            Self::GiveUp { rearm_ns } => (abi::ACTION_GIVE_UP, rearm_ns),
        };
        abi::Decision { action, reserved: 0, wait_ns: signed(wait_ns) }
    }

    /// Reads a decision; `None` if its wait is negative or its action unknown.
    #[inline]
    pub fn from_abi(raw: abi::Decision) -> Option<Self> {
        let ns = u64::try_from(raw.wait_ns).ok()?;
        Some(match raw.action {
            abi::ACTION_WAIT => Self::Wait(ns),
            abi::ACTION_RESTART => Self::Restart(ns),
            abi::ACTION_SWITCH_CREDENTIAL => Self::SwitchCredential(ns),
            abi::ACTION_USE_CACHED_HUB => Self::UseCachedHub(ns),
            abi::ACTION_LOOKUP_STATUS => Self::LookupStatus(ns),
            abi::ACTION_GIVE_UP => Self::GiveUp { rearm_ns: ns },
            _ => return None,
        })
    }

    /// The same decision with its wait changed; giving up stays as it is.
    #[must_use]
    pub fn map_wait(self, change: impl FnOnce(u64) -> u64) -> Self {
        match self {
            Self::Wait(ns) => Self::Wait(change(ns)),
            Self::Restart(ns) => Self::Restart(change(ns)),
            Self::SwitchCredential(ns) => Self::SwitchCredential(change(ns)),
            Self::UseCachedHub(ns) => Self::UseCachedHub(change(ns)),
            Self::LookupStatus(ns) => Self::LookupStatus(change(ns)),
            Self::GiveUp { .. } => self,
        }
    }

    /// The wait before the next attempt; `None` for giving up.
    pub const fn wait_ns(self) -> Option<u64> {
        match self {
            Self::Wait(ns)
            | Self::Restart(ns)
            | Self::SwitchCredential(ns)
            | Self::UseCachedHub(ns)
            | Self::LookupStatus(ns) => Some(ns),
            Self::GiveUp { .. } => None,
        }
    }
}

/// What a strategy makes of an answer that is no failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Nothing: the device does as its cohort says.
    AsUsual,
    /// Ask again after so many nanoseconds, whatever the cohort says about polls and patience. A device that is assigned is
    /// done all the same.
    PollAfter(u64),
    /// This client cannot use the answer: the attempt has failed, with [`Class::Protocol`](crate::Class::Protocol).
    Unusable,
}

pub(crate) fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_survive_the_way_through_the_c_interface() {
        for decision in [
            Decision::Wait(0),
            Decision::Restart(1),
            Decision::SwitchCredential(2),
            Decision::UseCachedHub(3),
            Decision::LookupStatus(i64::MAX as u64),
            Decision::GiveUp { rearm_ns: 5 },
        ] {
            assert_eq!(Decision::from_abi(decision.to_abi()), Some(decision));
        }
        assert_eq!(Decision::Wait(u64::MAX).to_abi().wait_ns, i64::MAX);
    }

    #[test]
    fn garbage_is_no_decision() {
        for (action, wait_ns) in [(abi::ACTION_WAIT, -1), (0, 0), (99, 0), (u32::MAX, i64::MIN)] {
            assert_eq!(Decision::from_abi(abi::Decision { action, reserved: 0, wait_ns }), None);
        }
    }
}
