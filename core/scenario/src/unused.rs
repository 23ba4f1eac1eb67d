//! What a scenario says and nobody acts on, since something else that it says leaves it no room. A switch from one target or
//! profile to another may leave such values behind, so they are no mistakes; but nobody shall believe that they count.

use fleetstorm_model::service::throttle::Model;

use super::file::{Cohort, Scenario, TargetKind};
use super::mock::{AllocationFile, MockFile, ThrottleFile};
use super::transport::RefusalsFile;

impl Scenario {
    /// Each key that counts for nothing, and why.
    pub fn unused(&self) -> Vec<String> {
        let mut list = Vec::new();
        self.target_keys(&mut list);
        if self.target.kind == TargetKind::Mock {
            mock_keys(&self.mock, &mut list);
        }
        for (index, cohort) in self.cohorts.iter().enumerate() {
            cohort_keys(index, cohort, &mut list);
        }
        list
    }

    fn target_keys(&self, list: &mut Vec<String>) {
        let target = &self.target;
        if target.kind != TargetKind::Mock {
            if self.mock != MockFile::default() {
                list.push("[mock]: the target is another server, which has settings of its own".to_owned());
            }
            return;
        }
        let said = [
            ("mqtt_port", target.mqtt_port.is_some()),
            ("amqp_port", target.amqp_port.is_some()),
            ("server_name", target.server_name.is_some()),
            ("ca_file", target.ca_file.is_some()),
            ("consent", target.consent.is_some()),
        ];
        for (key, _) in said.iter().filter(|(_, is_said)| *is_said) {
            list.push(format!("target.{key}: the target is the embedded mock, on this machine"));
        }
        if target.id_scope.is_some() || target.id_scope_env.is_some() {
            list.push("target.id_scope: the embedded mock has that of [mock]".to_owned());
        }
        if self.mock.seed != 0 {
            list.push("mock.seed: in a run everything random follows from `seed`".to_owned());
        }
    }
}

fn mock_keys(mock: &MockFile, list: &mut Vec<String>) {
    throttle_keys(&mock.throttle, list);
    let by_distance = |allocation: &Option<AllocationFile>| *allocation == Some(AllocationFile::GeoLatency);
    let near = mock.allocation == AllocationFile::GeoLatency
        || mock.enrollments.iter().any(|enrollment| by_distance(&enrollment.allocation))
        || mock.enrollment_groups.iter().any(|group| by_distance(&group.allocation));
    if !mock.regions.is_empty() && !near {
        list.push("mock.region: no hub is chosen by latency; set `allocation = \"geo-latency\"`".to_owned());
    }
    for enrollment in &mock.enrollments {
        let id = &enrollment.registration_id;
        let secondary = [
            ("secondary_key", enrollment.secondary_key.is_some() && enrollment.primary_key.is_none()),
            (
                "secondary_certificate",
                enrollment.secondary_certificate.is_some() && enrollment.primary_certificate.is_none(),
            ),
            ("secondary_ca", enrollment.secondary_ca.is_some() && enrollment.primary_ca.is_none()),
            (
                "storage_root_key",
                enrollment.storage_root_key.is_some() && enrollment.endorsement_key.is_none(),
            ),
        ];
        for (key, _) in secondary.iter().filter(|(_, is_alone)| *is_alone) {
            list.push(format!("{key} of the enrollment `{id}`: it attests in another way"));
        }
        webhook(enrollment.webhook_url.is_some(), enrollment.allocation, "enrollment", id, list);
    }
    for group in &mock.enrollment_groups {
        let secondary = [
            ("secondary_key", group.secondary_key.is_some() && group.primary_key.is_none()),
            (
                "secondary_certificate",
                group.secondary_certificate.is_some() && group.primary_certificate.is_none(),
            ),
            ("secondary_ca", group.secondary_ca.is_some() && group.primary_ca.is_none()),
        ];
        for (key, _) in secondary.iter().filter(|(_, is_alone)| *is_alone) {
            list.push(format!("{key} of the enrollment group `{}`: it attests in another way", group.id));
        }
        webhook(group.webhook_url.is_some(), group.allocation, "enrollment group", &group.id, list);
    }
}

