//! Rules that a device keeps or breaks event by event.
//!
//! A rule is a pure function of what is remembered of the device and of the event that comes now. To add one, write the
//! function and an entry of [`RULES`]; section 4.6 of `plugins/retry/docs/strategies.md` has the definitions.

use fleetstorm_model::best_practice::BestPractice;
use fleetstorm_model::device::Observation;
use fleetstorm_model::profile::Profile;
use fleetstorm_protocol::Operation;
use fleetstorm_protocol::outcome::{ErrorClass, Fault, Outcome};
use fleetstorm_units::time::{Moment, Span};

use super::life::{Ended, Life};

/// What a rule makes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// It says nothing about it.
    Nothing,
    /// The device could have broken it, and kept it.
    Kept,
    /// The device broke it: the larger the number, the worse.
    Broken(u64),
}

impl Look {
    fn kept(holds: bool, by: u64) -> Self {
        if holds { Self::Kept } else { Self::Broken(by) }
    }
}

/// A practice that is checked event by event.
pub(crate) struct Rule {
    pub(crate) id: BestPractice,
    pub(crate) title: &'static str,
    pub(crate) advice: &'static str,
    /// Whether a generator that is late can make a device look wrong.
    pub(crate) timed: bool,
    pub(crate) look: fn(&Life, Moment, &Observation<'_>, &Profile) -> Look,
    /// What the device did, from the number of [`Look::Broken`].
    pub(crate) tell: fn(u64) -> String,
}

/// In the order in which they are shown. There are at most 64.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        id: BestPractice::RetryAfterFloor,
        title: "Retry-After is never undercut",
        advice: "Wait at least as long as the service says, then add jitter on top.",
        timed: true,
        look: retry_after_floor,
        tell: |ns| format!("came back {} before the time that Retry-After named", Span::from_nanos(ns)),
    },
    Rule {
        id: BestPractice::RetryAfterUnreadable,
        title: "A Retry-After that cannot be read is as good as none",
        advice: "Ignore it: wait as after a failure without one, neither not at all nor past your own cap.",
        timed: false,
        look: retry_after_unreadable,
        tell: |by| match by {
            0 => "its strategy failed over a Retry-After that cannot be read".to_owned(),
            u64::MAX => "does not wait at all after a Retry-After that cannot be read".to_owned(),
            ns => format!("waits {} after a Retry-After that cannot be read", Span::from_nanos(ns)),
        },
    },
    Rule {
        id: BestPractice::NoImmediateRetry,
        title: "No failure is followed by an immediate retry",
        advice: "Wait at least a second before the first retry, and longer before each further one.",
        timed: true,
        look: no_immediate_retry,
        tell: |ns| format!("tried again {} after a failure", Span::from_nanos(u64::MAX - ns)),
    },
    Rule {
        id: BestPractice::TerminalErrorsRest,
        title: "Errors that no retry mends are not hammered",
        advice: "After 403, 404, a second 401 or a server certificate that is not trusted, report and stop for at \
                 least ten minutes.",
        timed: true,
        look: terminal_errors_rest,
        tell: |ns| {
            format!("tried again {} after an error that no retry mends", Span::from_nanos(u64::MAX - ns))
        },
    },
    Rule {
        id: BestPractice::ClientErrorsStop,
        title: "400, 405 and 415 are not retried",
        advice: "The request is wrong and stays wrong: fix the client.",
        timed: false,
        look: client_errors_stop,
        tell: |status| format!("sent a request again that had been answered with {status}"),
    },
    Rule {
        id: BestPractice::FullRegistration,
        title: "401, 403 and 404 lead to a full registration",
        advice: "Renew the token and register from the start instead of polling or looking up.",
        timed: false,
        look: full_registration,
        tell: |status| format!("did not register anew after {status}"),
    },
    Rule {
        id: BestPractice::ServerErrorResume,
        title: "After 5xx or a lost answer the device goes on where it was, or asks for its status",
        advice: "Repeat the step, or use the Device Registration Status Lookup; starting over is billed.",
        timed: false,
        look: server_error_resume,
        tell: |status| match status {
            0 => "registered from the start after the answer to a poll was lost".to_owned(),
            status => format!("registered from the start after a poll was answered with {status}"),
        },
    },
    Rule {
        id: BestPractice::PollPace,
        title: "A device polls at most 5 times in 10 s",
        advice: "Wait for the Retry-After of the last answer, or 2 s and more, between polls.",
        timed: true,
        look: poll_pace,
        tell: |ns| format!("sent six polls within {}", Span::from_nanos(u64::MAX - ns)),
    },
    Rule {
        id: BestPractice::OneRegistration,
        title: "No second registration while one is accepted",
        advice: "Poll the operation that the service has accepted instead of registering again.",
        timed: false,
        look: one_registration,
        tell: |_| "registered again while its registration was being assigned".to_owned(),
    },
    Rule {
        id: BestPractice::UnknownOutcome,
        title: "A lost answer ends in one assignment",
        advice: "Ask the registration's status after a lost answer, and register if there is none.",
        timed: false,
        look: unknown_outcome,
        tell: |_| "stopped after an answer was lost, without learning its outcome".to_owned(),
    },
];

