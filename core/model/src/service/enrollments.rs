//! The enrollments of an instance, and what certificates must chain to.

use fleetstorm_protocol::enrollment::{Attestation, CaCertificate, Enrollment, Group, Individual};
use fleetstorm_protocol::enrollment_api::{Enrolled, Kind, Resource};
use fleetstorm_units::random::{Purpose, Seed};
use fleetstorm_units::time::{Calendar, Moment};

use super::config::{self, ConfigError, NamedCertificate};
use super::record::{EnrollmentPlace, EnrollmentRef};
use super::store::{Book, Kept};
use super::trusted::TrustedCas;

/// The enrollments of an instance, which its enrollment API changes while devices register.
#[derive(Debug)]
pub(super) struct Enrollments {
    individuals: Book<Individual>,
    groups: Book<Group>,
    /// The CA certificates that enrollments can refer to.
    certificates: Vec<NamedCertificate>,
    /// What certificates must chain to, of groups and of the instance.
    trusted: TrustedCas,
    seed: Seed,
    calendar: Calendar,
}

impl Enrollments {
    /// Those that an instance starts with.
    ///
    /// # Errors
    /// Two have the same id.
    pub(super) fn new(
        individuals: Vec<Individual>,
        groups: Vec<Group>,
        certificates: Vec<NamedCertificate>,
        seed: Seed,
        calendar: Calendar,
    ) -> Result<Self, ConfigError> {
        let mut kept = Self {
            individuals: Book::new(),
            groups: Book::new(),
            certificates,
            trusted: TrustedCas::default(),
            seed,
            calendar,
        };
        for individual in individuals {
            if kept.individuals.find(&individual.registration_id).is_some() {
                return Err(ConfigError::Duplicate(individual.registration_id));
            }
            kept.individuals.put(individual, Moment::START);
        }
        for group in groups {
            if kept.groups.find(&group.id).is_some() {
                return Err(ConfigError::DuplicateGroup(group.id));
            }
            kept.groups.put(group, Moment::START);
        }
        kept.trust();
        Ok(kept)
    }

    /// Looks up what certificates must chain to.
    fn trust(&mut self) {
        let groups = self.groups.iter().flat_map(|(_, group)| match &group.enrollment.attestation {
            Attestation::Signer { primary, secondary } => [Some(primary), secondary.as_ref()],
            _ => [None, None],
        });
        let held = self.certificates.iter().map(|held| &held.certificate);
        self.trusted.replace(groups.flatten().chain(held));
    }

    /// What certificates must chain to.
    pub(super) const fn trusted(&self) -> &TrustedCas {
        &self.trusted
    }

    /// What keys that are derived are derived from.
    pub(super) const fn seed(&self) -> Seed {
        self.seed
    }

    /// The CA certificate of this name.
    pub(super) fn ca(&self, name: &str) -> Option<&CaCertificate> {
        config::ca(&self.certificates, name)
    }

