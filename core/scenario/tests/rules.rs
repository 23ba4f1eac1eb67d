//! What the faults of a scenario do about an occasion.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetstorm_model::chaos::{Layer, Occasion, Rules, Serving, Timeline};
use fleetstorm_protocol::{Operation, RetryAfter, code};
use fleetstorm_scenario::Scenario;
use fleetstorm_units::time::{Moment, Span};
use proptest::prelude::*;

const DEVICES: u32 = 200;

fn timeline(text: &str) -> Arc<Timeline> {
    let text = format!(
        "horizon = \"1h\"\n[fleet]\ndevices = {DEVICES}\n[[cohort]]\nname = \"a\"\n[[cohort]]\nname = \"b\"\n\
         transport = \"mqtt\"\n{text}"
    );
    let scenario = Scenario::read(&text, "t.toml", &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let membership: Vec<u16> = (0..DEVICES).map(|device| (device % 2) as u16).collect();
    scenario.timeline(&membership).expect("the scenario has faults")
}

const ALL: [Layer; 3] = [Layer::Network, Layer::Service, Layer::Fleet];

fn at(secs: u64) -> Moment {
    Moment::START + Span::from_secs(secs)
}

fn register(now: Moment, device: u32) -> Occasion {
    Occasion::of(now, device, Some(Operation::Register))
}

/// How many of `times` registrations of each device are answered by the fault.
fn refused(rules: &mut Rules, now: Moment, times: u32) -> BTreeMap<u32, u32> {
    let mut refused = BTreeMap::new();
    for _ in 0..times {
        for device in 0..DEVICES {
            let hit = rules.serve(&register(now, device), 0).refuse.is_some();
            *refused.entry(device).or_default() += u32::from(hit);
        }
    }
    refused
}

#[test]
fn a_fault_is_on_in_its_windows_only() {
    let timeline = timeline(
        "[[chaos]]\nfault = { kind = \"service.error\", status = 503 }\nstart = \"60s\"\nduration = \"10s\"\n\
         repeat = { every = \"30s\", times = 2 }\n",
    );
    let mut rules = timeline.rules(&ALL);
    let mut on = Vec::new();
    for secs in 0..200 {
        if rules.serve(&register(at(secs), 1), 0).refuse.is_some() {
            on.push(secs);
        }
    }
    let expected: Vec<u64> = (60..70).chain(90..100).collect();
    assert_eq!(on, expected);
    let windows: Vec<_> = timeline.faults()[0].windows(at(60), at(3_600)).collect();
    assert_eq!(
        windows.iter().map(|window| (window.from, window.until)).collect::<Vec<_>>(),
        [(at(60), at(70)), (at(90), at(100))]
    );
    let tally = timeline.faults()[0].tally.snapshot();
    assert_eq!((tally.eligible, tally.fired, tally.devices), (20, 20, 1));
    assert_eq!((tally.first, tally.last), (Some(at(60)), Some(at(99))));
}

#[test]
fn jitter_keeps_occurrences_apart_and_where_the_plan_says() {
    let timeline = timeline(
        "[[chaos]]\nfault = { kind = \"net.refused\" }\nstart = \"10s\"\nduration = \"5s\"\n\
         repeat = { every = \"10s\", jitter = \"5s\" }\n",
    );
    let fault = &timeline.faults()[0];
    let windows: Vec<_> = fault.windows(at(10), at(600)).collect();
    assert!(windows.len() > 50 && windows.windows(2).all(|pair| pair[0].until <= pair[1].from));
    assert!(windows.windows(2).any(|pair| pair[1].from.since(pair[0].from) != Span::from_secs(10)));
    for window in windows {
        for moment in [window.from, window.until - Span::from_nanos(1)] {
            assert_eq!(fault.window_at(moment), Some(window));
        }
        assert_ne!(fault.window_at(window.until), Some(window));
    }
}

#[test]
fn each_unit_has_its_own_chance() {
    let shares = |unit: &str| {
        let timeline = timeline(&format!(
            "[[chaos]]\nfault = {{ kind = \"service.error\", status = 500 }}\nprobability = 0.3\nunit = \"{unit}\"\n"
        ));
        refused(&mut timeline.rules(&ALL), at(1), 100)
    };
    let by_device = shares("device");
    assert!(by_device.values().all(|hits| [0, 100].contains(hits)), "hit always or never");
    let hit = by_device.values().filter(|hits| **hits == 100).count();
    // Three standard deviations of a binomial: 200 devices, 0.3.
    assert!((41..=79).contains(&hit), "{hit}");
    let by_request = shares("request");
    let hits: u32 = by_request.values().sum();
    assert!((5_800..=6_200).contains(&hits), "20,000 requests: {hits}");
    assert!(by_request.values().all(|hits| (10..=50).contains(hits)), "nobody is spared");
}

#[test]
fn a_chance_by_connection_holds_for_the_connection() {
    let timeline = timeline(
        "[[chaos]]\nfault = { kind = \"net.reset\", phase = \"after-request\" }\nprobability = 0.5\n\
         unit = \"connection\"\n",
    );
    let mut rules = timeline.rules(&ALL);
    let mut outcomes = BTreeMap::new();
    for connection in 0..100 {
        let occasion = Occasion { connection, ..register(at(1), 7) };
        let hits = (0..5).filter(|_| rules.exchange(&occasion).cut.is_some()).count();
        *outcomes.entry(hits).or_insert(0) += 1;
    }
    assert_eq!(outcomes.keys().copied().collect::<Vec<_>>(), [0, 5]);
    assert!((30..70).contains(&outcomes[&5]));
}

#[test]
fn the_first_ones_of_each_device_are_hit_after_those_that_are_skipped() {
    let timeline = timeline(
        "[[chaos]]\nfault = { kind = \"service.error\", status = 500 }\n\
         count = { per = \"device\", skip = 1, first = 2 }\n",
    );
    let mut rules = timeline.rules(&ALL);
    let mut of = |device| -> Vec<bool> {
        (0..5).map(|_| rules.serve(&register(at(1), device), 0).refuse.is_some()).collect()
    };
    for device in [3, 150] {
        assert_eq!(of(device), [false, true, true, false, false]);
    }
}

#[test]
fn selections_are_kept() {
    let timeline = timeline(
        "[[chaos]]\nname = \"cohort\"\nfault = { kind = \"service.error\", status = 500 }\n\
         select = { cohort = \"b\", share = 0.5, operation = \"register\", transport = \"mqtt\" }\n",
    );
    let mut rules = timeline.rules(&ALL);
    let refused = refused(&mut rules, at(1), 4);
    assert!(refused.iter().all(|(device, hits)| if device % 2 == 0 {
        *hits == 0
    } else {
        [0, 4].contains(hits)
    }));
    let hit = refused.values().filter(|hits| **hits == 4).count();
    assert!((35..=65).contains(&hit), "half of 100: {hit}");
    let poll = Occasion::of(at(1), 1, Some(Operation::Poll));
    assert_eq!(rules.serve(&poll, 0), Serving::default());
}

#[test]
fn ceilings_hold() {
    let timeline = timeline(
        "[[chaos]]\nfault = { kind = \"service.error\", status = 500 }\nduration = \"10s\"\n\
         repeat = { every = \"20s\" }\nlimits = { active = 5, total = 40 }\n",
    );
    let mut rules = timeline.rules(&ALL);
    let once = refused(&mut rules, at(1), 3);
    assert_eq!(once.values().filter(|hits| **hits > 0).count(), 5, "five devices at once");
    assert_eq!(once.values().sum::<u32>(), 15);
    let again = refused(&mut rules, at(21), 6);
    assert_eq!(again.values().sum::<u32>(), 25, "40 in all");
    assert_eq!(timeline.faults()[0].tally.snapshot().fired, 40);
}

#[test]
fn connections_are_told_apart_by_when_they_were_opened() {
    for (applies_to, expected) in
        [("new", [false, true]), ("existing", [true, false]), ("both", [true, true])]
    {
        let timeline = timeline(&format!(
            "[[chaos]]\nfault = {{ kind = \"net.blackhole\", phase = \"answer\" }}\nstart = \"10s\"\n\
             applies_to = \"{applies_to}\"\n"
        ));
        let mut rules = timeline.rules(&ALL);
        let hit = [at(5), at(11)]
            .map(|connected| rules.exchange(&Occasion { connected, ..register(at(12), 0) }).cut.is_some());
        assert_eq!(hit, expected, "{applies_to}");
    }
}

#[test]
fn a_ramp_grows_and_fades() {
    let timeline = timeline(
        "[[chaos]]\nfault = { kind = \"service.quota\", factor = 0.5 }\nstart = \"0s\"\nduration = \"100s\"\n\
         ramp = { up = \"20s\", down = \"10s\" }\n",
    );
    let mut rules = timeline.rules(&ALL);
    let mut quota = |secs| rules.serve(&register(at(secs), 0), 0).quota;
    assert_eq!([0, 10, 20, 50, 90, 95, 100].map(&mut quota), [1.0, 0.75, 0.5, 0.5, 0.5, 0.75, 1.0]);
}

#[test]
fn an_event_starts_a_fault_for_everybody() {
    let timeline = timeline(
        "[[chaos]]\nfault = { kind = \"service.disabled\" }\nstart = \"assigned >= 1%\"\nduration = \"5s\"\n",
    );
    let mut rules = timeline.rules(&ALL);
    timeline.assigned(at(3));
    assert!(!rules.serve(&register(at(4), 0), 0).disabled, "one of 200 is half a percent");
    timeline.assigned(at(5));
    timeline.assigned(at(8));
    let mut on = |secs| rules.serve(&register(at(secs), 0), 0).disabled;
    assert_eq!([4, 5, 9, 10].map(&mut on), [false, true, true, false], "from the second one on");
}

#[test]
fn the_first_answer_wins_and_delays_add_up() {
    let timeline = timeline(
        "[[chaos]]\nname = \"1\"\nfault = { kind = \"service.throttle\", retry_after = [\"date+30\"] }\n\
         [[chaos]]\nname = \"2\"\nfault = { kind = \"service.error\", status = 503 }\n\
         [[chaos]]\nname = \"3\"\nfault = { kind = \"service.brownout\", delay = { kind = \"constant\", delay = \"2s\" } }\n\
         [[chaos]]\nname = \"4\"\nfault = { kind = \"service.brownout\", delay = { kind = \"constant\", delay = \"3s\" }, lost = 1.0 }\n",
    );
    let verdict = timeline.rules(&ALL).serve(&register(at(1), 0), 1_000);
    assert_eq!(verdict.refuse, Some((code::THROTTLED, RetryAfter::Date(1_030))));
    assert_eq!((verdict.delay, verdict.lost), (Span::from_secs(5), true));
}

#[test]
fn an_outage_gives_power_back_over_its_spread() {
    let timeline = timeline(
        "[[chaos]]\nfault = { kind = \"fleet.power-outage\", off = \"90s\", reboot_spread = \"10s\", keep_cache = 0.8 }\n\
         start = \"60s\"\nselect = { share = 0.6 }\n",
    );
    let mut rules = timeline.rules(&ALL);
    let window = timeline.faults()[0].window(at(60), 0).unwrap();
    let mut dark = |holds| -> Vec<_> {
        (0..DEVICES).filter_map(|device| rules.power(0, window, device, holds)).collect()
    };
    let without_hub = dark(false);
    assert!((100..=140).contains(&without_hub.len()), "60 % of 200: {}", without_hub.len());
    assert!(without_hub.iter().all(|back| *back >= at(150) && *back < at(160)));
    let share = dark(true).len() as f64 / without_hub.len() as f64;
    assert!((share - 0.2).abs() < 0.12, "one in five forgets, three standard deviations: {share}");
}

#[test]
fn a_cache_is_lost_by_those_who_have_one() {
    let timeline =
        timeline("[[chaos]]\nfault = { kind = \"fleet.cache-loss\", spread = \"9s\" }\nstart = \"60s\"\n");
    let mut rules = timeline.rules(&ALL);
    let window = timeline.faults()[0].window(at(60), 0).unwrap();
    assert_eq!(rules.power(0, window, 1, false), None);
    assert_eq!(timeline.faults()[0].tally.snapshot().fired, 0);
    let back: Vec<_> = (0..DEVICES).filter_map(|device| rules.power(0, window, device, true)).collect();
    assert!(back.len() == 200 && back.iter().all(|back| *back >= at(60) && *back < at(69)), "{back:?}");
}

#[test]
fn firmware_crashes_after_each_boot_until_it_is_healed() {
    let timeline = timeline(
        "[[chaos]]\nfault = { kind = \"fleet.firmware-loop\", every = \"20s\" }\nstart = \"60s\"\nduration = \"60s\"\n",
    );
    let mut rules = timeline.rules(&ALL);
    let mut crash = |secs| rules.crash(&Occasion::of(at(secs), 7, None));
    assert_eq!([crash(59), crash(60), crash(99)], [None, Some(at(80)), Some(at(119))]);
    assert_eq!([crash(100), crash(130)], [None, None], "what is healed by then does not crash");
}

#[test]
fn a_device_reboots_between_its_registration_and_its_poll() {
    let timeline = timeline(
        "[[chaos]]\nfault = { kind = \"fleet.reboot\", off = \"5s\" }\nduration = \"60s\"\n\
         count = { per = \"device\", first = 1 }\n",
    );
    let mut rules = timeline.rules(&ALL);
    let mut reboot = |secs| rules.reboot(&Occasion::of(at(secs), 7, None));
    assert_eq!([reboot(1), reboot(9), reboot(99)], [Some(at(6)), None, None]);
}

#[test]
fn a_failover_breaks_what_stood_before_it_and_takes_a_part_of_the_quota() {
    let timeline =
        timeline("[[chaos]]\nfault = { kind = \"service.failover\" }\nstart = \"60s\"\nduration = \"60s\"\n");
    let (mut network, mut service) = (timeline.rules(&[Layer::Network]), timeline.rules(&[Layer::Service]));
    let mut broken = |now, connected| {
        let occasion = Occasion { connection: 1, connected: at(connected), ..register(at(now), 3) };
        network.exchange(&occasion).cut.is_some()
    };
    assert_eq!(
        [broken(59, 50), broken(61, 50), broken(62, 61), broken(121, 50)],
        [false, true, false, false]
    );
    let mut quota = |now| service.serve(&register(at(now), 3), 0).quota;
    assert_eq!([quota(59), quota(61), quota(121)], [1.0, 0.5, 1.0]);
    assert_eq!(timeline.faults()[0].tally.snapshot().devices, 1, "one device, whoever asks about it");
}

#[test]
fn the_second_of_two_devices_goes_by_the_name_of_the_first() {
    let timeline = timeline("[[chaos]]\nfault = { kind = \"fleet.duplicate-ids\" }\nduration = \"60s\"\n");
    let mut rules = timeline.rules(&[Layer::Network, Layer::Fleet]);
    let mut name = |secs, device| rules.connect(&Occasion::of(at(secs), device, None)).in_the_name_of;
    assert_eq!([name(1, 6), name(1, 7), name(61, 7)], [None, Some(6), None]);
    assert_eq!(timeline.faults()[0].tally.snapshot().eligible, 1, "the first of two is no copy");
}

#[test]
fn a_healed_timeline_hits_nobody_and_strangers_never() {
    let timeline = timeline("[[chaos]]\nfault = { kind = \"service.error\", status = 503 }\n");
    let mut rules = timeline.rules(&ALL);
    let mut hit = |device| rules.serve(&register(at(1), device), 0).refuse.is_some();
    assert_eq!([hit(0), hit(DEVICES - 1), hit(DEVICES), hit(u32::MAX)], [true, true, false, false]);
    timeline.heal();
    assert!(rules.serve(&register(at(1), 0), 0).refuse.is_none());
}

#[test]
fn a_device_is_under_a_fault_until_it_comes_to_rest() {
    let timeline = timeline("[[chaos]]\nfault = { kind = \"service.error\", status = 503 }\n");
    let mut rules = timeline.rules(&ALL);
    let tally = &timeline.faults()[0].tally;
    assert!(!tally.is_under(65));
    rules.serve(&register(at(1), 65), 0);
    assert_eq!([tally.is_under(65), tally.is_under(1), tally.is_under(64)], [true, false, false]);
    tally.came_to_rest(65);
    assert_eq!((tally.is_under(65), tally.snapshot().devices), (false, 1));
}

const LIST: [&str; 4] = [
    "[[chaos]]\nname = \"w\"\nfault = { kind = \"service.error\", status = 500 }\nprobability = 0.2\nunit = \"request\"\n",
    "[[chaos]]\nname = \"x\"\nfault = { kind = \"service.throttle\", retry_after = [\"1\", \"2\", \"3\"] }\n\
     probability = 0.3\nunit = \"device\"\nselect = { share = 0.7 }\n",
    "[[chaos]]\nname = \"y\"\nfault = { kind = \"service.stuck\" }\nprobability = 0.4\nunit = \"request\"\n\
     count = { per = \"device\", skip = 1, first = 9 }\n",
    "[[chaos]]\nname = \"z\"\nfault = { kind = \"service.brownout\", delay = { kind = \"uniform\", min = \"0s\", \
     max = \"9s\" }, lost = 0.5 }\nprobability = 0.5\nunit = \"request\"\n",
];

/// Which occasions each fault hits, by its name, when the faults of `chosen` are on the list.
fn hits(chosen: &[usize], occasions: &[u32]) -> BTreeMap<String, Vec<bool>> {
    let text: String = chosen.iter().map(|index| LIST[*index]).collect();
    let timeline = timeline(&text);
    let mut rules = timeline.rules(&ALL);
    let fired = || timeline.faults().iter().map(|fault| fault.tally.snapshot().fired).collect::<Vec<_>>();
    let mut hits: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    for (secs, device) in occasions.iter().enumerate() {
        let before = fired();
        rules.serve(&register(at(secs as u64), *device), 0);
        for ((fault, before), after) in timeline.faults().iter().zip(before).zip(fired()) {
            hits.entry(fault.name.clone()).or_default().push(after > before);
        }
    }
    hits
}

#[test]
fn mistakes_are_told_with_the_key_and_the_fix() {
    let fault = "[[chaos]]\nfault = { kind = \"service.error\", status = 500 }\n";
    for (text, key, message) in [
        ("[[chaos]]\nfault = { kind = \"net.rest\" }\n".to_owned(), "net.rest", "did you mean `net.reset`?"),
        (format!("{fault}probability = 0.5\n"), "0.5", "a probability needs its unit"),
        (format!("{fault}probability = 1.5\nunit = \"request\"\n"), "1.5", "a probability of 1.5"),
        (format!("{fault}unit = \"request\"\n"), "\"request\"", "a unit without a probability"),
        (format!("{fault}unit = \"packets\"\n"), "packets", "unknown value `packets`"),
        (format!("{fault}start = \"2h\"\n"), "\"2h\"", "the run ends at"),
        (format!("{fault}start = \"stopped >= 3\"\n"), "", "is no start"),
        (format!("{fault}repeat = {{ every = \"9s\" }}\n"), "{", "cannot begin again"),
        (format!("{fault}duration = \"9s\"\nrepeat = {{ every = \"8s\" }}\n"), "\"8s\"", "before it ends"),
        (format!("{fault}select = {{ cohort = \"al\" }}\n"), "\"al\"", "did you mean `all`?"),
        (format!("{fault}select = {{ transport = \"mqtt\" }}\n"), "\"mqtt\"", "no cohort speaks mqtt"),
        (format!("{fault}applies_to = \"new\"\n"), "\"new\"", "does not know connections"),
        (format!("{fault}{fault}"), "", "there are two faults"),
        (
            format!("{fault}[target]\nkind = \"endpoint\"\naddress = \"https://127.0.0.1:1\"\n"),
            "",
            "no other service obeys",
        ),
    ] {
        let problems = Scenario::read(&text, "t.toml", &[]).unwrap_err();
        let told = problems.to_string();
        assert!(told.contains(message), "{text}: {told}");
        if !key.is_empty() {
            let span = problems.list[0].span.clone().unwrap();
            assert!(text[span].starts_with(key), "{text}: {told}");
        }
    }
}

#[test]
fn a_real_target_needs_consent_for_the_layer() {
    let text = |chaos: &str| {
        format!(
            "[[chaos]]\nfault = {{ kind = \"net.refused\" }}\n[target]\nkind = \"dps\"\nid_scope = \"0ne0\"\n\
             [target.consent]\nhost = \"x.example\"\nmax_devices = 1000\nmax_registrations = 5\nmax_rate = \"5/min\"\n{chaos}"
        )
    };
    let problems = Scenario::read(&text(""), "t.toml", &[]).unwrap_err();
    assert!(problems.to_string().contains("does not cover faults of the layer network"), "{problems}");
    let allowed = "chaos = [\"network\"]\n";
    let problems = Scenario::read(&text(allowed), "t.toml", &[]).unwrap_err();
    assert!(problems.to_string().contains("a consent to faults has an end"), "{problems}");
    let until = |moment: &str| text(&format!("{allowed}expires = \"{moment}\"\n"));
    assert!(Scenario::read(&until("2026-12-31T18:00:00+01:00"), "t.toml", &[]).is_ok());
    let problems = Scenario::read(&until("tomorrow"), "t.toml", &[]).unwrap_err();
    assert!(problems.to_string().contains("write date, time and zone"), "{problems}");
}

#[test]
fn what_a_scenario_resolves_to_reads_back_the_same() {
    let text = format!("horizon = \"1h\"\n{}", LIST.concat());
    let scenario = Scenario::read(&text, "t.toml", &[]).unwrap();
    assert_eq!(Scenario::read(&scenario.resolved(), "t.toml", &[]).unwrap(), scenario);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn taking_a_fault_out_leaves_the_draws_of_the_others(
        occasions in proptest::collection::vec(0..DEVICES, 1..80),
        removed in 0..LIST.len(),
        turned in 0..LIST.len(),
    ) {
        let all: Vec<usize> = (0..LIST.len()).collect();
        let whole = hits(&all, &occasions);
        let mut rest: Vec<usize> = all.into_iter().filter(|index| *index != removed).collect();
        rest.rotate_left(turned % (LIST.len() - 1));
        for (name, without) in hits(&rest, &occasions) {
            prop_assert_eq!(&whole[&name], &without, "{}", name);
        }
    }

    #[test]
    fn the_order_of_devices_changes_nothing(devices in proptest::collection::vec(0..DEVICES, 2..60)) {
        let verdicts = |devices: &[u32]| {
            let timeline = timeline(&LIST.concat());
            let mut rules = timeline.rules(&ALL);
            let mut of: BTreeMap<u32, Vec<Serving>> = BTreeMap::new();
            for device in devices {
                of.entry(*device).or_default().push(rules.serve(&register(at(1), *device), 0));
            }
            of
        };
        let mut backwards = devices.clone();
        backwards.reverse();
        prop_assert_eq!(verdicts(&devices), verdicts(&backwards));
    }
}
