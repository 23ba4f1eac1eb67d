//! Whether what a scenario asks can be seen, and can go either way: an objective that cannot is a mistake of its author.

use fleetstorm_model::best_practice::BestPractice;
use fleetstorm_model::objective::{Comparison, Metric, Objective, Quantity, Timed, What};
use fleetstorm_model::phase::Phase;
use fleetstorm_protocol::Transport;
use fleetstorm_units::Duration;
use fleetstorm_units::time::Span;

use super::file::{Cohort, Scenario};

/// What is asked of a run of so many devices that ends at a horizon.
pub(crate) struct Question<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) devices: u32,
    pub(crate) horizon: Span,
}

/// What is wrong, and what to do.
type Complaint = (String, String);

impl Question<'_> {
    /// Why an objective cannot be judged, or can only come out in one way.
    pub(crate) fn complaint(&self, objective: &Objective) -> Option<Complaint> {
        self.cohort(objective)
            .or_else(|| self.window(objective))
            .or_else(|| self.occasion(objective))
            .or_else(|| self.bound(objective))
    }

    fn cohort(&self, objective: &Objective) -> Option<Complaint> {
        let name = objective.cohort.as_ref()?;
        let cohorts = &self.scenario.cohorts;
        if cohorts.iter().any(|cohort| cohort.name == *name) {
            return None;
        }
        let known: Vec<&str> = cohorts.iter().map(|cohort| &*cohort.name).collect();
        Some((format!("there is no cohort `{name}`"), format!("cohorts: {}", known.join(", "))))
    }

    fn window(&self, objective: &Objective) -> Option<Complaint> {
        let horizon = Duration(self.horizon);
        match (objective.within, objective.after) {
            (Some(within), _) if within > self.horizon => {
                let message =
                    format!("`within {}` is past the run, which ends at {horizon}", Duration(within));
                Some((message, format!("write `within {horizon}` or less, or a longer horizon")))
            }
            (Some(within), Some(after)) if after >= within => {
                let help = "write an `after` that is before `within`".to_owned();
                Some((format!("nothing is within {} and after {}", Duration(within), Duration(after)), help))
            }
            (_, Some(after)) if after >= self.horizon => {
                let message = format!("nothing comes after {}: the run ends at {horizon}", Duration(after));
                Some((message, "write an earlier `after`, or a longer horizon".to_owned()))
            }
            (Some(Span::ZERO), _) => Some((
                "nothing happens within no time".to_owned(),
                "write one such as `within 5m`".to_owned(),
            )),
            _ => None,
        }
    }

    /// What is measured needs devices that do it.
    fn occasion(&self, objective: &Objective) -> Option<Complaint> {
        let any = |does: fn(&Cohort) -> bool| self.scenario.cohorts.iter().any(does);
        let speaks = |what: &str, protocols: &str| {
            let message = format!("`{what}` is never measured: no cohort speaks {protocols}");
            Some((message, "set a cohort's `transport`, or leave the objective out".to_owned()))
        };
        match objective.metric {
            Metric::Online
            | Metric::CachedReconnects
            | Metric::NeedlessRegisters
            | Metric::Broken(Some(BestPractice::ReconnectFirst))
            | Metric::Percentile(
                _,
                Timed::Phase(Phase::HubConnect | Phase::TimeToOnline | Phase::Reconnect),
            ) if !any(|cohort| cohort.life.is_some()) => {
                let message = format!("`{}` is never measured: no device goes to its hub", objective.metric);
                Some((message, "give a cohort a `life`".to_owned()))
            }
            Metric::Percentile(_, Timed::Phase(phase @ (Phase::Connack | Phase::Subscribe)))
                if !any(|cohort| cohort.transport.is_mqtt()) =>
            {
                speaks(phase.name(), "MQTT")
            }
            Metric::Percentile(_, Timed::Phase(phase @ (Phase::Sasl | Phase::Attach)))
                if !any(|cohort| matches!(cohort.transport, Transport::Amqp | Transport::AmqpWs)) =>
            {
                speaks(phase.name(), "AMQP")
            }
            Metric::Percentile(_, Timed::Phase(phase @ Phase::Websocket))
                if !any(|cohort| matches!(cohort.transport, Transport::MqttWs | Transport::AmqpWs)) =>
            {
                speaks(phase.name(), "WebSocket")
            }
            Metric::Percentile(_, Timed::Phase(phase @ Phase::Lookup))
                if any(|cohort| cohort.transport.authenticates_connections())
                    && !any(|cohort| !cohort.transport.authenticates_connections()) =>
            {
                speaks(phase.name(), "HTTPS")
            }
            Metric::Rate(What::Status(status)) | Metric::Count(What::Status(status))
                if !(100..600).contains(&status) =>
            {
                Some((format!("there is no HTTP status {status:03}"), "statuses are 100 to 599".to_owned()))
            }
            _ => None,
        }
    }

    /// A bound that every run keeps, or none.
    fn bound(&self, objective: &Objective) -> Option<Complaint> {
        let devices = f64::from(self.devices);
        let (bound, most) = match (&objective.metric, objective.bound) {
            (_, Quantity::Percent(percent)) => (percent, Some(100.0)),
            (Metric::Assigned | Metric::Stopped | Metric::Online, Quantity::Number(number)) => {
                (number, objective.cohort.is_none().then_some(devices))
            }
            (_, Quantity::Number(number)) => (number, None),
            (_, Quantity::Time(span)) => (span.as_secs_f64(), None),
        };
        let over = |than: fn(f64, f64) -> bool| most.is_some_and(|most| than(bound, most));
        let (above, at) = (over(|bound, most| bound > most), over(|bound, most| bound >= most));
        let (always, never) = match objective.comparison {
            Comparison::AtLeast => (bound <= 0.0, above),
            Comparison::More => (false, at),
            Comparison::AtMost => (at, false),
            Comparison::Less => (above, bound <= 0.0),
            Comparison::Equal => (false, above),
        };
        let all = if matches!(objective.bound, Quantity::Percent(_)) {
            "a share is 0% to 100%".to_owned()
        } else {
            format!("the fleet has {} devices", self.devices)
        };
        let (word, why) = match (always, never) {
            (true, _) => ("holds", "whatever happens"),
            (_, true) => ("cannot hold", "in any run"),
            _ => return None,
        };
        let help = if above || at { all } else { "nothing is below 0".to_owned() };
        Some((format!("it {word} {why}"), help))
    }
}
