//! Every answer of the mock over HTTPS, held against Microsoft's OpenAPI document of its version. [`check`] stands in
//! `Wire::request`, where all requests of these tests go through.
//!
//! An answer has the members of its document and no others. Versions before 2026-11-01 are held to that document without the
//! members that came later, which is how they differ from it (`dps` 18.2).

use serde_json::{Value, json};

use crate::enrollment_api::{ENDORSEMENT_KEY, KEY, OWNER};
use crate::harness::{Bench, Mock, Response, Wire};

/// The documents, for devices and for operators, by the first version that each is good for. It is the newest last.
const DOCUMENTS: [(&str, [&str; 2]); 2] = [
    ("", [include_str!("openapi/2026-11-01/device.json"), include_str!("openapi/2026-11-01/service.json")]),
    (
        "2026-11-02",
        [
            include_str!("openapi/2026-11-02-preview/device.json"),
            include_str!("openapi/2026-11-02-preview/service.json"),
        ],
    ),
];

/// Members of the oldest document here that came with a version, and those that only versions between had.
const LATER: [(&str, &str); 4] = [
    ("issuedCertificateChain", "2025-07-01-preview"),
    ("namespaceName", "2026-11-01"),
    ("certificateAuthorityName", "2026-11-01"),
    ("certificatePolicyName", "2026-11-01"),
];
const BETWEEN: [(&str, [&str; 2]); 2] = [
    ("credentialPolicyName", ["2025-07-01-preview", "2026-04-01"]),
    ("certificatePolicyResourceId", ["2026-07-01-preview", "2026-07-01-preview"]),
];

/// Where the mock deviates on purpose.
struct Deviation {
    /// Why it is right to.
    reason: &'static str,
    /// Whether a problem of an answer is this one.
    is: fn(&Response, &str) -> bool,
    /// A request whose answer has it: method, target, headers and body.
    request: fn() -> (&'static str, &'static str, String, String),
}

const DEVIATIONS: [Deviation; 2] = [
    Deviation {
        reason: "the document says that each value of a twin is an object, which is how its generator writes that a value can be \
                 anything: Microsoft's pages and clients have numbers and texts there, and what was written comes back",
        is: |_, problem| problem.contains("/initialTwin/") && problem.ends_with("is not of type \"object\""),
        request: || {
            let twin = json!({ "tags": { "floor": 3 } });
            let body = json!({ "registrationId": "x", "attestation": { "type": "symmetricKey" }, "initialTwin": twin });
            let token = format!("Authorization: {OWNER}\r\n");
            ("PUT", "/enrollments/x?api-version=2026-11-01", token, body.to_string())
        },
    },
    Deviation {
        reason: "the 401 that challenges a TPM carries the challenge and is no error: Microsoft's clients read it as it stands \
                 here, and the document, which is of errors only, leaves it out (`dps` 10.2)",
        is: |answer, _| {
            let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
            answer.status == 401 && body.get("authenticationKey").is_some()
        },
        request: || {
            let tpm = json!({ "endorsementKey": ENDORSEMENT_KEY, "storageRootKey": ENDORSEMENT_KEY });
            let body = json!({ "registrationId": "tpm-1", "tpm": tpm });
            let target = "/0ne00ABCDEF/registrations/tpm-1/register?api-version=2026-11-01";
            ("PUT", target, String::new(), body.to_string())
        },
    },
];

/// Holds an answer against its document.
#[track_caller]
pub(crate) fn check(method: &str, target: &str, answer: &Response) {
    let mut problems = problems(method, target, answer);
    problems.retain(|problem| !DEVIATIONS.iter().any(|known| (known.is)(answer, problem)));
    let body = String::from_utf8_lossy(&answer.body);
    assert!(problems.is_empty(), "{method} {target}: {}: {problems:#?}\n{body}", answer.status);
}

/// A deviation that is none any more goes out of the list.
#[test]
fn every_deviation_still_deviates() {
    let bench = Bench::new();
    bench.file("key", KEY);
    let mock = Mock::start(
        &bench,
        &format!(
            "id_scope = \"0ne00ABCDEF\"\n[[access_policy]]\nname = \"provisioningserviceowner\"\nprimary_key = {{ file = \"key\" }}\n\
             [[enrollment]]\nregistration_id = \"tpm-1\"\nendorsement_key = \"{ENDORSEMENT_KEY}\"\n"
        ),
    );
    for deviation in DEVIATIONS {
        let (method, target, headers, body) = (deviation.request)();
        let mut wire = Wire::open(&mock);
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: global.azure-devices-provisioning.net\r\nContent-Type: application/json\r\n{headers}"
        );
        wire.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        let answer = wire.response();
        let problems = problems(method, target, &answer);
        let has = problems.iter().any(|problem| (deviation.is)(&answer, problem));
        assert!(has, "{}: {problems:?} {answer:?}", deviation.reason);
    }
}

