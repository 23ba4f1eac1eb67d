//! The catalogue of status and six-digit codes: meaning, transience and what to do.
//!
//! The rows of the statuses restate Microsoft's "Troubleshooting with DPS" (2022-05-25); the six-digit codes are
//! those seen in the field (`dps` 5.2). Digits that nobody has seen are the mock's own choice, and say so.

/// The service's code for a malformed request; the digits are the mock's choice.
pub const BAD_REQUEST: u32 = 400_000;
/// Bad format or argument.
pub const BAD_FORMAT: u32 = 400_004;
/// A custom allocation webhook answered with an error.
pub const ALLOCATION_FAILED: u32 = 400_207;
/// A custom allocation webhook named no hub.
pub const ALLOCATION_NO_HUB: u32 = 400_208;
/// A custom allocation webhook refused the service.
pub const ALLOCATION_UNAUTHORIZED: u32 = 400_209;
/// A SAS token that cannot be validated.
pub const UNAUTHORIZED: u32 = 401_000;
/// A certificate that cannot be validated.
pub const INVALID_CERTIFICATE: u32 = 401_002;
/// No such id scope or path; the digits are the mock's choice.
pub const NOT_FOUND: u32 = 404_000;
/// No such enrollment.
pub const ENROLLMENT_NOT_FOUND: u32 = 404_201;
/// No such registration or operation; seen in the field, its meaning is inferred.
pub const REGISTRATION_NOT_FOUND: u32 = 404_202;
/// No such enrollment group.
pub const GROUP_NOT_FOUND: u32 = 404_204;
/// The target does not support the method; the digits are the mock's choice.
pub const METHOD_NOT_ALLOWED: u32 = 405_000;
/// Creating an enrollment that exists; the low digits are the mock's choice.
pub const ENROLLMENT_EXISTS: u32 = 409_201;
/// An `If-Match` that names another ETag; the low digits are the mock's choice.
pub const ETAG_MISMATCH: u32 = 412_201;
/// Two registrations of one device overlap.
pub const REGISTRATION_CONFLICT: u32 = 409_203;
/// Not JSON; the digits are the mock's choice.
pub const UNSUPPORTED_MEDIA_TYPE: u32 = 415_000;
/// Throttled; the digits are those of IoT Hub.
pub const THROTTLED: u32 = 429_001;
/// Internal error; the digits are those of IoT Hub.
pub const INTERNAL_ERROR: u32 = 500_001;
/// 403. The code is an inference: no page shows one.
pub const FORBIDDEN: u32 = 403_000;

/// What a code means to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// HTTP status, or the six-digit code.
    pub code: u32,
    /// A few words.
    pub title: &'static str,
    /// One sentence.
    pub meaning: &'static str,
    /// Whether waiting can help.
    pub transient: bool,
    /// What a device or its operator should do.
    pub action: &'static str,
}

const fn entry(
    code: u32,
    title: &'static str,
    meaning: &'static str,
    transient: bool,
    action: &'static str,
) -> Entry {
    Entry { code, title, meaning, transient, action }
}

const REREGISTER: &str = "Renew the token (check the device's clock and key), then register in full once; after a \
                          second refusal stop and report.";

