//! The two directions of a session with one link each: windows, credit, numbers, and messages in several parts (OASIS
//! AMQP 1.0, part 2, 2.5.6 and 2.6.7).

use std::borrow::Cow;

use super::frame::{HEADER_BYTES, write_amqp};
use super::performative::{Begin, Flow, Performative, Transfer, write};
use super::{Malformed, frame};
use crate::http::MESSAGE_MAX_BYTES;

/// Transfers that the peer may send before a flow has opened the window again. Credit runs out first.
pub(super) const WINDOW: u32 = 2_048;

/// Longest message that is put together: a body, and what stands around it.
const PUT_TOGETHER_MAX_BYTES: usize = MESSAGE_MAX_BYTES + 4 * 1024;

/// The shortest longest frame that a peer may ask for (2.3.1).
const FRAME_MIN_BYTES: u32 = 512;

/// A transfer with every field at its longest, without its message.
const TRANSFER_MAX_BYTES: usize = 64;

/// What this end sends.
#[derive(Debug)]
pub(super) struct Sending {
    /// This end's number of its link.
    pub(super) handle: u32,
    /// The number of the next transfer.
    next: u32,
    /// Transfers that the peer's window holds.
    window: u32,
    /// The number of the session's next delivery.
    delivery_id: u32,
    /// Messages sent on the link.
    delivery_count: u32,
    /// Messages that the peer wants.
    credit: u32,
    frame_max: u32,
}

impl Sending {
    pub(super) const fn new() -> Self {
        Self {
            handle: 0,
            next: 0,
            window: 0,
            delivery_id: 0,
            delivery_count: 0,
            credit: 0,
            frame_max: FRAME_MIN_BYTES,
        }
    }

    /// The peer takes frames of this length; `None` if it asks for less than it may.
    pub(super) fn frames(&mut self, max: u32) -> Option<()> {
        self.frame_max = max;
        (max >= FRAME_MIN_BYTES).then_some(())
    }

    /// The longest frame that the peer takes.
    pub(super) const fn frame_max(&self) -> u32 {
        self.frame_max
    }

    pub(super) fn begin(&mut self, begin: &Begin) {
        self.window = begin.incoming_window;
    }

    /// What a flow means to this direction; `ours` if it is about this end's link.
    pub(super) fn flow(&mut self, flow: &Flow, ours: bool) {
        let from = flow.next_incoming_id.unwrap_or(0);
        self.window = from.wrapping_add(flow.incoming_window).wrapping_sub(self.next);
        // A window that ends before what was sent already is closed.
        if self.window > flow.incoming_window {
            self.window = 0;
        }
        if ours {
            let wanted = flow.delivery_count.unwrap_or(0).wrapping_add(flow.link_credit.unwrap_or(0));
            self.credit = wanted.wrapping_sub(self.delivery_count);
            if self.credit > flow.link_credit.unwrap_or(0) {
                self.credit = 0;
            }
        }
    }

    /// The peer has attached its end of this end's link `handle`.
    pub(super) fn attach(&mut self, handle: u32) {
        self.handle = handle;
        // A link counts from its initial delivery count on, which is 0 here.
        (self.delivery_count, self.credit) = (0, 0);
    }

    /// Whether a message of so many bytes can be sent now.
    pub(super) fn ready(&self, bytes: usize) -> bool {
        self.credit > 0 && self.window as usize >= bytes.div_ceil(self.part_max()).max(1)
    }

    /// Longest part of a message in a frame.
    fn part_max(&self) -> usize {
        self.frame_max as usize - HEADER_BYTES - TRANSFER_MAX_BYTES
    }

    /// Sends a message, unsettled, in as many parts as it takes; its delivery number. Call only when [`Self::ready`].
    pub(super) fn send(&mut self, message: &[u8], out: &mut Vec<u8>) -> u32 {
        let (delivery_id, handle) = (self.delivery_id, self.handle);
        let tag = delivery_id.to_be_bytes();
        let mut rest = message;
        let mut first = true;
        loop {
            let (part, after) = rest.split_at(rest.len().min(self.part_max()));
            let transfer = Transfer {
                handle,
                delivery_id: first.then_some(delivery_id),
                delivery_tag: first.then_some(&tag[..]),
                settled: Some(false),
                more: !after.is_empty(),
                aborted: false,
                payload: part,
            };
            write_amqp(out, |out| write(&Performative::Transfer(transfer), out));
            self.next = self.next.wrapping_add(1);
            self.window = self.window.saturating_sub(1);
            (rest, first) = (after, false);
            if rest.is_empty() {
                break;
            }
        }
        self.delivery_id = self.delivery_id.wrapping_add(1);
        self.delivery_count = self.delivery_count.wrapping_add(1);
        self.credit = self.credit.saturating_sub(1);
        delivery_id
    }

    /// The numbers that a flow of this end begins with.
    fn numbers(&self) -> (u32, u32) {
        (self.next, u32::MAX)
    }
}

