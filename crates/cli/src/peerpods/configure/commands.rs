//! The documented commands that find what the cluster does not know.

use super::known::Known;
use super::machine::Machine;

/// The command for that key.
pub fn find(key: &str, known: &Known) -> String {
    let instance = known.machines.iter().find_map(|machine| match machine {
        Machine::Aws { instance, .. } => Some(instance.clone()),
        _ => None,
    });
    let region = known.platform.region.clone().or_else(|| known.machines.iter().find_map(Machine::region));
    let region = region.unwrap_or_else(|| "<aws_region>".to_owned());
    let group = known.platform.home.clone().or_else(|| {
        known.machines.iter().find_map(|machine| match machine {
            Machine::Azure { resource_group, .. } => Some(resource_group.clone()),
            _ => None,
        })
    });
    let group = group.unwrap_or_else(|| "<azure_resource_group>".to_owned());
    let describe = |query: &str| {
        let instance = instance.clone().unwrap_or_else(|| "<instance_id>".to_owned());
        format!(
            "aws ec2 describe-instances --instance-ids {instance} --region {region} --output text --query \
             'Reservations[*].Instances[*].{query}'"
        )
    };
    match key {
        "AWS_REGION" => "oc get infrastructure/cluster -o jsonpath='{.status.platformStatus.aws.region}'".to_owned(),
        "AWS_SUBNET_ID" => describe("SubnetId"),
        "AWS_VPC_ID" => describe("VpcId"),
        "AWS_SG_IDS" => format!("{} | paste -sd, | tr '\\t' ,", describe("SecurityGroups[*].GroupId")),
        "AZURE_RESOURCE_GROUP" => {
            "oc get infrastructure/cluster -o jsonpath='{.status.platformStatus.azure.resourceGroupName}'".to_owned()
        }
        "AZURE_SUBNET_ID" => format!(
            "az network vnet subnet list --resource-group {group} --vnet-name \"$(az network vnet list --resource-group \
             {group} --query '[].name' --output tsv)\" --query \"[].{{Id:id}} | [? contains(Id, 'worker')]\" --output tsv"
        ),
        "AZURE_NSG_ID" => {
            format!("az network nsg list --resource-group {group} --query \"[].{{Id:id}}\" --output tsv")
        }
        "AZURE_IMAGE_ID" => format!(
            "az sig image-version list --resource-group {group} --gallery-name <gallery> --gallery-image-definition <image> \
             --query '[].id' --output tsv (an image of your own: none is made on Azure)"
        ),
        "AZURE_REGION" => {
            format!("az group show --resource-group {group} --query \"{{Location:location}}\" --output tsv")
        }
        "GCP_PROJECT_ID" => "gcloud config get-value project".to_owned(),
        "GCP_ZONE" => "gcloud config get-value compute/zone".to_owned(),
        "GCP_NETWORK" => "gcloud compute networks list --format=\"value(name)\"".to_owned(),
        "PODVM_IMAGE_NAME" => {
            "gcloud compute images list --no-standard-images --format=\"value(name)\" (an image of your own: none is made on Google Cloud)".to_owned()
        }
        "LIBVIRT_POOL" => "virsh pool-list --all --name (on the KVM host; a new name makes a new pool)".to_owned(),
        "LIBVIRT_VOL_NAME" => {
            "virsh vol-list --pool <libvirt_pool> (on the KVM host; a new name makes a new volume)".to_owned()
        }
        "LIBVIRT_DIR_NAME" => {
            "virsh pool-dumpxml <libvirt_pool> (on the KVM host: target, path; below /var/lib/libvirt/images/)".to_owned()
        }
        _ => "see the guide".to_owned(),
    }
}
