//! Paths of the enrollment API (`dps` 16.1).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::enrollment_api::Kind;

/// The api-versions of the enrollment API that clients send (`dps` 16.1); the first is that of Microsoft's client
/// for Python.
pub const SERVICE_API_VERSIONS: &[&str] = &["2018-09-01-preview", "2019-03-31", "2021-10-01"];

/// What a method and a path of the enrollment API ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRoute<'a> {
    /// `api-version`, if there was one.
    pub api_version: Option<Cow<'a, str>>,
    /// The id in the path, percent-decoded; empty where the path has none.
    pub id: Cow<'a, str>,
    /// What is asked for.
    pub call: ServiceCall,
}

/// The call of a [`ServiceRoute`], without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceCall {
    /// `GET` of an enrollment or group.
    Get(Kind),
    /// `PUT` of an enrollment or group.
    Put(Kind),
    /// `DELETE` of an enrollment or group.
    Delete(Kind),
    /// `POST …/attestationmechanism`.
    Mechanism(Kind),
    /// `POST` to the collection.
    Bulk(Kind),
    /// `POST …/query` of the collection.
    Query(Kind),
    /// `GET` of a registration.
    GetRegistration,
    /// `DELETE` of a registration.
    DeleteRegistration,
    /// `POST /registrations/{group}/query`.
    QueryRegistrations,
    /// The path exists and the method does not.
    WrongMethod,
    /// No such path.
    NoSuchPath,
}

/// Reads a request line; `None` if it is not one of the enrollment API. Names of collections are compared without
/// case, because clients spell them in two ways.
pub fn service_route<'a>(method: &str, path: &'a str, query: Option<&'a str>) -> Option<ServiceRoute<'a>> {
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
    let collection = segments.next()?;
    let is = |name: &str| collection.eq_ignore_ascii_case(name);
    let kind = match () {
        () if is("enrollments") => Some(Kind::Individual),
        () if is("enrollmentGroups") => Some(Kind::Group),
        () if is("registrations") => None,
        () => return None,
    };
    let rest: [Option<&str>; 3] =
        [segments.next(), segments.next(), segments.next()].map(|part| part.filter(|part| !part.is_empty()));
    let named = |part: Option<&str>, name: &str| part.is_some_and(|part| part.eq_ignore_ascii_case(name));
    let (id, call) = match (kind, rest) {
        (_, [_, _, Some(_)]) => ("", ServiceCall::NoSuchPath),
        (None, [Some(id), verb, None]) => (id, registration_call(method, verb)),
        // Microsoft's table names this very case for 405: a call without the id of what it is about.
        (None, [None, ..]) => ("", ServiceCall::WrongMethod),
        (Some(kind), [None, ..]) if method == "POST" => ("", ServiceCall::Bulk(kind)),
        (Some(_), [None, ..]) => ("", ServiceCall::WrongMethod),
        (Some(kind), [verb, None, None]) if method == "POST" && named(verb, "query") => {
            ("", ServiceCall::Query(kind))
        }
        (Some(kind), [Some(id), None, None]) => (
            id,
            match method {
                "GET" => ServiceCall::Get(kind),
                "PUT" => ServiceCall::Put(kind),
                "DELETE" => ServiceCall::Delete(kind),
                _ => ServiceCall::WrongMethod,
            },
        ),
        (Some(kind), [Some(id), verb, None]) if named(verb, "attestationmechanism") => {
            (id, if method == "POST" { ServiceCall::Mechanism(kind) } else { ServiceCall::WrongMethod })
        }
        (Some(_), _) => ("", ServiceCall::NoSuchPath),
    };
    let api_version = super::path::api_version(query);
    Some(ServiceRoute { api_version, id: percent_decode_str(id).decode_utf8_lossy(), call })
}

fn registration_call(method: &str, verb: Option<&str>) -> ServiceCall {
    match (method, verb) {
        ("GET", None) => ServiceCall::GetRegistration,
        ("DELETE", None) => ServiceCall::DeleteRegistration,
        ("POST", Some(verb)) if verb.eq_ignore_ascii_case("query") => ServiceCall::QueryRegistrations,
        (_, Some(verb)) if !verb.eq_ignore_ascii_case("query") => ServiceCall::NoSuchPath,
        _ => ServiceCall::WrongMethod,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_paths_of_the_specification_are_understood() {
        use Kind::{Group, Individual};
        for (method, path, id, call) in [
            ("GET", "/enrollments/dev-1", "dev-1", ServiceCall::Get(Individual)),
            ("PUT", "/enrollmentGroups/g%3A1", "g:1", ServiceCall::Put(Group)),
            ("DELETE", "/enrollments/query", "query", ServiceCall::Delete(Individual)),
            ("POST", "/enrollments/query", "", ServiceCall::Query(Individual)),
            ("POST", "/enrollmentgroups/g/attestationmechanism", "g", ServiceCall::Mechanism(Group)),
            ("POST", "/enrollments/", "", ServiceCall::Bulk(Individual)),
            ("POST", "/enrollmentGroups", "", ServiceCall::Bulk(Group)),
            ("GET", "/registrations/dev-1", "dev-1", ServiceCall::GetRegistration),
            ("POST", "/registrations/g/query", "g", ServiceCall::QueryRegistrations),
            ("PUT", "/enrollments/", "", ServiceCall::WrongMethod),
            ("PATCH", "/enrollments/dev-1", "dev-1", ServiceCall::WrongMethod),
            ("GET", "/registrations", "", ServiceCall::WrongMethod),
            ("GET", "/enrollments/a/b/c", "", ServiceCall::NoSuchPath),
        ] {
            let route = service_route(method, path, Some("api-version=2021-10-01")).unwrap();
            assert_eq!((&*route.id, route.call), (id, call), "{method} {path}");
            assert_eq!(route.api_version.as_deref(), Some("2021-10-01"));
        }
        assert_eq!(service_route("PUT", "/0ne00ABCDEF/registrations/dev-1/register", None), None);
    }

    proptest! {
        #[test]
        fn any_request_line_reads_without_a_panic(method in "\\PC{0,8}", path in "\\PC{0,80}", query: Option<String>) {
            service_route(&method, &path, query.as_deref());
            service_route(&method, &format!("/enrollments/{path}"), query.as_deref());
        }
    }
}
