//! The enrollment API at the HTTPS door (`dps` 16).

use std::rc::Rc;

use bytes::Bytes;
use fleetstorm_model::service::log::What;
use fleetstorm_protocol::ServiceApi;
use fleetstorm_protocol::enrollment_api::{Administered, Call, Content, Kind, Page, Request};
use fleetstorm_protocol::http::{
    ServiceCall, ServiceRoute, read_bulk, read_draft, read_query, write_administered,
};
use fleetstorm_units::time::Span;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, IF_MATCH};
use http::{Response, StatusCode};
use http_body_util::Full;

use super::House;
use super::ask::Visit;
use super::headers::{ERROR_CODE, common_headers};
use crate::evidence::{Peer, Presented, RealCertificates};

const ITEM_TYPE: HeaderName = HeaderName::from_static("x-ms-item-type");
const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
const MAX_ITEMS: HeaderName = HeaderName::from_static("x-ms-max-item-count");

/// Answers a request to the enrollment API.
pub(super) async fn respond(
    house: &Rc<House>,
    peer: &Peer,
    presented: &Presented<'_>,
    route: &ServiceRoute<'_>,
    headers: &HeaderMap,
    body: &[u8],
) -> Response<Full<Bytes>> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(&HOST).unwrap_or("");
    let page = Page { max_items: text(&MAX_ITEMS), continuation: text(&CONTINUATION) };
    let request = Request {
        api_version: route.api_version.as_deref(),
        // A token is for a host, whatever the port.
        host: host.rsplit_once(':').map_or(host, |(name, _)| name),
        if_match: text(&IF_MATCH),
        call: call(route, text(&CONTENT_TYPE), page, body),
    };
    let began = house.clock.now();
    let answer = house.service.borrow_mut().administer(began, &request, presented, &RealCertificates);
    if answer.delay > Span::ZERO {
        tokio::time::sleep(answer.delay.into()).await;
    }
    let took = house.clock.now().since(began);
    let visit = Visit { protocol: "Http", began, took, api_version: request.api_version };
    house.log(peer, &visit, || What::operator(&request.call, &answer));
    spell(&answer, ServiceApi::of(route.api_version.as_deref()))
}

fn call<'a>(route: &'a ServiceRoute<'_>, kind: Option<&str>, page: Page<'a>, body: &[u8]) -> Call<'a> {
    let id = &*route.id;
    let api = ServiceApi::of(route.api_version.as_deref());
    match route.call {
        ServiceCall::Get(of) => Call::Get(of, id),
        ServiceCall::Put(of) => Call::Put(of, id, Box::new(read_draft(of, api, kind, body))),
        ServiceCall::Delete(of) => Call::Delete(of, id),
        ServiceCall::Mechanism(of) => Call::Mechanism(of, id),
        ServiceCall::Bulk(of) => Call::Bulk(of, read_bulk(of, api, kind, body)),
        ServiceCall::Query(of) => Call::Query(of, read_query(kind, body), page),
        ServiceCall::GetRegistration => Call::GetRegistration(id),
        ServiceCall::DeleteRegistration => Call::DeleteRegistration(id),
        ServiceCall::QueryRegistrations => Call::QueryRegistrations(id, read_query(kind, body), page),
        ServiceCall::WrongMethod => Call::WrongMethod,
        ServiceCall::NoSuchPath => Call::NoSuchPath,
    }
}

fn spell(answer: &Administered, api: ServiceApi) -> Response<Full<Bytes>> {
    let mut body = Vec::with_capacity(256);
    write_administered(&answer.content, api, &mut body);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() =
        StatusCode::from_u16(answer.status.0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    common_headers(headers, answer.retry_after, answer.request_id);
    let page = match &answer.content {
        Content::Resources(Kind::Individual, _, next) => Some(("enrollment", next)),
        Content::Resources(Kind::Group, _, next) => Some(("enrollmentGroup", next)),
        Content::Registrations(_, next) => Some(("deviceRegistration", next)),
        Content::Error(error) => {
            headers.insert(ERROR_CODE, HeaderValue::from(error.code));
            None
        }
        Content::Empty => {
            headers.remove(CONTENT_TYPE);
            None
        }
        Content::Resource(_) | Content::Mechanism(_) | Content::Bulk(..) | Content::Registration(_) => None,
    };
    if let Some((of, next)) = page {
        headers.insert(ITEM_TYPE, HeaderValue::from_static(of));
        if let Some(next) = next
            && let Ok(value) = HeaderValue::from_str(next)
        {
            headers.insert(CONTINUATION, value);
        }
    }
    response
}
