//! How many connections this process may have.

use rustix::process::{Resource, getrlimit};

/// The soft limit of open descriptors.
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the soft limit of open descriptors to the hard one, and returns it.
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What is refused here shows in the limit that is returned.
    let _ = rustix::process::setrlimit(Resource::Nofile, limit);
    descriptor_limit()
}

/// Ports that connections to one destination from one address may use; `None` where the system does not say.
pub fn ephemeral_ports() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut bounds = text.split_ascii_whitespace().map(str::parse::<u64>);
    match (bounds.next()?.ok()?, bounds.next()?.ok()?) {
        (first, last) if last >= first => Some(last - first + 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_ports_and_descriptors() {
        assert!(ephemeral_ports().is_some_and(|ports| ports > 1_000));
        assert!(raise_descriptor_limit() > 2);
    }
}
