//! Files, clusters of clouds, and the command.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use osc_api::names::OPERATOR_NAMESPACE;
use osc_api::peerpods::Provider;
use osc_devcluster::server::{Server, ServerConfig};
use osc_devcluster::sim::topology::Topology;
use serde_json::{Value, json};

use crate::kubectl;

/// The root of the source tree.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What secrets have in them. No output may ever have it.
pub const PLANTED: &str = "planted-hush";

/// What placeholders of the examples stand for.
const FILLED: &[(&str, &str)] = &[
    ("<aws_access_key_id>", "planted-hush-id"),
    ("<aws_secret_access_key>", "planted-hush-key"),
    ("<aws_region>", "eu-west-1"),
    ("<aws_subnet_id>", "subnet-0a1b2c"),
    ("<aws_vpc_id>", "vpc-0a1b2c"),
    ("<aws_sg_ids>", "sg-0a1b2c,sg-0d4e5f"),
    ("<bucket_name>", "podvm-images"),
    ("<azure_client_id>", "planted-hush-client"),
    ("<azure_tenant_id>", "planted-hush-tenant"),
    // In the subnet's identifier, too, which is no secret.
    ("<azure_subscription_id>", "11111111-2222-3333-4444-555555555555"),
    ("<azure_client_secret>", "planted-hush-secret"),
    (
        "<azure_subnet_id>",
        "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/shop-rg/providers/Microsoft.Network/virtualNetworks/shop-vnet/subnets/shop-worker-subnet",
    ),
    (
        "<azure_nsg_id>",
        "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/shop-rg/providers/Microsoft.Network/networkSecurityGroups/shop-nsg",
    ),
    (
        "<azure_image_id>",
        "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/shop-rg/providers/Microsoft.Compute/galleries/shop/images/podvm/versions/1.0.0",
    ),
    ("<azure_region>", "westeurope"),
    ("<azure_resource_group>", "shop-rg"),
    (
        "<gcp_credentials>",
        "{\\\"type\\\": \\\"service_account\\\", \\\"project_id\\\": \\\"shop-prod\\\", \\\"client_email\\\": \\\"planted-hush@example.com\\\", \\\"private_key\\\": \\\"planted-hush\\\"}",
    ),
    ("<project_id>", "shop-prod"),
    ("<gcp_zone>", "europe-west1-b"),
    ("<gcp_network>", "shop-network"),
    ("<podvm_image_name>", "shop-podvm"),
    ("<container_registry_url>", "registry.example.com:5000"),
    ("<username>", "shop"),
    ("<password>", "peerpod"),
    ("<libvirt_gateway_uri>", "qemu+ssh://planted-hush@192.168.122.1/system"),
    ("<rh_offline_token>", "planted-hush-token"),
    ("<libvirt_pool>", "shop-pool"),
    ("<libvirt_volume>", "shop-volume"),
    ("<directory_name>", "shop-pool"),
    ("<image_repo_url>", "registry.example.com/shop/podvm"),
    ("<image_tag>", "1.12"),
    ("<image_path>", "/image/podvm.qcow2"),
    ("<rhel_organization_id>", "1234"),
    ("<rhel_activation_key>", "shop-key"),
    ("<rhel_image_os_version>", "10.1"),
    ("<cloud_api_adaptor_version>", "v0.16.0"),
    ("<podvm_libvirt_image>", "podvm"),
    ("<public_key>", "ssh-ed25519 AAAA planted"),
    ("<private_key>", "planted-hush-private-key"),
    ("<machine_type>", "t3.large"),
    ("<vcpus>", "2"),
    ("<memory>", "4096"),
    ("<custom_image_id>", "ami-0a1b2c"),
    ("<base64_encoded_policy>", "cGFja2FnZSBhZ2VudF9wb2xpY3kK"),
    ("<initdata_string>", "H4sIAAAAAAAAAysuTS5KLQEAsbtI0QYAAAA="),
    ("<namespace>", "shop"),
    ("<dockerconfigjson>", "{\\\"auths\\\": {}}"),
];

/// An example with its placeholders filled in.
pub fn filled(text: &str) -> String {
    FILLED.iter().fold(text.to_owned(), |text, (placeholder, value)| text.replace(placeholder, value))
}

/// An example of the documentation's, filled in.
pub fn example(path: &str) -> String {
    filled(&std::fs::read_to_string(root().join("docs/examples/peerpods").join(path)).unwrap())
}

/// The settings of a provider, filled in: config map, secrets, image map.
pub fn setup(provider: Provider) -> String {
    let folder = root().join("docs/examples/peerpods").join(provider.name());
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
    files.sort();
    let texts: Vec<String> =
        files.iter().map(|path| filled(&std::fs::read_to_string(path).unwrap())).collect();
    texts.join("---\n")
}

/// Runs `osc peerpods`, in a directory, with something on its standard input.
pub fn osc(directory: &Path, kubeconfig: Option<&Path>, arguments: &[&str], input: &str) -> Output {
    osc_in(&[], directory, kubeconfig, arguments, input)
}

/// The same with variables in its environment; those of AWS are no others than these.
pub fn osc_in(
    environment: &[(&str, &str)],
    directory: &Path,
    kubeconfig: Option<&Path>,
    arguments: &[&str],
    input: &str,
) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_osc"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    // No test may ask the real AWS.
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").envs(environment.iter().copied());
    command.arg("peerpods").args(arguments).current_dir(directory).env_remove("KUBECONFIG");
    command.env("HOME", "/nonexistent").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(kubeconfig) = kubeconfig {
        command.env("KUBECONFIG", kubeconfig);
    }
    let mut child = command.spawn().unwrap();
    // Ends early where it does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Runs `osc peerpods check -f -` on a text.
