//! Who is connected under which client id: a second connection ends the first (MQTT 3.1.1, 3.1.4-2).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::Notify;

/// The sessions of a mock.
#[derive(Debug, Default)]
pub struct Sessions {
    seats: Rc<RefCell<BTreeMap<Box<str>, Holder>>>,
    count: Cell<u64>,
}

#[derive(Debug)]
struct Holder {
    number: u64,
    evict: Rc<Notify>,
}

/// A client's place, given up when dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Rc<RefCell<BTreeMap<Box<str>, Holder>>>,
    client: Box<str>,
    number: u64,
    evict: Rc<Notify>,
}

impl Sessions {
    /// Seats a client and sends away the one that has its id; ids of devices are compared without case.
    pub fn take(&self, client: &str) -> Seat {
        let number = self.count.get();
        self.count.set(number + 1);
        let evict = Rc::new(Notify::new());
        let client: Box<str> = client.to_ascii_lowercase().into();
        let holder = Holder { number, evict: Rc::clone(&evict) };
        if let Some(before) = self.seats.borrow_mut().insert(client.clone(), holder) {
            before.evict.notify_one();
        }
        Seat { seats: Rc::clone(&self.seats), client, number, evict }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.seats.borrow().len()
    }
}

impl Seat {
    /// Returns when another connection has taken the seat.
    pub async fn evicted(&self) {
        self.evict.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.borrow_mut();
        if seats.get(&self.client).is_some_and(|holder| holder.number == self.number) {
            seats.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_takes_the_seat_of_the_first_and_leaves_it_empty() {
        let sessions = Sessions::default();
        let first = sessions.take("dev-1");
        let second = sessions.take("DEV-1");
        first.evicted().await;
        drop(first);
        assert_eq!(sessions.len(), 1, "the first one's end is not the second one's");
        drop(second);
        assert_eq!(sessions.len(), 0);
    }
}
