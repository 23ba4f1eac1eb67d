//! The registrations of an instance: whose they are, how far they are, and what only few of them have.

use std::borrow::Cow;
use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

use fleetstorm_protocol::{OperationId, Substatus, http};
use fleetstorm_units::random::{Purpose, Seed};
use fleetstorm_units::time::{Moment, Span};
use serde_json::Value;

use super::answer::Ticket;
use super::issuance::Chain;
use super::issuer::{Requested, Wanted};
use super::quota::PollLimit;
use super::record::{Caller, EnrollmentRef, Record, Records};

/// What few devices have: kept apart, so that the records of a million others stay small.
#[derive(Clone, Debug, Default)]
struct Special {
    /// Hub of the first assignment, once the device has another one.
    origin: Option<u16>,
    /// It has never had a hub.
    homeless: bool,
    failure: Option<Failure>,
    /// What the webhook gave it to take along.
    payload: Option<Value>,
    /// Its TPM's storage root key, a TPM2B_PUBLIC.
    storage_root_key: Option<Box<[u8]>>,
    /// The certificate that its last registration asked for.
    certificate: Requested,
}

/// Why a registration has failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The six-digit code.
    pub(super) code: u32,
    pub(super) message: String,
}

/// A device at a hub whose registration was deleted: the hub knows nothing of that.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) hub: u16,
    twin: Option<Arc<Value>>,
}

/// A device that has been given a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    /// It is new to the hub, which makes an identity for it.
    pub(super) made: bool,
    /// It brings no twin along.
    pub(super) starts_anew: bool,
}

/// The registrations of an instance. A device's place here is its number in the roster, if it has one.
#[derive(Debug)]
pub(super) struct Registrations {
    seed: Seed,
    /// What the names of the roster's devices begin with.
    roster_prefix: String,
    records: Records,
    /// By the place of their record.
    special: BTreeMap<u32, Special>,
    /// What devices have as their twins at their hubs, by the place of their records; those without one are not here.
    twins: BTreeMap<u32, Arc<Value>>,
    /// What devices left behind at their hubs when their registrations were deleted, by their names in lower case.
    left: BTreeMap<Box<str>, Left>,
}

impl Registrations {
    /// None, of a roster of `devices` whose names are `prefix` and the number in six digits or more.
    pub(super) fn of_roster(prefix: &str, devices: u32, seed: Seed) -> Self {
        Self {
            seed,
            roster_prefix: prefix.to_owned(),
            records: Records::of_roster(devices),
            special: BTreeMap::new(),
            twins: BTreeMap::new(),
            left: BTreeMap::new(),
        }
    }

    /// How many devices have registered.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// How many devices are in the roster.
    pub(super) fn roster(&self) -> usize {
        self.records.roster()
    }

    /// Whether the device of this number is in the roster and goes by its number.
    pub(super) fn is_numbered(&self, number: u32) -> bool {
        self.records.is_numbered(number)
    }