fn retry_after_floor(life: &Life, now: Moment, event: &Observation<'_>, profile: &Profile) -> Look {
    let Some((failure, gap)) = life.came_back(now, event) else { return Look::Nothing };
    let Some(floor) = failure.retry_after.filter(|_| profile.expected.retry_after_kept) else {
        return Look::Nothing;
    };
    Look::kept(gap + profile.bounds.retry_after_tolerance.0 >= floor, floor.saturating_sub(gap).as_nanos())
}

/// A wait that no strategy chooses of its own: what an unreadable number becomes when it is read all the same.
const ODD_WAIT: Span = Span::from_secs(86_400);

fn retry_after_unreadable(life: &Life, _: Moment, event: &Observation<'_>, _: &Profile) -> Look {
    if !life.last.is_some_and(|last| last.odd_retry_after) {
        return Look::Nothing;
    }
    match event {
        Observation::BackedOff { wait, .. } if *wait > ODD_WAIT => Look::Broken(wait.as_nanos()),
        // A draw that is merely short is the strategy's, and `no-immediate-retry` has a rule for it.
        Observation::BackedOff { wait, .. } => Look::kept(*wait > Span::ZERO, u64::MAX),
        Observation::Stopped { faulted: true, .. } => Look::Broken(0),
        Observation::Stopped { .. } => Look::Kept,
        _ => Look::Nothing,
    }
}

/// The least wait after a failure that names none (iot-dps/concepts-deploy-at-scale: a minimum of 1,000 ms).
const WAIT_MIN: Span = Span::from_secs(1);

fn no_immediate_retry(life: &Life, now: Moment, event: &Observation<'_>, profile: &Profile) -> Look {
    let Some((failure, gap)) = life.came_back(now, event) else { return Look::Nothing };
    if failure.retry_after.is_some() || !is_transient(&failure.ended) {
        return Look::Nothing;
    }
    Look::kept(gap + profile.bounds.retry_after_tolerance.0 >= WAIT_MIN, u64::MAX - gap.as_nanos())
}

/// Whether waiting can help: 429, 5xx and a network that fails.
fn is_transient(ended: &Ended) -> bool {
    match ended.outcome {
        Outcome::Answered { .. } => matches!(ended.status(), Some(429 | 500..=599)),
        Outcome::Challenged => false,
        // Something in between answers for the service, and may not do so for long.
        Outcome::Unmet { why, .. } => why == ErrorClass::Protocol,
        Outcome::Broke(fault) => !matches!(
            fault,
            Fault::Attestation
                | Fault::BadCredentials
                | Fault::NotAuthorized
                | Fault::TlsUntrusted
                | Fault::TlsExpired
                | Fault::TlsWrongName
        ),
    }
}

