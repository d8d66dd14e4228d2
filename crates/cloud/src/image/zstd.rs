//! A zstd stream of many frames, as layers have that can be pulled in pieces.

use std::io::{self, Read};

use ruzstd::decoding::StreamingDecoder;

/// Frames that are to be skipped begin with one of sixteen numbers.
const SKIPPED: u32 = 0x184d_2a50;

/// Reads one frame after the other.
pub struct Frames<R: Read> {
    state: State<R>,
}

enum State<R: Read> {
    Between(R),
    Inside(Box<StreamingDecoder<Start<R>, ruzstd::decoding::FrameDecoder>>),
    /// Broken, or at its end.
    Over,
}

impl<R: Read> Frames<R> {
    /// From the first frame on.
    pub fn new(inner: R) -> Self {
        Self { state: State::Between(inner) }
    }
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Ok(0),
                State::Between(inner) => self.state = next(inner)?,
                State::Inside(mut decoder) => {
                    let count = decoder.read(buffer)?;
                    if count > 0 {
                        self.state = State::Inside(decoder);
                        return Ok(count);
                    }
                    self.state = State::Between(decoder.into_inner().inner);
                }
            }
        }
    }
}

fn next<R: Read>(mut inner: R) -> io::Result<State<R>> {
    let mut magic = Vec::new();
    inner.by_ref().take(4).read_to_end(&mut magic)?;
    if magic.is_empty() {
        return Ok(State::Over);
    }
    let Ok(magic) = <[u8; 4]>::try_from(magic) else {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the last frame is cut off"));
    };
    if u32::from_le_bytes(magic) & !0xf == SKIPPED {
        let mut length = [0; 4];
        inner.read_exact(&mut length)?;
        io::copy(&mut inner.by_ref().take(u64::from(u32::from_le_bytes(length))), &mut io::sink())?;
        return Ok(State::Between(inner));
    }
    let start = Start { magic, taken: 0, inner };
    StreamingDecoder::new(start).map(|decoder| State::Inside(Box::new(decoder))).map_err(io::Error::other)
}

/// Four bytes that were read already, and the rest.
struct Start<R> {
    magic: [u8; 4],
    taken: usize,
    inner: R,
}

impl<R: Read> Read for Start<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.magic.len() {
            return self.inner.read(buffer);
        }
        let count = (&self.magic[self.taken..]).read(buffer)?;
        self.taken += count;
        Ok(count)
    }
}
