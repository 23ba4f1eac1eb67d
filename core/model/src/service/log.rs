//! The service's resource log: one line of JSON for each request, with the columns that Azure Monitor has
//! (`dps` 15).
//!
//! Which names the real service gives to operations is known for some only; the others are the mock's choice.

use std::net::IpAddr;

use fleetstorm_protocol::enrollment_api::{self, Administered, Content, Kind};
use fleetstorm_protocol::http::{iso_time, text_of};
use fleetstorm_protocol::{Body, Guid, Operation, Status};
use fleetstorm_units::time::Span;
use serde::Serialize;

use super::{Call, Handled, Request};

/// The name of a device's operation in the log.
pub const fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Register => "AttestationAttempt",
        Operation::Poll => "GetOperationStatus",
        Operation::Lookup => "GetRegistration",
    }
}

/// One request and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// `TimeGenerated` in nanoseconds since the Unix epoch.
    pub unix_ns: u64,
    /// `CallerIpAddress`; its last part is not written.
    pub caller: Option<IpAddr>,
    /// `DurationMs`.
    pub took: Span,
    /// `properties_s.protocol`, such as `Http`.
    pub protocol: &'static str,
    /// `OperationVersion`: the api-version as it was asked for.
    pub api_version: &'a str,
    /// What was asked of whom, and how it ended.
    pub what: What<'a>,
}

/// What was asked of whom, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct What<'a> {
    category: &'static str,
    operation: &'static str,
    id: &'a str,
    /// `Registration`, `IndividualEnrollment` or `EnrollmentGroup`.
    of: &'static str,
    status: Status,
    /// The six-digit code; 0 for none.
    code: u32,
    request_id: u128,
}

impl<'a> What<'a> {
    /// A device's request.
    pub fn device(request: &Request<'a>, handled: &Handled) -> Self {
        let operation = match &request.call {
            Call::Register(_) => operation_name(Operation::Register),
            Call::Poll(_) => operation_name(Operation::Poll),
            Call::Lookup(_) => operation_name(Operation::Lookup),
            Call::WrongMethod | Call::NoSuchPath => "Unknown",
        };
        let code = match &handled.reply.body {
            Body::Error(error) => error.code,
            Body::Operation { registration: Some(registration), .. } | Body::Registration(registration) => {
                registration.error_code.unwrap_or(0)
            }
            Body::Operation { .. } | Body::Challenge(_) | Body::Empty | Body::Unreadable => 0,
        };
        Self {
            category: "DeviceOperations",
            operation,
            id: request.registration_id,
            of: "Registration",
            status: handled.reply.status,
            code,
            request_id: handled.request_id,
        }
    }

    /// An operator's request.
    pub fn operator(call: &enrollment_api::Call<'a>, answer: &Administered) -> Self {
        use enrollment_api::Call;
        let enrollment = |kind: &Kind| match kind {
            Kind::Individual => "IndividualEnrollment",
            Kind::Group => "EnrollmentGroup",
        };
        let (operation, id, of) = match call {
            Call::Get(kind, id) => ("Get", *id, enrollment(kind)),
            Call::Put(kind, id, _) => ("Upsert", *id, enrollment(kind)),
            Call::Delete(kind, id) => ("Delete", *id, enrollment(kind)),
            Call::Mechanism(kind, id) => ("GetAttestationMechanism", *id, enrollment(kind)),
            Call::Bulk(kind, _) => ("BulkOperation", "", enrollment(kind)),
            Call::Query(kind, ..) => ("Query", "", enrollment(kind)),
            Call::GetRegistration(id) => ("Get", *id, "Registration"),
            Call::DeleteRegistration(id) => ("Delete", *id, "Registration"),
            Call::QueryRegistrations(id, ..) => ("Query", *id, "Registration"),
            Call::WrongMethod | Call::NoSuchPath => ("Unknown", "", "IndividualEnrollment"),
        };
        let code = match &answer.content {
            Content::Error(error) => error.code,
            _ => 0,
        };
        let (status, request_id) = (answer.status, answer.request_id);
        Self { category: "ServiceOperations", operation, id, of, status, code, request_id }
    }

    /// `ResultType`.
    fn result(&self) -> &'static str {
        match self.status.0 {
            400..=499 => "ClientError",
            200..=299 if self.code == 0 => "Success",
            _ => "Failure",
        }
    }
}

/// The columns of `AzureDiagnostics`. What only a subscription has is empty or zero.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    time_generated: String,
    application_id: &'static str,
    caller_ip_address: String,
    category: &'static str,
    correlation_id: String,
    duration_ms: String,
    level: &'static str,
    operation_name: &'static str,
    operation_version: &'a str,
    resource: &'a str,
    resource_group: &'static str,
    resource_id: &'static str,
    resource_provider: &'static str,
    resource_type: &'static str,
    result_description: &'static str,
    result_signature: String,
    result_type: &'static str,
    subscription_id: &'static str,
    tenant_id: &'static str,
    #[serde(rename = "location_s")]
    location: &'static str,
    #[serde(rename = "properties_s")]
    properties: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Properties<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    of: &'static str,
    protocol: &'static str,
    /// Not a property of the real service's log, which has no column for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<u32>,
}

