//! Rules against lives told by hand.

use fleetstorm_model::best_practice::BestPractice;
use fleetstorm_protocol::outcome::{ErrorClass, Fault, Outcome};
use fleetstorm_protocol::{Operation, Registration, RetryAfter, Status};
use fleetstorm_reports::record::{Bound, HerdIndex, Series, Totals};
use fleetstorm_units::time::Span;

use super::*;

/// A device whose events are told in order.
struct Story {
    checker: Checker,
    life: Life,
    now: Moment,
}

impl Story {
    fn new() -> Self {
        let mut checker = Checker::new(Profile::default());
        checker.watch(1);
        Self { checker, life: Life::new(), now: Moment::START }
    }

    fn see(&mut self, event: Observation<'_>) -> &mut Self {
        self.checker.see(&mut self.life, 42, self.now, &event);
        self
    }

    fn after(&mut self, ms: u64) -> &mut Self {
        self.now += Span::from_millis(ms);
        self
    }

    fn sends(&mut self, operation: Operation) -> &mut Self {
        let intended = self.now;
        self.see(Observation::Sent { operation, intended })
    }

    fn gets(&mut self, operation: Operation, status: u16) -> &mut Self {
        self.ends(operation, Outcome::Answered { status: Status(status), code: 0 })
    }

    fn ends(&mut self, operation: Operation, outcome: Outcome) -> &mut Self {
        let started = self.now;
        let retry_after = RetryAfter::Absent;
        self.see(Observation::Ended {
            operation,
            intended: started,
            started,
            outcome,
            assigned: false,
            retry_after,
        })
    }

    /// Registers, is answered and chooses a wait.
    fn fails(&mut self, status: u16, retry_after_s: Option<u64>) -> &mut Self {
        self.sends(Operation::Register).gets(Operation::Register, status);
        self.see(Observation::BackedOff {
            operation: Operation::Register,
            wait: Span::from_secs(1),
            retry_after: retry_after_s.map(Span::from_secs),
        })
    }

    fn assigned(&mut self) -> &mut Self {
        let registration = Registration::default();
        self.see(Observation::Assigned {
            booted: Moment::START,
            attempts: 1,
            registers: 1,
            registration: &registration,
        })
    }

    fn stops(&mut self, rearm_after: Option<Span>) -> &mut Self {
        self.see(Observation::Stopped {
            booted: Moment::START,
            attempts: 1,
            registers: 1,
            class: ErrorClass::ClientBug,
            outcome: Outcome::Broke(Fault::Lost),
            rearm_after,
            faulted: false,
        })
    }

    fn check(&self, id: &str) -> Check {
        let practice = self.checker.practice(&Record::empty(), false, |device| format!("dev-{device:06}"));
        practice.checks.into_iter().find(|check| check.id == id).unwrap()
    }

    #[track_caller]
    fn expect(&self, id: &str, exercised: u64, broken: u64) {
        let check = self.check(id);
        assert_eq!((check.exercised, check.broken), (exercised, broken), "{check:?}");
        let status = match (exercised, broken) {
            (0, _) => CheckStatus::NotExercised,
            (_, 0) => CheckStatus::Passed,
            _ => CheckStatus::Failed,
        };
        assert_eq!(check.status, status);
        assert_eq!(check.devices, broken.min(1));
    }
}

#[test]
fn each_practice_is_checked_by_one_rule_in_its_place() {
    let checked: Vec<BestPractice> =
        fleet::RULES.iter().map(|rule| rule.id).chain(RULES.iter().map(|rule| rule.id)).collect();
    assert_eq!(checked, BestPractice::ALL);
}

#[test]
fn retry_after_is_held_against_the_next_attempt_of_any_kind() {
    let mut story = Story::new();
    story.fails(429, Some(5)).after(5_000).fails(429, Some(5)).after(3_000);
    let connected =
        Observation::Connected { intended: story.now, started: story.now, fault: Some(Fault::Refused) };
    story.see(connected).after(9_000).sends(Operation::Register);
    story.expect("retry-after-floor", 2, 1);
    let check = story.check("retry-after-floor");
    let first = check.first.unwrap();
    assert_eq!((&*first.name, first.at_ns), ("dev-000042", 8_000_000_000));
    assert_eq!(first.what, "came back 2 s before the time that Retry-After named");
    assert_eq!(Some(first), check.worst);
}

