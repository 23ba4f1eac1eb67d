//! Clients that decide at their hub and pace their polls: the same in real bytes and by direct calls.

use fleetstorm_engine::{Control, Plan, virtual_time, wired};
use fleetstorm_plugin_host::Registry;
use fleetstorm_reports::Record;
use fleetstorm_reports::record::Life;
use fleetstorm_scenario::Scenario;
use fleetstorm_units::time::Calendar;

fn both(text: &str) -> [(Record, Life); 2] {
    let plan = || {
        let scenario = Scenario::read(text, "test.toml", &[]).unwrap_or_else(|problems| panic!("{problems}"));
        let registry = Registry::new(&[
            &fleetstorm_plugin_retry::ENTRY,
            &fleetstorm_plugin_symmetric_key::ENTRY,
            &fleetstorm_plugin_x509::ENTRY,
        ]);
        Plan::new(scenario, &registry, Calendar::VIRTUAL).expect("the plan is sound")
    };
    let runs = [
        wired::run(plan(), &Control::default()).expect("the wired run ends"),
        virtual_time::run(plan(), &Control::default()).expect("the simulated run ends"),
    ];
    runs.map(|record| {
        let life = record.life.clone().expect("devices live on");
        (record, life)
    })
}

fn returns(life: &Life, why: &str) -> u64 {
    life.returns.get(why).copied().unwrap_or(0)
}

/// 20 devices of this strategy, whose first hub is in this state from the first minute on.
fn fleet(retry: &str, state: &str, others: &str, horizon: &str) -> String {
    format!(
        "seed = 5\nhorizon = \"{horizon}\"\n[fleet]\ndevices = 20\n[[cohort]]\ntransport = \"mqtt\"\nretry = {retry}\n\
         life = {{ heartbeat = \"0s\" }}\n[mock.throttle]\nprofile = \"unlimited\"\n[[mock.hub]]\n\
         host = \"a.azure-devices.net\"\nstates = [{{ at = \"1m\", state = \"{state}\" }}]\n{others}\
         [network]\nconnect = {{ kind = \"constant\", delay = \"1ms\" }}\nhop = {{ kind = \"constant\", delay = \"500us\" }}\n\
         service = {{ kind = \"constant\", delay = \"0s\" }}\n"
    )
}

/// The end of the connection and 49 failures after it are 1 + 2 + 4 + 8 + 16 + 32 s and 43 times 60 s after the first minute:
/// 45 min, and less than one of jitter in their sum.
#[test]
fn devices_of_the_c_sdk_are_at_dps_after_fifty_failures_and_not_before() {
    for (horizon, returned) in [("40m", 0), ("50m", 20)] {
        for (record, life) in both(&fleet("\"sdk-c-2026\"", "failing", "", horizon)) {
            assert_eq!((record.totals.registers, returns(&life, "patience")), (20 + returned, returned));
            assert_eq!((returns(&life, "refused"), life.online_at_end), (0, 0));
        }
    }
}

#[test]
fn a_hub_that_refuses_the_identity_decides_where_devices_of_each_client_go() {
    let other = "[[mock.hub]]\nhost = \"b.azure-devices.net\"\n";
    for (retry, horizon, at_dps) in [
        // Five minutes, and no DPS whatever the number of refusals.
        ("\"sdk-c-2026\"", "3h", false),
        ("{ kind = \"sdk-c-2026\", identity = \"none\" }", "3h", false),
        // The same wait, 225 s at least and 375 s at most, and then DPS.
        ("{ kind = \"sdk-c-2026\", identity = \"reprovision\" }", "4m", false),
        ("{ kind = \"sdk-c-2026\", identity = \"reprovision\" }", "8m", true),
        ("{ kind = \"sdk-c-2026\", identity = \"reprovision\", identity_initial_ms = 0 }", "70s", true),
        // 3 to 4 s to the refusal, 6 to 9 s after it.
        ("\"sdk-netxduo\"", "68s", false),
        ("\"sdk-netxduo\"", "80s", true),
        // At once.
        ("\"sdk-csharp-2026\"", "70s", true),
    ] {
        for (record, life) in both(&fleet(retry, "unlinked", other, horizon)) {
            let returned = returns(&life, "refused");
            assert_eq!(returned > 0, at_dps, "{retry}, {horizon}");
            assert_eq!(record.totals.registers, 20 + returned, "{retry}, {horizon}");
            assert_eq!((life.moved, returns(&life, "patience")), (returned, 0), "{retry}, {horizon}");
            assert!(life.refused.contains_key("not-authorized"), "{retry}, {horizon}");
            assert_eq!(life.online_at_end == 20, at_dps, "{retry}, {horizon}");
        }
    }
}

#[test]
fn a_client_that_paces_its_polls_is_not_held_to_the_cohorts() {
    let polls = |retry: &str| {
        let text = format!(
            "seed = 5\nhorizon = \"5m\"\n[fleet]\ndevices = 10\n[[cohort]]\ntransport = \"mqtt\"\nretry = {retry}\nlife = {{}}\n\
             poll_interval = \"1m\"\n[mock]\nretry_after_s = 3\nassignment = {{ kind = \"constant\", delay = \"10s\" }}\n\
             [mock.throttle]\nprofile = \"unlimited\"\n"
        );
        both(&text).map(|(record, life)| {
            assert_eq!(life.ever_online, 10, "{retry}");
            record.totals.requests - record.totals.registers
        })
    };
    // After 3, 6, 9 and 12 s.
    assert_eq!(polls("\"sdk-c-2026\""), [40, 40]);
    // At once, and then the same.
    assert_eq!(polls("\"sdk-csharp-2026\""), [50, 50]);
    assert_eq!(polls("\"sdk-arduino\""), [40, 40]);
}
