//! Snapshots in files: one list in YAML or JSON, or a directory as `oc adm must-gather` writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::kinds::Kind;
use super::reduce::{Fingerprints, reduce};
use super::{Info, Missing, Snapshot};

/// Where a directory keeps what is not an object.
const INFO_FILE: &str = "snapshot.yaml";
const CLUSTER_SCOPED: &str = "cluster-scoped-resources";
const NAMESPACES: &str = "namespaces";

/// A list of objects, as `oc get -o yaml` prints one, with what a snapshot says about itself.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    api_version: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot: Option<Info>,
    #[serde(default)]
    items: Vec<Value>,
}

fn list(info: Option<Info>, items: Vec<Value>) -> List {
    List { api_version: "v1".to_owned(), kind: "List".to_owned(), snapshot: info, items }
}

/// The snapshot as one text.
pub fn text(snapshot: &Snapshot, json: bool) -> anyhow::Result<String> {
    let list = list(Some(snapshot.info.clone()), snapshot.objects.clone());
    Ok(if json { serde_json::to_string_pretty(&list)? + "\n" } else { serde_saphyr::to_string(&list)? })
}

/// Writes a file, or a directory if the path ends with `/` or is one; says what was written.
pub fn write(snapshot: &Snapshot, path: &Path) -> anyhow::Result<String> {
    if path.is_dir() || path.as_os_str().to_string_lossy().ends_with('/') {
        let files = write_directory(snapshot, path)?;
        return Ok(format!("{} objects in {files} files below {}", snapshot.objects.len(), path.display()));
    }
    let json = path.extension().is_some_and(|extension| extension == "json");
    let text = text(snapshot, json)?;
    std::fs::write(path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(format!(
        "{} objects in {} ({} KiB)",
        snapshot.objects.len(),
        path.display(),
        text.len().div_ceil(1024)
    ))
}

fn write_directory(snapshot: &Snapshot, path: &Path) -> anyhow::Result<usize> {
    let failed = |path: &Path| format!("cannot write {}", path.display());
    std::fs::create_dir_all(path).with_context(|| failed(path))?;
    let mut present = std::fs::read_dir(path).with_context(|| failed(path))?;
    ensure!(
        present.next().is_none(),
        "{} is not empty: what is in it would be taken for a part of the snapshot; name another directory",
        path.display()
    );
    let mut files: BTreeMap<PathBuf, Vec<Value>> = BTreeMap::new();
    for object in &snapshot.objects {
        let Some(file) = file_of(object) else { continue };
        files.entry(file).or_default().push(object.clone());
    }
    for (file, objects) in &files {
        let file = path.join(file);
        let text = match objects.as_slice() {
            [object] => serde_saphyr::to_string(object)?,
            _ => serde_saphyr::to_string(&list(None, objects.clone()))?,
        };
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).with_context(|| failed(parent))?;
        }
        std::fs::write(&file, text).with_context(|| failed(&file))?;
    }
    let info = path.join(INFO_FILE);
    std::fs::write(&info, serde_saphyr::to_string(&snapshot.info)?).with_context(|| failed(&info))?;
    Ok(files.len() + 1)
}

/// Where must-gather keeps an object.
fn file_of(object: &Value) -> Option<PathBuf> {
    let kind = Kind::of(object["apiVersion"].as_str()?, object["kind"].as_str()?)?;
    let metadata = &object["metadata"];
    let (folder, plural) = (kind.folder(), kind.plural);
    let path = if let Some(namespace) = metadata["namespace"].as_str() {
        format!("{NAMESPACES}/{namespace}/{folder}/{plural}.yaml")
    } else {
        format!("{CLUSTER_SCOPED}/{folder}/{plural}/{}.yaml", metadata["name"].as_str()?)
    };
    Some(PathBuf::from(path))
}

/// Reads a snapshot or a must-gather, file or directory.
pub fn read(path: &Path) -> anyhow::Result<Snapshot> {
    let metadata =
        std::fs::metadata(path).with_context(|| format!("cannot read the snapshot {}", path.display()))?;
    let mut reading = Reading { prints: Fingerprints::new(), info: None, objects: Vec::new() };
    if metadata.is_dir() {
        reading.directory(path)?;
    } else {
        reading.file(path)?;
    }
    let collected = reading.info.is_none();
    let snapshot = Snapshot::new(reading.info.unwrap_or_default(), reading.objects)
        .with_context(|| format!("cannot use {}", path.display()))?;
    ensure!(
        !snapshot.nodes.is_empty(),
        "there are no nodes in {}: it is neither a snapshot (osc snapshot -o FILE) nor a must-gather (oc adm \
         must-gather)",
        path.display()
    );
    Ok(if collected { with_doubts(snapshot, path) } else { snapshot })
}

