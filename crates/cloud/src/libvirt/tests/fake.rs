//! A daemon that does what a test says, down to the bytes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::libvirt::client::Client;
use crate::libvirt::wire::Endpoint;
use crate::libvirt::wire::frame::{Frame, Status, Type};
use crate::libvirt::wire::xdr::Encoder;
use crate::{Account, Kind};

/// What it does about a packet.
pub(super) enum Act {
    /// Answers with that.
    Reply(Vec<u8>),
    /// Says no.
    No(i32, &'static str),
    /// Sends packets of a stream after the answer, then the empty one that ends it.
    Data(Vec<Vec<u8>>),
    /// Sends these bytes as they are, and closes the connection.
    Bytes(Vec<u8>),
    /// Closes the connection.
    Close,
    /// Says nothing.
    Silence,
}

/// An empty answer.
pub(super) fn done() -> Act {
    Act::Reply(Vec::new())
}

pub(super) fn error_body(code: i32, message: &str) -> Vec<u8> {
    // Code, domain, message, level, no domain, three texts, two numbers, no network.
    let rest = Encoder::new().i32(code).i32(0).optional(Some(message)).i32(2).u32(0);
    rest.optional(None).optional(None).optional(None).i32(0).i32(0).u32(0).finish()
}

/// The daemon.
pub(super) struct Fake {
    directory: TempDir,
    task: JoinHandle<()>,
    /// Procedures that were called, in order; of a stream, each packet.
    pub(super) heard: Arc<Mutex<Vec<u32>>>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// One that lets everybody in, and does what `act` says of everything else.
    pub(super) fn start(act: impl FnMut(&Frame) -> Act + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("s")).unwrap();
        let act: Actor = Arc::new(Mutex::new(act));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&act), Arc::clone(&notes)));
            }
        });
        Self { directory, task, heard }
    }

    pub(super) fn uri(&self) -> String {
        let socket: PathBuf = self.directory.path().join("s");
        format!("qemu+unix:///system?socket={}", socket.display())
    }

    pub(super) fn client(&self) -> Client {
        Client::new(Endpoint::parse(&self.uri(), None).unwrap())
    }

    pub(super) fn account(&self) -> Account {
        Account::new(Kind::Libvirt)
            .credential("LIBVIRT_URI", self.uri())
            .setting("LIBVIRT_POOL", "pods")
            .setting("LIBVIRT_VOL_NAME", "base")
    }

    pub(super) fn count(&self, procedure: u32) -> usize {
        self.heard.lock().unwrap().iter().filter(|one| **one == procedure).count()
    }
}

type Actor = Arc<Mutex<dyn FnMut(&Frame) -> Act + Send>>;

async fn serve(mut stream: UnixStream, act: Actor, heard: Arc<Mutex<Vec<u32>>>) {
    while let Ok(Some(frame)) = Frame::read(&mut stream).await {
        heard.lock().unwrap().push(frame.procedure);
        let act = match (frame.procedure, (act.lock().unwrap())(&frame)) {
            // Nobody has to log in, unless the test says so.
            (66, Act::Silence) => Act::Reply(Encoder::new().u32(1).i32(0).finish()),
            (1, Act::Silence) => done(),
            (_, act) => act,
        };
        let kind = if frame.kind == Type::Stream { Type::Stream } else { Type::Reply };
        let answer = |status, body| Frame { kind, status, body, ..frame.clone() }.bytes();
        let mut bytes = Vec::new();
        match act {
            Act::Reply(body) => bytes.extend(answer(Status::Ok, body)),
            Act::No(code, message) => bytes.extend(answer(Status::Error, error_body(code, message))),
            Act::Data(packets) => {
                bytes.extend(answer(Status::Ok, Vec::new()));
                for data in packets.into_iter().chain([Vec::new()]) {
                    bytes
                        .extend(Frame::stream(frame.procedure, frame.serial, Status::Continue, data).bytes());
                }
            }
            Act::Bytes(raw) => {
                let _ = stream.write_all(&raw).await;
                return;
            }
            Act::Close => return,
            Act::Silence => continue,
        }
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
