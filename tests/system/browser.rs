//! The report as a person meets it: in a real browser, from a file, without a network.

use std::process::Command;

use serde_json::Value;

use crate::harness::Bench;

const SCENARIO: &str = r#"
    name = "<b>bold</b> & \"quoted\""
    horizon = "60s"
    objectives = ["assigned == 100%", "p99(register) < 1ns"]
    [fleet]
    devices = 300
    arrival = { kind = "all-at-once", spread = "1s" }
    [[cohort]]
    name = "<img src=x onerror=alert(1)>"
    retry = { kind = "full-jitter", base_ms = 200, cap_ms = 2000 }
    [mock]
    retry_after_s = 1
    [mock.throttle]
    rate = "50/s"
    burst = 50
"#;

/// What the page says of itself, found by a page around it. The report has one script, which it does not need.
const AROUND: &str = r#"<!DOCTYPE html><meta charset="utf-8"><style>iframe { width: WIDTHpx; height: 900px; border: 0 }</style>
<iframe id="report" src="out/report.html"></iframe><pre id="found"></pre><script>
// Texts of a chart that leave its figure, or stand in each other.
const boxes = (page, charts) => charts.flatMap(chart => {
    const around = (chart.closest("figure") ?? chart).getBoundingClientRect();
    if (!chart.getBoundingClientRect().width) return [];
    const shown = [...chart.querySelectorAll("text")].filter(text => text.getAttribute("visibility") !== "hidden");
    const texts = shown.map(text => [text.textContent, text.getBoundingClientRect()]).filter(([, box]) => box.width);
    const cut = texts.filter(([, box]) => box.left < around.left - 1 || box.right > around.right + 1);
    const together = texts.flatMap(([one, a], at) => texts.slice(at + 1).filter(([, b]) =>
        Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2
    ).map(([other]) => `${chart.closest("figure")?.id}: "${one}" stands in "${other}"`));
    return [...cut.map(([text]) => `${chart.closest("figure")?.id}: "${text}" is cut`), ...together];
});
document.getElementById("report").addEventListener("load", event => {
    const page = event.target.contentDocument, all = query => [...page.querySelectorAll(query)];
    document.getElementById("found").textContent = JSON.stringify({
        title: page.title,
        text: page.body.innerText,
        headings: all("h1, h2").map(heading => heading.textContent),
        ids: all("[id]").map(element => element.id),
        charts: all("svg:not(svg svg)").filter(chart => chart.getBoundingClientRect().width > 50).length,
        unnamed: all("svg:not([aria-hidden=true], svg svg)").filter(chart => !chart.querySelector("title")).length,
        tables: all("table").length,
        scripts: all("script, link, img, iframe, object").length,
        alive: all("figure[data-chart] output").length,
        boxes: boxes(page, all("svg.chart")),
        bold: all("b").length,
        links: all("a[href^='#']").filter(link => !page.getElementById(link.hash.slice(1))).map(link => link.hash),
        overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
        background: getComputedStyle(page.body).backgroundColor,
        policy: page.querySelector("meta[http-equiv='Content-Security-Policy']")?.content,
    });
});
</script>"#;

fn chromium(bench: &Bench, more: &[&str], page: &str) -> std::process::Output {
    let page = format!("file://{}", bench.path(page).display());
    let profile = format!("--user-data-dir={}", bench.path("profile").display());
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args([
            "--allow-file-access-from-files",
            "--enable-logging=stderr",
            "--virtual-time-budget=5000",
            &profile,
        ])
        .args(more)
        .arg(page)
        .output();
    output.expect("chromium is installed: `bash tests/run` does it")
}

/// Looks at the report in a frame of this width.
fn look(bench: &Bench, width: u32, more: &[&str]) -> Value {
    bench.file("around.html", &AROUND.replace("WIDTH", &width.to_string()));
    let output = chromium(bench, &[more, &["--dump-dom"]].concat(), "around.html");
    let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "the console is quiet: {complaints:?}");
    let found = dom.split_once("<pre id=\"found\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let found = found.unwrap_or_else(|| panic!("no page: {dom}")).0;
    let text = found.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " ").replace("&amp;", "&");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What must hold for every page, whatever it was made from: wide, on a phone and in the dark.
#[track_caller]
fn is_whole(bench: &Bench, words: &[&str]) -> Value {
    let wide = look(bench, 1_200, &["--window-size=1300,1000"]);
    let text = wide["text"].as_str().unwrap().to_lowercase();
    for words in words {
        assert!(text.contains(&words.to_lowercase()), "`{words}` is not on the page: {text}");
    }
    assert_eq!(wide["unnamed"], 0, "every chart has a title for a screen reader");
    assert_eq!(wide["scripts"], 1, "its own script and nothing else");
    assert_eq!(wide["boxes"], serde_json::json!([]), "no label touches another one or is cut");
    assert_eq!(wide["links"], serde_json::json!([]), "every link leads somewhere");
    assert_eq!(wide["overflow"], 0);
    let phone = look(bench, 390, &["--window-size=500,1000", "--blink-settings=preferredColorScheme=0"]);
    assert_eq!(phone["overflow"], 0, "nothing sticks out on a phone");
    assert_eq!(phone["boxes"], serde_json::json!([]), "nor touches another label there");
    assert_ne!(phone["background"], wide["background"], "the dark is dark");
    wide
}

