//! Books that enrollments are kept in.

use std::collections::BTreeMap;
use std::ops::Bound;

use fleetstorm_protocol::enrollment::{Group, Individual};
use fleetstorm_units::time::Moment;

/// Something with an id that is compared without case.
pub(super) trait Identified {
    fn id(&self) -> &str;
}

impl Identified for Individual {
    fn id(&self) -> &str {
        &self.registration_id
    }
}

impl Identified for Group {
    fn id(&self) -> &str {
        &self.id
    }
}

/// An enrollment with its history.
#[derive(Clone, Debug)]
pub(super) struct Kept<T> {
    pub(super) value: T,
    pub(super) created: Moment,
    pub(super) updated: Moment,
    /// Different for every state that any enrollment of this book was ever in; the ETag is made of it.
    pub(super) version: u32,
}

/// Enrollments of one kind. Places are never given to another one: a registration may refer to an enrollment that is
/// gone, and must not find a stranger there.
#[derive(Clone, Debug)]
pub(super) struct Book<T> {
    places: Vec<Option<Box<Kept<T>>>>,
    by_id: BTreeMap<String, u32>,
    versions: u32,
}

impl<T: Identified> Book<T> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), by_id: BTreeMap::new(), versions: 0 }
    }

    pub(super) fn find(&self, id: &str) -> Option<u32> {
        // Most instances have no individual enrollment, and are asked for one by every registration.
        if self.by_id.is_empty() {
            return None;
        }
        self.by_id.get(&id.to_ascii_lowercase()).copied()
    }

    pub(super) fn get(&self, at: u32) -> Option<&Kept<T>> {
        self.places.get(at as usize)?.as_deref()
    }

    /// Those that are there, in the order of their creation.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.places).filter_map(|(at, place)| Some((at, &place.as_deref()?.value)))
    }

    /// The ids that come after `id` in alphabetical order.
    pub(super) fn ids(&self, after: Option<&str>) -> impl Iterator<Item = &str> {
        let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.to_ascii_lowercase()));
        self.by_id.range((from, Bound::Unbounded)).filter_map(|(_, &at)| Some(self.get(at)?.value.id()))
    }

    /// Creates it, or replaces the one with its id.
    pub(super) fn put(&mut self, value: T, now: Moment) -> u32 {
        self.versions = self.versions.wrapping_add(1);
        let version = self.versions;
        let at = self.find(value.id());
        if let Some(at) = at
            && let Some(kept) = self.places.get_mut(at as usize).and_then(Option::as_mut)
        {
            **kept = Kept { value, created: kept.created, updated: now, version };
            return at;
        }
        // An instance holds a million at most (`dps` 11.1).
        let at = self.places.len() as u32;
        self.by_id.insert(value.id().to_ascii_lowercase(), at);
        self.places.push(Some(Box::new(Kept { value, created: now, updated: now, version })));
        at
    }

    /// Removes it; `false` if there is none.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let Some(at) = self.by_id.remove(&id.to_ascii_lowercase()) else { return false };
        self.places[at as usize] = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetstorm_protocol::enrollment::{Attestation, Enrollment, SymmetricKey};
    use fleetstorm_units::time::Span;

    fn group(id: &str) -> Group {
        let key = SymmetricKey::new(vec![1; 16]);
        let attestation = Attestation::SymmetricKey { primary: key, secondary: None };
        Group { id: id.into(), enrollment: Enrollment::new(attestation) }
    }

    #[test]
    fn a_place_is_never_given_to_another_enrollment() {
        let mut book = Book::new();
        let first = book.put(group("One"), Moment::START);
        assert!(book.remove("oNE") && !book.remove("one"));
        let second = book.put(group("one"), Moment::START);
        assert_ne!(first, second);
        assert!(book.get(first).is_none() && book.get(second).is_some());
        assert_eq!(book.find("ONE"), Some(second));
    }

    #[test]
    fn an_update_keeps_the_creation_and_changes_the_version() {
        let mut book = Book::new();
        let at = book.put(group("one"), Moment::START);
        let before = book.get(at).map(|kept| kept.version);
        let later = Moment::START + Span::from_secs(5);
        assert_eq!(book.put(group("One"), later), at);
        let kept = book.get(at).unwrap();
        assert_eq!((kept.created, kept.updated, kept.value.id.as_str()), (Moment::START, later, "One"));
        assert_ne!(Some(kept.version), before);
        assert_eq!(book.iter().count(), 1);
    }

    #[test]
    fn pages_follow_the_alphabet_whatever_changes_between_them() {
        let mut book = Book::new();
        for id in ["d", "B", "a", "c"] {
            book.put(group(id), Moment::START);
        }
        let ids = |after: Option<&str>, book: &Book<Group>| -> Vec<String> {
            book.ids(after).map(str::to_owned).collect()
        };
        assert_eq!(ids(None, &book), ["a", "B", "c", "d"]);
        book.remove("b");
        assert_eq!(ids(Some("b"), &book), ["c", "d"]);
    }
}