/// What this end receives.
#[derive(Debug)]
pub(super) struct Receiving {
    /// The peer's number of its link.
    pub(super) handle: Option<u32>,
    next: u32,
    /// Messages received: what the peer counts from its link's first count on.
    delivery_count: u32,
    credit: u32,
    credit_max: u32,
    /// The parts of a message that is not whole yet.
    partial: Option<Box<Partial>>,
}

#[derive(Debug)]
struct Partial {
    id: u32,
    settled: bool,
    message: Vec<u8>,
}

/// A message that has come whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Delivery<'a> {
    pub(super) id: u32,
    pub(super) settled: bool,
    pub(super) message: Cow<'a, [u8]>,
}

impl Receiving {
    pub(super) const fn new(credit_max: u32) -> Self {
        Self { handle: None, next: 0, delivery_count: 0, credit: 0, credit_max, partial: None }
    }

    pub(super) fn begin(&mut self, begin: &Begin) {
        self.next = begin.next_outgoing_id;
    }

    /// The peer's link, which sends.
    pub(super) fn attach(&mut self, handle: u32, initial_delivery_count: Option<u32>) {
        self.handle = Some(handle);
        self.delivery_count = initial_delivery_count.unwrap_or(0);
        self.credit = 0;
        self.partial = None;
    }

    pub(super) fn detach(&mut self) {
        self.handle = None;
        self.credit = 0;
        self.partial = None;
    }