#[test]
fn an_answer_that_is_not_as_its_document_says_is_found() {
    let good = json!({ "operationId": "4.x", "status": "assigning" });
    let answer = |status: u16, body: &Value, headers: &[(&str, &str)]| Response {
        status,
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: body.to_string().into_bytes(),
    };
    let register = |version: &str, answer: &Response| {
        problems("PUT", &format!("/0ne0/registrations/x/register?api-version={version}"), answer)
    };
    assert_eq!(register("2026-11-01", &answer(202, &good, &[("retry-after", "3")])), Vec::<String>::new());
    let chain = json!({ "operationId": "4.x", "status": "assigned", "registrationState": { "issuedCertificateChain": ["AAAA"] } });
    let profile = json!({ "operationId": "4.x", "registrationState": { "connectionProfile": "classic" } });
    let error = json!({ "errorCode": "404", "message": "x" });
    for (version, answer, words) in [
        ("2026-11-01", answer(202, &good, &[("retry-after", "soon")]), "it is no number"),
        ("2026-11-01", answer(204, &good, &[]), "status 204: it is not described"),
        (
            "2026-11-01",
            answer(200, &json!({ "status": "assigning" }), &[]),
            "\"operationId\" is a required property",
        ),
        (
            "2026-11-01",
            answer(200, &json!({ "operationId": "x", "status": 7 }), &[]),
            "body/status: 7 is not",
        ),
        ("2026-11-01", answer(200, &json!({ "operationId": "x", "more": 7 }), &[]), "'more' was unexpected"),
        ("2026-11-01", answer(404, &error, &[("x-ms-error-code", "404")]), "body/errorCode"),
        ("2026-11-01", answer(429, &json!({}), &[]), "header x-ms-error-code: it is not there"),
        ("2021-10-01", answer(200, &chain, &[]), "'issuedCertificateChain' was unexpected"),
        ("2026-11-01", answer(200, &profile, &[]), "'connectionProfile' was unexpected"),
    ] {
        let problems = register(version, &answer);
        assert!(problems.iter().any(|problem| problem.contains(words)), "{words}: {problems:?}");
    }
    assert_eq!(register("2025-07-01-preview", &answer(200, &chain, &[])), Vec::<String>::new());
    assert_eq!(register("2026-11-02-preview", &answer(200, &profile, &[])), Vec::<String>::new());
}

/// What an answer has that its document has not, and the other way round.
fn problems(method: &str, target: &str, answer: &Response) -> Vec<String> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let version = query.split('&').find_map(|pair| pair.strip_prefix("api-version=")).unwrap_or_default();
    let Some((_, documents)) = DOCUMENTS.iter().rev().find(|(from, _)| *from <= version) else {
        return Vec::new();
    };
    for document in documents {
        let document: Value = serde_json::from_str(document).unwrap();
        if let Some(operation) = operation(&document, method, path) {
            return compared(&document, operation, version, answer);
        }
    }
    Vec::new()
}

fn operation<'a>(document: &'a Value, method: &str, path: &str) -> Option<&'a Value> {
    let fits = |template: &str| {
        let (template, path): (Vec<&str>, Vec<&str>) =
            (template.split('/').collect(), path.split('/').collect());
        template.len() == path.len()
            && template
                .iter()
                .zip(&path)
                .all(|(part, said)| part == said || part.starts_with('{') && !said.is_empty())
    };
    let paths = document["paths"].as_object().unwrap();
    let found = paths.iter().find(|(template, _)| fits(template))?.1;
    found.get(method.to_ascii_lowercase())
}

fn compared(document: &Value, operation: &Value, version: &str, answer: &Response) -> Vec<String> {
    let responses = &operation["responses"];
    let is_error = answer.status >= 400;
    let described = match responses.get(answer.status.to_string()) {
        Some(described) => described,
        None if is_error => &responses["default"],
        None => return vec![format!("status {}: it is not described", answer.status)],
    };
    let mut problems = Vec::new();
    for (name, header) in described.get("headers").and_then(Value::as_object).into_iter().flatten() {
        match answer.header(&name.to_ascii_lowercase()) {
            None if is_error => problems.push(format!("header {name}: it is not there")),
            Some(value) if header["type"] == "integer" && value.parse::<i64>().is_err() => {
                problems.push(format!("header {name}: it is no number"));
            }
            _ => {}
        }
    }
    let Some(schema) = described.get("schema") else {
        if !answer.body.is_empty() {
            problems.push("body: there is one".to_owned());
        }
        return problems;
    };
    let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
        problems.push("body: it is no JSON".to_owned());
        return problems;
    };
    // A reference hides what stands beside it.
    let whole = json!({ "definitions": definitions(document, version), "allOf": [schema] });
    let validator = jsonschema::draft4::new(&whole).unwrap();
    problems
        .extend(validator.iter_errors(&body).map(|error| format!("body{}: {error}", error.instance_path())));
    problems
}

/// The document's schemas, as a version has them, and closed: a member that is not described is a mistake.
fn definitions(document: &Value, version: &str) -> Value {
    let mut definitions = document["definitions"].clone();
    for definition in definitions.as_object_mut().unwrap().values_mut() {
        let Some(properties) = definition.get_mut("properties").and_then(Value::as_object_mut) else {
            continue;
        };
        for (member, from) in LATER {
            if version < from {
                properties.remove(member);
            }
        }
        let is_enrollment = properties.contains_key("attestation");
        for (member, [from, until]) in BETWEEN {
            if is_enrollment && from <= version && version <= until {
                properties.insert(member.to_owned(), json!({ "type": "string" }));
            }
        }
        if definition.get("additionalProperties").is_none() {
            definition["additionalProperties"] = false.into();
        }
    }
    definitions
}
