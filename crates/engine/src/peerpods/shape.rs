//! Whether a value looks like what its key wants.

use osc_api::peerpods::image_source::ImageSource;
use osc_api::peerpods::keys::Shape;

/// Says what was expected; what was found is for the caller to tell, or not to tell if it is secret.
pub fn check(shape: Shape, value: &str) -> Result<(), String> {
    let fine = match shape {
        Shape::Text => !value.trim().is_empty() && value.trim() == value,
        Shape::Lines => !value.trim().is_empty(),
        Shape::Flag => ["true", "false"].contains(&value),
        Shape::YesNo => ["yes", "no"].contains(&value),
        Shape::Port => value.parse::<u16>().is_ok_and(|port| port > 0) && plain_number(value),
        Shape::Number(least) => {
            value.parse::<i64>().is_ok_and(|number| number >= least) && plain_number(value)
        }
        Shape::Duration => seconds(value).is_some(),
        Shape::Tags => parts(value).all(|part| part.split_once('=').is_some_and(|(key, _)| is_name(key))),
        Shape::List => parts(value).all(is_name),
        Shape::Identifier(prefix) => value.strip_prefix(prefix).is_some_and(is_name),
        Shape::Identifiers(prefix) => parts(value).all(|part| part.strip_prefix(prefix).is_some_and(is_name)),
        Shape::AzureResource(path) => {
            let (value, path) = (value.to_ascii_lowercase(), path.to_ascii_lowercase());
            value.starts_with("/subscriptions/") && value.contains(&path) && is_name(&value)
        }
        Shape::OneOf(allowed) => allowed.contains(&value),
        Shape::Networks => parts(value).all(is_network),
        Shape::Path => {
            value.starts_with('/') && value.trim() == value && !value.split('/').any(|part| part == "..")
        }
        Shape::Json => serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(value).is_ok(),
        Shape::LibvirtUri => value.starts_with("qemu") && value.contains("://") && is_name(value),
        Shape::Initdata => is_initdata(value),
        Shape::ImageSource => ImageSource::parse(value).is_ok(),
    };
    if fine { Ok(()) } else { Err(expected(shape)) }
}

/// What a value of that shape looks like, a phrase.
pub fn expected(shape: Shape) -> String {
    match shape {
        Shape::Text => "a value without blanks around it".to_owned(),
        Shape::Lines => "lines of text".to_owned(),
        Shape::Flag => "\"true\" or \"false\"".to_owned(),
        Shape::YesNo => "\"yes\" or \"no\"".to_owned(),
        Shape::Port => "a port, 1 to 65535".to_owned(),
        Shape::Number(least) => format!("a whole number of at least {least}"),
        Shape::Duration => "a duration such as 5m or 90s".to_owned(),
        Shape::Tags => "key=value pairs separated by commas".to_owned(),
        Shape::List => "names separated by commas, without blanks".to_owned(),
        Shape::Identifier(prefix) => format!("one {prefix}..."),
        Shape::Identifiers(prefix) => format!("{prefix}..., several separated by commas, without blanks"),
        Shape::AzureResource(path) => format!("a whole resource identifier, /subscriptions/...{path}..."),
        Shape::OneOf(allowed) => format!("one of {}", allowed.join(", ")),
        Shape::Networks => "networks such as 10.0.0.0/16, separated by commas".to_owned(),
        Shape::Path => "an absolute path without ..".to_owned(),
        Shape::Json => "a JSON object".to_owned(),
        Shape::LibvirtUri => "a libvirt URI such as qemu+ssh://root@192.168.122.1/system".to_owned(),
        Shape::Initdata => "initdata, gzip and base64".to_owned(),
        Shape::ImageSource => {
            "oci::registry/image[:tag][::path], bootc::registry/image[:tag] or file::/path".to_owned()
        }
    }
}

fn parts(value: &str) -> impl Iterator<Item = &str> {
    value.split(',')
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == ',')
}

/// Digits and perhaps a minus: no `+5`, no `05`.
fn plain_number(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Units of Go's durations, and how many seconds each is.
const UNITS: [(&str, f64); 6] =
    [("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// A duration as Go reads it, in seconds: numbers with units, one after the other.
pub fn seconds(value: &str) -> Option<f64> {
    let (mut rest, mut sum) = (value, 0.0);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        let (unit, length) = UNITS.iter().find(|(unit, _)| {
            after
                .strip_prefix(unit)
                .is_some_and(|next| next.is_empty() || next.starts_with(|c: char| c.is_ascii_digit()))
        })?;
        sum += digits.parse::<f64>().ok()? * length;
        rest = &after[unit.len()..];
    }
    (!value.is_empty()).then_some(sum)
}

fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let most = match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= most)
}

