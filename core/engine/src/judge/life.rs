//! What objectives about the life after provisioning observe.

use fleetstorm_model::objective::{Metric, Objective};
use fleetstorm_reports::Record;
use fleetstorm_reports::record::Life;

use super::measure::{percent, share_or_number};

/// The observed value, or why there is none; `None` for a metric that is not about lives.
pub(super) fn observe(record: &Record, objective: &Objective) -> Option<Result<f64, String>> {
    let about: fn(&Life, &Objective) -> Result<f64, String> = match objective.metric {
        Metric::Online => online,
        Metric::CachedReconnects => |life, _| match life.reconnects {
            0 => Err("no device lost its hub and came back".to_owned()),
            all => Ok(percent(life.reconnects_cached, all)),
        },
        Metric::NeedlessRegisters => |life, _| match life.ever_online {
            0 => Err("no device was ever online".to_owned()),
            _ => Ok(life.registrations_needless as f64),
        },
        _ => return None,
    };
    Some(match &record.life {
        Some(life) => about(life, objective),
        None => Err("no cohort lives on: add [cohort.life]".to_owned()),
    })
}

/// Devices online at the end, at the end of a window, or the fewest of every second from one on.
fn online(life: &Life, objective: &Objective) -> Result<f64, String> {
    let second = |span: fleetstorm_units::time::Span| usize::try_from(span.as_secs()).unwrap_or(usize::MAX);
    let devices = match (objective.within, objective.after) {
        (_, Some(after)) => {
            let from = second(after);
            life.online.get(from..).and_then(|seconds| seconds.iter().min()).copied()
        }
        (Some(within), None) => {
            let at = second(within).saturating_sub(1).min(life.online.len().saturating_sub(1));
            life.online.get(at).copied()
        }
        (None, None) => u32::try_from(life.online_at_end).ok(),
    };
    let devices = devices.ok_or("the run ended before that time")?;
    Ok(share_or_number(u64::from(devices), life.devices, objective.bound))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::objective;
    use fleetstorm_reports::record::ObjectiveStatus;

    fn judged(text: &str, life: Option<Life>) -> (ObjectiveStatus, Option<f64>) {
        let record = Record { life, ..Record::empty() };
        let judged = objective::judge(&record, &text.parse().unwrap());
        (judged.status, judged.value)
    }

    #[test]
    fn online_is_that_of_the_end_of_a_moment_or_the_least_from_one_on() {
        let life = Life {
            devices: 10,
            online: vec![0, 4, 10, 9, 2, 7, 10],
            online_at_end: 10,
            ever_online: 10,
            reconnects: 8,
            reconnects_cached: 6,
            registrations_needless: 2,
            ..Life::default()
        };
        for (text, value) in [
            ("online >= 90%", 1.0),
            ("online == 4 within 2s", 4.0),
            ("online >= 90% within 1h", 1.0),
            ("online >= 20% after 3s", 0.2),
            ("cached_reconnects >= 75%", 0.75),
            ("needless_registers <= 2", 2.0),
        ] {
            assert_eq!(judged(text, Some(life.clone())), (ObjectiveStatus::Passed, Some(value)), "{text}");
        }
        assert_eq!(judged("online >= 90% after 3s", Some(life)).0, ObjectiveStatus::Failed);
    }

    #[test]
    fn without_lives_or_without_what_they_are_about_there_is_no_data() {
        let still = Life { devices: 10, ..Life::default() };
        for text in ["cached_reconnects >= 99%", "needless_registers == 0", "online >= 1% after 1s"] {
            assert_eq!(judged(text, Some(still.clone())).0, ObjectiveStatus::NoData, "{text}");
            assert_eq!(judged(text, None).0, ObjectiveStatus::NoData, "{text}");
        }
    }
}
