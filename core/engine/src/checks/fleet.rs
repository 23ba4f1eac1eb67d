//! Rules that a fleet keeps or breaks as a whole, read from the finished record.

use fleetstorm_model::best_practice::BestPractice;
use fleetstorm_model::profile::Profile;
use fleetstorm_reports::Record;
use fleetstorm_reports::record::{CheckStatus, Totals};
use fleetstorm_units::number::{Bounds, counted, grouped, number, percent, share};
use fleetstorm_units::time::Span;

use super::waits::{RANKS, Waits};

/// What a rule found.
pub(crate) struct Found {
    pub(crate) status: CheckStatus,
    pub(crate) exercised: u64,
    pub(crate) broken: u64,
    pub(crate) evidence: String,
}

/// A practice of the fleet.
pub(crate) struct Rule {
    pub(crate) id: BestPractice,
    pub(crate) title: &'static str,
    pub(crate) advice: &'static str,
    pub(super) look: fn(&Ground<'_>) -> Found,
}

/// What a rule may look at.
pub(crate) struct Ground<'a> {
    pub(crate) record: &'a Record,
    pub(super) waits: &'a Waits,
    pub(crate) profile: &'a Profile,
    /// Whether strategies knew the fleet's size and the quota.
    pub(crate) informed: bool,
}

/// In the order in which they are shown.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        id: BestPractice::StaggeredStart,
        title: "First registrations are staggered to the quota",
        advice: "Boot in batches that fit the quota, or jitter first attempts over devices ÷ quota; fleetstorm plan \
                 works a schedule out.",
        look: staggered_start,
    },
    Rule {
        id: BestPractice::BackOffGrows,
        title: "Waits grow with failures in a row",
        advice: "Double the wait after each failure up to a cap.",
        look: back_off_grows,
    },
    Rule {
        id: BestPractice::BackOffJittered,
        title: "Waits after the same number of failures are spread",
        advice: "Draw the wait at random from a window that grows; add jitter on top of Retry-After too.",
        look: back_off_jittered,
    },
    Rule {
        id: BestPractice::NoHerd,
        title: "Retries do not come in waves",
        advice: "Spread retries over more time than the service's window; a shared period keeps the herd together.",
        look: no_herd,
    },
    Rule {
        id: BestPractice::Amplification,
        title: "A hub costs few registrations",
        advice: "Wait longer instead of asking again: each registration is billed and counts against the quota.",
        look: amplification,
    },
    Rule {
        id: BestPractice::CohortWaste,
        title: "No cohort wastes far more attempts than the others",
        advice: "Look at that cohort's retry strategy and credentials first: the quota is shared, so what it wastes \
                 keeps everybody waiting.",
        look: cohort_waste,
    },
    Rule {
        id: BestPractice::ReconnectFirst,
        title: "Devices reconnect to their hub before they provision again",
        advice: "Keep the assignment over a loss of power and try that hub first; go back to DPS once it refuses the \
                 device or stays away for 15 to 30 minutes.",
        look: reconnect_first,
    },
    Rule {
        id: BestPractice::HubSize,
        title: "At most one million devices on a hub",
        advice: "Link more hubs and let the allocation policy spread the fleet.",
        look: hub_size,
    },
];

/// Below so many samples a share says nothing.
const SAMPLES_MIN: u64 = 100;

/// Standard errors that the largest of some dozens of shares may lie above what they all have in truth: each of them is
/// there by chance in about one of a thousand fleets.
const CHANCE: f64 = 4.0;

/// A limit to the share of `of` that fall into the fullest slot: the least that chance does not explain.
fn limit_of_share(limit: f64, of: u64) -> f64 {
    (limit + CHANCE * (limit * (1.0 - limit) / of as f64).sqrt()).min(1.0)
}

/// A limit to Rayleigh's R over `of` moments, each component of which has a variance of 1 / 2 `of` where they are even.
fn limit_of_synchrony(limit: f64, of: u64) -> f64 {
    (limit + CHANCE / (2.0 * of as f64).sqrt()).min(1.0)
}

