//! How a watch fares: what keeps it from knowing anything, and whether that has lasted long enough to be told.
//!
//! An API server that starts, or a role that is being replaced, refuses for a moment. That is nobody's business; a refusal
//! that lasts is.

use jiff::{SignedDuration, Timestamp};

/// How long reading has to be refused before that is told.
const GRACE: SignedDuration = SignedDuration::from_secs(30);

/// How long a watch has to run after its list before it counts as working again.
pub const PROOF: SignedDuration = SignedDuration::from_secs(10);

/// How one watch fares.
#[derive(Clone, Debug)]
pub struct Standing {
    started: Timestamp,
    error: Option<String>,
    refused: Option<Timestamp>,
    lasting: bool,
}

impl Standing {
    /// It has just been started.
    pub fn new(now: Timestamp) -> Self {
        Self { started: now, error: None, refused: None, lasting: false }
    }

    /// The API server failed to answer, in these words.
    pub fn failed(&mut self, error: String) {
        self.error = Some(error);
    }

    /// The API server refused, in these words. True if that is news to tell.
    pub fn refused(&mut self, error: String, now: Timestamp) -> bool {
        self.refused.get_or_insert(now);
        let other = self.lasting && self.error.as_ref() != Some(&error);
        self.error = Some(error);
        self.check(now) || other
    }

    /// Looks whether a refusal has lasted. True if that is news.
    pub fn check(&mut self, now: Timestamp) -> bool {
        let before = self.lasting;
        self.lasting = self.left(now).is_some_and(|left| !left.is_positive());
        self.lasting && !before
    }

    /// How long until a refusal has lasted; none without one.
    pub fn left(&self, now: Timestamp) -> Option<SignedDuration> {
        self.refused.map(|since| GRACE.saturating_sub(now.duration_since(since)))
    }

    /// It works. True if something that was told is taken back.
    pub fn works(&mut self) -> bool {
        self.error = None;
        self.refused = None;
        std::mem::take(&mut self.lasting)
    }

    /// Why nothing can be read, if that has lasted.
    pub fn unreadable(&self) -> Option<&str> {
        self.error.as_deref().filter(|_| self.lasting)
    }

    /// Whether reading is refused, for however short a time.
    pub fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Since when its list is waited for.
    pub fn waiting_since(&self) -> Timestamp {
        self.refused.unwrap_or(self.started)
    }

    /// What the API server said last, if it was no answer.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_refusal_is_told_when_it_has_lasted_and_not_before() {
        let mut standing = Standing::new(at(0));
        assert!(!standing.refused("forbidden".to_owned(), at(100)));
        assert!(!standing.refused("forbidden".to_owned(), at(129)));
        assert_eq!(
            (standing.unreadable(), standing.left(at(129))),
            (None, Some(SignedDuration::from_secs(1)))
        );
        assert!(standing.check(at(130)) && !standing.check(at(131)), "it is news once");
        assert_eq!(standing.unreadable(), Some("forbidden"));
        assert!(!standing.refused("forbidden".to_owned(), at(140)));
        assert!(standing.refused("unauthorized".to_owned(), at(141)), "other words are news");
        assert!(standing.works());
        assert_eq!((standing.unreadable(), standing.left(at(200))), (None, None));
    }

    #[test]
    fn a_moment_of_refusal_leaves_nothing_to_take_back() {
        let mut standing = Standing::new(at(0));
        standing.refused("forbidden".to_owned(), at(100));
        assert!(!standing.works());
        assert!(!standing.refused("forbidden".to_owned(), at(140)), "it begins anew");
    }

    #[test]
    fn failures_are_remembered_but_do_not_count_as_refusals() {
        let mut standing = Standing::new(at(7));
        standing.failed("etcdserver: request timed out".to_owned());
        assert!(!standing.check(at(1_000)) && standing.unreadable().is_none());
        assert_eq!(
            (standing.waiting_since(), standing.error()),
            (at(7), Some("etcdserver: request timed out"))
        );
    }
}
