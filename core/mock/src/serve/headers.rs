//! Headers of answers over HTTPS (`dps` 3.3).

use bytes::Bytes;
use fleetstorm_protocol::{Guid, RetryAfter};
use http::header::{
    CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, STRICT_TRANSPORT_SECURITY,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
pub(super) const ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");

/// The headers that every answer has.
pub(super) fn common_headers(headers: &mut HeaderMap, retry_after: RetryAfter, request_id: u128) {
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
    if retry_after != RetryAfter::Absent
        && let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(retry_after.to_string()))
    {
        headers.insert(RETRY_AFTER, value);
    }
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(Guid(request_id).to_string())) {
        headers.insert(REQUEST_ID, value);
    }
}
