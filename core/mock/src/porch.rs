//! Who has come in at the doors, and who makes room when the house is full.
//!
//! Anybody may open a connection, and thousands that say nothing must not keep out one that does. A connection rises as
//! it shows more of itself; when there is no place left, the one that has shown the least gives way, the oldest first, and
//! of the address that holds the most of them. A device that has proved who it is never does, so that a fleet behind one
//! address is as welcome as one behind many.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

use tokio::sync::Notify;

/// How much a connection has shown of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing: not a byte has come.
    Silent,
    /// It has begun, and asked for nothing.
    Greeting,
    /// It has asked for something.
    Heard,
    /// It has proved who it is.
    Proven,
}

/// Where connections are given their places.
#[derive(Debug)]
pub struct Porch {
    room: Rc<RefCell<Room>>,
    /// Connections at once.
    connections: usize,
    /// Connections from one address that have proved nothing.
    unproven_per_address: Option<usize>,
}

/// The connections of a house.
#[derive(Debug, Default)]
struct Room {
    inside: usize,
    count: u64,
    turned_away: u64,
    /// Those that have proved nothing, by address; who gives way first comes first.
    strangers: BTreeMap<IpAddr, BTreeMap<(Stage, u64), Rc<Notify>>>,
}

impl Room {
    /// Sends away the one of an address that has shown the least; `false` if all of it are proven.
    fn make_room_at(&mut self, address: IpAddr) -> bool {
        let Some(of) = self.strangers.get_mut(&address) else { return false };
        let Some((_, leave)) = of.pop_first() else { return false };
        if of.is_empty() {
            self.strangers.remove(&address);
        }
        leave.notify_one();
        self.inside = self.inside.saturating_sub(1);
        self.turned_away += 1;
        true
    }

    fn make_room(&mut self) -> bool {
        let most = self.strangers.iter().max_by_key(|(_, of)| of.len()).map(|(address, _)| *address);
        most.is_some_and(|address| self.make_room_at(address))
    }

    fn take_out(&mut self, address: IpAddr, at: (Stage, u64)) -> Option<Rc<Notify>> {
        let of = self.strangers.get_mut(&address)?;
        let leave = of.remove(&at)?;
        if of.is_empty() {
            self.strangers.remove(&address);
        }
        Some(leave)
    }
}

impl Porch {
    /// One that nobody has entered.
    pub fn new(connections: usize, unproven_per_address: Option<usize>) -> Self {
        Self { room: Rc::default(), connections, unproven_per_address }
    }

    /// A place for one more connection; `None` if all that are here have proved who they are.
    pub fn admit(&self, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut room = self.room.borrow_mut();
        let of = room.strangers.get(&address).map_or(0, BTreeMap::len);
        if self.unproven_per_address.is_some_and(|most| of >= most) {
            room.make_room_at(address);
        }
        if room.inside >= self.connections && !room.make_room() {
            room.turned_away += 1;
            return None;
        }
        room.inside += 1;
        room.count += 1;
        let (number, leave) = (room.count, Rc::new(Notify::new()));
        room.strangers.entry(address).or_default().insert((Stage::Silent, number), Rc::clone(&leave));
        drop(room);
        Some(Place { room: Rc::clone(&self.room), address, number, stage: Stage::Silent.into(), leave })
    }

    /// Sends away the connection that has shown the least, if one has not proved who it is.
    pub fn make_room(&self) -> bool {
        self.room.borrow_mut().make_room()
    }

    /// Connections that had to go, or were not let in, because the house was full.
    pub fn turned_away(&self) -> u64 {
        self.room.borrow().turned_away
    }
}

/// Whom an address belongs to: who has one of IPv6 has as many as a network has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

/// A connection's place, given back when dropped.
pub struct Place {
    room: Rc<RefCell<Room>>,
    address: IpAddr,
    number: u64,
    stage: Cell<Stage>,
    leave: Rc<Notify>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.number).field(&self.stage.get()).finish()
    }
}

impl Place {
    /// How much has been shown.
    pub fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// More has been shown.
    pub fn rise(&self, stage: Stage) {
        if stage <= self.stage.get() {
            return;
        }
        let at = (self.stage.replace(stage), self.number);
        let mut room = self.room.borrow_mut();
        // One that has been sent away already is not called back.
        if let Some(leave) = room.take_out(self.address, at)
            && stage < Stage::Proven
        {
            room.strangers.entry(self.address).or_default().insert((stage, self.number), leave);
        }
    }

    /// Returns when it has to go.
    pub async fn sent_away(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut room = self.room.borrow_mut();
        let stage = self.stage.get();
        if stage == Stage::Proven || room.take_out(self.address, (stage, self.number)).is_some() {
            room.inside = room.inside.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    async fn is_sent_away(place: &Place) -> bool {
        tokio::select! {
            biased;
            () = place.sent_away() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn who_has_shown_the_least_gives_way_and_who_has_proved_itself_never_does() {
        let porch = Porch::new(4, None);
        let places: Vec<_> = (0..4).map(|_| porch.admit(address(1)).unwrap()).collect();
        places[0].rise(Stage::Proven);
        places[1].rise(Stage::Heard);
        places[2].rise(Stage::Greeting);
        let mut later = Vec::new();
        for (gone, expected) in
            [[false, false, false, true], [false, false, true, true], [false, true, true, true]]
                .into_iter()
                .enumerate()
        {
            let place = porch.admit(address(2)).unwrap();
            place.rise(Stage::Proven);
            later.push(place);
            let newly = 3 - gone;
            assert!(is_sent_away(&places[newly]).await, "{expected:?}");
        }
        assert!(!is_sent_away(&places[0]).await);
        assert!(porch.admit(address(3)).is_none(), "all that are here are proven");
        assert_eq!(porch.turned_away(), 4);
        drop(places);
        assert!(porch.admit(address(3)).is_some(), "its place is free again");
        drop(later);
        assert_eq!(porch.room.borrow().inside, 0);
        assert!(porch.room.borrow().strangers.is_empty());
    }

    #[tokio::test]
    async fn the_address_with_the_most_strangers_makes_room() {
        let porch = Porch::new(4, None);
        let honest = porch.admit(address(1)).unwrap();
        let crowd: Vec<_> = (0..3).map(|_| porch.admit(address(2)).unwrap()).collect();
        let newcomer = porch.admit(address(3)).unwrap();
        assert!(
            !is_sent_away(&honest).await && is_sent_away(&crowd[0]).await && !is_sent_away(&crowd[1]).await
        );
        assert_eq!(newcomer.stage(), Stage::Silent);
        // Two addresses of one network of IPv6 are one.
        assert_eq!(network("2001:db8::1".parse().unwrap()), network("2001:db8::2".parse().unwrap()));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), address(1));
    }

    #[tokio::test]
    async fn strangers_of_one_address_can_be_limited_and_its_devices_are_not() {
        let porch = Porch::new(100, Some(2));
        let fleet: Vec<_> = (0..50)
            .map(|_| {
                let place = porch.admit(address(1)).unwrap();
                place.rise(Stage::Proven);
                place
            })
            .collect();
        let strangers: Vec<_> = (0..3).map(|_| porch.admit(address(1)).unwrap()).collect();
        assert!(is_sent_away(&strangers[0]).await && !is_sent_away(&strangers[2]).await);
        for place in &fleet {
            assert!(!is_sent_away(place).await);
        }
    }
}
