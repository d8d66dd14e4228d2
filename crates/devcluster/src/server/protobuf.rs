//! Protobuf bodies of the few kinds that `kubectl` and client-go send in no other form.
//!
//! `kubectl create namespace`, `kubectl auth can-i`, `kubectl drain` and others use typed clients, which write
//! protobuf and read JSON. This server never answers in protobuf; it reads the kinds of the table below. A kind, or
//! a field, that is not in the table is refused with 415: nothing is dropped in silence. The numbers are those of the
//! wire format that the Kubernetes API publishes.

use base64::Engine as _;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::status::ApiError;

/// Media type of these bodies.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";

/// One message a line: its name, then `number name type`. Types: `string`, `bytes`, `int` and `bool` (always
/// written, so that zero means absent), `int?` and `bool?` (only written when set), `time`, `microtime`,
/// `intOrString`, a message; `[]` before a type repeats it, `{}` makes it the value of a map.
const MESSAGES: &str = "
ObjectMeta: 1 name string, 2 generateName string, 3 namespace string, 4 selfLink string, 5 uid string, 6 resourceVersion string, 7 generation int, 8 creationTimestamp time, 9 deletionTimestamp time, 10 deletionGracePeriodSeconds int?, 11 labels {}string, 12 annotations {}string, 13 ownerReferences []OwnerReference, 14 finalizers []string
OwnerReference: 1 kind string, 3 name string, 4 uid string, 5 apiVersion string, 6 controller bool?, 7 blockOwnerDeletion bool?
DeleteOptions: 1 gracePeriodSeconds int?, 2 preconditions Preconditions, 3 orphanDependents bool?, 4 propagationPolicy string, 5 dryRun []string
Preconditions: 1 uid string, 2 resourceVersion string
LabelSelector: 1 matchLabels {}string, 2 matchExpressions []Requirement
Requirement: 1 key string, 2 operator string, 3 values []string
Name: 1 name string
Namespace: 1 metadata ObjectMeta, 2 spec NamespaceSpec, 3 status NamespaceStatus
NamespaceSpec: 1 finalizers []string
NamespaceStatus: 1 phase string
ConfigMap: 1 metadata ObjectMeta, 2 data {}string, 3 binaryData {}bytes, 4 immutable bool?
Secret: 1 metadata ObjectMeta, 2 data {}bytes, 3 type string, 4 stringData {}string, 5 immutable bool?
ServiceAccount: 1 metadata ObjectMeta, 2 secrets []ObjectReference, 3 imagePullSecrets []Name, 4 automountServiceAccountToken bool?
ObjectReference: 1 kind string, 2 namespace string, 3 name string, 4 uid string, 5 apiVersion string, 6 resourceVersion string, 7 fieldPath string
Binding: 1 metadata ObjectMeta, 2 target ObjectReference
Eviction: 1 metadata ObjectMeta, 2 deleteOptions DeleteOptions
SelfSubjectAccessReview: 1 metadata ObjectMeta, 2 spec AccessSpec, 3 status AccessStatus
AccessSpec: 1 resourceAttributes ResourceAttributes, 2 nonResourceAttributes PathAttributes
ResourceAttributes: 1 namespace string, 2 verb string, 3 group string, 4 version string, 5 resource string, 6 subresource string, 7 name string
PathAttributes: 1 path string, 2 verb string
AccessStatus: 1 allowed bool, 2 reason string, 3 evaluationError string, 4 denied bool
SelfSubjectRulesReview: 1 metadata ObjectMeta, 2 spec RulesSpec, 3 status RulesStatus
RulesSpec: 1 namespace string
RulesStatus: 3 incomplete bool, 4 evaluationError string
Role: 1 metadata ObjectMeta, 2 rules []PolicyRule
ClusterRole: 1 metadata ObjectMeta, 2 rules []PolicyRule, 3 aggregationRule AggregationRule
PolicyRule: 1 verbs []string, 2 apiGroups []string, 3 resources []string, 4 resourceNames []string, 5 nonResourceURLs []string
AggregationRule: 1 clusterRoleSelectors []LabelSelector
RoleBinding: 1 metadata ObjectMeta, 2 subjects []Subject, 3 roleRef RoleRef
ClusterRoleBinding: 1 metadata ObjectMeta, 2 subjects []Subject, 3 roleRef RoleRef
Subject: 1 kind string, 2 apiGroup string, 3 name string, 4 namespace string
RoleRef: 1 apiGroup string, 2 kind string, 3 name string
PodDisruptionBudget: 1 metadata ObjectMeta, 2 spec BudgetSpec, 3 status BudgetStatus
BudgetSpec: 1 minAvailable intOrString, 2 selector LabelSelector, 3 maxUnavailable intOrString, 4 unhealthyPodEvictionPolicy string
BudgetStatus: 1 observedGeneration int, 3 disruptionsAllowed int, 4 currentHealthy int, 5 desiredHealthy int, 6 expectedPods int
PriorityClass: 1 metadata ObjectMeta, 2 value int, 3 globalDefault bool, 4 description string, 5 preemptionPolicy string
Lease: 1 metadata ObjectMeta, 2 spec LeaseSpec
LeaseSpec: 1 holderIdentity string, 2 leaseDurationSeconds int?, 3 acquireTime microtime, 4 renewTime microtime, 5 leaseTransitions int?
Service: 1 metadata ObjectMeta, 2 spec ServiceSpec, 3 status ServiceStatus
ServiceSpec: 1 ports []ServicePort, 2 selector {}string, 3 clusterIP string, 4 type string, 5 externalIPs []string, 7 sessionAffinity string, 8 loadBalancerIP string, 10 externalName string, 11 externalTrafficPolicy string, 12 healthCheckNodePort int, 13 publishNotReadyAddresses bool
ServicePort: 1 name string, 2 protocol string, 3 port int, 4 targetPort intOrString, 5 nodePort int, 6 appProtocol string
ServiceStatus: 1 loadBalancer LoadBalancer
LoadBalancer: 1 ingress []Ingress
Ingress: 1 ip string, 2 hostname string
Deployment: 1 metadata ObjectMeta, 2 spec DeploymentSpec, 3 status DeploymentStatus
DeploymentSpec: 1 replicas int?, 2 selector LabelSelector, 3 template PodTemplate, 4 strategy Strategy, 5 minReadySeconds int, 6 revisionHistoryLimit int?, 7 paused bool, 9 progressDeadlineSeconds int?
DeploymentStatus: 1 observedGeneration int, 2 replicas int, 3 updatedReplicas int, 4 availableReplicas int, 5 unavailableReplicas int, 7 readyReplicas int
Strategy: 1 type string, 2 rollingUpdate RollingUpdate
RollingUpdate: 1 maxUnavailable intOrString, 2 maxSurge intOrString
Job: 1 metadata ObjectMeta, 2 spec JobSpec, 3 status JobStatus
JobSpec: 1 parallelism int?, 2 completions int?, 3 activeDeadlineSeconds int?, 4 selector LabelSelector, 5 manualSelector bool?, 6 template PodTemplate, 7 backoffLimit int?, 8 ttlSecondsAfterFinished int?, 9 completionMode string, 10 suspend bool?
JobStatus: 4 active int, 5 succeeded int, 6 failed int, 7 completedIndexes string, 9 ready int?, 10 failedIndexes string, 11 terminating int?
PodTemplate: 1 metadata ObjectMeta, 2 spec PodSpec
PodSpec: 2 containers []Container, 3 restartPolicy string, 4 terminationGracePeriodSeconds int?, 5 activeDeadlineSeconds int?, 6 dnsPolicy string, 7 nodeSelector {}string, 8 serviceAccountName string, 9 serviceAccount string, 10 nodeName string, 11 hostNetwork bool, 12 hostPID bool, 13 hostIPC bool, 15 imagePullSecrets []Name, 16 hostname string, 17 subdomain string, 19 schedulerName string, 20 initContainers []Container, 24 priorityClassName string, 29 runtimeClassName string
Container: 1 name string, 2 image string, 3 command []string, 4 args []string, 5 workingDir string, 6 ports []ContainerPort, 7 env []EnvVar, 8 resources Resources, 13 terminationMessagePath string, 14 imagePullPolicy string, 16 stdin bool, 17 stdinOnce bool, 18 tty bool, 20 terminationMessagePolicy string
ContainerPort: 1 name string, 2 hostPort int, 3 containerPort int, 4 protocol string, 5 hostIP string
EnvVar: 1 name string, 2 value string
Resources: 1 limits {}Quantity, 2 requests {}Quantity
Quantity: 1 string string
";

