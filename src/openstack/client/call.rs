//! One call: with a deadline, tried again where that is safe, and lists page by page.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use osauth::{ApiVersion, Session};
use reqwest::{Method, Response};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::OpenStack;
use super::login::{Service, of_session, told};
use crate::openstack::error::{CloudError, CloudFault};

/// How long one attempt may take. Booting a server is checked before it is answered, and a busy
/// Neutron takes its time over ports.
const ATTEMPT: Duration = Duration::from_mins(1);

/// The first pause before another attempt; it doubles up to the last.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The versions of the compute interface that are spoken: the least has server groups with one
/// policy, tags at creation and types of boot volumes (Stein, 2019).
const COMPUTE: (ApiVersion, ApiVersion) = (ApiVersion(2, 72), ApiVersion(2, 92));

/// Those of the volume interface: the least makes volumes larger that a server has (Pike, 2017).
const VOLUME: (ApiVersion, ApiVersion) = (ApiVersion(3, 42), ApiVersion(3, 59));

/// A request.
#[derive(Clone)]
pub(super) struct Ask<'a> {
    /// What is to be done, as in ``cannot boot server `w1`: ``.
    pub(super) what: &'a str,
    /// Of whom.
    pub(super) service: Service,
    /// The method.
    pub(super) method: Method,
    /// The parts of the path behind the service's own.
    pub(super) path: Vec<&'a str>,
    /// What stands behind the path.
    pub(super) query: Vec<(&'a str, String)>,
    /// The body.
    pub(super) body: Option<Value>,
    /// Whether it does no harm to send it twice.
    pub(super) twice: bool,
}

impl<'a> Ask<'a> {
    /// A question.
    pub(super) fn get(what: &'a str, service: Service, path: &[&'a str]) -> Self {
        Self {
            what,
            service,
            method: Method::GET,
            path: path.to_vec(),
            query: Vec::new(),
            body: None,
            twice: true,
        }
    }

    /// A request that must not be sent twice.
    pub(super) fn post(what: &'a str, service: Service, path: &[&'a str], body: Value) -> Self {
        Self {
            method: Method::POST,
            body: Some(body),
            twice: false,
            ..Self::get(what, service, path)
        }
    }

    /// A request that says how something is to be.
    pub(super) fn put(what: &'a str, service: Service, path: &[&'a str], body: Value) -> Self {
        Self {
            method: Method::PUT,
            body: Some(body),
            ..Self::get(what, service, path)
        }
    }

    /// A removal.
    pub(super) fn delete(what: &'a str, service: Service, path: &[&'a str]) -> Self {
        Self {
            method: Method::DELETE,
            ..Self::get(what, service, path)
        }
    }

    /// With a word behind the path.
    pub(super) fn query(mut self, key: &'a str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    /// The same, and it may be sent twice.
    pub(super) fn twice(self) -> Self {
        Self {
            twice: true,
            ..self
        }
    }
}

/// Whether a request is worth another attempt, and safe.
pub(super) fn again(fault: CloudFault, twice: bool) -> bool {
    match fault {
        CloudFault::Busy { .. } | CloudFault::Unreachable => true,
        CloudFault::Broken | CloudFault::Lost | CloudFault::TimedOut => twice,
        _ => false,
    }
}

/// A pause of `about`, and up to half of it more: so that those who were refused together do not come
/// together again.
pub(super) fn jitter(about: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) % 1000;
    about + about.mul_f64(f64::from(u32::try_from(random).unwrap_or(0)) / 2000.0)
}

