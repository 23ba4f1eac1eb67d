//! A fault on one line, for the command line.
//!
//! ```text
//! register @60s..105s 5%/request -> 429(retry-after=30)
//! any @10s..20s -> reset(after-request)
//! hub @10s..20s first 1/device -> refused
//! register for dev-000001 @0s first 2/device -> 429(retry-after=7)
//! register @0s first 2/device -> 500
//! any @60s..90s -> quota(50%)
//! any @60s -> outage(off=90s, spread=5s)
//! register @0s..60s 5%/request -> http.body(truncated)
//! any @0s first 1/device -> amqp.disconnect(request, condition=amqp:connection:forced)
//! ```
//!
//! What goes wrong is one of a few short words, or any kind of the long form with its values.

mod kind;

use std::ops::Range;

use fleetstorm_model::chaos::{
    BlackholePhase, ChaosFile, Count, DnsFailure, FaultKind, Limits, Peer, ResetPhase, Select,
    SelectOperation, Start, TlsFailure, Unit,
};
use fleetstorm_protocol::code;
use fleetstorm_units::time::Span;
use fleetstorm_units::{Delay, Duration};
use winnow::ascii::{digit1, multispace0, multispace1};
use winnow::combinator::{alt, cut_err, delimited, eof, opt, preceded, separated, terminated};
use winnow::error::{ContextError, ErrMode, StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::token::{take_till, take_while};

use self::kind::Kinds;

/// Why a line is not a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ShortFormError {
    /// What is wrong.
    pub message: String,
    /// Where, in bytes.
    pub at: Range<usize>,
}

/// Reads a fault from one line.
///
/// # Errors
/// What could not be read, and what was expected there.
pub fn parse_short(text: &str) -> Result<ChaosFile, ShortFormError> {
    let (head, tail) = text.split_once(ARROW).unwrap_or((text, ""));
    let file = terminated(occasion, (multispace0, eof.context(expected("`-> what goes wrong`"))))
        .parse(head)
        .map_err(|error| refused(text, error.offset(), error.inner()))?;
    if tail.is_empty() && head.len() == text.len() {
        return Err(refused(text, text.len(), &context(expected("`-> what goes wrong`"))));
    }
    let (name, arguments) = delimited(multispace0, action, (multispace0, eof.context(expected("the end"))))
        .parse(tail)
        .map_err(|error| refused(text, head.len() + ARROW.len() + error.offset(), error.inner()))?;
    let at = text.len() - tail.trim_start().len();
    let fault = fault(name, &arguments).map_err(|message| ShortFormError { message, at: at..text.len() })?;
    Ok(ChaosFile { fault, ..file })
}

const ARROW: &str = "->";

fn refused(text: &str, at: usize, error: &ContextError) -> ShortFormError {
    let at = at.min(text.len());
    let expected: Vec<String> = error
        .context()
        .filter_map(|context| match context {
            StrContext::Expected(value) => Some(value.to_string()),
            _ => None,
        })
        .collect();
    let found = text.get(at..).unwrap_or_default().trim();
    let found = if found.is_empty() { "the end".to_owned() } else { format!("`{found}`") };
    let expected = if expected.is_empty() { "the end".to_owned() } else { expected.join(" or ") };
    ShortFormError { message: format!("{found}, where {expected} was expected"), at: at..text.len() }
}

type Read<T> = Result<T, ErrMode<ContextError>>;

fn expected(what: &'static str) -> StrContext {
    StrContext::Expected(StrContextValue::Description(what))
}

/// Everything before the arrow. What goes wrong is filled in later.
fn occasion(input: &mut &str) -> Read<ChaosFile> {
    let (operation, peer) = preceded(multispace0, traffic).parse_next(input)?;
    let device = opt(preceded((multispace1, "for", multispace1), cut_err(device))).parse_next(input)?;
    let (start, duration) = preceded(multispace1, when).parse_next(input)?;
    let chance = opt(preceded(multispace1, chance)).parse_next(input)?;
    let total = opt(preceded((multispace1, 'x'), cut_err(number::<u64>))).parse_next(input)?;
    let count = opt(preceded((multispace1, "first", multispace1), cut_err(first))).parse_next(input)?;
    let (probability, unit) = chance.unzip();
    Ok(ChaosFile {
        start: Start::At(start),
        duration,
        select: Select { device, operation, peer, ..Select::default() },
        probability,
        unit,
        count,
        limits: Limits { active: None, total },
        ..ChaosFile::of(FaultKind::NetRefused)
    })
}

