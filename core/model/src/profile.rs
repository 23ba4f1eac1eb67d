//! What a device should do, and what a fleet may cost: a policy profile.
//!
//! Microsoft's pages contradict each other, so none of this is code. A [`Profile`] is read from a TOML file; the one
//! that is built in is `ms-2025`, and a file of one's own says only what differs from it.

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::device::Reactions;
use crate::scenario::{Duration, Problem, Problems, Rate, describe};
use crate::time::Span;

/// The name of the built-in profile.
pub const MS_2025: &str = "ms-2025";

const MS_2025_TEXT: &str = include_str!("profile/ms-2025.toml");

/// A policy profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name in reports.
    pub name: String,
    /// Whose guidance it is, in one line.
    pub summary: String,
    /// What a device does when the provisioning service answers or fails.
    pub dps: Reactions,
    /// What a device that has an assignment does when its hub answers or fails.
    pub hub: HubReactions,
    /// What the documentation lets a fleet do.
    pub expected: Expected,
    /// Bounds of this project's own for what the documentation only names.
    pub bounds: Bounds,
    /// Where two pages contradict each other.
    #[serde(rename = "contradiction")]
    pub contradictions: Vec<Contradiction>,
}

/// What a device does after a failure at its hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HubReactions {
    /// To 429, or a connection that the hub held back until it closed it.
    pub throttled: HubReaction,
    /// To 5xx.
    pub server_error: HubReaction,
    /// To no connection, or none in time.
    pub unreachable: HubReaction,
    /// To the end of a connection that stood.
    pub disconnected: HubReaction,
    /// To 401.
    pub unauthorized: HubReaction,
    /// To 403.
    pub forbidden: HubReaction,
    /// To 404.
    pub not_found: HubReaction,
    /// To any other 4xx.
    pub client_bug: HubReaction,
    /// How long it waits between tries.
    pub back_off: HubBackOff,
    /// When it goes back to DPS although its hub would be tried again.
    pub return_to_dps: ReturnToDps,
}

/// What a device with an assignment does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HubReaction {
    /// Back off, then the same hub again.
    Cache,
    /// Back off, then ask DPS for the registration's status.
    Lookup,
    /// Back off, then register with DPS from the start.
    Register,
    /// Stop for a long time, and report.
    Park,
}

/// Exponential back-off at a hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HubBackOff {
    /// Before the first retry; it doubles from there.
    pub first_wait: Duration,
    /// The longest wait, before jitter.
    pub wait_max: Duration,
    /// Each wait is lengthened by up to this share of itself.
    pub jitter: f64,
}

/// When a device whose hub stays away goes back to DPS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnToDps {
    /// What decides.
    pub rule: ReturnRule,
    /// Least time that a device keeps trying.
    pub after_min: Duration,
    /// Most time: each device draws its own between the two.
    pub after_max: Duration,
    /// Failures in a row.
    pub failures: u32,
}

/// What sends a device back to DPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReturnRule {
    /// Time alone.
    After,
    /// Failures in a row alone.
    Failures,
    /// Whichever comes first.
    Either,
    /// Whichever comes last.
    Both,
    /// Nothing.
    Never,
}

impl ReturnToDps {
    /// Whether a device goes back that has failed `failures` times in a row over `silent` and drew `patience`.
    pub fn is_due(&self, failures: u32, silent: Span, patience: Span) -> bool {
        let (failed, waited) = (failures >= self.failures, silent >= patience);
        match self.rule {
            ReturnRule::After => waited,
            ReturnRule::Failures => failed,
            ReturnRule::Either => failed || waited,
            ReturnRule::Both => failed && waited,
            ReturnRule::Never => false,
        }
    }
}

/// What the documentation lets a fleet do (`dps` 11 and 13.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Registrations and status lookups of one service.
    pub registrations: Rate,
    /// Operations on the service API of one service.
    pub operations: Rate,
    /// Polls of one device within `poll_window`.
    pub polls: u32,
    /// See `polls`.
    pub poll_window: Duration,
    /// The least wait before the first retry at a hub that failed.
    pub hub_first_wait: Duration,
    /// Devices of one hub.
    pub devices_per_hub: u64,
    /// Hubs linked to one service.
    pub linked_hubs: u32,
    /// First attempts within this time stay below the quota for it.
    pub stagger_window: Duration,
    /// Whether no device comes back before its Retry-After is over.
    pub retry_after_kept: bool,
    /// Whether devices that were throttled together must not come back together.
    pub jitter_after_throttle: bool,
    /// Whether a device that has an assignment registers when it boots.
    pub register_on_boot: bool,
    /// Whether the direct method `Reprovision` is answered.
    pub reprovision_on_command: bool,
}