    /// Takes a transfer; what it delivers, if it is the last part of a message.
    pub(super) fn take<'a>(&mut self, transfer: &Transfer<'a>) -> Result<Option<Delivery<'a>>, Malformed> {
        if self.handle != Some(transfer.handle) {
            return Err(Malformed::Type);
        }
        self.next = self.next.wrapping_add(1);
        let mut partial = match self.partial.take() {
            Some(partial) => partial,
            None => {
                let id = transfer.delivery_id.ok_or(Malformed::Missing)?;
                let settled = transfer.settled.unwrap_or(false);
                // A peer that sends what nobody asked for has no place to wait in.
                self.credit = self.credit.checked_sub(1).ok_or(Malformed::TooLong)?;
                self.delivery_count = self.delivery_count.wrapping_add(1);
                if !transfer.more && !transfer.aborted {
                    return Ok(Some(Delivery { id, settled, message: Cow::Borrowed(transfer.payload) }));
                }
                Box::new(Partial { id, settled, message: Vec::new() })
            }
        };
        if transfer.aborted {
            // An aborted message is settled: nobody hears of it again.
            return Ok(None);
        }
        partial.settled |= transfer.settled.unwrap_or(false);
        if partial.message.len() + transfer.payload.len() > PUT_TOGETHER_MAX_BYTES {
            return Err(Malformed::TooLong);
        }
        partial.message.extend_from_slice(transfer.payload);
        if transfer.more {
            self.partial = Some(partial);
            return Ok(None);
        }
        Ok(Some(Delivery { id: partial.id, settled: partial.settled, message: Cow::Owned(partial.message) }))
    }

    /// Asks for more messages once half of the credit is used up. `pending` messages were received and are not done
    /// with: they count as credit that is in use.
    pub(super) fn replenish(&mut self, pending: u32, sending: &Sending, handle: u32, out: &mut Vec<u8>) {
        let free = self.credit_max.saturating_sub(pending);
        if self.handle.is_some() && self.credit + pending <= self.credit_max / 2 && free > self.credit {
            self.credit = free;
            self.say(sending, Some(handle), out);
        }
    }

    /// Says where this end stands; about its link too, if `handle` is given.
    pub(super) fn say(&self, sending: &Sending, handle: Option<u32>, out: &mut Vec<u8>) {
        let (next_outgoing_id, outgoing_window) = sending.numbers();
        let flow = Flow {
            next_incoming_id: Some(self.next),
            incoming_window: WINDOW,
            next_outgoing_id,
            outgoing_window,
            handle,
            delivery_count: handle.map(|_| self.delivery_count),
            link_credit: handle.map(|_| self.credit),
            echo: false,
        };
        frame::write_amqp(out, |out| write(&Performative::Flow(flow), out));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame::{Unit, length};
    use super::super::performative::read;
    use super::*;

    /// The bodies of the frames in `bytes`.
    fn frames(bytes: &[u8], frame_max: usize) -> Vec<Vec<u8>> {
        let mut rest = bytes;
        let mut all = Vec::new();
        while let Some(size) = length(rest, frame_max).unwrap() {
            let (frame, after) = rest.split_at(size);
            let Ok(Unit::Amqp { body, .. }) = frame::read(frame) else { panic!("no frame") };
            all.push(body.to_vec());
            rest = after;
        }
        all
    }

    fn open_pair(frame_max: u32, credit: u32) -> (Sending, Receiving) {
        let begin = Begin {
            remote_channel: None,
            next_outgoing_id: 0,
            incoming_window: WINDOW,
            outgoing_window: 9,
            handle_max: 7,
        };
        let (mut sending, mut receiving) = (Sending::new(), Receiving::new(credit));
        sending.frames(frame_max).unwrap();
        sending.begin(&begin);
        receiving.begin(&begin);
        receiving.attach(0, Some(0));
        (sending, receiving)
    }

    /// Carries what `receiving` says to `sending`.
    fn tell(receiving: &mut Receiving, pending: u32, sending: &mut Sending) {
        let mut out = Vec::new();
        receiving.replenish(pending, &Sending::new(), 0, &mut out);
        for body in frames(&out, 512) {
            let Ok(Some(Performative::Flow(flow))) = read(&body) else { panic!("no flow") };
            sending.flow(&flow, true);
        }
    }

    #[test]
    fn nothing_is_sent_without_credit_and_nothing_taken_beyond_it() {
        let (mut sending, mut receiving) = open_pair(512, 4);
        assert!(!sending.ready(1));
        tell(&mut receiving, 0, &mut sending);
        let mut out = Vec::new();
        for _ in 0..4 {
            assert!(sending.ready(1));
            sending.send(b"x", &mut out);
        }
        assert!(!sending.ready(1));
        // One that does not care.
        sending.send(b"x", &mut out);
        let taken: Vec<bool> = frames(&out, 512)
            .iter()
            .map(|body| match read(body) {
                Ok(Some(Performative::Transfer(transfer))) => receiving.take(&transfer).is_ok(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(taken, [true, true, true, true, false]);
    }

    #[test]
    fn credit_comes_back_as_messages_are_done_with() {
        let (mut sending, mut receiving) = open_pair(512, 4);
        tell(&mut receiving, 0, &mut sending);
        let mut out = Vec::new();
        for _ in 0..4 {
            sending.send(b"x", &mut out);
        }
        for body in frames(&out, 512) {
            let Ok(Some(Performative::Transfer(transfer))) = read(&body) else { panic!("no transfer") };
            receiving.take(&transfer).unwrap();
        }
        for (pending, ready) in [(4, false), (3, false), (2, true)] {
            tell(&mut receiving, pending, &mut sending);
            assert_eq!(sending.ready(1), ready, "{pending} are not done with");
        }
    }

    #[test]
    fn a_window_that_is_shut_is_respected() {
        let (mut sending, _) = open_pair(512, 4);
        let flow = Flow { incoming_window: 1, link_credit: Some(9), ..Flow::default() };
        sending.flow(&flow, true);
        assert!(
            sending.ready(100) && !sending.ready(1_000),
            "a message of two parts does not fit into a window of one"
        );
        sending.send(b"x", &mut Vec::new());
        assert!(!sending.ready(1));
        sending.flow(&Flow { next_incoming_id: Some(1), ..flow }, false);
        assert!(sending.ready(1));
    }

    #[test]
    fn an_aborted_message_is_forgotten() {
        let (_, mut receiving) = open_pair(512, 4);
        receiving.replenish(0, &Sending::new(), 0, &mut Vec::new());
        let part = Transfer {
            handle: 0,
            delivery_id: Some(0),
            delivery_tag: None,
            settled: None,
            more: true,
            aborted: false,
            payload: b"a",
        };
        assert_eq!(receiving.take(&part), Ok(None));
        assert_eq!(receiving.take(&Transfer { aborted: true, more: false, ..part }), Ok(None));
        let whole = receiving.take(&Transfer { delivery_id: Some(1), more: false, payload: b"b", ..part });
        assert_eq!(whole, Ok(Some(Delivery { id: 1, settled: false, message: Cow::Borrowed(b"b") })));
    }

    #[test]
    fn a_message_without_an_end_is_refused() {
        let (_, mut receiving) = open_pair(512, 4);
        receiving.replenish(0, &Sending::new(), 0, &mut Vec::new());
        let payload = [0; 60_000];
        let part = Transfer {
            handle: 0,
            delivery_id: Some(0),
            delivery_tag: None,
            settled: None,
            more: true,
            aborted: false,
            payload: &payload,
        };
        assert_eq!(receiving.take(&part), Ok(None));
        assert_eq!(receiving.take(&part), Err(Malformed::TooLong));
    }

    proptest! {
        #[test]
        fn a_message_survives_being_cut_into_frames(message in proptest::collection::vec(any::<u8>(), 0..5_000), frame_max in 512..2_000u32) {
            let (mut sending, mut receiving) = open_pair(frame_max, 4);
            tell(&mut receiving, 0, &mut sending);
            prop_assert!(sending.ready(message.len()));
            let mut out = Vec::new();
            let id = sending.send(&message, &mut out);
            let bodies = frames(&out, frame_max as usize);
            let mut whole = None;
            for (index, body) in bodies.iter().enumerate() {
                let Ok(Some(Performative::Transfer(transfer))) = read(body) else { panic!("no transfer") };
                let taken = receiving.take(&transfer).unwrap();
                prop_assert_eq!(taken.is_some(), index + 1 == bodies.len());
                whole = taken.map(|delivery| (delivery.id, delivery.message.into_owned()));
            }
            prop_assert_eq!(whole, Some((id, message)));
            prop_assert_eq!(sending.next, receiving.next);
        }
    }
}