/// What it can hit: calls of the device API, or all that devices have to do with one side or with both.
fn traffic(input: &mut &str) -> Read<(Option<SelectOperation>, Option<Peer>)> {
    alt((
        "register".value((Some(SelectOperation::Register), None)),
        "poll".value((Some(SelectOperation::Poll), None)),
        "lookup".value((Some(SelectOperation::Lookup), None)),
        "dps".value((None, Some(Peer::Dps))),
        "hub".value((None, Some(Peer::Hub))),
        "any".value((None, None)),
    ))
    .context(expected("register, poll, lookup, dps, hub or any"))
    .parse_next(input)
}

/// A registration id.
fn device(input: &mut &str) -> Read<String> {
    take_while(1.., |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c))
        .map(str::to_owned)
        .context(expected("a registration id"))
        .parse_next(input)
}

/// `@60s..105s`, or `@60s` without an end.
fn when(input: &mut &str) -> Read<(Duration, Option<Duration>)> {
    '@'.context(expected("a time such as @60s..105s")).parse_next(input)?;
    let from = cut_err(span).parse_next(input)?;
    let until = opt(preceded("..", cut_err(span))).parse_next(input)?;
    match until {
        Some(until) if until.0 <= from.0 => Err(cut(expected("an end after the beginning"))),
        until => Ok((from, until.map(|until| Duration(until.0.saturating_sub(from.0))))),
    }
}

fn cut(what: StrContext) -> ErrMode<ContextError> {
    ErrMode::Cut(context(what))
}

fn context(what: StrContext) -> ContextError {
    let mut error = ContextError::new();
    error.push(what);
    error
}

fn span(input: &mut &str) -> Read<Duration> {
    take_while(1.., |c: char| c.is_ascii_alphanumeric())
        .try_map(|text: &str| text.parse::<Span>().map(Duration))
        .context(expected("a time such as 60s or 250ms"))
        .parse_next(input)
}

fn number<T: std::str::FromStr>(input: &mut &str) -> Read<T> {
    digit1.verify_map(|digits: &str| digits.parse().ok()).context(expected("a number")).parse_next(input)
}

/// `5%`, as a share.
fn percent(input: &mut &str) -> Read<f64> {
    terminated(take_while(1.., |c: char| c.is_ascii_digit() || c == '.'), '%')
        .try_map(|text: &str| text.parse::<f64>().map(|percent| percent / 100.0))
        .context(expected("a share such as 5%"))
        .parse_next(input)
}

fn unit(input: &mut &str) -> Read<Unit> {
    alt((
        "device".value(Unit::Device),
        "connection".value(Unit::Connection),
        "request".value(Unit::Request),
        "packet".value(Unit::Packet),
    ))
    .context(expected("/device, /connection, /request or /packet"))
    .parse_next(input)
}

fn chance(input: &mut &str) -> Read<(f64, Unit)> {
    let share = percent.parse_next(input)?;
    let unit = cut_err(preceded('/', unit))
        .context(expected("/device, /connection, /request or /packet"))
        .parse_next(input)?;
    Ok((share, unit))
}

fn first(input: &mut &str) -> Read<Count> {
    let first = number.parse_next(input)?;
    let per = preceded('/', unit).parse_next(input)?;
    Ok(Count { per, skip: 0, first })
}

