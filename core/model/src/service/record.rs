//! Registration records, a million of them.

use std::collections::BTreeSet;

use fleetstorm_protocol::Substatus;
use fleetstorm_units::time::{Moment, Span};
use hashbrown::HashTable;

use super::allocation::hash;

/// What the service remembers of a device. How far its assignment is follows from the time: there are no timers.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) created: Moment,
    /// When the running (or last) assignment is or was done; [`Moment::FAR`] for never.
    pub(super) ready_at: Moment,
    /// Counts the device's registrations; keys its operation ids and delays. 0 before the first one.
    pub(super) registrations: u32,
    /// Which enrollment admitted it.
    pub(super) enrollment: EnrollmentRef,
    polls: Polls,
    pub(super) hub: u16,
    pub(super) substatus: Substatus,
}

/// An enrollment's place in the configuration, in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EnrollmentRef(u32);

/// An enrollment's place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EnrollmentPlace {
    Individual(u32),
    Group(u32),
}

impl EnrollmentRef {
    const GROUP: u32 = 1 << 31;

    /// An instance holds a million enrollments at most (`dps` 11.1), which leaves a bit for their kind.
    pub(super) const fn individual(at: u32) -> Self {
        Self(at & !Self::GROUP)
    }

    pub(super) const fn group(at: u32) -> Self {
        Self(Self::GROUP | at)
    }

    pub(super) const fn place(self) -> EnrollmentPlace {
        let at = self.0 & !Self::GROUP;
        if self.0 & Self::GROUP == 0 { EnrollmentPlace::Individual(at) } else { EnrollmentPlace::Group(at) }
    }
}

/// The instants of a device's last polls in milliseconds: a sliding log of at most [`Polls::MAX`].
#[derive(Clone, Copy, Debug, Default)]
struct Polls {
    last_ms: u32,
    /// From each poll to the one after it, oldest first; a gap of 65 s or more outlasts every window.
    gaps_ms: [u16; Self::MAX - 1],
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
        let since_last_ms = now_ms.wrapping_sub(self.last_ms);
        // From the newest back: how many are inside the window, and how old the one is that has to leave it.
        let (mut fresh, mut age_ms) = (0, since_last_ms);
        let mut leaver_age_ms = 0;
        while fresh < usize::from(self.count) && age_ms < window_ms {
            fresh += 1;
            if fresh == limit {
                leaver_age_ms = age_ms;
                break;
            }
            let gap = usize::from(self.count).checked_sub(fresh + 1).map_or(0, |at| self.gaps_ms[at]);
            age_ms = if gap == u16::MAX { window_ms } else { age_ms.saturating_add(u32::from(gap)) };
        }
        if fresh == limit {
            return Err(Span::from_millis(u64::from(window_ms - leaver_age_ms)));
        }
        let count = usize::from(self.count);
        if fresh > 0 {
            // Keep the gaps between the fresh ones, then the gap from the last one to this one.
            self.gaps_ms.copy_within(count - fresh..count - 1, 0);
            self.gaps_ms[fresh - 1] = u16::try_from(since_last_ms).unwrap_or(u16::MAX);
        }
        self.count = fresh as u8 + 1;
        self.last_ms = now_ms;
        Ok(())
    }
}

impl Record {
    const NEW: Self = Self {
        created: Moment::START,
        ready_at: Moment::START,
        registrations: 0,
        enrollment: EnrollmentRef::individual(0),
        polls: Polls { last_ms: 0, gaps_ms: [0; Polls::MAX - 1], count: 0 },
        hub: 0,
        substatus: Substatus::InitialAssignment,
    };

    /// Admits a poll of this device, or says how long until the next one would be.
    pub(super) fn admit_poll(&mut self, now: Moment, limit: u32, window: Span) -> Result<(), Span> {
        self.polls.admit(now, limit, window)
    }
}

/// A device as a request names it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Caller<'a> {
    /// By its registration id.
    Named(&'a str),
    /// By its number in the roster.
    Numbered(u32),
}

/// The records: first those of the roster by number, then those of devices with other names.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    records: Vec<Record>,
    /// How many of them are the roster's.
    roster: usize,
    names: Vec<Box<str>>,
    /// Places in `names`. Never iterated: its order is an accident of hashing.
    index: HashTable<u32>,
    registered: usize,
    /// Numbers of the roster whose records were removed. A place is never given twice, so these devices go by their
    /// names from then on.
    struck: BTreeSet<u32>,
}

impl Records {
    /// Records for a roster of `devices`, none of which has registered.
    pub(super) fn of_roster(devices: u32) -> Self {
        let records = vec![Record::NEW; devices as usize];
        Self { roster: records.len(), records, ..Self::default() }
    }

    /// How many devices have registered.
    pub(super) fn len(&self) -> usize {
        self.registered
    }

    /// The record of a device that has registered.
    pub(super) fn find(&self, caller: Caller<'_>) -> Option<usize> {
        let at = match caller {
            Caller::Numbered(number) => number as usize,
            Caller::Named(name) => self.find_named(name)?,
        };
        self.records.get(at).is_some_and(|record| record.registrations > 0).then_some(at)
    }

    fn find_named(&self, name: &str) -> Option<usize> {
        let same = |&at: &u32| self.names[at as usize].eq_ignore_ascii_case(name);
        self.index.find(hash(name), same).map(|&at| self.roster + at as usize)
    }

