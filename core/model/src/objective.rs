//! Objectives: what must hold of a run.
//!
//! ```text
//! assigned >= 99.9% within 15m          share (or number) of devices with a hub
//! stopped == 0                          devices that gave up or parked
//! p99(time_to_assigned) < 60s           also connect, dns, tcp, tls, register, poll, lookup
//! p99(attempts_per_device) <= 8         attempts_per_device alone is the mean
//! registers_per_device <= 2             registrations and status lookups sent, per device
//! rate(429) < 50% after 60s             share of answers
//! count(401) == 0                       a status, a six-digit code, a transport fault, or failed
//! assigned >= 99% for "sensors"         one cohort
//! online >= 99% after 15m               share (or number) of living devices at their hub, at the end, `within` a
//!                                       time or from one on
//! cached_reconnects >= 99%              share of reconnects made without asking DPS
//! needless_registers == 0               registrations of devices with a hub that changed nothing
//! broken(retry-after-floor) == 0        occasions on which a best practice was broken
//! broken(any) == 0                      best practices that were broken
//! ```

use std::fmt;

use fleetstorm_protocol::outcome::Fault;
use fleetstorm_units::time::{Span, plain_number, unit_ns};
use fleetstorm_units::{Duration, nearest};
use winnow::ascii::{alpha1, digit1, multispace0};
use winnow::combinator::{alt, cut_err, delimited, eof, opt, preceded, terminated};
use winnow::error::{ContextError, ErrMode, StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::token::{take_till, take_while};

use crate::best_practice::BestPractice;
use crate::phase::Phase;

/// One objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// What is measured.
    pub metric: Metric,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub bound: Quantity,
    /// Only what happened up to here counts.
    pub within: Option<Span>,
    /// Only what happened from here on counts.
    pub after: Option<Span>,
    /// The cohort it is about, if not the fleet.
    pub cohort: Option<String>,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Metric {
    /// Devices with a hub.
    Assigned,
    /// Devices that stopped without one.
    Stopped,
    /// Attempts per assigned device, on average.
    AttemptsPerDevice,
    /// Registrations and status lookups sent per device.
    RegistersPerDevice,
    /// Devices connected to their hub.
    Online,
    /// Reconnects that were made with the cached assignment.
    CachedReconnects,
    /// Registrations of devices with a hub that changed nothing.
    NeedlessRegisters,
    /// A percentile of a latency or of the attempts.
    Percentile(f64, Timed),
    /// A share of all answers and broken attempts.
    Rate(What),
    /// A number of answers or broken attempts.
    Count(What),
    /// Occasions on which a best practice was broken, or, of none in particular, practices that were broken.
    Broken(Option<BestPractice>),
}

/// What has percentiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timed {
    /// How long something takes.
    Phase(Phase),
    /// Attempts of a device: a number, not a time.
    Attempts,
}

impl Timed {
    fn named(name: &str) -> Option<Self> {
        let phases = Phase::ALL.into_iter().map(Self::Phase);
        phases.chain([Self::Attempts]).find(|timed| timed.to_string() == name)
    }
}

/// As objectives spell it.
impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phase(phase) => f.write_str(&phase.name().replace('-', "_")),
            Self::Attempts => f.write_str("attempts_per_device"),
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Answers with this status.
    Status(u16),
    /// Answers with this six-digit code.
    Code(u32),
    /// Attempts that broke in this way.
    Fault(Fault),
    /// Everything but success and 429.
    Failed,
}

/// How it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `==`
    Equal,
    /// `>=`
    AtLeast,
    /// `>`
    More,
}

impl Comparison {
    const ALL: [(&'static str, Self); 5] = [
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("==", Self::Equal),
        ("<", Self::Less),
        (">", Self::More),
    ];

    /// Whether `observed` compares so with `bound`.
    pub fn holds(self, observed: f64, bound: f64) -> bool {
        match self {
            Self::Less => observed < bound,
            Self::AtMost => observed <= bound,
            // Both are the doubles nearest to what they stand for: one device of ten million is a difference.
            Self::Equal => observed.total_cmp(&bound).is_eq(),
            Self::AtLeast => observed >= bound,
            Self::More => observed > bound,
        }
    }
}

/// A bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantity {
    /// A share in percent.
    Percent(f64),
    /// A plain number.
    Number(f64),
    /// A length of time.
    Time(Span),
}

