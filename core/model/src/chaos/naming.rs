//! How the names of devices become the numbers by which faults know them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How the names of devices become numbers.
#[derive(Clone, Debug)]
pub enum Naming {
    /// A fleet's devices are named by this prefix and their number.
    Fleet(String),
    /// Nobody knows who will come: devices are numbered as they come.
    Guests(Arc<Mutex<Guests>>),
}

/// Devices that were numbered as they came.
#[derive(Debug, Default)]
pub struct Guests {
    numbers: BTreeMap<String, u32>,
}

impl Naming {
    /// Most guests that are numbered; those that come after them meet no fault.
    pub const GUESTS_MAX: u32 = 65_536;

    /// Guests, none of whom has come.
    pub fn guests() -> Self {
        Self::Guests(Arc::default())
    }

    /// The number of the device of this name, without case; `None` for one that faults do not know.
    pub fn number(&self, name: &str) -> Option<u32> {
        match self {
            Self::Fleet(prefix) => device_number(name, prefix),
            Self::Guests(guests) => guests.lock().unwrap_or_else(PoisonError::into_inner).number(name),
        }
    }
}

impl Guests {
    fn number(&mut self, name: &str) -> Option<u32> {
        let name = name.to_ascii_lowercase();
        if let Some(number) = self.numbers.get(&name) {
            return Some(*number);
        }
        let number = u32::try_from(self.numbers.len()).ok().filter(|number| *number < Naming::GUESTS_MAX)?;
        self.numbers.insert(name, number);
        Some(number)
    }
}

/// The number of a device of the fleet by its name, which is `prefix` and the number.
fn device_number(name: &str, prefix: &str) -> Option<u32> {
    let head = name.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| name[prefix.len()..].parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_named_by_its_numbers_and_guests_as_they_come() {
        let fleet = Naming::Fleet("dev-".to_owned());
        assert_eq!(
            ["dev-000012", "DEV-12", "dev-x", "other-1"].map(|name| fleet.number(name)),
            [Some(12), Some(12), None, None]
        );
        let guests = Naming::guests();
        assert_eq!(["b", "a", "B", "a"].map(|name| guests.number(name)), [0, 1, 0, 1].map(Some));
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let mut guests = Guests::default();
        for number in 0..Naming::GUESTS_MAX {
            assert_eq!(guests.number(&format!("g{number}")), Some(number));
        }
        assert_eq!((guests.number("late"), guests.number("g7")), (None, Some(7)));
    }
}