/// Reads a body: the envelope, then the object in it.
pub fn decode(bytes: &[u8]) -> Result<Value, ApiError> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or_else(malformed)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Fields(envelope) {
        match field? {
            (1, Wire::Bytes(meta)) => {
                for field in Fields(meta) {
                    match field? {
                        (1, Wire::Bytes(value)) => api_version = text(value)?,
                        (2, Wire::Bytes(value)) => kind = text(value)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(value)) => raw = value,
            _ => {}
        }
    }
    let mut object = message(&kind, raw).map_err(|problem| problem.explain(&api_version, &kind))?;
    object.insert("apiVersion".to_owned(), json!(api_version));
    object.insert("kind".to_owned(), json!(kind));
    Ok(Value::Object(object))
}

fn malformed() -> ApiError {
    ApiError::bad_request("the protobuf body is malformed")
}

fn text(bytes: &[u8]) -> Result<String, ApiError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| malformed())
}

/// Why a message cannot be read.
enum Problem {
    Malformed(ApiError),
    /// The message itself is not in the table.
    Message,
    /// A field of a message is not in the table.
    Field(String, u64),
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self::Malformed(error)
    }
}

impl Problem {
    fn explain(self, api_version: &str, kind: &str) -> ApiError {
        let what = match self {
            Self::Malformed(error) => return error,
            Self::Message => String::new(),
            Self::Field(message, number) => format!(" with field {number} of {message}"),
        };
        let message = format!(
            "this server does not read {api_version} {kind}{what} in protobuf: send it as application/json or application/yaml"
        );
        ApiError::new(415, "UnsupportedMediaType", message)
    }
}

