//! One signed request, and again while AWS asks for patience.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use backon::{BlockingRetryable, ExponentialBuilder};
use http::{HeaderMap, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::credentials::{Login, Source};
use super::error::{Error, Refusal, Result};
use super::{sts, xml};
use crate::SettingError;
use crate::http_client::{self, Redirects};

/// The longest answer that is read: a page of instances has far less.
const LONGEST_ANSWER: u64 = 64 << 20;
/// Not escaped in addresses, as signatures want it.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const IN_PATHS: &AsciiSet = &UNRESERVED.remove(b'/');

/// A service of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Machines and images.
    Ec2,
    /// Objects.
    S3,
    /// Roles.
    Sts,
}

impl Service {
    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Ec2 => "EC2",
            Self::S3 => "S3",
            Self::Sts => "STS",
        }
    }

    /// In signatures and names of hosts.
    fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::S3 => "s3",
            Self::Sts => "sts",
        }
    }

    fn endpoint_key(self) -> &'static str {
        match self {
            Self::Ec2 => "AWS_ENDPOINT_URL_EC2",
            Self::S3 => "AWS_ENDPOINT_URL_S3",
            Self::Sts => "AWS_ENDPOINT_URL_STS",
        }
    }
}

/// What is asked for.
pub(super) struct Call<'a> {
    pub service: Service,
    /// Its name, as permissions have it.
    pub action: &'a str,
    pub method: Method,
    /// Bucket and key, unescaped.
    pub bucket: Option<&'a str>,
    pub key: &'a str,
    pub query: Vec<(&'a str, String)>,
    pub headers: Vec<(&'static str, String)>,
    pub body: &'a [u8],
}

/// What came back.
pub(super) struct Reply {
    pub headers: HeaderMap,
    pub body: String,
}

/// A client for one region with one login.
#[derive(Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    source: Source,
    pub region: String,
    endpoints: BTreeMap<&'static str, String>,
    patience: ExponentialBuilder,
}

