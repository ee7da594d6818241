//! One HTTP request over one stream.

use std::sync::{Arc, Mutex, PoisonError};

use bollard::BollardRequest;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request, Response, Uri, header};
use hyper_util::rt::TokioIo;

use super::{Dial, DockerError};

/// Sends one request over one new stream.
async fn exchange<B>(
    dial: &dyn Dial,
    mut request: Request<B>,
) -> Result<Response<Incoming>, DockerError>
where
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = dial
        .dial()
        .await
        .map_err(|error| DockerError::Refused(error.to_string()))?;
    let lost = |error: hyper::Error| DockerError::Lost(chain(&error));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    // It ends with the answer's body, or when the caller gives up and drops its half.
    tokio::spawn(connection);
    // The engine wants the origin form of the address.
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    *request.uri_mut() = path
        .parse::<Uri>()
        .map_err(|error| DockerError::Unreadable(error.to_string()))?;
    let headers: &mut HeaderMap = request.headers_mut();
    headers.insert(header::HOST, header::HeaderValue::from_static("docker"));
    headers.insert(
        header::CONNECTION,
        header::HeaderValue::from_static("close"),
    );
    sender.send_request(request).await.map_err(lost)
}

/// Sends bollard's request. bollard has no error for what goes wrong below it, so the real one is
/// left in `cause`.
pub(super) async fn carry(
    dial: Arc<dyn Dial>,
    cause: Arc<Mutex<Option<DockerError>>>,
    request: BollardRequest,
) -> Result<Response<Incoming>, bollard::errors::Error> {
    exchange(dial.as_ref(), request).await.map_err(|error| {
        let text = std::io::Error::other(error.to_string());
        *cause.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        bollard::errors::Error::IOError { err: text }
    })
}

/// Calls what bollard does not offer: the body of the answer.
pub(super) async fn call(
    dial: &dyn Dial,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<Bytes, DockerError> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| DockerError::Unreadable(error.to_string()))?;
    let response = exchange(dial, request).await?;
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|error| DockerError::Lost(chain(&error)))?
        .to_bytes();
    if status.is_success() {
        return Ok(body);
    }
    let message = serde_json::from_slice::<serde_json::Value>(&body)
        .ok()
        .and_then(|value| value.get("message")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned());
    Err(DockerError::of_answer(status.as_u16(), &message))
}

/// An error and what is underneath it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
