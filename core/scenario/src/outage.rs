//! What a mock's file says about times when the service is out of order.

use fleetstorm_model::service::{Failure, Outage};
use fleetstorm_units::Duration;
use fleetstorm_units::time::Moment;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A time during which the service answers with an error whatever it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutageFile {
    /// When it begins, from the start.
    #[serde(default = "nothing")]
    pub at: Duration,
    /// How long it lasts.
    #[serde(rename = "for")]
    pub lasts: Duration,
    /// What the service answers: 500 or 403.
    pub status: u16,
    /// The share of requests that meet it, above 0 and up to 1.
    #[serde(default = "all")]
    pub share: f64,
}

const fn nothing() -> Duration {
    Duration(fleetstorm_units::time::Span::ZERO)
}

const fn all() -> f64 {
    1.0
}

impl OutageFile {
    /// The outage that the service has.
    pub fn resolved(&self) -> Outage {
        let from = Moment::START + self.at.0;
        let failure = if self.status == 403 { Failure::Forbidden } else { Failure::Internal };
        Outage { from, until: from + self.lasts.0, failure, share: self.share }
    }

    /// What is wrong with it: the key and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String, &'static str)> {
        if !matches!(self.status, 403 | 500) {
            let help = "write 500 or 403: the other rows of the table have causes of their own";
            return Err(("status", format!("an outage that answers {}", self.status), help));
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Err(("share", format!("a share of {}", self.share), "shares are above 0 and up to 1"));
        }
        Ok(())
    }
}
