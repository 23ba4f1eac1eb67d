//! Faults of the network: what becomes of connections, and of what is sent on them.

use fleetstorm_protocol::outcome;

use super::file::Peer;
use super::form::{BlackholePhase, DnsFailure, ResetPhase, TlsFailure};
use super::kind::{FaultKind, of_amqp, of_fleet, of_http, of_mqtt, of_service};
use super::layer::Layer;
use super::rules::{Hit, Occasion, Rules};
use super::verdict::{Connecting, Cut, Exchanging, Sending};

impl From<TlsFailure> for outcome::Fault {
    fn from(failure: TlsFailure) -> Self {
        match failure {
            TlsFailure::Untrusted => Self::TlsUntrusted,
            TlsFailure::Expired => Self::TlsExpired,
            TlsFailure::WrongName => Self::TlsWrongName,
            TlsFailure::Cut => Self::Closed,
            TlsFailure::Alert => Self::TlsOther,
        }
    }
}

impl Rules {
    /// A device opens a connection.
    pub fn connect(&mut self, occasion: &Occasion) -> Connecting {
        let mut verdict = Connecting::default();
        let is_second = occasion.device % 2 == 1;
        let concerns = |kind: &FaultKind| match kind {
            FaultKind::FleetDuplicateIds => is_second,
            kind => is_about_connecting(kind),
        };
        self.each(occasion, concerns, |kind, hit| match kind {
            FaultKind::FleetDuplicateIds => verdict.in_the_name_of = occasion.device.checked_sub(1),
            kind => verdict.meet(kind, &hit),
        });
        verdict
    }

    /// A request sets out.
    pub fn send(&mut self, occasion: &Occasion) -> Sending {
        let mut verdict = Sending::default();
        self.each(occasion, is_about_sending, |kind, hit| verdict.meet(kind, &hit));
        verdict
    }

    /// A request is on its way.
    pub fn exchange(&mut self, occasion: &Occasion) -> Exchanging {
        let mut verdict = Exchanging::default();
        // What happens to the service does not happen to a hub.
        let here = |kind: &FaultKind| occasion.peer == Peer::Dps || kind.layer() == Layer::Network;
        let concerns = |kind: &FaultKind| is_about_exchanging(kind) && here(kind);
        self.each(occasion, concerns, |kind, _| verdict.meet(kind));
        verdict
    }

    /// A device opens a connection with its hub. Its CONNECT is part of that, so that a fault hits once.
    pub fn reach_hub(&mut self, occasion: &Occasion) -> (Connecting, Sending, Exchanging) {
        let mut verdict = (Connecting::default(), Sending::default(), Exchanging::default());
        let (connecting, sending, exchanging) = (&mut verdict.0, &mut verdict.1, &mut verdict.2);
        let concerns = |kind: &FaultKind| kind.layer() == Layer::Network && About::of(kind).any();
        self.each(occasion, concerns, |kind, hit| {
            if is_about_connecting(kind) {
                connecting.meet(kind, &hit);
            } else if is_about_sending(kind) {
                sending.meet(kind, &hit);
            } else {
                exchanging.meet(kind);
                // What was not let in yet has lost nothing.
                if let Some(Cut::Broke(_)) = exchanging.cut {
                    exchanging.cut = Some(Cut::Broke(outcome::Fault::Closed));
                }
            }
        });
        verdict
    }
}

impl Connecting {
    fn meet(&mut self, kind: &FaultKind, hit: &Hit) {
        let broke = |fault| Some(Cut::Broke(fault));
        let cut = match kind {
            FaultKind::NetLatency { delay } => {
                self.delay += delay.of(hit.bits).scale(hit.intensity);
                None
            }
            FaultKind::NetRefused => broke(outcome::Fault::Refused),
            FaultKind::NetDns { failure: DnsFailure::NoName } => broke(outcome::Fault::Dns),
            FaultKind::NetDns { failure: DnsFailure::Timeout } | FaultKind::NetBlackhole { .. } => {
                Some(Cut::Silence)
            }
            FaultKind::NetTls { failure } => broke((*failure).into()),
            FaultKind::NetReset { .. } => broke(outcome::Fault::Closed),
            _ => None,
        };
        self.cut = self.cut.or(cut);
    }
}

