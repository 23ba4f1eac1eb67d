//! How a run looked over time and from a device's place.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Series;

/// Latency over time: how many samples of a phase fell into which window and which bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Heat {
    /// `connect`, `register`, `poll` or `time-to-assigned`, however they ended.
    pub phase: String,
    /// The edges of the buckets in microseconds, one more than there are rows: four to a doubling.
    pub edges_us: Vec<u64>,
    /// One row a bucket, the fastest first; one count a window.
    pub rows: Vec<Vec<u32>>,
}

/// Where the time of one device went, from its intended boot to its hub. The parts add up to the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Journey {
    /// Which device of those that got a hub, by the time that took: `p50`, `p90`, `p99` or `p99.9`.
    pub quantile: String,
    /// Its number in the fleet.
    pub device: u32,
    /// Its registration id.
    pub name: String,
    /// Attempts that it took.
    pub attempts: u32,
    /// All of it.
    pub total_ns: u64,
    /// Before its first attempt: what its strategy made it wait.
    pub admission_ns: u64,
    /// Opening connections, without what `tls_ns` names: name resolution, TCP, the transport's greeting.
    pub connect_ns: u64,
    /// TLS handshakes.
    pub tls_ns: u64,
    /// From register and lookup requests to their answers.
    pub register_ns: u64,
    /// From polls to their answers.
    pub poll_ns: u64,
    /// Waiting for the next poll, as the service asked.
    pub polling_ns: u64,
    /// Waiting after failures, as the strategy chose.
    pub back_off_ns: u64,
    /// The generator was late.
    pub lag_ns: u64,
}

/// Whether retries fell together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HerdIndex {
    /// Register and lookup requests that were not their device's first.
    pub retries: u64,
    /// Rayleigh's R of them, the largest over whole seconds up to 120 and to a quarter of the time that retries took: 0 is
    /// no rhythm, 1 is lockstep. A load that fades has no peak at any period and counts as none. Absent with less than two.
    pub synchrony: Option<f64>,
    /// The period of that R in seconds.
    pub period_s: u32,
    /// Share of them in the fullest 100 ms.
    pub fullest_share: Option<f64>,
    /// When those 100 ms began.
    pub fullest_ns: u64,
    /// The retries folded on the period: one count for each of equally long parts of it.
    pub folded: Vec<u32>,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            step_s: 1,
            intended: Vec::new(),
            sent: Vec::new(),
            accepted: Vec::new(),
            throttled: Vec::new(),
            failed: Vec::new(),
            assigned: Vec::new(),
            in_flight: Vec::new(),
            registers: Vec::new(),
            first: Vec::new(),
            booted: Vec::new(),
        }
    }
}
