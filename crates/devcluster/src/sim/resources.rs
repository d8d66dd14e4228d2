//! What pods ask for and what nodes have: quantities, effective requests, and what is left.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The resource of which every pod takes one.
pub const PODS: &str = "pods";

/// Amounts by resource, in thousandths.
pub type Amounts = BTreeMap<String, i128>;

/// Reads `1`, `500m`, `1.5Gi`, `2e3` in thousandths, rounded up as the API does. Text that is no quantity counts as
/// nothing: the API server has refused it before.
pub fn milli(quantity: &Quantity) -> i128 {
    parse(quantity.0.trim()).unwrap_or(0)
}

fn parse(text: &str) -> Option<i128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (sign, number) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // Nine digits behind the point are as fine as the API keeps them.
    let fraction = &fraction[..fraction.len().min(9)];
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let (up, down) = factor(suffix)?;
    let product = digits.checked_mul(up)?.checked_mul(1000)?;
    let divisor = scale.checked_mul(down)?;
    Some(sign * (product / divisor + i128::from(product % divisor != 0)))
}

/// What a suffix multiplies with, and what it divides by.
fn factor(suffix: &str) -> Option<(i128, i128)> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    let power = |base: i128, list: &[&str]| {
        let at = list.iter().position(|known| *known == suffix)?;
        Some((base.pow(u32::try_from(at).ok()? + 1), 1))
    };
    match suffix {
        "" => Some((1, 1)),
        "m" => Some((1, 1_000)),
        "u" => Some((1, 1_000_000)),
        "n" => Some((1, 1_000_000_000)),
        _ => power(1024, &BINARY).or_else(|| power(1000, &DECIMAL)).or_else(|| exponent(suffix)),
    }
}

fn exponent(suffix: &str) -> Option<(i128, i128)> {
    let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let ten = 10_i128.checked_pow(power.unsigned_abs())?;
    Some(if power < 0 { (1, ten) } else { (ten, 1) })
}

/// Whether this is a resource that somebody other than Kubernetes named, as kubelet and scheduler tell it.
pub fn is_extended(resource: &str) -> bool {
    resource.contains('/') && !resource.contains("kubernetes.io/") && !resource.starts_with("requests.")
}

fn of_container(container: &Container) -> Amounts {
    let resources = container.resources.as_ref();
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    requests.into_iter().flatten().map(|(name, quantity)| (name.clone(), milli(quantity))).collect()
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_default() += amount;
    }
}

fn raise(highest: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let known = highest.entry(name.clone()).or_default();
        *known = (*known).max(*amount);
    }
}

/// What a pod takes of its node: the sum of its containers or its greediest init container, whichever is more, with
/// the sidecars that run beside either, and the overhead of its runtime class.
pub fn requests(spec: &PodSpec) -> Amounts {
    let mut sidecars = Amounts::new();
    let mut starting = Amounts::new();
    for container in spec.init_containers.iter().flatten() {
        let own = of_container(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut sidecars, &own);
            raise(&mut starting, &sidecars);
        } else {
            let mut with = own;
            add(&mut with, &sidecars);
            raise(&mut starting, &with);
        }
    }
    let mut running = sidecars;
    for container in &spec.containers {
        add(&mut running, &of_container(container));
    }
    raise(&mut running, &starting);
    for (name, quantity) in spec.overhead.iter().flatten() {
        *running.entry(name.clone()).or_default() += milli(quantity);
    }
    running.retain(|_, amount| *amount > 0);
    running
}

/// Whether a pod takes up room: one that has ended does not.
pub fn takes_room(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

/// What pods take together, themselves counted as [`PODS`].
pub fn taken<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Amounts {
    let mut sum = Amounts::new();
    for spec in pods.into_iter().filter(|pod| takes_room(pod)).filter_map(|pod| pod.spec.as_ref()) {
        add(&mut sum, &requests(spec));
        *sum.entry(PODS.to_owned()).or_default() += 1000;
    }
    sum
}

/// A resource of which a node has too little.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shortage {
    /// Which.
    pub resource: String,
    /// The node has too little of it even when it is empty.
    pub hopeless: bool,
}

impl Shortage {
    /// In the scheduler's words.
    pub fn message(&self) -> String {
        match self.resource.as_str() {
            PODS => "Too many pods".to_owned(),
            resource => format!("Insufficient {resource}"),
        }
    }
}

