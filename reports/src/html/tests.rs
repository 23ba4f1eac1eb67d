//! The page as a browser's parser sees it.

use std::cell::RefCell;
use std::collections::BTreeSet;

use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use proptest::prelude::*;

use super::*;
use crate::record::*;
use crate::testing;

/// Names and values.
type Attributes = Vec<(String, String)>;

/// What a browser finds in a page.
#[derive(Default)]
struct Page {
    open: RefCell<Vec<String>>,
    problems: RefCell<Vec<String>>,
    /// Every start tag.
    tags: RefCell<Vec<(String, Attributes)>>,
    text: RefCell<String>,
}

impl TokenSink for Page {
    type Handle = ();

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<()> {
        match token {
            Token::TagToken(tag) => return self.tag(&tag, line),
            Token::CharacterTokens(text) => self.text.borrow_mut().push_str(&text),
            Token::ParseError(why) => self.problems.borrow_mut().push(why.into_owned()),
            Token::CommentToken(_) => self.problems.borrow_mut().push("a comment".into()),
            Token::NullCharacterToken => self.problems.borrow_mut().push("a null".into()),
            Token::DoctypeToken(_) | Token::EOFToken => {}
        }
        TokenSinkResult::Continue
    }
}

impl Page {
    fn read(html: &str) -> Self {
        let tokenizer =
            Tokenizer::new(Self::default(), TokenizerOpts { exact_errors: true, ..TokenizerOpts::default() });
        let input = BufferQueue::default();
        input.push_back(html.into());
        let _ = tokenizer.feed(&input);
        tokenizer.end();
        tokenizer.sink
    }

    fn tag(&self, tag: &Tag, line: u64) -> TokenSinkResult<()> {
        const VOID: [&str; 2] = ["meta", "br"];
        let name = tag.name.to_string();
        if tag.kind == TagKind::EndTag {
            let open = self.open.borrow_mut().pop();
            if open.as_ref() != Some(&name) {
                self.problems.borrow_mut().push(format!("line {line}: {name} ends {open:?}"));
            }
            return TokenSinkResult::Continue;
        }
        let attributes = tag.attrs.iter().map(|a| (a.name.local.to_string(), a.value.to_string())).collect();
        self.tags.borrow_mut().push((name.clone(), attributes));
        if !VOID.contains(&&*name) {
            self.open.borrow_mut().push(name.clone());
        }
        match &*name {
            "style" => TokenSinkResult::RawData(RawKind::Rawtext),
            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
            _ => TokenSinkResult::Continue,
        }
    }

    /// Values of an attribute, wherever it stands.
    fn values(&self, attribute: &str) -> Vec<String> {
        let tags = self.tags.borrow();
        let all = tags.iter().flat_map(|(_, attributes)| attributes);
        all.filter(|(name, _)| name == attribute).map(|(_, value)| value.clone()).collect()
    }

    /// What holds for every page, whatever the record says.
    fn check(&self) {
        assert_eq!(*self.problems.borrow(), [""; 0]);
        assert_eq!(*self.open.borrow(), [""; 0], "left open");
        let ids = self.values("id");
        let unique: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{ids:?}");
        for link in self.values("href") {
            assert!(link.strip_prefix('#').is_some_and(|id| ids.iter().any(|known| known == id)), "{link}");
        }
        for label in self.values("aria-labelledby").iter().flat_map(|list| list.split(' ')) {
            assert!(ids.iter().any(|id| id == label), "{label}");
        }
        const KNOWN: &[&str] = &[
            "html",
            "head",
            "meta",
            "title",
            "style",
            "script",
            "body",
            "a",
            "div",
            "nav",
            "ol",
            "ul",
            "li",
            "main",
            "header",
            "section",
            "footer",
            "h1",
            "h2",
            "h3",
            "p",
            "span",
            "strong",
            "code",
            "pre",
            "dl",
            "dt",
            "dd",
            "figure",
            "figcaption",
            "details",
            "summary",
            "table",
            "caption",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "svg",
            "g",
            "desc",
            "text",
            "line",
            "path",
            "rect",
            "circle",
        ];
        assert_eq!(
            self.tags.borrow().iter().filter(|(tag, _)| tag == "script").count(),
            1,
            "its own and no other"
        );
        for (tag, attributes) in &*self.tags.borrow() {
            assert!(KNOWN.contains(&&**tag), "{tag}");
            for (name, value) in attributes {
                // The policy allows no inline style, and nothing in a page may act or load.
                assert!(!name.starts_with("on") && !["style", "src", "action"].contains(&&**name), "{name}");
                assert!(!value.contains("NaN") && !value.contains("inf"), "{name}={value}");
            }
        }
    }
}

