//! What a scenario says of a fault.

use std::fmt;
use std::str::FromStr;

use fleetstorm_protocol::{Operation, Transport};
use fleetstorm_units::Duration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::kind::FaultKind;
use crate::objective::{Comparison, Metric, Objective, Quantity};

/// A fault on the timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChaosFile {
    /// Its name in the report, which also keys its draws. Default: its kind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What goes wrong.
    pub fault: FaultKind,
    /// When it begins: a time since the run's start such as "60s", or what has to happen first, such as
    /// "assigned >= 30%".
    #[serde(default)]
    pub start: Start,
    /// How long it lasts. Default: until the run ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// Begin again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
    /// Grow and fade instead of switching on and off.
    #[serde(default, skip_serializing_if = "Ramp::is_flat")]
    pub ramp: Ramp,
    /// Whom it can hit. Default: everybody.
    #[serde(default, skip_serializing_if = "Select::is_everybody")]
    pub select: Select,
    /// Chance that it hits, from 0 to 1, drawn once for each `unit`. Default: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// What `probability` is drawn for. Needed with it: 5 % of the devices are not 5 % of the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// Hit only the first ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
    /// Which connections it hits.
    #[serde(default, skip_serializing_if = "AppliesTo::is_both")]
    pub applies_to: AppliesTo,
    /// Ceilings.
    #[serde(default, skip_serializing_if = "Limits::are_none")]
    pub limits: Limits,
    /// How long after its end the fleet may take to come back: to drain as fast as the quota lets it. Default: as long
    /// as it likes, unless it locks up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recover_within: Option<Duration>,
    /// How often it has to hit, or the run says nothing about it and does not pass. Default: once.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub min_fired: u64,
}

impl ChaosFile {
    /// A fault of this kind for the whole run, with all defaults.
    pub fn of(fault: FaultKind) -> Self {
        Self {
            name: String::new(),
            fault,
            start: Start::default(),
            duration: None,
            repeat: None,
            ramp: Ramp::default(),
            select: Select::default(),
            probability: None,
            unit: None,
            count: None,
            applies_to: AppliesTo::Both,
            limits: Limits::default(),
            recover_within: None,
            min_fired: once(),
        }
    }

    /// What it is called in a report.
    pub fn label(&self) -> &str {
        if self.name.is_empty() { self.fault.name() } else { &self.name }
    }
}

const fn once() -> u64 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_once(count: &u64) -> bool {
    *count == once()
}

/// When a fault begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// At this time since the start of the run.
    At(Duration),
    /// Once so many devices have their hub.
    Assigned(Quantity),
}

impl Default for Start {
    fn default() -> Self {
        Self::At(Duration(fleetstorm_units::time::Span::ZERO))
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => at.fmt(f),
            Self::Assigned(Quantity::Percent(percent)) => write!(f, "assigned >= {percent}%"),
            Self::Assigned(Quantity::Number(number)) => write!(f, "assigned >= {number}"),
            Self::Assigned(Quantity::Time(span)) => write!(f, "assigned >= {span}"),
        }
    }
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || {
            format!(
                "`{text}` is no start: write a time such as \"60s\", or an event such as \"assigned >= 30%\""
            )
        };
        if text.trim_start().starts_with(|c: char| c.is_ascii_digit()) {
            return text.parse().map(Self::At).map_err(|_| refuse());
        }
        match text.parse::<Objective>() {
            Ok(Objective {
                metric: Metric::Assigned,
                comparison: Comparison::AtLeast,
                bound: bound @ (Quantity::Percent(_) | Quantity::Number(_)),
                within: None,
                after: None,
                cohort: None,
            }) => Ok(Self::Assigned(bound)),
            // What is wrong with a bound is told as for an objective.
            Err(error) if text.trim_start().starts_with("assigned") => {
                Err(format!("`{text}` is no start: {} ({})", error.message, error.help))
            }
            _ => Err(refuse()),
        }
    }
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Start {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Start".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A time since the start of the run, or an event such as `assigned >= 30%`.",
            "examples": ["60s", "assigned >= 30%"],
        })
    }
}

/// A fault that begins again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// From one beginning to the next, jitter not counted; longer than the fault lasts.
    pub every: Duration,
    /// Each beginning is late by up to this much, drawn.
    #[serde(default = "no_time")]
    pub jitter: Duration,
    /// How often it begins. Default: until the run ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

const fn no_time() -> Duration {
    Duration(fleetstorm_units::time::Span::ZERO)
}

/// How a fault grows and fades: its probability, its delay or its distance from the usual is scaled from nothing to
/// all and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// From the beginning until it is there in full.
    #[serde(default = "no_time")]
    pub up: Duration,
    /// From the moment it begins to fade until it ends.
    #[serde(default = "no_time")]
    pub down: Duration,
}

impl Default for Ramp {
    fn default() -> Self {
        Self { up: no_time(), down: no_time() }
    }
}

impl Ramp {
    fn is_flat(&self) -> bool {
        *self == Self::default()
    }
}

/// Whom a fault can hit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Select {
    /// Only the device with this registration id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Only devices of this cohort.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cohort: Option<String>,
    /// Only this share of the devices, from 0 to 1: the same ones each time that the fault repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Only these calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<SelectOperation>,
    /// Only devices that speak this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Only what devices have to do with the provisioning service, or only what they have to do with their hubs. For
    /// faults of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
}

impl Select {
    fn is_everybody(&self) -> bool {
        *self == Self::default()
    }
}

/// Whom a device speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// The provisioning service.
    Dps,
    /// Its IoT hub.
    Hub,
}

/// A call of the device API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SelectOperation {
    /// Registrations.
    Register,
    /// Polls of a running assignment.
    Poll,
    /// Status lookups.
    Lookup,
}

impl From<SelectOperation> for Operation {
    fn from(operation: SelectOperation) -> Self {
        match operation {
            SelectOperation::Register => Self::Register,
            SelectOperation::Poll => Self::Poll,
            SelectOperation::Lookup => Self::Lookup,
        }
    }
}

/// What is counted, and what a chance is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// A device: it is hit for as long as the fault lasts, or not at all.
    Device,
    /// A connection of a device.
    Connection,
    /// A request, or an attempt to connect.
    Request,
    /// A packet, of either way: what `netem.loss` and `netem.reorder` hit, and nothing else can.
    Packet,
}

impl Unit {
    /// As a scenario spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Connection => "connection",
            Self::Request => "request",
            Self::Packet => "packet",
        }
    }
}

/// Only the first ones: "the first two of each device, then none".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// Counted from zero for each device, for each connection, or over all requests.
    pub per: Unit,
    /// So many are left alone first.
    #[serde(default)]
    pub skip: u32,
    /// Then so many are hit.
    pub first: u32,
}

/// Which connections a fault hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AppliesTo {
    /// All of them.
    #[default]
    Both,
    /// Those that were opened after it began.
    New,
    /// Those that were open when it began.
    Existing,
}

impl AppliesTo {
    fn is_both(&self) -> bool {
        *self == Self::Both
    }
}

/// Ceilings of a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most devices under the fault at once: a device that was hit counts until this occurrence of the fault ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<u32>,
    /// Most hits in the whole run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

impl Limits {
    fn are_none(&self) -> bool {
        *self == Self::default()
    }
}
