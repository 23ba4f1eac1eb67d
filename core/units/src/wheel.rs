//! Alarms for a million devices.
//!
//! One alarm a device, so a pending alarm needs no memory of its own: the device's number is the link of a list.
//! Two rings of lists hold them (after Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987): a fine
//! one of some 137 seconds in slots of about four milliseconds, and a coarse one for what is further away, whose lists
//! are dealt out to the fine ring when their time comes. Within opened slots alarms are sorted by
//! `(moment, device)`, so what rings next never depends on the order in which alarms were set.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Moment;

/// A fine slot is 2^22 ns, 4.2 ms. Shorter ones would make lists shorter, and the ring larger than what a core caches.
const TICK_BITS: u32 = 22;
/// 2^15 fine slots are 137 s.
const FINE_BITS: u32 = 15;
/// A coarse slot is 2^12 fine ones, 17 s: an eighth of the fine ring, so that a whole one always fits into it.
const COARSE_TICK_BITS: u32 = 12;
/// 2^14 coarse slots are 3.3 days; what is further away stays in its list for another round.
const COARSE_BITS: u32 = 14;
/// This many fine slots are opened together. A list is a chain of visits to memory, each of which has to end before
/// the next can begin; those of several lists overlap.
const LISTS: usize = 16;
/// Slots that are opened together span at most 2^10 fine ones, so that nanoseconds into them fit 32 bits.
const SPAN_BITS: u32 = 32 - TICK_BITS;
/// How many devices a driver gets ready at once; their visits to memory overlap as well.
const WINDOW: usize = 16;

const NOBODY: u32 = u32::MAX;
const NEVER: u64 = u64::MAX;

/// The alarms of devices `0..devices`; at most one each.
#[derive(Clone, Debug)]
pub struct Wheel {
    /// By device.
    links: Vec<Link>,
    fine: Ring,
    coarse: Ring,
    /// The first fine slot that has not been opened, counted from the start of time: all alarms before it are in `open`
    /// or `late`.
    next_tick: u64,
    /// The first one that is open.
    first_tick: u64,
    /// The first coarse slot that has alarms and has not been dealt out in this round.
    undealt: Option<u64>,
    /// The alarms of the open slots in order, each as (nanoseconds after their beginning, device) in one word.
    open: Vec<u64>,
    /// How many of `open` have rung.
    rung: usize,
    /// Room for the lists that are being opened.
    lists: Vec<u32>,
    /// Alarms that were set for the open slots or the past after they were opened.
    late: BinaryHeap<Reverse<(u64, u32)>>,
    pending: usize,
}

/// A device's alarm and its place in a list: twelve bytes, so that setting one touches one line of the cache.
#[derive(Clone, Copy, Debug)]
struct Link {
    /// When it rings, in nanoseconds, low half first; [`NEVER`] while it is not set.
    at: [u32; 2],
    /// The next device in its list.
    next: u32,
}

impl Link {
    const UNSET: Self = Self { at: [u32::MAX; 2], next: NOBODY };

    const fn at_ns(self) -> u64 {
        (self.at[1] as u64) << 32 | self.at[0] as u64
    }

    const fn set(&mut self, at_ns: u64) {
        self.at = [at_ns as u32, (at_ns >> 32) as u32];
    }
}

/// A ring of lists and a bitmap of those that are not empty.
#[derive(Clone, Debug)]
struct Ring {
    head: Box<[u32]>,
    occupied: Box<[u64]>,
}

impl Ring {
    fn new(bits: u32) -> Self {
        let slots = 1 << bits;
        Self { head: vec![NOBODY; slots].into(), occupied: vec![0; slots / 64].into() }
    }

    fn slot(&self, absolute: u64) -> usize {
        absolute as usize & (self.head.len() - 1)
    }

    /// Puts a device at the front of a list and returns which one it was put before.
    fn push(&mut self, absolute: u64, device: u32) -> u32 {
        let slot = self.slot(absolute);
        self.occupied[slot / 64] |= 1 << (slot % 64);
        std::mem::replace(&mut self.head[slot], device)
    }

    /// Empties a list and returns its first device.
    fn take(&mut self, absolute: u64) -> u32 {
        let slot = self.slot(absolute);
        self.occupied[slot / 64] &= !(1 << (slot % 64));
        std::mem::replace(&mut self.head[slot], NOBODY)
    }

