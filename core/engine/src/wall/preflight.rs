//! What must be so before a fleet is let loose: room on this machine, and a target that answers.

use std::sync::Arc;
use std::time::Duration;

use fleetstorm_net::clock::Clock;
use fleetstorm_net::connect::{Dial, DialError, TlsDialler, Trust, client_config};
use fleetstorm_net::governor::{Brake, Ceilings, Halt, Leaving};
use fleetstorm_net::{NetError, limits};
use fleetstorm_protocol::outcome::Fault;

use crate::control::Control;
use crate::plan::Plan;
use crate::{RunError, audit};

/// Memory that a connected device takes on the client's and on the mock's side, in bytes (`tests/perf`).
const DEVICE_BYTES: u64 = 32 * 1024;
const SERVED_BYTES: u64 = 28 * 1024;
/// Memory that a device takes while it is not connected.
const IDLE_BYTES: u64 = 4 * 1024;
/// Descriptors that are not connections.
const OTHER_DESCRIPTORS: u64 = 64;

/// The most devices that can be on their way at the same time.
fn at_once(plan: &Plan) -> u64 {
    let fleet = &plan.scenario.fleet;
    // Devices that live on keep their connection, whatever place they had on their way.
    let limit = fleet.max_concurrent.filter(|_| !plan.living().contains(&true));
    u64::from(limit.unwrap_or(fleet.devices).min(fleet.devices))
}

pub(super) fn preflight(plan: &Plan, embedded: bool) -> Result<(), RunError> {
    let devices = u64::from(plan.scenario.fleet.devices);
    let at_once = at_once(plan);
    let ends = 1 + u64::from(embedded);
    let limit = limits::raise_descriptor_limit();
    let needed = at_once * ends + OTHER_DESCRIPTORS;
    if needed > limit {
        let fits = limit.saturating_sub(OTHER_DESCRIPTORS) / ends;
        let mut help = format!("set `fleet.max_concurrent = {fits}` (or --set fleet.max_concurrent={fits})");
        if embedded && devices + OTHER_DESCRIPTORS <= limit {
            help.push_str(", or run the mock in a process of its own (`fleetstorm mock`, then `--target`)");
        }
        return Err(RunError::Preflight(format!(
            "{at_once} devices at once need {needed} descriptors and this process may open {limit}: {help}"
        )));
    }
    let served = if embedded { SERVED_BYTES } else { 0 };
    let needed = at_once * (DEVICE_BYTES + served) + devices * IDLE_BYTES;
    if let Some(available) = audit::available_memory_bytes()
        && needed > available
    {
        let mib = |bytes: u64| bytes / (1024 * 1024);
        return Err(RunError::Preflight(format!(
            "the fleet needs some {} MiB of memory and {} MiB are available: lower `fleet.devices` or set \
             `fleet.max_concurrent`",
            mib(needed),
            mib(available)
        )));
    }
    Ok(())
}

/// Every open connection holds a port of one of this machine's addresses.
pub(super) fn enough_ports(plan: &Plan, dial: &Dial) -> Result<(), RunError> {
    let Some(each) = limits::ephemeral_ports() else { return Ok(()) };
    let (ports, at_once) = (each * u64::from(dial.sources()), at_once(plan));
    if at_once <= ports {
        return Ok(());
    }
    Err(RunError::Preflight(format!(
        "{at_once} devices at once need as many ports and this machine has {ports} for {}:{}: set \
         `fleet.max_concurrent = {ports}`, or widen net.ipv4.ip_local_port_range",
        dial.host, dial.port
    )))
}

/// One connection without a request, so that a wrong address fails before a fleet is let loose on it.
pub(super) fn reach(
    dial: &Arc<Dial>,
    trust: &Trust,
    ceilings: Option<&Ceilings>,
    control: &Control,
) -> Result<(), RunError> {
    let (clock, brake) = (Clock::start(), Brake::default());
    let governor = control.allowance.governor(ceilings, clock, brake.clone());
    // The first device of the fleet may be here once more.
    if !governor.permit(clock.now(), 0, Leaving::Connection)
        && let Some(Halt::Ceiling(ceiling)) = brake.held()
    {
        return Err(RunError::Ceiling { ceiling });
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::driver)?;
    let config = Arc::new(client_config(trust, fleetstorm_scenario::TlsVersions::Any, false)?);
    match runtime.block_on(dial.resolve()) {
        // That a name has no address is said below, as other ways to be out of reach.
        Ok(_) | Err(DialError::Unknown | DialError::Failed(_)) => {}
        Err(error) => return Err(RunError::DialError { what: error.told(&dial.host) }),
    }
    let error = runtime.block_on(async {
        let dialler = TlsDialler::new(Arc::clone(dial), config, clock, false);
        match tokio::time::timeout(Duration::from_secs(10), dialler.probe()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some(Fault::ConnectTimeout.into()),
        }
    });
    let Some(NetError { fault, source }) = error else { return Ok(()) };
    let why = match fault {
        Fault::Dns => "its name does not resolve; check the address",
        Fault::Refused => "nothing listens there; start the mock (`fleetstorm mock`) or check the port",
        Fault::ConnectTimeout => "it does not answer within 10 s; check the address and firewalls",
        Fault::TlsUntrusted => "its certificate is not trusted; name its CA with `target.ca_file` (--ca)",
        Fault::TlsExpired => {
            "its certificate has expired or is not valid yet; renew it, or check this machine's clock"
        }
        Fault::TlsWrongName => "its certificate is for another name; set `target.server_name`",
        Fault::Protocol => "it does not speak TLS, which DPS always does",
        Fault::Closed => "it closes the connection during the TLS handshake",
        Fault::Exhausted => "this machine has no port or descriptor left",
        _ => "the TLS handshake fails",
    };
    let address = format!("{}:{}", dial.host, dial.port);
    Err(RunError::Unreachable { address, why: why.to_owned(), source })
}
