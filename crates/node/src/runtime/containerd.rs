//! Configuration of containerd: a drop-in, and an import of it in `config.toml`.
//!
//! containerd 1.x does not merge an imported file into a plugin's section: it takes the imported section instead. A
//! drop-in with nothing but our handlers would take `runc` away, and the CRI plugin would not load. So containerd
//! itself is asked what it would make of a candidate (`containerd config dump`), before anything is changed: if all that
//! was there is still there, the small drop-in does; otherwise it carries the whole section along.
//! See docs/decisions/0018-the-containerd-drop-in-carries-what-is-there.md.

use std::collections::BTreeSet;

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value, value};

use super::{Change, Wanted};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::journal::Existing;

const CONFIG: &str = "/etc/containerd/config.toml";
/// Ours alone.
const DROP_IN: &str = "/etc/containerd/osc-node.d/kata.toml";
/// As a pattern, so that a file that is gone does not keep containerd from starting.
const IMPORT: &str = "/etc/containerd/osc-node.d/*.toml";
/// Where candidates are put for containerd to judge.
const TRIAL: &str = "/run/osc-node";
const TRIAL_BASE: &str = "/run/osc-node/containerd-base.toml";
const TRIAL_DROP_IN: &str = "/run/osc-node/containerd-drop-in.toml";
const TRIAL_CONFIG: &str = "/run/osc-node/containerd-candidate.toml";
/// Its service.
pub const SERVICE: &str = "containerd.service";
const DEFAULT_SOCKET: &str = "/run/containerd/containerd.sock";

/// The plugin that has the handlers, by version of the configuration.
pub fn plugin(version: i64) -> &'static str {
    if version >= 3 { "io.containerd.cri.v1.runtime" } else { "io.containerd.grpc.v1.cri" }
}

/// What containerd's configuration lacks.
pub fn changes(host: &Host, wanted: &Wanted) -> Result<Vec<Change>> {
    let config = config_path(host)?;
    let now = host.read_text(&config)?;
    let folder = config.rsplit_once('/').map_or("/", |(folder, _)| folder);
    let base = base(host, now.as_deref(), &config, folder)?;
    let version = version(&base, &config)?;
    let effective = effective(host, &base, TRIAL_BASE)?;
    refuse_taken(&effective, wanted, &config)?;
    let drop_in = judged_drop_in(host, &base, version, &effective, wanted)?;
    let mut changes =
        vec![Change { path: DROP_IN.to_owned(), content: drop_in, existing: Existing::Refuse, mark: None }];
    let config_now = parse(&now.unwrap_or_else(|| format!("version = {version}\n")), &config)?;
    if !imports(&config_now) {
        let content = with_import(&config_now, IMPORT, &config)?.to_string();
        changes.push(Change {
            path: config,
            content,
            existing: Existing::Replace,
            mark: Some(IMPORT.to_owned()),
        });
    }
    Ok(changes)
}

/// Checks what is in place now, right before a restart.
pub fn check(host: &Host, wanted: &Wanted) -> Result<()> {
    let config = config_path(host)?;
    let effective = dump(host, "containerd", &config)?;
    let found = handlers(&effective);
    match wanted.handlers.iter().find(|handler| !found.contains(handler.name)) {
        None => Ok(()),
        Some(handler) => Err(Error::Runtime(format!(
            "containerd would not know the handler {} with {config}: an import after ours may replace the section; \
             see `containerd config dump`. It was not restarted",
            handler.name
        ))),
    }
}

/// Where containerd listens.
pub fn socket(host: &Host) -> Result<String> {
    let Some(text) = host.read_text(&config_path(host)?)? else { return Ok(DEFAULT_SOCKET.to_owned()) };
    let address =
        parse(&text, CONFIG)?.get("grpc").and_then(|grpc| grpc.get("address")?.as_str().map(str::to_owned));
    Ok(address.unwrap_or_else(|| DEFAULT_SOCKET.to_owned()))
}

/// The file that the service is started with.
fn config_path(host: &Host) -> Result<String> {
    let command = host.ask(&["systemctl", "show", "--property=ExecStart", "--value", SERVICE])?;
    let mut words =
        command.split_whitespace().skip_while(|word| !word.ends_with("argv[]=") && !word.contains('/'));
    while let Some(word) = words.next() {
        if let Some(path) = word.strip_prefix("--config=") {
            return Ok(path.to_owned());
        }
        if matches!(word, "--config" | "-c") {
            return Ok(words.next().unwrap_or(CONFIG).trim_end_matches(';').to_owned());
        }
    }
    Ok(CONFIG.to_owned())
}

/// The configuration without ours, to be read from another folder.
fn base(host: &Host, now: Option<&str>, config: &str, folder: &str) -> Result<DocumentMut> {
    let Some(now) = now else {
        let version = if major(host)? >= 2 { 3 } else { 2 };
        return parse(&format!("version = {version}\n"), config);
    };
    let mut base = parse(now, config)?;
    if let Some(imports) = base.get_mut("imports") {
        let imports = imports.as_array_mut().ok_or_else(|| no_list(config))?;
        imports.retain(|one| one.as_str() != Some(IMPORT));
        for one in imports.iter_mut() {
            if let Some(relative) = one.as_str().filter(|path| !path.starts_with('/')) {
                *one = Value::from(format!("{folder}/{relative}"));
            }
        }
    }
    Ok(base)
}

