//! Configuration of CRI-O: a drop-in for the handlers, and one for the log level.

use std::collections::BTreeSet;

use toml_edit::{DocumentMut, Item, Table, value};

use super::{Change, Wanted};
use crate::error::{Error, Result};
use crate::handlers::Handler;
use crate::host::Host;
use crate::journal::{Existing, Journal};
use crate::payload::Payload;

const DROP_INS: &str = "/etc/crio/crio.conf.d";
/// After the names that packages use, so that ours decides.
const DROP_IN: &str = "/etc/crio/crio.conf.d/60-osc-node-kata.conf";
/// Named as the Machine Config Operator names its own, for which this stands in.
pub const LOG_LEVEL: &str = "/etc/crio/crio.conf.d/01-ctrcfg-logLevel";
/// Where candidates are put for CRI-O to judge.
const TRIAL: &str = "/run/osc-node";
const TRIAL_DROP_INS: &str = "/run/osc-node/crio.conf.d";
/// Where CRI-O listens.
pub const SOCKET: &str = "/run/crio/crio.sock";

/// What CRI-O's configuration lacks. A handler that came with a package of ours needs nothing.
pub fn changes(host: &Host, journal: &Journal, payload: &Payload, wanted: &Wanted) -> Result<Vec<Change>> {
    let without_ours = effective(host, None)?;
    let known = handlers(&without_ours);
    let mut missing = Vec::new();
    for handler in &wanted.handlers {
        if !known.contains(handler.name) {
            missing.push(handler);
        } else if matches!(payload, Payload::Bundle(_)) {
            return Err(Error::Refused(format!(
                "CRI-O has a handler {} already, which osc-node did not write; remove its file in {DROP_INS} if Kata is \
                 to be set up by osc-node",
                handler.name
            )));
        }
    }
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let content = drop_in(&missing);
    if host.read_text(DROP_IN)?.as_deref() != Some(content.as_str()) || !journal.owns(DROP_IN) {
        let with_ours = effective(host, Some(&content))?;
        let found = handlers(&with_ours);
        let lost = known
            .iter()
            .chain(missing.iter().map(|handler| handler.name.to_owned()).collect::<Vec<_>>().iter())
            .find(|name| !found.contains(*name))
            .cloned();
        if let Some(name) = lost {
            return Err(Error::Refused(format!(
                "CRI-O of this node would not know the handler {name} with the drop-in of osc-node (`crio config`), so \
                 nothing was changed"
            )));
        }
    }
    Ok(vec![Change { path: DROP_IN.to_owned(), content, existing: Existing::Refuse, mark: None }])
}

/// Checks what is in place now, right before a restart.
pub fn check(host: &Host, wanted: &Wanted) -> Result<()> {
    let found = handlers(&parse(&host.ask(&["crio", "config"])?)?);
    match wanted.handlers.iter().find(|handler| !found.contains(handler.name)) {
        None => Ok(()),
        Some(handler) => Err(Error::Runtime(format!(
            "CRI-O would not know the handler {} (`crio config`); it was not restarted",
            handler.name
        ))),
    }
}

/// The drop-in of the log level.
pub fn log_level(level: &str) -> String {
    format!(
        "# Written by osc-node for spec.logLevel of the KataConfig.\n[crio.runtime]\nlog_level = \"{level}\"\n"
    )
}

/// What CRI-O makes of its configuration with another drop-in of ours, or none.
fn effective(host: &Host, ours: Option<&str>) -> Result<DocumentMut> {
    host.create_dir(TRIAL)?;
    host.remove_tree(TRIAL_DROP_INS)?;
    host.create_dir(TRIAL_DROP_INS)?;
    for name in host.list(DROP_INS)? {
        let path = format!("{DROP_INS}/{name}");
        if path == DROP_IN || host.is_dir(&path)? {
            continue;
        }
        if let Some(content) = host.read(&path)? {
            host.write(&format!("{TRIAL_DROP_INS}/{name}"), &content, None)?;
        }
    }
    if let (Some(content), Some((_, name))) = (ours, DROP_IN.rsplit_once('/')) {
        host.write(&format!("{TRIAL_DROP_INS}/{name}"), content.as_bytes(), None)?;
    }
    parse(&host.ask(&["crio", "--config-dir", TRIAL_DROP_INS, "config"])?)
}

fn parse(text: &str) -> Result<DocumentMut> {
    text.parse().map_err(|error| Error::Refused(format!("`crio config` of the host tells no TOML: {error}")))
}

fn handlers(config: &DocumentMut) -> BTreeSet<String> {
    let runtimes = config.get("crio").and_then(|crio| crio.get("runtime")?.get("runtimes")?.as_table_like());
    runtimes.map(|runtimes| runtimes.iter().map(|(name, _)| name.to_owned()).collect()).unwrap_or_default()
}

fn drop_in(handlers: &[&Handler]) -> String {
    let implicit = || {
        let mut table = Table::new();
        table.set_implicit(true);
        table
    };
    let mut runtimes = implicit();
    for handler in handlers {
        let mut table = Table::new();
        table["runtime_path"] = value(handler.shim);
        table["runtime_type"] = value("vm");
        table["runtime_root"] = value("/run/vc");
        table["runtime_config_path"] = value(handler.config.as_str());
        table["privileged_without_host_devices"] = value(true);
        if handler.pulls_in_guest() {
            table["runtime_pull_image"] = value(true);
            table["allowed_annotations"] =
                value(toml_edit::Array::from_iter(["io.kubernetes.cri-o.Devices"]));
        }
        runtimes.insert(handler.name, Item::Table(table));
    }
    let mut runtime = implicit();
    runtime.insert("runtimes", Item::Table(runtimes));
    let mut crio = implicit();
    crio.insert("runtime", Item::Table(runtime));
    let mut document = DocumentMut::new();
    document.insert("crio", Item::Table(crio));
    format!("# Handlers of Kata, written by osc-node.\n{document}")
}
