//! One attempt as a strategy sees it.

use crate::abi;

/// Gives an enum its numbers in the C interface; an unknown number reads as the least specific case.
macro_rules! numbered {
    (
        $(#[$meta:meta])* $name:ident, unknown: $unknown:ident;
        $($(#[$variant_meta:meta])* $variant:ident = $number:literal,)*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum $name { $($(#[$variant_meta])* $variant = $number,)* }

        impl $name {
            /// Its number in the C interface.
            pub const fn number(self) -> u32 {
                self as u32
            }

            /// The case that has this number.
            pub const fn from_number(number: u32) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    _ => Self::$unknown,
                }
            }
        }
    };
}

numbered! {
    /// What was being tried.
    Operation, unknown: Register;
    /// Registering, connecting for it included.
    Register = 1,
    /// Asking how the assignment goes.
    Poll = 2,
    /// Asking for the last known assignment.
    Lookup = 3,
    /// Being connected to its hub.
    Hub = 4,
}

numbered! {
    /// What a failure means.
    Class, unknown: Other;
    /// Nothing failed, or something that this version of the interface has no name for.
    Other = 0,
    /// 429.
    Throttled = 1,
    /// 5xx.
    ServerError = 2,
    /// The request was not sent.
    Unreachable = 3,
    /// TLS failed.
    Tls = 4,
    /// The request was sent and no answer came.
    OutcomeUnknown = 5,
    /// An answer came that is not DPS.
    Protocol = 6,
    /// 401, or no credential could be made.
    Unauthorized = 7,
    /// 403.
    Forbidden = 8,
    /// 404.
    NotFound = 9,
    /// 409 or 412.
    Conflict = 10,
    /// Any other 4xx.
    ClientBug = 11,
    /// 200 with status `failed`.
    AssignmentFailed = 12,
    /// 200 with status `disabled`.
    Disabled = 13,
    /// Assigning beyond the device's patience.
    AssignmentTimeout = 14,
}

numbered! {
    /// What the reference client would do.
    Advice, unknown: Retry;
    /// Back off, then the same step again.
    Retry = 1,
    /// Back off, then register from the start.
    Restart = 2,
    /// Renew the token and register once more.
    Renew = 3,
    /// Stop for a long time and report.
    Park = 4,
}

/// `Retry-After` as the service gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// None.
    Absent,
    /// Seconds.
    Seconds(u32),
    /// An HTTP date, in seconds since the Unix epoch.
    Date(i64),
    /// Something that is neither.
    Malformed,
}

/// One attempt that ended, by value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attempt {
    /// What was being tried.
    pub operation: Operation,
    /// What the failure means.
    pub class: Class,
    /// What the reference client would do about it.
    pub advice: Advice,
    /// HTTP status; 0 where no answer came.
    pub status: u32,
    /// Six-digit service code; 0 where there was none.
    pub code: u32,
    /// Failures in a row, this one included: 1 for the first. 0 before the first attempt.
    pub failures: u32,
    /// Attempts since boot.
    pub attempts: u32,
    /// Failures of this operation in a row.
    pub operation_failures: u32,
    /// `Retry-After` as it was given.
    pub given: Given,
    /// `Retry-After` as a wait from now on, if it was valid.
    pub retry_after_ns: Option<u64>,
    /// The least that the reference client would wait.
    pub floor_ns: u64,
    /// How long the reference client parks.
    pub park_ns: u64,
    /// The wait chosen last.
    pub previous_wait_ns: u64,
    /// Time since the start of the run.
    pub now_ns: u64,
    /// Time since the device booted.
    pub since_boot_ns: u64,
    /// How long the attempt took.
    pub elapsed_ns: u64,
    /// Whether an operation is under way that can be polled.
    pub operation_known: bool,
    /// Whether the name did not resolve; the class is [`Class::Unreachable`].
    pub unresolved: bool,
    /// Whether the answer names a hub; [`crate::RetryStrategy::on_answer`] only.
    pub assigned: bool,
    /// The credential in use, from 0.
    pub credential: u32,
    /// How many there are.
    pub credentials: u32,
    /// A number that stays with the device.
    pub device_hash: u64,
    /// Devices in the fleet; 0 unless the strategy declares its need and the scenario tells its devices.
    pub fleet_size: u64,
    /// Registrations a minute that the service allows; 0 as for the fleet's size.
    pub quota_per_minute: f64,
    /// 128 bits of chance for this decision.
    pub random: [u64; 2],
}

impl Attempt {
    /// A uniform draw in [0, limit) from the first random number; 0 if the limit is 0.
    pub fn uniform(&self, limit_ns: u64) -> u64 {
        below(self.random[0], limit_ns)
    }

    /// A second, independent draw.
    pub fn uniform_more(&self, limit_ns: u64) -> u64 {
        below(self.random[1], limit_ns)
    }

