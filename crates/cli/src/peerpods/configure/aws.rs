//! What AWS knows of the machines of workers.

use std::collections::BTreeMap;
use std::path::Path;

use futures::future::BoxFuture;
use osc_api::peerpods::Provider;
use osc_cloud::aws::{self, Aws};
use osc_cloud::{Account, Secret};

use super::lookup::{CloudLookup, Network};
use super::machine::Machine;
use super::values::says_something;

/// What a login is made of.
const KEYS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];
/// How errors of the client name the place of credentials.
const SECRET: &str = "secret peer-pods-secret";

/// AWS, to be asked about machines.
#[derive(Debug)]
pub struct Lookup {
    /// Without a region: each machine is asked for in its own.
    account: Account,
    /// Where the credentials come from.
    origin: &'static str,
}

impl Lookup {
    /// With the credentials of the secret, else with those of the environment.
    pub fn new(
        secret: &BTreeMap<String, Secret>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let of_secret = login(|key| secret.get(key).map(|value| value.expose().to_owned()));
        let (account, origin) = match of_secret {
            Some(account) => (account, SECRET),
            None => (login(environment).ok_or_else(no_credentials)?, "the environment"),
        };
        Ok(Self { account, origin })
    }
}

/// The credentials of one place, if they are some that work on this machine.
fn login(get: impl Fn(&str) -> Option<String>) -> Option<Account> {
    let pairs = KEYS.into_iter().filter_map(|key| Some((key, get(key)?)));
    let found: BTreeMap<&str, String> = pairs.filter(|(_, value)| says_something(value.trim())).collect();
    let has = |key: &str| found.contains_key(key);
    let keys = has("AWS_ACCESS_KEY_ID") || has("AWS_SECRET_ACCESS_KEY");
    // The token of a role is mounted into pods: elsewhere the path leads nowhere.
    let token = || Path::new(found.get("AWS_WEB_IDENTITY_TOKEN_FILE")?).exists().then_some(());
    let role = has("AWS_ROLE_ARN") && token().is_some();
    if !keys && !role {
        return None;
    }
    Some(
        found
            .into_iter()
            .fold(Account::new(Provider::Aws), |account, (key, value)| account.credential(key, value)),
    )
}

fn no_credentials() -> String {
    "neither Secret peer-pods-secret nor the environment has credentials that work here: AWS_ACCESS_KEY_ID and \
     AWS_SECRET_ACCESS_KEY, or AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE with the token on this machine"
        .to_owned()
}

impl CloudLookup for Lookup {
    fn networks_of<'a>(&'a self, machines: &'a [Machine]) -> BoxFuture<'a, Result<Vec<Network>, String>> {
        let (account, wanted) = (self.account.clone(), by_region(machines));
        Box::pin(async move {
            match tokio::task::spawn_blocking(move || ask(&account, &wanted)).await {
                Ok(found) => found.map_err(|error| error.to_string().replace(SECRET, self.origin)),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

/// Instances by their region.
fn by_region(machines: &[Machine]) -> BTreeMap<String, Vec<String>> {
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for machine in machines {
        if let (Machine::Aws { instance, .. }, Some(region)) = (machine, machine.region()) {
            wanted.entry(region).or_default().push(instance.clone());
        }
    }
    wanted
}

/// Blocks.
fn ask(account: &Account, wanted: &BTreeMap<String, Vec<String>>) -> aws::Result<Vec<Network>> {
    let mut networks = Vec::new();
    for (region, ids) in wanted {
        let aws = Aws::of_account(&account.clone().setting("AWS_REGION", region))?.impatient();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut found = aws.machines_with(&ids)?;
        // In the order of the nodes, so that the same question has the same answer.
        found.sort_by_key(|machine| ids.iter().position(|id| *id == machine.id));
        networks.extend(found.into_iter().map(|machine| Network {
            name: machine.vpc,
            subnet: machine.subnet,
            security_groups: machine.groups,
            region: Some(region.clone()),
        }));
    }
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn lookup(secret: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<Lookup, String> {
        let secret = secret.iter().map(|(key, value)| ((*key).to_owned(), Secret::from(*value))).collect();
        let environment = |key: &str| {
            environment.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned())
        };
        Lookup::new(&secret, environment)
    }

    const OTHERS: &[(&str, &str)] = &[("AWS_ACCESS_KEY_ID", "OTHER"), ("AWS_SECRET_ACCESS_KEY", "hush")];

    #[test]
    fn credentials_of_the_secret_go_before_those_of_the_environment() {
        let own = [("AWS_ACCESS_KEY_ID", "OWN"), ("AWS_SECRET_ACCESS_KEY", "hush")];
        for (secret, id) in [(&own[..], "OWN"), (&[], "OTHER")] {
            let lookup = lookup(secret, OTHERS).unwrap();
            assert_eq!(lookup.account.get("AWS_ACCESS_KEY_ID"), Some(id));
            assert!(!format!("{lookup:?}").contains("hush"), "{lookup:?}");
        }
    }

    #[rstest]
    #[case::placeholders(&[("AWS_ACCESS_KEY_ID", "<aws_access_key_id>"), ("AWS_SECRET_ACCESS_KEY", " ")])]
    #[case::a_token_of_pods(&[("AWS_ROLE_ARN", "arn"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent/token")])]
    fn what_is_no_login_on_this_machine_is_passed_over(#[case] secret: &[(&str, &str)]) {
        assert_eq!(lookup(secret, OTHERS).unwrap().origin, "the environment");
        let why = lookup(secret, &[]).unwrap_err();
        assert!(why.contains("neither Secret peer-pods-secret nor the environment"), "{why}");
    }

    #[test]
    fn half_a_login_is_told_and_not_passed_over() {
        let lookup = lookup(&[("AWS_ACCESS_KEY_ID", "OWN")], OTHERS).unwrap();
        assert_eq!((lookup.origin, lookup.account.get("AWS_SECRET_ACCESS_KEY")), (SECRET, None));
    }

    #[test]
    fn machines_are_asked_for_in_their_own_region() {
        let ids = ["aws:///eu-west-1a/i-1", "aws:///us-east-1-bos-1a/i-2", "aws:///eu-west-1b/i-3"];
        let machines: Vec<Machine> = ids.iter().filter_map(|id| Machine::parse(id)).collect();
        let wanted = by_region(&machines);
        assert_eq!(wanted["eu-west-1"], ["i-1", "i-3"]);
        assert_eq!(wanted["us-east-1"], ["i-2"]);
    }
}
