//! Making the enrollments that a scenario's fleet needs, and removing exactly those.
//!
//! What is made is written to a ledger before and after each request, so work that is cut off at any instant goes on
//! where it was, and `clean` removes what the ledger lists and nothing else. The service's own quota of operations, as
//! the policy profile states it, is never used to the full: operators need some of it too.

mod api;
mod ledger;
mod listing;
mod want;

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

use api::{Answer, Api};
use fleetstorm_net::connect::Dial;
use fleetstorm_scenario::{Consent, SecretSource};
use fleetstorm_units::UtcTime;
use fleetstorm_units::time::{Moment, Span};
use ledger::{Entry, Ledger, State};
use listing::Listing;

use crate::cause::Cause;
use crate::{RunError, wall};

pub use ledger::LedgerError;
pub use want::{Wanted, wanted};

/// The share of the service's quota that is used.
const SHARE: f64 = 0.8;

/// How often a request is made again that was throttled or came to no answer.
const TRIES: u32 = 8;

/// Who enrolls, and where.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The service endpoint, as `https://host:port`.
    pub address: String,
    /// PEM file with the CA to trust; the system's roots without one.
    pub ca_file: Option<String>,
    /// The shared access policy.
    pub policy: String,
    /// Where its key is, base64.
    pub key: Key,
    /// Operations a second that the service allows.
    pub operations_per_s: f64,
    /// Permission to touch a service that is not this machine.
    pub consent: Option<Consent>,
}

impl Operator {
    /// Where the service is, if it may be touched now.
    fn dial(&self) -> Result<Dial, RunError> {
        let dial = Dial::read(&self.address, None)?;
        if dial.is_loopback() {
            return Ok(dial);
        }
        let Some(consent) = &self.consent else { return Err(RunError::NoConsent { host: dial.host }) };
        let hosts = [Some(&consent.host), consent.enrollment_host.as_ref()];
        if !hosts.into_iter().flatten().any(|host| dial.is_at(host)) {
            let consented = consent.enrollment_host.as_ref().unwrap_or(&consent.host).clone();
            return Err(RunError::OtherConsent { host: dial.host, consented });
        }
        let unix_ns = wall::calendar().unix_nanos(Moment::START);
        wall::lasting(consent, UtcTime { unix_ns })?;
        Ok(dial.named())
    }

    /// Operations a second that are made: not the whole of the service's quota, and not more than the consent's.
    fn pace(&self) -> f64 {
        let consented = self.consent.as_ref().map_or(f64::INFINITY, |consent| consent.max_rate.per_second());
        (self.operations_per_s * SHARE).min(consented)
    }
}

/// Where the operator's key is.
#[derive(Clone, Debug)]
pub enum Key {
    /// In a file or an environment variable.
    Secret(SecretSource),
    /// The public key of a mock's demo with this seed; for this machine only.
    Demo(u64),
}

/// What has been done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Enrollments and groups that were made now.
    pub made: u64,
    /// That had been made before, as the ledger says.
    pub kept: u64,
    /// That were there and are not ours.
    pub found: u64,
    /// That were removed now.
    pub removed: u64,
    /// Registrations that were removed with them.
    pub registrations: u64,
}

/// Why enrolling or cleaning stopped.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The scenario, its files or the operator's key cannot be used.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The ledger cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The service refuses the operator.
    #[error("{what}: the service answers {status}{}; {}", text(message), advice(*status))]
    Refused {
        /// What was being done.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What the service said.
        message: String,
    },
    /// The service's pages have no end.
    #[error("{what}: {why}; look at the service, nothing of this enrollment was removed")]
    Endless {
        /// What was being done.
        what: String,
        /// How that was seen.
        why: String,
    },
    /// The service does not answer.
    #[error(
        "{what}: {address} does not answer after {TRIES} tries{}; what was made is in the ledger, run it again",
        because(source)
    )]
    Unreachable {
        /// What was being done.
        what: String,
        /// Where.
        address: String,
        /// What became of the last try.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

fn because(source: &Option<Box<dyn Error + Send + Sync>>) -> String {
    source.as_deref().map_or_else(String::new, |source| format!(" ({})", Cause::Error(source).told()))
}

fn text(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" ({message})") }
}

fn advice(status: u16) -> &'static str {
    match status {
        400 => "the service does not take what the scenario asks for",
        401 => "check the policy, its key and its permissions (EnrollmentWrite, RegistrationStatusWrite)",
        429 => "its quota is used up by others; run it again later",
        _ => "run it again; the ledger knows what was made",
    }
}

impl EnrollError {
    /// The exit code that goes with it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Run(error) => error.exit_code(),
            Self::Ledger(_) => 2,
            Self::Refused { .. } | Self::Endless { .. } | Self::Unreachable { .. } => 14,
        }
    }
}

/// Checks that so many enrollments may be made at the operator's service.
///
/// # Errors
/// The service is not this machine and there is no consent for its host, or one for fewer devices, or one that has ended.
pub fn permitted(operator: &Operator, wanted: usize) -> Result<(), RunError> {
    let dial = operator.dial()?;
    match &operator.consent {
        Some(consent) if !dial.is_loopback() && wanted > consent.max_devices as usize => {
            let ceiling = format!("max_devices = {} before {wanted} enrollments", consent.max_devices);
            Err(RunError::Ceiling { ceiling })
        }
        _ => Ok(()),
    }
}

