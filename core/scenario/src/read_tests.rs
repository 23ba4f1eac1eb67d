use fleetstorm_units::time::Span;
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
        ("[mock.limits]\nconnections = 0", "2:15: a limit of 0 lets nobody in"),
        ("[mock.limits]\nunproven_per_address = 0", "2:24: a limit of 0 lets nobody in"),
        ("[mock.limits]\nfirst_byte = \"0s\"", "2:14: no time at all lets nobody in"),
        (
            "horizon = \"5m\"\n[fleet]\ndevices = 700\narrival = { kind = \"constant\", rate = \"1/s\" }",
            "4:11: the last device boots as late as 11 m 39 s after the start, and the run ends at 5m (write `horizon = \"12m\"`",
        ),
        (
            "horizon = \"5m\"\n[fleet]\narrival = { kind = \"all-at-once\", spread = \"301s\" }",
            "write `horizon = \"6m\"` or more",
        ),
        (
            "horizon = \"5m\"\n[fleet]\ndevices = 601\narrival = { kind = \"batches\", size = 100, interval = \"50s\" }",
            "the last device boots as late as 5 m after",
        ),
        (
            "horizon = \"5m\"\n[fleet]\ndevices = 601\narrival = { kind = \"poisson\", rate = \"2/s\" }",
            "boots on average 5 m after",
        ),
        ("objectives = [\"broken(retry-after) == 0\"]", "practices: staggered-start, "),
        ("objectives = [\"broken(reconnect-first) == 0\"]", "no device goes to its hub"),
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
        (
            "horizon = \"5m\"\nobjectives = [\"assigned >= 9% within 10m\"]",
            "2:15: objective `assigned >= 9% within 10m`: `within 10m` is past the run, which ends at 5m",
        ),
        ("objectives = [\"rate(429) < 9% after 15m\"]", "nothing comes after 15m"),
        ("objectives = [\"rate(429) < 9% within 1m after 2m\"]", "within 1m and after 2m"),
        ("objectives = [\"online >= 9%\"]", "no device goes to its hub (give a cohort a `life`)"),
        ("objectives = [\"p99(connack) < 1s\"]", "no cohort speaks MQTT"),
        ("objectives = [\"p99(sasl) < 1s\"]\n[[cohort]]\ntransport = \"mqtt\"", "no cohort speaks AMQP"),
        ("objectives = [\"p99(lookup) < 1s\"]\n[[cohort]]\ntransport = \"mqtt\"", "no cohort speaks HTTPS"),
        ("objectives = [\"count(999) == 0\"]", "no HTTP status 999"),
        ("objectives = [\"assigned >= 101%\"]", "cannot hold in any run (a share is 0% to 100%)"),
        ("objectives = [\"assigned >= 101\"]", "cannot hold in any run (the fleet has 100 devices)"),
        ("objectives = [\"count(500) >= 0\"]", "holds whatever happens"),
        (
            "horizon = \"5m\"\n[[chaos]]\nfault = { kind = \"net.refused\" }\nstart = \"2m\"\nduration = \"1m\"\nrecover_within = \"3m\"",
            "6:18: the fleet may take until 6m, and the run ends at 5m",
        ),
        (
            "[[chaos]]\nfault = { kind = \"net.refused\" }\nstart = \"assigned >= 0.3\"",
            "`assigned >= 30%` for a share",
        ),
        ("[[guardrail]]\nmeasure = \"requests\"\nmax = 5\nfor = \"1h\"", "4:7: nothing lasts 1h"),
        ("[[guardrail]]\nmeasure = \"wrong-share\"\nmax = 50", "3:7: a share of 50 (write 0.5 for 50 %)"),
        (
            "[steady_state]\nwithin = \"1m\"\nexpect = [\"assigned == 100% within 2m\"]",
            "3:11: objective `assigned == 100% within 2m`: `within 2m` is past the run",
        ),
        (
            "[[mock.outage]]\nat = \"1h\"\nfor = \"1m\"\nstatus = 500",
            "2:6: it begins at 1h, and the run ends at 15m",
        ),
        ("[[cohort]]\nlife = { power_cuts = [{ at = \"1h\", off = \"1s\" }] }", "it begins at 1h"),
        ("[mock.listen]\nhttps = \"127.0.0.1:1\"", "takes free ports"),
        (
            "[[cohort]]\nattestation = { kind = \"symmetric-key\", group_keys = [\"AAAA\"] }",
            "2:54: a secret never stands in a file",
        ),
        ("[mock.tls]\ncertificate = \"a.pem\"\nkey = \"a.key\"", "a certificate of its own"),
        ("[network]\nhops = 1", "did you mean `hop`?"),
        ("x = [", "1:6"),
    ] {
        let problem = problem(text);
        assert!(problem.contains(words), "{text}\n{problem}");
    }
}

#[test]
fn lists_and_tables_are_told_apart() {
    let text = problem("seed = 1\n[cohort]\nname = \"a\"");
    assert!(text.contains("a.toml:2:1: `cohort` is a list") && text.contains("write `[[cohort]]`"), "{text}");
    let text = problem("chaos = { fault = 5 }");
    assert!(text.contains("write `[[chaos]]`"), "{text}");
    let text = problem("[mock.hub]\nhost = \"a\"");
    assert!(text.contains("write `[[mock.hub]]`"), "{text}");
    for (text, words) in [
        ("objectives = \"assigned >= 99%\"", "write a list in brackets"),
        ("[[cohort]]\nshare = \"50%\"", "write a number without quotes"),
        ("[fleet]\ndevices = 1,000", "1_000"),
        ("[[objectives]]\nx = 1", "expected a string"),
    ] {
        assert!(problem(text).contains(words), "{text}\n{}", problem(text));
    }
    let text = problem("[[fleet]]\ndevices = 5");
    assert!(text.contains("write `[fleet]`"), "{text}");
}

