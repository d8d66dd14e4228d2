//! Where a program of this project listens.

use std::net::SocketAddr;

/// An address to listen on, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindAddress(pub Option<SocketAddr>);

/// Accepts `host:port`, `:port` (as the Go operator does) and `0`.
pub fn bind_address(text: &str) -> Result<BindAddress, String> {
    if text == "0" {
        return Ok(BindAddress(None));
    }
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    full.parse().map(|address| BindAddress(Some(address))).map_err(|_| {
        format!("{text:?} is no address to listen on; write IP:PORT (for instance 0.0.0.0:8080), :PORT, or 0 for none")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0", None)]
    #[case(":8443", Some("0.0.0.0:8443"))]
    #[case("127.0.0.1:0", Some("127.0.0.1:0"))]
    fn addresses_are_read(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(bind_address(text).unwrap().0, expected.map(|address| address.parse().unwrap()));
    }

    #[test]
    fn a_wrong_address_is_refused_with_the_right_forms() {
        assert_eq!(
            bind_address("localhost").unwrap_err(),
            "\"localhost\" is no address to listen on; write IP:PORT (for instance 0.0.0.0:8080), :PORT, or 0 for none"
        );
    }
}
