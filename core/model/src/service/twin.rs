//! Device twins, as far as DPS sets them: what a device starts with at a hub, and what a new assignment leaves of it
//! (`dps` 14.6, 14.8).

use std::sync::Arc;

use serde_json::Value;

use super::machine::Service;

impl Service {
    /// Gives a device that is new to its hub the initial twin: that of the webhook that chose the hub, or else its
    /// enrollment's.
    pub(super) fn start_twin(&mut self, at: usize, of_webhook: Option<Arc<Value>>) {
        let enrollment = self.enrollment(self.records.get(at).enrollment);
        let initial =
            of_webhook.or_else(|| enrollment.and_then(|enrollment| enrollment.initial_twin.clone()));
        // A record's place came from 32 bits.
        match initial {
            Some(twin) => self.twins.insert(at as u32, twin),
            None => self.twins.remove(&(at as u32)),
        };
    }

    /// The twin of the device with this device id, `tags` and `properties.desired`; `None` if DPS gave it none.
    pub fn twin(&self, device_id: &str) -> Option<&Value> {
        let name = self.registered_as(device_id)?;
        let twin = match self.records.find(self.caller(&name)) {
            Some(at) => self.twins.get(&u32::try_from(at).ok()?),
            None => self.left_by(&name)?.twin.as_ref(),
        };
        twin.map(|twin| &**twin)
    }
}

#[cfg(test)]
#[path = "twin_tests.rs"]
mod tests;
