//! Names of the webhook that changes peer pods, and whom it is not asked about.

/// Deployment of the webhook; also the value of its pods' label `app`.
pub const DEPLOYMENT: &str = "peer-pods-webhook";
/// Service in front of it.
pub const SERVICE: &str = "peer-pods-webhook-svc";
/// Secret with its serving certificate.
pub const SECRET: &str = "peer-pods-webhook-svc-secret";
/// MutatingWebhookConfiguration by which API servers ask it.
pub const CONFIGURATION: &str = "mutating-webhook-configuration";
/// The webhook in it.
pub const WEBHOOK: &str = "mwebhook.peerpods.io";
/// Path of the question.
pub const PATH: &str = "/mutate-v1-pod";
/// What API servers look at before they ask, where they can: a CEL expression.
pub const MATCH_CONDITION: &str =
    "has(object.spec.runtimeClassName) && object.spec.runtimeClassName == 'kata-remote'";

/// Namespaces whose pods are left alone: those that the cluster itself runs in.
pub const EXCLUDED_NAMESPACES: &[&str] = &["peer-pods-webhook-system", "kube-system"];