/// What stands beside a limit that is a share of one.
fn beside(limit: f64) -> Bounds {
    let mut bounds = Bounds::default();
    bounds.add_percent(limit * 100.0);
    bounds
}

fn vacuous(why: &str) -> Found {
    Found { status: CheckStatus::NotExercised, exercised: 0, broken: 0, evidence: why.to_owned() }
}

fn judged(exercised: u64, broken: u64, evidence: String) -> Found {
    let status = if broken == 0 { CheckStatus::Passed } else { CheckStatus::Failed };
    Found { status, exercised, broken, evidence }
}

/// Microsoft's batches are a minute's quota each, so a minute may hold what the quota gives in one, and no more.
fn staggered_start(&Ground { record, profile, .. }: &Ground<'_>) -> Found {
    let window = profile.expected.stagger_window.0;
    let steps = (window.as_secs() as usize / record.series.step_s.max(1) as usize).max(1);
    let first = &record.series.first;
    if first.iter().all(|count| *count == 0) {
        return vacuous("no device registered");
    }
    let quota = match (&record.bound, record.target.kind.as_str()) {
        (Some(bound), _) => bound.burst.max(bound.rate_per_s * window.as_secs_f64()),
        (None, "dps") => profile.expected.registrations.per_second() * window.as_secs_f64(),
        (None, _) => return vacuous("the target has no quota that is known"),
    };
    let (mut sum, mut most, mut most_at, mut over) = (0u64, 0u64, 0, 0u64);
    for (at, count) in first.iter().enumerate() {
        sum += u64::from(*count);
        if at >= steps {
            sum -= u64::from(first[at - steps]);
        }
        over += u64::from(sum as f64 > quota);
        if sum > most {
            (most, most_at) = (sum, at);
        }
    }
    let end = Span::from_secs((most_at as u64 + 1) * u64::from(record.series.step_s));
    judged(
        first.len() as u64,
        over,
        format!(
            "up to {} within {window} (before {end}), and the quota lets {} pass",
            counted(most, "first registration"),
            grouped(quota as u64)
        ),
    )
}

fn back_off_grows(&Ground { waits, .. }: &Ground<'_>) -> Found {
    let ranks: Vec<(usize, Span)> = (1..)
        .zip(&waits.0)
        .take(RANKS - 1)
        .filter(|(_, rank)| rank.free >= SAMPLES_MIN)
        .filter_map(|(failures, rank)| Some((failures, rank.mean()?)))
        .collect();
    if ranks.len() < 2 {
        return vacuous("too few devices failed twice in a row without being told when to come back");
    }
    // A tenth below is chance: a mean of a hundred uniform waits has a standard error of 6 %.
    let shrinks = |pair: &&[(usize, Span)]| pair[1].1.as_secs_f64() < 0.8 * pair[0].1.as_secs_f64();
    let broken = ranks.windows(2).filter(shrinks).count() as u64;
    let (first, last) = (ranks[0], ranks[ranks.len() - 1]);
    // A wait that never changes is no back-off, unless it is long already.
    let flat = last.1.as_secs_f64() < 1.5 * first.1.as_secs_f64() && last.1 < Span::from_secs(60);
    judged(
        ranks.len() as u64 - 1,
        broken.max(u64::from(flat)),
        format!(
            "mean wait {} after {}, {} after {}",
            first.1,
            counted(first.0 as u64, "failure"),
            last.1,
            last.0
        ),
    )
}

