//! What the verdict's one word stands for.

use crate::record::{ObjectiveStatus, VerdictResult};

/// The word, in lower case.
pub(crate) fn word(result: VerdictResult) -> &'static str {
    match result {
        VerdictResult::Passed => "passed",
        VerdictResult::Failed => "failed",
        VerdictResult::Vacuous => "no data",
        VerdictResult::Unknown => "unknown",
        VerdictResult::Untrusted => "untrusted",
        VerdictResult::Ceiling => "ceiling",
        VerdictResult::Interrupted => "interrupted",
    }
}

/// What a reader may conclude from it.
pub(crate) fn meaning(result: VerdictResult) -> &'static str {
    match result {
        VerdictResult::Passed => "Every objective held.",
        VerdictResult::Failed => "At least one objective did not hold.",
        VerdictResult::Vacuous => {
            "An objective had nothing to be judged by, or a fault hit less often than it had to: neither passes."
        }
        VerdictResult::Unknown => {
            "Nothing failed, and not all could be judged: see what is said of the faults."
        }
        VerdictResult::Untrusted => {
            "The machine that played the fleet could not keep up: the numbers say little about the target."
        }
        VerdictResult::Ceiling => "A safety ceiling ended the run before the fleet was done.",
        VerdictResult::Interrupted => {
            "The run was stopped by hand; the numbers cover what happened until then."
        }
    }
}

/// Whether an objective held, in lower case.
pub(crate) const fn held(status: ObjectiveStatus) -> &'static str {
    match status {
        ObjectiveStatus::Passed => "held",
        ObjectiveStatus::Failed => "failed",
        ObjectiveStatus::NoData => "no data",
    }
}
