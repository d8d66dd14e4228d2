//! XDR (RFC 4506) as far as libvirt uses it: big-endian words, everything padded to four bytes.

/// The longest string that either side accepts.
const STRING_MAX: usize = 4 << 20;

/// Writes values one after the other.
#[derive(Debug, Default)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn i32(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Bytes of a length that both sides know.
    pub(crate) fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn text(self, text: &str) -> Self {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.u32(length).fixed(text.as_bytes())
    }

    pub(crate) fn optional(self, text: Option<&str>) -> Self {
        match text {
            None => self.u32(0),
            Some(text) => self.u32(1).text(text),
        }
    }

    pub(crate) fn with(self, value: &impl Encode) -> Self {
        value.encode(self)
    }
}

/// A value that is sent.
pub(crate) trait Encode {
    fn encode(&self, out: Encoder) -> Encoder;
}

/// What arrived does not have the form that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it ends after {0} bytes, in the middle of a value")]
    Short(usize),
    #[error("a text of {0} bytes is longer than libvirt allows")]
    Long(usize),
    #[error("a text is not UTF-8")]
    Text,
    #[error("a list of {0} entries is longer than what arrived")]
    List(u32),
    #[error("{0} is neither true nor false")]
    Flag(u32),
}

/// Reads values one after the other.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }

    pub(crate) fn fixed(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).filter(|end| end.next_multiple_of(4) <= self.all.len());
        let Some(end) = end else { return Err(Malformed::Short(self.all.len())) };
        let bytes = &self.all[self.at..end];
        self.at = end.next_multiple_of(4);
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.fixed(N)?);
        Ok(array)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn uuid(&mut self) -> Result<[u8; 16], Malformed> {
        self.array()
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u32()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Malformed::Flag(other)),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        let length = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if length > STRING_MAX {
            return Err(Malformed::Long(length));
        }
        let bytes = self.fixed(length)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed::Text)
    }

    pub(crate) fn maybe<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(crate) fn list<T>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.u32()?;
        // Every entry has four bytes at least: no memory for what cannot be there.
        if usize::try_from(count).unwrap_or(usize::MAX) > (self.all.len() - self.at) / 4 {
            return Err(Malformed::List(count));
        }
        (0..count).map(|_| read(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_padded() {
        assert_eq!(
            Encoder::new().text("abcde").finish(),
            [0, 0, 0, 5, b'a', b'b', b'c', b'd', b'e', 0, 0, 0]
        );
        assert_eq!(Encoder::new().optional(None).finish(), [0; 4]);
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let bytes = Encoder::new().text("abcde").finish();
        for length in 0..bytes.len() {
            let short = Decoder::new(&bytes[..length]).text();
            assert_eq!(short, Err(Malformed::Short(length)), "{length}");
        }
        assert_eq!(Decoder::new(&[0xff; 8]).text(), Err(Malformed::Long(0xffff_ffff)));
        assert_eq!(Decoder::new(&[0, 0, 0, 1, 0xff, 0, 0, 0]).text(), Err(Malformed::Text));
        assert_eq!(Decoder::new(&[0, 0, 1, 0, 0, 0, 0, 0]).list(Decoder::u32), Err(Malformed::List(256)));
        assert_eq!(Decoder::new(&[0, 0, 0, 7]).maybe(Decoder::u32), Err(Malformed::Flag(7)));
    }

    proptest! {
        #[test]
        fn values_arrive_as_they_were_sent(text in ".{0,40}", number in any::<u32>(), maybe in proptest::option::of(".{0,9}")) {
            let bytes = Encoder::new().text(&text).u32(number).optional(maybe.as_deref()).i32(-7).finish();
            let mut read = Decoder::new(&bytes);
            prop_assert_eq!(read.text(), Ok(text));
            prop_assert_eq!(read.u32(), Ok(number));
            prop_assert_eq!(read.maybe(Decoder::text), Ok(maybe));
            prop_assert_eq!(read.i32(), Ok(-7));
        }

        #[test]
        fn no_bytes_make_it_stumble(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut read = Decoder::new(&bytes);
            let _ = read.list(|entry| entry.maybe(Decoder::text));
            let _ = read.u32();
        }
    }
}