/// Why a text is no objective.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ObjectiveError {
    /// Where in the text, in bytes.
    pub at: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// How objectives about best practices begin.
const BROKEN: &str = "broken";
/// No practice in particular.
const ANY: &str = "any";

/// The metrics, as a person would list them.
pub const METRICS: &str = "assigned, stopped, online, attempts_per_device, registers_per_device, cached_reconnects, needless_registers, p50(...) to p99.9(...), rate(...), count(...), broken(...)";

impl std::str::FromStr for Objective {
    type Err = ObjectiveError;

    fn from_str(text: &str) -> Result<Self, ObjectiveError> {
        let (objective, bound) = terminated(
            objective,
            (multispace0, eof.context(expected("the end, or `within`, `after` or `for`"))),
        )
        .parse(text)
        .map_err(|error| {
            let expected: Vec<String> = error
                .inner()
                .context()
                .filter_map(|context| match context {
                    StrContext::Expected(value) => Some(value.to_string().trim_matches('"').to_owned()),
                    _ => None,
                })
                .collect();
            let rest = &text[error.offset()..];
            let found = if rest.is_empty() { "the end".to_owned() } else { format!("`{rest}`") };
            let message = match expected.first() {
                Some(expected) => format!("expected {expected}, found {found}"),
                None => format!("cannot make sense of {found}"),
            };
            let help = if text[..error.offset()].trim().trim_end_matches('(').trim_end() == BROKEN {
                practices(rest)
            } else if has_decimal_comma(rest) {
                "decimals follow a point, as in 99.9%, and commas part thousands, as in 1,000".to_owned()
            } else {
                "an objective reads like `assigned >= 99.9% within 15m` or `p99(time_to_assigned) < 60s`"
                    .to_owned()
            };
            ObjectiveError { at: error.offset(), message, help }
        })?;
        objective.check(text)?;
        objective.whole(text, bound)?;
        Ok(objective)
    }
}

impl Objective {
    /// The units must be those of the metric, and windows only where there is something to window.
    fn check(&self, text: &str) -> Result<(), ObjectiveError> {
        let refuse = |message: &str, help: &str| {
            Err(ObjectiveError { at: text.len(), message: message.into(), help: help.into() })
        };
        let timed = matches!(self.metric, Metric::Percentile(_, timed) if timed != Timed::Attempts);
        match (&self.metric, self.bound) {
            (_, Quantity::Time(_)) if !timed => {
                return refuse("this metric is not a time", "compare it with a number or a share");
            }
            (_, Quantity::Number(_) | Quantity::Percent(_)) if timed => {
                return refuse("a latency is compared with a time", "write a unit, such as 250ms or 60s");
            }
            (Metric::Rate(_) | Metric::CachedReconnects, Quantity::Number(number)) => {
                let help = format!("write it in percent: `{}`", self.with(as_share(number)));
                return refuse("a rate is compared with a share", &help);
            }
            (
                Metric::Count(_)
                | Metric::AttemptsPerDevice
                | Metric::RegistersPerDevice
                | Metric::NeedlessRegisters
                | Metric::Broken(_)
                | Metric::Percentile(..),
                Quantity::Percent(_),
            ) => {
                return refuse("this metric is a number, not a share", "leave the % out");
            }
            _ => {}
        }
        let windowed = matches!(
            self.metric,
            Metric::Assigned | Metric::Online | Metric::Rate(What::Status(429) | What::Failed)
        );
        if (self.within.is_some() || self.after.is_some()) && !windowed {
            return refuse(
                "`within` and `after` go with assigned, online, rate(429) and rate(failed)",
                "leave the window out",
            );
        }
        if self.after.is_some() && self.metric == Metric::Assigned {
            return refuse("`assigned` takes `within`, not `after`", "write `within`");
        }
        if self.cohort.is_some()
            && !matches!(self.metric, Metric::Assigned | Metric::Stopped | Metric::RegistersPerDevice)
        {
            return refuse(
                "only assigned, stopped and registers_per_device are kept per cohort",
                "leave `for` out",
            );
        }
        if self.cohort.is_some() && self.within.is_some() {
            return refuse("a cohort's assignments are not kept per second", "leave `within` or `for` out");
        }
        Ok(())
    }
}