impl OpenStack {
    /// Asks, and asks again while that is safe and there is time.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Value, CloudError> {
        let deadline = Instant::now() + self.patience;
        let mut pause = PAUSE;
        let mut renewed = false;
        loop {
            let error = match timeout(ATTEMPT.min(self.patience), self.once(ask)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => CloudError::new(
                    CloudFault::TimedOut,
                    ask.what,
                    format!(
                        "no answer within {} s",
                        ATTEMPT.min(self.patience).as_secs()
                    ),
                ),
            };
            // A token can be revoked before its time: a new one tells whether it was that.
            if error.fault == CloudFault::Unauthorized && !renewed && self.logged_in().await {
                renewed = true;
                continue;
            }
            let wait = error.retry_after().unwrap_or_default().max(jitter(pause));
            if !again(error.fault, ask.twice) || Instant::now() + wait >= deadline {
                return Err(error);
            }
            tracing::debug!(error = %error, ?wait, "the cloud is asked again");
            sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Whether there was a session, which is forgotten.
    async fn logged_in(&self) -> bool {
        let session = self.session.read().await.clone();
        match session {
            Some(session) => {
                self.forget(&session).await;
                true
            }
            None => false,
        }
    }

    /// Asks once.
    async fn once(&self, ask: &Ask<'_>) -> Result<Value, CloudError> {
        let answer = self.send(ask, None).await?;
        let text = answer
            .text()
            .await
            .map_err(|error| CloudError::new(CloudFault::Lost, ask.what, told(&error)))?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        // Some answer a removal with a page; nobody reads it.
        let json = serde_json::from_str(&text);
        match json {
            Ok(json) => Ok(json),
            Err(_) if ask.method == Method::DELETE => Ok(Value::Null),
            Err(error) => {
                let said = format!("it is no JSON: {error}");
                Err(CloudError::new(CloudFault::Unexpected, ask.what, said))
            }
        }
    }

    /// Sends a request; `stream` takes the place of its body. The answer is a success.
    pub(super) async fn send(
        &self,
        ask: &Ask<'_>,
        stream: Option<(u64, reqwest::Body)>,
    ) -> Result<Response, CloudError> {
        let _room = self.room.acquire().await;
        let session = self.session().await?;
        let of_session = |error: osauth::Error| of_session(ask.what, &error);
        let url = session
            .get_endpoint(ask.service, &ask.path)
            .await
            .map_err(of_session)?;
        let mut request = self.http.request(ask.method.clone(), url);
        if let Some(version) = version(&session, ask).await? {
            request = request.header("OpenStack-API-Version", version);
        }
        if !ask.query.is_empty() {
            request = request.query(&ask.query);
        }
        if let Some((length, stream)) = stream {
            request = request
                .header("Content-Type", "application/octet-stream")
                .header("Content-Length", length)
                .body(stream);
        } else if let Some(body) = &ask.body {
            request = request.json(body);
        }
        let request = session
            .auth_type()
            .authenticate(&self.http, request)
            .await
            .map_err(of_session)?;
        let answer = request.send().await.map_err(|error| {
            let fault = if error.is_connect() {
                CloudFault::Unreachable
            } else if error.is_timeout() {
                CloudFault::TimedOut
            } else {
                CloudFault::Lost
            };
            CloudError::new(fault, ask.what, told(&error))
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let after = answer.headers().get("retry-after");
        let after = after.and_then(|it| it.to_str().ok()?.trim().parse().ok());
        let body = answer.text().await.unwrap_or_default();
        Err(CloudError::of_answer(
            ask.what,
            status.as_u16(),
            after,
            &body,
        ))
    }

    /// A whole list: all pages of it.
    pub(super) async fn pages(&self, ask: &Ask<'_>, key: &str) -> Result<Vec<Value>, CloudError> {
        let mut all = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let mut page = ask.clone().query("limit", self.page.to_string());
            if let Some(marker) = &marker {
                page = page.query("marker", marker);
            }
            let mut answer = self.ask(&page).await?;
            let more = more(&answer, key);
            let Some(Value::Array(entries)) = answer.get_mut(key).map(Value::take) else {
                let said = format!("it has no list `{key}`");
                return Err(CloudError::new(CloudFault::Unexpected, ask.what, said));
            };
            // Neutron counts a network that is shared and external twice, and then gives a page with
            // fewer entries and no link although more follow: only an empty page is the end.
            let more = more || ask.service == Service::Network;
            let last = entries.last().and_then(|it| it.get("id")?.as_str());
            let last = last.map(str::to_owned);
            if last.is_some() && last == marker {
                let said = "its pages never end";
                return Err(CloudError::new(CloudFault::Unexpected, ask.what, said));
            }
            all.extend(entries);
            match last {
                Some(last) if more => marker = Some(last),
                _ => return Ok(all),
            }
        }
    }
}

/// Whether another page follows: Glance says `next`, the others have a link of that name.
fn more(answer: &Value, key: &str) -> bool {
    let links = answer.get(format!("{key}_links")).and_then(Value::as_array);
    let next = |link: &Value| link.get("rel").and_then(Value::as_str) == Some("next");
    links.is_some_and(|links| links.iter().any(next)) || answer.get("next").is_some()
}

/// The version of an interface that is asked for, as a header; `None` where there is only one.
async fn version(session: &Arc<Session>, ask: &Ask<'_>) -> Result<Option<String>, CloudError> {
    let (name, (least, most)) = match ask.service {
        Service::Compute => ("compute", COMPUTE),
        Service::Volume => ("volume", VOLUME),
        Service::Network | Service::Image => return Ok(None),
    };
    let versions = session.get_api_versions(ask.service).await;
    let versions = versions.map_err(|error| of_session(ask.what, &error))?;
    let there = versions.map_or(ApiVersion(0, 0), |(_, most)| most);
    if there < least {
        let said = format!("its `{name}` interface is older than {least}");
        return Err(CloudError::new(CloudFault::Rejected, ask.what, said));
    }
    Ok(Some(format!("{name} {}", there.min(most))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_safe_is_asked_again() {
        assert!(again(CloudFault::Unreachable, false));
        assert!(again(CloudFault::Busy { retry_after: None }, false));
        for fault in [CloudFault::Broken, CloudFault::Lost, CloudFault::TimedOut] {
            assert!(again(fault, true));
            assert!(!again(fault, false));
        }
        for fault in [
            CloudFault::Quota,
            CloudFault::Conflict,
            CloudFault::NotFound,
            CloudFault::Forbidden,
            CloudFault::Rejected,
            CloudFault::Config,
        ] {
            assert!(!again(fault, true));
        }
    }

    #[test]
    fn a_pause_is_never_shorter() {
        let pause = Duration::from_secs(2);
        for _ in 0..100 {
            let jittered = jitter(pause);
            assert!(jittered >= pause && jittered <= pause * 3 / 2);
        }
    }

    #[test]
    fn another_page_is_told_of_in_two_ways() {
        let json = |text| serde_json::from_str::<Value>(text).unwrap();
        assert!(more(
            &json(r#"{"ports": [], "ports_links": [{"rel": "next"}]}"#),
            "ports"
        ));
        assert!(!more(
            &json(r#"{"ports": [], "ports_links": [{"rel": "previous"}]}"#),
            "ports"
        ));
        assert!(more(
            &json(r#"{"images": [], "next": "/v2/images?marker=a"}"#),
            "images"
        ));
        assert!(!more(&json(r#"{"images": []}"#), "images"));
    }
}