/// A must-gather does not say what it could not, or did not try to, collect.
fn with_doubts(mut snapshot: Snapshot, path: &Path) -> Snapshot {
    for (kind, resource) in [
        ("Pod", "pods"),
        ("PodDisruptionBudget", "poddisruptionbudgets.policy"),
        ("RuntimeClass", "runtimeclasses.node.k8s.io"),
    ] {
        if snapshot.of(kind).next().is_none() {
            let why =
                format!("{} has none: either there are none, or they were not collected", path.display());
            snapshot.info.missing.push(Missing { resource: resource.to_owned(), why });
        }
    }
    snapshot
}

struct Reading {
    prints: Fingerprints,
    info: Option<Info>,
    objects: Vec<Value>,
}

impl Reading {
    fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        let value = parse(path)?;
        if let Some(info) = value.get("snapshot") {
            let info = serde_json::from_value(info.clone());
            self.info = Some(info.with_context(|| format!("{}: field snapshot", path.display()))?);
        }
        ensure!(
            value["kind"].is_string(),
            "{} is no Kubernetes object and no list of them: it has no field kind",
            path.display()
        );
        self.take(&value);
        Ok(())
    }

    fn take(&mut self, value: &Value) {
        let kind_of = |value: &Value| Kind::of(value["apiVersion"].as_str()?, value["kind"].as_str()?);
        if let Some(kind) = kind_of(value) {
            let metadata = &value["metadata"];
            let text = |field: &str| metadata[field].as_str().unwrap_or_default();
            if kind.wants(text("namespace"), text("name")) {
                self.objects.push(reduce(kind, value, &self.prints));
            }
        } else if value["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) {
            let (api_version, kind) = (value["apiVersion"].clone(), value["kind"].clone());
            for mut item in value["items"].as_array().cloned().unwrap_or_default() {
                // The items of a typed list may leave out what the list says.
                if item["kind"].is_null() && item.is_object() {
                    item["apiVersion"] = api_version.clone();
                    item["kind"] = kind.as_str().unwrap_or_default().trim_end_matches("List").into();
                }
                self.take(&item);
            }
        }
    }

    /// The directory itself, or those of the images that a must-gather ran.
    fn directory(&mut self, path: &Path) -> anyhow::Result<()> {
        let is_root = |path: &Path| path.join(CLUSTER_SCOPED).is_dir() || path.join(NAMESPACES).is_dir();
        let mut roots = vec![path.to_path_buf()];
        roots.extend(entries(path)?.into_iter().filter(|entry| entry.is_dir()));
        roots.retain(|path| is_root(path));
        if roots.is_empty() {
            bail!(
                "{} has no folder {CLUSTER_SCOPED}, neither itself nor one level below: it is no must-gather and no snapshot",
                path.display()
            );
        }
        for root in roots {
            let info = root.join(INFO_FILE);
            if info.is_file() {
                let info =
                    serde_json::from_value(parse(&info)?).with_context(|| info.display().to_string())?;
                self.info = Some(info);
            }
            self.scope(&root.join(CLUSTER_SCOPED))?;
            for namespace in entries(&root.join(NAMESPACES))? {
                self.scope(&namespace)?;
                // Also pods/<name>/<name>.yaml, where they were collected one by one.
                for pod in entries(&namespace.join("pods"))? {
                    let name = pod.file_name().map(|name| format!("{}.yaml", name.to_string_lossy()));
                    if let Some(file) = name.map(|name| pod.join(name)).filter(|file| file.is_file()) {
                        self.take(&parse(&file)?);
                    }
                }
            }
        }
        Ok(())
    }

    /// `<group>/<plural>.yaml` and `<group>/<plural>/<name>.yaml`. Everything else is never opened.
    fn scope(&mut self, folder: &Path) -> anyhow::Result<()> {
        let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for group in entries(folder)?.into_iter().filter(|entry| entry.is_dir()) {
            let group_name = group.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for entry in entries(&group)? {
                let plural = if entry.is_dir() {
                    entry.file_name().unwrap_or_default().to_string_lossy().into_owned()
                } else {
                    stem(&entry)
                };
                if Kind::of_folder(&group_name, &plural).is_none() {
                    continue;
                }
                let files = if entry.is_dir() { entries(&entry)? } else { vec![entry] };
                for file in files.into_iter().filter(|file| is_object_file(file)) {
                    self.take(&parse(&file)?);
                }
            }
        }
        Ok(())
    }
}