/// Makes what is wanted, except what the ledger says is made; `tell` is told of progress: done, of how many.
///
/// # Errors
/// The service refuses or does not answer, or the ledger cannot be written. What was made is in the ledger.
pub fn enroll(
    operator: &Operator,
    wanted: &[Wanted],
    ledger: &Path,
    mut tell: impl FnMut(usize, usize),
) -> Result<Done, EnrollError> {
    let mut ledger = Ledger::open(ledger, &operator.address)?;
    runtime()?.block_on(async {
        let mut api = Api::new(operator)?;
        let mut done = Done::default();
        for (index, want) in wanted.iter().enumerate() {
            let entry = want.entry();
            let before = ledger.state(&entry);
            match before {
                Some(State::Made) => done.kept += 1,
                Some(State::Found) => done.found += 1,
                Some(State::Wanted | State::Removed) | None => {
                    // What is there before is written down as such: after this, what is there is ours.
                    if before != Some(State::Wanted) && exists(&mut api, &entry).await? {
                        ledger.write(&entry, State::Found)?;
                        done.found += 1;
                        tell(index + 1, wanted.len());
                        continue;
                    }
                    ledger.write(&entry, State::Wanted)?;
                    let body = want.body.to_string();
                    let what = format!("making {}", entry.path());
                    let answer = api.ask("PUT", &entry.path(), Some(body.as_bytes()), &what).await?;
                    let state = match answer.status {
                        200..=299 => State::Made,
                        // The request of a run that was cut off may have come through.
                        409 if before == Some(State::Wanted) || answer.repeated => State::Made,
                        409 => State::Found,
                        _ => return Err(refused(what, &answer)),
                    };
                    ledger.write(&entry, state)?;
                    if state == State::Made { done.made += 1 } else { done.found += 1 }
                }
            }
            tell(index + 1, wanted.len());
        }
        Ok(done)
    })
}

/// Removes what the ledger lists as made, with the registrations of its devices; `tell` is told of progress.
///
/// # Errors
/// As [`enroll`].
pub fn clean(
    operator: &Operator,
    ledger: &Path,
    mut tell: impl FnMut(usize, usize),
) -> Result<Done, EnrollError> {
    let mut ledger = Ledger::existing(ledger, &operator.address)?;
    runtime()?.block_on(async {
        let mut api = Api::new(operator)?;
        let mut done = Done::default();
        let ours = ledger.ours();
        for (index, entry) in ours.iter().enumerate() {
            done.registrations += registrations(&mut api, entry).await?;
            let what = format!("removing {}", entry.path());
            let answer = api.ask("DELETE", &entry.path(), None, &what).await?;
            match answer.status {
                200..=299 => done.removed += 1,
                // Somebody else has removed it.
                404 => {}
                _ => return Err(refused(what, &answer)),
            }
            ledger.write(entry, State::Removed)?;
            tell(index + 1, ours.len());
        }
        Ok(done)
    })
}

/// What `clean` would remove: paths of the enrollment API.
///
/// # Errors
/// The ledger cannot be read.
pub fn listed(operator: &Operator, ledger: &Path) -> Result<Vec<String>, EnrollError> {
    let ledger = Ledger::existing(ledger, &operator.address)?;
    Ok(ledger.ours().iter().map(Entry::path).collect())
}

/// The address of the service whose enrollments a ledger lists.
///
/// # Errors
/// The ledger cannot be read.
pub fn address_of(ledger: &Path) -> Result<String, EnrollError> {
    Ok(ledger::address(ledger)?)
}

/// Removes the registrations of an enrollment's devices; how many there were.
async fn registrations(api: &mut Api, entry: &Entry) -> Result<u64, EnrollError> {
    let ids = match entry {
        Entry::Individual(id) => BTreeSet::from([id.clone()]),
        Entry::Group(id) => {
            let mut listing = Listing::default();
            let mut token = None;
            loop {
                let what = format!("listing the registrations of {id}");
                let (answer, next) = api.registrations_page(id, token.as_deref(), &what).await?;
                match answer.status {
                    200 => {
                        let taken = listing.take(answer.registration_ids(), next.is_none());
                        taken.map_err(|why| EnrollError::Endless { what, why })?;
                    }
                    404 => break,
                    _ => return Err(refused(what, &answer)),
                }
                token = next;
                if token.is_none() {
                    break;
                }
            }
            listing.into_ids()
        }
    };
    let mut removed = 0;
    for id in ids {
        let what = format!("removing the registration of {id}");
        let answer =
            api.ask("DELETE", &format!("/registrations/{}", ledger::escaped(&id)), None, &what).await?;
        match answer.status {
            200..=299 => removed += 1,
            404 => {}
            _ => return Err(refused(what, &answer)),
        }
    }
    Ok(removed)
}

async fn exists(api: &mut Api, entry: &Entry) -> Result<bool, EnrollError> {
    let what = format!("looking for {}", entry.path());
    let answer = api.ask("GET", &entry.path(), None, &what).await?;
    match answer.status {
        200 => Ok(true),
        404 => Ok(false),
        _ => Err(refused(what, &answer)),
    }
}

fn refused(what: String, answer: &Answer) -> EnrollError {
    EnrollError::Refused { what, status: answer.status, message: answer.message() }
}

fn runtime() -> Result<tokio::runtime::Runtime, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(RunError::driver)
}

/// Time between two operations.
fn interval(operations_per_s: f64) -> Span {
    Span::from_secs_f64(1.0 / operations_per_s.max(1e-6))
}

/// Seconds since the Unix epoch.
fn unix_secs() -> u64 {
    wall::calendar().unix_secs(fleetstorm_units::time::Moment::START)
}
