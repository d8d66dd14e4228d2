//! What may be a label key and a label value.

const KEY_MAX: usize = 63;
const PREFIX_MAX: usize = 253;

/// Complains about a label key, in the server's words.
pub(super) fn key_complaint(key: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if name.contains('/') {
        return Some(format!(
            "a qualified name {NAME_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ));
    }
    match prefix {
        Some("") => return Some("prefix part must be non-empty".to_owned()),
        Some(prefix) if prefix.len() > PREFIX_MAX => {
            return Some(format!("prefix part must be no more than {PREFIX_MAX} bytes"));
        }
        Some(prefix) if !is_subdomain(prefix) => return Some(format!("prefix part {SUBDOMAIN_RULE}")),
        _ => {}
    }
    match name {
        "" => Some("name part must be non-empty".to_owned()),
        _ if name.len() > KEY_MAX => Some(format!("name part must be no more than {KEY_MAX} bytes")),
        _ if !is_name(name) => Some(format!("name part {NAME_RULE}")),
        _ => None,
    }
}

/// Complains about a label value, in the server's words.
pub(super) fn value_complaint(value: &str) -> Option<String> {
    if value.len() > KEY_MAX {
        return Some(format!("must be no more than {KEY_MAX} bytes"));
    }
    (!value.is_empty() && !is_name(value)).then(|| VALUE_RULE.to_owned())
}

const NAME_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
     alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

const VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
     '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
     used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' \
     or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

fn is_name(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_subdomain(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.split('.').all(|label| {
        let bytes = label.as_bytes();
        edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
    })
}