fn page(record: &Record) -> Page {
    let page = Page::read(&html(record));
    page.check();
    page
}

/// The page without its style, one element a line.
fn readable(html: &str) -> String {
    let (head, rest) = html.split_once("<style>").unwrap();
    let (_, body) = rest.split_once("</style>").unwrap();
    let (body, _) = body.split_once("<script>").unwrap();
    let head = head.replace(&policy().replace('\'', "&#39;"), "POLICY").replace(&policy(), "POLICY");
    format!("{head}{body}").replace("><", ">\n<")
}

#[test]
fn the_page_of_a_cold_start() {
    let record = testing::record();
    page(&record);
    insta::assert_snapshot!(readable(&html(&record)));
}

#[test]
fn the_numbers_of_the_record_stand_on_the_page() {
    let record = testing::record();
    let page = page(&record);
    let text = page.text.borrow();
    for number in [
        "cold start",
        "997 of 1,000",
        "99.7 %",
        "1 m 41 s",
        "1,502",
        "503 of 2,502 requests",
        "2.38ms",
        "exit code 10",
        "127.0.0.1:8443",
        "full-jitter (base_ms = 500)",
        "401000",
        "connect-timeout",
        "1,020",
        "112 MiB",
        "0ne00F1EE75",
    ] {
        assert!(text.to_lowercase().contains(&number.to_lowercase()), "{number}");
    }
    for hub in record.totals.hubs.keys() {
        assert!(text.contains(hub));
    }
}

#[test]
fn sections_without_data_are_left_out() {
    let all = page(&testing::record()).values("id");
    for id in [
        "objectives",
        "completion",
        "load",
        "latency",
        "outcomes",
        "retries",
        "time",
        "practice",
        "cohorts",
        "audit",
        "reproduce",
    ] {
        assert!(all.iter().any(|known| known == id), "{id}");
    }
    let empty = page(&Record::empty()).values("id");
    assert!(empty.iter().any(|id| id == "verdict") && empty.iter().any(|id| id == "method"));
    assert!(!empty.iter().any(|id| id == "completion" || id == "audit" || id == "load"));
}

#[test]
fn percentiles_of_few_samples_are_marked() {
    let record = testing::record();
    let html = html(&record);
    let register = &record.phases[0].intended;
    assert!(register.count < 1_000);
    let marked =
        |us: u64| format!("<span class=\"thin\" title=\"too few samples\">{}</span>", part::micros(us));
    assert!(html.contains(&marked(register.p999_us)) && html.contains(&marked(register.p99_us)));
    assert!(!html.contains(&marked(register.p95_us)));
}

#[test]
fn the_policy_lets_one_script_run_and_nothing_load() {
    let html = html(&testing::record());
    let policy = policy();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
    assert!(policy.contains("; script-src 'sha256-") && !policy.contains("unsafe"));
    // The hash is that of the text between the tags: a parser would find the same text.
    let style = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    assert_eq!(style, STYLE);
    let script = html.split_once("<script>").unwrap().1.split_once("</script>").unwrap().0;
    assert_eq!(script, SCRIPT);
    for reach in ["fetch(", "XMLHttpRequest", "import(", "eval(", "Function(", "innerHTML", ".style", "<!--"]
    {
        assert!(!SCRIPT.contains(reach), "{reach}");
    }
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains('<'));
    // The namespace of SVG is a name, not an address.
    let html = html.replace("http://www.w3.org/2000/svg", "");
    assert!(!html.contains("http://") && !html.contains("https://"));
}