    /// The first slot at or after `from`, within one round, whose list is not empty.
    fn next_occupied(&self, from: u64) -> Option<u64> {
        let start = self.slot(from);
        let words = self.occupied.len();
        for step in 0..=words {
            let word = (start / 64 + step) % words;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= !0 << (start % 64);
            } else if step == words {
                bits &= !(!0 << (start % 64));
            }
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                let ahead = slot.wrapping_sub(start) & (self.head.len() - 1);
                return Some(from + ahead as u64);
            }
        }
        None
    }
}

impl Wheel {
    /// A wheel without alarms.
    pub fn new(devices: u32) -> Self {
        Self {
            links: vec![Link::UNSET; devices as usize],
            fine: Ring::new(FINE_BITS),
            coarse: Ring::new(COARSE_BITS),
            next_tick: 0,
            first_tick: 0,
            undealt: None,
            open: Vec::new(),
            rung: 0,
            lists: Vec::new(),
            late: BinaryHeap::new(),
            pending: 0,
        }
    }

    /// How many alarms are set.
    pub fn len(&self) -> usize {
        self.pending
    }

    /// Whether no alarm is set.
    pub fn is_empty(&self) -> bool {
        self.pending == 0
    }

    /// Sets a device's alarm, in place of the one it may have. One for the past rings next, one for
    /// [`Moment::FAR`] never. A device beyond those of [`Wheel::new`] has no alarm to set.
    pub fn set(&mut self, device: u32, at: Moment) {
        self.cancel(device);
        let (Some(own), true) = (self.links.get_mut(device as usize), at < Moment::FAR) else { return };
        own.set(at.as_nanos());
        self.pending += 1;
        self.place(device, at.as_nanos());
    }

    /// Unsets a device's alarm. Takes as long as the list that it is in.
    pub fn cancel(&mut self, device: u32) {
        let Some(link) = self.links.get_mut(device as usize) else { return };
        let at_ns = link.at_ns();
        if at_ns == NEVER {
            return;
        }
        link.set(NEVER);
        self.pending -= 1;
        // Entries of the open slot are passed over when their turn comes.
        let tick = at_ns >> TICK_BITS;
        if tick >= self.next_tick && !self.unlink(device, tick, false) {
            self.unlink(device, tick >> COARSE_TICK_BITS, true);
        }
    }

    /// Takes the next alarm that rings before or at `until`: the earliest one, of several the lowest device.
    pub fn pop(&mut self, until: Moment) -> Option<(Moment, u32)> {
        loop {
            let open = self.open.get(self.rung).map(|&entry| {
                let (offset_ns, device) = (entry >> 32, entry as u32);
                ((self.first_tick << TICK_BITS) + offset_ns, device)
            });
            let late = self.late.peek().map(|&Reverse(entry)| entry);
            let (at_ns, device) = match (open, late) {
                (None, None) => {
                    if self.pending == 0 || !self.advance(until.as_nanos() >> TICK_BITS) {
                        return None;
                    }
                    continue;
                }
                (Some(open), late) if late.is_none_or(|late| open <= late) => {
                    if open.0 > until.as_nanos() {
                        return None;
                    }
                    self.rung += 1;
                    open
                }
                (_, Some(late)) if late.0 > until.as_nanos() => return None,
                (_, Some(late)) => {
                    self.late.pop();
                    late
                }
                // The second arm takes every open alarm without a late one.
                (Some(_), None) => return None,
            };
            // What was set anew or unset since then is a leftover.
            let link = &mut self.links[device as usize];
            if link.at_ns() == at_ns {
                link.set(NEVER);
                self.pending -= 1;
                return Some((Moment::from_nanos(at_ns), device));
            }
        }
    }

    /// The devices that ring next, as far as it is known; empty unless the last alarm was the first of such a group.
    /// A driver can get their memory while it does something else. They may ring later than that, or not at all.
    pub fn upcoming(&self) -> impl Iterator<Item = u32> {
        let group = if self.rung % WINDOW == 1 {
            &self.open[self.rung - 1..self.open.len().min(self.rung - 1 + WINDOW)]
        } else {
            &[]
        };
        group.iter().map(|&entry| entry as u32)
    }

