//! What a pod asks for altogether, by the rule of Kubernetes: containers run side by side and add up, together with
//! sidecars (init containers with `restartPolicy: Always`); other init containers run one after the other, each beside
//! the sidecars that were started before it, and the greediest one counts; what the pod says of itself comes before what
//! its containers say.

use std::array::from_fn;

use osc_api::peerpods::webhook::GPU_RESOURCE;
use osc_engine::quantity;
use serde_json::{Map, Value};

/// How much of a quantity that cannot be read is repeated: enough to find it.
const REPEATED: usize = 40;
const MEBIBYTE: i128 = 1024 * 1024;

/// Why a pod cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place} {words}")]
pub struct Malformed {
    /// The field, and the container that has it.
    place: String,
    words: String,
}

/// Of each resource that matters: CPU, memory, GPUs, pod VMs. In thousandths.
type Amounts = [i128; 4];
const CPU: usize = 0;
const MEMORY: usize = 1;
const GPUS: usize = 2;
const VMS: usize = 3;

fn plus(one: Amounts, other: Amounts) -> Amounts {
    from_fn(|index| one[index].saturating_add(other[index]))
}

fn larger(one: Amounts, other: Amounts) -> Amounts {
    from_fn(|index| one[index].max(other[index]))
}

/// What is asked for at least, and what may be used at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    requests: Amounts,
    limits: Amounts,
}

impl Asked {
    /// By a whole pod. `resource` counts pod VMs.
    pub fn of(spec: &Value, resource: &str) -> Result<Self, Malformed> {
        let names = ["cpu", "memory", GPU_RESOURCE, resource];
        let (mut running, mut sidecars, mut starting) = (Self::default(), Self::default(), Self::default());
        for (place, container) in containers(spec, "containers")? {
            running = running.plus(Self::of_resources(&place, &container["resources"], names)?);
        }
        for (place, container) in containers(spec, "initContainers")? {
            let own = Self::of_resources(&place, &container["resources"], names)?;
            let beside = sidecars.plus(own);
            starting = starting.larger(beside);
            if container["restartPolicy"] == "Always" {
                sidecars = beside;
                running = running.plus(own);
            }
        }
        running.larger(starting).unless_told(&spec["resources"], names)
    }

    fn plus(self, other: Self) -> Self {
        Self { requests: plus(self.requests, other.requests), limits: plus(self.limits, other.limits) }
    }

    fn larger(self, other: Self) -> Self {
        Self { requests: larger(self.requests, other.requests), limits: larger(self.limits, other.limits) }
    }

    /// By one container. What has a limit only asks for as much, as API servers fill it in.
    fn of_resources(place: &str, resources: &Value, names: [&str; 4]) -> Result<Self, Malformed> {
        let requests = amounts(place, resources, "requests", names)?;
        let limits = amounts(place, resources, "limits", names)?;
        Ok(Self {
            requests: from_fn(|index| requests[index].or(limits[index]).unwrap_or_default()),
            limits: limits.map(Option::unwrap_or_default),
        })
    }

    /// What the pod says of itself instead, which it can of CPU and memory.
    fn unless_told(mut self, resources: &Value, names: [&str; 4]) -> Result<Self, Malformed> {
        let requests = amounts("spec", resources, "requests", names)?;
        let limits = amounts("spec", resources, "limits", names)?;
        for index in [CPU, MEMORY] {
            let own = Some(self.requests[index]).filter(|own| *own > 0);
            self.requests[index] = requests[index].or(own).or(limits[index]).unwrap_or_default();
            self.limits[index] = limits[index].unwrap_or(self.limits[index]);
        }
        Ok(self)
    }

    /// Limits say how large a VM has to be, but where they fall short of what is asked for.
    fn size(&self, index: usize) -> i128 {
        self.limits[index].max(self.requests[index])
    }

    /// Whole processors.
    pub fn vcpus(&self) -> i128 {
        up(self.size(CPU), 1000)
    }

    /// Whole mebibytes.
    pub fn mebibytes(&self) -> i128 {
        up(self.size(MEMORY), 1000 * MEBIBYTE)
    }

    /// GPUs.
    pub fn gpus(&self) -> i128 {
        up(self.size(GPUS), 1000)
    }

    /// Whether the scheduler counts a pod VM for it as it is.
    pub fn has_pod_vm(&self) -> bool {
        self.requests[VMS] > 0
    }
}

/// Rounded up. Amounts are never negative.
fn up(amount: i128, unit: i128) -> i128 {
    amount / unit + i128::from(amount % unit > 0)
}

/// The containers of that list, each with its place for people.
fn containers<'a>(spec: &'a Value, list: &str) -> Result<Vec<(String, &'a Value)>, Malformed> {
    let malformed = |words: &str| Malformed { place: format!("spec.{list}"), words: words.to_owned() };
    let found = match &spec[list] {
        Value::Null => &[],
        Value::Array(found) => found.as_slice(),
        _ => return Err(malformed("is no list; write a list of containers")),
    };
    if found.is_empty() && list == "containers" {
        return Err(malformed("is empty; a pod has at least one container"));
    }
    let place = |index: usize, container: &Value| match container["name"].as_str() {
        Some(name) => format!("spec.{list}[{index}] ({name:?})"),
        None => format!("spec.{list}[{index}]"),
    };
    let of = |(index, container): (usize, &'a Value)| match container {
        Value::Object(_) => Ok((place(index, container), container)),
        _ => Err(malformed(&format!("has no container at {index}; write an object there"))),
    };
    found.iter().enumerate().map(of).collect()
}

/// The quantities of one half of resources. All of them are read, also those that do not matter here.
fn amounts(
    place: &str,
    resources: &Value,
    half: &str,
    names: [&str; 4],
) -> Result<[Option<i128>; 4], Malformed> {
    let mut amounts = [None; 4];
    for (name, quantity) in quantities(place, resources, half)? {
        let amount = read(quantity).ok_or_else(|| Malformed {
            place: format!("{place}: resources.{half}[{name:?}]"),
            words: format!("is {}, which is no quantity; write one like 500m, 2 or 4Gi", repeated(quantity)),
        })?;
        if let Some(index) = names.iter().position(|known| known == name) {
            amounts[index] = Some(amount);
        }
    }
    Ok(amounts)
}

fn quantities<'a>(
    place: &str,
    resources: &'a Value,
    half: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)> + use<'a>, Malformed> {
    let malformed = |field: &str| {
        let place = format!("{place}: {field}");
        Err(Malformed { place, words: "is no object; write names with quantities".to_owned() })
    };
    let map: Option<&Map<_, _>> = match resources {
        Value::Null => None,
        Value::Object(parts) => match parts.get(half) {
            None | Some(Value::Null) => None,
            Some(Value::Object(map)) => Some(map),
            Some(_) => return malformed(&format!("resources.{half}")),
        },
        _ => return malformed("resources"),
    };
    Ok(map.into_iter().flatten())
}

/// API servers write texts; numbers are quantities, too.
fn read(quantity: &Value) -> Option<i128> {
    match quantity {
        Value::String(text) => quantity::parse(text),
        Value::Number(number) => quantity::parse(&number.to_string()),
        _ => None,
    }
    .filter(|amount| *amount >= 0)
}

/// What was found, cut short: it may be anything.
fn repeated(quantity: &Value) -> String {
    let text = quantity.to_string();
    match text.char_indices().nth(REPEATED) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