impl Objective {
    /// A fraction where devices or answers are counted: nobody can tell whether a share is meant. `bound` is as it was
    /// written, since 1.0 is a share to some.
    fn whole(&self, text: &str, bound: &str) -> Result<(), ObjectiveError> {
        let Quantity::Number(number) = self.bound else { return Ok(()) };
        if !bound.contains('.') {
            return Ok(());
        }
        let count = self.with(Quantity::Number(number.ceil()));
        let help = match self.metric {
            Metric::Assigned | Metric::Stopped | Metric::Online => {
                format!(
                    "write `{}` for a share of the devices, or `{count}` for a number",
                    self.with(as_share(number))
                )
            }
            Metric::Count(what) => {
                let share = Self { metric: Metric::Rate(what), ..self.with(as_share(number)) };
                format!("write `{share}` for a share of the answers, or `{count}` for a number")
            }
            Metric::NeedlessRegisters | Metric::Broken(_) => {
                format!("write a whole number, such as `{count}`")
            }
            _ => return Ok(()),
        };
        let behind = text.find(['<', '=', '>']).unwrap_or(0);
        let at = text[behind..].find(bound).map_or(text.len(), |at| behind + at);
        Err(ObjectiveError { at, message: format!("{bound} is a fraction without a unit"), help })
    }

    /// The same objective with another bound.
    fn with(&self, bound: Quantity) -> Self {
        Self { bound, ..self.clone() }
    }
}

/// What a number would be as a share: 0.99 is 99 %, and so is 99.
fn as_share(number: f64) -> Quantity {
    let percent = if number <= 1.0 { number * 100.0 } else { number };
    Quantity::Percent((percent * 1e9).round() / 1e9)
}

/// The practices that can be asked for, where `rest` was found instead of one.
fn practices(rest: &str) -> String {
    let name =
        rest.split(')').next().unwrap_or_default().trim_matches(|c: char| c == '(' || c.is_whitespace());
    let known = || BestPractice::ALL.into_iter().map(BestPractice::name).chain([ANY]);
    let near = match nearest(name, known()) {
        Some(near) => format!("did you mean `{BROKEN}({near})`? "),
        None => String::new(),
    };
    format!("{near}practices: {}", known().collect::<Vec<_>>().join(", "))
}

/// Whether a text begins with a number whose decimals follow a comma.
fn has_decimal_comma(text: &str) -> bool {
    let number: String =
        text.trim_start().chars().take_while(|c| c.is_ascii_digit() || ".,".contains(*c)).collect();
    number.contains(',') && plain_number(&number).is_none()
}

type Input<'a> = &'a str;
type Parsed<T> = winnow::Result<T, ErrMode<ContextError>>;

fn expected(what: &'static str) -> StrContext {
    StrContext::Expected(StrContextValue::Description(what))
}

fn word<'a>(text: &'static str) -> impl ModalParser<Input<'a>, &'a str, ContextError> {
    preceded(multispace0, text)
}

/// An objective, and how its bound is written.
fn objective<'a>(input: &mut Input<'a>) -> Parsed<(Objective, &'a str)> {
    let metric = preceded(multispace0, metric)
        .context(expected("a metric: assigned, stopped, p99(...), rate(...), count(...), broken(...)"))
        .parse_next(input)?;
    let comparison = cut_err(preceded(multispace0, comparison))
        .context(expected("a comparison: <, <=, ==, >= or >"))
        .parse_next(input)?;
    let (bound, written) = cut_err(preceded(multispace0, quantity.with_taken()))
        .context(expected("a bound, such as 99.9%, 5 or 60s"))
        .parse_next(input)?;
    let within = opt(preceded(word("within"), cut_err(time))).parse_next(input)?;
    let after = opt(preceded(word("after"), cut_err(time))).parse_next(input)?;
    let cohort = opt(preceded(word("for"), cut_err(preceded(multispace0, quoted)))).parse_next(input)?;
    Ok((Objective { metric, comparison, bound, within, after, cohort }, written))
}

