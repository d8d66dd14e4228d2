//! Keys of `peer-pods-cm` that every provider has.

use super::Shape::{Duration, Flag, Initdata, Networks, Number, OneOf, Path, Port, Tags, Text};
use super::{Key, Reader, option, required};

pub(super) const SETTINGS: &[Key] = &[
    required("CLOUD_PROVIDER", OneOf(&["aws", "azure", "gcp", "libvirt"]), "where the pod VMs run"),
    // Documented for OpenShift, whose own network has the port that is usual elsewhere.
    option("VXLAN_PORT", Port, Some("9000"), "UDP port of the tunnel between node and pod VM"),
    option("PROXY_TIMEOUT", Duration, Some("5m"), "how long the agent in a pod VM may take to answer"),
    Key {
        // The adaptor is told to advertise nothing: a new limit is to hold at once, and not with its next start.
        readers: &[Reader::Operator],
        ..option(
            "PEERPODS_LIMIT_PER_NODE",
            // Negative: nothing is advertised.
            Number(-1),
            Some("10"),
            "pod VMs of one node, advertised as kata.peerpods.io/vm; -1 advertises none",
        )
    },
    Key {
        readers: &[Reader::Adaptor, Reader::Operator],
        ..option(
            "DISABLECVM",
            Flag,
            Some("false"),
            "whether pod VMs are ordinary ones; the feature gate `confidential` decides and rewrites it",
        )
    },
    option("ROOT_VOLUME_SIZE", Number(6), Some("6"), "root disk of a pod VM in GB"),
    option("TAGS", Tags, None, "tags of pod VMs, to track costs or to tell clusters apart"),
    option("INITDATA", Initdata, None, "initdata of all pods that bring none, gzip and base64"),
    option("USE_PUBLIC_IP", Flag, Some("false"), "reach pod VMs by a public address"),
    option("TUNNEL_TYPE", OneOf(&["vxlan"]), Some("vxlan"), "kind of the tunnel"),
    option("FORWARDER_PORT", Port, Some("15150"), "TCP port of the agent's forwarder in the pod VM"),
    option("PAUSE_IMAGE", Text, None, "image of the pause container"),
    option("PODS_DIR", Path, Some("/run/peerpod/pods"), "directory of the adaptor's state of pods"),
    option(
        "REMOTE_HYPERVISOR_ENDPOINT",
        Path,
        Some("/run/peerpod/hypervisor.sock"),
        "socket that the shim talks to",
    ),
    option("CLOUD_CONFIG_VERIFY", Flag, Some("false"), "check the cloud's settings when the adaptor starts"),
    option("ENABLE_SCRATCH_SPACE", Flag, Some("false"), "encrypted scratch space in pod VMs"),
    option("EXTERNAL_NETWORK_VIA_PODVM", Flag, Some("false"), "pods reach other networks by their VM"),
    option("POD_SUBNET_CIDRS", Networks, None, "networks of pods that are reached by the node"),
    option("CACERT_FILE", Path, None, "authority of the forwarder's certificate"),
    option("CERT_FILE", Path, None, "certificate that the adaptor shows to the forwarder"),
    option("CERT_KEY", Path, None, "its key"),
    option("TLS_SKIP_VERIFY", Flag, Some("false"), "do not check the forwarder's certificate"),
    option("PROBE_PORT", Port, Some("8000"), "loopback port of the adaptor's startup probe"),
    option("RUNTIMECLASS_NAME", Text, Some("kata-remote"), "runtime class that the startup probe counts"),
];
