//! What can go wrong.

use fleetstorm_protocol::amqp::{AmqpCondition, FrameForm};
use fleetstorm_units::{Delay, Duration, Offset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::form::{
    AmqpAwaited, AmqpCutAfter, AmqpDetachAfter, Awaited, BlackholePhase, BodyDamage, CorrelationForm,
    CutAfter, DnsFailure, OrderForm, PayloadDamage, ReleaseForm, ResetPhase, RetryAfterForm, RidForm,
    TlsFailure, TopicForm,
};
use super::hub_state::HubState;
use super::layer::Layer;
use super::retry_after::RetryAfterText;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", deny_unknown_fields)]
pub enum FaultKind {
    /// Connecting, and each request, takes longer.
    #[serde(rename = "net.latency")]
    NetLatency {
        /// By how much, drawn each time.
        delay: Delay,
    },
    /// A connection carries so many bytes a second at most, each way.
    #[serde(rename = "net.bandwidth")]
    NetBandwidth {
        /// At least 1.
        bytes_per_s: u32,
    },
    /// The peer resets the connection.
    #[serde(rename = "net.reset")]
    NetReset {
        /// When in its life.
        phase: ResetPhase,
    },
    /// Nothing comes any more, and nobody says why.
    #[serde(rename = "net.blackhole")]
    NetBlackhole {
        /// From when on.
        phase: BlackholePhase,
    },
    /// Answers drip in, a few bytes at a time.
    #[serde(rename = "net.drip")]
    NetDrip {
        /// Bytes at a time, at least 1.
        bytes: u32,
        /// From one drop to the next.
        every: Duration,
    },
    /// What is sent and received is cut into small pieces, which no parser may notice.
    #[serde(rename = "net.slice")]
    NetSlice {
        /// Bytes of a piece, at least 1.
        bytes: u32,
    },
    /// An answer breaks off: the connection ends once so many bytes have come since the request.
    #[serde(rename = "net.limit")]
    NetLimit {
        /// At least 1.
        bytes: u32,
    },
    /// The end of a connection is noticed late.
    #[serde(rename = "net.slow-close")]
    NetSlowClose {
        /// By so much.
        delay: Delay,
    },
    /// Nobody listens.
    #[serde(rename = "net.refused")]
    NetRefused,
    /// The name does not resolve.
    #[serde(rename = "net.dns")]
    NetDns {
        /// In which way.
        failure: DnsFailure,
    },
    /// The TLS handshake fails.
    #[serde(rename = "net.tls")]
    NetTls {
        /// In which way.
        failure: TlsFailure,
    },
    /// The kernel loses packets, of both ways. `probability` says how many.
    #[serde(rename = "netem.loss")]
    NetemLoss {
        /// So many packets are lost in a row, on average; at least 1. Default: each is lost on its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        burst: Option<f64>,
    },
    /// The kernel holds packets back, each way. What jitter does to packets also puts them into another order.
    #[serde(rename = "netem.delay")]
    NetemDelay {
        /// By so much; up to a minute.
        delay: Duration,
        /// It may be so much less or more, evenly; up to `delay`.
        #[serde(default = "no_spread")]
        jitter: Duration,
    },
    /// Packets overtake others: those that `probability` does not choose are held back.
    #[serde(rename = "netem.reorder")]
    NetemReorder {
        /// By so much; up to a minute.
        delay: Duration,
    },
    /// Every request is throttled: 429 whatever the quota says, and nothing is taken from the quota.
    #[serde(rename = "service.throttle")]
    ServiceThrottle {
        /// What `Retry-After` says: one of these, drawn; none by default. A number of seconds, `none`, `date+30`,
        /// `date-60`, `empty`, `negative`, `fraction`, `huge`, `repeated` or `garbage`.
        #[serde(default)]
        retry_after: Vec<RetryAfterText>,
    },
    /// Every request is answered with this status, and no work is done.
    #[serde(rename = "service.error")]
    ServiceError {
        /// From 300 to 599, such as 503.
        status: u16,
        /// As for `service.throttle`.
        #[serde(default)]
        retry_after: Vec<RetryAfterText>,
    },
    /// The quota is another one: what is saved up, what comes in and what fits are scaled alike.
    #[serde(rename = "service.quota")]
    ServiceQuota {
        /// 0.5 halves it, 2 doubles it.
        factor: f64,
    },
    /// The service is slow, and some of its answers never leave although the work is done.
    #[serde(rename = "service.brownout")]
    ServiceBrownout {
        /// How much longer an answer takes, drawn each time.
        delay: Delay,
        /// Share of the answers that never leave, from 0 to 1.
        #[serde(default)]
        lost: f64,
    },
    /// Registrations that are accepted stay in `assigning`.
    #[serde(rename = "service.stuck")]
    ServiceStuck {
        /// So much longer than usual; for ever by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held: Option<Duration>,
    },
    /// The service has forgotten the operation that is polled: 404.
    #[serde(rename = "service.operation-lost")]
    ServiceOperationLost,
    /// Assignments come to nothing.
    #[serde(rename = "service.assign-failed")]
    ServiceAssignFailed {
        /// The six-digit code of the failed registration.
        #[serde(default = "allocation_failed")]
        code: u32,
    },
    /// The service takes the enrollment for disabled.
    #[serde(rename = "service.disabled")]
    ServiceDisabled,
    /// No device is assigned to this hub, as if it were not linked: its devices go to the others.
    #[serde(rename = "service.hub-unlinked")]
    ServiceHubUnlinked {
        /// Its host name, as linked.
        hub: String,
    },
    /// A hub is in another state than its own: devices that connect find it so, connections that stand are closed when the
    /// fault begins, if the state closes any, and to one that is unlinked DPS assigns nobody.
    #[serde(rename = "service.hub-state")]
    ServiceHubState {
        /// Its host name, as linked.
        hub: String,
        /// `throttled`, `failing` or `unlinked`.
        state: HubState,
    },
    /// The service's clock is off, so that it judges tokens by another time.
    #[serde(rename = "service.clock")]
    ServiceClock {
        /// How far ahead of the truth it is; negative for behind.
        offset: Offset,
    },
    /// The primary key or certificate is not accepted any more.
    #[serde(rename = "service.key-rotation")]
    ServiceKeyRotation,
    /// The service's region fails and another one takes its name over: a connection that stood before breaks at its
    /// next request, and while this lasts there is less of a quota.
    #[serde(rename = "service.failover")]
    ServiceFailover {
        /// The quota of the other region, as a share of the usual one.
        #[serde(default = "half_of_it")]
        quota: f64,
    },
    /// A custom allocation takes long to say which hub: registrations that are accepted stay in `assigning`.
    #[serde(rename = "service.allocation-slow")]
    ServiceAllocationSlow {
        /// So much longer than usual, drawn each time.
        delay: Delay,
    },
    /// Another device registers under the same id at the same time and is first: 409 for as long as its assignment is
    /// under way.
    #[serde(rename = "service.duplicate-race")]
    ServiceDuplicateRace,
    /// A device that registers again is not given the hub that it had, if there is another one.
    #[serde(rename = "service.flip")]
    ServiceFlip,
    /// The body of an HTTP answer is damaged.
    #[serde(rename = "http.body")]
    HttpBody {
        /// In which way.
        damage: BodyDamage,
    },
    /// Something in front of the service answers HTTP requests with this status and a page of its own.
    #[serde(rename = "http.status")]
    HttpStatus {
        /// From 300 to 599, such as 502.
        status: u16,
    },
    /// HTTP answers say something else about when to come back.
    #[serde(rename = "http.retry-after")]
    HttpRetryAfter {
        /// One of these, drawn; as for `service.throttle`. None at all where the list is empty.
        #[serde(default)]
        retry_after: Vec<RetryAfterText>,
    },
    /// HTTP answers carry an error under the status 200, although the work is done.
    #[serde(rename = "http.error-200")]
    HttpError200,
    /// HTTP requests are sent to another host, with the status 307.
    #[serde(rename = "http.redirect")]
    HttpRedirect {
        /// Its name.
        to: String,
    },
    /// An HTTP connection that is kept is closed as soon as it is used again.
    #[serde(rename = "http.close-reuse")]
    HttpCloseReuse,
    /// MQTT answers do not name the request that they answer.
    #[serde(rename = "mqtt.rid")]
    MqttRid {
        /// In which way.
        form: RidForm,
    },
    /// MQTT answers come twice, the second time marked as a duplicate.
    #[serde(rename = "mqtt.duplicate")]
    MqttDuplicate,
    /// MQTT packets come in another order.
    #[serde(rename = "mqtt.order")]
    MqttOrder {
        /// In which one.
        form: OrderForm,
    },
    /// An MQTT packet that the client waits for never comes.
    #[serde(rename = "mqtt.drop")]
    MqttDrop {
        /// Which one.
        packet: Awaited,
    },
    /// MQTT connections are refused.
    #[serde(rename = "mqtt.connack")]
    MqttConnack {
        /// The return code: 1 to 5, or one that the protocol does not know.
        code: u8,
    },
    /// The MQTT door closes the connection.
    #[serde(rename = "mqtt.disconnect")]
    MqttDisconnect {
        /// After what.
        after: CutAfter,
    },
    /// The topics of MQTT answers are spelled otherwise, with the same meaning.
    #[serde(rename = "mqtt.topic")]
    MqttTopic {
        /// In which way.
        form: TopicForm,
    },
    /// The payload of an MQTT answer is damaged, although the work is done.
    #[serde(rename = "mqtt.body")]
    MqttBody {
        /// In which way.
        damage: PayloadDamage,
    },
    /// SUBACK grants something else.
    #[serde(rename = "mqtt.suback")]
    MqttSuback {
        /// 0, 1, or 128 for a refusal.
        code: u8,
    },
    /// Another MQTT client takes the device's name as it asks, which ends the device's connection.
    #[serde(rename = "mqtt.takeover")]
    MqttTakeover,
    /// The SASL layer of AMQP ends badly.
    #[serde(rename = "amqp.sasl")]
    AmqpSasl {
        /// The outcome: 1 for wrong credentials, 2 to 4 for trouble of the service, or one that the protocol does not
        /// know.
        code: u8,
    },
    /// What an AMQP client waits for never comes.
    #[serde(rename = "amqp.drop")]
    AmqpDrop {
        /// What.
        frame: AmqpAwaited,
    },
    /// The AMQP door ends the connection.
    #[serde(rename = "amqp.disconnect")]
    AmqpDisconnect {
        /// After what.
        after: AmqpCutAfter,
        /// The reason that a `close` gives; without one the connection is cut. Before `open` nobody can be told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        condition: Option<AmqpCondition>,
    },
    /// The AMQP door detaches the link that carries requests.
    #[serde(rename = "amqp.detach")]
    AmqpDetach {
        /// After what.
        after: AmqpDetachAfter,
        /// The reason.
        #[serde(default = "detach_forced")]
        condition: AmqpCondition,
    },
    /// AMQP answers come twice.
    #[serde(rename = "amqp.duplicate")]
    AmqpDuplicate,
    /// AMQP answers do not name the request that they answer.
    #[serde(rename = "amqp.correlation")]
    AmqpCorrelation {
        /// In which way.
        form: CorrelationForm,
    },
    /// AMQP answers come before the disposition of their request.
    #[serde(rename = "amqp.order")]
    AmqpOrder,
    /// AMQP requests are rejected without a word of the service, which is not asked.
    #[serde(rename = "amqp.reject")]
    AmqpReject {
        /// The reason.
        condition: AmqpCondition,
    },
    /// AMQP requests are given back, and the service is not asked.
    #[serde(rename = "amqp.release")]
    AmqpRelease {
        /// In which way.
        form: ReleaseForm,
    },
    /// `retry-after` over AMQP is spelled otherwise, with the same meaning.
    #[serde(rename = "amqp.retry-after")]
    AmqpRetryAfter {
        /// In which way.
        form: RetryAfterForm,
    },
    /// A frame that is wrong comes in place of an AMQP answer, although the work is done.
    #[serde(rename = "amqp.frame")]
    AmqpFrame {
        /// In which way.
        form: FrameForm,
    },
    /// The body of an AMQP answer is damaged, although the work is done. That of a refusal is what describes its error.
    #[serde(rename = "amqp.body")]
    AmqpBody {
        /// In which way.
        damage: PayloadDamage,
    },
    /// AMQP clients are granted no credit: they may not ask for anything.
    #[serde(rename = "amqp.credit")]
    AmqpCredit,
    /// Power goes off, and what a device held in memory is lost. It boots again when the power is back.
    #[serde(rename = "fleet.power-outage")]
    FleetPowerOutage {
        /// How long the power is off, from the fault's beginning.
        off: Duration,
        /// Boots are spread over so much time.
        #[serde(default = "no_spread")]
        reboot_spread: Duration,
        /// Share of the devices with a hub that remember it and do not come back to the service, from 0 to 1.
        #[serde(default = "all_of_them")]
        keep_cache: f64,
    },
    /// Devices with a hub forget it and come back to the service, without having lost their power.
    #[serde(rename = "fleet.cache-loss")]
    FleetCacheLoss {
        /// They come over so much time.
        #[serde(default = "no_spread")]
        spread: Duration,
    },
    /// A device reboots once the service has accepted its registration and before it asks how that went. It loses what it
    /// held in memory: its operation, and how often it had failed.
    #[serde(rename = "fleet.reboot")]
    FleetReboot {
        /// How long it is off.
        #[serde(default = "no_spread")]
        off: Duration,
        /// Boots are spread over so much more.
        #[serde(default = "no_spread")]
        reboot_spread: Duration,
    },
    /// Firmware that crashes: devices reboot when this begins, over the time of one crash, and again so long after each
    /// boot until it ends. They remember nothing.
    #[serde(rename = "fleet.firmware-loop")]
    FleetFirmwareLoop {
        /// From a boot to the crash.
        every: Duration,
    },
    /// Devices were made from one image: each device with an odd number goes by the id and the keys of the one before it,
    /// for every connection that it opens meanwhile.
    #[serde(rename = "fleet.duplicate-ids")]
    FleetDuplicateIds,
    /// Devices do not do what their strategy says: they come back after a fixed wait, whatever was answered.
    #[serde(rename = "fleet.no-back-off")]
    FleetNoBackOff {
        /// The wait.
        wait: Duration,
    },
    /// Devices count their failures from here instead of from zero, as if a counter had been restored wrongly.
    #[serde(rename = "fleet.counter")]
    FleetCounter {
        /// Added to the failures in a row that a strategy is told of.
        failures: u32,
    },
    /// All devices draw the same random numbers, as firmware with a fixed seed does.
    #[serde(rename = "fleet.equal-seeds")]
    FleetEqualSeeds,
    /// Devices' clocks are off by so much more than their cohort's; `-56y` is written in hours.
    #[serde(rename = "fleet.clock")]
    FleetClock {
        /// How far ahead; negative for behind.
        offset: Offset,
    },
}

fn allocation_failed() -> u32 {
    fleetstorm_protocol::code::ALLOCATION_FAILED
}

const fn no_spread() -> Duration {
    Duration(fleetstorm_units::time::Span::ZERO)
}

const fn all_of_them() -> f64 {
    1.0
}

const fn half_of_it() -> f64 {
    0.5
}

const fn detach_forced() -> AmqpCondition {
    AmqpCondition::DetachForced
}

// The kinds of each layer, as patterns. A match names the layers that it leaves to others, so that a kind which is added does
// not compile until each match of its layer says what it does.

macro_rules! of_network {
    () => {
        FaultKind::NetLatency { .. }
            | FaultKind::NetBandwidth { .. }
            | FaultKind::NetReset { .. }
            | FaultKind::NetBlackhole { .. }
            | FaultKind::NetDrip { .. }
            | FaultKind::NetSlice { .. }
            | FaultKind::NetLimit { .. }
            | FaultKind::NetSlowClose { .. }
            | FaultKind::NetRefused
            | FaultKind::NetDns { .. }
            | FaultKind::NetTls { .. }
            | FaultKind::NetemLoss { .. }
            | FaultKind::NetemDelay { .. }
            | FaultKind::NetemReorder { .. }
    };
}
pub(super) use of_network;

macro_rules! of_service {
    () => {
        FaultKind::ServiceThrottle { .. }
            | FaultKind::ServiceError { .. }
            | FaultKind::ServiceQuota { .. }
            | FaultKind::ServiceBrownout { .. }
            | FaultKind::ServiceStuck { .. }
            | FaultKind::ServiceOperationLost
            | FaultKind::ServiceAssignFailed { .. }
            | FaultKind::ServiceDisabled
            | FaultKind::ServiceHubUnlinked { .. }
            | FaultKind::ServiceHubState { .. }
            | FaultKind::ServiceClock { .. }
            | FaultKind::ServiceKeyRotation
            | FaultKind::ServiceFailover { .. }
            | FaultKind::ServiceAllocationSlow { .. }
            | FaultKind::ServiceDuplicateRace
            | FaultKind::ServiceFlip
    };
}
pub(super) use of_service;

macro_rules! of_http {
    () => {
        FaultKind::HttpBody { .. }
            | FaultKind::HttpStatus { .. }
            | FaultKind::HttpRetryAfter { .. }
            | FaultKind::HttpError200
            | FaultKind::HttpRedirect { .. }
            | FaultKind::HttpCloseReuse
    };
}
pub(super) use of_http;

macro_rules! of_mqtt {
    () => {
        FaultKind::MqttRid { .. }
            | FaultKind::MqttDuplicate
            | FaultKind::MqttOrder { .. }
            | FaultKind::MqttDrop { .. }
            | FaultKind::MqttConnack { .. }
            | FaultKind::MqttDisconnect { .. }
            | FaultKind::MqttTopic { .. }
            | FaultKind::MqttBody { .. }
            | FaultKind::MqttSuback { .. }
            | FaultKind::MqttTakeover
    };
}
pub(super) use of_mqtt;

macro_rules! of_amqp {
    () => {
        FaultKind::AmqpSasl { .. }
            | FaultKind::AmqpDrop { .. }
            | FaultKind::AmqpDisconnect { .. }
            | FaultKind::AmqpDetach { .. }
            | FaultKind::AmqpDuplicate
            | FaultKind::AmqpCorrelation { .. }
            | FaultKind::AmqpOrder
            | FaultKind::AmqpReject { .. }
            | FaultKind::AmqpRelease { .. }
            | FaultKind::AmqpRetryAfter { .. }
            | FaultKind::AmqpFrame { .. }
            | FaultKind::AmqpBody { .. }
            | FaultKind::AmqpCredit
    };
}
pub(super) use of_amqp;

macro_rules! of_fleet {
    () => {
        FaultKind::FleetPowerOutage { .. }
            | FaultKind::FleetCacheLoss { .. }
            | FaultKind::FleetReboot { .. }
            | FaultKind::FleetFirmwareLoop { .. }
            | FaultKind::FleetDuplicateIds
            | FaultKind::FleetNoBackOff { .. }
            | FaultKind::FleetCounter { .. }
            | FaultKind::FleetEqualSeeds
            | FaultKind::FleetClock { .. }
    };
}
pub(super) use of_fleet;

impl FaultKind {
    /// As a scenario spells it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NetLatency { .. } => "net.latency",
            Self::NetBandwidth { .. } => "net.bandwidth",
            Self::NetReset { .. } => "net.reset",
            Self::NetBlackhole { .. } => "net.blackhole",
            Self::NetDrip { .. } => "net.drip",
            Self::NetSlice { .. } => "net.slice",
            Self::NetLimit { .. } => "net.limit",
            Self::NetSlowClose { .. } => "net.slow-close",
            Self::NetRefused => "net.refused",
            Self::NetDns { .. } => "net.dns",
            Self::NetTls { .. } => "net.tls",
            Self::NetemLoss { .. } => "netem.loss",
            Self::NetemDelay { .. } => "netem.delay",
            Self::NetemReorder { .. } => "netem.reorder",
            Self::ServiceThrottle { .. } => "service.throttle",
            Self::ServiceError { .. } => "service.error",
            Self::ServiceQuota { .. } => "service.quota",
            Self::ServiceBrownout { .. } => "service.brownout",
            Self::ServiceStuck { .. } => "service.stuck",
            Self::ServiceOperationLost => "service.operation-lost",
            Self::ServiceAssignFailed { .. } => "service.assign-failed",
            Self::ServiceDisabled => "service.disabled",
            Self::ServiceHubUnlinked { .. } => "service.hub-unlinked",
            Self::ServiceHubState { .. } => "service.hub-state",
            Self::ServiceClock { .. } => "service.clock",
            Self::ServiceKeyRotation => "service.key-rotation",
            Self::ServiceFailover { .. } => "service.failover",
            Self::ServiceAllocationSlow { .. } => "service.allocation-slow",
            Self::ServiceDuplicateRace => "service.duplicate-race",
            Self::ServiceFlip => "service.flip",
            Self::HttpBody { .. } => "http.body",
            Self::HttpStatus { .. } => "http.status",
            Self::HttpRetryAfter { .. } => "http.retry-after",
            Self::HttpError200 => "http.error-200",
            Self::HttpRedirect { .. } => "http.redirect",
            Self::HttpCloseReuse => "http.close-reuse",
            Self::MqttRid { .. } => "mqtt.rid",
            Self::MqttDuplicate => "mqtt.duplicate",
            Self::MqttOrder { .. } => "mqtt.order",
            Self::MqttDrop { .. } => "mqtt.drop",
            Self::MqttConnack { .. } => "mqtt.connack",
            Self::MqttDisconnect { .. } => "mqtt.disconnect",
            Self::MqttTopic { .. } => "mqtt.topic",
            Self::MqttBody { .. } => "mqtt.body",
            Self::MqttSuback { .. } => "mqtt.suback",
            Self::MqttTakeover => "mqtt.takeover",
            Self::AmqpSasl { .. } => "amqp.sasl",
            Self::AmqpDrop { .. } => "amqp.drop",
            Self::AmqpDisconnect { .. } => "amqp.disconnect",
            Self::AmqpDetach { .. } => "amqp.detach",
            Self::AmqpDuplicate => "amqp.duplicate",
            Self::AmqpCorrelation { .. } => "amqp.correlation",
            Self::AmqpOrder => "amqp.order",
            Self::AmqpReject { .. } => "amqp.reject",
            Self::AmqpRelease { .. } => "amqp.release",
            Self::AmqpRetryAfter { .. } => "amqp.retry-after",
            Self::AmqpFrame { .. } => "amqp.frame",
            Self::AmqpBody { .. } => "amqp.body",
            Self::AmqpCredit => "amqp.credit",
            Self::FleetPowerOutage { .. } => "fleet.power-outage",
            Self::FleetCacheLoss { .. } => "fleet.cache-loss",
            Self::FleetReboot { .. } => "fleet.reboot",
            Self::FleetFirmwareLoop { .. } => "fleet.firmware-loop",
            Self::FleetDuplicateIds => "fleet.duplicate-ids",
            Self::FleetNoBackOff { .. } => "fleet.no-back-off",
            Self::FleetCounter { .. } => "fleet.counter",
            Self::FleetEqualSeeds => "fleet.equal-seeds",
            Self::FleetClock { .. } => "fleet.clock",
        }
    }

    /// Where it acts.
    pub const fn layer(&self) -> Layer {
        match self {
            of_network!() => Layer::Network,
            of_service!() => Layer::Service,
            of_http!() | of_mqtt!() | of_amqp!() => Layer::Protocol,
            of_fleet!() => Layer::Fleet,
        }
    }

    /// Whether it acts at a layer: at its own, and what is about connections at the network as well. Packets meet it in the
    /// kernel, where nobody asks.
    pub fn acts_at(&self, layer: Layer) -> bool {
        (self.layer() == layer && !self.is_about_packets())
            || (layer == Layer::Network
                && matches!(self, Self::ServiceFailover { .. } | Self::FleetDuplicateIds))
    }

    /// Whether it takes the power of devices at some moment, and with it what they hold in memory.
    pub const fn cuts_power(&self) -> bool {
        matches!(
            self,
            Self::FleetPowerOutage { .. }
                | Self::FleetCacheLoss { .. }
                | Self::FleetReboot { .. }
                | Self::FleetFirmwareLoop { .. }
        )
    }

    /// Whether it takes their power when it begins.
    pub const fn begins_with_a_cut(&self) -> bool {
        self.cuts_power() && !matches!(self, Self::FleetReboot { .. })
    }

    /// Whether it acts at bytes of a socket, which a simulation has not got.
    pub fn needs_bytes(&self) -> bool {
        matches!(
            self,
            Self::NetBandwidth { .. }
                | Self::NetDrip { .. }
                | Self::NetSlice { .. }
                | Self::NetLimit { .. }
                | Self::NetSlowClose { .. }
        ) || matches!(self.layer(), Layer::Protocol)
    }

    /// Whether it is about connecting or about what is sent, and so can tell connections apart.
    pub fn sees_connections(&self) -> bool {
        matches!(self.layer(), Layer::Network) && !self.is_about_packets()
    }

    /// Whether a kernel does it to packets, so that it knows neither devices nor requests.
    pub const fn is_about_packets(&self) -> bool {
        matches!(self, Self::NetemLoss { .. } | Self::NetemDelay { .. } | Self::NetemReorder { .. })
    }

    /// Whether it strikes before its device has asked for anything, so that it cannot tell operations apart.
    pub const fn comes_before_requests(&self) -> bool {
        matches!(
            self,
            Self::ServiceHubState { .. }
                | Self::MqttConnack { .. }
                | Self::MqttSuback { .. }
                | Self::MqttDrop { packet: Awaited::Connack | Awaited::Suback | Awaited::Pingresp }
                | Self::MqttDisconnect { after: CutAfter::Connect | CutAfter::Subscribe }
        ) || amqp_comes_before_requests(self)
    }
}

/// Whether a fault of the AMQP door strikes before its device has asked for anything.
const fn amqp_comes_before_requests(kind: &FaultKind) -> bool {
    match kind {
        FaultKind::AmqpSasl { .. } | FaultKind::AmqpCredit => true,
        FaultKind::AmqpDrop { frame } => !matches!(frame, AmqpAwaited::Disposition | AmqpAwaited::Answer),
        FaultKind::AmqpDisconnect { after, .. } => !matches!(after, AmqpCutAfter::Request),
        FaultKind::AmqpDetach { after, .. } => matches!(after, AmqpDetachAfter::Attach),
        FaultKind::AmqpDuplicate
        | FaultKind::AmqpCorrelation { .. }
        | FaultKind::AmqpOrder
        | FaultKind::AmqpReject { .. }
        | FaultKind::AmqpRelease { .. }
        | FaultKind::AmqpRetryAfter { .. }
        | FaultKind::AmqpFrame { .. }
        | FaultKind::AmqpBody { .. } => false,
        of_network!() | of_service!() | of_http!() | of_mqtt!() | of_fleet!() => false,
    }
}