/// Bounds of this project's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// How far before its Retry-After a request still counts as on time.
    pub retry_after_tolerance: Duration,
    /// A longer Retry-After is a matter of policy.
    pub retry_after_max: Duration,
    /// Planned waits that fall into one slot of this length are a herd.
    pub herd_slot: Duration,
    /// Largest share of the devices in one slot.
    pub herd_share: f64,
    /// Largest Rayleigh statistic of planned waits: 0 random, 1 lockstep.
    pub synchrony: f64,
    /// Attempts per provisioned device of a strategy that knows nothing of the fleet.
    pub amplification_local: f64,
    /// Attempts per provisioned device of a strategy that knows the fleet's size and the quota.
    pub amplification_informed: f64,
    /// Attempts after an error that no retry mends.
    pub terminal_retries: u32,
    /// Least time between them.
    pub terminal_interval: Duration,
    /// Share of the quota that is used again once a fault is over.
    pub recovery_share: f64,
    /// For how long it must be.
    pub recovery_hold: Duration,
    /// Share of the quota below which a service with work left and no fault has locked up.
    pub lockup_share: f64,
    /// For how long it must be.
    pub lockup_hold: Duration,
}

/// Where two pages contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Contradiction {
    /// Its name in reports.
    pub name: String,
    /// The value of the profile that decides, as a dotted path.
    pub key: String,
    /// What the pages disagree about.
    pub question: String,
    /// What each says.
    #[serde(rename = "reading")]
    pub readings: Vec<Reading>,
}

/// One side of a contradiction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// The value of [`Contradiction::key`] that follows it.
    pub value: String,
    /// What the page says.
    pub says: String,
    /// Which page.
    pub source: String,
}

impl Default for Profile {
    fn default() -> Self {
        Self::ms_2025().clone()
    }
}

impl Profile {
    /// The built-in profile.
    pub fn ms_2025() -> &'static Self {
        static BUILT_IN: LazyLock<Profile> = LazyLock::new(|| {
            toml::from_str(MS_2025_TEXT).expect("the embedded profile is read by a test of this module")
        });
        &BUILT_IN
    }

    /// Whether `name` is that of a built-in profile; anything else is a file's.
    pub fn is_built_in(name: &str) -> bool {
        name == MS_2025
    }

    /// The text of the built-in profile: a start for one of one's own.
    pub const fn ms_2025_text() -> &'static str {
        MS_2025_TEXT
    }

    /// Reads a profile. What it leaves out is as in `ms-2025`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(text: &str, file: &str) -> Result<Self, Problems> {
        let problems = |list| Problems { file: file.to_owned(), text: text.to_owned(), list };
        let own = DeTable::parse(text).map_err(|error| problems(vec![describe(&error, text)]))?;
        let base =
            DeTable::parse(MS_2025_TEXT).expect("the embedded profile is read by a test of this module");
        let (span, mut table) = (own.span(), own.into_inner());
        let named = table.contains_key("name");
        fill_in(&mut table, base.into_inner());
        let deserializer = toml::de::Deserializer::from(Spanned::new(span, table));
        let mut profile =
            Self::deserialize(deserializer).map_err(|error| problems(vec![describe(&error, text)]))?;
        if !named {
            let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
            profile.name = name.strip_suffix(".toml").unwrap_or(name).to_owned();
        }
        let list = profile.check(text);
        if list.is_empty() { Ok(profile) } else { Err(problems(list)) }
    }

    /// The value that stands at a dotted path, as text.
    pub fn value(&self, key: &str) -> Option<String> {
        let whole = toml::Value::try_from(self).ok()?;
        let value = key.split('.').try_fold(&whole, |value, segment| value.get(segment))?;
        Some(match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Table(_) | toml::Value::Array(_) => return None,
            other => other.to_string(),
        })
    }

    fn check(&self, text: &str) -> Vec<Problem> {
        let mut list = Vec::new();
        let mut refuse = |key: &str, message: String, help: &str| {
            let place = text.find(key).map(|at| at..at + key.len());
            list.push(Problem { message, span: place, help: help.to_owned() });
        };
        let back = &self.hub.return_to_dps;
        if back.after_min > back.after_max {
            let message = format!("a patience between {} and {}", back.after_min, back.after_max);
            refuse("after_min", message, "`after_min` is the smaller one");
        }
        if self.hub.back_off.first_wait.0 == Span::ZERO {
            let message = "a back-off that starts at nothing stays there".to_owned();
            refuse("first_wait", message, "write a time such as \"5s\"");
        }
        for (key, share) in [
            ("jitter", self.hub.back_off.jitter),
            ("herd_share", self.bounds.herd_share),
            ("synchrony", self.bounds.synchrony),
            ("recovery_share", self.bounds.recovery_share),
            ("lockup_share", self.bounds.lockup_share),
        ] {
            if !(0.0..=1.0).contains(&share) {
                refuse(key, format!("a share of {share}"), "shares are between 0 and 1");
            }
        }
        for (key, factor) in [
            ("amplification_local", self.bounds.amplification_local),
            ("amplification_informed", self.bounds.amplification_informed),
        ] {
            if !(factor >= 1.0 && factor.is_finite()) {
                refuse(key, format!("{factor} attempts for a device"), "a device needs one at least");
            }
        }
        for (key, rate) in
            [("registrations", self.expected.registrations), ("operations", self.expected.operations)]
        {
            if rate.per_second() <= 0.0 {
                refuse(key, "a quota of nothing".to_owned(), "write a rate such as \"1000/min\"");
            }
        }
        for contradiction in &self.contradictions {
            if self.value(&contradiction.key).is_none() {
                let message = format!("there is no value `{}`", contradiction.key);
                refuse(&contradiction.key, message, "write a dotted path such as `hub.server_error`");
            }
        }
        list
    }
}