/// Statuses first, then six-digit codes, each in ascending order.
const CATALOGUE: &[Entry] = &[
    entry(200, "OK", "The request succeeded; the body says how the registration stands.", false, "Nothing."),
    entry(
        202,
        "Accepted",
        "The service is choosing a hub.",
        true,
        "Poll the operation after Retry-After, at most 5 times in 10 seconds.",
    ),
    entry(
        400,
        "Bad format",
        "The request body is invalid: it cannot be parsed, or it fails validation.",
        false,
        "Fix the client. The same request never succeeds, so do not retry it.",
    ),
    entry(
        401,
        "Unauthorized",
        "The credential cannot be validated: an expired token, a wrong key or resource, an untrusted certificate. \
         In TPM attestation the first 401 is the challenge.",
        false,
        REREGISTER,
    ),
    entry(403, "Forbidden", "The credential is valid but not allowed to do this.", false, REREGISTER),
    entry(
        404,
        "Not found",
        "The DPS instance, or a resource such as an enrollment or operation, does not exist.",
        false,
        "Check the id scope and the enrollment. A lost operation is registered anew in full.",
    ),
    entry(
        405,
        "Method not allowed",
        "The service knows the method but the target does not support it, for example a path without its \
         registration id.",
        false,
        "Fix the client.",
    ),
    entry(
        409,
        "Conflict",
        "The request conflicts with the current state, for example a second registration while one is running.",
        true,
        "Back off, read the state again, then decide.",
    ),
    entry(
        412,
        "Precondition failed",
        "The request's ETag does not match the resource's (RFC 9110).",
        true,
        "Read the resource again for its ETag, then try once more.",
    ),
    entry(
        415,
        "Unsupported media type",
        "The payload's media type is not supported.",
        false,
        "Send JSON and say so in Content-Type.",
    ),
    entry(
        429,
        "Too many requests",
        "Throttled: the registration quota of the service, or 5 polls in 10 seconds of one device, is used up.",
        true,
        "Wait for Retry-After; without it back off exponentially with random jitter. Stagger the first start of a \
         fleet, or ask for a higher quota.",
    ),
    entry(
        500,
        "Internal server error",
        "The service failed.",
        true,
        "Back off (first wait 5 s or more), then retry; a device that has a hub tries its cached credentials or \
         asks the registration status.",
    ),
    entry(400_000, "Bad request", "The request is malformed.", false, "Fix the client."),
    entry(400_004, "Bad format", "An argument or the body is malformed.", false, "Fix the client."),
    entry(
        400_207,
        "Custom allocation failed",
        "The custom allocation webhook answered with an error; its status ends the message.",
        false,
        "Repair the webhook. Devices should retry after a long wait only.",
    ),
    entry(
        400_208,
        "Custom allocation named no hub",
        "The custom allocation webhook succeeded without naming a hub.",
        false,
        "Repair the webhook.",
    ),
    entry(
        400_209,
        "Custom allocation unauthorized",
        "The custom allocation webhook refused the service's call.",
        false,
        "Repair the webhook's authorization.",
    ),
    entry(
        401_000,
        "Unauthorized",
        "The SAS token cannot be validated: expired, wrong key or wrong resource.",
        false,
        REREGISTER,
    ),
    entry(
        401_001,
        "Linked hub not found",
        "The link between DPS and a hub is broken.",
        false,
        "Repair the hub's link.",
    ),
    entry(
        401_002,
        "Invalid certificate",
        "The client certificate cannot be validated: expired, for another id, or its CA is not enrolled.",
        false,
        "Check the certificate's dates, its common name, and that the group's CA is verified.",
    ),
    entry(
        404_201,
        "Enrollment not found",
        "No enrollment matches this registration id.",
        false,
        "Create the enrollment, or correct the registration id.",
    ),
    entry(
        404_202,
        "Registration not found",
        "There is no such registration record or operation.",
        false,
        "Register from the start.",
    ),
    entry(
        404_204,
        "Enrollment group not found",
        "There is no such enrollment group.",
        false,
        "Create the group.",
    ),
    entry(
        409_201,
        "Enrollment exists",
        "An enrollment or group with this id exists, and the request does not say that it may be replaced.",
        true,
        "Read it, then send its ETag as If-Match.",
    ),
    entry(
        409_203,
        "Registration in progress",
        "Two registrations of one device overlap.",
        true,
        "Back off, then register again; make sure that no two devices share the id.",
    ),
    entry(
        412_201,
        "ETag mismatch",
        "The enrollment, group or registration has changed since its ETag was read.",
        true,
        "Read the resource again for its ETag, then try once more.",
    ),
    entry(
        429_001,
        "Throttled",
        "The quota is used up.",
        true,
        "Wait for Retry-After, else back off with jitter.",
    ),
    entry(500_001, "Internal error", "The service failed.", true, "Back off and retry."),
];

/// What a status and code mean: the code's own row if there is one, else the status', else the row of its hundred.
pub fn lookup(status: u16, code: u32) -> Option<&'static Entry> {
    let row = |wanted: u32| CATALOGUE.iter().find(|entry| entry.code == wanted);
    let class = match status {
        500..=599 => 500,
        400..=499 => 400,
        _ => u32::from(status),
    };
    row(code).or_else(|| row(u32::from(status))).or_else(|| row(class))
}

/// The HTTP status that a six-digit code comes with: its first three digits (`dps` 5.1), but for those that stand
/// in the state of a registration that failed. Such an answer is a success that tells of a failure.
pub const fn status(code: u32) -> u16 {
    match code {
        ALLOCATION_FAILED | ALLOCATION_NO_HUB | ALLOCATION_UNAUTHORIZED => 200,
        _ if code / 1_000 <= 999 => (code / 1_000) as u16,
        _ => 0,
    }
}

/// The whole catalogue.
pub fn all() -> &'static [Entry] {
    CATALOGUE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_troubleshooting_table_is_there() {
        for status in [400, 401, 403, 404, 405, 409, 412, 415, 429, 500] {
            let entry = lookup(status, 0).unwrap();
            assert_eq!(entry.code, u32::from(status));
            assert_eq!(entry.transient, matches!(status, 409 | 412 | 429 | 500), "{status}");
        }
        assert_eq!(lookup(503, 0).unwrap().code, 500);
        assert_eq!(lookup(401, 401_002).unwrap().title, "Invalid certificate");
        assert_eq!(lookup(401, 401_999).unwrap().code, 401);
        assert_eq!(lookup(302, 0), None);
    }

    #[test]
    fn codes_belong_to_their_status_and_stand_in_order() {
        let (statuses, codes): (Vec<Entry>, Vec<Entry>) =
            CATALOGUE.iter().partition(|entry| entry.code < 1_000);
        assert!(statuses.is_sorted_by_key(|entry| entry.code) && codes.is_sorted_by_key(|entry| entry.code));
        for entry in codes {
            assert!(lookup(status(entry.code), 0).is_some());
        }
    }
}