/// A value as it is on the wire.
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of one message, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn field(&mut self) -> Option<(u64, Wire<'a>)> {
        let tag = self.number()?;
        let wire = match tag & 7 {
            0 => Wire::Number(self.number()?),
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                let (value, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Wire::Bytes(value)
            }
            // No kind in the table has fixed-width numbers.
            _ => return None,
        };
        Some((tag >> 3, wire))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), ApiError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(malformed))
    }
}

/// Name and type of a field, or which of message and field is unknown.
fn field_of(name: &str, number: u64) -> Result<(&'static str, &'static str), Problem> {
    let head = |line: &&'static str| line.split_once(": ").is_some_and(|(head, _)| head == name);
    let line = MESSAGES.lines().find(head).ok_or(Problem::Message)?;
    let fields = line.split_once(": ").map_or("", |(_, fields)| fields);
    fields
        .split(", ")
        .filter_map(|field| {
            let mut words = field.split(' ');
            Some((words.next()?.parse::<u64>().ok()?, (words.next()?, words.next()?)))
        })
        .find_map(|(found, field)| (found == number).then_some(field))
        .ok_or_else(|| Problem::Field(name.to_owned(), number))
}

fn message(name: &str, bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    // An unknown message is unknown even when it is empty.
    if let Err(Problem::Message) = field_of(name, 0) {
        return Err(Problem::Message);
    }
    let mut object = Map::new();
    for field in Fields(bytes) {
        let (number, wire) = field?;
        let (field, kind) = field_of(name, number)?;
        if let Some(item) = kind.strip_prefix("[]") {
            // Items stay even when they are empty: their position counts.
            let item = value(item, &wire)?.unwrap_or_else(|| empty(item));
            match object.entry(field).or_insert_with(|| json!([])) {
                Value::Array(items) => items.push(item),
                _ => return Err(malformed().into()),
            }
        } else if let Some(item) = kind.strip_prefix("{}") {
            let (key, item) = entry(item, &wire)?;
            object.entry(field).or_insert_with(|| json!({}))[key] = item;
        } else if let Some(value) = value(kind, &wire)? {
            object.insert(field.to_owned(), value);
        }
    }
    Ok(object)
}

fn empty(kind: &str) -> Value {
    if matches!(kind, "string" | "bytes" | "Quantity") { json!("") } else { json!({}) }
}

fn entry(kind: &str, wire: &Wire<'_>) -> Result<(String, Value), Problem> {
    let Wire::Bytes(bytes) = wire else { return Err(malformed().into()) };
    let (mut key, mut item) = (String::new(), None);
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Bytes(name)) => key = text(name)?,
            (2, wire) => item = value(kind, &wire)?,
            _ => return Err(malformed().into()),
        }
    }
    Ok((key, item.unwrap_or_else(|| empty(kind))))
}