/// Adds what `own` lacks from `base`; tables are filled in, everything else is taken or left whole.
fn fill_in<'a>(own: &mut DeTable<'a>, base: DeTable<'a>) {
    for (key, value) in base {
        match own.get_mut(&key) {
            None => {
                own.insert(key, value);
            }
            Some(mine) => {
                if let (DeValue::Table(mine), DeValue::Table(theirs)) = (mine.get_mut(), value.into_inner()) {
                    fill_in(mine, theirs);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Advice;

    #[test]
    fn the_built_in_profile_reads_and_each_contradiction_is_decided_for_one_of_its_readings() {
        let profile = Profile::read(MS_2025_TEXT, "ms-2025.toml").unwrap();
        assert_eq!(&profile, Profile::ms_2025());
        assert!(profile.contradictions.len() >= 3);
        for contradiction in &profile.contradictions {
            let chosen = profile.value(&contradiction.key).unwrap();
            assert!(contradiction.readings.len() >= 2, "{}", contradiction.name);
            assert!(contradiction.readings.iter().any(|reading| reading.value == chosen), "{chosen}");
        }
    }

    #[test]
    fn a_device_without_a_profile_reacts_as_the_built_in_one_says() {
        assert_eq!(Profile::ms_2025().dps, Reactions::default());
    }

    #[test]
    fn a_profile_of_ones_own_says_only_what_differs() {
        let text = "[dps]\nserver_error = \"park\"\n[hub.return_to_dps]\nfailures = 3\n";
        let profile = Profile::read(text, "my/strict.toml").unwrap();
        assert_eq!((&*profile.name, profile.dps.server_error), ("strict", Advice::Park));
        assert_eq!(profile.hub.return_to_dps.failures, 3);
        assert_eq!(profile.hub.return_to_dps.after_max, Profile::ms_2025().hub.return_to_dps.after_max);
        assert_eq!(profile.expected, Profile::ms_2025().expected);
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_the_fix() {
        let told = |text: &str| Profile::read(text, "p.toml").unwrap_err().to_string();
        assert_eq!(
            told("name = \"x\"\n[dps]\nservererror = \"retry\"\n"),
            "p.toml:3:1: unknown key `servererror` (did you mean `server_error`?)"
        );
        assert_eq!(
            told("[hub]\nthrottled = \"cach\"\n"),
            "p.toml:2:14: unknown value `cach` (did you mean `cache`?)"
        );
        assert!(told("[bounds]\nherd_share = 5.0\n").starts_with("p.toml:2:1: a share of 5"));
        assert!(told("[hub.return_to_dps]\nafter_min = \"1h\"\n").contains("p.toml:2:1"));
        assert!(told("name = ").starts_with("p.toml:1:"));
    }

    #[test]
    fn the_rules_of_return_decide_by_time_and_failures() {
        let mut back = Profile::ms_2025().hub.return_to_dps.clone();
        let (short, long) = (Span::from_secs(60), Span::from_secs(1_200));
        let patience = Span::from_secs(900);
        for (rule, due) in [
            (ReturnRule::After, [false, false, true, true]),
            (ReturnRule::Failures, [false, true, false, true]),
            (ReturnRule::Either, [false, true, true, true]),
            (ReturnRule::Both, [false, false, false, true]),
            (ReturnRule::Never, [false, false, false, false]),
        ] {
            back.rule = rule;
            let cases = [(9, short), (10, short), (9, long), (10, long)];
            assert_eq!(cases.map(|(failures, silent)| back.is_due(failures, silent, patience)), due);
        }
    }
}
