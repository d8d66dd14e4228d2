//! Whether pod VMs could be created with these settings: everything that is wrong, at once.

use super::{Inner, list};
use crate::Error;

impl Inner {
    pub(super) fn verify(&self) -> Result<Vec<String>, Vec<Error>> {
        let mut wrong = Vec::new();
        let mut known = Vec::new();
        if let Err(error) = self.verify_all(&mut wrong, &mut known) {
            // Nothing else can be found out without a login.
            wrong.push(error);
        }
        if wrong.is_empty() { Ok(known) } else { Err(wrong) }
    }

    fn verify_all(&self, wrong: &mut Vec<Error>, known: &mut Vec<String>) -> Result<(), Error> {
        let region = self.aws.region();
        if !self.aws.regions()?.iter().any(|one| one == region) {
            let problem = format!("is {region}, which this account does not have; set it in peer-pods-cm");
            wrong.push(Error::Setting { key: "AWS_REGION", problem });
        }
        self.verify_network(wrong, known)?;
        self.verify_types(wrong)?;
        for key in ["USE_PUBLIC_IP", "USE_PODVM_LAUNCHTEMPLATE"] {
            wrong.extend(self.flag(key, false).err());
        }
        wrong.extend(self.extra_tags().err());
        wrong.extend(self.root_disk().err());
        match self.account.get("PODVM_AMI_ID") {
            None => known.push("PODVM_AMI_ID is not set yet: the image job sets it".to_owned()),
            Some(image) => match self.aws.image(image) {
                Ok(Some(image)) if image.state == "available" => {}
                Ok(Some(image)) => known.push(format!("image {} is {}", image.id, image.state)),
                Ok(None) => wrong.push(Error::Missing {
                    what: "image",
                    name: format!("{image} in {region}"),
                    key: "PODVM_AMI_ID",
                }),
                Err(error) => wrong.push(error.into()),
            },
        }
        Ok(())
    }

    fn verify_network(&self, wrong: &mut Vec<Error>, known: &mut Vec<String>) -> Result<(), Error> {
        let region = self.aws.region();
        let missing = |what, id: &str, key| Error::Missing { what, name: format!("{id} in {region}"), key };
        let vpc = self.account.get("AWS_VPC_ID");
        match self.account.need("AWS_SUBNET_ID") {
            Err(error) => wrong.push(error),
            Ok(id) => match self.aws.subnet(id)? {
                None => wrong.push(missing("subnet", id, "AWS_SUBNET_ID")),
                Some(subnet) => {
                    if vpc.is_some_and(|vpc| vpc != subnet.vpc) {
                        wrong.push(Error::Setting {
                            key: "AWS_VPC_ID",
                            problem: format!(
                                "is {}, and subnet {id} of AWS_SUBNET_ID is in {}; set both to those of the worker nodes",
                                vpc.unwrap_or_default(),
                                subnet.vpc
                            ),
                        });
                    }
                    known.push(format!("subnet {id} has {} free addresses", subnet.free));
                }
            },
        }
        match self.account.need("AWS_SG_IDS") {
            Err(error) => wrong.push(error),
            Ok(ids) => {
                for id in list(ids) {
                    match self.aws.security_group(&id)? {
                        None => wrong.push(missing("security group", &id, "AWS_SG_IDS")),
                        Some(group) if vpc.is_some_and(|vpc| !group.vpc.is_empty() && vpc != group.vpc) => {
                            let problem = format!(
                                "has {id}, which is in {} and not in {} of AWS_VPC_ID",
                                group.vpc,
                                vpc.unwrap_or_default()
                            );
                            wrong.push(Error::Setting { key: "AWS_SG_IDS", problem });
                        }
                        Some(_) => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn verify_types(&self, wrong: &mut Vec<Error>) -> Result<(), Error> {
        let confidential = self.confidential().unwrap_or_else(|error| {
            wrong.push(error);
            false
        });
        let others = self.account.get("PODVM_INSTANCE_TYPES").map(list).unwrap_or_default();
        let first = self.instance_type(None).to_owned();
        let named =
            others.into_iter().filter(|name| *name != first).map(|name| ("PODVM_INSTANCE_TYPES", name));
        for (key, name) in std::iter::once(("PODVM_INSTANCE_TYPE", first.clone())).chain(named) {
            match self.aws.instance_type(&name)? {
                None => {
                    let name = format!("{name} in {}", self.aws.region());
                    wrong.push(Error::Missing { what: "instance type", name, key });
                }
                Some(kind) if confidential && !kind.snp => wrong.push(Error::Setting {
                    key,
                    problem: format!(
                        "is {name}, which has no AMD SEV-SNP; choose a type of the families m6a, c6a or r6a, or set \
                         DISABLECVM to \"true\" in peer-pods-cm"
                    ),
                }),
                Some(_) => {}
            }
        }
        Ok(())
    }
}