/// The first retry of a fleet may be close: what counts is that later ones are not.
fn back_off_jittered(&Ground { waits, profile, .. }: &Ground<'_>) -> Found {
    struct Rank {
        failures: u64,
        waits: u64,
        fullest: f64,
        at: Span,
        limit: f64,
    }
    let of = |(failures, rank): (u64, &super::waits::Rank)| {
        let (fullest, at) = rank.fullest()?;
        let limit = limit_of_share(profile.bounds.herd_share, rank.all);
        Some(Rank { failures, waits: rank.all, fullest, at, limit })
    };
    let numbered = (1u64..).zip(&waits.0).take(RANKS - 1).skip(1);
    let ranks: Vec<Rank> = numbered.filter(|(_, rank)| rank.all >= SAMPLES_MIN).filter_map(of).collect();
    let Some(worst) = ranks.iter().max_by(|a, b| (a.fullest / a.limit).total_cmp(&(b.fullest / b.limit)))
    else {
        return vacuous("too few devices failed twice in a row");
    };
    judged(
        ranks.len() as u64,
        ranks.iter().filter(|rank| rank.fullest > rank.limit).count() as u64,
        format!(
            "after {} {} of {} are the same to 100 ms ({}); {} of so many is the limit",
            counted(worst.failures, "failure"),
            beside(worst.limit).share(worst.fullest * 100.0),
            counted(worst.waits, "wait"),
            worst.at,
            share(worst.limit)
        ),
    )
}

fn no_herd(&Ground { record, profile, .. }: &Ground<'_>) -> Found {
    let herd = &record.herd;
    let (Some(r), Some(fullest)) = (herd.synchrony, herd.fullest_share) else {
        return vacuous("there were no retries");
    };
    if herd.retries < SAMPLES_MIN {
        return vacuous("there were too few retries");
    }
    let r_limit = limit_of_synchrony(profile.bounds.synchrony, herd.retries);
    let fullest_limit = limit_of_share(profile.bounds.herd_share, herd.retries);
    let broken = u64::from(r > r_limit) + u64::from(fullest > fullest_limit);
    let mut synchrony = Bounds::default();
    synchrony.add_number(r_limit);
    judged(
        herd.retries,
        broken,
        format!(
            "Rayleigh R {} at a period of {} s (limit {}), {} of {} in the fullest 100 ms (limit {})",
            synchrony.number(r),
            herd.period_s,
            synchrony.number(r_limit),
            beside(fullest_limit).share(fullest * 100.0),
            counted(herd.retries, "retry"),
            share(fullest_limit)
        ),
    )
}

fn amplification(&Ground { record, profile, informed, .. }: &Ground<'_>) -> Found {
    let bounds = &profile.bounds;
    let limit = if informed { bounds.amplification_informed } else { bounds.amplification_local };
    let totals = &record.totals;
    if totals.registers == 0 {
        return vacuous("no device registered");
    }
    let each = totals.registers as f64 / totals.assigned.max(1) as f64;
    let mut bounds = Bounds::default();
    bounds.add_number(limit);
    let registrations = counted(totals.registers, "registration");
    let told = match totals.assigned {
        0 => format!("{registrations} and no device was assigned; {limit} for each is the limit"),
        assigned => format!(
            "{registrations} for {}: {} each, {limit} is the limit",
            counted(assigned, "assigned device"),
            bounds.number(each)
        ),
    };
    judged(totals.registers, u64::from(each > limit), told)
}

/// How many times the waste of the others, by device, is too much.
const WASTE_MAX: f64 = 5.0;

/// Attempts that failed or were throttled, by cohort.
fn cohort_waste(&Ground { record, .. }: &Ground<'_>) -> Found {
    if record.cohorts.len() < 2 {
        return vacuous("the fleet has one cohort");
    }
    let wasted = |totals: &Totals| totals.throttled + totals.failed;
    let (all, devices) = (wasted(&record.totals), record.totals.devices);
    if all < SAMPLES_MIN {
        return vacuous("too few attempts were wasted");
    }
    let each = |wasted: u64, devices: u64| wasted as f64 / devices.max(1) as f64;
    // A fleet whose others waste nothing at all still shares a quota: one attempt a device is nobody's fault.
    let times = |totals: &Totals| {
        let (mine, others) = (wasted(totals), each(all - wasted(totals), devices - totals.devices));
        each(mine, totals.devices) / others.max(1.0)
    };
    let cohorts = || record.cohorts.iter().filter(|cohort| cohort.totals.devices > 0);
    let Some(worst) = cohorts().max_by(|a, b| times(&a.totals).total_cmp(&times(&b.totals))) else {
        return vacuous("the fleet has one cohort");
    };
    let broken = cohorts().filter(|cohort| times(&cohort.totals) > WASTE_MAX).count() as u64;
    let (mine, members) = (wasted(&worst.totals), worst.totals.devices);
    judged(
        all,
        broken,
        format!(
            "{}, {} of the devices, made {} of the {} that failed or were throttled: {} a device, the others {}",
            worst.name,
            percent(members, devices),
            percent(mine, all),
            counted(all, "attempt"),
            number(each(mine, members)),
            number(each(all - mine, devices - members))
        ),
    )
}