impl Client {
    /// From the keys of `peer-pods-cm` and `peer-pods-secret`, and the endpoints of the environment.
    pub fn new(settings: &BTreeMap<String, String>) -> Result<Self> {
        let get = |key: &str| settings.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
        let region = get("AWS_REGION").ok_or_else(|| {
            let todo =
                "set it in config map peer-pods-cm to the region of the cluster, for instance eu-west-1";
            SettingError::new("AWS_REGION", "not set", todo)
        })?;
        if !region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
            let found = format!("{region:?} is no region");
            return Err(SettingError::new("AWS_REGION", found, "a region looks like eu-west-1").into());
        }
        let mut endpoints = BTreeMap::new();
        for service in [Service::Ec2, Service::S3, Service::Sts] {
            let Some((key, value)) = [service.endpoint_key(), "AWS_ENDPOINT_URL"]
                .into_iter()
                .find_map(|key| get(key).map(|value| (key, value)))
            else {
                continue;
            };
            if !value.starts_with("https://") && !value.starts_with("http://") {
                let todo = "an endpoint looks like https://vpce-1.ec2.eu-west-1.vpce.amazonaws.com";
                return Err(SettingError::new(key, format!("{value:?} is no address"), todo).into());
            }
            endpoints.insert(service.name(), value.trim_end_matches('/').to_owned());
        }
        Ok(Self {
            agent: http_client::agent(Redirects::Shown),
            source: Source::new(Login::from_settings(settings)?),
            region: region.to_owned(),
            endpoints,
            patience: patience(),
        })
    }

    /// Gives up after a second attempt.
    pub fn impatient(mut self) -> Self {
        self.patience = self.patience.with_max_times(1);
        self
    }

    /// Asks, and asks again while there is hope.
    pub fn call(&self, call: &Call<'_>) -> Result<Reply> {
        let attempt = || {
            let result = self.once(call);
            // Keys that end while they are used are renewed at once.
            match result {
                Err(error) if error.is_expired() && self.source.forget() => self.once(call),
                result => result,
            }
        };
        attempt
            .retry(self.patience)
            .when(Error::is_passing)
            .notify(|error, pause| tracing::warn!(%error, ?pause, action = call.action, "AWS is asked again"))
            .call()
    }

    fn once(&self, call: &Call<'_>) -> Result<Reply> {
        let now = SystemTime::now();
        let keys = if call.service == Service::Sts {
            None
        } else {
            Some(self.source.keys(now, |role, token| sts::assume(self, role, token))?)
        };
        let request = self.request(call, keys.as_ref(), now)?;
        let address = self.base(call).0;
        let unreachable = |why: String| Error::Unreachable {
            service: call.service.title(),
            address: address.clone(),
            action: call.action.to_owned(),
            why,
        };
        let bodiless = [Method::GET, Method::HEAD, Method::DELETE].contains(&call.method);
        let sent = if bodiless { self.agent.run(request.map(|_| ())) } else { self.agent.run(request) };
        let mut response = sent.map_err(|error| unreachable(error.to_string()))?;
        let body = match call.method {
            Method::HEAD => Vec::new(),
            _ => response
                .body_mut()
                .with_config()
                .limit(LONGEST_ANSWER)
                .read_to_vec()
                .map_err(|error| unreachable(error.to_string()))?,
        };
        let body = String::from_utf8_lossy(&body).into_owned();
        let status = response.status();
        // S3 may say 200 first and find out later.
        if status.is_success() && !(call.service == Service::S3 && xml::is_error(&body)) {
            return Ok(Reply { headers: response.headers().clone(), body });
        }
        let (code, message) = xml::error(&body).unwrap_or_else(|| match status.as_u16() {
            404 => ("NotFound".to_owned(), String::new()),
            403 => ("AccessDenied".to_owned(), String::new()),
            301 | 307 => ("PermanentRedirect".to_owned(), String::new()),
            other => (format!("status {other}"), String::new()),
        });
        let refusal = Refusal::new(call.service.title(), call.action, status.as_u16(), &code, &message);
        Err(Error::Refused(Box::new(refusal)))
    }

    /// The address without and with the bucket. Named endpoints get it in the path, AWS in the host.
    fn base(&self, call: &Call<'_>) -> (String, String) {
        let name = call.service.name();
        if let Some(endpoint) = self.endpoints.get(name) {
            let path = call.bucket.map(|bucket| format!("/{bucket}")).unwrap_or_default();
            return (endpoint.clone(), format!("{endpoint}{path}"));
        }
        let suffix = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let host = format!("{name}.{}.{suffix}", self.region);
        let whole = match call.bucket {
            // A dot in the name does not fit the certificate.
            Some(bucket) if bucket.contains('.') => format!("https://{host}/{bucket}"),
            Some(bucket) => format!("https://{bucket}.{host}"),
            None => format!("https://{host}"),
        };
        (format!("https://{host}"), whole)
    }

    fn request<'a>(
        &self,
        call: &Call<'a>,
        keys: Option<&Credentials>,
        now: SystemTime,
    ) -> Result<http::Request<&'a [u8]>> {
        let wrong = |why: String| Error::Answer {
            service: call.service.title(),
            action: call.action.to_owned(),
            why: format!("the request cannot be made: {why}"),
        };
        let query: Vec<String> = call
            .query
            .iter()
            .map(|(key, value)| format!("{key}={}", utf8_percent_encode(value, UNRESERVED)))
            .collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let key = utf8_percent_encode(call.key, IN_PATHS);
        let uri = format!("{}/{key}{mark}{}", self.base(call).1, query.join("&"));
        let mut request = http::Request::builder().method(call.method.clone()).uri(&uri);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let mut request = request.body(call.body).map_err(|error| wrong(error.to_string()))?;
        let Some(keys) = keys else { return Ok(request) };
        let mut settings = SigningSettings::default();
        if call.service == Service::S3 {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let identity = keys.clone().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(call.service.name())
            .time(now)
            .settings(settings)
            .build()
            .map_err(|error| wrong(error.to_string()))?
            .into();
        let headers = call.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let signable =
            SignableRequest::new(call.method.as_str(), &uri, headers, SignableBody::Bytes(call.body))
                .map_err(|error| wrong(error.to_string()))?;
        let (instructions, _) =
            sign(signable, &params).map_err(|error| wrong(error.to_string()))?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }

    /// One action of EC2 or STS.
    pub fn query(&self, service: Service, action: &str, params: &Params) -> Result<String> {
        let version = if service == Service::Sts { "2011-06-15" } else { "2016-11-15" };
        let body = params.encode(action, version);
        let headers = vec![("content-type", "application/x-www-form-urlencoded; charset=utf-8".to_owned())];
        let call = Call {
            service,
            action,
            method: Method::POST,
            bucket: None,
            key: "",
            query: Vec::new(),
            headers,
            body: body.as_bytes(),
        };
        Ok(self.call(&call)?.body)
    }
}

/// Seven attempts in about half a minute.
fn patience() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(400))
        .with_max_delay(Duration::from_secs(12))
        .with_max_times(6)
        .with_jitter()
}

/// Parameters of an action.
#[derive(Clone, Debug, Default)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    filters: usize,
    tagged: usize,
}

