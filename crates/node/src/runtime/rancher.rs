//! Configuration of the containerd inside of k3s and RKE2: the template from which they write it at each start.

use toml_edit::{DocumentMut, Item, Table};

use super::containerd::{self, plugin};
use super::{Change, Wanted};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::journal::Existing;
use crate::platform::Rancher;

/// What a template says that only adds to the built-in one.
const BUILT_IN: &str = "{{ template \"base\" . }}\n";
/// Around what is ours.
const BEGIN: &str = "# osc-node: handlers of Kata, begin\n";
const END: &str = "# osc-node: handlers of Kata, end\n";
const TRIAL: &str = "/run/osc-node";
const TRIAL_CONFIG: &str = "/run/osc-node/containerd-candidate.toml";
/// Where both listen.
pub const SOCKET: &str = "/run/k3s/containerd/containerd.sock";

fn folder(rancher: Rancher) -> String {
    format!("/var/lib/rancher/{}/agent/etc/containerd", rancher.name())
}

/// Their containerd, which is on no search path.
fn program(rancher: Rancher) -> &'static str {
    match rancher {
        Rancher::K3s => "/var/lib/rancher/k3s/data/current/bin/containerd",
        Rancher::Rke2 => "/var/lib/rancher/rke2/bin/containerd",
    }
}

/// The service that runs on this node.
pub fn service(host: &Host, rancher: Rancher) -> Result<String> {
    let name = rancher.name();
    let services = match rancher {
        Rancher::K3s => ["k3s-agent.service".to_owned(), "k3s.service".to_owned()],
        Rancher::Rke2 => ["rke2-agent.service".to_owned(), "rke2-server.service".to_owned()],
    };
    for service in &services {
        if host.ask(&["systemctl", "is-active", service]).is_ok() {
            return Ok(service.clone());
        }
    }
    Err(Error::Refused(format!(
        "no service of {name} is active on this node: neither {}",
        services.join(" nor ")
    )))
}

/// What the template lacks.
pub fn changes(host: &Host, rancher: Rancher, wanted: &Wanted) -> Result<Vec<Change>> {
    let folder = folder(rancher);
    let written = format!("{folder}/config.toml");
    let Some(text) = host.read_text(&written)? else {
        return Err(Error::Refused(format!(
            "{written} is missing: {} has not started on this node",
            rancher.name()
        )));
    };
    let base = without_ours(&text);
    let parsed: DocumentMut = base.parse().map_err(|error| {
        Error::Refused(format!("{written} of the host is no TOML that can be read: {error}"))
    })?;
    let version = parsed.get("version").and_then(Item::as_integer).unwrap_or(2);
    let known = containerd::handlers(&parsed);
    if let Some(handler) = wanted.handlers.iter().find(|handler| known.contains(handler.name)) {
        return Err(Error::Refused(format!(
            "{} has a handler {} already, which osc-node did not write; remove it from its template in {folder} if Kata \
             is to be set up by osc-node",
            rancher.name(),
            handler.name
        )));
    }
    let ours = format!("{BEGIN}{}{END}", tables(version, wanted)?);
    judge(host, rancher, &format!("{base}\n{ours}"), wanted, &known)?;
    let template =
        format!("{folder}/{}", if version >= 3 { "config-v3.toml.tmpl" } else { "config.toml.tmpl" });
    let now = host.read_text(&template)?;
    if now.as_ref().is_some_and(|now| now.contains(&ours)) {
        return Ok(Vec::new());
    }
    let kept = now.as_deref().map_or_else(|| BUILT_IN.to_owned(), without_ours);
    let newline = if kept.ends_with('\n') { "" } else { "\n" };
    let content = format!("{kept}{newline}{ours}");
    Ok(vec![Change {
        path: template,
        content,
        existing: Existing::Replace,
        mark: Some(BEGIN.trim().to_owned()),
    }])
}

/// Checks what they wrote, after a start.
fn judge(
    host: &Host,
    rancher: Rancher,
    candidate: &str,
    wanted: &Wanted,
    known: &std::collections::BTreeSet<String>,
) -> Result<()> {
    host.create_dir(TRIAL)?;
    host.write(TRIAL_CONFIG, candidate.as_bytes(), None)?;
    let found = containerd::handlers(&containerd::dump(host, program(rancher), TRIAL_CONFIG)?);
    let ours = wanted.handlers.iter().map(|handler| handler.name);
    match ours.chain(known.iter().map(String::as_str)).find(|name| !found.contains(*name)) {
        None => Ok(()),
        Some(name) => Err(Error::Refused(format!(
            "the containerd of {} would not know the handler {name} with the addition of osc-node, so nothing was changed",
            rancher.name()
        ))),
    }
}

fn tables(version: i64, wanted: &Wanted) -> Result<String> {
    let mut section = Table::new();
    section.set_implicit(true);
    containerd::add_handlers(&mut section, wanted)?;
    let mut plugins = Table::new();
    plugins.set_implicit(true);
    plugins.insert(plugin(version), Item::Table(section));
    let mut document = DocumentMut::new();
    document.insert("plugins", Item::Table(plugins));
    Ok(document.to_string().trim_start().to_owned())
}

fn without_ours(text: &str) -> String {
    match (text.find(BEGIN), text.find(END)) {
        (Some(begin), Some(end)) if begin < end => format!("{}{}", &text[..begin], &text[end + END.len()..]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::Handler;
    use crate::settings::LogLevel;

    #[test]
    fn what_is_added_to_a_template_of_version_3() {
        let handler = Handler {
            name: "kata",
            shim: "/opt/kata/bin/containerd-shim-kata-v2",
            config: "/opt/kata/share/defaults/kata-containers/configuration.toml".to_owned(),
        };
        let wanted = Wanted { handlers: vec![handler], log_level: LogLevel::parse("").unwrap() };
        insta::assert_snapshot!(tables(3, &wanted).unwrap());
    }

    #[test]
    fn what_is_ours_is_found_again() {
        let text = format!("before\n{BEGIN}ours\n{END}after\n");
        assert_eq!(without_ours(&text), "before\nafter\n");
        assert_eq!(without_ours("nothing of ours\n"), "nothing of ours\n");
    }
}