fn is_object_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
}

/// What is in a folder, by name; nothing if there is none.
fn entries(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let read = || -> std::io::Result<Vec<PathBuf>> {
        let mut found =
            std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        found.sort();
        Ok(found)
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

/// One YAML or JSON document.
fn parse(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let parsed = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(anyhow::Error::from)
    } else {
        serde_saphyr::from_str(&text).map_err(|error| anyhow::anyhow!("{}", error.without_snippet()))
    };
    parsed.with_context(|| format!("{} is neither YAML nor JSON", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{snapshot, with};
    use super::*;
    use osc_devcluster::sim::topology::Topology;
    use serde_json::json;

    fn pod(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"nodeName": "worker-0", "containers": [{"name": "c", "image": "i"}]}, "status": {"phase": "Running"}})
    }

    fn titles(snapshot: &Snapshot) -> Vec<String> {
        snapshot.objects.iter().map(super::super::title).collect()
    }

    #[test]
    fn what_is_written_is_read_in_every_form() {
        let taken = with(&Topology::default(), vec![pod("a"), pod("b")]);
        let directory = tempfile::tempdir().unwrap();
        for name in ["s.yaml", "s.json", "folder/"] {
            let path = directory.path().join(name);
            write(&taken, &path).unwrap();
            let read = read(&path).unwrap();
            assert_eq!(titles(&read), titles(&taken), "{name}");
            assert_eq!(read.info, taken.info, "{name}");
            assert_eq!(read.pods, taken.pods, "{name}");
        }
    }

    #[test]
    fn a_must_gather_is_read_without_what_is_none_of_our_business() {
        let taken = with(&Topology::default(), vec![pod("a")]);
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("quay-io-must-gather-sha256-1/");
        write(&taken, &root).unwrap();
        std::fs::remove_file(root.join(INFO_FILE)).unwrap();
        std::fs::write(root.join("version"), "must-gather\n").unwrap();
        let secrets = root.join("namespaces/shop/core/secrets.yaml");
        std::fs::write(secrets, "this is not even: [yaml").unwrap();
        let single = root.join("namespaces/shop/pods/b/b.yaml");
        std::fs::create_dir_all(single.parent().unwrap()).unwrap();
        std::fs::write(single, serde_saphyr::to_string(&pod("b")).unwrap()).unwrap();
        let read = read(directory.path()).unwrap();
        assert_eq!((read.nodes.len(), read.pods.len()), (6, 2));
        let doubts: Vec<&str> = read.info.missing.iter().map(|missing| missing.resource.as_str()).collect();
        assert_eq!(doubts, ["poddisruptionbudgets.policy", "runtimeclasses.node.k8s.io"]);
    }

    #[test]
    fn what_is_no_snapshot_is_refused_in_words() {
        let directory = tempfile::tempdir().unwrap();
        let told = |path: &Path| format!("{:#}", read(path).unwrap_err());
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        assert!(told(&directory.path().join("none")).contains("cannot read the snapshot"));
        assert!(told(directory.path()).contains("has no folder cluster-scoped-resources"));
        assert!(told(&file("a.yaml", "a: [b")).contains("is neither YAML nor JSON"));
        assert!(told(&file("b.yaml", "a: b")).contains("has no field kind"));
        assert!(
            told(&file("c.yaml", "apiVersion: v1\nkind: List\nitems: []\n"))
                .contains("there are no nodes in")
        );
        let broken = "apiVersion: v1\nkind: Node\nmetadata: {name: node-1, labels: 5}\n";
        let error = told(&file("d.yaml", broken));
        assert!(error.contains("Node node-1 is not what its kind says"), "{error}");
    }

    #[test]
    fn a_directory_with_something_in_it_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("mine"), "").unwrap();
        let error = write(&snapshot(&Topology::default()), directory.path()).unwrap_err();
        assert!(error.to_string().contains("is not empty"), "{error}");
    }
}