    /// The device of this name.
    pub(super) fn caller<'a>(&self, name: &'a str) -> Caller<'a> {
        self.numbered(name).map_or(Caller::Named(name), Caller::Numbered)
    }

    /// The number of the roster's device of this name.
    fn numbered(&self, name: &str) -> Option<u32> {
        let digits = name.get(self.roster_prefix.len()..)?;
        let number: u32 = digits.parse().ok().filter(|&number| self.records.is_numbered(number))?;
        name.eq_ignore_ascii_case(&self.name(Caller::Numbered(number))).then_some(number)
    }

    /// How a device is called.
    pub(super) fn name<'a>(&self, caller: Caller<'a>) -> Cow<'a, str> {
        match caller {
            Caller::Named(name) => name.into(),
            Caller::Numbered(number) => roster_name(&self.roster_prefix, number).into(),
        }
    }

    /// How the device of a record is called.
    pub(super) fn name_at(&self, at: usize) -> Cow<'_, str> {
        // A record's place came from 32 bits.
        self.name(self.records.name(at).map_or(Caller::Numbered(at as u32), Caller::Named))
    }

    /// The place of a device that has registered.
    pub(super) fn find(&self, caller: Caller<'_>) -> Option<usize> {
        self.records.find(caller)
    }

    pub(super) fn get(&self, at: usize) -> &Record {
        self.records.get(at)
    }

    /// The place of a device, made now if it is its first registration.
    pub(super) fn entry(&mut self, caller: Caller<'_>, now: Moment) -> usize {
        self.records.entry(caller, now)
    }

    /// The places from this one on of the devices that `enrollment` admitted.
    pub(super) fn admitted_by(&self, enrollment: EnrollmentRef, from: usize) -> impl Iterator<Item = usize> {
        self.records.admitted_by(enrollment, from)
    }

    /// The last registration of a device that has registered.
    pub(super) fn ticket(&self, at: usize) -> Ticket {
        // A record's place came from 32 bits.
        Ticket { record: at as u32, registration: self.records.get(at).registrations }
    }

    /// Whether it is the last registration of its device: not deleted, and not begun anew.
    pub(super) fn is_current(&self, ticket: Ticket) -> bool {
        self.ticket(ticket.record as usize) == ticket
    }

    /// Whether a registration is under way.
    pub(super) fn is_assigning(&self, at: usize, now: Moment) -> bool {
        now < self.records.get(at).ready_at
            || self.special(at).is_some_and(|special| matches!(special.certificate, Requested::Asked))
    }

    /// Whether a device has this hub.
    pub(super) fn is_assigned(&self, now: Moment, caller: Caller<'_>, hub: u16) -> bool {
        self.find(caller).is_some_and(|at| {
            let record = self.records.get(at);
            now >= record.ready_at && self.failure(at).is_none() && record.hub == hub
        })
    }

    /// Whether a device of this name has registered, or has left something behind.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.find(self.caller(name)).is_some() || self.left_by(name).is_some()
    }

    /// The id of a registration's operation. It is derived, not stored, and cannot be guessed.
    pub(super) fn operation_id(&self, ticket: Ticket) -> OperationId {
        let draw = |more| self.tracking(ticket, more);
        OperationId::usual(5, draw(0), u128::from(draw(1)) << 64 | u128::from(draw(2)))
    }

    /// The tag of a registration's state, with its quotes.
    pub(super) fn tag(&self, ticket: Ticket) -> String {
        let tag = self.tracking(ticket, 3);
        format!("\"{:08x}-0000-0300-0000-{:012x}\"", tag >> 32, tag & 0xffff_ffff)
    }

    fn tracking(&self, ticket: Ticket, more: u32) -> u64 {
        let count = ticket.registration.wrapping_mul(4).wrapping_add(more);
        self.seed.draw(Purpose::Operation, ticket.record, count)
    }

    /// Admits a poll of a device, or says how long until the next one would be.
    pub(super) fn admit_poll(&mut self, at: usize, now: Moment, limit: PollLimit) -> Result<(), Span> {
        let Some(polls) = limit.polls else { return Ok(()) };
        self.records.get_mut(at).admit_poll(now, polls, limit.window)
    }

    /// Begins another registration of a device, which asks for a certificate or does not.
    pub(super) fn begin(&mut self, at: usize, enrollment: EnrollmentRef, wanted: Option<Wanted>) {
        let record = self.records.get_mut(at);
        record.registrations += 1;
        record.enrollment = enrollment;
        let requested = wanted.map_or(Requested::No, Requested::Wanted);
        match (&requested, self.special.get_mut(&(at as u32))) {
            (_, Some(special)) => special.certificate = requested,
            (Requested::No, None) => {}
            (_, None) => self.special_mut(at).certificate = requested,
        }
    }

    /// Sets when a registration is done; [`Moment::FAR`] for never.
    pub(super) fn ready(&mut self, at: usize, when: Moment) {
        self.records.get_mut(at).ready_at = when;
    }

    /// Lets a registration come to nothing with the usual words of a code, when its time is over.
    pub(super) fn fail(&mut self, at: usize, code: u32) {
        let message = http::text_of(code).to_owned();
        self.special_mut(at).failure = Some(Failure { code, message });
    }

    /// Ends a registration that found no hub.
    pub(super) fn fail_without_hub(&mut self, now: Moment, ticket: Ticket, failure: Failure) {
        let at = ticket.record as usize;
        self.ready(at, now);
        let special = self.special_mut(at);
        special.failure = Some(failure);
        special.homeless |= ticket.registration == 1;
    }

    /// Why a registration has failed.
    pub(super) fn failure(&self, at: usize) -> Option<&Failure> {
        self.special(at)?.failure.as_ref()
    }

    /// What a webhook gave a device to take along.
    pub(super) fn payload(&self, at: usize) -> Option<&Value> {
        self.special(at)?.payload.as_ref()
    }

    pub(super) fn give_payload(&mut self, at: usize, payload: Value) {
        self.special_mut(at).payload = Some(payload);
    }

    /// Its TPM's storage root key, beneath which the hub's key will be imported.
    pub(super) fn storage_root_key(&self, at: usize) -> Option<&[u8]> {
        self.special(at)?.storage_root_key.as_deref()
    }

    pub(super) fn keep_storage_root_key(&mut self, at: usize, key: Box<[u8]>) {
        self.special_mut(at).storage_root_key = Some(key);
    }

    /// The certificate that a registration wants, now that the issuer is asked.
    pub(super) fn take_wanted(&mut self, at: usize) -> Option<Wanted> {
        let certificate = &mut self.special.get_mut(&(at as u32))?.certificate;
        let Requested::Wanted(_) = certificate else { return None };
        match std::mem::replace(certificate, Requested::Asked) {
            Requested::Wanted(wanted) => Some(wanted),
            Requested::No | Requested::Asked | Requested::Issued(_) => None,
        }
    }

    /// Keeps the certificates that a registration has got, or that it gets none.
    pub(super) fn issue(&mut self, at: usize, chain: Option<Chain>) {
        self.special_mut(at).certificate = chain.map_or(Requested::No, Requested::Issued);
    }

    /// The certificates that a registration has got.
    pub(super) fn issued(&self, at: usize) -> Option<&Chain> {
        match &self.special(at)?.certificate {
            Requested::Issued(chain) => Some(chain),
            Requested::No | Requested::Wanted(_) | Requested::Asked => None,
        }
    }

    fn special(&self, at: usize) -> Option<&Special> {
        self.special.get(&(at as u32))
    }

    fn special_mut(&mut self, at: usize) -> &mut Special {
        self.special.entry(at as u32).or_default()
    }

    /// The hub that a device has, unless it never had one.
    pub(super) fn current_hub(&self, at: usize) -> Option<u16> {
        let record = self.records.get(at);
        let homeless = self.special(at).is_some_and(|special| special.homeless);
        (record.registrations > 0 && !homeless).then_some(record.hub)
    }

    /// The hub that a device had before its running registration.
    pub(super) fn hub_before(&self, at: usize) -> Option<u16> {
        if self.records.get(at).registrations > 1 { self.current_hub(at) } else { None }
    }

    /// Gives the device of this name a hub. `migrate` says whether one that moves takes its data along.
    pub(super) fn assign(&mut self, at: usize, name: &str, hub: u16, migrate: bool) -> Moved {
        // A device whose registration was deleted is new to DPS, and not to the hub that has it still.
        let left = match self.left_by(name) {
            Some(left) if left.hub == hub => self.left.remove(&*name.to_ascii_lowercase()),
            _ => None,
        };
        let current = self.hub_before(at).or(left.as_ref().map(|left| left.hub));
        let moved = current.filter(|&current| current != hub);
        let mut substatus = match left {
            Some(_) => Substatus::ReprovisionedToInitialAssignment,
            None => Substatus::InitialAssignment,
        };
        if let Some(twin) = left.and_then(|left| left.twin) {
            self.twins.insert(at as u32, twin);
        }
        if let Some(from) = moved {
            let origin = *self.special_mut(at).origin.get_or_insert(from);
            substatus = match (origin == hub, migrate) {
                (true, _) => Substatus::ReprovisionedToInitialAssignment,
                (false, true) => Substatus::DeviceDataMigrated,
                (false, false) => Substatus::DeviceDataReset,
            };
        }
        if let btree_map::Entry::Occupied(mut special) = self.special.entry(at as u32) {
            let Special { origin, storage_root_key, certificate, .. } = std::mem::take(special.get_mut());
            let kept = Special { origin, storage_root_key, certificate, ..Special::default() };
            let asks = !matches!(kept.certificate, Requested::No);
            if kept.origin.is_none() && kept.storage_root_key.is_none() && !asks {
                special.remove();
            } else {
                special.insert(kept);
            }
        }
        let record = self.records.get_mut(at);
        record.substatus = substatus;
        record.hub = hub;
        let made = current != Some(hub);
        Moved { made, starts_anew: made && !(moved.is_some() && migrate) }
    }

    /// Gives a device its twin, or takes it away.
    pub(super) fn set_twin(&mut self, at: usize, twin: Option<Arc<Value>>) {
        // A record's place came from 32 bits.
        match twin {
            Some(twin) => self.twins.insert(at as u32, twin),
            None => self.twins.remove(&(at as u32)),
        };
    }

    /// The twin of the device of this name.
    pub(super) fn twin(&self, name: &str) -> Option<&Value> {
        let twin = match self.find(self.caller(name)) {
            Some(at) => self.twins.get(&u32::try_from(at).ok()?),
            None => self.left_by(name)?.twin.as_ref(),
        };
        twin.map(|twin| &**twin)
    }

    /// Deletes a registration. Its device stays where it is.
    pub(super) fn forget(&mut self, now: Moment, at: usize) {
        let name = self.name_at(at).to_ascii_lowercase();
        let twin = self.twins.remove(&(at as u32));
        let record = self.records.get(at);
        if now >= record.ready_at && self.failure(at).is_none() {
            self.left.insert(name.clone().into(), Left { hub: record.hub, twin });
        }
        self.records.remove(self.caller(&name));
        self.special.remove(&(at as u32));
    }

    /// What a device left behind that has no registration.
    pub(super) fn left_by(&self, name: &str) -> Option<&Left> {
        // There is none as long as no registration was deleted, and every connection of a device asks.
        if self.left.is_empty() { None } else { self.left.get(&*name.to_ascii_lowercase()) }
    }
}

