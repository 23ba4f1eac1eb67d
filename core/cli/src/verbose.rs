//! What the command does, told on standard error to whoever asks for it with `-v` or `FLEETSTORM_LOG`.

use std::io::Write;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::apart;
use crate::terminal::write_err;

/// Where what is to be told is said by part.
const VARIABLE: &str = "FLEETSTORM_LOG";
/// How the targets of this project's crates begin.
const OURS: &str = "fleetstorm";

/// Tells from now on what is done, as much as `times` of `-v` or the environment ask for.
pub(crate) fn begin(times: u8) {
    let wanted = match std::env::var(VARIABLE) {
        Ok(text) if !text.trim().is_empty() => match text.parse() {
            Ok(targets) => targets,
            Err(error) => {
                if !apart::is_told() {
                    eprintln!(
                        "warning: {VARIABLE} is no list of levels ({error}) and is ignored: write a level (error, warn, info, \
                     debug, trace), or one for a part, such as fleetstorm_net=trace,info"
                    );
                }
                by_times(times)
            }
        },
        _ => by_times(times),
    };
    if wanted.default_level().is_none_or(|level| level == LevelFilter::OFF) && wanted.iter().next().is_none()
    {
        return;
    }
    let told =
        tracing_subscriber::fmt::layer().with_ansi(false).log_internal_errors(false).with_writer(Lines);
    // Set once: this is where the process begins.
    let _ = tracing::subscriber::set_global_default(
        tracing_subscriber::registry().with(told.with_filter(wanted)),
    );
}

/// Whether anything is told.
pub(crate) fn is_on() -> bool {
    tracing::dispatcher::has_been_set()
}

fn by_times(times: u8) -> Targets {
    let level = match times {
        0 => return Targets::new(),
        1 => Level::INFO,
        2 => Level::DEBUG,
        _ => Level::TRACE,
    };
    Targets::new().with_target(OURS, level)
}

/// Standard error, a line at a time, without what a terminal obeys.
struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        write_err(format_args!("{}", String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
