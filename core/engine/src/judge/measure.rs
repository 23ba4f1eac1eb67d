//! What objectives are measured in, and how it is written.

use fleetstorm_model::objective::{Objective, Quantity, What};
use fleetstorm_reports::record::Code;
use fleetstorm_units::number::Bounds;
use fleetstorm_units::time::Span;

/// A bound as it is written.
pub(super) fn written(bound: Quantity) -> f64 {
    match bound {
        Quantity::Percent(percent) => percent,
        Quantity::Number(number) => number,
        Quantity::Time(span) => span.as_secs_f64(),
    }
}

/// Whole seconds that a window covers.
pub(super) fn seconds(span: Span) -> usize {
    usize::try_from(span.as_nanos().div_ceil(1_000_000_000)).unwrap_or(usize::MAX)
}

pub(super) fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

pub(super) fn share_or_number(count: u64, of: u64, bound: Quantity) -> f64 {
    match bound {
        Quantity::Percent(_) => percent(count, of),
        Quantity::Number(_) | Quantity::Time(_) => count as f64,
    }
}

pub(super) fn is(code: &Code, what: What) -> bool {
    match what {
        // A challenge is a 401 of its own kind: no credential was refused.
        What::Status(status) => code.status == status && !code.is_challenge(),
        What::Code(wanted) => code.code == wanted,
        What::Fault(fault) => code.fault == fault.name(),
        What::Failed => code.status != 429 && !code.succeeded(),
    }
}

/// A value in the unit of its objective's bound, on its side of it.
pub(super) fn show(value: f64, objective: &Objective) -> String {
    let mut bounds = Bounds::default();
    match objective.bound {
        Quantity::Percent(percent) => {
            bounds.add_percent(percent);
            bounds.share(value)
        }
        Quantity::Time(span) => {
            bounds.add_nanos(span.as_nanos());
            bounds.nanos((value * 1e9).round() as u64)
        }
        Quantity::Number(number) => {
            bounds.add_number(number);
            bounds.number(value)
        }
    }
}