fn terminal_errors_rest(life: &Life, now: Moment, event: &Observation<'_>, profile: &Profile) -> Look {
    if let Observation::Stopped { rearm_after, .. } = event {
        let terminal = life.last.is_some_and(|last| is_terminal(life, &last));
        return match rearm_after {
            _ if !terminal => Look::Nothing,
            None => Look::Kept,
            Some(wait) => Look::kept(*wait >= profile.bounds.terminal_interval.0, u64::MAX - wait.as_nanos()),
        };
    }
    match life.came_back(now, event) {
        Some((failure, gap)) if is_terminal(life, &failure.ended) => {
            let late = gap + profile.bounds.retry_after_tolerance.0;
            Look::kept(late >= profile.bounds.terminal_interval.0, u64::MAX - gap.as_nanos())
        }
        _ => Look::Nothing,
    }
}

/// A first 401 may be mended by a new token, and a lost operation by a new registration.
fn is_terminal(life: &Life, ended: &Ended) -> bool {
    if let Outcome::Broke(Fault::TlsUntrusted | Fault::TlsExpired | Fault::TlsWrongName) = ended.outcome {
        return true;
    }
    match ended.status() {
        Some(401) => life.refusals >= 2,
        Some(403) => true,
        Some(404) => ended.operation == Some(Operation::Register),
        _ => false,
    }
}

fn client_errors_stop(life: &Life, _: Moment, event: &Observation<'_>, _: &Profile) -> Look {
    let wrong = |ended: Option<Ended>| ended?.status().filter(|status| matches!(status, 400 | 405 | 415));
    match event {
        Observation::Sent { .. } => match wrong(life.before_request.map(|failure| failure.ended)) {
            Some(status) => Look::Broken(u64::from(status)),
            None => Look::Nothing,
        },
        Observation::Stopped { .. } if wrong(life.last).is_some() => Look::Kept,
        _ => Look::Nothing,
    }
}

fn full_registration(life: &Life, _: Moment, event: &Observation<'_>, _: &Profile) -> Look {
    let (Observation::Sent { operation, .. }, Some(failure)) = (event, life.before_request) else {
        return Look::Nothing;
    };
    match failure.ended.status() {
        // A lookup that finds nothing is an answer like any other.
        Some(404) if failure.ended.operation == Some(Operation::Lookup) => Look::Nothing,
        Some(status @ (401 | 403 | 404)) => Look::kept(*operation == Operation::Register, u64::from(status)),
        _ => Look::Nothing,
    }
}

/// Failures in a row after which starting over is sensible (`dps` 13.2).
const START_OVER: u16 = 5;

fn server_error_resume(life: &Life, _: Moment, event: &Observation<'_>, _: &Profile) -> Look {
    let (Observation::Sent { operation, .. }, Some(failure)) = (event, life.before_request) else {
        return Look::Nothing;
    };
    let server_error = failure.ended.status().filter(|status| (500..=599).contains(status));
    let (Some(failed), true) =
        (failure.ended.operation, server_error.is_some() || failure.ended.is_unknown())
    else {
        return Look::Nothing;
    };
    let started_over = failed == Operation::Poll && *operation == Operation::Register;
    Look::kept(!started_over || life.failures >= START_OVER, server_error.map_or(0, u64::from))
}

fn poll_pace(life: &Life, now: Moment, event: &Observation<'_>, profile: &Profile) -> Look {
    if !matches!(event, Observation::Sent { operation: Operation::Poll, .. }) {
        return Look::Nothing;
    }
    let window = profile.expected.poll_window.0;
    match life.poll_before(profile.expected.polls) {
        Some(oldest) if now.since(oldest) + profile.bounds.retry_after_tolerance.0 < window => {
            Look::Broken(u64::MAX - now.since(oldest).as_nanos())
        }
        _ => Look::Kept,
    }
}

fn one_registration(life: &Life, _: Moment, event: &Observation<'_>, _: &Profile) -> Look {
    match event {
        Observation::Sent { operation, .. } if life.accepted => {
            Look::kept(*operation != Operation::Register, 1)
        }
        _ => Look::Nothing,
    }
}

fn unknown_outcome(life: &Life, _: Moment, event: &Observation<'_>, _: &Profile) -> Look {
    match event {
        Observation::Assigned { .. } if life.unknown => Look::Kept,
        Observation::Stopped { .. } if life.unknown => Look::Broken(1),
        _ => Look::Nothing,
    }
}
