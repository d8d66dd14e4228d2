//! Digests by which containers are told apart that were started with other settings.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// A short digest of these words, in this order.
pub fn digest<T: AsRef<[u8]>>(words: impl IntoIterator<Item = T>) -> String {
    let mut hasher = Sha256::new();
    for word in words {
        let word = word.as_ref();
        // The length keeps ["ab", "c"] and ["a", "bc"] apart.
        hasher.update((word.len() as u64).to_be_bytes());
        hasher.update(word);
    }
    hasher.finalize().iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