fn has(list: &Value, wanted: &str) -> bool {
    list.as_array().unwrap().iter().any(|entry| entry == wanted)
}

#[test]
fn the_report_is_whole_in_a_browser() {
    let bench = Bench::new();
    assert_eq!(bench.run(SCENARIO, &["--clock", "wired"]).code, 10);
    let record = bench.record();

    let wide = look(&bench, 1_200, &["--window-size=1300,1000"]);
    let text = wide["text"].as_str().unwrap();
    for words in ["300", "429", "Too many requests", "p99(register) < 1ns", "full-jitter"] {
        assert!(text.to_lowercase().contains(&words.to_lowercase()), "`{words}` is not on the page: {text}");
    }
    assert!(text.contains(&record.verdict.sentence), "the verdict's sentence is there as the record has it");
    for id in ["verdict", "objectives", "completion", "load", "latency", "outcomes", "retries", "reproduce"] {
        assert!(has(&wide["ids"], id), "there is no section `{id}`: {}", wide["ids"]);
    }
    assert!(wide["charts"].as_u64().unwrap() >= 4, "{}", wide["charts"]);
    assert_eq!(wide["unnamed"], 0, "every chart has a title for a screen reader");
    assert!(wide["tables"].as_u64() >= wide["charts"].as_u64(), "every chart has its table");
    assert_eq!((&wide["scripts"], &wide["bold"]), (&1.into(), &0.into()), "hostile names are text");
    assert!(wide["alive"].as_u64() >= Some(4), "the script runs from a file: {}", wide["alive"]);
    assert_eq!(wide["links"], serde_json::json!([]), "every link leads somewhere");
    assert!(wide["title"].as_str().unwrap().contains("<b>bold</b>"));
    assert!(wide["policy"].as_str().unwrap().starts_with("default-src 'none'"));
    assert_eq!(wide["overflow"], 0);

    let phone = look(&bench, 390, &["--window-size=500,1000"]);
    assert_eq!(phone["overflow"], 0, "nothing sticks out on a phone");
    assert!(phone["charts"].as_u64().unwrap() >= 4);

    let brightness = |found: &Value| -> u32 {
        let colour = found["background"].as_str().unwrap();
        let numbers =
            colour.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse::<u32>().ok());
        numbers.take(3).sum()
    };
    let dark = look(&bench, 1_200, &["--blink-settings=preferredColorScheme=0"]);
    assert!(
        brightness(&wide) > 600 && brightness(&dark) < 200,
        "{} {}",
        wide["background"],
        dark["background"]
    );
}

#[test]
fn the_report_prints() {
    let bench = Bench::new();
    bench.run(SCENARIO, &["--clock", "wired"]);
    let to = format!("--print-to-pdf={}", bench.path("report.pdf").display());
    chromium(&bench, &[&to, "--no-pdf-header-footer"], "out/report.html");
    let pdf = std::fs::read(bench.path("report.pdf")).unwrap();
    assert!(pdf.starts_with(b"%PDF") && pdf.len() > 20_000, "{} bytes", pdf.len());
}

#[test]
fn runs_of_every_kind_have_a_whole_page() {
    let bench = Bench::new();
    let passed = "name = \"calm\"\nobjectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 60\n[mock]\nretry_after_s = 1\n";
    assert_eq!(bench.run(passed, &["--clock", "wired"]).code, 0);
    is_whole(
        &bench,
        &["passed", "every objective held", "Best practices", "Where the time went", "Latency over time"],
    );

    // With this seed nobody has booted when the horizon comes.
    let empty = "seed = 15\nhorizon = \"10ms\"\nobjectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 3\n\
                 arrival = { kind = \"poisson\", rate = \"300/s\" }\n";
    assert_eq!(bench.run(empty, &["--clock", "virtual"]).code, 11);
    is_whole(&bench, &["no data", "no device booted"]);
}

#[test]
fn interrupted_and_untrusted_runs_say_so_on_the_page() {
    let bench = Bench::new();
    bench.file(
        "scenario.toml",
        "horizon = \"10m\"\nobjectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 200\n\
         arrival = { kind = \"constant\", rate = \"20/s\" }\n",
    );
    let child =
        bench.command().args(["run", "scenario.toml", "--out", "out", "--progress", "none"]).spawn().unwrap();
    std::thread::park_timeout(std::time::Duration::from_millis(3_500));
    crate::harness::signal(&child, rustix::process::Signal::INT);
    let mut child = child;
    assert_eq!(child.wait().unwrap().code(), Some(130));
    is_whole(&bench, &["interrupted", "Generator self-audit"]);

    // Whether this machine keeps up is not for a test to choose: the verdict of the same run is set.
    let mut record = bench.record();
    record.audit.as_mut().unwrap().untrusted = vec!["p99 of the send lag is 80 ms, above 20 ms".into()];
    record.verdict.result = fleetstorm_reports::record::VerdictResult::Untrusted;
    std::fs::write(bench.path("out/run.json"), record.write().unwrap()).unwrap();
    assert_eq!(bench.fleetstorm(&["report", "out/run.json", "--out", "out/report.html"]).code, 0);
    is_whole(&bench, &["untrusted", "p99 of the send lag is 80 ms"]);
}

