//! Who is connected under which client id.

use std::collections::BTreeMap;

use super::Subscription;

/// The sessions of a service: a client that connects ends the one of its id (MQTT 3.1.1, 3.1.4-2). `H` is how a connection is
/// told that it has lost its session. Ids of devices are compared without case.
#[derive(Debug)]
pub struct Sessions<H> {
    seats: BTreeMap<Box<str>, (u64, H)>,
    count: u64,
    /// What clients listen to that asked for it to be remembered.
    kept: BTreeMap<Box<str>, Vec<Subscription>>,
}

/// A client's place among the sessions; it is to be given back with [`Sessions::leave`].
#[derive(Debug, PartialEq, Eq)]
pub struct Seat {
    client: Box<str>,
    number: u64,
}

impl<H> Sessions<H> {
    /// Seats a client. Whoever had its place has lost it, and is to be told so.
    pub fn take(&mut self, client: &str, handle: H) -> (Seat, Option<H>) {
        let seat = Seat { client: key(client), number: self.count };
        self.count += 1;
        let before = self.seats.insert(seat.client.clone(), (seat.number, handle));
        (seat, before.map(|(_, handle)| handle))
    }

    /// Gives a place up. A place that somebody else has by now stays theirs.
    pub fn leave(&mut self, seat: &Seat) {
        if self.seats.get(&seat.client).is_some_and(|(number, _)| *number == seat.number) {
            self.seats.remove(&seat.client);
        }
    }

    /// What is remembered of the client's session before; a clean one forgets it.
    pub fn resume(&mut self, client: &str, clean: bool) -> Option<Vec<Subscription>> {
        let client = key(client);
        if clean { self.kept.remove(&client).and(None) } else { self.kept.get(&client).cloned() }
    }

    /// Remembers what a client listens to.
    pub fn keep(&mut self, client: &str, listens: &[Subscription]) {
        self.kept.insert(key(client), listens.to_vec());
    }

    /// How many are connected.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }
}

// Derived, it would ask for handles that have a default.
impl<H> Default for Sessions<H> {
    fn default() -> Self {
        Self { seats: BTreeMap::new(), count: 0, kept: BTreeMap::new() }
    }
}

fn key(client: &str) -> Box<str> {
    client.to_ascii_lowercase().into()
}
