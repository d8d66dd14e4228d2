//! Pod VMs on EC2.

mod verify;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use osc_api::peerpods::tags;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::error::Error as AwsError;
use super::{Aws, Machine, NewMachine};
use crate::{
    Account, CreateError, Deletion, Error, Instance, InstanceSpec, Kind, Owner, Provider, SettingError, Tags,
    is_vm_name,
};

const KIND: Kind = Kind::Aws;
/// How often a machine is asked for its address.
const PACE: Duration = Duration::from_secs(2);
/// EC2 takes so much user data.
const MOST_USER_DATA: usize = 16 << 10;
/// The disk of a pod VM where nobody says otherwise, GiB.
const ROOT_DISK: u64 = 6;
const DEFAULT_TYPE: &str = "t3.medium";

/// EC2 as a cloud of pod VMs.
pub struct Ec2 {
    inner: Arc<Inner>,
}

struct Inner {
    aws: Aws,
    account: Account,
}

impl Ec2 {
    /// Logs in. Nothing is asked of AWS yet.
    pub fn connect(account: &Account) -> Result<Self, Error> {
        let aws = Aws::of_account(account).map_err(Error::from)?;
        Ok(Self { inner: Arc::new(Inner { aws, account: account.clone() }) })
    }

    /// On a thread that may wait. Nothing happens before somebody waits for it.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Error>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let task = tokio::task::spawn_blocking(move || work(&inner));
            task.await.unwrap_or_else(|error| Err(Error::Cancelled(error.to_string())))
        })
    }
}

impl Provider for Ec2 {
    fn kind(&self) -> Kind {
        KIND
    }

    fn create<'a>(&'a self, spec: &'a InstanceSpec) -> BoxFuture<'a, Result<Instance, CreateError>> {
        let (inner, spec) = (Arc::clone(&self.inner), spec.clone());
        Box::pin(async move {
            let (answer, arrives) = oneshot::channel();
            let name = spec.name.clone();
            tokio::task::spawn_blocking(move || {
                let result = inner.create(&spec, &|| answer.is_closed());
                // Nobody waits for it any more: what was made would be found by nobody.
                if let Err(Ok(made)) = answer.send(result) {
                    let gone = inner.delete(&made.id);
                    tracing::warn!(
                        id = made.id,
                        name = made.name,
                        ?gone,
                        "a machine nobody waits for was taken back"
                    );
                }
            });
            arrives.await.unwrap_or_else(|_| Err(Error::Cancelled(name).into()))
        })
    }

    fn delete<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Deletion, Error>> {
        let id = id.to_owned();
        self.blocking(move |inner| inner.delete(&id))
    }

    fn list<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<Vec<Instance>, Error>> {
        let cluster = owner.cluster.clone();
        self.blocking(move |inner| {
            if cluster.is_empty() {
                return Ok(Vec::new());
            }
            let found = inner.aws.machines_tagged(&BTreeMap::from([(tags::CLUSTER.to_owned(), cluster)]))?;
            Ok(found.into_iter().map(Instance::from).collect())
        })
    }

    fn untagged(&self) -> BoxFuture<'_, Result<Vec<Instance>, Error>> {
        self.blocking(|inner| {
            let found = inner.aws.machines_named(&format!("{}*", crate::NAME_PREFIX))?;
            let instances = found.into_iter().map(Instance::from);
            Ok(instances.filter(|one| one.tags.cluster.is_empty() && is_vm_name(&one.name)).collect())
        })
    }

    fn verify(&self) -> BoxFuture<'_, Result<Vec<String>, Vec<Error>>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let task = tokio::task::spawn_blocking(move || inner.verify());
            task.await.unwrap_or_else(|error| Err(vec![Error::Cancelled(error.to_string())]))
        })
    }
}

impl Inner {
    fn create(&self, spec: &InstanceSpec, dropped: &dyn Fn() -> bool) -> Result<Instance, CreateError> {
        if spec.user_data.len() > MOST_USER_DATA {
            return Err(Error::Refused {
                kind: KIND,
                action: format!("create {}", spec.name),
                message: format!(
                    "its user data has {} bytes and EC2 takes {MOST_USER_DATA}; shorten the initdata or the pull secrets \
                     of the pod",
                    spec.user_data.len()
                ),
            }
            .into());
        }
        let machine = match self.existing(spec)? {
            Some(machine) => machine,
            None if dropped() => return Err(Error::Cancelled(spec.name.clone()).into()),
            None => self.start(spec)?,
        };
        self.wait(spec, machine, dropped)
    }

    /// A machine of that name: ours of an earlier try, or somebody else's.
    fn existing(&self, spec: &InstanceSpec) -> Result<Option<Machine>, Error> {
        for machine in self.aws.machines_named(&spec.name).map_err(Error::from)? {
            let instance = Instance::from(machine.clone());
            if instance.tags.same_sandbox(&spec.tags) {
                return Ok(Some(machine));
            }
            // The name has neither cluster nor namespace in it, so that others may have it; only a machine of this very
            // cluster and pod stands in the way.
            if instance.tags.cluster == spec.tags.cluster && instance.tags.pod_uid == spec.tags.pod_uid {
                return Err(Error::Taken {
                    what: "machine",
                    name: format!("{} ({})", spec.name, machine.id),
                    owner: format!("it is of sandbox {:?}", instance.tags.sandbox),
                });
            }
        }
        Ok(None)
    }