fn webhook(is_said: bool, allocation: Option<AllocationFile>, what: &str, id: &str, list: &mut Vec<String>) {
    if is_said && allocation != Some(AllocationFile::Custom) {
        list.push(format!("webhook_url of the {what} `{id}`: set its `allocation = \"custom\"`"));
    }
}

fn throttle_keys(throttle: &ThrottleFile, list: &mut Vec<String>) {
    let Some(config) = throttle.config() else { return };
    let has_rate = |model| !matches!(model, Model::Unlimited);
    let has_burst =
        |model| has_rate(model) && !matches!(model, Model::FixedWindow { .. } | Model::SlidingWindow { .. });
    let (devices, operators) = (config.registrations, config.operations);
    for (key, is_said, counts) in [
        ("rate", throttle.rate.is_some(), has_rate(devices)),
        ("burst", throttle.burst.is_some(), has_burst(devices)),
        ("rho", throttle.rho.is_some(), matches!(devices, Model::Penalising { .. })),
        ("operations_rate", throttle.operations_rate.is_some(), has_rate(operators)),
        ("operations_burst", throttle.operations_burst.is_some(), has_burst(operators)),
    ] {
        if is_said && !counts {
            list.push(format!("mock.throttle.{key}: the profile `{}` has none", throttle.profile));
        }
    }
}

fn cohort_keys(index: usize, cohort: &Cohort, list: &mut Vec<String>) {
    let usual = Cohort::default();
    let by_request = !cohort.transport.authenticates_connections();
    for (key, is_said, why) in [
        (
            "keep_alive",
            by_request && cohort.keep_alive != usual.keep_alive && cohort.life.is_none(),
            "HTTPS has none",
        ),
        (
            "refusals",
            by_request && cohort.refusals != RefusalsFile::default(),
            "they are what devices over MQTT and AMQP make of a refused connection",
        ),
        (
            "token_lifetime",
            cohort.attestation.kind == "x509" && cohort.token_lifetime != usual.token_lifetime,
            "its devices have certificates, and no tokens",
        ),
    ] {
        if is_said {
            list.push(format!("cohort.{index}.{key}: {why}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_for_nothing_is_named() {
        let unused = |text: &str| Scenario::read(text, "a.toml", &[]).unwrap().unused().join("\n");
        for (text, words) in [
            ("[target]\nca_file = \"a.pem\"", "target.ca_file: the target is the embedded mock"),
            ("[target]\nid_scope = \"0ne1\"", "target.id_scope"),
            ("[mock]\nseed = 7", "mock.seed"),
            (
                "[target]\nkind = \"endpoint\"\naddress = \"https://127.0.0.1:1\"\n[mock.throttle]\nburst = 5",
                "[mock]",
            ),
            (
                "[mock.throttle]\nprofile = \"dps-window\"\nburst = 5",
                "mock.throttle.burst: the profile `dps-window`",
            ),
            ("[mock.throttle]\nrho = 0.5", "mock.throttle.rho"),
            ("[mock.throttle]\nprofile = \"unlimited\"\nrate = \"5/s\"", "mock.throttle.rate"),
            ("[[mock.region]]\nlatency = { h = \"5ms\" }", "mock.region"),
            ("[[cohort]]\nkeep_alive = \"5s\"", "cohort.0.keep_alive"),
            ("[[cohort]]\nattestation = \"x509\"\ntoken_lifetime = \"5s\"", "cohort.0.token_lifetime"),
            (
                "[[mock.enrollment]]\nregistration_id = \"x\"\nprimary_ca = \"a\"\nsecondary_key = { env = \"K\" }",
                "secondary_key of the enrollment `x`",
            ),
        ] {
            let told = unused(text);
            assert!(told.contains(words) && told.lines().count() == 1, "{text}\n{told}");
        }
        assert_eq!(
            unused("[mock.throttle]\nburst = 5\n[[cohort]]\ntransport = \"mqtt\"\nkeep_alive = \"5s\""),
            ""
        );
    }
}
