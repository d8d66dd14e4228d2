//! What the container runtime itself says: `Status` of the Container Runtime Interface, over its Unix socket.
//!
//! The few messages are declared here with the field numbers of `runtime/v1/api.proto`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

use crate::error::{Error, Result};
use crate::host::Host;

const STATUS: &str = "/runtime.v1.RuntimeService/Status";
/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {
    #[prost(bool, tag = "1")]
    verbose: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<RuntimeStatus>,
    #[prost(btree_map = "string, string", tag = "2")]
    info: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "3")]
    runtime_handlers: Vec<RuntimeHandler>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RuntimeStatus {
    #[prost(message, repeated, tag = "1")]
    conditions: Vec<RuntimeCondition>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RuntimeCondition {
    #[prost(string, tag = "1")]
    r#type: String,
    #[prost(bool, tag = "2")]
    status: bool,
    #[prost(string, tag = "3")]
    reason: String,
    #[prost(string, tag = "4")]
    message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RuntimeHandler {
    #[prost(string, tag = "1")]
    name: String,
}

/// What a container runtime that answers says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Condition `RuntimeReady`.
    pub ready: bool,
    /// Handlers that it knows; none if it does not tell them: CRI-O before 1.30.
    pub handlers: Option<BTreeSet<String>>,
}

/// Asks the runtime behind a socket of the host.
pub fn status(host: &Host, socket: &str) -> Result<Status> {
    let path = host.at(socket)?;
    let answer = host.handle().block_on(async { tokio::time::timeout(LIMIT, ask(path)).await });
    let failed = |why: String| {
        Error::Runtime(format!("the container runtime does not answer on {socket} of the host: {why}"))
    };
    match answer {
        Err(_) => Err(failed(format!("silent for {} s", LIMIT.as_secs()))),
        Ok(Err(why)) => Err(failed(why)),
        Ok(Ok(response)) => Ok(read(&response)),
    }
}

async fn ask(socket: PathBuf) -> std::result::Result<StatusResponse, String> {
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    // The address is a formality: the connector knows where to go.
    let channel = Endpoint::from_static("http://localhost")
        .connect_with_connector(connector)
        .await
        .map_err(|error| words(&error))?;
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| words(&error))?;
    let codec: ProstCodec<StatusRequest, StatusResponse> = ProstCodec::default();
    let request = tonic::Request::new(StatusRequest { verbose: true });
    let answer = client.unary(request, PathAndQuery::from_static(STATUS), codec).await;
    answer.map(tonic::Response::into_inner).map_err(|status| match status.code() {
        tonic::Code::Unimplemented => "its CRI plugin is not loaded".to_owned(),
        code => format!("{code:?}: {}", status.message()),
    })
}

/// An error with its causes: tonic's own text is no more than "transport error".
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn read(response: &StatusResponse) -> Status {
    let conditions = response.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.r#type == "RuntimeReady" && condition.status);
    let named: BTreeSet<String> = response
        .runtime_handlers
        .iter()
        .map(|handler| handler.name.clone())
        .filter(|name| !name.is_empty())
        .collect();
    let handlers = if named.is_empty() { configured(&response.info) } else { Some(named) };
    Status { ready, handlers }
}

/// Handlers in the configuration that containerd tells of when asked to be verbose; before 1.7 that is the only place.
fn configured(info: &BTreeMap<String, String>) -> Option<BTreeSet<String>> {
    let config: serde_json::Value = serde_json::from_str(info.get("config")?).ok()?;
    let runtimes = config.get("containerd")?.get("runtimes")?.as_object()?;
    Some(runtimes.keys().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response() -> StatusResponse {
        let condition = |name: &str, status| RuntimeCondition {
            r#type: name.to_owned(),
            status,
            ..RuntimeCondition::default()
        };
        let conditions = vec![condition("NetworkReady", false), condition("RuntimeReady", true)];
        StatusResponse { status: Some(RuntimeStatus { conditions }), ..StatusResponse::default() }
    }

    #[test]
    fn handlers_come_from_the_answer_or_from_the_configuration_it_tells() {
        let mut told = response();
        assert_eq!(read(&told), Status { ready: true, handlers: None });
        let config = r#"{"containerd":{"runtimes":{"runc":{},"kata":{}}}}"#;
        told.info.insert("config".to_owned(), config.to_owned());
        assert_eq!(read(&told).handlers.unwrap().into_iter().collect::<Vec<_>>(), ["kata", "runc"]);
        for name in ["", "crun"] {
            told.runtime_handlers.push(RuntimeHandler { name: name.to_owned() });
        }
        assert_eq!(read(&told).handlers.unwrap().into_iter().collect::<Vec<_>>(), ["crun"]);
    }
}
