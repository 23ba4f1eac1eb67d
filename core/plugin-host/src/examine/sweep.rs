//! The overflow sweep: attempt numbers that a device reaches after months, and those that no device reaches.

use fleetstorm_plugin::Attempt;

use super::{Check, Device, S, Subject, Verdict, throttled, told};
use crate::problem::PluginError;

/// The last failure in a row that is swept.
const SWEPT: u32 = 100_000;

/// Failures that are tried one by one; after them every 49th is. Shifts wrap within the first hundred, and a product
/// that has wrapped stays low for a share of all that follow.
const ONE_BY_ONE: u32 = 2_000;

/// A wait that falls below this share of an earlier one has wrapped around.
const COLLAPSE: f64 = 0.01;

/// Edges of 31 and 32 bits.
const EDGES: [u32; 8] = [
    (1 << 31) - 2,
    (1 << 31) - 1,
    1 << 31,
    (1 << 31) + 1,
    (1 << 31) + 31,
    u32::MAX - 32,
    u32::MAX - 1,
    u32::MAX,
];

const NAME: &str = "overflow";

pub(super) fn examine(subject: &Subject<'_>) -> Result<Check, PluginError> {
    let mut gives_up = None;
    // Both ends of the draw: jitter may hide a wrap at one of them.
    for random in [0, u64::MAX] {
        let retry = subject.make()?;
        // Waits of strategies that share a state rise and fall with it, and with time.
        let shares = retry.is_coordinated();
        let mut device = Device::new(&retry);
        let mut longest = 0u64;
        for failures in (1..=ONE_BY_ONE).chain((ONE_BY_ONE..=SWEPT).step_by(49)).chain(EDGES) {
            // Moments are not what is swept.
            device.now_ns %= 1_000_000 * S;
            let attempt = Attempt { random: [random, random], ..throttled(1, failures) };
            let wait = match device.fail(attempt) {
                Ok(decision) => decision.wait_ns(),
                Err(fault) => {
                    return Ok(Check::new(NAME, Verdict::Fail, format!("at failure {failures} {fault}")));
                }
            };
            let Some(wait) = wait else {
                gives_up.get_or_insert(failures);
                break;
            };
            if !shares && longest >= S && (wait as f64) < COLLAPSE * longest as f64 {
                let (before, now) = (told(longest), told(wait));
                let finding = format!(
                    "at failure {failures} the wait falls from {before} to {now}: its arithmetic wraps around"
                );
                return Ok(Check::new(NAME, Verdict::Fail, finding));
            }
            longest = longest.max(wait);
        }
    }
    Ok(match gives_up {
        Some(failures) => {
            Check::new(NAME, Verdict::Pass, format!("it gives up at failure {failures}; no overflow before"))
        }
        None => Check::new(NAME, Verdict::Pass, "no overflow up to 100,000 failures, nor near 2^31 and 2^32"),
    })
}
