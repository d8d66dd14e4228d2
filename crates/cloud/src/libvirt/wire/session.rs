//! One connection to libvirt: many calls at a time, each answer to whoever asked.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::frame::{Frame, KEEPALIVE, REMOTE, Status, Type};
use super::xdr::{Decoder, Malformed};

/// How long libvirt may take to answer a call. Starting a domain is the slowest of them.
const PATIENCE: Duration = Duration::from_mins(1);
/// Data of one packet of a stream: what every release of libvirt accepts.
const CHUNK: usize = 256_000;
/// Procedures of the keepalive program.
const PING: u32 = 1;
const PONG: u32 = 2;

/// Either side of a connection, whatever it runs over.
pub(crate) trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Pipe for T {}

/// Why a call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// libvirt says no.
    #[error("{message}")]
    Said { code: i32, message: String },
    /// The connection broke; whether libvirt did it is not known.
    #[error("{0}")]
    Broken(String),
    /// An answer could not be understood.
    #[error("libvirt's answer to procedure {procedure} is not understood: {why}")]
    Garbled { procedure: u32, why: Malformed },
}

#[derive(Debug, Default)]
struct Waiting {
    calls: HashMap<u32, mpsc::Sender<Frame>>,
    /// Why the connection is of no use any more.
    broken: Option<String>,
}

/// A connection with its readers and writers.
#[derive(Debug)]
pub(crate) struct Session {
    waiting: Arc<Mutex<Waiting>>,
    out: mpsc::Sender<Frame>,
    serial: AtomicU32,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Session {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Session {
    pub(crate) fn new(pipe: impl Pipe + 'static) -> Self {
        let (mut from, mut to) = tokio::io::split(pipe);
        let (out, mut queue) = mpsc::channel::<Frame>(4);
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let state = Arc::clone(&waiting);
        let pongs = out.downgrade();
        let reader = tokio::spawn(async move {
            loop {
                match Frame::read(&mut from).await {
                    Ok(Some(frame)) => dispatch(&state, &pongs, frame).await,
                    Ok(None) => return fail(&state, "libvirt has closed the connection"),
                    Err(error) => return fail(&state, &error.to_string()),
                }
            }
        });
        let state = Arc::clone(&waiting);
        let writer = tokio::spawn(async move {
            while let Some(frame) = queue.recv().await {
                let written = async {
                    to.write_all(&frame.bytes()).await?;
                    to.flush().await
                };
                if let Err(error) = written.await {
                    return fail(&state, &format!("cannot write to libvirt: {error}"));
                }
            }
        });
        Self { waiting, out, serial: AtomicU32::new(1), tasks: [reader, writer] }
    }

    /// Whether calls can still be made.
    pub(crate) fn is_alive(&self) -> bool {
        lock(&self.waiting).broken.is_none()
    }

    /// Makes a call and waits for its answer.
    pub(crate) async fn call(&self, procedure: u32, body: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let mut call = self.begin()?;
        self.send(Frame::call(procedure, call.serial, body)).await?;
        call.answer(Type::Reply).await.map(|frame| frame.body)
    }

    /// Makes a call that is followed by a stream.
    pub(crate) async fn open_stream(&self, procedure: u32, body: Vec<u8>) -> Result<Stream<'_>, CallError> {
        let mut call = self.begin()?;
        self.send(Frame::call(procedure, call.serial, body)).await?;
        call.answer(Type::Reply).await?;
        Ok(Stream { session: self, call, procedure })
    }

    fn begin(&self) -> Result<Call, CallError> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let (sender, answers) = mpsc::channel(4);
        let mut waiting = lock(&self.waiting);
        if let Some(why) = &waiting.broken {
            return Err(CallError::Broken(why.clone()));
        }
        waiting.calls.insert(serial, sender);
        Ok(Call { serial, answers, waiting: Arc::clone(&self.waiting), early: VecDeque::new() })
    }

    async fn send(&self, frame: Frame) -> Result<(), CallError> {
        let sent = tokio::time::timeout(PATIENCE, self.out.send(frame)).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(CallError::Broken(reason(&self.waiting))),
            Err(_) => {
                fail(&self.waiting, "libvirt takes nothing any more");
                Err(CallError::Broken(reason(&self.waiting)))
            }
        }
    }
}

/// A call that is under way.
#[derive(Debug)]
struct Call {
    serial: u32,
    answers: mpsc::Receiver<Frame>,
    waiting: Arc<Mutex<Waiting>>,
    /// Data that came before the answer.
    early: VecDeque<Frame>,
}

impl Drop for Call {
    fn drop(&mut self) {
        lock(&self.waiting).calls.remove(&self.serial);
    }
}

