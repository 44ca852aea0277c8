use axum::body::Body;
use http::{HeaderName, Response, header};
use securecp_oci::{Digest, MediaType};
use serde_json::{Value, json};

use crate::name::Name;
use crate::refusal::Refusal;
use crate::registry::{Answer, Registry, json_response, set};
use crate::route::Parameters;
use crate::store::{Page, Wanted};

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

impl Registry {
    pub(crate) async fn tags(&self, parameters: &Parameters, name: Name) -> Answer {
        let (last, count) = self.page(parameters)?;
        let path = format!("/v2/{name}/tags/list");
        let shown = name.to_string();
        let page = self.blocking(move |store| store.tags(&name, &last, count)).await??;
        let mut response = json_response(&json!({"name": shown, "tags": page.items}));
        link_names(&mut response, &path, &page, count);
        Ok(response)
    }

    pub(crate) async fn catalog(&self, parameters: &Parameters) -> Answer {
        let (last, count) = self.page(parameters)?;
        let page = self.blocking(move |store| store.catalog(&last, count)).await??;
        let mut response = json_response(&json!({"repositories": page.items}));
        link_names(&mut response, "/v2/_catalog", &page, count);
        Ok(response)
    }

    pub(crate) async fn referrers(
        &self,
        parameters: &Parameters,
        name: Name,
        subject: Digest,
    ) -> Answer {
        let (last, count) = self.page(parameters)?;
        let path = format!("/v2/{name}/referrers/{subject}");
        let artifact_type = parameters.value("artifactType").map(str::to_owned);
        let filter = artifact_type.clone();
        let page = self
            .blocking(move |store| {
                let wanted = Wanted { artifact_type: filter.as_deref(), last: &last, count };
                store.referrers(&name, &subject, wanted)
            })
            .await??;
        let mut response = json_response(&json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_INDEX.as_str(),
            "manifests": page.items,
        }));
        set(&mut response, header::CONTENT_TYPE, MediaType::OCI_INDEX.as_str());
        if artifact_type.is_some() {
            set(&mut response, FILTERS_APPLIED, "artifactType");
        }
        let last = page.items.last().and_then(|entry| entry.get("digest")).and_then(Value::as_str);
        if let Some(last) = last.filter(|_| page.more) {
            let filter = artifact_type.map(|wanted| format!("&artifactType={}", encoded(&wanted)));
            let rest = filter.unwrap_or_default();
            link(&mut response, &format!("{path}?n={count}&last={}{rest}", encoded(last)));
        }
        Ok(response)
    }

    fn page(&self, parameters: &Parameters) -> Result<(String, usize), Refusal> {
        let last = parameters.value("last").unwrap_or_default().to_owned();
        let count = parameters.number("n")?.unwrap_or(self.options.page_limit);
        Ok((last, count.min(self.options.page_limit)))
    }
}

fn link_names(response: &mut Response<Body>, path: &str, page: &Page<String>, count: usize) {
    if let Some(last) = page.items.last().filter(|_| page.more) {
        link(response, &format!("{path}?n={count}&last={}", encoded(last)));
    }
}

/// Points at the next page (distribution-spec, "Listing Tags"; RFC 8288).
fn link(response: &mut Response<Body>, target: &str) {
    set(response, header::LINK, format!("<{target}>; rel=\"next\""));
}

/// Percent-encodes all but unreserved characters (RFC 3986, 2.3).
fn encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