/// What a node has too little of for a pod that wants `wanted` where `taken` is gone already.
///
/// A node that says nothing of a resource that every node has (those made up for tests do not) has enough of it;
/// one that says nothing of an extended resource has none.
pub fn shortages(wanted: &Amounts, taken: &Amounts, node: &Node) -> Vec<Shortage> {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let room = |name: &str| allocatable.and_then(|known| known.get(name)).map(milli);
    let one = (PODS.to_owned(), 1000);
    let wanted = wanted.iter().map(|(name, amount)| (name, *amount)).chain([(&one.0, one.1)]);
    wanted
        .filter_map(|(name, amount)| {
            let room = match room(name) {
                Some(room) => room,
                None if is_extended(name) => 0,
                None => return None,
            };
            let gone = taken.get(name).copied().unwrap_or(0);
            let hopeless = amount > room;
            (amount > room - gone).then(|| Shortage { resource: name.clone(), hopeless })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case("1", 1000)]
    #[case("500m", 500)]
    #[case("0.1", 100)]
    #[case("1.5Gi", 1_610_612_736_000)]
    #[case("2e3", 2_000_000)]
    #[case("2E", 2_000_000_000_000_000_000_000)]
    #[case("3e-1", 300)]
    #[case("1n", 1)]
    #[case("-5", -5000)]
    #[case("64658564Ki", 66_210_369_536_000)]
    #[case("", 0)]
    #[case("many", 0)]
    #[case("1.2.3", 0)]
    fn quantities(#[case] text: &str, #[case] thousandths: i128) {
        assert_eq!(milli(&Quantity(text.to_owned())), thousandths);
    }

    #[rstest]
    #[case("kata.peerpods.io/vm", true)]
    #[case("nvidia.com/gpu", true)]
    #[case("cpu", false)]
    #[case("hugepages-2Mi", false)]
    #[case("requests.example.com/x", false)]
    #[case("node.kubernetes.io/x", false)]
    fn extended_resources(#[case] name: &str, #[case] extended: bool) {
        assert_eq!(is_extended(name), extended);
    }

    fn container(amount: &str, policy: Option<&str>) -> Value {
        json!({"name": "c", "restartPolicy": policy, "resources": {"requests": {"x.io/y": amount}}})
    }

    #[rstest]
    #[case::sum(json!({"containers": [container("1", None), container("2", None)]}), 3)]
    #[case::greedy_start(json!({"containers": [container("1", None)],
        "initContainers": [container("4", None), container("2", None)]}), 4)]
    #[case::modest_start(json!({"containers": [container("3", None)],
        "initContainers": [container("1", None)]}), 3)]
    #[case::sidecar(json!({"containers": [container("3", None)],
        "initContainers": [container("2", Some("Always")), container("1", None)]}), 5)]
    #[case::start_beside_sidecar(json!({"containers": [container("1", None)],
        "initContainers": [container("2", Some("Always")), container("4", None)]}), 6)]
    #[case::overhead(json!({"containers": [container("1", None)], "overhead": {"x.io/y": "2"}}), 3)]
    #[case::nothing(json!({"containers": [container("0", None)]}), 0)]
    fn effective_requests(#[case] spec: Value, #[case] wanted: i128) {
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(requests(&spec).get("x.io/y").copied().unwrap_or(0), wanted * 1000);
    }

    #[test]
    fn what_is_left_decides() {
        let node: Node = serde_json::from_value(json!({"metadata": {"name": "n"},
            "status": {"allocatable": {"x.io/y": "2", "pods": "3", "cpu": "1"}}}))
        .unwrap();
        let pod = |phase: &str| -> Pod {
            let value = json!({"metadata": {"name": "p"}, "spec": {"containers": [container("1", None)]},
                "status": {"phase": phase}});
            serde_json::from_value(value).unwrap()
        };
        let short = |wanted: &str, amount: i128, pods: &[Pod]| -> Vec<(String, bool)> {
            let wanted = Amounts::from([(wanted.to_owned(), amount)]);
            let found = shortages(&wanted, &taken(pods), &node);
            found.into_iter().map(|shortage| (shortage.message(), shortage.hopeless)).collect()
        };
        let enough: Vec<(String, bool)> = Vec::new();
        assert_eq!(short("x.io/y", 1000, &[pod("Running")]), enough);
        let full = [pod("Running"), pod("Pending"), pod("Succeeded"), pod("Failed")];
        assert_eq!(short("x.io/y", 1000, &full), [("Insufficient x.io/y".to_owned(), false)]);
        assert_eq!(short("x.io/y", 3000, &[]), [("Insufficient x.io/y".to_owned(), true)]);
        assert_eq!(short("other.io/y", 1000, &[]), [("Insufficient other.io/y".to_owned(), true)]);
        // Nobody says how much memory there is.
        assert_eq!(short("memory", 1 << 60, &[]), enough);
        let three = [pod("Running"), pod("Pending"), pod("Unknown")];
        assert_eq!(short("cpu", 1000, &three), [("Too many pods".to_owned(), false)]);
    }
}
