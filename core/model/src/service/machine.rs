//! The service machine.

use super::Config;

/// What a service has counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {}

/// A mock DPS instance.
#[derive(Debug)]
pub struct Service {
    config: Config,
}