/// A name or number, and what stands in brackets behind it.
fn action<'a>(input: &mut &'a str) -> Read<(&'a str, Vec<&'a str>)> {
    let name = take_while(1.., |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.')
        .context(expected("what goes wrong, such as 429(retry-after=30) or http.body(truncated)"))
        .parse_next(input)?;
    let argument = preceded(multispace0, take_till(1.., [',', ')'])).map(|text: &str| text.trim());
    let arguments: Option<Vec<&str>> =
        opt(delimited('(', separated(0.., argument, ','), cut_err(')'.context(expected("`)`")))))
            .parse_next(input)?;
    Ok((name, arguments.unwrap_or_default()))
}

/// A short word, or a kind of the long form.
fn fault(name: &str, arguments: &[&str]) -> Result<FaultKind, String> {
    if name.contains('.') {
        return Kinds::new().read(name, arguments);
    }
    word(name, &Arguments(arguments)).ok_or_else(|| {
        format!(
            "`{name}({})` says nothing that goes wrong: write 429(retry-after=30), a status, quota(50%), slow(2s), \
             lost(30%), stuck(30s), forgotten, failed(400207), disabled, clock(5m), refused, dns, tls(expired), \
             delay(200ms), reset(after-request), blackhole(answer), bandwidth(1000), drip(1,100ms), slice(7), \
             outage(off=90s), no-back-off(100ms), equal-seeds, or a kind of a scenario such as http.body(truncated)",
            arguments.join(", ")
        )
    })
}

struct Arguments<'a>(&'a [&'a str]);

impl Arguments<'_> {
    fn first<T: std::str::FromStr>(&self) -> Option<T> {
        self.0.first()?.parse().ok()
    }

    fn share(&self) -> Option<f64> {
        self.0.first()?.strip_suffix('%')?.parse::<f64>().ok().map(|percent| percent / 100.0)
    }

    /// A word of one of the scenario's lists.
    fn word<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        let word = self.0.first()?;
        serde_json::from_value(serde_json::Value::String((*word).to_owned())).ok()
    }

    fn named<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.0.iter().find_map(|argument| {
            let (key, value) = argument.split_once('=')?;
            if key.trim() == name { value.trim().parse().ok() } else { None }
        })
    }

    fn retry_after(&self) -> Option<Vec<fleetstorm_model::chaos::RetryAfterText>> {
        match self.0 {
            [] => Some(Vec::new()),
            _ => self.named("retry-after").map(|value| vec![value]),
        }
    }
}

