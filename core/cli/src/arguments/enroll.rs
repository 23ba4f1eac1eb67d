//! Enrollments, made and removed.

use std::path::PathBuf;

use clap::Args;
use fleetstorm_units::Rate;

use super::ScenarioOptions;

/// Create the enrollments that a scenario's fleet needs, in a mock or in the real service.
///
/// Groups for devices with keys and certificates, an enrollment each for devices with a TPM. Everything that is made is
/// listed in a ledger, line by line: work that is cut off goes on where it was, and `fleetstorm clean` removes exactly
/// what the ledger lists. Enrollments that were there before are left alone.
#[derive(Args)]
pub(crate) struct EnrollArguments {
    /// The service endpoint, https://HOST:PORT: a mock, or NAME.azure-devices-provisioning.net, which the scenario's
    /// [target.consent] must name as `enrollment_host`. Default: the scenario's target
    #[arg(long, value_name = "TARGET")]
    pub(crate) target: Option<String>,

    /// Only say what would be made
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// An enrollment for each device with a symmetric key, rather than a group for all of them
    #[arg(long)]
    pub(crate) individual: bool,

    /// The ledger. Default: fleetstorm-out/<name of the scenario>/enrolled.jsonl
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) operator: OperatorOptions,

    #[command(flatten)]
    pub(crate) source: ScenarioOptions,
}

/// Remove what `fleetstorm enroll` has made, with the registrations of its devices.
#[derive(Args)]
pub(crate) struct CleanArguments {
    /// The ledger that `fleetstorm enroll` has left
    pub(crate) ledger: PathBuf,

    /// The scenario whose [target.consent] names the service, which is needed unless it is on this machine
    #[arg(long, value_name = "SCENARIO")]
    pub(crate) consent: Option<PathBuf>,

    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) operator: OperatorOptions,
}

/// Who speaks to the enrollment API. Keys come from files or the environment, never from the command line.
#[derive(Args)]
pub(crate) struct OperatorOptions {
    /// PEM file with the CA of the service. Default: the scenario's, or the system's roots
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// The shared access policy
    #[arg(long, value_name = "NAME", default_value = "provisioningserviceowner")]
    pub(crate) policy: String,

    /// Environment variable that holds the policy's key, base64. Default on this machine: the demo's public key
    #[arg(long, value_name = "VARIABLE", conflicts_with = "key_file")]
    pub(crate) key_env: Option<String>,

    /// File that holds the policy's key, base64
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,

    /// The service's quota of operations; four fifths of it are used. Default: the policy profile's
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<Rate>,
}