/// Faults and an outage stand as named bands on every chart over time, and the page begins with the answer.
#[test]
fn a_run_with_faults_answers_first_and_names_them_on_every_chart() {
    let bench = Bench::new();
    let scenario = "question = \"Does the fleet come back?\"\nhorizon = \"20m\"\nobjectives = [\"assigned == 100%\"]\n\
        [fleet]\ndevices = 300\narrival = { kind = \"all-at-once\", spread = \"30s\" }\n\
        [[mock.outage]]\nat = \"20s\"\nfor = \"10s\"\nstatus = 500\nshare = 0.5\n\
        [[chaos]]\nname = \"storm of the early morning\"\nfault = { kind = \"service.throttle\", retry_after = [\"2\"] }\n\
        start = \"2s\"\nduration = \"5s\"\n\
        [[chaos]]\nname = \"second storm\"\nfault = { kind = \"service.throttle\", retry_after = [\"2\"] }\n\
        start = \"9s\"\nduration = \"2s\"\n";
    assert_eq!(bench.run(scenario, &["--clock", "virtual"]).code, 0);
    let wide = is_whole(
        &bench,
        &["Does the fleet come back?", "went into waiting", "second storm", "service answers 500"],
    );
    let text = wide["text"].as_str().unwrap();
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words}: {text}"));
    assert!(
        at("Does the fleet come back?") < at("Every objective held")
            && at("Every objective held") < at("went into waiting")
    );
    assert!(at("went into waiting") < at("fleetstorm ") && at("Completion: devices") < at("Objectives held"));
    let page = std::fs::read_to_string(bench.path("out/report.html")).unwrap();
    let charts = page.matches("quot;shared&quot;:1").count();
    assert!(charts >= 6, "{charts}");
    for cause in ["band fault", "band outage"] {
        assert!(page.matches(cause).count() >= charts, "{cause} stands on every chart over time");
    }
    assert_eq!(bench.record().outages.len(), 1);
}

#[test]
fn comparisons_searches_and_differences_have_a_whole_page() {
    let bench = Bench::new();
    let scenario = "horizon = \"20m\"\nobjectives = [\"assigned == 100% within 1m\"]\n[fleet]\ndevices = 200\n\
                    [mock.throttle]\nrate = \"10/s\"\nburst = 20\n\
                    [compare]\nseeds = 9\nstrategies = [\"full-jitter\", \"exponential\", \"fixed\"]\n";
    bench.run(scenario, &["--clock", "virtual"]);
    let page = |arguments: &[&str]| {
        let ended = bench.fleetstorm(&[arguments, &["--out", "out/report.html"]].concat());
        assert_eq!(ended.code, 0, "{ended:?}");
    };
    assert_eq!(bench.fleetstorm(&["compare", "scenario.toml", "--json", "compare.json"]).code, 0);
    page(&["report", "compare.json", "--format", "html"]);
    let found =
        is_whole(&bench, &["Fleetstorm comparison", "Time against calls", "Completion of each strategy"]);
    assert!(found["charts"].as_u64().unwrap() >= 4, "the scatter and one curve a strategy");

    let search = [
        "capacity",
        "scenario.toml",
        "--low",
        "20",
        "--high",
        "2000",
        "--precision",
        "0.5",
        "--json",
        "capacity.json",
    ];
    assert_eq!(bench.fleetstorm(&search).code, 0);
    page(&["report", "capacity.json", "--format", "html"]);
    is_whole(&bench, &["The knee", "The search, step by step"]);

    page(&["diff", "out/run.json", "out/run.json", "--format", "html"]);
    is_whole(&bench, &["The later run is not worse"]);
}

#[test]
fn a_fleet_of_hundreds_of_thousands_has_a_small_record_and_a_whole_page() {
    let bench = Bench::new();
    let scenario = "horizon = \"6h\"\nobjectives = [\"assigned >= 1\"]\n[fleet]\ndevices = 200000\narrival = { kind = \"constant\", rate = \"16/s\" }\n";
    assert_eq!(bench.run(scenario, &["--clock", "virtual"]).code, 0);
    let size = |name: &str| std::fs::metadata(bench.path(name)).unwrap().len();
    assert!(size("out/run.json") < 2_000_000, "{} bytes", size("out/run.json"));
    assert!(size("out/report.html") < 1_000_000, "{} bytes", size("out/report.html"));
    let record = bench.record();
    assert!(record.series.step_s > 1, "a run of hours is kept in steps");
    assert!(record.practice.watched < 20_000, "a sample is watched");
    is_whole(&bench, &["200,000", "drawn by the seed"]);
}
