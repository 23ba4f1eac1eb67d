//! Who is connected under which client id, and how a connection is told that it has lost its session.

use std::cell::RefCell;
use std::rc::Rc;

use fleetstorm_protocol::mqtt::{self, Subscription};
use tokio::sync::Notify;

/// The sessions of a mock.
#[derive(Debug, Default)]
pub struct Sessions(Rc<RefCell<mqtt::Sessions<Rc<Notify>>>>);

/// A client's place, given up when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    sessions: Rc<RefCell<mqtt::Sessions<Rc<Notify>>>>,
    seat: mqtt::Seat,
    evict: Rc<Notify>,
}

impl Sessions {
    /// Seats a client and sends away the one that has its id.
    pub(super) fn take(&self, client: &str) -> Seat {
        let evict = Rc::new(Notify::new());
        let (seat, before) = self.0.borrow_mut().take(client, Rc::clone(&evict));
        if let Some(before) = before {
            before.notify_one();
        }
        Seat { sessions: Rc::clone(&self.0), seat, evict }
    }

    /// Begins a device's session with what its hub remembers of the one before; a clean one forgets it.
    pub(super) fn resume(&self, client: &str, clean: bool) -> Option<Vec<Subscription>> {
        self.0.borrow_mut().resume(client, clean)
    }

    /// Remembers what a device listens to.
    pub(super) fn keep(&self, client: &str, listens: &[Subscription]) {
        self.0.borrow_mut().keep(client, listens);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

impl Seat {
    /// Returns when another connection has taken the seat.
    pub(super) async fn evicted(&self) {
        self.evict.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.sessions.borrow_mut().leave(&self.seat);
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
