//! What happens when a daemon does not do what it should.

mod fake;

use fake::{Act, Fake, done};

use super::calls::Volume;
use super::client::{Failure, code};
use super::wire::frame::{Frame, KEEPALIVE, REMOTE, Status, Type};
use super::wire::xdr::{Decoder, Encoder};
use super::*;
use crate::Tags;

const CAPABILITIES: u32 = 7;
const DEFINE: u32 = 11;

fn volume() -> Volume {
    Volume { pool: "pods".into(), name: "v".into(), key: "/p/v".into() }
}

fn text(text: &str) -> Act {
    Act::Reply(Encoder::new().text(text).finish())
}

/// Answers one procedure, the first time in one way and later in another.
fn once(procedure: u32, first: fn() -> Act, then: fn() -> Act) -> impl FnMut(&Frame) -> Act + Send {
    let mut seen = false;
    move |frame| {
        if frame.procedure != procedure {
            return Act::Silence;
        }
        if std::mem::replace(&mut seen, true) { then() } else { first() }
    }
}

#[tokio::test]
async fn errors_become_what_to_do() {
    for (number, message, told, transient) in [
        (code::AUTH_FAILED, "authentication failed", "LIBVIRT_URI name a user", false),
        (code::ACCESS_DENIED, "access denied", "LIBVIRT_URI name a user", false),
        (code::RESOURCE_BUSY, "pool is busy", "no time or room", true),
        (38, "cannot write: No space left on device", "No space left", true),
        (1, "internal error: it broke", "refuses to ask: internal error: it broke (ask)", false),
    ] {
        let fake = Fake::start(move |frame| match frame.procedure {
            CAPABILITIES => Act::No(number, message),
            _ => Act::Silence,
        });
        let failure = fake.client().capabilities().await.unwrap_err();
        assert!(failure.is(number), "{failure:?}");
        let error = failure.because("ask");
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(error.is_transient(), transient, "{error}");
    }
}

#[tokio::test]
async fn a_broken_connection_is_made_anew_for_what_may_be_asked_again() {
    for broken in [|| Act::Close, || Act::Bytes(vec![0, 0, 0, 60, 1, 2, 3]), || Act::Bytes(vec![0xff; 28])] {
        let fake = Fake::start(once(CAPABILITIES, broken, || text("<capabilities/>")));
        assert_eq!(fake.client().capabilities().await, Ok("<capabilities/>".to_owned()));
        assert_eq!(fake.count(CAPABILITIES), 2);
    }
}

#[tokio::test]
async fn what_changes_something_is_not_asked_twice() {
    let fake = Fake::start(|frame| if frame.procedure == DEFINE { Act::Close } else { Act::Silence });
    let client = fake.client();
    let failure = client.domain_define("<domain/>").await.unwrap_err();
    assert!(matches!(&failure, Failure::Unknown(Error::Unreachable { .. })), "{failure:?}");
    assert_eq!(fake.count(DEFINE), 1);
}

#[tokio::test]
async fn answers_that_make_no_sense_are_told() {
    let fake = Fake::start(|frame| match frame.procedure {
        CAPABILITIES => Act::Reply(vec![0, 0, 0, 9, b'x']),
        273 => Act::Reply(Encoder::new().u32(1_000_000).finish()),
        _ => Act::Silence,
    });
    let client = fake.client();
    let error = client.capabilities().await.unwrap_err().because("ask");
    assert!(error.to_string().contains("procedure 7 is not understood"), "{error}");
    let error = client.domains().await.unwrap_err().because("ask");
    assert!(error.to_string().contains("1000000 entries"), "{error}");
}