#[test]
fn the_usual_ports_are_no_wish_in_a_record_and_one_in_a_file() {
    let text = "[mock.listen]\nhttps = \"127.0.0.1:8443\"";
    let problems = Scenario::read_in(Path::new("dir"), text, "dir/a.toml", &[]).unwrap_err();
    assert!(problems.to_string().contains("takes free ports") && problems.list.len() == 1, "{problems}");
    Scenario::read(text, "run.json", &[]).unwrap();
}

#[test]
fn a_secret_written_in_place_is_never_repeated() {
    const KEY: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQ5";
    for text in [
        format!("[target]\ngroup_key = \"{KEY}\""),
        format!("[target]\ngroup_keyy = \"{KEY}\""),
        format!("[target]\ngroup_key = {{ valu = \"{KEY}\" }}"),
        format!("[target]\ngroup_key = {KEY}"),
        format!("[target]\ngroup_key = \"{KEY}"),
        format!("[target]\ngroup_key = [\"{KEY}\"]"),
        format!("[target]\nkind = \"{KEY}\""),
        format!("[[mock.enrollment_group]]\nid = \"g\"\nprimary_key = '{KEY}'"),
        format!("[[mock.access_policy]]\nname = \"g\"\nprimary_key = \"{KEY}\""),
        format!("horizon = 5\n[target]\ngroup_key = \"{KEY}\""),
    ] {
        let problems = read_scenario(&text, &[]).unwrap_err();
        assert!(!format!("{problems:?} {problems}").contains(KEY), "{text}\n{problems:?}");
    }
    for (path, value) in [
        ("target.group_key", KEY.to_owned()),
        ("target.group_key", format!("\"{KEY}\"")),
        ("target.group_kye", KEY.to_owned()),
        ("fleet.devices", KEY.to_owned()),
        ("mock.enrollment_group", format!("[{{ id = \"g\", primary_key = \"{KEY}\" }}]")),
    ] {
        let problems = read_scenario("", &[(path, &value)]).unwrap_err();
        assert!(!format!("{problems:?} {problems}").contains(KEY), "{path}\n{problems:?}");
    }
    let told = problem("[target]\ngroup_key = \"hunter22\"");
    assert!(told.contains("{ env = \"NAME\" }") && told.contains("{ file = \"path\" }"), "{told}");
    assert!(told.starts_with("dir/a.toml:2:13") && !told.contains("hunter22"), "{told}");
}

#[test]
fn only_paths_of_a_scenario_are_known() {
    let knows = |path: &str, value: &str| {
        let change = Override { origin: String::new(), path: path.to_owned(), value: value.to_owned() };
        Scenario::is_path("[[cohort]]\nname = \"a\"", &change)
    };
    for (path, value) in [
        ("fleet.devices", "5"),
        ("fleet.devices", "many"),
        ("cohort.0.retry.base_ms", "5"),
        ("fleet.arrival", "{ kind = \"x\", y = 1 }"),
    ] {
        assert!(knows(path, value), "{path}");
    }
    for path in ["port", "service_host", "port_8443_tcp", "fleet.devises", "fleet.devices.x", "cohort.7.name"]
    {
        assert!(!knows(path, "tcp://10.0.0.1:8443"), "{path}");
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
        horizon = "20m"
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
fn what_just_fits_before_the_horizon_boots() {
    for arrival in [
        "devices = 300\narrival = { kind = \"constant\", rate = \"1/s\" }",
        "arrival = { kind = \"all-at-once\", spread = \"5m\" }",
        "devices = 600\narrival = { kind = \"batches\", size = 100, interval = \"50s\", spread = \"50s\" }",
        "devices = 600\narrival = { kind = \"poisson\", rate = \"2/s\" }",
    ] {
        read_scenario(&format!("horizon = \"5m\"\n[fleet]\n{arrival}"), &[]).unwrap();
    }
}

#[test]
fn a_record_names_a_webhooks_host_and_nothing_of_what_lets_its_caller_in() {
    let enrollment = "allocation = \"custom\"\nwebhook_url = \"https://hook.example:7071/api/x?code=s3cret\"\n\
                      primary_key = { env = \"KEY\" }\n";
    let text = format!(
        "[[mock.enrollment]]\nregistration_id = \"a\"\n{enrollment}[[mock.enrollment_group]]\nid = \"g\"\n{enrollment}"
    );
    let scenario = read_scenario(&text, &[]).unwrap();
    let published = scenario.published();
    assert!(!published.contains("s3cret") && !published.contains("code"), "{published}");
    let hosts = published.matches("webhook_url = \"https://hook.example:7071\"").count();
    assert_eq!(hosts, 2, "{published}");
    assert!(scenario.resolved().contains("s3cret"), "who runs it needs all of it");
    read_scenario(&published, &[]).unwrap();
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
        let _ = read_mock(Path::new(""), &lines, "m", &[]);
    }
}
