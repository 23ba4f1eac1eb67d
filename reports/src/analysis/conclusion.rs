//! How a study ended, which is what its exit code and every form of it say.

use serde::{Deserialize, Serialize};

use crate::record::VerdictResult;

/// What came of what was asked for. Each outcome has one exit code, whichever command it is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was found, or holds.
    #[default]
    Passed,
    /// It does not hold, or cannot be had.
    Failed,
    /// There was nothing to judge by.
    NoData,
    /// What there is does not decide.
    Undecided,
    /// The generator was the limit, so that the numbers say little about the target.
    Untrusted,
    /// The later of two runs is worse.
    Regression,
    /// A safety ceiling ended it.
    Ceiling,
    /// It was stopped by hand.
    Interrupted,
}

impl Outcome {
    /// The exit code of a command whose work ended so.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 10,
            Self::NoData => 11,
            Self::Undecided | Self::Untrusted => 12,
            Self::Regression => 13,
            Self::Ceiling => 15,
            Self::Interrupted => 130,
        }
    }

    /// In lower case.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NoData => "no data",
            Self::Undecided => "undecided",
            Self::Untrusted => "untrusted",
            Self::Regression => "regression",
            Self::Ceiling => "ceiling",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether it came to its end before all of it was done.
    pub const fn is_partial(self) -> bool {
        matches!(self, Self::Interrupted | Self::Ceiling)
    }
}

impl From<VerdictResult> for Outcome {
    fn from(result: VerdictResult) -> Self {
        match result {
            VerdictResult::Passed => Self::Passed,
            VerdictResult::Failed => Self::Failed,
            VerdictResult::Vacuous => Self::NoData,
            VerdictResult::Unknown => Self::Undecided,
            VerdictResult::Untrusted => Self::Untrusted,
            VerdictResult::Ceiling => Self::Ceiling,
            VerdictResult::Interrupted => Self::Interrupted,
        }
    }
}

/// How a study ended: its outcome, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conclusion {
    /// What came of it.
    pub outcome: Outcome,
    /// Why, in words; empty where it passed.
    pub why: String,
    /// Runs that were made.
    pub runs: u64,
    /// Runs that the whole of it takes at most; 0 where that is not known.
    pub runs_max: u64,
}

impl Conclusion {
    /// Whether there is less than was asked for.
    pub const fn is_partial(&self) -> bool {
        self.outcome.is_partial()
    }

    /// What every form says first, where there is anything to be said: `PARTIAL` begins it if not all was done.
    pub fn notice(&self) -> Option<String> {
        let of = |most: u64| if most > 0 { format!(" of at most {most}") } else { String::new() };
        let why = if self.why.is_empty() { self.outcome.word() } else { &self.why };
        match self.outcome {
            Outcome::Passed => None,
            partial if partial.is_partial() => Some(format!(
                "PARTIAL: {} after {}{} runs. {why}",
                partial.word(),
                self.runs,
                of(self.runs_max)
            )),
            other => Some(format!("{}: {why}", other.word().to_uppercase())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_all_says_so_and_what_passed_says_nothing() {
        let ended = |outcome| Conclusion { outcome, why: "Nothing is known.".into(), runs: 3, runs_max: 12 };
        assert_eq!(ended(Outcome::Passed).notice(), None);
        let told = ended(Outcome::Interrupted).notice().unwrap();
        assert_eq!(told, "PARTIAL: interrupted after 3 of at most 12 runs. Nothing is known.");
        assert_eq!(ended(Outcome::NoData).notice().unwrap(), "NO DATA: Nothing is known.");
        let codes = [
            (Outcome::Passed, 0),
            (Outcome::Failed, 10),
            (Outcome::NoData, 11),
            (Outcome::Undecided, 12),
            (Outcome::Untrusted, 12),
            (Outcome::Regression, 13),
            (Outcome::Ceiling, 15),
            (Outcome::Interrupted, 130),
        ];
        assert!(codes.iter().all(|(outcome, code)| outcome.exit_code() == *code));
    }
}
