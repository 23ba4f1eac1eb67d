//! What was found, for a person and as a scenario file.

use std::fmt;

use fleetstorm_reports::record::Clock;

use super::{Failing, Shrunk};

impl Failing {
    /// As the record spells it.
    pub fn name(&self) -> &str {
        match self {
            Self::Objective(name) | Self::Fault(name) | Self::Guardrail(name) | Self::Practice(name) => name,
        }
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Objective(_) => "the objective",
            Self::Fault(_) => "coming back after",
            Self::Guardrail(_) => "the guardrail",
            Self::Practice(_) => "the practice",
        };
        write!(f, "{what} `{}`", self.name())
    }
}

impl Shrunk {
    /// The scenario as a file that says where it comes from.
    pub fn scenario_toml(&self) -> String {
        let clock = match self.clock {
            Clock::Wired => "wired",
            Clock::Virtual | Clock::Wall => "virtual",
        };
        let (faults, devices) = self.before;
        // Names may hold anything, and a comment ends with its line.
        let safe = |text: String| text.replace(char::is_control, " ");
        let head = safe(format!(
            "What is left of {faults} faults and {devices} devices that fails in {}.",
            self.failing
        ));
        let partial = match (self.complete, self.interrupted) {
            (true, _) => "",
            (false, true) => "# Partial: the search was interrupted, so less may do.\n",
            (false, false) => "# Partial: the search had no runs left, so less may do.\n",
        };
        format!(
            "# {head}\n{partial}# It failed with seed {} by `--clock {clock}`.\n\n{}",
            self.scenario.seed,
            self.scenario.concise()
        )
    }
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (faults, devices) = self.before;
        match (self.complete, self.interrupted) {
            (true, _) => {}
            (false, true) => writeln!(f, "PARTIAL: interrupted after {} runs.", self.runs)?,
            (false, false) => writeln!(f, "PARTIAL: there were no runs left (--runs).")?,
        }
        writeln!(
            f,
            "It fails in {} with {} of {faults} faults and {} of {devices} devices; {} runs{}",
            self.failing,
            self.scenario.chaos.len(),
            self.scenario.fleet.devices,
            self.runs,
            if self.complete { "." } else { ", and not all was tried." }
        )?;
        if self.without_faults {
            writeln!(
                f,
                "No fault is needed for that: look at the fleet, the quota and the objective itself."
            )?;
        }
        if self.steps.is_empty() {
            return writeln!(f, "Nothing could be taken away.");
        }
        writeln!(f, "Taken away:")?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step}"))
    }
}