fn reconnect_first(&Ground { record, profile, .. }: &Ground<'_>) -> Found {
    let Some(life) = &record.life else { return vacuous("no device lives on once it has its hub") };
    let returns = |why: &str| life.returns.get(why).copied().unwrap_or(0);
    let occasions = life.reconnects + returns("boot");
    if occasions == 0 {
        return vacuous("no device lost its hub");
    }
    // A hub that has stayed away for long enough is a reason to ask, though DPS may name it again.
    let excused = returns("patience") + if profile.expected.register_on_boot { returns("boot") } else { 0 };
    let told = |what: &str, count: u64| {
        if count == 0 { String::new() } else { format!(", {} {what}", counted(count, "device")) }
    };
    judged(
        occasions,
        life.registrations_needless.saturating_sub(excused),
        format!(
            "{}, {} with the cached assignment; {} changed nothing{}{}",
            counted(life.reconnects, "reconnect"),
            grouped(life.reconnects_cached),
            counted(life.registrations_needless, "registration"),
            told("had no assignment when they booted", returns("boot")),
            told("had waited for their hub for as long as the profile says", returns("patience"))
        ),
    )
}

fn hub_size(&Ground { record, profile, .. }: &Ground<'_>) -> Found {
    let Some((hub, devices)) = record.totals.hubs.iter().max_by_key(|(_, devices)| **devices) else {
        return vacuous("no device was assigned");
    };
    let over =
        record.totals.hubs.values().filter(|devices| **devices > profile.expected.devices_per_hub).count()
            as u64;
    judged(
        record.totals.hubs.len() as u64,
        over,
        format!("the fullest hub, {hub}, has {}", counted(*devices, "device")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How likely more than `most` of `of` fall where each falls with this probability: the sum of the binomial's terms.
    fn more_than(most: f64, of: u64, probability: f64) -> f64 {
        let log = |n: u64| (1..=n).map(|n| (n as f64).ln()).sum::<f64>();
        let term = |k: u64| {
            let ways = log(of) - log(k) - log(of - k);
            (ways + k as f64 * probability.ln() + (of - k) as f64 * (1.0 - probability).ln()).exp()
        };
        (0..=of).filter(|k| *k as f64 > most).map(term).sum()
    }

    #[test]
    fn a_small_fleet_is_not_blamed_for_what_chance_does() {
        for of in [100, 200, 500, 2_000] {
            let most = limit_of_share(0.05, of) * of as f64;
            assert!(more_than(most, of, 0.05) < 1e-3, "{of}");
            // A tenth of a fleet of thousands in one slot is no chance, and of a hundred it may be.
            assert_eq!(most < 0.1 * of as f64, of > 400, "{of}: {most}");
        }
        assert!(limit_of_share(0.05, 1_000_000) < 0.051);
        // Under no synchrony, R exceeds r with probability exp(-n r^2).
        let r = limit_of_synchrony(0.0, 100);
        assert!((-100.0 * r * r).exp() < 1e-3, "{r}");
        assert!(limit_of_synchrony(0.2, 1_000_000) < 0.21 && limit_of_synchrony(0.2, 100) < 0.5);
    }
}