    /// The first random number as a fraction in [0, 1).
    pub fn fraction(&self) -> f64 {
        (self.random[0] >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A throttled registration, the `failures`-th failure in a row, without Retry-After and with random numbers in the
    /// middle of their range: something to start from in a test.
    pub fn throttled(failures: u32) -> Self {
        Self {
            operation: Operation::Register,
            class: Class::Throttled,
            advice: Advice::Retry,
            status: 429,
            code: 429_001,
            failures,
            attempts: failures,
            operation_failures: failures,
            given: Given::Absent,
            retry_after_ns: None,
            floor_ns: 0,
            park_ns: 3_600_000_000_000,
            previous_wait_ns: 0,
            now_ns: 0,
            since_boot_ns: 0,
            elapsed_ns: 0,
            operation_known: false,
            unresolved: false,
            assigned: false,
            credential: 0,
            credentials: 1,
            device_hash: 0,
            fleet_size: 0,
            quota_per_minute: 0.0,
            random: [1 << 63, 1 << 63],
        }
    }

    #[inline]
    pub(crate) fn read(raw: &abi::Attempt) -> Self {
        Self {
            operation: Operation::from_number(raw.operation),
            class: Class::from_number(raw.failure),
            advice: Advice::from_number(raw.advice),
            status: raw.status,
            code: raw.code,
            failures: raw.failures,
            attempts: raw.attempts,
            operation_failures: raw.operation_failures,
            given: match raw.given {
                0 => Given::Absent,
                1 => Given::Seconds(u32::try_from(raw.given_value).unwrap_or(u32::MAX)),
                2 => Given::Date(raw.given_value),
                _ => Given::Malformed,
            },
            retry_after_ns: (raw.flags & abi::ATTEMPT_RETRY_AFTER != 0).then_some(raw.retry_after_ns),
            floor_ns: raw.floor_ns,
            park_ns: raw.park_ns,
            previous_wait_ns: raw.previous_wait_ns,
            now_ns: raw.now_ns,
            since_boot_ns: raw.since_boot_ns,
            elapsed_ns: raw.elapsed_ns,
            operation_known: raw.flags & abi::ATTEMPT_OPERATION_KNOWN != 0,
            unresolved: raw.flags & abi::ATTEMPT_UNRESOLVED != 0,
            assigned: raw.flags & abi::ATTEMPT_ASSIGNED != 0,
            credential: raw.credential,
            credentials: raw.credentials,
            device_hash: raw.device_hash,
            fleet_size: raw.fleet_size,
            quota_per_minute: raw.quota_per_minute,
            random: raw.random,
        }
    }

    /// The same in the C interface.
    pub fn to_abi(&self) -> abi::Attempt {
        let (given, given_value) = match self.given {
            Given::Absent => (0, 0),
            Given::Seconds(secs) => (1, i64::from(secs)),
            Given::Date(unix) => (2, unix),
            Given::Malformed => (3, 0),
        };
        let flag = |holds, flag| if holds { flag } else { 0 };
        let flags = flag(self.retry_after_ns.is_some(), abi::ATTEMPT_RETRY_AFTER)
            | flag(self.operation_known, abi::ATTEMPT_OPERATION_KNOWN)
            | flag(self.unresolved, abi::ATTEMPT_UNRESOLVED)
            | flag(self.assigned, abi::ATTEMPT_ASSIGNED);
        abi::Attempt {
            size: size_of::<abi::Attempt>() as u32,
            flags,
            operation: self.operation.number(),
            failure: self.class.number(),
            advice: self.advice.number(),
            status: self.status,
            code: self.code,
            failures: self.failures,
            attempts: self.attempts,
            operation_failures: self.operation_failures,
            given,
            credential: self.credential,
            credentials: self.credentials,
            reserved: 0,
            given_value,
            retry_after_ns: self.retry_after_ns.unwrap_or(0),
            floor_ns: self.floor_ns,
            park_ns: self.park_ns,
            previous_wait_ns: self.previous_wait_ns,
            now_ns: self.now_ns,
            since_boot_ns: self.since_boot_ns,
            elapsed_ns: self.elapsed_ns,
            device_hash: self.device_hash,
            fleet_size: self.fleet_size,
            quota_per_minute: self.quota_per_minute,
            random: self.random,
        }
    }
}

fn below(bits: u64, limit: u64) -> u64 {
    ((u128::from(bits) * u128::from(limit)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_survives_the_way_through_the_c_interface() {
        let plain = Attempt::throttled(7);
        let rich = Attempt {
            operation: Operation::Poll,
            class: Class::AssignmentTimeout,
            advice: Advice::Park,
            given: Given::Date(-5),
            retry_after_ns: Some(0),
            operation_known: true,
            unresolved: true,
            assigned: true,
            credential: 1,
            credentials: 2,
            quota_per_minute: 16.5,
            random: [3, u64::MAX],
            ..plain
        };
        for attempt in [plain, rich, Attempt { given: Given::Seconds(u32::MAX), ..rich }] {
            assert_eq!(Attempt::read(&attempt.to_abi()), attempt);
        }
    }

    #[test]
    fn a_number_of_a_newer_host_reads_as_the_least_specific_case() {
        let raw = abi::Attempt {
            operation: 99,
            failure: 99,
            advice: 99,
            given: 99,
            ..Attempt::throttled(1).to_abi()
        };
        let read = Attempt::read(&raw);
        assert_eq!(
            (read.operation, read.class, read.advice, read.given),
            (Operation::Register, Class::Other, Advice::Retry, Given::Malformed)
        );
    }

    #[test]
    fn draws_stay_below_their_limit() {
        let most = Attempt { random: [u64::MAX, u64::MAX], ..Attempt::throttled(1) };
        assert_eq!((most.uniform(10), most.uniform_more(0)), (9, 0));
        assert!(most.fraction() < 1.0);
    }
}