impl Call {
    /// The next frame of that kind. libvirt answers from another thread than the one that sends data, so that the first data
    /// may come before the answer; it is kept.
    async fn answer(&mut self, kind: Type) -> Result<Frame, CallError> {
        if kind == Type::Stream
            && let Some(frame) = self.early.pop_front()
        {
            return Ok(frame);
        }
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Ok(frame);
            }
            if frame.kind == Type::Stream {
                self.early.push_back(frame);
                continue;
            }
            let why = format!("libvirt sent {:?} where {kind:?} was expected", frame.kind);
            fail(&self.waiting, &why);
            return Err(CallError::Broken(why));
        }
    }

    async fn next(&mut self) -> Result<Frame, CallError> {
        let frame = match tokio::time::timeout(PATIENCE, self.answers.recv()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Err(CallError::Broken(reason(&self.waiting))),
            Err(_) => {
                let why = format!("libvirt has not answered for {} s", PATIENCE.as_secs());
                fail(&self.waiting, &why);
                return Err(CallError::Broken(why));
            }
        };
        if frame.status == Status::Error {
            return Err(said(&frame));
        }
        Ok(frame)
    }
}

/// Data that follows a call, in one direction.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    session: &'a Session,
    call: Call,
    procedure: u32,
}

impl Stream<'_> {
    /// Sends data, in packets of the right size.
    pub(crate) async fn write(&mut self, data: &[u8]) -> Result<(), CallError> {
        for chunk in data.chunks(CHUNK) {
            // An error arrives while data is still being sent: a full disk, for instance.
            if let Ok(frame) = self.call.answers.try_recv() {
                return Err(said(&frame));
            }
            self.packet(Status::Continue, chunk.to_vec()).await?;
        }
        Ok(())
    }

    /// The next data. None: that was all.
    pub(crate) async fn read(&mut self) -> Result<Option<Vec<u8>>, CallError> {
        let frame = self.call.answer(Type::Stream).await?;
        Ok(Some(frame.body).filter(|data| !data.is_empty()))
    }

    /// Says that all was sent or read, and waits until libvirt says so, too.
    pub(crate) async fn finish(mut self) -> Result<(), CallError> {
        self.packet(Status::Ok, Vec::new()).await?;
        loop {
            // What was still under way when reading ended early.
            if self.call.answer(Type::Stream).await?.status == Status::Ok {
                return Ok(());
            }
        }
    }

    /// Gives it up.
    pub(crate) async fn abort(self) {
        // Whether libvirt still hears it does not matter: the connection is closed next.
        let _ = self.packet(Status::Error, Vec::new()).await;
    }

    async fn packet(&self, status: Status, data: Vec<u8>) -> Result<(), CallError> {
        self.session.send(Frame::stream(self.procedure, self.call.serial, status, data)).await
    }
}

async fn dispatch(waiting: &Mutex<Waiting>, pongs: &mpsc::WeakSender<Frame>, frame: Frame) {
    if frame.program == KEEPALIVE {
        if let (PING, Some(out)) = (frame.procedure, pongs.upgrade()) {
            let pong = Frame { procedure: PONG, ..frame };
            let _ = out.send(pong).await;
        }
        return;
    }
    if frame.program != REMOTE || !matches!(frame.kind, Type::Reply | Type::Stream) {
        return;
    }
    let to = lock(waiting).calls.get(&frame.serial).cloned();
    if let Some(to) = to {
        // Nobody waits any more if that fails.
        let _ = to.send(frame).await;
    }
}

fn fail(waiting: &Mutex<Waiting>, why: &str) {
    let mut waiting = lock(waiting);
    waiting.broken.get_or_insert_with(|| why.to_owned());
    // Whoever waits finds its channel closed.
    waiting.calls.clear();
}

fn reason(waiting: &Mutex<Waiting>) -> String {
    lock(waiting).broken.clone().unwrap_or_else(|| "the connection was closed".to_owned())
}

fn lock(waiting: &Mutex<Waiting>) -> std::sync::MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `remote_error`: code, domain and message come first, and are all that is used.
fn said(frame: &Frame) -> CallError {
    let mut body = Decoder::new(&frame.body);
    let mut read = || -> Result<(i32, Option<String>), Malformed> {
        let code = body.i32()?;
        body.i32()?;
        Ok((code, body.maybe(Decoder::text)?))
    };
    match read() {
        Ok((code, message)) => CallError::Said {
            code,
            message: message.unwrap_or_else(|| format!("error {code} without a message")),
        },
        Err(why) => CallError::Garbled { procedure: frame.procedure, why },
    }
}