#[tokio::test]
async fn packets_that_cannot_be_are_told() {
    for (raw, told) in [
        (vec![0, 0, 0, 60, 1, 2, 3], "middle of a packet"),
        (vec![0xff; 28], "4294967295 bytes"),
        (Vec::new(), "closed the connection"),
    ] {
        let fake = Fake::start(move |frame| match frame.procedure {
            CAPABILITIES => Act::Bytes(raw.clone()),
            _ => Act::Silence,
        });
        let error = fake.client().capabilities().await.unwrap_err().because("ask");
        assert!(matches!(error, Error::Unreachable { .. }) && error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn a_daemon_that_wants_a_password_is_told() {
    let fake = Fake::start(|frame| match frame.procedure {
        66 => Act::Reply(Encoder::new().u32(1).i32(1).finish()),
        _ => Act::Silence,
    });
    let error = fake.client().capabilities().await.unwrap_err().because("ask");
    assert!(matches!(&error, Error::Unauthorized { .. }) && error.to_string().contains("SASL"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_says_nothing_is_given_up() {
    let (one, _other) = tokio::io::duplex(4096);
    let session = super::wire::session::Session::new(one);
    let error = session.call(CAPABILITIES, vec![]).await.unwrap_err();
    assert_eq!(error.to_string(), "libvirt has not answered for 60 s");
    assert!(!session.is_alive());
}

/// A packet that is no answer.
fn message(program: u32, procedure: u32) -> Frame {
    Frame { program, procedure, kind: Type::Message, serial: 0, status: Status::Ok, body: vec![] }
}

#[tokio::test]
async fn pings_are_answered_and_events_are_not_taken_for_answers() {
    let (one, mut other) = tokio::io::duplex(4096);
    let session = super::wire::session::Session::new(one);
    let answer =
        Frame { kind: Type::Reply, ..Frame::call(CAPABILITIES, 1, Encoder::new().text("now").finish()) };
    let daemon = async {
        let call = Frame::read(&mut other).await.unwrap().unwrap();
        assert_eq!((call.procedure, call.serial), (CAPABILITIES, 1));
        let bytes = [message(REMOTE, 318).bytes(), message(KEEPALIVE, 1).bytes()].concat();
        tokio::io::AsyncWriteExt::write_all(&mut other, &bytes).await.unwrap();
        assert_eq!(Frame::read(&mut other).await.unwrap(), Some(message(KEEPALIVE, 2)));
        tokio::io::AsyncWriteExt::write_all(&mut other, &answer.bytes()).await.unwrap();
    };
    let (called, ()) = tokio::join!(session.call(CAPABILITIES, vec![]), daemon);
    assert_eq!(called, Ok(answer.body.clone()));
    drop(other);
    assert!(session.call(CAPABILITIES, vec![]).await.is_err());
    assert!(!session.is_alive());
}

#[tokio::test]
async fn an_upload_that_breaks_is_told() {
    let begun = |frame: &Frame| frame.procedure == super::calls::UPLOAD && frame.kind == Type::Call;
    let data = vec![1; 2_000_000];
    // The connection ends while data is sent.
    let fake = Fake::start(move |frame| match frame.kind {
        _ if begun(frame) => done(),
        Type::Stream => Act::Close,
        _ => Act::Silence,
    });
    let error = fake.client().upload(&volume(), 2_000_000, &data[..], &|_| ()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    // The daemon refuses it while data is sent, or at the end.
    for at in [Status::Continue, Status::Ok] {
        let fake = Fake::start(move |frame| match frame.kind {
            _ if begun(frame) => done(),
            Type::Stream if frame.status == at => Act::No(38, "cannot write: No space left on device"),
            _ => Act::Silence,
        });
        let error = fake.client().upload(&volume(), 2_000_000, &data[..], &|_| ()).await.unwrap_err();
        assert!(
            matches!(error, Error::Busy { .. }) && error.to_string().contains("volume v of pool pods"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_is_read_back_has_to_be_all_of_it() {
    let serve = |parts: Vec<Vec<u8>>| {
        Fake::start(move |frame| match frame.kind {
            Type::Call if frame.procedure == super::calls::DOWNLOAD => Act::Data(parts.clone()),
            Type::Stream => done(),
            _ => Act::Silence,
        })
    };
    let whole = serve(vec![b"ab".to_vec(), b"c".to_vec()]);
    let digest = whole.client().read_back(&volume(), 3, &|_| ()).await.unwrap();
    assert_eq!(digest, super::transfer::digest(b"abc"));
    let short = serve(vec![b"ab".to_vec()]);
    let error = short.client().read_back(&volume(), 3, &|_| ()).await.unwrap_err();
    assert!(error.to_string().contains("ended after 2 of 3 bytes"), "{error}");
}

/// A daemon with a network, a pool and an image, whose connection breaks when a domain was defined.
fn forgets_to_answer() -> impl FnMut(&Frame) -> Act + Send {
    let mut defined: Option<String> = None;
    let uuid = [7; 16];
    move |frame| {
        let body = Encoder::new();
        let domain = || Encoder::new().text("podvm-web-01234567").fixed(&uuid).i32(-1).finish();
        match frame.procedure {
            CAPABILITIES => text(
                "<capabilities><host><cpu><arch>x86_64</arch></cpu></host><guest><os_type>hvm</os_type>\
                 <arch name='x86_64'/></guest></capabilities>",
            ),
            46 | 84 => Act::Reply(body.text("pods").fixed(&uuid).finish()),
            152 | 154 => Act::Reply(body.i32(1).finish()),
            88 => text("<pool><target><path>/p</path></target></pool>"),
            95 => {
                let mut read = Decoder::new(&frame.body);
                let _pool = (read.text(), read.uuid());
                match read.text().as_deref() {
                    Ok("base") => Act::Reply(body.text("pods").text("base").text("/p/base").finish()),
                    _ => Act::No(code::NO_STORAGE_VOL, "no such volume"),
                }
            }
            99 => text("<volume><capacity>1</capacity><target><path>/p/base</path></target></volume>"),
            83 => done(),
            97 => Act::No(code::NO_STORAGE_VOL, "no such volume"),
            DEFINE => {
                defined = Decoder::new(&frame.body).text().ok();
                Act::Close
            }
            23 if defined.is_some() => Act::Reply(domain()),
            23 => Act::No(code::NO_DOMAIN, "no such domain"),
            14 => text(defined.as_deref().unwrap_or_default()),
            12 => Act::No(code::OPERATION_INVALID, "domain is not running"),
            231 => {
                defined = None;
                done()
            }
            _ => Act::Silence,
        }
    }
}

#[tokio::test]
async fn a_domain_of_which_nobody_heard_is_taken_back() {
    let fake = Fake::start(forgets_to_answer());
    let cloud = Libvirt::new(&fake.account()).unwrap();
    let tags = Tags { cluster: "c".into(), sandbox: "0123456789".into(), ..Tags::default() };
    let error = cloud.create(&InstanceSpec::new("podvm-web-01234567", tags)).await.unwrap_err();
    assert!(matches!(error.error, Error::Unreachable { .. }) && error.left.is_none(), "{error}");
    assert_eq!((fake.count(DEFINE), fake.count(231)), (1, 1));
}

#[tokio::test]
async fn a_domain_that_may_be_there_is_told_by_its_name() {
    let mut good = forgets_to_answer();
    let mut broken = false;
    let fake = Fake::start(move |frame| {
        // After that, nobody is let in any more.
        broken |= frame.procedure == DEFINE;
        if broken { Act::Close } else { good(frame) }
    });
    let cloud = Libvirt::new(&fake.account()).unwrap();
    let tags = Tags { cluster: "c".into(), sandbox: "0123456789".into(), ..Tags::default() };
    let error = cloud.create(&InstanceSpec::new("podvm-web-01234567", tags)).await.unwrap_err();
    let left = error.left.expect("it may be there");
    assert_eq!((left.id.as_str(), left.tags.cluster.as_str()), ("podvm-web-01234567", "c"));
}