impl Params {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One value.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.pairs.push((key.into(), value.into()));
        self
    }

    /// One value, if there is one.
    pub fn maybe(self, key: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// `Key.1`, `Key.2`, ...
    pub fn list<T: Into<String>>(self, key: &str, values: impl IntoIterator<Item = T>) -> Self {
        values
            .into_iter()
            .enumerate()
            .fold(self, |params, (index, value)| params.with(format!("{key}.{}", index + 1), value))
    }

    /// Only what has one of these values.
    pub fn filter<T: Into<String>>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        self.filters += 1;
        let filter = format!("Filter.{}", self.filters);
        self.with(format!("{filter}.Name"), name).list(&format!("{filter}.Value"), values)
    }

    /// Only what has all these tags.
    pub fn tagged(self, tags: &BTreeMap<String, String>) -> Self {
        tags.iter().fold(self, |params, (key, value)| params.filter(&format!("tag:{key}"), [value.as_str()]))
    }

    /// Tags for what is made.
    pub fn tags(mut self, resource: &str, tags: &BTreeMap<String, String>) -> Self {
        if tags.is_empty() {
            return self;
        }
        self.tagged += 1;
        let specification = format!("TagSpecification.{}", self.tagged);
        let params = self.with(format!("{specification}.ResourceType"), resource);
        tags.iter().enumerate().fold(params, |params, (index, (key, value))| {
            let tag = format!("{specification}.Tag.{}", index + 1);
            params.with(format!("{tag}.Key"), key).with(format!("{tag}.Value"), value)
        })
    }

    fn encode(&self, action: &str, version: &str) -> String {
        let head = [("Action", action), ("Version", version)];
        let rest = self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let escape = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string().replace("%20", "+");
        let pairs =
            head.into_iter().chain(rest).map(|(key, value)| format!("{}={}", escape(key), escape(value)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn client(pairs: &[(&str, &str)]) -> Client {
        let keys = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret")];
        let all = pairs.iter().chain(&keys).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Client::new(&all.collect()).unwrap()
    }

    fn call(service: Service, bucket: Option<&str>) -> Call<'_> {
        Call {
            service,
            action: "Test",
            method: Method::GET,
            bucket,
            key: "a b/c",
            query: vec![("list-type", "2".to_owned()), ("prefix", "a/b".to_owned())],
            headers: Vec::new(),
            body: b"",
        }
    }

    #[rstest]
    #[case(&[("AWS_REGION", "eu-west-1")], Some("disks"), "https://disks.s3.eu-west-1.amazonaws.com/a%20b/c?list-type=2&prefix=a%2Fb")]
    #[case(&[("AWS_REGION", "eu-west-1")], Some("my.disks"), "https://s3.eu-west-1.amazonaws.com/my.disks/a%20b/c?list-type=2&prefix=a%2Fb")]
    #[case(&[("AWS_REGION", "cn-north-1")], Some("disks"), "https://disks.s3.cn-north-1.amazonaws.com.cn/a%20b/c?list-type=2&prefix=a%2Fb")]
    #[case(
        &[("AWS_REGION", "eu-west-1"), ("AWS_ENDPOINT_URL", "http://[::1]:5000/"), ("AWS_ENDPOINT_URL_EC2", "http://ec2")],
        Some("disks"),
        "http://[::1]:5000/disks/a%20b/c?list-type=2&prefix=a%2Fb"
    )]
    fn addresses_of_buckets(
        #[case] pairs: &[(&str, &str)],
        #[case] bucket: Option<&str>,
        #[case] expected: &str,
    ) {
        let request =
            client(pairs).request(&call(Service::S3, bucket), None, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(request.uri().to_string(), expected);
    }

    #[test]
    fn requests_are_signed_for_their_service_and_region() {
        let client = client(&[("AWS_REGION", "eu-west-1")]);
        let keys = Credentials::new("AKIDEXAMPLE", "secret", Some("session".to_owned()), None, "test");
        let request =
            client.request(&call(Service::S3, Some("disks")), Some(&keys), SystemTime::UNIX_EPOCH).unwrap();
        let header = |name: &str| request.headers()[name].to_str().unwrap();
        assert!(header("authorization").contains("AKIDEXAMPLE/19700101/eu-west-1/s3/aws4_request"));
        assert_eq!(header("x-amz-security-token"), "session");
        // Of nothing.
        assert!(header("x-amz-content-sha256").starts_with("e3b0c442"));
    }

    #[rstest]
    #[case(&[], "AWS_REGION: not set")]
    #[case(&[("AWS_REGION", "eu-west-1/..")], "is no region")]
    #[case(&[("AWS_REGION", "a-1"), ("AWS_ENDPOINT_URL_S3", "minio:9000")], "AWS_ENDPOINT_URL_S3: \"minio:9000\" is no address")]
    fn settings_are_checked(#[case] pairs: &[(&str, &str)], #[case] words: &str) {
        let settings = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let error = Client::new(&settings).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn parameters_are_numbered() {
        let tags = BTreeMap::from([("a b".to_owned(), "1&2".to_owned())]);
        let params = Params::new()
            .list("ImageId", ["x", "y"])
            .tagged(&tags)
            .filter("name", ["n"])
            .tags("image", &tags);
        assert_eq!(
            params.encode("Do", "1"),
            "Action=Do&Version=1&ImageId.1=x&ImageId.2=y&Filter.1.Name=tag%3Aa+b&Filter.1.Value.1=1%262\
             &Filter.2.Name=name&Filter.2.Value.1=n&TagSpecification.1.ResourceType=image\
             &TagSpecification.1.Tag.1.Key=a+b&TagSpecification.1.Tag.1.Value=1%262"
        );
    }
}