#[test]
fn a_retry_after_that_cannot_be_read_is_ignored() {
    let odd = |wait: Span| {
        let mut story = Story::new();
        let outcome = Outcome::Answered { status: Status(429), code: 429_001 };
        let retry_after = RetryAfter::read_text("-5");
        let (operation, intended) = (Operation::Register, story.now);
        story.sends(operation);
        story.see(Observation::Ended {
            operation,
            intended,
            started: intended,
            outcome,
            assigned: false,
            retry_after,
        });
        story.see(Observation::BackedOff { operation, wait, retry_after: None });
        story
    };
    odd(Span::from_secs(30)).expect("retry-after-unreadable", 1, 0);
    for (wait, words) in
        [(Span::ZERO, "does not wait at all"), (Span::from_secs(1 << 32), "waits 1,193,046 h")]
    {
        let story = odd(wait);
        story.expect("retry-after-unreadable", 1, 1);
        let what = story.check("retry-after-unreadable").first.unwrap().what;
        assert!(what.starts_with(words), "{what}");
    }
    let mut plain = Story::new();
    plain.fails(429, None).after(1).sends(Operation::Register);
    plain.expect("retry-after-unreadable", 0, 0);
}

#[test]
fn a_server_that_is_not_trusted_is_not_hammered() {
    let mut story = Story::new();
    for _ in 0..2 {
        let (intended, fault) = (story.now, Some(Fault::TlsExpired));
        story.see(Observation::Connected { intended, started: intended, fault });
        let (operation, wait) = (Operation::Register, Span::from_secs(30));
        story.see(Observation::BackedOff { operation, wait, retry_after: None }).after(30_000);
    }
    story.expect("terminal-errors-rest", 1, 1);
}

#[test]
fn a_retry_in_no_time_is_seen_and_one_that_was_told_to_is_not() {
    let mut story = Story::new();
    story.fails(503, None).after(20).fails(429, Some(0)).after(0).fails(500, None).after(2_000);
    story.sends(Operation::Register);
    story.expect("no-immediate-retry", 2, 1);
    assert!(story.check("no-immediate-retry").first.unwrap().what.contains("20 ms"));
}

#[test]
fn the_worst_case_is_the_shortest_wait() {
    let mut story = Story::new();
    story.fails(503, None).after(500).fails(503, None).after(100).fails(503, None).after(700);
    story.sends(Operation::Register);
    let check = story.check("no-immediate-retry");
    assert!(check.worst.unwrap().what.contains("100 ms") && check.first.unwrap().what.contains("500 ms"));
}

#[test]
fn a_first_401_may_be_mended_at_once_and_a_second_one_not() {
    let mut story = Story::new();
    story.fails(401, None).after(10).fails(401, None).after(10).sends(Operation::Register);
    story.expect("terminal-errors-rest", 1, 1);
    let mut patient = Story::new();
    patient.fails(403, None).after(600_000).fails(404, None).after(3_600_000).sends(Operation::Register);
    patient.expect("terminal-errors-rest", 2, 0);
    let mut parks = Story::new();
    parks.sends(Operation::Register).gets(Operation::Register, 404).stops(Some(Span::from_secs(60)));
    parks.expect("terminal-errors-rest", 1, 1);
}

#[test]
fn a_request_that_is_wrong_is_not_sent_again() {
    let mut story = Story::new();
    story.fails(400, None).after(5_000).sends(Operation::Register);
    story.expect("client-errors-stop", 1, 1);
    let mut stops = Story::new();
    stops.sends(Operation::Register).gets(Operation::Register, 415).stops(None);
    stops.expect("client-errors-stop", 1, 0);
}

#[test]
fn refusals_lead_to_register_and_server_errors_to_a_question() {
    let mut story = Story::new();
    story.fails(401, None).after(5_000).sends(Operation::Lookup);
    story.expect("full-registration", 1, 1);
}

#[test]
fn a_server_error_is_no_reason_to_start_over_at_once() {
    let poll = |story: &mut Story, status| {
        story.sends(Operation::Poll).gets(Operation::Poll, status);
        let (wait, operation) = (Span::from_secs(5), Operation::Poll);
        story.see(Observation::BackedOff { operation, wait, retry_after: None }).after(5_000);
    };
    let mut story = Story::new();
    poll(&mut story, 500);
    story.sends(Operation::Register);
    story.expect("server-error-resume", 1, 1);
    assert!(story.check("server-error-resume").first.unwrap().what.ends_with("with 500"));
    let mut patient = Story::new();
    for _ in 0..5 {
        poll(&mut patient, 503);
    }
    patient.sends(Operation::Register);
    patient.expect("server-error-resume", 5, 0);
    let mut asks = Story::new();
    asks.fails(500, None).after(5_000).sends(Operation::Lookup);
    asks.expect("server-error-resume", 1, 0);
}