fn metric(input: &mut Input<'_>) -> Parsed<Metric> {
    alt((
        "assigned".value(Metric::Assigned),
        "stopped".value(Metric::Stopped),
        "attempts_per_device".value(Metric::AttemptsPerDevice),
        "registers_per_device".value(Metric::RegistersPerDevice),
        alt((
            "online".value(Metric::Online),
            "cached_reconnects".value(Metric::CachedReconnects),
            "needless_registers".value(Metric::NeedlessRegisters),
        )),
        preceded(
            "rate",
            cut_err(within_parentheses(what)).context(expected("(429), (401002), (timeout) or (failed)")),
        )
        .map(Metric::Rate),
        preceded(
            "count",
            cut_err(within_parentheses(what)).context(expected("(429), (401002), (timeout) or (failed)")),
        )
        .map(Metric::Count),
        preceded(
            BROKEN,
            cut_err(within_parentheses(practice))
                .context(expected("a best practice in parentheses, or (any)")),
        )
        .map(Metric::Broken),
        (
            preceded('p', percentile),
            cut_err(within_parentheses(timed)).context(expected(
                "(time_to_assigned), (register), (poll), (connect), (tls) ... or (attempts_per_device)",
            )),
        )
            .map(|(p, timed)| Metric::Percentile(p, timed)),
    ))
    .parse_next(input)
}

fn within_parentheses<'a, T>(
    inner: impl ModalParser<Input<'a>, T, ContextError>,
) -> impl ModalParser<Input<'a>, T, ContextError> {
    delimited((multispace0, '(', multispace0), inner, (multispace0, ')'))
}

fn percentile(input: &mut Input<'_>) -> Parsed<f64> {
    number.verify(|p| (0.0..=100.0).contains(p)).parse_next(input)
}

fn number(input: &mut Input<'_>) -> Parsed<f64> {
    let digits = take_while(1.., |c: char| c.is_ascii_digit() || c == ',');
    (digits, opt(('.', digit1))).take().verify_map(plain_number).parse_next(input)
}

fn timed(input: &mut Input<'_>) -> Parsed<Timed> {
    take_while(1.., |c: char| c.is_ascii_alphabetic() || c == '_').verify_map(Timed::named).parse_next(input)
}

fn what(input: &mut Input<'_>) -> Parsed<What> {
    alt((
        digit1.verify_map(|digits: &str| match digits.len() {
            3 => digits.parse().ok().map(What::Status),
            6 => digits.parse().ok().map(What::Code),
            _ => None,
        }),
        take_while(1.., |c: char| c.is_ascii_alphabetic() || c == '-').verify_map(|name: &str| match name {
            "failed" => Some(What::Failed),
            _ => Fault::ALL.into_iter().find(|fault| fault.name() == name).map(What::Fault),
        }),
    ))
    .parse_next(input)
}

fn practice(input: &mut Input<'_>) -> Parsed<Option<BestPractice>> {
    take_while(1.., |c: char| c.is_ascii_alphabetic() || c == '-')
        .verify_map(|name: &str| match name {
            ANY => Some(None),
            _ => BestPractice::named(name).map(Some),
        })
        .parse_next(input)
}

fn comparison(input: &mut Input<'_>) -> Parsed<Comparison> {
    alt((
        "<=".value(Comparison::AtMost),
        ">=".value(Comparison::AtLeast),
        "==".value(Comparison::Equal),
        '<'.value(Comparison::Less),
        '>'.value(Comparison::More),
    ))
    .parse_next(input)
}

fn quantity(input: &mut Input<'_>) -> Parsed<Quantity> {
    alt((
        terminated(number, (spaces, '%')).map(Quantity::Percent),
        span.map(Quantity::Time),
        number.map(Quantity::Number),
    ))
    .parse_next(input)
}

