//! The connection to libvirt, made when it is needed and made anew when it broke.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::wire::transport::Line;
use super::wire::xdr::{Decoder, Encoder, Malformed};
use super::wire::{CallError, Endpoint};
use crate::{Error, Kind};

/// How long logging in may take, ssh included.
const LOGIN: Duration = Duration::from_secs(30);

/// Numbers of errors that mean something here (`virErrorNumber`).
pub(super) mod code {
    pub(crate) const NO_MEMORY: i32 = 2;
    pub(crate) const OPERATION_FAILED: i32 = 9;
    pub(crate) const OPERATION_DENIED: i32 = 29;
    pub(crate) const NO_DOMAIN: i32 = 42;
    pub(crate) const NO_NETWORK: i32 = 43;
    pub(crate) const AUTH_FAILED: i32 = 45;
    pub(crate) const NO_STORAGE_POOL: i32 = 49;
    pub(crate) const NO_STORAGE_VOL: i32 = 50;
    pub(crate) const OPERATION_INVALID: i32 = 55;
    pub(crate) const OPERATION_TIMEOUT: i32 = 68;
    pub(crate) const AUTH_CANCELLED: i32 = 79;
    pub(crate) const RESOURCE_BUSY: i32 = 87;
    pub(crate) const ACCESS_DENIED: i32 = 88;
    pub(crate) const STORAGE_VOL_EXIST: i32 = 90;
    pub(crate) const AUTH_UNAVAILABLE: i32 = 94;
}

const AUTH_LIST: Procedure = Procedure::read(66);
const AUTH_POLKIT: Procedure = Procedure::read(70);
const OPEN: Procedure = Procedure::read(1);

/// A procedure of the remote protocol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Procedure {
    number: u32,
    /// Whether it may be called again if the connection broke before the answer came.
    again: bool,
}

impl Procedure {
    /// One that changes nothing, or of which a second call finds that all is done.
    pub(super) const fn read(number: u32) -> Self {
        Self { number, again: true }
    }

    /// One that is called once.
    pub(super) const fn change(number: u32) -> Self {
        Self { number, again: false }
    }
}

/// Why a call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// libvirt says no.
    Said { code: i32, message: String },
    /// It did not come to that; whether it was done is not known.
    Unknown(Error),
}

impl Failure {
    pub(super) fn is(&self, wanted: i32) -> bool {
        matches!(self, Self::Said { code, .. } if *code == wanted)
    }

    /// In words, with what was tried.
    pub(super) fn because(self, action: impl fmt::Display) -> Error {
        let kind = Kind::Libvirt;
        let (code, message) = match self {
            Self::Said { code, message } => (code, message),
            Self::Unknown(error) => return error,
        };
        let message = format!("{message} ({action})");
        match code {
            code::AUTH_FAILED
            | code::AUTH_CANCELLED
            | code::AUTH_UNAVAILABLE
            | code::ACCESS_DENIED
            | code::OPERATION_DENIED => {
                let message =
                    format!("{message}; let LIBVIRT_URI name a user who may manage virtual machines");
                Error::Unauthorized { kind, message }
            }
            code::RESOURCE_BUSY | code::OPERATION_TIMEOUT | code::NO_MEMORY => Error::Busy { kind, message },
            _ if message.contains("No space left") => Error::Busy { kind, message },
            _ => Error::Refused { kind, action: action.to_string(), message },
        }
    }
}

/// Result of a call.
pub(super) type Answer<T> = Result<T, Failure>;

/// Makes "is not there" a value.
pub(super) fn found<T>(answer: Answer<T>, missing: i32) -> Answer<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.is(missing) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A connection that is there when it is needed.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: Endpoint,
    line: Mutex<Option<Arc<Line>>>,
}