#[test]
fn six_polls_in_ten_seconds_are_one_too_many() {
    let mut story = Story::new();
    for _ in 0..6 {
        story.sends(Operation::Poll).gets(Operation::Poll, 202).after(1_500);
    }
    story.expect("poll-pace", 6, 1);
    let mut slow = Story::new();
    for _ in 0..20 {
        slow.sends(Operation::Poll).gets(Operation::Poll, 202).after(2_000);
    }
    slow.expect("poll-pace", 20, 0);
}

#[test]
fn a_registration_that_is_accepted_is_not_made_twice() {
    let mut story = Story::new();
    story.sends(Operation::Register).gets(Operation::Register, 202).after(2_000).sends(Operation::Register);
    story.expect("one-registration", 1, 1);
    let mut polls = Story::new();
    polls.sends(Operation::Register).gets(Operation::Register, 202).after(2_000).sends(Operation::Poll);
    polls.gets(Operation::Poll, 200).assigned().after(1).sends(Operation::Register);
    polls.expect("one-registration", 1, 0);
}

#[test]
fn a_lost_answer_is_cleared_up_or_not() {
    let lost = Outcome::Broke(Fault::Lost);
    let mut story = Story::new();
    story.sends(Operation::Register).ends(Operation::Register, lost).after(9_000).assigned();
    story.expect("unknown-outcome", 1, 0);
    let mut stops = Story::new();
    stops.sends(Operation::Register).ends(Operation::Register, lost).stops(None);
    stops.expect("unknown-outcome", 1, 1);
}

#[test]
fn what_a_late_generator_can_fake_is_unknown() {
    let mut story = Story::new();
    story.fails(429, Some(5)).after(1_000).fails(400, None).after(5_000).sends(Operation::Register);
    let mut record = Record::empty();
    record.audit = Some(fleetstorm_reports::record::Audit {
        send_lag: Default::default(),
        cpu_share: 1.0,
        cpu_share_worst: 1.0,
        cpu_s: 1.0,
        rss_max_bytes: 1,
        descriptors_max: 1,
        descriptors_limit: 1,
        exhausted: 0,
        shards: 1,
        untrusted: vec!["late".into()],
        ..Default::default()
    });
    let practice = story.checker.practice(&record, false, |_| String::new());
    let status = |id: &str| practice.checks.iter().find(|check| check.id == id).unwrap().status;
    assert_eq!(status("retry-after-floor"), CheckStatus::Unknown);
    assert_eq!(status("client-errors-stop"), CheckStatus::Failed);
    assert_eq!(status("poll-pace"), CheckStatus::NotExercised);
}

#[test]
fn merged_shards_keep_the_first_and_the_worst() {
    let mut early = Story::new();
    early.fails(429, Some(5)).after(4_000).sends(Operation::Register);
    let mut late = Story::new();
    late.after(60_000).fails(429, Some(50)).after(1_000).sends(Operation::Register);
    let mut either_way = [early.checker.clone(), late.checker.clone()];
    either_way[0].merge(&late.checker);
    either_way[1].merge(&early.checker);
    let [one, other] = either_way.map(|checker| checker.practice(&Record::empty(), false, |_| String::new()));
    assert_eq!(one, other);
    let check = one.checks.iter().find(|check| check.id == "retry-after-floor").unwrap();
    assert_eq!((check.exercised, check.broken, check.devices), (2, 2, 2));
    assert_eq!((check.first.as_ref().unwrap().at_ns, one.watched), (4_000_000_000, 2));
    assert!(check.worst.as_ref().unwrap().what.contains("49 s"));
}

/// The status of a rule of the fleet.
fn fleet(record: &Record, waits: impl Fn(&mut Checker), id: &str) -> CheckStatus {
    let mut checker = Checker::new(Profile::default());
    waits(&mut checker);
    let practice = checker.practice(record, false, |_| String::new());
    practice.checks.into_iter().find(|check| check.id == id).unwrap().status
}

#[test]
fn a_start_within_the_quota_is_staggered() {
    let with = |first: Vec<u32>| {
        let mut record = Record::empty();
        record.bound = Some(Bound { rate_per_s: 10.0, burst: 100.0, window_s: 0.0, what: String::new() });
        record.series = Series { first, ..Series::default() };
        fleet(&record, |_| {}, "staggered-start")
    };
    assert_eq!(with(vec![10; 300]), CheckStatus::Passed);
    assert_eq!(
        with((0..180).map(|second| if second % 60 == 0 { 600 } else { 0 }).collect()),
        CheckStatus::Passed
    );
    assert_eq!(with(vec![601]), CheckStatus::Failed);
    assert_eq!(with(Vec::new()), CheckStatus::NotExercised);
}