    fn start(&self, spec: &InstanceSpec) -> Result<Machine, Error> {
        let new = self.machine(spec)?;
        let mut tries = 0;
        loop {
            // The same sandbox always has the same token: a repeated request starts no second machine. A token whose machine
            // has ended is used up.
            let token = token(&spec.name, &spec.tags, tries);
            let machine = self.aws.run(&NewMachine { token, ..new.clone() }).map_err(Error::from)?;
            tries += 1;
            // The answer to a repeated request may be as old as the first one. A new machine is not seen everywhere at once.
            let machine = self.aws.machine(&machine.id).map_err(Error::from)?.unwrap_or(machine);
            if !machine.is_gone() {
                return Ok(machine);
            }
            if tries > 3 {
                return Err(Error::Busy {
                    kind: KIND,
                    message: format!("machine {} of {} ends as soon as it starts", machine.id, spec.name),
                });
            }
        }
    }

    fn machine(&self, spec: &InstanceSpec) -> Result<NewMachine, Error> {
        let image = match &spec.image {
            Some(image) => image.as_str(),
            None => self.account.need("PODVM_AMI_ID")?,
        };
        let found = self.aws.image(image).map_err(Error::from)?;
        let found = found.ok_or_else(|| Error::Missing {
            what: "image",
            name: format!("{image} in {}", self.aws.region()),
            key: "PODVM_AMI_ID",
        })?;
        let template = self.flag("USE_PODVM_LAUNCHTEMPLATE", false)?;
        let size =
            spec.root_disk_gib.map_or_else(|| self.root_disk(), Ok)?.max(found.size.map_or(0, u64::from));
        let mut tags = self.extra_tags()?;
        tags.extend(spec.tags.pairs().into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())));
        tags.insert("Name".to_owned(), spec.name.clone());
        Ok(NewMachine {
            token: String::new(),
            image: image.to_owned(),
            kind: self.instance_type(spec.instance_type.as_deref()).to_owned(),
            subnet: if template { None } else { Some(self.account.need("AWS_SUBNET_ID")?.to_owned()) },
            groups: if template { Vec::new() } else { list(self.account.need("AWS_SG_IDS")?) },
            public_address: self.flag("USE_PUBLIC_IP", false)?,
            key_pair: self.account.get("SSH_KP_NAME").map(str::to_owned),
            template: template
                .then(|| self.account.get("PODVM_LAUNCHTEMPLATE_NAME").unwrap_or("kata").to_owned()),
            root_disk: Some((found.root_device.unwrap_or_else(|| "/dev/xvda".to_owned()), size)),
            confidential: self.confidential()?,
            user_data: spec.user_data.clone(),
            tags,
        })
    }

    fn instance_type<'a>(&'a self, asked: Option<&'a str>) -> &'a str {
        asked.or_else(|| self.account.get("PODVM_INSTANCE_TYPE")).unwrap_or(DEFAULT_TYPE)
    }

    fn confidential(&self) -> Result<bool, Error> {
        Ok(!self.flag("DISABLECVM", false)?)
    }

    fn root_disk(&self) -> Result<u64, Error> {
        let Some(text) = self.account.get("ROOT_VOLUME_SIZE") else { return Ok(ROOT_DISK) };
        text.parse().map_err(|_| Error::Setting {
            key: "ROOT_VOLUME_SIZE",
            problem: format!("is {text:?}; it is a whole number of GB in peer-pods-cm, at least {ROOT_DISK}"),
        })
    }

    fn flag(&self, key: &'static str, default: bool) -> Result<bool, Error> {
        match self.account.get(key) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(Error::Setting {
                key,
                problem: format!("is {other:?}; set it to \"true\" or \"false\" in peer-pods-cm"),
            }),
        }
    }

    fn extra_tags(&self) -> Result<BTreeMap<String, String>, Error> {
        let Some(text) = self.account.get("TAGS") else { return Ok(BTreeMap::new()) };
        let pair = |part: &str| {
            let (key, value) = part.split_once('=').filter(|(key, _)| !key.trim().is_empty())?;
            Some((key.trim().to_owned(), value.trim().to_owned()))
        };
        text.split(',').map(pair).collect::<Option<_>>().ok_or_else(|| Error::Setting {
            key: "TAGS",
            problem: format!("is {text:?}; it has key=value pairs separated by commas in peer-pods-cm"),
        })
    }

    fn wait(
        &self,
        spec: &InstanceSpec,
        mut machine: Machine,
        dropped: &dyn Fn() -> bool,
    ) -> Result<Instance, CreateError> {
        let public = self.flag("USE_PUBLIC_IP", false)?;
        let started = Instant::now();
        loop {
            let address = if public { machine.public_address } else { machine.addresses.first().copied() };
            if let Some(address) = address {
                return Ok(with_first(machine, address));
            }
            let why = if machine.is_gone() {
                Error::Refused {
                    kind: KIND,
                    action: format!("start {}", spec.name),
                    message: format!(
                        "machine {} ended at once; `aws ec2 describe-instances --instance-ids {}` has its StateReason",
                        machine.id, machine.id
                    ),
                }
            } else if dropped() {
                Error::Cancelled(spec.name.clone())
            } else if started.elapsed() > spec.patience {
                Error::Late {
                    what: format!("the address of {} ({})", spec.name, machine.id),
                    seconds: spec.patience.as_secs(),
                    hint: "look at the machine in the console of AWS".to_owned(),
                }
            } else {
                sleep(PACE.min(spec.patience));
                match self.aws.machine(&machine.id) {
                    Ok(found) => machine = found.unwrap_or(machine),
                    Err(error) if error.is_passing() => {}
                    Err(error) => return Err(self.take_back(machine, error.into())),
                }
                continue;
            };
            return Err(self.take_back(machine, why));
        }
    }

    fn take_back(&self, machine: Machine, why: Error) -> CreateError {
        match self.aws.terminate(&machine.id) {
            Err(error) if !error.is_not_found() => CreateError::with(why, machine.into()),
            _ => CreateError::clean(why),
        }
    }

    fn delete(&self, id: &str) -> Result<Deletion, Error> {
        let malformed = || Error::MalformedId {
            kind: KIND,
            id: id.to_owned(),
            expected: "i- and hexadecimal digits, for instance i-0123456789abcdef0",
        };
        let digits = id.strip_prefix("i-").ok_or_else(malformed)?;
        if ![8, 17].contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(malformed());
        }
        let machine = match self.aws.machine(id) {
            Err(error) if error.is_malformed() => return Err(malformed()),
            other => other.map_err(Error::from)?,
        };
        let Some(machine) = machine.filter(|machine| !machine.is_gone()) else {
            return Ok(Deletion::WasGone);
        };
        // Whoever may write PeerPods must not thereby decide about every machine of the account.
        let machine = Instance::from(machine);
        if machine.tags.is_empty() && !is_vm_name(&machine.name) {
            let owner = "neither its name nor its tags say that it is a pod VM".to_owned();
            return Err(Error::Taken { what: "instance", name: id.to_owned(), owner });
        }
        match self.aws.terminate(id) {
            Ok(()) => Ok(Deletion::Deleted),
            Err(error) if error.is_not_found() => Ok(Deletion::WasGone),
            Err(error) => Err(error.into()),
        }
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// At most 64 characters. Of everything that makes a try to start a pod this one.
fn token(name: &str, tags: &Tags, tries: u32) -> String {
    let mut hash = Sha256::new();
    for part in [&tags.cluster, &tags.pod_uid, &tags.sandbox, name, &tries.to_string()] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    super::hex(&hash.finalize())
}

