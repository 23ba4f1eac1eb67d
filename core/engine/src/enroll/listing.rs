//! Pages of registrations, read until there are no more, whatever the service says of the next one.

use std::collections::BTreeSet;

use fleetstorm_protocol::RegistrationId;

/// Registrations that a service holds at most (`dps` 11.1).
const REGISTRATIONS_MAX: usize = 1_000_000;
/// Pages in a row that may bring nothing: a real service has empty pages, and no end of them is none.
const BARREN_MAX: u32 = 16;

/// What has been listed.
#[derive(Debug, Default)]
pub(super) struct Listing {
    ids: BTreeSet<String>,
    barren: u32,
}

impl Listing {
    /// Takes a page that another one follows, or none.
    ///
    /// # Errors
    /// Why this service's pages have no end.
    pub(super) fn take(&mut self, page: Vec<String>, is_last: bool) -> Result<(), String> {
        let before = self.ids.len();
        // What is no registration id is none of a device's.
        self.ids.extend(page.into_iter().filter(|id| RegistrationId::new(id).is_ok()));
        self.barren = if self.ids.len() > before { 0 } else { self.barren + 1 };
        if self.ids.len() > REGISTRATIONS_MAX {
            return Err(format!(
                "it lists more than {REGISTRATIONS_MAX} registrations, and no service holds more"
            ));
        }
        if !is_last && self.barren >= BARREN_MAX {
            return Err(format!("{BARREN_MAX} pages in a row list nothing new, and each names a next one"));
        }
        Ok(())
    }

    pub(super) fn into_ids(self) -> BTreeSet<String> {
        self.ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(from: usize, to: usize) -> Vec<String> {
        (from..to).map(|number| format!("dev-{number}")).collect()
    }

    #[test]
    fn pages_that_bring_something_are_read_to_the_last() {
        let mut listing = Listing::default();
        for at in 0..100 {
            listing.take(page(at * 10, at * 10 + 10), false).unwrap();
            listing.take(Vec::new(), false).unwrap();
        }
        listing.take(page(990, 1_001), true).unwrap();
        assert_eq!(listing.into_ids().len(), 1_001);
    }

    #[test]
    fn pages_without_an_end_are_an_error() {
        for nothing_new in [Vec::new(), page(0, 5), vec!["../x".to_owned(), String::new()]] {
            let mut listing = Listing::default();
            listing.take(page(0, 5), false).unwrap();
            let read = (0..1_000).take_while(|_| listing.take(nothing_new.clone(), false).is_ok()).count();
            assert_eq!(read, 15, "{nothing_new:?}");
        }
        let mut listing = Listing::default();
        let read = (0..).take_while(|at| listing.take(page(at * 1_000, at * 1_000 + 1_000), false).is_ok());
        assert_eq!(read.count(), 1_000);
    }

    #[test]
    fn a_last_page_ends_the_list_however_empty_it_is() {
        let mut listing = Listing::default();
        for _ in 0..15 {
            listing.take(Vec::new(), false).unwrap();
        }
        listing.take(Vec::new(), true).unwrap();
    }
}
