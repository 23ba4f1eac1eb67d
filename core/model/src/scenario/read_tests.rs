use proptest::prelude::*;

use super::*;

fn read_scenario(text: &str, changes: &[(&str, &str)]) -> Result<Scenario, Problems> {
    let overrides: Vec<Override> = changes
        .iter()
        .map(|(path, value)| Override {
            origin: format!("--set {path}={value}"),
            path: (*path).into(),
            value: (*value).into(),
        })
        .collect();
    Scenario::read(text, "dir/a.toml", &overrides)
}

fn problem(text: &str) -> String {
    read_scenario(text, &[]).unwrap_err().to_string()
}

#[test]
fn an_empty_file_is_a_scenario_with_every_default() {
    let scenario = read_scenario("", &[]).unwrap();
    assert_eq!((&*scenario.name, scenario.seed, scenario.fleet.devices), ("a", 1, 100));
    assert_eq!(scenario.cohorts, [Cohort::default()]);
}

#[test]
fn unknown_names_are_refused_with_the_nearest_known_one() {
    assert_eq!(problem("sead = 5"), "dir/a.toml:1:1: unknown key `sead` (did you mean `seed`?)");
    assert_eq!(
        problem("[fleet]\ndevices = 5\nmax_concurent = 2"),
        "dir/a.toml:3:1: unknown key `max_concurent` (did you mean `max_concurrent`?)"
    );
    let text = problem("[[cohort]]\ntransport = \"htps\"");
    assert!(text.starts_with("dir/a.toml:2:14: unknown value `htps`") && text.contains("https"), "{text}");
    assert!(
        problem("[mock.throttle]\nprofile = \"dps-dok\"")
            .contains("2:11: there is no throttle profile `dps-dok` (did you mean `dps-doc`?)")
    );
}

#[test]
fn wrong_values_are_named_with_their_place() {
    for (text, words) in [
        ("horizon = 5", "1:11"),
        ("horizon = \"5 parsecs\"", "not a length of time"),
        ("[fleet]\ndevices = 0", "2:11: a fleet of 0 devices"),
        ("[fleet]\ndevices = -1", "2:11"),
        ("[fleet]\nid_prefix = \"a b\"", "2:13: a registration id holds"),
        ("[fleet.arrival]\nkind = \"constant\"\nrate = \"0/s\"", "boots nobody"),
        ("[fleet.arrival]\nkind = \"sometimes\"", "all-at-once"),
        ("[[cohort]]\nshare = 0", "2:9: a share of 0"),
        ("[[cohort]]\n[[cohort]]", "two cohorts `all`"),
        (
            "objectives = [\"stopped == 0\", \"assigned >= 99\", \"assigned => 5\"]",
            "1:59: objective `assigned => 5`",
        ),
        ("objectives = [\"assigned >= 5% for \\\"b\\\"\"]", "no cohort `b`"),
        ("[[cohort]]\nkeep_alive = \"1500ms\"", "2:14: a keep-alive of"),
        ("[[cohort]]\ntransport = \"mqtt\"\nattestation = \"tpm\"", "a TPM cannot attest over MQTT"),
        ("[[cohort]]\ntransport = \"amqp\"\nattestation = \"tpm\"", "a TPM cannot attest over AMQP"),
        ("[mock.mqtt]\nunknown_scope = 1", "2:17"),
        ("[mock.mqtt]\nuser_name = 0", "2:13"),
        ("[target]\nkind = \"dps\"", "consent"),
        ("[target]\nkind = \"endpoint\"", "needs an address"),
        ("[target]\naddress = \"https://x\"", "kind = \"endpoint\""),
        (
            "[[mock.enrollment]]\nregistration_id = \"x\"",
            "primary_key, primary_certificate, primary_ca or endorsement_key",
        ),
        (
            "[[mock.enrollment]]\nregistration_id = \"x\"\nprimary_certificate = \"a\"\nendorsement_key = \"AAAA\"",
            "primary_key, primary_certificate, primary_ca or endorsement_key",
        ),
        ("[network.hop]\nkind = \"uniform\"\nmin = \"2s\"\nmax = \"1s\"", "`max` is below `min`"),
        ("[network.hop]\nkind = \"constant\"\ndelay = \"-2s\"", "not a length of time"),
        (
            "[network.hop]\nkind = \"lognormal\"\nmedian = \"1s\"\nsigma = -1\nmax = \"9s\"",
            "`sigma` is from 0",
        ),
        (
            "[network]\nconnect = { kind = \"empirical\", quantiles = [\"2s\", \"1s\"] }",
            "2:11: quantiles ascend",
        ),
        ("[compare]\nstrategies = []", "2:14: there is nothing to compare"),
        ("[compare]\nstrategies = [\"none\"]\nseeds = 0", "3:9: a comparison takes"),
        (
            "[compare]\nstrategies = [\"none\"]\n[[compare.throttle]]\nprofile = \"x\"",
            "no throttle profile `x`",
        ),
        ("[network]\nhops = 1", "did you mean `hop`?"),
        ("x = [", "1:6"),
    ] {
        let problem = problem(text);
        assert!(problem.contains(words), "{text}\n{problem}");
    }
}