/// The JSON of one value; none if it means that the field is absent.
fn value(kind: &str, wire: &Wire<'_>) -> Result<Option<Value>, Problem> {
    let value = match (kind, wire) {
        ("int" | "bool", Wire::Number(0)) | ("string", Wire::Bytes([])) => return Ok(None),
        ("int" | "int?", Wire::Number(number)) => json!(number.cast_signed()),
        ("bool" | "bool?", Wire::Number(number)) => json!(*number != 0),
        ("string", Wire::Bytes(bytes)) => json!(text(bytes)?),
        ("bytes", Wire::Bytes(bytes)) => json!(base64::engine::general_purpose::STANDARD.encode(bytes)),
        ("time" | "microtime", Wire::Bytes(bytes)) => return time(kind, bytes),
        ("intOrString", Wire::Bytes(bytes)) => int_or_string(bytes)?,
        ("Quantity", Wire::Bytes(bytes)) => {
            message("Quantity", bytes)?.remove("string").unwrap_or_else(|| json!("0"))
        }
        (name, Wire::Bytes(bytes)) => {
            let object = message(name, bytes)?;
            // Structs are always written; only an empty selector says something.
            if object.is_empty() && name != "LabelSelector" {
                return Ok(None);
            }
            Value::Object(object)
        }
        _ => return Err(malformed().into()),
    };
    Ok(Some(value))
}

/// Seconds and nanoseconds; an empty message is no time at all.
fn time(kind: &str, bytes: &[u8]) -> Result<Option<Value>, Problem> {
    let (mut seconds, mut nanoseconds) = (None, 0);
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Number(number)) => seconds = Some(number.cast_signed()),
            (2, Wire::Number(number)) => nanoseconds = i32::try_from(number).unwrap_or(0),
            _ => return Err(malformed().into()),
        }
    }
    let Some(seconds) = seconds else { return Ok(None) };
    let time = Timestamp::new(seconds, nanoseconds).map_err(|_| malformed())?;
    let format = if kind == "microtime" { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(Some(json!(time.strftime(format).to_string())))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, Problem> {
    let (mut is_text, mut number, mut string) = (false, 0, String::new());
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Number(kind)) => is_text = kind == 1,
            (2, Wire::Number(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(value)) => string = text(value)?,
            _ => return Err(malformed().into()),
        }
    }
    Ok(if is_text { json!(string) } else { json!(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field with a length.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        bytes.extend(content);
        bytes
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &meta), field(2, raw)].concat()
    }

    #[test]
    fn a_config_map_is_read() {
        // What client-go writes: empty strings, zero times and all.
        let metadata = [field(1, b"foo"), field(2, b""), field(8, b""), vec![7 << 3, 0]].concat();
        let data = [field(1, b"a"), field(2, b"b")].concat();
        let raw = [field(1, &metadata), field(2, &data)].concat();
        let wanted = json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "foo" }, "data": { "a": "b" } });
        assert_eq!(decode(&body("v1", "ConfigMap", &raw)).unwrap(), wanted);
    }

    #[test]
    fn what_is_not_in_the_table_is_refused() {
        let unknown = decode(&body("apps/v1", "DaemonSet", b"")).unwrap_err();
        assert_eq!(unknown.code, 415);
        assert!(
            unknown.message.contains("does not read apps/v1 DaemonSet in protobuf"),
            "{}",
            unknown.message
        );
        let field_99 = decode(&body("v1", "ConfigMap", &field(15, b"x"))).unwrap_err();
        assert!(field_99.message.contains("with field 15 of ConfigMap"), "{}", field_99.message);
    }

    #[test]
    fn broken_bytes_are_a_bad_request() {
        for bytes in [&b"nope"[..], b"k8s\0\x0a\xff", b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert_eq!(decode(bytes).unwrap_err().code, 400);
        }
    }

    #[test]
    fn every_type_in_the_table_is_known() {
        let basic = ["string", "bytes", "int", "bool", "int?", "bool?", "time", "microtime", "intOrString"];
        for line in MESSAGES.lines().filter(|line| !line.is_empty()) {
            let (_, fields) = line.split_once(": ").unwrap();
            for field in fields.split(", ") {
                let kind =
                    field.rsplit(' ').next().unwrap().trim_start_matches("[]").trim_start_matches("{}");
                let known = basic.contains(&kind) || MESSAGES.contains(&format!("\n{kind}: "));
                assert!(known, "{field}");
            }
        }
    }
}