/// A prefix and a number in six digits or more. It is spelled twice a registration, which `format!` is too slow for.
fn roster_name(prefix: &str, number: u32) -> String {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number);
    let mut name = String::with_capacity(prefix.len() + digits.len().max(6));
    name.push_str(prefix);
    name.push_str(&"000000"[..6usize.saturating_sub(digits.len())]);
    name.push_str(digits);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One device that has registered under its number.
    fn registered() -> Registrations {
        let mut registrations = Registrations::of_roster("dev-", 2, Seed(1));
        let at = registrations.entry(registrations.caller("DEV-000001"), Moment::START);
        registrations.begin(at, EnrollmentRef::group(0), None);
        assert_eq!((at, registrations.len(), registrations.hub_before(at)), (1, 1, None));
        registrations
    }

    #[test]
    fn a_device_that_moves_and_comes_back_is_told_so() {
        let mut registrations = registered();
        let mut assign = |hub, migrate| {
            let moved = registrations.assign(1, "dev-000001", hub, migrate);
            registrations.begin(1, EnrollmentRef::group(0), None);
            (registrations.get(1).substatus, moved.made, moved.starts_anew)
        };
        assert_eq!(assign(0, true), (Substatus::InitialAssignment, true, true));
        assert_eq!(assign(0, true), (Substatus::InitialAssignment, false, false));
        assert_eq!(assign(2, true), (Substatus::DeviceDataMigrated, true, false));
        assert_eq!(assign(1, false), (Substatus::DeviceDataReset, true, true));
        assert_eq!(assign(0, true), (Substatus::ReprovisionedToInitialAssignment, true, false));
    }

    #[test]
    fn a_hub_has_a_device_whose_registration_was_deleted() {
        let mut registrations = registered();
        registrations.assign(1, "dev-000001", 2, true);
        registrations.set_twin(1, Some(Arc::new(Value::from(7))));
        registrations.forget(Moment::START, 1);
        assert!(registrations.knows("Dev-000001") && !registrations.knows("dev-000000"));
        assert_eq!(registrations.twin("dev-000001"), Some(&Value::from(7)));
        let at = registrations.entry(registrations.caller("dev-000001"), Moment::START);
        registrations.begin(at, EnrollmentRef::group(0), None);
        let moved = registrations.assign(at, "dev-000001", 2, true);
        assert_eq!(moved, Moved { made: false, starts_anew: false });
        assert_eq!(registrations.twin("dev-000001"), Some(&Value::from(7)));
    }

    #[test]
    fn a_failed_registration_has_no_hub() {
        let mut registrations = registered();
        let failure = Failure { code: 400_208, message: "no".into() };
        registrations.fail_without_hub(Moment::START, registrations.ticket(1), failure);
        assert!(!registrations.is_assigning(1, Moment::START));
        assert!(!registrations.is_assigned(Moment::START, Caller::Numbered(1), 0));
        assert_eq!(registrations.current_hub(1), None);
    }
}
