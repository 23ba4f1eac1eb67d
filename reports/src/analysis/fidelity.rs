//! How far a forecast is from what was measured, as `fidelity` writes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Conclusion;

/// How a forecast compares with what was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// How it ended.
    #[serde(default)]
    pub conclusion: Conclusion,
    /// Forecast divided by measurement: T50, T90, T99 and attempts per device; absent where either has none.
    pub ratios: BTreeMap<String, Option<f64>>,
    /// The least and the largest of these ratios over forecasts with other seeds: what chance alone makes of them.
    /// Absent without such forecasts, and where one of them has none.
    pub chance: BTreeMap<String, Option<[f64; 2]>>,
    /// The largest distance between the two curves of assigned devices, as a share of the fleet (as Kolmogorov and
    /// Smirnov measure it).
    pub curve_distance: f64,
    /// Endings of attempts by operation, status, code and fault: measured, forecast.
    pub codes: BTreeMap<String, (u64, u64)>,
    /// The largest relative error among the ratios; absent if one of them is. Smaller is better.
    pub score: Option<f64>,
    /// Whether the measured run could be trusted: one whose generator fell behind says little about the service.
    pub trusted: bool,
    /// The largest part of an error that chance does not explain: how far 1 lies outside of `chance`. Absent if one of
    /// them is.
    pub unexplained: Option<f64>,
}