const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Writes a line with its line feed. `instance` is the service's name, such as its id scope.
pub fn write_entry(entry: &Entry<'_>, instance: &str, out: &mut Vec<u8>) {
    let what = &entry.what;
    let error_code = (what.code != 0).then_some(what.code);
    let properties = Properties { id: what.id, of: what.of, protocol: entry.protocol, error_code };
    let line = Line {
        time_generated: iso_time(entry.unix_ns),
        application_id: NOBODY,
        caller_ip_address: entry.caller.map_or_else(String::new, masked),
        category: what.category,
        correlation_id: Guid(what.request_id).to_string(),
        duration_ms: entry.took.as_millis().to_string(),
        level: if what.result() == "Success" { "4" } else { "2" },
        operation_name: what.operation,
        operation_version: entry.api_version,
        resource: instance,
        resource_group: "",
        resource_id: "",
        resource_provider: "MICROSOFT.DEVICES",
        resource_type: "PROVISIONINGSERVICES",
        result_description: if what.code == 0 { "" } else { text_of(what.code) },
        result_signature: what.status.0.to_string(),
        result_type: what.result(),
        subscription_id: NOBODY,
        tenant_id: NOBODY,
        location: "local",
        // These values always serialize.
        properties: serde_json::to_string(&properties).unwrap_or_default(),
    };
    let _ = serde_json::to_writer(&mut *out, &line);
    out.push(b'\n');
}

/// An address without its last part (`dps` 15).
fn masked(address: IpAddr) -> String {
    let text = address.to_string();
    let end = text.rfind(['.', ':']).map_or(0, |at| at + 1);
    format!("{}XXX", &text[..end])
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use fleetstorm_protocol::Submission;
    use fleetstorm_protocol::{ErrorBody, RegistrationState, Reply, RetryAfter};

    fn line(body: Body, status: Status) -> Value {
        let request = Request {
            api_version: Some("2019-03-31"),
            id_scope: "0ne",
            registration_id: "dev-\"1",
            call: Call::Lookup(Submission::Unreadable),
        };
        let reply = Reply { status, retry_after: RetryAfter::Absent, body };
        let handled = Handled { reply, delay: Span::ZERO, request_id: 5 };
        let entry = Entry {
            unix_ns: 1_767_225_600_000_000_000,
            caller: Some(IpAddr::from([10, 1, 2, 3])),
            took: Span::from_millis(12),
            protocol: "Http",
            api_version: "2019-03-31",
            what: What::device(&request, &handled),
        };
        let mut text = Vec::new();
        write_entry(&entry, "0ne", &mut text);
        assert_eq!(text.iter().filter(|&&byte| byte == b'\n').count(), 1);
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn a_line_has_the_columns_of_azure_monitor() {
        let error =
            ErrorBody { code: 401_002, message: "Invalid certificate".into(), tracking: 5, unix_ns: 0 };
        let line = line(Body::Error(error), Status::UNAUTHORIZED);
        for column in [
            "ApplicationId",
            "CallerIpAddress",
            "Category",
            "CorrelationId",
            "DurationMs",
            "Level",
            "OperationName",
            "OperationVersion",
            "Resource",
            "ResourceGroup",
            "ResourceId",
            "ResourceProvider",
            "ResourceType",
            "ResultDescription",
            "ResultSignature",
            "ResultType",
            "SubscriptionId",
            "TenantId",
            "TimeGenerated",
            "location_s",
            "properties_s",
        ] {
            assert!(line[column].is_string(), "{column}");
        }
        assert_eq!(line["CallerIpAddress"], "10.1.2.XXX");
        assert_eq!((&line["ResultType"], &line["ResultSignature"]), (&"ClientError".into(), &"401".into()));
        assert_eq!(line["ResultDescription"], "Invalid certificate");
        assert_eq!((&line["OperationName"], &line["DurationMs"]), (&"GetRegistration".into(), &"12".into()));
        let properties: Value = serde_json::from_str(line["properties_s"].as_str().unwrap()).unwrap();
        assert_eq!((&properties["id"], &properties["type"]), (&"dev-\"1".into(), &"Registration".into()));
        assert_eq!(properties["errorCode"], 401_002);
    }

    #[test]
    fn a_registration_that_failed_under_a_200_is_a_failure() {
        let registration = fleetstorm_protocol::Registration {
            state: Some(RegistrationState::Failed),
            error_code: Some(400_207),
            ..fleetstorm_protocol::Registration::default()
        };
        let failed = line(Body::Registration(Box::new(registration)), Status::OK);
        assert_eq!((&failed["ResultType"], &failed["ResultSignature"]), (&"Failure".into(), &"200".into()));
        assert_eq!(line(Body::Empty, Status::OK)["ResultType"], "Success");
    }
}
