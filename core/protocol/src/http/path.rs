//! Paths and query strings.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_decode_str, utf8_percent_encode};

use crate::{Operation, OperationId};

/// What stands unescaped in a segment; `:` is a legal character of registration ids and of path segments.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// Every api-version of the device API that has been published (`dps` 2.2).
pub const API_VERSIONS: &[&str] = &[
    "2017-08-31-preview",
    "2017-11-15",
    "2018-04-01",
    "2018-09-01-preview",
    "2018-11-01",
    "2019-03-31",
    "2021-06-01",
    "2021-10-01",
    "2021-11-01-preview",
    "2025-07-01-preview",
    "2026-11-01",
    "2026-11-02-preview",
    "2026-11-15-preview",
];

/// The api-version that the fleet speaks: the one of the Python, Node, C#, Java and embedded C clients.
pub const API_VERSION: &str = "2019-03-31";

/// Writes the path and query of a call into `out`. Polls need `operation_id`.
pub fn path_and_query(
    operation: Operation,
    id_scope: &str,
    registration_id: &str,
    operation_id: Option<&OperationId>,
    api_version: &str,
    out: &mut String,
) {
    let _ = write!(out, "/{}/registrations/{}", segment(id_scope), segment(registration_id));
    match (operation, operation_id) {
        (Operation::Register, _) => out.push_str("/register"),
        (Operation::Poll, Some(id)) => {
            let id = id.to_string();
            let _ = write!(out, "/operations/{}", segment(&id));
        }
        (Operation::Poll, None) | (Operation::Lookup, _) => {}
    }
    let _ = write!(out, "?api-version={}", segment(api_version));
}

fn segment(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, SEGMENT)
}

/// What a method and a path ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// `api-version`, if there was one.
    pub api_version: Option<Cow<'a, str>>,
    /// The id scope, percent-decoded; empty where the path has none.
    pub id_scope: Cow<'a, str>,
    /// The registration id, percent-decoded; empty where the path has none.
    pub registration_id: Cow<'a, str>,
    /// What is asked for.
    pub call: RouteCall<'a>,
}

/// The call of a [`Route`], without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteCall<'a> {
    /// `PUT …/register`.
    Register,
    /// `GET …/operations/{id}`; the id is percent-decoded.
    Poll(Cow<'a, str>),
    /// `POST …/registrations/{id}`.
    Lookup,
    /// The path exists and the method does not.
    WrongMethod,
    /// No such path.
    NoSuchPath,
}

/// Reads a request line. `forceRegistration` and any other query parameter are ignored, as clients send them.
pub fn route<'a>(method: &str, path: &'a str, query: Option<&'a str>) -> Route<'a> {
    let api_version = api_version(query);
    let nowhere = |call| Route { api_version: None, id_scope: "".into(), registration_id: "".into(), call };
    let mut segments = path.strip_prefix('/').unwrap_or(path).trim_end_matches('/').split('/');
    let (Some(scope), Some(kind)) = (segments.next(), segments.next()) else {
        return nowhere(RouteCall::NoSuchPath);
    };
    if !kind.eq_ignore_ascii_case("registrations") || scope.is_empty() {
        return nowhere(RouteCall::NoSuchPath);
    }
    let id = segments.next().unwrap_or("");
    let rest = [segments.next(), segments.next(), segments.next()];
    let call = match (method, rest) {
        // Microsoft's table names this very case for 405: a call without its registration id.
        _ if id.is_empty() => RouteCall::WrongMethod,
        ("PUT", [Some(verb), None, None]) if verb.eq_ignore_ascii_case("register") => RouteCall::Register,
        (_, [Some(verb), None, None]) if verb.eq_ignore_ascii_case("register") => RouteCall::WrongMethod,
        ("GET", [Some(noun), Some(operation), None]) if noun.eq_ignore_ascii_case("operations") => {
            RouteCall::Poll(decode(operation))
        }
        (_, [Some(noun), _, None]) if noun.eq_ignore_ascii_case("operations") => RouteCall::WrongMethod,
        ("POST", [None, None, None]) => RouteCall::Lookup,
        (_, [None, None, None]) => RouteCall::WrongMethod,
        _ => RouteCall::NoSuchPath,
    };
    Route { api_version, id_scope: decode(scope), registration_id: decode(id), call }
}

/// `api-version` of a query string.
pub(super) fn api_version(query: Option<&str>) -> Option<Cow<'_, str>> {
    query?.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.eq_ignore_ascii_case("api-version").then(|| decode(value))
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_requests_of_real_clients_are_understood() {
        let register =
            route("PUT", "/0ne00000000/registrations/dev/register", Some("api-version=2021-06-01"));
        assert_eq!(register.call, RouteCall::Register);
        assert_eq!((&*register.id_scope, &*register.registration_id), ("0ne00000000", "dev"));
        assert_eq!(register.api_version.as_deref(), Some("2021-06-01"));
        let poll = route(
            "GET",
            "/s/registrations/d/operations/4.0.mock.1",
            Some("forceRegistration=true&api-version=2019-03-31"),
        );
        assert_eq!(poll.call, RouteCall::Poll("4.0.mock.1".into()));
        assert_eq!(poll.api_version.as_deref(), Some("2019-03-31"));
        assert_eq!(route("POST", "/s/registrations/d", None).call, RouteCall::Lookup);
    }

    #[test]
    fn wrong_methods_and_paths_are_told_apart() {
        for (method, path, call) in [
            ("POST", "/s/registrations/d/register", RouteCall::WrongMethod),
            ("DELETE", "/s/registrations/d", RouteCall::WrongMethod),
            ("PUT", "/s/registrations/", RouteCall::WrongMethod),
            ("PUT", "/s/registrations", RouteCall::WrongMethod),
            ("PUT", "/s/registrations/d/operations/x", RouteCall::WrongMethod),
            ("GET", "/", RouteCall::NoSuchPath),
            ("PUT", "/s/devices/d/register", RouteCall::NoSuchPath),
            ("PUT", "/s/registrations/d/register/more", RouteCall::NoSuchPath),
        ] {
            assert_eq!(route(method, path, None).call, call, "{method} {path}");
        }
    }

    proptest! {
        #[test]
        fn any_request_line_reads_without_a_panic(method in "\\PC{0,8}", path in "\\PC{0,80}", query: Option<String>) {
            route(&method, &path, query.as_deref());
        }

        #[test]
        fn what_a_device_writes_a_door_reads(scope in "[0-9a-zA-Z]{1,12}", id in "[0-9a-zA-Z:._-]{1,64}", uuid: u128) {
            let operation = OperationId::usual(5, 7, uuid);
            for (kind, method) in [(Operation::Register, "PUT"), (Operation::Poll, "GET"), (Operation::Lookup, "POST")] {
                let mut text = String::new();
                path_and_query(kind, &scope, &id, Some(&operation), "2019-03-31", &mut text);
                let (path, query) = text.split_once('?').unwrap();
                let route = route(method, path, Some(query));
                prop_assert_eq!(&*route.id_scope, &scope);
                prop_assert_eq!(&*route.registration_id, &id);
                prop_assert_eq!(route.api_version.as_deref(), Some("2019-03-31"));
                let expected = match kind {
                    Operation::Register => RouteCall::Register,
                    Operation::Poll => RouteCall::Poll(operation.to_string().into()),
                    Operation::Lookup => RouteCall::Lookup,
                };
                prop_assert_eq!(route.call, expected);
            }
        }
    }
}