fn word(name: &str, arguments: &Arguments<'_>) -> Option<FaultKind> {
    let constant = |delay| Delay::Constant { delay };
    Some(match name {
        "429" => FaultKind::ServiceThrottle { retry_after: arguments.retry_after()? },
        "quota" => FaultKind::ServiceQuota { factor: arguments.share()? },
        "slow" => FaultKind::ServiceBrownout { delay: constant(arguments.first()?), lost: 0.0 },
        "lost" => {
            FaultKind::ServiceBrownout { delay: constant(Duration(Span::ZERO)), lost: arguments.share()? }
        }
        "stuck" => FaultKind::ServiceStuck { held: arguments.first() },
        "forgotten" => FaultKind::ServiceOperationLost,
        "failed" => {
            FaultKind::ServiceAssignFailed { code: arguments.first().unwrap_or(code::ALLOCATION_FAILED) }
        }
        "disabled" => FaultKind::ServiceDisabled,
        "clock" => FaultKind::ServiceClock { offset: arguments.first()? },
        "refused" => FaultKind::NetRefused,
        "dns" => FaultKind::NetDns { failure: arguments.word().unwrap_or(DnsFailure::NoName) },
        "tls" => FaultKind::NetTls { failure: arguments.word::<TlsFailure>()? },
        "delay" => FaultKind::NetLatency { delay: constant(arguments.first()?) },
        "reset" => FaultKind::NetReset { phase: arguments.word::<ResetPhase>()? },
        "blackhole" => FaultKind::NetBlackhole { phase: arguments.word::<BlackholePhase>()? },
        "bandwidth" => FaultKind::NetBandwidth { bytes_per_s: arguments.first()? },
        "drip" => FaultKind::NetDrip {
            bytes: arguments.first()?,
            every: arguments.0.get(1).and_then(|every| every.parse().ok())?,
        },
        "slice" => FaultKind::NetSlice { bytes: arguments.first()? },
        "outage" => FaultKind::FleetPowerOutage {
            off: arguments.named("off")?,
            reboot_spread: arguments.named("spread").unwrap_or(Duration(Span::ZERO)),
            keep_cache: 1.0,
        },
        "no-back-off" => FaultKind::FleetNoBackOff { wait: arguments.first()? },
        "equal-seeds" => FaultKind::FleetEqualSeeds,
        status => FaultKind::ServiceError {
            status: status.parse().ok().filter(|status| (300..600).contains(status))?,
            retry_after: arguments.retry_after()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_help_reads() {
        let file = parse_short("register @60s..105s 5%/request x20 -> 429(retry-after=30)").unwrap();
        assert_eq!(file.start.to_string(), "1m");
        assert_eq!(file.duration, Some(Duration(Span::from_secs(45))));
        assert_eq!(
            (file.probability, file.unit, file.limits.total),
            (Some(0.05), Some(Unit::Request), Some(20))
        );
        assert_eq!(file.select.operation, Some(SelectOperation::Register));
        let FaultKind::ServiceThrottle { retry_after } = &file.fault else { panic!("{:?}", file.fault) };
        assert_eq!(retry_after[0].to_string(), "30");
    }

    #[test]
    fn a_fault_is_kept_to_one_device() {
        let file = parse_short("register for dev-1 @0s first 2/device -> 429(retry-after=7)").unwrap();
        assert_eq!(file.select.device.as_deref(), Some("dev-1"));
        assert_eq!(file.count, Some(Count { per: Unit::Device, skip: 0, first: 2 }));
        assert!(parse_short("register for @0s -> 429").unwrap_err().message.contains("a registration id"));
    }

    #[test]
    fn every_action_has_a_short_form() {
        for (action, name) in [
            ("503", "service.error"),
            ("503(retry-after=garbage)", "service.error"),
            ("429", "service.throttle"),
            ("quota(50%)", "service.quota"),
            ("slow(2s)", "service.brownout"),
            ("lost(30%)", "service.brownout"),
            ("stuck", "service.stuck"),
            ("forgotten", "service.operation-lost"),
            ("failed(400208)", "service.assign-failed"),
            ("disabled", "service.disabled"),
            ("clock(-5m)", "service.clock"),
            ("refused", "net.refused"),
            ("dns(timeout)", "net.dns"),
            ("tls(wrong-name)", "net.tls"),
            ("delay(200ms)", "net.latency"),
            ("reset(mid-response)", "net.reset"),
            ("blackhole(answer)", "net.blackhole"),
            ("bandwidth(1000)", "net.bandwidth"),
            ("drip(1, 100ms)", "net.drip"),
            ("slice(7)", "net.slice"),
            ("outage(off=90s, spread=5s)", "fleet.power-outage"),
            ("no-back-off(100ms)", "fleet.no-back-off"),
            ("equal-seeds", "fleet.equal-seeds"),
        ] {
            let file = parse_short(&format!("any @1s..2s first 2/device -> {action}")).unwrap();
            assert_eq!(file.fault.name(), name, "{action}");
            assert_eq!(file.count, Some(Count { per: Unit::Device, skip: 0, first: 2 }));
        }
    }

    #[test]
    fn a_fault_is_kept_to_one_side() {
        for (word, operation, peer) in [
            ("lookup", Some(SelectOperation::Lookup), None),
            ("dps", None, Some(Peer::Dps)),
            ("hub", None, Some(Peer::Hub)),
            ("any", None, None),
        ] {
            let select = parse_short(&format!("{word} @1s -> refused")).unwrap().select;
            assert_eq!((select.operation, select.peer), (operation, peer), "{word}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        for (text, at, message) in [
            ("registr @60s -> 429", 0, "register, poll, lookup, dps, hub or any"),
            ("register @60 -> 429", 10, "a time such as 60s"),
            ("register @60s..50s -> 429", 18, "an end after the beginning"),
            ("register @60s 5% -> 429", 16, "/device, /connection, /request or /packet"),
            ("register @60s -> explode", 17, "reset(after-request)"),
            ("register @60s -> 200", 17, "a status"),
        ] {
            let error = parse_short(text).unwrap_err();
            assert!(error.message.contains(message), "{text}: {}", error.message);
            assert_eq!(error.at.start, at, "{text}: {}", error.message);
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(text in ".{0,60}") {
            let _ = parse_short(&text);
        }

        #[test]
        fn no_tail_makes_it_panic(text in "[@0-9a-z.%/() =,x>-]{0,40}") {
            let _ = parse_short(&format!("register @60s{text}"));
        }
    }
}
