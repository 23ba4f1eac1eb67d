//! What is on its way to or from a device, in eight bytes.

use fleetstorm_model::service::{Answer, HubEvent, Ticket};
use fleetstorm_protocol::outcome::Fault;
use fleetstorm_protocol::{Operation, RetryAfter, code};

/// What a device's alarm will bring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Parcel {
    /// Power.
    Boot,
    /// Nothing but the time.
    Time,
    /// A connection that stands.
    Connection,
    /// A connection or a request that broke.
    Broken(Fault),
    /// The device's request, at the service.
    Request { expires_unix_secs: u32, operation: Operation, slot: u8 },
    /// 429 with a number of seconds.
    Throttled { retry_after_secs: u32 },
    /// The assignment is under way.
    Assigning { registration: u32 },
    /// The device has a hub.
    Assigned { registration: u32 },
    /// A rarer answer, by its place on the shelf.
    Shelved(u32),
    /// The device, at its hub's door.
    HubConnect { expires_unix_secs: u32, slot: u8 },
    /// The hub lets the device in.
    Welcome,
    /// The hub does not.
    HubFault(Fault),
    /// What a hub does to a connection that stands.
    News(HubEvent),
}

/// Answers that do not fit into a parcel.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    answers: Vec<Answer>,
    free: Vec<u32>,
}

impl Shelf {
    /// Packs the answer to device number `device`.
    pub(super) fn pack(&mut self, device: u32, answer: Answer) -> Parcel {
        match answer {
            Answer::Refused { code: code::THROTTLED, retry_after: RetryAfter::Seconds(retry_after_secs) } => {
                Parcel::Throttled { retry_after_secs }
            }
            Answer::Assigning(Ticket { record, registration }) if record == device => {
                Parcel::Assigning { registration }
            }
            Answer::Assigned(Ticket { record, registration }) if record == device => {
                Parcel::Assigned { registration }
            }
            other => Parcel::Shelved(match self.free.pop() {
                Some(place) => {
                    self.answers[place as usize] = other;
                    place
                }
                None => {
                    self.answers.push(other);
                    // There are no more answers than devices.
                    (self.answers.len() - 1) as u32
                }
            }),
        }
    }

    /// Unpacks what [`Shelf::pack`] packed; `None` for a parcel that holds no answer.
    pub(super) fn unpack(&mut self, device: u32, parcel: Parcel) -> Option<Answer> {
        let ticket = |registration| Ticket { record: device, registration };
        Some(match parcel {
            Parcel::Throttled { retry_after_secs } => {
                Answer::Refused { code: code::THROTTLED, retry_after: RetryAfter::Seconds(retry_after_secs) }
            }
            Parcel::Assigning { registration } => Answer::Assigning(ticket(registration)),
            Parcel::Assigned { registration } => Answer::Assigned(ticket(registration)),
            Parcel::Shelved(place) => {
                self.free.push(place);
                *self.answers.get(place as usize)?
            }
            Parcel::Boot
            | Parcel::Time
            | Parcel::Connection
            | Parcel::Broken(_)
            | Parcel::Request { .. }
            | Parcel::HubConnect { .. }
            | Parcel::Welcome
            | Parcel::HubFault(_)
            | Parcel::News(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_is_a_word_and_comes_out_as_it_went_in() {
        assert_eq!(size_of::<Parcel>(), 8);
        let mut shelf = Shelf::default();
        let ticket = |record| Ticket { record, registration: 3 };
        for answer in [
            Answer::Refused { code: code::THROTTLED, retry_after: RetryAfter::Seconds(9) },
            Answer::Refused { code: code::THROTTLED, retry_after: RetryAfter::Date(9) },
            Answer::Refused { code: code::UNAUTHORIZED, retry_after: RetryAfter::Absent },
            Answer::Assigning(ticket(5)),
            Answer::Assigning(ticket(6)),
            Answer::Assigned(ticket(5)),
            Answer::Known(ticket(5), true),
            Answer::Disabled,
        ] {
            let parcel = shelf.pack(5, answer);
            assert_eq!(shelf.unpack(5, parcel), Some(answer));
        }
        assert_eq!(shelf.answers.len(), 1, "a place is used again");
    }
}
