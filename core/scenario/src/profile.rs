//! Reading a policy profile: a file of one's own says only what differs from the built-in one.

use fleetstorm_model::profile::Profile;
use fleetstorm_units::time::Span;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Problem, Problems, describe};

/// Reads a profile. What it leaves out is as in `ms-2025`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read_profile(text: &str, file: &str) -> Result<Profile, Problems> {
    let problems = |list| Problems { file: file.to_owned(), text: text.to_owned(), list };
    let own = DeTable::parse(text).map_err(|error| problems(vec![describe(&error, text)]))?;
    let base = DeTable::parse(Profile::ms_2025_text())
        .expect("the embedded profile is read by a test of this module");
    let (span, mut table) = (own.span(), own.into_inner());
    let named = table.contains_key("name");
    fill_in(&mut table, base.into_inner());
    let deserializer = toml::de::Deserializer::from(Spanned::new(span, table));
    let mut profile =
        Profile::deserialize(deserializer).map_err(|error| problems(vec![describe(&error, text)]))?;
    if !named {
        let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
        profile.name = name.strip_suffix(".toml").unwrap_or(name).to_owned();
    }
    let list = check(&profile, text);
    if list.is_empty() { Ok(profile) } else { Err(problems(list)) }
}

fn check(profile: &Profile, text: &str) -> Vec<Problem> {
    let mut list = Vec::new();
    let mut refuse = |key: &str, message: String, help: &str| {
        let place = text.find(key).map(|at| at..at + key.len());
        list.push(Problem { message, span: place, help: help.to_owned() });
    };
    let back = &profile.hub.return_to_dps;
    if back.after_min > back.after_max {
        let message = format!("a patience between {} and {}", back.after_min, back.after_max);
        refuse("after_min", message, "`after_min` is the smaller one");
    }
    if profile.hub.back_off.first_wait.0 == Span::ZERO {
        let message = "a back-off that starts at nothing stays there".to_owned();
        refuse("first_wait", message, "write a time such as \"5s\"");
    }
    for (key, share) in [
        ("jitter", profile.hub.back_off.jitter),
        ("herd_share", profile.bounds.herd_share),
        ("synchrony", profile.bounds.synchrony),
        ("recovery_share", profile.bounds.recovery_share),
        ("lockup_share", profile.bounds.lockup_share),
    ] {
        if !(0.0..=1.0).contains(&share) {
            refuse(key, format!("a share of {share}"), "shares are between 0 and 1");
        }
    }
    for (key, factor) in [
        ("amplification_local", profile.bounds.amplification_local),
        ("amplification_informed", profile.bounds.amplification_informed),
    ] {
        if !(factor >= 1.0 && factor.is_finite()) {
            refuse(key, format!("{factor} attempts for a device"), "a device needs one at least");
        }
    }
    for (key, rate) in
        [("registrations", profile.expected.registrations), ("operations", profile.expected.operations)]
    {
        if rate.per_second() <= 0.0 {
            refuse(key, "a quota of nothing".to_owned(), "write a rate such as \"1000/min\"");
        }
    }
    for contradiction in &profile.contradictions {
        if profile.value(&contradiction.key).is_none() {
            let message = format!("there is no value `{}`", contradiction.key);
            refuse(&contradiction.key, message, "write a dotted path such as `hub.server_error`");
        }
    }
    list
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
    use fleetstorm_model::device::{Advice, Reactions};

    #[test]
    fn the_built_in_profile_reads_and_each_contradiction_is_decided_for_one_of_its_readings() {
        let profile = read_profile(Profile::ms_2025_text(), "ms-2025.toml").unwrap();
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
        let profile = read_profile(text, "my/strict.toml").unwrap();
        assert_eq!((&*profile.name, profile.dps.server_error), ("strict", Advice::Park));
        assert_eq!(profile.hub.return_to_dps.failures, 3);
        assert_eq!(profile.hub.return_to_dps.after_max, Profile::ms_2025().hub.return_to_dps.after_max);
        assert_eq!(profile.expected, Profile::ms_2025().expected);
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_the_fix() {
        let told = |text: &str| read_profile(text, "p.toml").unwrap_err().to_string();
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
}
