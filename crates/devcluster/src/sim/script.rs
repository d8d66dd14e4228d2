//! The little language of the annotation `devcluster.osc/script`: what becomes of a pod.
//!
//! | Script | Effect |
//! |---|---|
//! | `run` | the pod runs until it is deleted (what pods do anyway, but for those of Jobs) |
//! | `succeed` | the pod succeeds as soon as it has started |
//! | `succeed after 30s`, `succeed after 30s: image-1` | the pod succeeds after that simulated time, with that message |
//! | `fail`, `fail after 1m30s`, `fail after 5s: out of memory` | the pod fails, with that message |
//! | `never-start` | the container is never created: the pod stays pending |
//! | `never-ready` | the pod runs but never becomes ready |
//!
//! Anything else keeps the pod pending and says so in its status. Durations are written `90`, `90s`, `2m`, `1h30m`
//! or `500ms`.

use std::time::Duration;

/// A script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// Runs for ever.
    Run,
    /// Succeeds after a simulated time, with a message.
    Succeed(Duration, String),
    /// Fails after a simulated time, with a message.
    Fail(Duration, String),
    /// Stays pending for this reason: a word and a sentence.
    Pending(&'static str, String),
    /// Runs, never ready.
    NeverReady,
}

impl Script {
    /// Reads a script. Text that is none becomes a pod that stays pending and says why.
    pub fn parse(text: &str) -> Self {
        Self::try_parse(text.trim()).unwrap_or_else(|| {
            let message = format!(
                "annotation {}: {text:?} is no script; write run, succeed [after 30s][: message], \
                 fail [after 30s][: message], never-start or never-ready",
                super::annotations::SCRIPT
            );
            Self::Pending("InvalidScript", message)
        })
    }

    fn try_parse(text: &str) -> Option<Self> {
        let (words, message) = match text.split_once(':') {
            Some((words, message)) => (words.trim(), message.trim()),
            None => (text, ""),
        };
        let (verb, time) = match words.split_once(" after ") {
            Some((verb, time)) => (verb.trim(), parse_duration(time.trim())?),
            None => (words, Duration::ZERO),
        };
        let timed = words.contains(" after ");
        match verb {
            "succeed" => Some(Self::Succeed(time, message.to_owned())),
            "fail" => Some(Self::Fail(time, message.to_owned())),
            "run" if text == verb && !timed => Some(Self::Run),
            "never-ready" if text == verb => Some(Self::NeverReady),
            "never-start" if text == verb => {
                Some(Self::Pending("ContainerCreating", "scripted never to start".to_owned()))
            }
            _ => None,
        }
    }
}

/// Reads `90`, `90s`, `500ms`, `2m`, `1h30m`.
fn parse_duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u32 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_length = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += match &rest[..unit_length] {
            "ms" => Duration::from_millis(number.into()),
            "s" => Duration::from_secs(number.into()),
            "m" => Duration::from_secs(u64::from(number) * 60),
            "h" => Duration::from_secs(u64::from(number) * 3600),
            _ => return None,
        };
        rest = &rest[unit_length..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("run", Script::Run)]
    #[case(" succeed ", Script::Succeed(Duration::ZERO, String::new()))]
    #[case("succeed after 30s", Script::Succeed(Duration::from_secs(30), String::new()))]
    #[case("succeed after 90", Script::Succeed(Duration::from_secs(90), String::new()))]
    #[case("succeed after 5s: ami-1: new", Script::Succeed(Duration::from_secs(5), "ami-1: new".into()))]
    #[case("fail after 1h2m3s", Script::Fail(Duration::from_secs(3723), String::new()))]
    #[case("fail after 500ms: disk: full", Script::Fail(Duration::from_millis(500), "disk: full".into()))]
    #[case("fail: no", Script::Fail(Duration::ZERO, "no".into()))]
    #[case("never-ready", Script::NeverReady)]
    fn scripts(#[case] text: &str, #[case] script: Script) {
        assert_eq!(Script::parse(text), script);
    }

    #[rstest]
    #[case("")]
    #[case("explode")]
    #[case("succeed after soon")]
    #[case("succeed after 5x")]
    #[case("run: why")]
    #[case("run after 5s")]
    fn what_is_no_script_says_so(#[case] text: &str) {
        let Script::Pending(reason, message) = Script::parse(text) else { panic!("accepted") };
        assert_eq!(reason, "InvalidScript");
        assert!(message.contains("devcluster.osc/script"), "{message}");
    }
}