/// Every string of a record says `text`.
fn everywhere(text: &str) -> Record {
    let mut record = testing::record();
    let it = || text.to_owned();
    (record.tool, record.name, record.scenario) = (it(), it(), it());
    record.target = Target { kind: it(), address: it(), id_scope: it(), throttle: Some(it()) };
    for journey in &mut record.journeys {
        (journey.quantile, journey.name) = (it(), it());
    }
    for check in &mut record.practice.checks {
        (check.id, check.title, check.evidence, check.advice) = (it(), it(), it(), it());
        for case in [&mut check.first, &mut check.worst].into_iter().flatten() {
            (case.name, case.what) = (it(), it());
        }
    }
    for heat in &mut record.heat {
        heat.phase = it();
    }
    for way in &mut record.flow {
        (way.from, way.to) = (it(), it());
    }
    let way = record.flow[0].clone();
    record.flow.extend(vec![way; 300]);
    record.plugins = vec![Plugin { kind: it(), id: it(), version: it(), sha256: Some(it()) }; 50];
    record.end = End::Ceiling { ceiling: it() };
    let mut cohort = record.cohorts[0].clone();
    (cohort.name, cohort.attestation, cohort.retry, cohort.transport) = (it(), it(), it(), it());
    record.cohorts = vec![cohort; 300];
    record.totals.hubs = (0..65).map(|index| (format!("{text}{index}"), 1)).collect();
    record.totals.stopped_by = (0..65).map(|index| (format!("{text}{index}"), 1)).collect();
    for phase in &mut record.phases {
        (phase.phase, phase.outcome) = (it(), it());
    }
    let phase = record.phases[0].clone();
    record.phases.extend(vec![phase; 100]);
    for code in &mut record.codes {
        (code.operation, code.fault) = (it(), it());
    }
    let code = Code { status: 0, ..record.codes[0].clone() };
    record.codes.extend(vec![code; 200]);
    let objective =
        Objective { expression: it(), observed: it(), note: it(), ..record.objectives[0].clone() };
    record.objectives = vec![objective; 200];
    if let Some(bound) = &mut record.bound {
        bound.what = it();
    }
    if let Some(audit) = &mut record.audit {
        audit.untrusted = vec![it(); 100];
    }
    if let Some(machine) = &mut record.machine {
        (machine.started_utc, machine.os) = (it(), it());
    }
    record.verdict.sentence = it();
    record
}

#[test]
fn hostile_strings_stay_text() {
    for evil in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "</title></style></code></pre><h1>gotcha",
        "javascript:alert(1)",
        "&lt;script&gt;&#0;",
        "\u{0}\u{1b}[2J\u{202e}txt.exe",
        "]]><!--",
    ] {
        let page = page(&everywhere(evil));
        let seen = page.text.borrow();
        // It is shown, not swallowed, apart from what is no letter.
        assert!(seen.contains(&crate::text::printable(evil)), "{evil}");
    }
}

#[test]
fn a_page_is_never_larger_than_a_megabyte() {
    let weeks = 14 * 86_400;
    // Quotes grow most when they are escaped.
    let mut record = everywhere(&"\"".repeat(1 << 17));
    let noise = |factor: u32| (0..weeks as u32).map(|second| second.wrapping_mul(factor) % 1_009).collect();
    record.series = Series {
        intended: noise(7_919),
        sent: noise(104_729),
        accepted: noise(1_299_709),
        throttled: noise(15_485_863),
        failed: noise(32_452_843),
        assigned: noise(49_979_687),
        in_flight: noise(67_867_967),
        ..Series::default()
    };
    record.duration_ns = weeks as u64 * 1_000_000_000;
    record.attempts = (0..100_000).map(|attempts| (attempts, 1)).collect();
    let html = html(&record);
    Page::read(&html).check();
    assert!(html.len() < 1_000_000, "{}", html.len());
    assert!(html.contains("One point stands for 1 h: its average second."));
}