fn with_first(machine: Machine, address: IpAddr) -> Instance {
    let mut instance = Instance::from(machine);
    instance.addresses.retain(|one| *one != address);
    instance.addresses.insert(0, address);
    instance
}

impl From<Machine> for Instance {
    fn from(machine: Machine) -> Self {
        let pairs = machine.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        Self {
            tags: Tags::from_pairs(pairs),
            name: machine.tags.get("Name").cloned().unwrap_or_default(),
            id: machine.id,
            addresses: machine.addresses,
            created: machine.launched.and_then(|text| text.parse().ok()),
        }
    }
}

impl From<AwsError> for Error {
    fn from(error: AwsError) -> Self {
        let message = error.to_string();
        match &error {
            AwsError::Setting(SettingError { key, found, todo }) => match super::known_key(key) {
                Some(key) => Self::Setting { key, problem: format!("cannot be used: {found}; {todo}") },
                None => Self::Refused { kind: KIND, action: "log in".to_owned(), message },
            },
            AwsError::Unreachable { .. } => Self::Unreachable { kind: KIND, message },
            AwsError::Answer { action, .. } => Self::Refused { kind: KIND, action: action.clone(), message },
            AwsError::Refused(refusal) => match refusal.code.as_str() {
                "AuthFailure"
                | "InvalidClientTokenId"
                | "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "ExpiredTokenException"
                | "UnauthorizedOperation"
                | "AccessDenied" => Self::Unauthorized { kind: KIND, message },
                "InsufficientInstanceCapacity"
                | "InsufficientFreeAddressesInSubnet"
                | "InstanceLimitExceeded"
                | "VcpuLimitExceeded" => Self::Busy { kind: KIND, message },
                _ if error.is_passing() => Self::Busy { kind: KIND, message },
                _ => Self::Refused { kind: KIND, action: refusal.action.clone(), message },
            },
        }
    }
}
