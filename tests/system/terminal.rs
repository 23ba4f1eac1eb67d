//! What a person sees: the command at a pseudo-terminal of 80 columns, by script(1), read as a terminal reads it.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use fleetstorm_reports::record::VerdictResult;

use crate::harness::{Bench, scenarios};

const COLUMNS: u16 = 80;
/// So many that nothing scrolls away.
const ROWS: u16 = 250;

/// What came to the terminal.
struct Seen {
    code: i32,
    raw: String,
    /// The rows at the end.
    rows: Vec<String>,
    /// The most rows that were in use while the run's display was there.
    display_rows: usize,
}

impl Seen {
    fn has(&self, words: &str) -> bool {
        self.rows.iter().any(|row| row.contains(words))
    }
}

/// Runs the command at a terminal until it ends; with `interrupt`, Ctrl-C is pressed once the display shows these words.
#[track_caller]
fn at_terminal(bench: &Bench, arguments: &[&str], interrupt: Option<&str>) -> Seen {
    let program = env!("CARGO_BIN_EXE_fleetstorm");
    let quoted: Vec<String> = arguments.iter().map(|argument| format!("'{argument}'")).collect();
    let line = format!("stty cols {COLUMNS} rows {ROWS}; exec '{program}' {}", quoted.join(" "));
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"])
        .current_dir(bench.directory.path())
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is part of every Debian");
    let mut keyboard = child.stdin.take();
    let mut output = child.stdout.take().unwrap();
    let mut terminal = vt100::Parser::new(ROWS, COLUMNS, 0);
    let (mut raw, mut display_rows, mut pressed) = (Vec::new(), 0, false);
    let mut chunk = [0; 16 * 1024];
    loop {
        let read = output.read(&mut chunk).unwrap();
        if read == 0 {
            break;
        }
        raw.extend_from_slice(&chunk[..read]);
        terminal.process(&chunk[..read]);
        let screen = terminal.screen();
        let contents = screen.contents();
        if contents.contains("in flight") {
            let used = screen.rows(0, COLUMNS).filter(|row| !row.trim().is_empty()).count();
            display_rows = display_rows.max(used);
        }
        if let (Some(words), false, Some(keyboard)) = (interrupt, pressed, &mut keyboard)
            && contents.contains(words)
        {
            keyboard.write_all(b"\x03").unwrap();
            pressed = true;
        }
    }
    let screen = terminal.screen();
    let rows: Vec<String> = screen.rows(0, COLUMNS).map(|row| row.trim_end().to_owned()).collect();
    // The display fills its lines up with blanks; what is longer than a line leaves none at its end.
    let is_full = |text: &str| text.chars().count() >= usize::from(COLUMNS);
    let wrapped = (0..ROWS).zip(&rows).find(|(row, text)| screen.row_wrapped(*row) && is_full(text));
    assert!(wrapped.is_none(), "longer than {COLUMNS} columns: {wrapped:?} of {rows:#?}");
    let code = child.wait().unwrap().code().unwrap_or(-1);
    Seen { code, raw: String::from_utf8_lossy(&raw).into_owned(), rows, display_rows }
}

const CALM: &str = r#"
name = "a fleet whose name is longer than any terminal would like it to be, by far"
objectives = ["assigned == 100%"]
[fleet]
devices = 120
[mock]
retry_after_s = 1
[mock.throttle]
rate = "20/s"
burst = 5
"#;

#[test]
fn the_summary_of_every_kind_of_run_fits_a_terminal() {
    let bench = Bench::new();
    let run = |scenario: &str, code: i32, words: &[&str]| {
        bench.file("s.toml", scenario);
        let seen = at_terminal(&bench, &["run", "s.toml", "--clock", "virtual", "--out", "out"], None);
        assert_eq!(seen.code, code, "{:#?}", seen.rows);
        for words in words.iter().chain(&["Record  out/run.json", "Report  out/report.html"]) {
            assert!(seen.has(words), "{words}: {:#?}", seen.rows);
        }
        // The display is gone, and what is left begins with the verdict.
        assert!(!seen.has("in flight"), "{:#?}", seen.rows);
        assert!(seen.raw.contains("\x1b[1m"), "a terminal gets colours");
    };
    run(CALM, 0, &["PASSED", "Best practices"]);
    run(&CALM.replace("assigned == 100%", "p99(register) < 1ns"), 10, &["FAILED", "FAIL"]);
}

#[test]
fn runs_with_faults_without_data_and_with_a_late_generator_fit_too() {
    let bench = Bench::new();
    let empty = "seed = 15\nhorizon = \"10ms\"\nobjectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 3\n\
                 arrival = { kind = \"poisson\", rate = \"300/s\" }\n";
    bench.file("empty.toml", empty);
    let seen = at_terminal(&bench, &["run", "empty.toml", "--clock", "virtual", "--out", "out"], None);
    assert!(seen.code == 11 && seen.has("NO DATA"), "{:#?}", seen.rows);

    let storm = scenarios().join("throttle-storm.toml");
    let arguments = ["run", storm.to_str().unwrap(), "--clock", "virtual", "--out", "out"];
    let seen = at_terminal(&bench, &arguments, None);
    assert!(seen.has("Faults") && seen.has("Best practices"), "{:#?}", seen.rows);

    // Whether this machine keeps up is not for a test to choose: the verdict of a run is set.
    let mut record = bench.record();
    record.verdict.result = VerdictResult::Untrusted;
    std::fs::write(bench.path("out/run.json"), record.write().unwrap()).unwrap();
    let seen = at_terminal(&bench, &["report", "out/run.json"], None);
    assert!(seen.code == 0 && seen.has("UNTRUSTED"), "{:#?}", seen.rows);
}

#[test]
fn twenty_thousand_devices_make_a_calm_display() {
    let bench = Bench::new();
    bench.file(
        "s.toml",
        "name = \"twenty thousand\"\nhorizon = \"4m\"\n[fleet]\ndevices = 20000\nmax_concurrent = 200\n\
         arrival = { kind = \"constant\", rate = \"100/s\" }\n[[cohort]]\nname = \"keys\"\n[[cohort]]\nname = \"more keys\"\n\
         [mock]\nretry_after_s = 1\n[mock.throttle]\nrate = \"10/s\"\nburst = 5\n",
    );
    let start = now();
    let seen = at_terminal(&bench, &["run", "s.toml", "--out", "out"], Some("429001 ×"));
    let took = start.elapsed().max(Duration::from_secs(1));
    assert!(seen.code == 130 && seen.has("INTERRUPTED"), "{:#?}", seen.rows);
    // A bar, one a cohort, the counts and what goes wrong; the remark about the interruption stands above them.
    assert!((5..=6).contains(&seen.display_rows), "{} rows", seen.display_rows);
    let each_second = seen.raw.len() as f64 / took.as_secs_f64();
    assert!(each_second < 50_000.0, "{each_second:.0} bytes a second");
}

#[allow(clippy::disallowed_methods, reason = "a test measures how long a person would have watched")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

#[test]
fn a_pipe_gets_no_colours() {
    let bench = Bench::new();
    bench.file("s.toml", CALM);
    for progress in ["auto", "plain", "json"] {
        let arguments = ["run", "s.toml", "--clock", "virtual", "--out", "out", "--progress", progress];
        let ended = bench.fleetstorm(&arguments);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(!ended.stdout.contains('\x1b') && !ended.stderr.contains('\x1b'), "{ended:?}");
    }
    let failed = bench.fleetstorm(&["run", "nowhere.toml"]);
    assert!(failed.code == 2 && !failed.stderr.contains('\x1b'), "{failed:?}");
}