prop_compose! {
    fn distribution()(
        count: u64, us in prop::array::uniform8(any::<u64>()), mean_us: f64, real: bool,
    ) -> Distribution {
        Distribution {
            count,
            min_us: us[0],
            mean_us,
            p50_us: us[1],
            p90_us: us[2],
            p95_us: us[3],
            p99_us: us[4],
            p999_us: us[5],
            max_us: us[6],
            histogram: if real { testing::record().phases[0].intended.histogram.clone() } else { "AAAA".into() },
        }
    }
}

prop_compose! {
    /// A record whose numbers contradict each other in every way: read from a file, nothing can be relied on.
    fn record()(
        totals in prop::array::uniform12(any::<u64>()),
        moments in prop::array::uniform5(any::<Option<u64>>()),
        series in prop::array::uniform7(prop::collection::vec(any::<u32>(), 0..30)),
        distributions in prop::collection::vec(distribution(), 4),
        attempts in prop::collection::btree_map(any::<u64>(), any::<u64>(), 0..50),
        (rate_per_s, burst, window_s) in any::<(f64, f64, f64)>(),
        margin in any::<Option<f64>>(),
        shares in prop::array::uniform3(any::<f64>()),
        (status, code, kind) in any::<(u16, u32, u8)>(),
    ) -> Record {
        let mut record = testing::record();
        let [devices, booted, assigned, stopped, connections, requests, registers, billable, throttled, failed, given, honoured] = totals;
        record.devices = devices;
        record.totals = Totals {
            devices, booted, assigned, stopped, connections, requests, registers, billable, throttled, failed,
            hubs: [("a".into(), devices), ("b".into(), given)].into(),
            ..Totals::default()
        };
        record.completion = Completion {
            t50_ns: moments[0], t90_ns: moments[1], t99_ns: moments[2], t999_ns: moments[3], t100_ns: moments[4],
        };
        record.cohorts[0].totals = record.totals.clone();
        record.cohorts[0].completion = record.completion.clone();
        let [intended, sent, accepted, throttled, failed, assigned, in_flight] = series;
        record.series = Series {
            intended, sent, accepted, throttled, failed, assigned, in_flight, step_s: u32::from(kind % 3),
            ..Series::default()
        };
        record.duration_ns = billable;
        record.window_ns = given;
        for (way, count) in record.flow.iter_mut().zip(totals) {
            (way.times, way.devices) = (count, requests);
        }
        record.herd = HerdIndex {
            retries: registers, synchrony: Some(shares[0]), period_s: code, fullest_share: Some(shares[1]),
            fullest_ns: stopped, folded: record.series.sent.clone(),
        };
        for (journey, total) in record.journeys.iter_mut().zip(totals) {
            (journey.total_ns, journey.back_off_ns, journey.tls_ns) = (total, requests, registers);
        }
        record.heat[0].edges_us = moments.into_iter().flatten().collect();
        record.heat[0].rows = vec![record.series.accepted.clone(), record.series.throttled.clone()];
        record.heat[1].rows[0].clone_from(&record.series.sent);
        record.codes[1].windows.clone_from(&record.series.failed);
        record.cohorts[0].assigned.clone_from(&record.series.assigned);
        for (phase, distribution) in record.phases.iter_mut().zip(&distributions) {
            (phase.intended, phase.service) = (distribution.clone(), distributions[3].clone());
        }
        record.attempts = attempts;
        record.retry_after = RetryAfterUse { given, honoured, violated: devices };
        record.bound = Some(Bound { rate_per_s, burst, window_s, what: String::new() });
        record.objectives[0].margin = margin;
        record.codes[0].status = status;
        record.codes[0].code = code;
        if let Some(audit) = &mut record.audit {
            [audit.cpu_share, audit.cpu_share_worst, audit.cpu_s] = shares;
            audit.send_lag = distributions[0].clone();
            audit.descriptors_limit = given;
        }
        record.clock = [Clock::Wall, Clock::Wired, Clock::Virtual][usize::from(kind % 3)];
        record
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_record_makes_a_sound_page(record in record()) {
        page(&record);
        crate::markdown(&record);
    }
}