fn major(host: &Host) -> Result<u32> {
    // containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b71...
    let line = host.ask(&["containerd", "--version"])?;
    let number = line.split_whitespace().nth(2).map(|word| word.trim_start_matches('v'));
    number.and_then(|number| number.split('.').next()?.parse().ok()).ok_or_else(|| {
        Error::Refused(format!("`containerd --version` of the host tells no version: {}", line.trim()))
    })
}

fn version(base: &DocumentMut, config: &str) -> Result<i64> {
    match base.get("version").and_then(Item::as_integer) {
        Some(version @ (2 | 3)) => Ok(version),
        found => Err(Error::Refused(format!(
            "{config} of the host has version {}; osc-node knows 2 and 3: see `containerd config migrate`",
            found.map_or_else(|| "1 (none is said)".to_owned(), |version| version.to_string())
        ))),
    }
}

/// A handler of ours that somebody else has configured.
fn refuse_taken(effective: &DocumentMut, wanted: &Wanted, config: &str) -> Result<()> {
    let known = handlers(effective);
    match wanted.handlers.iter().find(|handler| known.contains(handler.name)) {
        None => Ok(()),
        Some(handler) => Err(Error::Refused(format!(
            "containerd has a handler {} already, in {config} or in a file that it imports, which osc-node did not \
             write; remove it there if Kata is to be set up by osc-node",
            handler.name
        ))),
    }
}

/// The smallest drop-in with which containerd still has all that it has without.
fn judged_drop_in(
    host: &Host,
    base: &DocumentMut,
    version: i64,
    effective: &DocumentMut,
    wanted: &Wanted,
) -> Result<String> {
    let carried_version = self::version(effective, "`containerd config dump`")?;
    let section = effective.get("plugins").and_then(|plugins| plugins.get(plugin(carried_version)));
    let section = section.and_then(Item::as_table).cloned().unwrap_or_default();
    let carrying = drop_in(carried_version, section, wanted)?;
    if host.read_text(DROP_IN)?.as_ref() == Some(&carrying) {
        // It carries all that there is now, and was judged before it was written: a look every few minutes costs little.
        return Ok(carrying);
    }
    let small = drop_in(version, Table::new(), wanted)?;
    if lost(host, base, &small, effective, wanted)?.is_none() {
        return Ok(small);
    }
    match lost(host, base, &carrying, effective, wanted)? {
        None => Ok(carrying),
        Some(what) => Err(Error::Refused(format!(
            "containerd of this node does not take a drop-in without losing its own configuration ({what}), so nothing \
             was changed; its configuration can be seen by `containerd config dump`"
        ))),
    }
}

/// What containerd would lose with this drop-in; none if nothing.
fn lost(
    host: &Host,
    base: &DocumentMut,
    drop_in: &str,
    before: &DocumentMut,
    wanted: &Wanted,
) -> Result<Option<String>> {
    host.create_dir(TRIAL)?;
    host.write(TRIAL_DROP_IN, drop_in.as_bytes(), None)?;
    let candidate = with_import(base, TRIAL_DROP_IN, "the candidate")?;
    let after = effective(host, &candidate, TRIAL_CONFIG)?;
    let known = handlers(&after);
    if let Some(handler) = wanted.handlers.iter().find(|handler| !known.contains(handler.name)) {
        return Ok(Some(format!("the handler {} would not be known", handler.name)));
    }
    let names: BTreeSet<&str> = wanted.handlers.iter().map(|handler| handler.name).collect();
    Ok(difference(&strip(before, &names), &strip(&after, &names)))
}

/// What containerd makes of a configuration.
fn effective(host: &Host, config: &DocumentMut, path: &str) -> Result<DocumentMut> {
    host.create_dir(TRIAL)?;
    host.write(path, config.to_string().as_bytes(), None)?;
    dump(host, "containerd", path)
}

/// `containerd config dump` of a file.
pub fn dump(host: &Host, program: &str, path: &str) -> Result<DocumentMut> {
    let text = host.ask(&[program, "--config", path, "config", "dump"])?;
    parse(&text, "`containerd config dump`")
}

/// Names of all handlers.
pub fn handlers(effective: &DocumentMut) -> BTreeSet<String> {
    let version = effective.get("version").and_then(Item::as_integer).unwrap_or(2);
    let runtimes = effective.get("plugins").and_then(|plugins| {
        plugins.get(plugin(version))?.get("containerd")?.get("runtimes")?.as_table_like()
    });
    runtimes.map(|runtimes| runtimes.iter().map(|(name, _)| name.to_owned()).collect()).unwrap_or_default()
}