impl Client {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, line: Mutex::new(None) }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Calls a procedure and reads its answer.
    pub(super) async fn ask<T>(
        &self,
        procedure: Procedure,
        arguments: Encoder,
        read: impl FnOnce(&mut Decoder<'_>) -> Result<T, Malformed>,
    ) -> Answer<T> {
        let arguments = arguments.finish();
        let mut line = self.line().await.map_err(Failure::Unknown)?;
        let mut answer = line.session.call(procedure.number, arguments.clone()).await;
        if procedure.again && matches!(answer, Err(CallError::Broken(_))) {
            line = self.line().await.map_err(Failure::Unknown)?;
            answer = line.session.call(procedure.number, arguments).await;
        }
        match answer {
            Ok(body) => parse(procedure.number, &body, read),
            Err(error) => Err(failure(&line, error).await),
        }
    }

    /// The connection, made anew if it broke.
    async fn line(&self) -> Result<Arc<Line>, Error> {
        let mut current = self.line.lock().await;
        if let Some(line) = current.as_ref().filter(|line| line.session.is_alive()) {
            return Ok(Arc::clone(line));
        }
        let line = Arc::new(self.log_in().await?);
        *current = Some(Arc::clone(&line));
        Ok(line)
    }

    /// A connection of one's own, for data in bulk: it holds nobody up, and is closed when it is dropped.
    pub(super) async fn log_in(&self) -> Result<Line, Error> {
        match tokio::time::timeout(LOGIN, self.try_log_in()).await {
            Ok(result) => result,
            Err(_) => Err(Error::Unreachable {
                kind: Kind::Libvirt,
                message: format!("{} lets nobody in for {} s", self.endpoint.told(), LOGIN.as_secs()),
            }),
        }
    }

    async fn try_log_in(&self) -> Result<Line, Error> {
        let line = self.endpoint.open().await?;
        match greet(&line, &self.endpoint.name).await {
            Ok(()) => Ok(line),
            Err(Failure::Unknown(error)) => Err(error),
            Err(said) => Err(said.because(format_args!("connect to {}", self.endpoint.told()))),
        }
    }
}

async fn greet(line: &Line, name: &str) -> Answer<()> {
    const NONE: i32 = 0;
    const POLKIT: i32 = 2;
    let ways = call(line, AUTH_LIST, Encoder::new(), |body| body.list(Decoder::i32)).await?;
    if !ways.is_empty() && !ways.contains(&NONE) {
        if !ways.contains(&POLKIT) {
            return Err(Failure::Unknown(Error::Unauthorized {
                kind: Kind::Libvirt,
                message:
                    "the daemon asks for a password (SASL), which LIBVIRT_URI cannot give; connect by ssh"
                        .to_owned(),
            }));
        }
        call(line, AUTH_POLKIT, Encoder::new(), |body| body.i32().map(|_| ())).await?;
    }
    call(line, OPEN, Encoder::new().optional(Some(name)).u32(0), |_| Ok(())).await
}

async fn call<T>(
    line: &Line,
    procedure: Procedure,
    arguments: Encoder,
    read: impl FnOnce(&mut Decoder<'_>) -> Result<T, Malformed>,
) -> Answer<T> {
    match line.session.call(procedure.number, arguments.finish()).await {
        Ok(body) => parse(procedure.number, &body, read),
        Err(error) => Err(failure(line, error).await),
    }
}

fn parse<T>(
    procedure: u32,
    body: &[u8],
    read: impl FnOnce(&mut Decoder<'_>) -> Result<T, Malformed>,
) -> Answer<T> {
    read(&mut Decoder::new(body)).map_err(|why| garbled(&CallError::Garbled { procedure, why }))
}

pub(super) async fn failure(line: &Line, error: CallError) -> Failure {
    match error {
        CallError::Said { code, message } => Failure::Said { code, message },
        CallError::Broken(why) => Failure::Unknown(line.explain(why).await),
        CallError::Garbled { .. } => garbled(&error),
    }
}

fn garbled(error: &CallError) -> Failure {
    Failure::Unknown(Error::Refused {
        kind: Kind::Libvirt,
        action: "talk in a way that is understood".to_owned(),
        message: error.to_string(),
    })
}
