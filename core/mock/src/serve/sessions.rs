//! Who is connected under which client id: a second connection ends the first (MQTT 3.1.1, 3.1.4-2).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use fleetstorm_units::time::Moment;
use rumqttc::mqttbytes::QoS;
use tokio::sync::Notify;

/// The sessions of a mock.
#[derive(Debug, Default)]
pub struct Sessions {
    seats: Rc<RefCell<BTreeMap<Box<str>, Holder>>>,
    count: Cell<u64>,
    /// What devices listen to that asked their hubs to remember it.
    kept: RefCell<BTreeMap<Box<str>, Subscriptions>>,
}

/// What a device listens to at its hub.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Subscriptions {
    /// Direct methods.
    pub(crate) methods: bool,
    /// Answers about its twin.
    pub(crate) twin: bool,
    /// Answers about its certificate: at which quality of service, and since when.
    pub(crate) credentials: Option<(QoS, Moment)>,
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

    /// Begins a device's session with what its hub remembers of the one before; a clean one forgets it.
    pub(crate) fn resume(&self, client: &str, clean: bool) -> Option<Subscriptions> {
        let client = client.to_ascii_lowercase();
        let mut kept = self.kept.borrow_mut();
        if clean { kept.remove(&*client).and(None) } else { kept.get(&*client).copied() }
    }

    /// Remembers what a device listens to.
    pub(crate) fn keep(&self, client: &str, subscriptions: Subscriptions) {
        self.kept.borrow_mut().insert(client.to_ascii_lowercase().into(), subscriptions);
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