/// What the header of gzip looks like in base64: 1f 8b, and 08 for the one method of compression that there is. What is
/// inside is for the pod VM to judge.
const GZIP: &str = "H4sI";

fn is_initdata(value: &str) -> bool {
    let digits = value.trim_end_matches('=');
    let padding = value.len() - digits.len();
    value.starts_with(GZIP) && digits.len() % 4 != 1 && padding <= 2 && digits.bytes().all(is_base64)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Shape::Text, &["eu-west-1"], &["", " ", "a "])]
    #[case(Shape::Flag, &["true", "false"], &["yes", "True", ""])]
    #[case(Shape::YesNo, &["yes", "no"], &["true", "Yes", ""])]
    #[case(Shape::Port, &["1", "9000", "65535"], &["0", "65536", "-1", "9000 ", "+9", "09", "udp"])]
    #[case(Shape::Number(6), &["6", "30"], &["5", "6GB", "6.5", "", "007"])]
    #[case(Shape::Number(-1), &["-1", "0", "10"], &["-2", "ten"])]
    #[case(Shape::Duration, &["5m", "90s", "1h30m", "1.5h", "500ms"], &["5", "5 m", "m", "five minutes", "", "5m3"])]
    #[case(Shape::Tags, &["key1=value1,key2=value2", "a="], &["key1", "a=b,", "=b", "a b=c", "key1:value1"])]
    #[case(Shape::List, &["t2.small,t2.medium", "one"], &["t2.small, t2.medium", "", "a,,b"])]
    #[case(Shape::Lines, &["a\nb\n"], &["", " \n"])]
    #[case(Shape::Identifier("vpc-"), &["vpc-1"], &["vpc-", "vpc-1,vpc-2", "subnet-1", "vpc-1 "])]
    #[case(Shape::Identifiers("sg-"), &["sg-1", "sg-1,sg-2"], &["sg-", "vpc-1", "sg-1 sg-2", "sg-1,vpc-2"])]
    #[case(
        Shape::AzureResource("/subnets/"),
        &["/subscriptions/1/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/worker"],
        &["worker", "/subscriptions/1/resourceGroups/g", "/subnets/worker"]
    )]
    #[case(Shape::OneOf(&["TDX", "SEV"]), &["TDX"], &["tdx", ""])]
    #[case(Shape::Networks, &["10.0.0.0/16", "10.0.0.0/16,fd00::/64"], &["10.0.0.0", "10.0.0.0/33", "pods/16", ""])]
    #[case(Shape::Path, &["/run/peerpod"], &["run", "/run/../etc", "", "/token\n"])]
    #[case(Shape::Json, &["{\"type\": \"service_account\"}"], &["[]", "{", ""])]
    #[case(Shape::LibvirtUri, &["qemu+ssh://root@192.168.122.1/system?no_verify=1", "qemu:///system"], &["192.168.122.1", "ssh://h", ""])]
    #[case(Shape::Initdata, &["H4sIAAAA+/="], &["", "not base64!", "dmVyc2lvbiA9IDEK", "H4sIA", "H4sI===="])]
    fn values_are_told_apart(#[case] shape: Shape, #[case] fine: &[&str], #[case] wrong: &[&str]) {
        for value in fine {
            assert_eq!(check(shape, value), Ok(()), "{value:?}");
        }
        for value in wrong {
            assert!(check(shape, value).is_err(), "{value:?}");
        }
    }

    #[rstest]
    #[case("oci::quay.io/org/podvm:1.12")]
    #[case("oci::quay.io:5000/org/podvm::/disk.qcow2")]
    #[case("bootc::quay.io/org/podvm-bootc")]
    #[case("quay.io/user/podvm-bootc:latest")]
    #[case("oci::[fd00::1]:5000/org/podvm:1.12::/disk.qcow2")]
    #[case("file::/disks/podvm.qcow2")]
    fn image_sources_are_read(#[case] text: &str) {
        assert_eq!(check(Shape::ImageSource, text), Ok(()));
    }

    #[rstest]
    #[case("")]
    #[case("oci::")]
    #[case("oci::quay.io/org/podvm::disk.qcow2")]
    #[case("oci::quay.io/org/podvm::/a::/b")]
    #[case("docker::quay.io/org/podvm")]
    #[case("oci::quay.io/org/pod vm")]
    #[case("oci::quay.io/org/podvm@sha256:abc")]
    #[case("file::podvm.qcow2")]
    #[case("oci::[fd00::g]:5000/podvm")]
    fn what_is_no_image_source_is_refused(#[case] text: &str) {
        assert!(check(Shape::ImageSource, text).is_err(), "{text:?}");
    }
}
