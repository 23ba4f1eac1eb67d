//! Faults on a timeline: a rule and an occasion give a verdict.
//!
//! A scenario lists faults ([`ChaosFile`]); [`Timeline`] is the list made ready for one fleet, shared by everybody who
//! takes part in a run. Whoever stands between a device and the service (the connect path, the doors, the service
//! machine, the host of a device) holds [`Rules`] and asks them about an [`Occasion`]; what comes back is a plain value
//! that says what to do. Nothing here acts, waits or knows a driver, so a fault means the same on every clock.
//!
//! Every draw is keyed by (seed, name of the fault, device, count): taking a fault out leaves the others' draws as they
//! were, and the order of execution changes nothing.

mod amqp;
mod door;
mod file;
mod fleet;
mod form;
mod hub_state;
mod kind;
mod layer;
mod naming;
mod network;
mod packets;
mod protocol;
mod retry_after;
mod rules;
mod service;
mod tally;
mod timeline;
mod verdict;

pub use door::DoorStep;
pub use file::{
    AppliesTo, ChaosFile, Count, Limits, Peer, Ramp, Repeat, Select, SelectOperation, Start, Unit,
};
pub use form::{
    AmqpAwaited, AmqpCutAfter, AmqpDetachAfter, Awaited, BlackholePhase, BodyDamage, CorrelationForm,
    CutAfter, DnsFailure, OrderForm, ReleaseForm, ResetPhase, RetryAfterForm, RidForm, TlsFailure, TopicForm,
};
pub use hub_state::HubState;
pub use kind::FaultKind;
pub use layer::Layer;
pub use naming::Naming;
pub use packets::{PacketCounts, Packets, burst_begins};
pub use protocol::Misspelt;
pub use retry_after::RetryAfterText;
pub use rules::{Occasion, Rules};
pub use tally::{Tally, TallySnapshot};
pub use timeline::{Begin, Fault, Fleet, Timeline, Window};
pub use verdict::{Connecting, Cut, Deciding, Exchanging, Sending, Serving};