impl Sending {
    fn meet(&mut self, kind: &FaultKind, hit: &Hit) {
        match kind {
            FaultKind::NetLatency { delay } => self.delay += delay.of(hit.bits).scale(hit.intensity),
            FaultKind::NetBandwidth { bytes_per_s } => {
                self.bytes_per_s = Some(self.bytes_per_s.unwrap_or(u32::MAX).min(*bytes_per_s));
            }
            FaultKind::NetDrip { bytes, every } => self.drip = self.drip.or(Some((*bytes, every.0))),
            FaultKind::NetSlice { bytes } => self.slice = self.slice.or(Some(*bytes)),
            FaultKind::NetLimit { bytes } => {
                self.limit = Some(self.limit.unwrap_or(u32::MAX).min(*bytes));
            }
            FaultKind::NetSlowClose { delay } => {
                self.close_delay += delay.of(hit.bits).scale(hit.intensity);
            }
            _ => {}
        }
    }
}

impl Exchanging {
    fn meet(&mut self, kind: &FaultKind) {
        if self.cut.is_some() {
            return;
        }
        let (cut, reaches_service) = match kind {
            FaultKind::NetReset { phase: ResetPhase::AfterRequest | ResetPhase::MidResponse } => {
                (Cut::Broke(outcome::Fault::Lost), true)
            }
            FaultKind::NetBlackhole { phase: BlackholePhase::Answer } => (Cut::Silence, true),
            FaultKind::NetBlackhole { .. } => (Cut::Silence, false),
            _ => (Cut::Broke(outcome::Fault::Closed), false),
        };
        let torn = matches!(kind, FaultKind::NetReset { phase: ResetPhase::MidResponse });
        *self = Self { cut: Some(cut), reaches_service, torn };
    }
}

/// Which parts of a conversation a fault is about.
#[derive(Clone, Copy)]
struct About {
    connecting: bool,
    sending: bool,
    exchanging: bool,
}

impl About {
    const NONE: Self = Self { connecting: false, sending: false, exchanging: false };

    const fn of(kind: &FaultKind) -> Self {
        match kind {
            FaultKind::NetLatency { .. } => Self { connecting: true, sending: true, ..Self::NONE },
            FaultKind::NetRefused
            | FaultKind::NetDns { .. }
            | FaultKind::NetTls { .. }
            | FaultKind::NetReset { phase: ResetPhase::Accept }
            | FaultKind::NetBlackhole { phase: BlackholePhase::Connect } => {
                Self { connecting: true, ..Self::NONE }
            }
            FaultKind::NetBandwidth { .. }
            | FaultKind::NetDrip { .. }
            | FaultKind::NetSlice { .. }
            | FaultKind::NetLimit { .. }
            | FaultKind::NetSlowClose { .. } => Self { sending: true, ..Self::NONE },
            FaultKind::NetReset { .. } | FaultKind::NetBlackhole { .. } => {
                Self { exchanging: true, ..Self::NONE }
            }
            FaultKind::NetemLoss { .. } | FaultKind::NetemDelay { .. } | FaultKind::NetemReorder { .. } => {
                Self::NONE
            }
            of_service!() => {
                Self { exchanging: matches!(kind, FaultKind::ServiceFailover { .. }), ..Self::NONE }
            }
            of_http!() | of_mqtt!() | of_amqp!() | of_fleet!() => Self::NONE,
        }
    }

    const fn any(self) -> bool {
        self.connecting || self.sending || self.exchanging
    }
}

fn is_about_connecting(kind: &FaultKind) -> bool {
    About::of(kind).connecting
}

fn is_about_sending(kind: &FaultKind) -> bool {
    About::of(kind).sending
}

fn is_about_exchanging(kind: &FaultKind) -> bool {
    About::of(kind).exchanging
}