    /// Whether the device of this number is in the roster and goes by its number.
    pub(super) fn is_numbered(&self, number: u32) -> bool {
        (number as usize) < self.roster && !self.struck.contains(&number)
    }

    /// Forgets a device that has registered; its place stays empty.
    pub(super) fn remove(&mut self, caller: Caller<'_>) -> Option<usize> {
        let at = self.find(caller)?;
        match caller {
            Caller::Numbered(number) => {
                self.struck.insert(number);
            }
            Caller::Named(name) => {
                let same = |&at: &u32| self.names[at as usize].eq_ignore_ascii_case(name);
                let (place, _) = self.index.find_entry(hash(name), same).ok()?.remove();
                self.names[place as usize] = Box::default();
            }
        }
        self.records[at] = Record::NEW;
        self.registered -= 1;
        Some(at)
    }

    /// The places from this one on of the records that `enrollment` admitted.
    pub(super) fn admitted_by(&self, enrollment: EnrollmentRef, from: usize) -> impl Iterator<Item = usize> {
        (from..self.records.len()).filter(move |&at| {
            let record = &self.records[at];
            record.enrollment == enrollment && record.registrations > 0
        })
    }

    /// How many devices are in the roster.
    pub(super) fn roster(&self) -> usize {
        self.roster
    }

    /// The name of a device that is not in the roster.
    pub(super) fn name(&self, at: usize) -> Option<&str> {
        self.names.get(at.checked_sub(self.roster)?).map(|name| &**name)
    }

    pub(super) fn get(&self, at: usize) -> &Record {
        &self.records[at]
    }

    pub(super) fn get_mut(&mut self, at: usize) -> &mut Record {
        &mut self.records[at]
    }

    /// The device's record, made now if it is its first registration. The caller registers the device with it.
    pub(super) fn entry(&mut self, caller: Caller<'_>, now: Moment) -> usize {
        let at = match caller {
            Caller::Numbered(number) => number as usize,
            Caller::Named(name) => self.find_named(name).unwrap_or_else(|| self.insert(name)),
        };
        let record = &mut self.records[at];
        if record.registrations == 0 {
            record.created = now;
            self.registered += 1;
        }
        at
    }

    fn insert(&mut self, name: &str) -> usize {
        let at = self.names.len();
        self.names.push(name.into());
        self.records.push(Record::NEW);
        let names = &self.names;
        let rehash = |&at: &u32| hash(&names[at as usize]);
        // A service holds a million registrations at most (`dps` 11.1); four thousand times that fit.
        self.index.insert_unique(hash(name), at as u32, rehash);
        self.roster + at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_stays_small() {
        assert!(size_of::<Record>() <= 48, "{}", size_of::<Record>());
    }

    #[test]
    fn a_million_records_are_found_again() {
        let mut records = Records::default();
        for device in 0..1_000_000 {
            let at = records.entry(Caller::Named(&format!("dev-{device:06}")), Moment::START);
            records.get_mut(at).registrations += 1;
        }
        assert_eq!(records.len(), 1_000_000);
        assert_eq!(records.find(Caller::Named("DEV-765432")), Some(765_432));
        assert_eq!(records.find(Caller::Named("dev-1000000")), None);
    }

    #[test]
    fn strangers_come_after_the_roster() {
        let mut records = Records::of_roster(3);
        assert_eq!(records.find(Caller::Numbered(1)), None, "it has not registered");
        for caller in [Caller::Named("x"), Caller::Numbered(1), Caller::Named("X")] {
            let at = records.entry(caller, Moment::START);
            records.get_mut(at).registrations += 1;
        }
        assert_eq!((records.len(), records.find(Caller::Named("x"))), (2, Some(3)));
        assert_eq!((records.find(Caller::Numbered(1)), records.find(Caller::Numbered(9))), (Some(1), None));
        assert_eq!((records.name(3), records.name(1)), (Some("x"), None));
    }

    #[test]
    fn a_place_is_never_given_twice() {
        let mut records = Records::of_roster(2);
        for (caller, place) in [(Caller::Named("dev-9"), 2), (Caller::Numbered(1), 1)] {
            assert_eq!(records.remove(caller), None, "it has not registered");
            let at = records.entry(caller, Moment::START);
            records.get_mut(at).registrations += 1;
            assert_eq!(records.remove(caller), Some(place));
            assert_eq!((records.len(), records.find(caller)), (0, None));
        }
        assert!(records.is_numbered(0) && !records.is_numbered(1) && !records.is_numbered(2));
        let places = ["dev-9", "dev-1"].map(|name| records.entry(Caller::Named(name), Moment::START));
        assert_eq!(places, [3, 4]);
    }

    proptest::proptest! {
        /// Against a plain list of instants.
        #[test]
        fn polls_are_a_sliding_log(gaps in proptest::collection::vec(0..30_000u64, 1..100), limit in 1..9u32) {
            let window = Span::from_secs(10);
            let mut polls = Polls::default();
            let mut plain: Vec<u64> = Vec::new();
            let mut now_ms = 0;
            for gap in gaps {
                now_ms += gap / (1 + gap % 40);
                plain.retain(|at| now_ms - at < 10_000);
                let expected = if plain.len() < limit as usize {
                    plain.push(now_ms);
                    Ok(())
                } else {
                    let leaver = plain[plain.len() - limit as usize];
                    Err(Span::from_millis(10_000 - (now_ms - leaver)))
                };
                let now = Moment::START + Span::from_millis(now_ms);
                proptest::prop_assert_eq!(polls.admit(now, limit, window), expected);
            }
        }
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