#[test]
fn waits_must_grow_and_spread() {
    let waits = |of: fn(u64, u64) -> u64| {
        move |checker: &mut Checker| {
            for failures in 1..=5 {
                for device in 0..200 {
                    checker.waits.add(failures as u16, Span::from_millis(of(failures, device)), false);
                }
            }
        }
    };
    let status = |of, id| fleet(&Record::empty(), waits(of), id);
    let doubling = |failures, device| (1u64 << failures) * (1_000 + 10 * device);
    assert_eq!(status(doubling, "back-off-grows"), CheckStatus::Passed);
    assert_eq!(status(doubling, "back-off-jittered"), CheckStatus::Passed);
    assert_eq!(status(|_, _| 2_000, "back-off-grows"), CheckStatus::Failed);
    assert_eq!(status(|failures, _| (1u64 << failures) * 1_000, "back-off-jittered"), CheckStatus::Failed);
    assert_eq!(status(|failures, _| 100_000 >> failures, "back-off-grows"), CheckStatus::Failed);
    assert_eq!(fleet(&Record::empty(), |_| {}, "back-off-grows"), CheckStatus::NotExercised);
}

#[test]
fn a_cohort_that_wastes_more_than_its_share_is_named() {
    let mut record = Record::empty();
    let cohort = |name: &str, devices, throttled| fleetstorm_reports::record::Cohort {
        name: name.into(),
        attestation: String::new(),
        retry: String::new(),
        transport: String::new(),
        totals: Totals { devices, throttled, ..Totals::default() },
        completion: Default::default(),
        assigned: Vec::new(),
    };
    let mut judge = |good: u64, bad: u64| {
        record.cohorts = vec![cohort("good", 900, good), cohort("bad", 100, bad)];
        record.totals = Totals { devices: 1_000, throttled: good + bad, ..Totals::default() };
        let practice = Checker::new(Profile::default()).practice(&record, false, |_| String::new());
        practice.checks.into_iter().find(|check| check.id == "cohort-waste").unwrap()
    };
    assert_eq!(judge(10, 20).status, CheckStatus::NotExercised);
    assert_eq!(judge(1_800, 300).status, CheckStatus::Passed);
    let found = judge(1_800, 9_000);
    assert_eq!(found.status, CheckStatus::Failed);
    assert!(found.evidence.starts_with("bad, 10 % of the devices, made 83.3 %"), "{}", found.evidence);
}

#[test]
fn a_registration_instead_of_a_reconnect_is_found() {
    let mut record = Record::empty();
    assert_eq!(fleet(&record, |_| {}, "reconnect-first"), CheckStatus::NotExercised);
    let mut life = fleetstorm_reports::record::Life { devices: 10, ..Default::default() };
    record.life = Some(life.clone());
    assert_eq!(fleet(&record, |_| {}, "reconnect-first"), CheckStatus::NotExercised);
    (life.reconnects, life.reconnects_cached) = (10, 8);
    life.returns = [("patience".to_owned(), 2)].into();
    life.registrations_needless = 2;
    record.life = Some(life.clone());
    assert_eq!(fleet(&record, |_| {}, "reconnect-first"), CheckStatus::Passed);
    life.returns.insert("boot".to_owned(), 3);
    life.registrations_needless = 5;
    record.life = Some(life);
    assert_eq!(fleet(&record, |_| {}, "reconnect-first"), CheckStatus::Failed);
}

#[test]
fn herds_amplification_and_full_hubs_are_found() {
    let mut record = Record::empty();
    assert_eq!(fleet(&record, |_| {}, "no-herd"), CheckStatus::NotExercised);
    record.herd = HerdIndex {
        retries: 500,
        synchrony: Some(0.05),
        period_s: 60,
        fullest_share: Some(0.01),
        ..HerdIndex::default()
    };
    assert_eq!(fleet(&record, |_| {}, "no-herd"), CheckStatus::Passed);
    record.herd.synchrony = Some(0.9);
    assert_eq!(fleet(&record, |_| {}, "no-herd"), CheckStatus::Failed);
    (record.totals.registers, record.totals.assigned) = (1_000, 100);
    assert_eq!(fleet(&record, |_| {}, "amplification"), CheckStatus::Passed);
    record.totals.assigned = 50;
    assert_eq!(fleet(&record, |_| {}, "amplification"), CheckStatus::Failed);
    record.totals.hubs = [("a".into(), 1_000_000), ("b".into(), 1_000_001)].into();
    assert_eq!(fleet(&record, |_| {}, "hub-size"), CheckStatus::Failed);
    record.totals.hubs.remove("b");
    assert_eq!(fleet(&record, |_| {}, "hub-size"), CheckStatus::Passed);
}
