//! Registration records, a million of them.

use hashbrown::HashTable;

use super::allocation::hash;
use crate::protocol::Substatus;
use crate::time::{Moment, Span};

/// What the service remembers of a device. How far its assignment is follows from the time: there are no timers.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) registration_id: Box<str>,
    pub(super) created: Moment,
    pub(super) updated: Moment,
    /// When the running (or last) assignment is or was done; [`Moment::FAR`] for never.
    pub(super) ready_at: Moment,
    /// Counts the device's registrations; keys its operation ids and delays.
    pub(super) registrations: u32,
    /// Which enrollment admitted it.
    pub(super) enrollment: EnrollmentRef,
    pub(super) hub: u16,
    pub(super) substatus: Substatus,
    polls: Polls,
}

/// An enrollment's place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EnrollmentRef {
    Individual(u32),
    Group(u32),
}

/// The instants of a device's last polls in milliseconds: a sliding log of at most [`Polls::MAX`].
#[derive(Clone, Copy, Debug, Default)]
struct Polls {
    at_ms: [u32; Self::MAX],
    count: u8,
}

impl Polls {
    /// The documented limit is 5; a scenario may ask for up to this many.
    const MAX: usize = 8;

    /// Admits a poll, or says when the next one would be admitted.
    fn admit(&mut self, now: Moment, limit: u32, window: Span) -> Result<(), Span> {
        let limit = (limit as usize).clamp(1, Self::MAX);
        // 49 days of milliseconds; a longer run starts over and lets a poll through early.
        let now_ms = (now.as_nanos() / 1_000_000) as u32;
        let window_ms = window.as_millis() as u32;
        let kept = &mut self.at_ms[..usize::from(self.count)];
        let fresh = kept.iter().position(|&at| now_ms.wrapping_sub(at) < window_ms).unwrap_or(kept.len());
        kept.rotate_left(fresh);
        self.count -= fresh as u8;
        if usize::from(self.count) < limit {
            self.at_ms[usize::from(self.count)] = now_ms;
            self.count += 1;
            return Ok(());
        }
        let oldest = self.at_ms[usize::from(self.count) - limit];
        Err(Span::from_millis(u64::from(window_ms.saturating_sub(now_ms.wrapping_sub(oldest)))))
    }
}

impl Record {
    /// Admits a poll of this device, or says how long until the next one would be.
    pub(super) fn admit_poll(&mut self, now: Moment, limit: u32, window: Span) -> Result<(), Span> {
        self.polls.admit(now, limit, window)
    }
}

/// The records by registration id, which is compared without case.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    records: Vec<Record>,
    /// Never iterated: its order is an accident of hashing.
    index: HashTable<u32>,
}

impl Records {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Forgets a device; its place stays empty.
    pub(super) fn remove(&mut self, registration_id: &str) -> Option<usize> {
        let same =
            |&at: &u32| self.records[at as usize].registration_id.eq_ignore_ascii_case(registration_id);
        let (at, _) = self.index.find_entry(hash(registration_id), same).ok()?.remove();
        self.records[at as usize].registration_id = Box::default();
        Some(at as usize)
    }

    /// The records from this place on that `enrollment` admitted, in the order of their first registration.
    pub(super) fn admitted_by(&self, enrollment: EnrollmentRef, from: usize) -> impl Iterator<Item = usize> {
        (from..self.records.len()).filter(move |&at| {
            let record = &self.records[at];
            record.enrollment == enrollment && !record.registration_id.is_empty()
        })
    }

    pub(super) fn get(&self, at: usize) -> &Record {
        &self.records[at]
    }

    pub(super) fn find(&self, registration_id: &str) -> Option<usize> {
        let same =
            |&at: &u32| self.records[at as usize].registration_id.eq_ignore_ascii_case(registration_id);
        self.index.find(hash(registration_id), same).map(|&at| at as usize)
    }

    /// Which enrollment admitted the device last.
    pub(super) fn enrollment(&self, at: usize) -> EnrollmentRef {
        self.records[at].enrollment
    }

    /// How often the device has registered.
    pub(super) fn registrations(&self, at: usize) -> u32 {
        self.records[at].registrations
    }

    pub(super) fn get_mut(&mut self, at: usize) -> &mut Record {
        &mut self.records[at]
    }

    /// The device's record, made now if it is its first registration.
    pub(super) fn entry(&mut self, registration_id: &str, now: Moment, enrollment: EnrollmentRef) -> usize {
        if let Some(at) = self.find(registration_id) {
            return at;
        }
        let at = self.records.len();
        self.records.push(Record {
            registration_id: registration_id.into(),
            created: now,
            updated: now,
            ready_at: Moment::START,
            registrations: 0,
            enrollment,
            hub: 0,
            substatus: Substatus::InitialAssignment,
            polls: Polls::default(),
        });
        let records = &self.records;
        let rehash = |&at: &u32| hash(&records[at as usize].registration_id);
        // A service holds a million registrations at most (`dps-protocol` 11.1); four thousand times that fit.
        self.index.insert_unique(hash(registration_id), at as u32, rehash);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_stays_small() {
        assert!(size_of::<Record>() <= 104, "{}", size_of::<Record>());
    }

    #[test]
    fn a_million_records_are_found_again() {
        let mut records = Records::default();
        for device in 0..1_000_000 {
            records.entry(&format!("dev-{device:06}"), Moment::START, EnrollmentRef::Group(0));
        }
        assert_eq!(records.len(), 1_000_000);
        assert_eq!(records.find("DEV-765432"), Some(765_432));
        assert_eq!(records.find("dev-1000000"), None);
    }

    #[test]
    fn the_sixth_poll_in_ten_seconds_waits_for_the_first_to_leave() {
        let mut polls = Polls::default();
        let window = Span::from_secs(10);
        let at = |secs: u64| Moment::START + Span::from_secs(secs);
        for secs in 0..5 {
            assert_eq!(polls.admit(at(secs), 5, window), Ok(()));
        }
        assert_eq!(polls.admit(at(5), 5, window), Err(Span::from_secs(5)));
        assert_eq!(polls.admit(at(10), 5, window), Ok(()));
        assert_eq!(polls.admit(at(10), 5, window), Err(Span::from_secs(1)));
        for secs in 0..100 {
            assert_eq!(polls.admit(at(60 + 2 * secs), 5, window), Ok(()), "one in two seconds is the limit");
        }
    }
}