fn span(input: &mut Input<'_>) -> Parsed<Span> {
    let unit = alpha1.verify(|unit: &str| unit_ns(unit).is_some());
    let pair = (preceded(multispace0, number), multispace0, unit);
    winnow::combinator::repeat::<_, _, (), _, _>(1.., pair)
        .take()
        .try_map(str::parse::<Span>)
        .parse_next(input)
}

/// A person's spaces, and those that keep a number and its sign on one line.
fn spaces<'a>(input: &mut Input<'a>) -> Parsed<&'a str> {
    take_while(0.., char::is_whitespace).parse_next(input)
}

fn time(input: &mut Input<'_>) -> Parsed<Span> {
    preceded(multispace0, span).context(expected("a time, such as 15m")).parse_next(input)
}

fn quoted(input: &mut Input<'_>) -> Parsed<String> {
    delimited('"', take_till(1.., '"'), '"')
        .context(expected("a cohort's name in double quotes"))
        .map(str::to_owned)
        .parse_next(input)
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comparison =
            Comparison::ALL.iter().find(|(_, known)| *known == self.comparison).map_or("", |(text, _)| text);
        write!(f, "{} {comparison} {}", self.metric, self.bound)?;
        if let Some(span) = self.within {
            write!(f, " within {}", Duration(span))?;
        }
        if let Some(span) = self.after {
            write!(f, " after {}", Duration(span))?;
        }
        match &self.cohort {
            Some(cohort) => write!(f, " for \"{cohort}\""),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assigned => f.write_str("assigned"),
            Self::Stopped => f.write_str("stopped"),
            Self::AttemptsPerDevice => f.write_str("attempts_per_device"),
            Self::RegistersPerDevice => f.write_str("registers_per_device"),
            Self::Online => f.write_str("online"),
            Self::CachedReconnects => f.write_str("cached_reconnects"),
            Self::NeedlessRegisters => f.write_str("needless_registers"),
            Self::Percentile(p, timed) => write!(f, "p{p}({timed})"),
            Self::Rate(what) => write!(f, "rate({what})"),
            Self::Count(what) => write!(f, "count({what})"),
            Self::Broken(practice) => write!(f, "{BROKEN}({})", practice.map_or(ANY, BestPractice::name)),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status:03}"),
            Self::Code(code) => write!(f, "{code:06}"),
            Self::Fault(fault) => f.write_str(fault.name()),
            Self::Failed => f.write_str("failed"),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(share) => write!(f, "{share}%"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Time(span) => Duration(*span).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_grammar_read_and_print_the_same() {
        for text in [
            "assigned >= 99.9% within 15m",
            "assigned == 2000",
            "stopped == 0",
            "p99(time_to_assigned) < 1m",
            "p99.9(register) <= 250ms",
            "p99(attempts_per_device) <= 8",
            "attempts_per_device <= 5",
            "registers_per_device <= 2",
            "rate(429) < 50% after 1m",
            "count(401) == 0",
            "count(401002) == 0",
            "count(connect-timeout) <= 3",
            "count(failed) > 0",
            "broken(retry-after-floor) == 0",
            "broken(any) <= 1",
            "assigned >= 99% for \"old sensors\"",
        ] {
            assert_eq!(text.parse::<Objective>().unwrap().to_string(), text);
        }
        for (spelling, text) in [
            ("assigned >= 99 %", "assigned >= 99%"),
            ("assigned == 99.95\u{202f}%", "assigned == 99.95%"),
            ("assigned >= 1,000", "assigned >= 1000"),
            ("registers_per_device <= 1.5", "registers_per_device <= 1.5"),
            ("p99(time_to_assigned) < 1 m 40 s", "p99(time_to_assigned) < 100s"),
            ("p99(register) < 1,500 ms", "p99(register) < 1500ms"),
            ("assigned >= 99 % within 15 m for \"a\"", "assigned >= 99% within 15m for \"a\""),
        ] {
            let read = spelling.parse::<Objective>();
            // A cohort's assignments have no times.
            if text.contains("for") {
                assert!(read.unwrap_err().message.contains("per second"), "{spelling}");
            } else {
                assert_eq!(read.unwrap().to_string(), text);
            }
        }
        assert_eq!(
            "  assigned>=99%within 90s ".parse::<Objective>().unwrap().within,
            Some(Span::from_secs(90))
        );
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, at, words) in [
            ("assigned", 8, "comparison"),
            ("assigned >= ", 11, "bound"),
            ("assigned => 5", 9, "comparison"),
            ("assinged >= 5%", 0, "metric"),
            ("p99(latency) < 5s", 3, "time_to_assigned"),
            ("p101(tls) < 5s", 0, "metric"),
            ("count(4290) == 0", 5, "429"),
            ("assigned >= 99% within", 22, "time"),
            ("assigned >= 99% tomorrow", 16, "within"),
            ("p99(tls) < 5", 12, "unit"),
            ("assigned > 5s", 13, "number"),
            ("rate(429) < 5", 13, "percent"),
            ("count(401) == 5%", 16, "%"),
            ("assigned >= 0.99", 12, "`assigned >= 99%` for a share of the devices, or `assigned >= 1`"),
            ("online >= 0.5 within 5m", 10, "`online >= 50% within 5m` for a share"),
            ("stopped <= 0.07", 11, "`stopped <= 7%`"),
            ("assigned == 1.0", 12, "`assigned == 100%`"),
            ("assigned >= 99.5", 12, "`assigned >= 99.5%` for a share of the devices, or `assigned >= 100`"),
            ("count(401) <= 0.5", 14, "`rate(401) <= 50%` for a share of the answers, or `count(401) <= 1`"),
            ("needless_registers <= 0.5", 22, "whole number"),
            ("rate(429) < 0.1", 15, "`rate(429) < 10%`"),
            ("assigned >= 99,9%", 12, "decimals follow a point"),
            ("assigned >= 1,00", 12, "decimals follow a point"),
            ("p99(tls) < 5s within 1m", 23, "window"),
            ("broken == 0", 6, "practices: staggered-start, "),
            ("broken(retry-after) == 0", 6, "unknown-outcome, any"),
            ("broken(poll-pac) == 0", 6, "did you mean `broken(poll-pace)`?"),
            ("broken(no-herd) == 5%", 21, "leave the % out"),
            ("broken(any) <= 0.5", 15, "`broken(any) <= 1`"),
            ("broken(any) == 0 within 1m", 26, "window"),
            ("broken(any) == 0 for \"a\"", 24, "per cohort"),
            ("", 0, "metric"),
        ] {
            let error = text.parse::<Objective>().unwrap_err();
            assert!(
                format!("{} {}", error.message, error.help).contains(words),
                "{text}: {error:?} should speak of {words}"
            );
            assert!(error.at.abs_diff(at) <= 1, "{text}: {error:?} should point at {at}");
        }
    }

    proptest! {
        #[test]
        fn any_text_reads_without_a_panic(text in "\\PC{0,60}", words in "(assigned|p99|\\(|\\)|rate|429|%|>=|<| |5|s|within|for|\"){0,12}") {
            let _ = text.parse::<Objective>();
            let _ = words.parse::<Objective>();
        }

        #[test]
        fn objectives_read_what_they_print(p in 0..1000u32, bound_ms in 1..10_000_000u64, status in 100..600u16, percent in 0..100_000u32) {
            let p = f64::from(p) / 10.0;
            let latency = Objective {
                metric: Metric::Percentile(p, Timed::Phase(Phase::Register)),
                comparison: Comparison::Less,
                bound: Quantity::Time(Span::from_millis(bound_ms)),
                within: None, after: None, cohort: None,
            };
            let rate = Objective {
                metric: Metric::Rate(What::Status(status)),
                comparison: Comparison::AtLeast,
                bound: Quantity::Percent(f64::from(percent) / 1_000.0),
                within: None,
                after: (status == 429).then(|| Span::from_millis(bound_ms)),
                cohort: None,
            };
            for objective in [latency, rate] {
                prop_assert_eq!(objective.to_string().parse::<Objective>().unwrap(), objective);
            }
        }
    }
}