/// The tables of our handlers in a section.
pub fn add_handlers(section: &mut Table, wanted: &Wanted) -> Result<()> {
    let runtimes = child(child(section, "containerd")?, "runtimes")?;
    for handler in &wanted.handlers {
        let mut table = Table::new();
        table["runtime_type"] = value(format!("io.containerd.{}.v2", handler.name));
        table["runtime_path"] = value(handler.shim);
        table["privileged_without_host_devices"] = value(true);
        table["pod_annotations"] = value(Array::from_iter(["io.katacontainers.*"]));
        let mut options = Table::new();
        options["ConfigPath"] = value(handler.config.as_str());
        table.insert("options", Item::Table(options));
        runtimes.insert(handler.name, Item::Table(table));
    }
    Ok(())
}

fn child<'a>(table: &'a mut Table, name: &str) -> Result<&'a mut Table> {
    let mut implicit = Table::new();
    implicit.set_implicit(true);
    let item = table.entry(name).or_insert(Item::Table(implicit));
    item.as_table_mut()
        .ok_or_else(|| Error::Refused(format!("containerd's configuration has no table {name}")))
}

fn drop_in(version: i64, mut section: Table, wanted: &Wanted) -> Result<String> {
    let carries = !section.is_empty();
    section.set_implicit(true);
    add_handlers(&mut section, wanted)?;
    let mut document = DocumentMut::new();
    document["version"] = value(version);
    if !wanted.log_level.is_default() {
        let mut debug = Table::new();
        debug["level"] = value(wanted.log_level.name());
        document.insert("debug", Item::Table(debug));
    }
    let mut plugins = Table::new();
    plugins.set_implicit(true);
    plugins.insert(plugin(version), Item::Table(section));
    document.insert("plugins", Item::Table(plugins));
    let about = if carries {
        "# Handlers of Kata, written by osc-node. This containerd takes an imported section instead of its own, so\n\
         # everything that was there is repeated. osc-node writes it anew when config.toml or its imports change.\n"
    } else {
        "# Handlers of Kata, written by osc-node.\n"
    };
    let mut tables = 0;
    renumber(document.as_table_mut(), &mut tables);
    Ok(format!("{about}{document}"))
}

/// Tables of two documents in one are written in the order of their positions; these are given anew.
fn renumber(table: &mut Table, next: &mut isize) {
    table.set_position(Some(*next));
    *next += 1;
    for (_, item) in table.iter_mut() {
        if let Item::Table(inner) = item {
            renumber(inner, next);
        }
    }
}

fn with_import(config: &DocumentMut, import: &str, path: &str) -> Result<DocumentMut> {
    let mut config = config.clone();
    let imports = config.entry("imports").or_insert_with(|| value(Array::new()));
    imports.as_array_mut().ok_or_else(|| no_list(path))?.push(import);
    Ok(config)
}

/// Whether our drop-in is imported.
fn imports(config: &DocumentMut) -> bool {
    let imports = config.get("imports").and_then(Item::as_array);
    imports.is_some_and(|imports| imports.iter().any(|one| one.as_str() == Some(IMPORT)))
}

fn no_list(path: &str) -> Error {
    Error::Refused(format!("`imports` in {path} of the host is no list"))
}

fn parse(text: &str, path: &str) -> Result<DocumentMut> {
    text.parse()
        .map_err(|error| Error::Refused(format!("{path} of the host is no TOML that can be read: {error}")))
}

/// A configuration without what is ours to change.
fn strip(config: &DocumentMut, ours: &BTreeSet<&str>) -> Table {
    let mut config = config.as_table().clone();
    config.remove("imports");
    if let Some(debug) = config.get_mut("debug").and_then(Item::as_table_like_mut) {
        debug.remove("level");
    }
    let version = config.get("version").and_then(Item::as_integer).unwrap_or(2);
    let runtimes = config
        .get_mut("plugins")
        .and_then(|plugins| plugins.get_mut(plugin(version))?.get_mut("containerd")?.get_mut("runtimes"));
    if let Some(runtimes) = runtimes.and_then(Item::as_table_like_mut) {
        for name in ours {
            runtimes.remove(name);
        }
    }
    config
}

/// The first key in which two tables differ; layout and comments do not matter.
fn difference(one: &dyn TableLike, other: &dyn TableLike) -> Option<String> {
    let keys: BTreeSet<&str> = one.iter().chain(other.iter()).map(|(key, _)| key).collect();
    keys.into_iter().find_map(|key| {
        let inner = match (one.get(key), other.get(key)) {
            (Some(one), Some(other)) => match (one.as_table_like(), other.as_table_like()) {
                (Some(one), Some(other)) => difference(one, other).map(|inner| format!(".{inner}")),
                _ => (plain(one) != plain(other)).then(String::new),
            },
            // An empty table is as good as none.
            (Some(only), None) | (None, Some(only)) => {
                only.as_table_like().is_none_or(|table| !table.is_empty()).then(String::new)
            }
            (None, None) => None,
        };
        inner.map(|inner| format!("{key}{inner}"))
    })
}

fn plain(item: &Item) -> String {
    match item.as_value() {
        Some(Value::Array(array)) => {
            array.iter().map(|one| plain(&Item::Value(one.clone()))).collect::<Vec<_>>().join(",")
        }
        Some(value) => value.clone().decorated("", "").to_string(),
        None => item.to_string(),
    }
}
