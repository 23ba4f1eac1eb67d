//! How long the network and the service take, where no real ones do: the cost model of virtual time.

use fleetstorm_units::time::Span;
use fleetstorm_units::{Delay, Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Network and service times of a simulated run. The defaults are plausible, not measured; `calibrate` writes those
/// of a measured run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Opening a connection: name resolution, TCP and TLS together.
    pub connect: Delay,
    /// One way between a device and the service.
    pub hop: Delay,
    /// From a request's arrival at the service to its answer, a shaping queue not counted.
    pub service: Delay,
}

impl Default for Network {
    fn default() -> Self {
        let ms = |ms| Duration(Span::from_millis(ms));
        Self {
            connect: Delay::Lognormal { median: ms(100), sigma: 0.3, max: ms(5_000) },
            hop: Delay::Uniform { min: ms(10), max: ms(30) },
            service: Delay::Constant { delay: ms(5) },
        }
    }
}