    fn place(&mut self, device: u32, at_ns: u64) {
        let tick = at_ns >> TICK_BITS;
        if tick < self.next_tick {
            self.late.push(Reverse((at_ns, device)));
        } else if tick - self.next_tick < 1 << FINE_BITS {
            self.links[device as usize].next = self.fine.push(tick, device);
        } else {
            let coarse = tick >> COARSE_TICK_BITS;
            self.links[device as usize].next = self.coarse.push(coarse, device);
            // One of a later round is met at its slot's next turn, and dealt again.
            self.undealt = Some(self.undealt.map_or(coarse, |undealt| undealt.min(coarse)));
        }
    }

    /// Opens the next fine slots that have alarms, if the first is at most `until_tick`.
    fn advance(&mut self, until_tick: u64) -> bool {
        self.open.clear();
        self.rung = 0;
        // A whole fleet can ring at once; that memory is not needed again.
        self.open.shrink_to(1 << 14);
        self.late.shrink_to(1 << 14);
        loop {
            let fine = self.fine.next_occupied(self.next_tick);
            let coarse = self.undealt;
            let dealt_at = coarse.map(|coarse| coarse << COARSE_TICK_BITS);
            match (fine, dealt_at) {
                (Some(fine), dealt_at) if dealt_at.is_none_or(|dealt_at| fine < dealt_at) => {
                    if fine > until_tick {
                        return false;
                    }
                    self.open(fine, dealt_at.unwrap_or(u64::MAX).min(until_tick.saturating_add(1)));
                    return true;
                }
                (_, Some(dealt_at)) => {
                    if dealt_at > until_tick {
                        return false;
                    }
                    // The fine slots before it are empty or open: standing there, the whole coarse one fits the ring.
                    self.next_tick = self.next_tick.max(dealt_at);
                    self.deal(dealt_at >> COARSE_TICK_BITS);
                }
                (None, None) | (Some(_), None) => return false,
            }
        }
    }

    /// Opens a fine slot and those that follow it and come before `end_tick`.
    fn open(&mut self, first: u64, end_tick: u64) {
        self.first_tick = first;
        let end_tick = end_tick.min(first + (1 << SPAN_BITS));
        let mut tick = Some(first);
        while let Some(slot) = tick.filter(|&slot| slot < end_tick && self.lists.len() < LISTS) {
            self.next_tick = slot + 1;
            self.lists.push(self.fine.take(slot));
            tick = self.fine.next_occupied(slot + 1);
        }
        let start_ns = first << TICK_BITS;
        while !self.lists.is_empty() {
            self.lists.retain_mut(|device| {
                let link = self.links[*device as usize];
                self.open.push((link.at_ns() - start_ns) << 32 | u64::from(*device));
                *device = link.next;
                link.next != NOBODY
            });
        }
        self.open.sort_unstable();
    }

    /// Deals the alarms of a coarse slot out to the fine ring.
    fn deal(&mut self, coarse: u64) {
        let mut device = self.coarse.take(coarse);
        self.undealt = self.coarse.next_occupied(coarse + 1);
        while device != NOBODY {
            let link = self.links[device as usize];
            self.place(device, link.at_ns());
            device = link.next;
        }
    }

