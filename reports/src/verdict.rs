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
            "There was no objective, or one had nothing to be judged by, or a fault hit less often than it had to: none of \
             these passes."
        }
        VerdictResult::Unknown => {
            "Nothing failed, and not all could be judged: devices never got their turn, or it was not seen what becomes of \
             the fleet after a fault."
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

/// What is to be said of a run without an objective.
pub(crate) const NO_OBJECTIVE: &str = "nothing was judged: the scenario has no objective";

/// Whether an objective held, in lower case.
pub(crate) const fn held(status: ObjectiveStatus) -> &'static str {
    match status {
        ObjectiveStatus::Passed => "held",
        ObjectiveStatus::Failed => "failed",
        ObjectiveStatus::NoData => "no data",
        ObjectiveStatus::Undecided => "undecided",
    }
}
