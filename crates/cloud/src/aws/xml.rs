//! Answers in XML.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::Service;
use super::error::{Error, Result};

/// A list as EC2 writes them.
#[derive(Debug, Deserialize)]
pub(super) struct Items<T> {
    #[serde(rename = "item", default = "Vec::new")]
    pub items: Vec<T>,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

/// A tag.
#[derive(Debug, Deserialize)]
pub(super) struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

impl Items<Tag> {
    pub fn map(self) -> BTreeMap<String, String> {
        self.items.into_iter().map(|tag| (tag.key, tag.value)).collect()
    }
}

/// Reads an answer.
pub(super) fn read<T: DeserializeOwned>(service: Service, action: &str, body: &str) -> Result<T> {
    quick_xml::de::from_str(body).map_err(|error| Error::Answer {
        service: service.title(),
        action: action.to_owned(),
        why: error.to_string(),
    })
}

/// Whether S3 answered with an error.
pub(super) fn is_error(body: &str) -> bool {
    let start = body.trim_start();
    let start =
        start.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")).map_or(start, |(_, rest)| rest);
    start.trim_start().starts_with("<Error>")
}

/// Code and message of an error, whichever service wraps it.
pub(super) fn error(body: &str) -> Option<(String, String)> {
    let mut reader = Reader::from_str(body);
    let (mut code, mut message) = (None, None);
    // Text comes in pieces where characters are escaped.
    let mut text = String::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(_) => text.clear(),
            Event::Text(piece) => text.push_str(&piece),
            Event::GeneralRef(name) => text.push_str(resolve_xml_entity(&name).unwrap_or("?")),
            Event::End(end) => {
                let slot = match end.name().as_ref() {
                    "Code" => &mut code,
                    "Message" => &mut message,
                    _ => continue,
                };
                slot.get_or_insert_with(|| std::mem::take(&mut text));
            }
            Event::Eof => break,
            _ => {}
        }
    }
    Some((code?, message.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(
        "<Response><Errors><Error><Code>A</Code><Message>it&apos;s &lt;b&gt;</Message></Error></Errors><RequestID>1</RequestID></Response>"
    )]
    #[case(
        "<?xml version=\"1.0\"?>\n<Error><Code>A</Code><Message>it&apos;s &lt;b&gt;</Message><Key>k</Key></Error>"
    )]
    #[case(
        "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>A</Code><Message>it's &lt;b&gt;</Message></Error></ErrorResponse>"
    )]
    fn errors_are_read(#[case] body: &str) {
        assert_eq!(error(body), Some(("A".to_owned(), "it's <b>".to_owned())));
        assert_eq!(is_error(body), body.contains("<Key>"));
    }

    #[rstest]
    #[case("")]
    #[case("<html><body>Gateway</body></html>")]
    #[case("not XML <")]
    fn what_is_no_error_is_none(#[case] body: &str) {
        assert_eq!(error(body), None);
    }
}
