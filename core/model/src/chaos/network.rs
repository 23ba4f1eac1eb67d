//! Faults of the network: what becomes of connections, and of what is sent on them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::FaultKind;
use super::rules::{Occasion, Rules};
use super::verdict::{Connecting, Cut, Exchanging, Sending};
use crate::outcome;

/// When in a connection's life it is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ResetPhase {
    /// As soon as it is accepted, before TLS.
    Accept,
    /// After the TLS handshake, before a request.
    AfterTls,
    /// After the request was sent: the service has it, and its answer is lost.
    AfterRequest,
    /// In the middle of the answer.
    MidResponse,
}

/// From when on nothing comes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BlackholePhase {
    /// From the beginning: the connection is never made.
    Connect,
    /// Requests vanish on their way to the service.
    Request,
    /// The service does its work, and its answers vanish: half of the connection is dead.
    Answer,
}

/// How a name does not resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DnsFailure {
    /// The server says at once that there is no such name, or that it cannot tell.
    NoName,
    /// The server does not answer.
    Timeout,
}

/// How TLS fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsFailure {
    /// The server's certificate leads to no trusted root.
    Untrusted,
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is for another name.
    WrongName,
    /// The handshake is cut off.
    Cut,
}

impl From<TlsFailure> for outcome::Fault {
    fn from(failure: TlsFailure) -> Self {
        match failure {
            TlsFailure::Untrusted => Self::TlsUntrusted,
            TlsFailure::Expired => Self::TlsExpired,
            TlsFailure::WrongName => Self::TlsWrongName,
            TlsFailure::Cut => Self::Closed,
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
        self.each(occasion, concerns, |kind, hit| {
            let broke = |fault| Some(Cut::Broke(fault));
            let cut = match kind {
                FaultKind::NetLatency { delay } => {
                    verdict.delay += delay.of(hit.bits).scale(hit.intensity);
                    None
                }
                FaultKind::NetRefused => broke(outcome::Fault::Refused),
                FaultKind::NetDns { failure: DnsFailure::NoName } => broke(outcome::Fault::Dns),
                FaultKind::NetDns { failure: DnsFailure::Timeout } | FaultKind::NetBlackhole { .. } => {
                    Some(Cut::Silence)
                }
                FaultKind::NetTls { failure } => broke((*failure).into()),
                FaultKind::NetReset { .. } => broke(outcome::Fault::Closed),
                FaultKind::FleetDuplicateIds => {
                    verdict.in_the_name_of = occasion.device.checked_sub(1);
                    None
                }
                _ => None,
            };
            verdict.cut = verdict.cut.or(cut);
        });
        verdict
    }

    /// A request sets out.
    pub fn send(&mut self, occasion: &Occasion) -> Sending {
        let mut verdict = Sending::default();
        self.each(occasion, is_about_sending, |kind, hit| match kind {
            FaultKind::NetLatency { delay } => verdict.delay += delay.of(hit.bits).scale(hit.intensity),
            FaultKind::NetBandwidth { bytes_per_s } => {
                verdict.bytes_per_s = Some(verdict.bytes_per_s.unwrap_or(u32::MAX).min(*bytes_per_s));
            }
            FaultKind::NetDrip { bytes, every } => {
                verdict.drip = verdict.drip.or(Some((*bytes, every.0)));
            }
            FaultKind::NetSlice { bytes } => verdict.slice = verdict.slice.or(Some(*bytes)),
            _ => {}
        });
        verdict
    }

    /// A request is on its way.
    pub fn exchange(&mut self, occasion: &Occasion) -> Exchanging {
        let mut verdict = Exchanging { cut: None, reaches_service: true, torn: false };
        self.each(occasion, is_about_exchanging, |kind, _| {
            if verdict.cut.is_some() {
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
            verdict = Exchanging { cut: Some(cut), reaches_service, torn };
        });
        verdict
    }
}

fn is_about_connecting(kind: &FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::NetLatency { .. }
            | FaultKind::NetRefused
            | FaultKind::NetDns { .. }
            | FaultKind::NetTls { .. }
            | FaultKind::NetReset { phase: ResetPhase::Accept }
            | FaultKind::NetBlackhole { phase: BlackholePhase::Connect }
    )
}

fn is_about_sending(kind: &FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::NetLatency { .. }
            | FaultKind::NetBandwidth { .. }
            | FaultKind::NetDrip { .. }
            | FaultKind::NetSlice { .. }
    )
}

fn is_about_exchanging(kind: &FaultKind) -> bool {
    match kind {
        FaultKind::NetReset { phase } => *phase != ResetPhase::Accept,
        FaultKind::NetBlackhole { phase } => *phase != BlackholePhase::Connect,
        FaultKind::ServiceFailover { .. } => true,
        _ => false,
    }
}