    /// Takes a device out of a list; whether it was in it.
    fn unlink(&mut self, device: u32, absolute: u64, coarse: bool) -> bool {
        let ring = if coarse { &mut self.coarse } else { &mut self.fine };
        let slot = ring.slot(absolute);
        let mut before = NOBODY;
        let mut current = ring.head[slot];
        while current != NOBODY && current != device {
            before = current;
            current = self.links[current as usize].next;
        }
        if current == NOBODY {
            return false;
        }
        let following = self.links[device as usize].next;
        if before != NOBODY {
            self.links[before as usize].next = following;
        } else {
            ring.head[slot] = following;
            if following == NOBODY {
                ring.occupied[slot / 64] &= !(1 << (slot % 64));
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::Span;

    const DEVICES: u32 = 40;

    /// What a wheel must do, done the plain way.
    #[derive(Default)]
    struct Plain {
        heap: BinaryHeap<Reverse<(u64, u32)>>,
        at: std::collections::BTreeMap<u32, u64>,
    }

    impl Plain {
        fn set(&mut self, device: u32, at_ns: u64) {
            self.at.insert(device, at_ns);
            self.heap.push(Reverse((at_ns, device)));
        }

        fn pop(&mut self, until_ns: u64) -> Option<(u64, u32)> {
            while let Some(&Reverse((at_ns, device))) = self.heap.peek() {
                if self.at.get(&device) != Some(&at_ns) {
                    self.heap.pop();
                    continue;
                }
                if at_ns > until_ns {
                    return None;
                }
                self.heap.pop();
                self.at.remove(&device);
                return Some((at_ns, device));
            }
            None
        }
    }

    #[derive(Clone, Debug)]
    enum Move {
        Set(u32, u64),
        Cancel(u32),
        Pop(u64),
    }

    /// Delays of every kind: none, within a slot, within the fine ring, beyond it, beyond the coarse one.
    fn delay() -> impl Strategy<Value = u64> {
        prop_oneof![
            2 => Just(0),
            2 => 0..2_000_000u64,
            4 => 0..130_000_000_000u64,
            2 => 130_000_000_000..140_000_000_000u64,
            2 => 0..3_600_000_000_000u64,
            1 => 0..2_000_000_000_000_000u64,
        ]
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let one = prop_oneof![
            5 => (0..DEVICES, delay()).prop_map(|(device, ns)| Move::Set(device, ns)),
            1 => (0..DEVICES).prop_map(Move::Cancel),
            5 => delay().prop_map(Move::Pop),
        ];
        proptest::collection::vec(one, 1..400)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn a_wheel_rings_what_a_heap_rings(moves in moves()) {
            let mut wheel = Wheel::new(DEVICES);
            let mut plain = Plain::default();
            let mut now = 0;
            for step in moves {
                match step {
                    Move::Set(device, ns) => {
                        wheel.set(device, Moment::from_nanos(now + ns));
                        plain.set(device, now + ns);
                    }
                    Move::Cancel(device) => {
                        wheel.cancel(device);
                        plain.at.remove(&device);
                    }
                    Move::Pop(ns) => {
                        let until = now + ns;
                        let rung = wheel.pop(Moment::from_nanos(until)).map(|(at, device)| (at.as_nanos(), device));
                        prop_assert_eq!(rung, plain.pop(until));
                        now = rung.map_or(now, |(at_ns, _)| at_ns);
                    }
                }
                prop_assert_eq!(wheel.len(), plain.at.len());
            }
            while let Some((at, device)) = wheel.pop(Moment::FAR) {
                prop_assert_eq!(Some((at.as_nanos(), device)), plain.pop(u64::MAX));
            }
            prop_assert_eq!(plain.pop(u64::MAX), None);
        }

        #[test]
        fn the_order_of_setting_does_not_matter(mut alarms in proptest::collection::btree_map(0..DEVICES, 0..10u64, 1..40)) {
            let ring = |alarms: &mut dyn Iterator<Item = (u32, u64)>| {
                let mut wheel = Wheel::new(DEVICES);
                alarms.for_each(|(device, ns)| wheel.set(device, Moment::from_nanos(ns * 400_000)));
                std::iter::from_fn(move || wheel.pop(Moment::FAR)).collect::<Vec<_>>()
            };
            let forth = ring(&mut alarms.iter().map(|(device, ns)| (*device, *ns)));
            let back = ring(&mut std::mem::take(&mut alarms).into_iter().rev());
            prop_assert!(forth.is_sorted());
            prop_assert_eq!(forth, back);
        }
    }

    #[test]
    fn a_device_that_is_not_there_has_no_alarm() {
        let mut wheel = Wheel::new(1);
        wheel.set(1, Moment::START);
        wheel.cancel(7);
        wheel.set(0, Moment::FAR);
        assert!(wheel.is_empty());
        assert_eq!(wheel.pop(Moment::FAR), None);
    }

    #[test]
    fn an_alarm_of_a_later_round_waits_for_it() {
        let mut wheel = Wheel::new(2);
        let round = Span::from_nanos(1 << (TICK_BITS + COARSE_TICK_BITS + COARSE_BITS));
        let soon = Moment::START + Span::from_secs(3_600);
        wheel.set(0, soon + round);
        wheel.set(1, soon);
        assert_eq!(wheel.pop(Moment::FAR), Some((soon, 1)));
        assert_eq!(wheel.pop(soon + Span::from_secs(1)), None);
        assert_eq!(wheel.pop(Moment::FAR), Some((soon + round, 0)));
    }
}
