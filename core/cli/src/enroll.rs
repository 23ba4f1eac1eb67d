//! `fleetstorm enroll` and `fleetstorm clean`: the enrollments that a fleet needs, made and removed.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use fleetstorm_engine::Plan;
use fleetstorm_engine::enroll::{self, Done, EnrollError, Key, Operator};
use fleetstorm_model::profile::Profile;
use fleetstorm_scenario::{Consent, Scenario, SecretSource, TargetKind};
use fleetstorm_units::Rate;
use fleetstorm_units::number::counted;
use fleetstorm_units::time::Calendar;

use crate::arguments::enroll::{CleanArguments, EnrollArguments, OperatorOptions};
use crate::failure::Failure;
use crate::{files, plugin, run};

/// Paths that a dry run names; more are counted.
const NAMED_MAX: usize = 20;

pub(crate) fn enroll(arguments: &EnrollArguments) -> Result<u8, Failure> {
    let scenario = files::scenario(&arguments.source, Vec::new())?;
    let address = address(arguments.target.as_deref(), &scenario)?;
    let ledger =
        arguments.ledger.clone().unwrap_or_else(|| run::default_directory(&scenario).join("enrolled.jsonl"));
    let ca = arguments.operator.ca.clone().or_else(|| scenario.target.ca_file.as_ref().map(PathBuf::from));
    let (seed, consent) = (scenario.mock.seed, scenario.target.consent.clone());
    let registry = plugin::registry(&arguments.source.plugins, &scenario.plugins.load)?;
    let plan = Plan::new(scenario, &registry, Calendar::VIRTUAL)?;
    let operator =
        operator(&arguments.operator, address, ca, seed, plan.profile().expected.operations, consent);
    let wanted = enroll::wanted(&plan, arguments.individual)?;
    enroll::permitted(&operator, wanted.len())?;
    if arguments.dry_run {
        println!("would make {} at {}:", counted(wanted.len() as u64, "enrollment"), operator.address);
        for want in wanted.iter().take(NAMED_MAX) {
            println!("  {}  {}, {}", want.path(), want.attestation(), counted(want.devices(), "device"));
        }
        more(wanted.len());
        return Ok(0);
    }
    let done = enroll::enroll(&operator, &wanted, &ledger, progress("enrolled"))?;
    let Done { made, kept, found, .. } = done;
    println!(
        "made {made}, had {kept} already, found {found} that are not ours\nLedger  {}",
        ledger.display()
    );
    Ok(0)
}

pub(crate) fn clean(arguments: &CleanArguments) -> Result<u8, Failure> {
    let address = enroll::address_of(&arguments.ledger)?;
    let operations = Profile::ms_2025().expected.operations;
    let consent = match &arguments.consent {
        Some(path) => files::consent(path)?,
        None => None,
    };
    let operator =
        operator(&arguments.operator, address, arguments.operator.ca.clone(), 0, operations, consent);
    enroll::permitted(&operator, 0)?;
    if arguments.dry_run {
        let paths = enroll::listed(&operator, &arguments.ledger)?;
        let what = counted(paths.len() as u64, "enrollment");
        println!("would remove {what} at {} and the registrations of their devices:", operator.address);
        for path in paths.iter().take(NAMED_MAX) {
            println!("  {path}");
        }
        more(paths.len());
        return Ok(0);
    }
    let done = enroll::clean(&operator, &arguments.ledger, progress("removed"))?;
    println!(
        "removed {} and {}",
        counted(done.removed, "enrollment"),
        counted(done.registrations, "registration")
    );
    Ok(0)
}

fn address(target: Option<&str>, scenario: &Scenario) -> Result<String, Failure> {
    match (target, scenario.target.kind, &scenario.target.address) {
        (Some(target), _, _) => Ok(target.to_owned()),
        (None, TargetKind::Endpoint, Some(address)) => Ok(address.clone()),
        (None, TargetKind::Dps, _) => Err(Failure::usage(
            "the service endpoint is another host than the devices': name it with --target \
             https://NAME.azure-devices-provisioning.net",
        )),
        (None, _, _) => Err(Failure::usage(
            "the embedded mock knows its fleet already; name a service with --target https://HOST:PORT",
        )),
    }
}

fn operator(
    options: &OperatorOptions,
    address: String,
    ca: Option<PathBuf>,
    seed: u64,
    operations: Rate,
    consent: Option<Consent>,
) -> Operator {
    let text = |path: &Path| path.display().to_string();
    let key = match (&options.key_env, &options.key_file) {
        (Some(name), _) => Key::Secret(SecretSource::Env(name.clone())),
        (None, Some(path)) => Key::Secret(SecretSource::File(text(path))),
        (None, None) => Key::Demo(seed),
    };
    Operator {
        address,
        ca_file: ca.as_deref().map(text),
        policy: options.policy.clone(),
        key,
        operations_per_s: options.rate.unwrap_or(operations).per_second(),
        consent,
    }
}

/// Shows how far it is on a terminal.
fn progress(word: &'static str) -> impl FnMut(usize, usize) {
    let terminal = std::io::stderr().is_terminal();
    move |done, all| {
        if terminal {
            let end = if done == all { "\n" } else { "" };
            crate::terminal::write_err_styled(&format!("\r{word} {done} of {all}{end}"));
            let _ = std::io::stderr().flush();
        }
    }
}

fn more(all: usize) {
    if all > NAMED_MAX {
        println!("  and {} more", all - NAMED_MAX);
    }
}

impl From<EnrollError> for Failure {
    fn from(error: EnrollError) -> Self {
        match error {
            EnrollError::Run(error) => error.into(),
            error => Self::Told { message: error.to_string(), exit_code: error.exit_code() },
        }
    }
}