pub fn check(text: &str, arguments: &[&str]) -> Output {
    osc(&root(), None, &[&["check", "-f", "-"], arguments].concat(), text)
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What was found, as JSON.
pub fn findings(text: &str) -> (Option<i32>, Vec<Value>) {
    let output = check(text, &["-o", "json"]);
    let value: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    (output.status.code(), value["findings"].as_array().unwrap().clone())
}

/// Reasons of that severity.
pub fn reasons(findings: &[Value], severity: &str) -> Vec<String> {
    let fitting = findings.iter().filter(|finding| finding["severity"] == severity);
    fitting.map(|finding| finding["reason"].as_str().unwrap().to_owned()).collect()
}

/// An OpenShift cluster on the cloud of that provider.
pub struct Cluster {
    pub server: Server,
    directory: tempfile::TempDir,
}

impl Cluster {
    pub async fn start(provider: Provider) -> Self {
        Self::start_with(provider, |_| {}).await
    }

    /// With objects that are somewhat different.
    pub async fn start_with(provider: Provider, edit: impl Fn(&mut Value)) -> Self {
        let server = Server::start(ServerConfig::default()).await.unwrap();
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let mut objects = Topology::default().objects(now);
        for object in &mut objects {
            if object["kind"] == "Infrastructure" {
                object["status"]["platformStatus"] = platform(provider);
            } else if object["kind"] == "Node" {
                on_cloud(object, provider);
            }
            edit(object);
        }
        let own = osc_api::crds().into_iter().chain(osc_api::peerpods::crds());
        objects.extend(own.map(|definition| {
            let mut value = serde_json::to_value(definition).unwrap();
            value["apiVersion"] = json!("apiextensions.k8s.io/v1");
            value["kind"] = json!("CustomResourceDefinition");
            value
        }));
        server.load(objects).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("kubeconfig"), server.kubeconfig().unwrap()).unwrap();
        Self { server, directory }
    }

    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// Runs `osc peerpods` against it.
    pub async fn osc(&self, arguments: &[&str]) -> Output {
        self.osc_in(&[], arguments).await
    }

    /// The same with variables in its environment.
    pub async fn osc_in(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
        let own = |text: &str| text.to_owned();
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| (own(name), own(value))).collect();
        let (directory, kubeconfig) = (self.directory(), self.kubeconfig());
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let environment: Vec<(&str, &str)> =
                environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            osc_in(&environment, &directory, Some(&kubeconfig), &arguments, "")
        })
        .await
        .unwrap()
    }

    /// Creates objects as a person does, by the text of their manifests.
    pub async fn apply(&self, text: &str) {
        let kubeconfig = self.kubeconfig();
        let text = text.to_owned();
        tokio::task::spawn_blocking(move || kubectl::apply(&kubeconfig, &text)).await.unwrap();
    }

    /// Data of `peer-pods-cm`, as it is stored.
    pub fn settings(&self) -> Option<Value> {
        let objects = self.server.objects();
        let ours = |object: &&std::sync::Arc<Value>| {
            object["kind"] == "ConfigMap"
                && object["metadata"]["name"] == "peer-pods-cm"
                && object["metadata"]["namespace"] == OPERATOR_NAMESPACE
        };
        objects.iter().find(ours).map(|object| object["data"].clone())
    }
}

/// `status.platformStatus` of Infrastructure `cluster`.
fn platform(provider: Provider) -> Value {
    match provider {
        Provider::Aws => json!({"type": "AWS", "aws": {"region": "eu-west-1"}}),
        Provider::Azure => {
            json!({"type": "Azure", "azure": {"resourceGroupName": "shop-rg", "networkResourceGroupName": "shop-rg", "cloudName": "AzurePublicCloud"}})
        }
        Provider::Gcp => json!({"type": "GCP", "gcp": {"projectID": "shop-prod", "region": "europe-west1"}}),
        Provider::Libvirt => json!({"type": "None"}),
    }
}

/// Machine, region and zone of a node.
fn on_cloud(node: &mut Value, provider: Provider) {
    let name = node["metadata"]["name"].as_str().unwrap().to_owned();
    let last = u32::from(name.ends_with('2'));
    let (id, region, zone) = match provider {
        Provider::Aws => {
            let zone = ["eu-west-1a", "eu-west-1b"][last as usize];
            (format!("aws:///{zone}/i-0{:016x}", 7 + name.len()), "eu-west-1", zone)
        }
        Provider::Azure => (
            format!(
                "azure:///subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/shop-rg/providers/Microsoft.Compute/virtualMachines/{name}"
            ),
            "westeurope",
            ["westeurope-1", "westeurope-2"][last as usize],
        ),
        Provider::Gcp => {
            let zone = ["europe-west1-b", "europe-west1-c"][last as usize];
            (format!("gce://shop-prod/{zone}/shop-x7k2p-{name}"), "europe-west1", zone)
        }
        Provider::Libvirt => return,
    };
    node["spec"]["providerID"] = json!(id);
    node["metadata"]["labels"]["topology.kubernetes.io/region"] = json!(region);
    node["metadata"]["labels"]["topology.kubernetes.io/zone"] = json!(zone);
}
