//! The registration machine.

/// One device.
#[derive(Clone, Debug)]
pub struct Device {}
