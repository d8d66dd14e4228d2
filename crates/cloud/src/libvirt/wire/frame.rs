//! Packets of libvirt's remote protocol: a length, six words of header, and what the procedure has to say.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The program that all procedures here belong to.
pub(crate) const REMOTE: u32 = 0x2000_8086;
/// The program that asks whether the other side is still there.
pub(crate) const KEEPALIVE: u32 = 0x6b65_6570;
/// Version of both.
const VERSION: u32 = 1;
/// Length and header.
const HEAD: usize = 28;
/// The longest packet that libvirt sends, and a bit.
const MAX: usize = (32 << 20) + 64;

/// What kind of packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Call,
    Reply,
    /// An event, or a ping.
    Message,
    Stream,
    /// Something newer, which was not asked for.
    Other(u32),
}

impl Type {
    fn number(self) -> u32 {
        match self {
            Self::Call => 0,
            Self::Reply => 1,
            Self::Message => 2,
            Self::Stream => 3,
            Self::Other(number) => number,
        }
    }

    fn of(number: u32) -> Self {
        match number {
            0 => Self::Call,
            1 => Self::Reply,
            2 => Self::Message,
            3 => Self::Stream,
            other => Self::Other(other),
        }
    }
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    Error,
    /// Of a stream: more comes.
    Continue,
}

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) program: u32,
    pub(crate) procedure: u32,
    pub(crate) kind: Type,
    pub(crate) serial: u32,
    pub(crate) status: Status,
    pub(crate) body: Vec<u8>,
}

impl Frame {
    pub(crate) fn call(procedure: u32, serial: u32, body: Vec<u8>) -> Self {
        Self { program: REMOTE, procedure, kind: Type::Call, serial, status: Status::Ok, body }
    }

    pub(crate) fn stream(procedure: u32, serial: u32, status: Status, body: Vec<u8>) -> Self {
        Self { program: REMOTE, procedure, kind: Type::Stream, serial, status, body }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let status = match self.status {
            Status::Ok => 0,
            Status::Error => 1,
            Status::Continue => 2,
        };
        let length = u32::try_from(HEAD + self.body.len()).unwrap_or(u32::MAX);
        let head = [length, self.program, VERSION, self.procedure, self.kind.number(), self.serial, status];
        let mut bytes = Vec::with_capacity(HEAD + self.body.len());
        for word in head {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(&self.body);
        bytes
    }

    /// The next packet. None: the other side has closed the connection between two packets.
    pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut head = [0; HEAD];
        if from.read(&mut head[..1]).await? == 0 {
            return Ok(None);
        }
        from.read_exact(&mut head[1..]).await.map_err(cut)?;
        let word = |index: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&head[index * 4..index * 4 + 4]);
            u32::from_be_bytes(bytes)
        };
        let length = usize::try_from(word(0)).unwrap_or(usize::MAX);
        if !(HEAD..=MAX).contains(&length) {
            return Err(invalid(format!("a packet of {length} bytes, which libvirt does not send")));
        }
        if word(2) != VERSION {
            return Err(invalid(format!("version {} of the protocol; version 1 is known", word(2))));
        }
        let status = match word(6) {
            0 => Status::Ok,
            1 => Status::Error,
            2 => Status::Continue,
            other => return Err(invalid(format!("a packet of unknown status {other}"))),
        };
        let mut body = vec![0; length - HEAD];
        from.read_exact(&mut body).await.map_err(cut)?;
        Ok(Some(Self {
            program: word(1),
            procedure: word(3),
            kind: Type::of(word(4)),
            serial: word(5),
            status,
            body,
        }))
    }
}

fn cut(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        io::Error::new(error.kind(), "the connection ended in the middle of a packet")
    } else {
        error
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn packets_arrive_as_they_were_sent() {
        let frame = Frame::stream(208, 7, Status::Continue, vec![1, 2, 3]);
        let bytes = frame.bytes();
        assert_eq!(bytes[..8], [0, 0, 0, 31, 0x20, 0, 0x80, 0x86]);
        let mut all = &bytes[..];
        assert_eq!(Frame::read(&mut all).await.unwrap(), Some(frame));
        assert_eq!(Frame::read(&mut all).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_cut_off_is_an_error_and_not_the_end() {
        let bytes = Frame::call(1, 1, vec![0; 8]).bytes();
        for length in 1..bytes.len() {
            let error = Frame::read(&mut &bytes[..length]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length}");
        }
    }

    #[tokio::test]
    async fn lengths_and_versions_that_cannot_be_are_refused() {
        let good = Frame::call(1, 1, vec![]).bytes();
        for (at, bytes, told) in [
            (0, [0, 0, 0, 27], "27 bytes"),
            (0, [0xff; 4], "4294967295 bytes"),
            (8, [0, 0, 0, 2], "version 2"),
            (24, [0, 0, 0, 9], "status 9"),
        ] {
            let mut bad = good.clone();
            bad[at..at + 4].copy_from_slice(&bytes);
            let error = Frame::read(&mut &bad[..]).await.unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}