#[test]
fn several_problems_are_told_at_once() {
    let problems = read_scenario("horizon = \"0s\"\n[fleet]\ndevices = 0\n", &[]).unwrap_err();
    assert_eq!(problems.list.len(), 2);
}

#[test]
fn a_real_target_needs_consent_that_covers_the_fleet() {
    let text = "[fleet]\ndevices = 50\n[target]\nkind = \"dps\"\nid_scope = \"0ne1\"\n[target.consent]\nhost = \"h\"\nmax_devices = 10\nmax_registrations = 100\nmax_rate = \"60/min\"";
    assert!(problem(text).contains("a fleet of 50 devices, and consent for 10"));
}

#[test]
fn overrides_replace_what_the_file_says() {
    let text = "[[cohort]]\nname = \"a\"\nretry = \"fixed\"\n";
    let scenario = read_scenario(
        text,
        &[
            ("fleet.devices", "7"),
            ("seed", "9"),
            ("cohort.0.retry.base_ms", "250"),
            ("fleet.arrival", "{ kind = \"constant\", rate = \"5/s\" }"),
            ("horizon", "30s"),
            ("objectives", "[\"stopped == 0\"]"),
        ],
    )
    .unwrap();
    assert_eq!((scenario.fleet.devices, scenario.seed), (7, 9));
    assert_eq!(scenario.cohorts[0].retry.to_string(), "fixed (base_ms = 250)");
    assert_eq!(scenario.horizon.0, Span::from_secs(30));
    assert_eq!(scenario.objectives, ["stopped == 0"]);

    let fresh = read_scenario("", &[("cohort.0.retry", "none")]).unwrap();
    assert_eq!(fresh.cohorts[0].retry.kind, "none");
    for (path, value, words) in [
        ("fleet.devises", "5", "did you mean `devices`?"),
        ("cohort.3.name", "x", "no entry 3"),
        ("fleet.devices", "many", "--set fleet.devices=many"),
        ("fleet.devices.x", "1", "cannot be set"),
    ] {
        let error = read_scenario("[fleet]\ndevices = 1\n[[cohort]]\nname = \"x\"", &[(path, value)])
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{path}: {error}");
    }
}

#[test]
fn the_resolved_scenario_reads_back_as_the_same() {
    let text = r#"
        objectives = ["assigned >= 99% within 1m"]
        [fleet]
        arrival = { kind = "batches", size = 5, interval = "1m", spread = "1s" }
        [[cohort]]
        retry = { kind = "full-jitter", base_ms = 5 }
        clock_offset = "-90m"
        [mock.throttle]
        rate = "200/min"
        retry_after = { jittered = [1, 5] }
        [[mock.enrollment_group]]
        id = "g"
        primary_key = { env = "GROUP_KEY" }
    "#;
    let scenario = read_scenario(text, &[]).unwrap();
    assert_eq!(read_scenario(&scenario.resolved(), &[]).unwrap(), scenario);
}

#[test]
fn cohort_sizes_add_up() {
    for devices in [1, 2, 3, 10, 1_999, 2_000] {
        let text = format!(
            "[fleet]\ndevices = {devices}\n[[cohort]]\nname = \"a\"\nshare = 1\n[[cohort]]\nname = \"b\"\nshare = 1\n[[cohort]]\nname = \"c\"\nshare = 1"
        );
        assert_eq!(read_scenario(&text, &[]).unwrap().cohort_sizes().iter().sum::<u32>(), devices);
    }
}

proptest! {
    #[test]
    fn any_text_reads_without_a_panic(text in "\\PC{0,80}", lines in "((seed|name|\\[fleet\\]|\\[\\[cohort\\]\\]|devices|=|\"|5|[a-z]|\\n| ){0,30})") {
        let _ = read_scenario(&text, &[]);
        let _ = read_scenario(&lines, &[(&text, &lines)]);
        let _ = read_mock(&lines, "m", &[]);
    }
}
