//! What tests of the service share: an instance, evidence that is what it says, certificates that are text.

use fleetstorm_protocol::certificate::{CertificateInfo, Certificates};
use fleetstorm_protocol::enrollment::{
    AllocationPolicy, Attestation, CaCertificate, Enrollment, Group, SymmetricKey,
};
use fleetstorm_protocol::{Body, OperationId, Registration, RegistrationState, Reply, Submission};
use fleetstorm_units::random::Seed;
use fleetstorm_units::time::{Calendar, Moment, Span};

use super::access::{AccessPolicy, OWNER, Permission};
use super::throttle::profile;
use super::{
    Assignment, Call, Certificate, Config, Evidence, Hub, Overlap, Request, Resource, Service, Token,
    TrustedCas,
};

pub(super) const SCOPE: &str = "0ne00ABCDEF";
pub(super) const HOST: &str = "dps.example";
pub(super) const OWNER_KEY: &[u8] = b"the key of the owner";
pub(super) const READER_KEY: &[u8] = b"the key of the reader";

/// A token that was signed with a key, or with one derived from it.
pub(super) struct Signed {
    pub(super) resource: String,
    pub(super) policy: &'static str,
    pub(super) key: Vec<u8>,
    pub(super) expires: u64,
}

impl Evidence for Signed {
    fn token(&self) -> Token<'_> {
        Token::Claims { resource: Resource::Spelled(&self.resource), expires_unix_secs: self.expires }
    }

    fn policy(&self) -> &str {
        self.policy
    }

    fn signed_with(&self, key: &SymmetricKey, _: Option<&str>) -> bool {
        key.expose() == self.key
    }

    fn certificate(&self) -> Option<&Certificate> {
        None
    }

    fn signed_by(&self, _: &CaCertificate, _: &TrustedCas, _: u64) -> Option<u8> {
        None
    }
}

/// Certificates whose DER is the word `certificate` and a name.
pub(super) struct Worded;

impl Certificates for Worded {
    fn read(&self, der: &[u8]) -> Option<CertificateInfo> {
        let name = std::str::from_utf8(der).ok()?.strip_prefix("certificate ")?;
        let subject = format!("CN={name}");
        Some(CertificateInfo { issuer: subject.clone(), subject, version: 3, ..CertificateInfo::default() })
    }

    fn is_tpm_key(&self, public: &[u8]) -> bool {
        !public.starts_with(b"malformed")
    }
}

pub(super) fn hub(number: u32) -> String {
    format!("hub-{number}.azure-devices.net")
}

/// Three hubs, one group `keys` whose key is `group`, an owner and a reader of enrollments.
pub(super) fn config() -> Config {
    let policy = |name: &str, key: &[u8], permissions: &[Permission]| AccessPolicy {
        name: name.into(),
        primary: SymmetricKey::new(key.to_vec()),
        secondary: None,
        permissions: permissions.to_vec(),
    };
    let primary = SymmetricKey::new(b"group".to_vec());
    let attestation = Attestation::SymmetricKey { primary, secondary: None };
    Config {
        id_scope: SCOPE.into(),
        hubs: [1, 2, 3].map(|number| Hub::new(hub(number), 1)).into(),
        individuals: Vec::new(),
        groups: vec![Group { id: "keys".into(), enrollment: Enrollment::new(attestation) }],
        allocation: AllocationPolicy::Hashed,
        certificates: Vec::new(),
        regions: Vec::new(),
        access: vec![
            policy(OWNER, OWNER_KEY, &Permission::ALL),
            policy("reader", READER_KEY, &[Permission::EnrollmentRead]),
        ],
        throttle: profile("dps-doc").unwrap(),
        assignment: Assignment::Constant(Span::from_secs(2)),
        overlap: Overlap::Conflict,
        outages: Vec::new(),
        retry_after_secs: Some(3),
        seed: Seed(1),
        calendar: Calendar::VIRTUAL,
    }
}

/// A service and its time.
pub(super) struct Talk {
    pub(super) service: Service,
    pub(super) now: Moment,
    pub(super) api_version: &'static str,
}

impl Talk {
    pub(super) fn with(config: Config) -> Self {
        let now = Moment::START + Span::from_secs(100);
        Self { service: Service::new(config).unwrap(), now, api_version: "2019-03-31" }
    }

    pub(super) fn pass(&mut self, secs: u64) {
        self.now += Span::from_secs(secs);
    }

    /// Sends a call of a device of the group.
    pub(super) fn ask(&mut self, id: &str, call: Call<'_>) -> Reply {
        let evidence = Signed {
            resource: format!("{SCOPE}/registrations/{id}"),
            policy: "",
            key: b"group".to_vec(),
            expires: u64::MAX,
        };
        let request =
            Request { api_version: Some(self.api_version), id_scope: SCOPE, registration_id: id, call };
        self.service.handle(self.now, &request, &evidence).reply
    }

    /// Starts a registration with this payload.
    pub(super) fn start(&mut self, id: &str, payload: Option<&str>) -> OperationId {
        let call = Call::Register(Submission::Read { registration_id: None, csr: false, payload });
        let reply = self.ask(id, call);
        let Body::Operation { id: Some(operation), state: RegistrationState::Assigning, .. } = reply.body
        else {
            panic!("{reply:?}")
        };
        operation
    }

    /// What a poll says: `None` while it is still assigning.
    pub(super) fn poll(&mut self, id: &str, operation: &OperationId) -> Option<Registration> {
        let reply = self.ask(id, Call::Poll(operation.clone()));
        match reply.body {
            Body::Operation { state: RegistrationState::Assigning, .. } => None,
            Body::Operation { registration: Some(registration), .. } => {
                // The catalogue says with which status a code comes.
                let said = registration.error_code.map_or(200, fleetstorm_protocol::code::status);
                assert_eq!(reply.status.0, said, "{registration:?}");
                Some(*registration)
            }
            _ => panic!("{reply:?}"),
        }
    }

    /// Registers to the end.
    pub(super) fn register(&mut self, id: &str) -> Registration {
        let operation = self.start(id, None);
        self.pass(5);
        self.poll(id, &operation).unwrap()
    }
}
