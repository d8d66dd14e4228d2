//! SHA-256, as text and while reading.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// Lower-case hexadecimal digest of some bytes.
pub fn of(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
        text.push(digit(byte >> 4));
        text.push(digit(byte & 0xf));
        text
    })
}

/// The digest in `sha256:<hex>`, or in the first word of a `sha256sum` line.
pub fn parse(text: &str) -> Option<String> {
    let word = text.split_whitespace().next()?;
    let digits = word.strip_prefix("sha256:").unwrap_or(word).to_ascii_lowercase();
    (digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digits)
}

/// Digests and counts what is read through it.
pub struct Digesting<R> {
    inner: R,
    digest: Sha256,
    /// Bytes read so far.
    pub bytes: u64,
}

impl<R: Read> Digesting<R> {
    /// Reads through to `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, digest: Sha256::new(), bytes: 0 }
    }

    /// Reads the rest, and tells the digest of all and how many bytes it were.
    pub fn finish(mut self) -> io::Result<(String, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((hex(&self.digest.finalize()), self.bytes))
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_as_people_write_them() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(of(b""), empty);
        for text in [format!("sha256:{empty}"), format!("{empty}  kata.tar.zst\n"), empty.to_uppercase()] {
            assert_eq!(parse(&text).as_deref(), Some(empty), "{text}");
        }
        for text in ["", "sha256:", "sha512:00", &empty[1..], &format!("g{}", &empty[1..])] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
