//! Checks across the keys of a mock.

use fleetstorm_model::service::throttle::PROFILES;
use fleetstorm_units::nearest;
use fleetstorm_units::time::Span;

use super::Judge;
use crate::{AllocationFile, CertificateAuthorityFile, MockFile};

/// How an enrollment chooses hubs.
struct Allocation<'a> {
    policy: Option<AllocationFile>,
    webhook: Option<&'a str>,
    hub: Option<&'a str>,
    hubs: &'a [String],
}

impl Judge<'_> {
    pub(crate) fn mock(&mut self, mock: &MockFile, prefix: &str) {
        let at = |key: &str| format!("{prefix}{key}");
        if mock.throttle.config().is_none() {
            let known = PROFILES.iter().map(|profile| profile.name);
            let help = match nearest(&mock.throttle.profile, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("profiles: {}", known.collect::<Vec<_>>().join(", ")),
            };
            self.refuse(
                &at("throttle.profile"),
                format!("there is no throttle profile `{}`", mock.throttle.profile),
                help,
            );
        }
        if mock.throttle.burst.is_some_and(|burst| !(1.0..=1e9).contains(&burst)) {
            self.refuse(&at("throttle.burst"), "a burst below 1 lets nothing through", "write 1 or more");
        }
        if mock.throttle.polls_per_10s.is_some_and(|polls| polls > 8) {
            self.refuse(
                &at("throttle.polls_per_10s"),
                "the mock counts up to 8 polls",
                "write 0 (no limit) to 8",
            );
        }
        if !(-1..=i64::from(u32::MAX)).contains(&mock.retry_after_s) {
            self.refuse(&at("retry_after_s"), "this is no Retry-After", "write seconds, or -1 for none");
        }
        if !matches!(mock.mqtt.unknown_scope, 0 | 3..=5) {
            self.refuse(
                &at("mqtt.unknown_scope"),
                "this code does not fit",
                "write 3, 4 or 5, or 0 to let it in",
            );
        }
        if !matches!(mock.mqtt.user_name, 2..=5) {
            self.refuse(&at("mqtt.user_name"), "this code does not fit", "write 2 to 5");
        }
        for (index, rule) in mock.ip_filter.iter().enumerate() {
            if rule.covers(std::net::Ipv4Addr::LOCALHOST.into()).is_none() {
                let help = "write an address or a range, such as 10.0.0.0/8";
                self.refuse(
                    &at(&format!("ip_filter.{index}.mask")),
                    format!("`{}` covers no addresses", rule.mask),
                    help,
                );
            }
        }
        for (index, outage) in mock.outages.iter().enumerate() {
            if let Err((key, message, help)) = outage.check() {
                self.refuse(&at(&format!("outage.{index}.{key}")), message, help);
            }
        }
        for (index, hub) in mock.hubs.iter().enumerate() {
            if let Err((key, message, help)) = hub.check() {
                self.refuse(&at(&format!("hub.{index}.{key}")), message, help);
            }
        }
        for (key, limit) in [
            ("connections", Some(mock.limits.connections)),
            ("unproven_per_address", mock.limits.unproven_per_address),
        ] {
            if limit == Some(0) {
                self.refuse(
                    &at(&format!("limits.{key}")),
                    "a limit of 0 lets nobody in",
                    "write 1 or more, or leave it out",
                );
            }
        }
        let times = [
            ("first_byte", mock.limits.first_byte),
            ("handshake", mock.limits.handshake),
            ("request", mock.limits.request),
            ("idle", mock.limits.idle),
        ];
        for (key, _) in times.iter().filter(|(_, time)| time.0 == Span::ZERO) {
            self.refuse(
                &at(&format!("limits.{key}")),
                "no time at all lets nobody in",
                "write a time such as \"10s\", or leave it out",
            );
        }
        self.certificates(mock, prefix);
        if matches!(mock.allocation, AllocationFile::Static | AllocationFile::Custom) {
            self.refuse(
                &at("allocation"),
                "an instance cannot choose hubs this way",
                "write hashed or geo-latency, and the other policies at an enrollment",
            );
        }
        if mock.throttle.operations_burst.is_some_and(|burst| !(1.0..=1e9).contains(&burst)) {
            self.refuse(
                &at("throttle.operations_burst"),
                "a burst below 1 lets nothing through",
                "write 1 or more",
            );
        }
        let is_one = |ways: &[bool]| ways.iter().filter(|way| **way).count() == 1;
        for (index, enrollment) in mock.enrollments.iter().enumerate() {
            let ways = [
                enrollment.primary_key.is_some(),
                enrollment.primary_certificate.is_some(),
                enrollment.primary_ca.is_some(),
                enrollment.endorsement_key.is_some(),
            ];
            if !is_one(&ways) {
                let path = at(&format!("enrollment.{index}"));
                self.refuse(
                    &path,
                    format!("enrollment `{}`", enrollment.registration_id),
                    "give primary_key, primary_certificate, primary_ca or endorsement_key",
                );
            }
            let chosen = Allocation {
                policy: enrollment.allocation,
                webhook: enrollment.webhook_url.as_deref(),
                hub: enrollment.hub.as_deref(),
                hubs: &enrollment.hubs,
            };
            self.allocation(&at(&format!("enrollment.{index}")), &chosen);
        }
        for (index, group) in mock.enrollment_groups.iter().enumerate() {
            let ways = [
                group.primary_key.is_some(),
                group.primary_certificate.is_some(),
                group.primary_ca.is_some(),
            ];
            if !is_one(&ways) {
                let path = at(&format!("enrollment_group.{index}"));
                self.refuse(
                    &path,
                    format!("enrollment group `{}`", group.id),
                    "give primary_key, primary_certificate or primary_ca",
                );
            }
            let chosen = Allocation {
                policy: group.allocation,
                webhook: group.webhook_url.as_deref(),
                hub: group.hub.as_deref(),
                hubs: &group.hubs,
            };
            self.allocation(&at(&format!("enrollment_group.{index}")), &chosen);
        }
    }

    /// The authorities that issue certificates, and the enrollments that name them.
    fn certificates(&mut self, mock: &MockFile, prefix: &str) {
        let authorities = &mock.certificate_authorities;
        for (index, authority) in authorities.iter().enumerate() {
            let at = format!("{prefix}certificate_authority.{index}");
            if let Err((key, message, help)) = authority.check() {
                self.refuse(&format!("{at}.{key}"), message, help);
            }
            let same = |other: &CertificateAuthorityFile| {
                other.namespace == authority.namespace && other.name.eq_ignore_ascii_case(&authority.name)
            };
            if authorities[..index].iter().any(same) {
                let what =
                    format!("there are two authorities `{}` in {}", authority.name, authority.namespace);
                self.refuse(&format!("{at}.name"), what, "give each its own name");
            }
        }
        if let Err((key, message, help)) = mock.issuance.check() {
            self.refuse(&format!("{prefix}issuance.{key}"), message, help);
        }
        let individuals = mock.enrollments.iter().map(|entry| &entry.certificate_policy).enumerate();
        let groups = mock.enrollment_groups.iter().map(|entry| &entry.certificate_policy).enumerate();
        let individuals = individuals.map(|(index, policy)| (format!("enrollment.{index}"), policy));
        let groups = groups.map(|(index, policy)| (format!("enrollment_group.{index}"), policy));
        for (path, policy) in individuals.chain(groups) {
            let Some(policy) = policy.as_ref().filter(|policy| !policy.is_among(authorities)) else {
                continue;
            };
            self.refuse(
                &format!("{prefix}{path}.certificate_policy"),
                format!(
                    "there is no policy `{}` of the authority `{}` in {}",
                    policy.policy, policy.authority, policy.namespace
                ),
                "policies are those of [[certificate_authority]]",
            );
        }
    }

    /// An allocation policy needs what it chooses by.
    fn allocation(&mut self, path: &str, chosen: &Allocation<'_>) {
        match chosen.policy {
            Some(AllocationFile::Custom) if chosen.webhook.is_none() => {
                self.refuse(path, "a custom allocation asks a webhook", "add `webhook_url`");
            }
            Some(AllocationFile::Static) if chosen.hub.is_none() && chosen.hubs.len() != 1 => {
                self.refuse(path, "a static allocation needs its hub", "add `hub`");
            }
            _ => {}
        }
    }
}