    /// A CA that an enrollment refers to and that the instance does not hold.
    pub(super) fn unknown_ca<'a>(&self, enrollment: &'a Enrollment) -> Option<&'a str> {
        config::unknown_ca(&self.certificates, enrollment)
    }

    /// The place of an enrollment.
    pub(super) fn find(&self, kind: Kind, id: &str) -> Option<u32> {
        match kind {
            Kind::Individual => self.individuals.find(id),
            Kind::Group => self.groups.find(id),
        }
    }

    /// The enrollment, unless it has been deleted.
    pub(super) fn of(&self, of: EnrollmentRef) -> Option<&Enrollment> {
        match of.place() {
            EnrollmentPlace::Individual(at) => self.individual(at).map(|individual| &individual.enrollment),
            EnrollmentPlace::Group(at) => self.group(at).map(|group| &group.enrollment),
        }
    }

    pub(super) fn individual(&self, at: u32) -> Option<&Individual> {
        self.individuals.get(at).map(|kept| &kept.value)
    }

    pub(super) fn group(&self, at: u32) -> Option<&Group> {
        self.groups.get(at).map(|kept| &kept.value)
    }

    /// The groups that are there, in the order of their creation.
    pub(super) fn groups(&self) -> impl Iterator<Item = (u32, &Group)> {
        self.groups.iter()
    }

    /// Whether the device of this registration id has another one at its hub.
    pub(super) fn renames(&self, registration_id: &str) -> bool {
        let own = self.individuals.find(registration_id).and_then(|at| self.individual(at));
        own.is_some_and(|individual| individual.device_id.is_some())
    }

    /// The registration id of the device that an individual enrollment gives this device id.
    pub(super) fn renamed_to(&self, device_id: &str) -> Option<&str> {
        let is = |id: &Option<String>| id.as_deref().is_some_and(|id| id.eq_ignore_ascii_case(device_id));
        let mut individuals = self.individuals.iter();
        individuals.find(|(_, kept)| is(&kept.device_id)).map(|(_, kept)| kept.registration_id.as_str())
    }

    /// What a request for an enrollment gets, without what only cryptography knows.
    pub(super) fn resource(&self, place: EnrollmentPlace) -> Option<Resource> {
        match place {
            EnrollmentPlace::Individual(at) => {
                let kept = self.individuals.get(at)?;
                Some(self.resource_of(kept, Kind::Individual, at, Enrolled::Individual(kept.value.clone())))
            }
            EnrollmentPlace::Group(at) => {
                let kept = self.groups.get(at)?;
                Some(self.resource_of(kept, Kind::Group, at, Enrolled::Group(kept.value.clone())))
            }
        }
    }

    fn resource_of<T>(&self, kept: &Kept<T>, kind: Kind, at: u32, value: Enrolled) -> Resource {
        Resource {
            value,
            certificates: [None, None],
            created_unix_ns: self.calendar.unix_nanos(kept.created),
            updated_unix_ns: self.calendar.unix_nanos(kept.updated),
            etag: tag(self.seed, kind, at, kept.version),
            registration: None,
        }
    }

    /// The tag of an enrollment, if there is one.
    pub(super) fn tag(&self, kind: Kind, id: &str) -> Option<String> {
        let at = self.find(kind, id)?;
        let version = match kind {
            Kind::Individual => self.individuals.get(at)?.version,
            Kind::Group => self.groups.get(at)?.version,
        };
        Some(tag(self.seed, kind, at, version))
    }

    /// The enrollment with this id.
    pub(super) fn named(&self, kind: Kind, id: &str) -> Option<&Enrollment> {
        let at = self.find(kind, id)?;
        match kind {
            Kind::Individual => self.individual(at).map(|individual| &individual.enrollment),
            Kind::Group => self.group(at).map(|group| &group.enrollment),
        }
    }

    /// Creates an individual enrollment, or replaces the one with its id.
    pub(super) fn put_individual(&mut self, individual: Individual, now: Moment) {
        self.individuals.put(individual, now);
    }

    /// Creates a group, or replaces the one with its id. What the instance knows of its certificates already stays true:
    /// whether one that it holds is verified, or one that the group had before.
    pub(super) fn put_group(&mut self, mut group: Group, now: Moment) {
        if let Attestation::Signer { primary, secondary } = &mut group.enrollment.attestation {
            let before = self.named(Kind::Group, &group.id).map(|before| &before.attestation);
            let before = match before {
                Some(Attestation::Signer { primary, secondary }) => [Some(primary), secondary.as_ref()],
                _ => [None, None],
            };
            for ca in std::iter::once(primary).chain(secondary) {
                let held = self.certificates.iter().map(|held| &held.certificate);
                let known = held.chain(before.into_iter().flatten()).find(|known| known.der == ca.der);
                ca.verified = known.map_or(ca.verified, |known| known.verified);
            }
        }
        self.groups.put(group, now);
        self.trust();
    }

    /// Removes an enrollment.
    pub(super) fn remove(&mut self, kind: Kind, id: &str) {
        match kind {
            Kind::Individual => drop(self.individuals.remove(id)),
            Kind::Group => {
                self.groups.remove(id);
                self.trust();
            }
        }
    }

    /// The first ids after one in alphabetical order, `most` of them.
    pub(super) fn ids(&self, kind: Kind, after: Option<&str>, most: usize) -> Vec<String> {
        match kind {
            Kind::Individual => self.individuals.ids(after).take(most).map(str::to_owned).collect(),
            Kind::Group => self.groups.ids(after).take(most).map(str::to_owned).collect(),
        }
    }
}

/// An ETag of the form that the service has (`dps` 2.3), different for every state of every enrollment.
fn tag(seed: Seed, kind: Kind, at: u32, version: u32) -> String {
    let book = match kind {
        Kind::Individual => 0,
        Kind::Group => 1 << 32,
    };
    let [draw, _] = seed.pair(Purpose::EnrollmentTag, book | u64::from(at), version);
    format!("\"{:08x}-0000-0300-0000-{:08x}0000\"", draw >> 32, draw & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(id: &str, verified: bool) -> Group {
        let primary = CaCertificate { der: b"ca".as_slice().into(), verified };
        let attestation = Attestation::Signer { primary, secondary: None };
        Group { id: id.into(), enrollment: Enrollment::new(attestation) }
    }

    fn enrollments(groups: Vec<Group>) -> Result<Enrollments, ConfigError> {
        Enrollments::new(Vec::new(), groups, Vec::new(), Seed(1), Calendar::VIRTUAL)
    }

    #[test]
    fn a_certificate_stays_verified_while_its_group_has_it() {
        let mut enrollments = enrollments(vec![group("line", true)]).unwrap();
        let version = enrollments.trusted().version;
        enrollments.put_group(group("LINE", false), Moment::START);
        assert_eq!((enrollments.trusted().certificates.len(), enrollments.trusted().version), (1, version));
        enrollments.remove(Kind::Group, "line");
        assert!(enrollments.trusted().certificates.is_empty());
        enrollments.put_group(group("line", false), Moment::START);
        assert!(enrollments.trusted().certificates.is_empty(), "nothing is known of it any more");
    }

    #[test]
    fn every_state_has_a_tag_of_its_own() {
        let mut enrollments = enrollments(vec![group("line", true)]).unwrap();
        let first = enrollments.tag(Kind::Group, "line");
        assert!(first.is_some() && enrollments.tag(Kind::Individual, "line").is_none());
        enrollments.put_group(group("line", true), Moment::START);
        assert_ne!(enrollments.tag(Kind::Group, "line"), first);
    }

    #[test]
    fn two_groups_of_one_id_are_none() {
        let refused = enrollments(vec![group("line", true), group("Line", true)]).unwrap_err();
        assert_eq!(refused, ConfigError::DuplicateGroup("Line".into()));
    }
}
