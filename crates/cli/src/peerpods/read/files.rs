//! Objects out of files.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{Objects, setup};

/// Reads files, directories and standard input, in that order.
pub fn read(paths: &[PathBuf]) -> anyhow::Result<Objects> {
    let mut objects = Objects::default();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            take(&mut objects, "standard input", &text)?;
        } else if path.is_dir() {
            for file in entries(path)? {
                read_file(&mut objects, &file)?;
            }
        } else {
            read_file(&mut objects, path)?;
        }
    }
    let named: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    ensure!(
        objects.items.iter().any(setup::concerns),
        "there is nothing of peer pods in {}: neither ConfigMap peer-pods-cm nor Secret peer-pods-secret, nor any other \
         object that belongs to them",
        named.join(", ")
    );
    Ok(objects)
}

fn read_file(objects: &mut Objects, path: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    take(objects, &path.display().to_string(), &text)
}

/// YAML and JSON of a directory, not of those below it: as `oc apply -f` does it.
fn entries(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        let mut found = std::fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<_>>>()?;
        found.retain(|path| {
            path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json")
                && path.is_file()
        });
        found.sort();
        Ok(found)
    };
    let found = read().with_context(|| format!("cannot read {}", directory.display()))?;
    ensure!(!found.is_empty(), "{} has no file that ends with .yaml, .yml or .json", directory.display());
    Ok(found)
}

/// An error must not have an excerpt: what is read may be a secret.
fn take(objects: &mut Objects, source: &str, text: &str) -> anyhow::Result<()> {
    let documents: Vec<Value> = if text.trim_start().starts_with('{') {
        serde_json::Deserializer::from_str(text).into_iter().collect::<Result<_, _>>().map_err(|error| {
            anyhow::anyhow!("{source} is no JSON: line {}, column {}", error.line(), error.column())
        })?
    } else {
        serde_saphyr::from_multiple(text)
            .map_err(|error| anyhow::anyhow!("{source} is no YAML: {}", error.without_snippet()))?
    };
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        ensure!(
            document["kind"].is_string() && document["apiVersion"].is_string(),
            "{source} has a document that is no Kubernetes object: it has no apiVersion or no kind"
        );
        if document["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) {
            objects.items.extend(document["items"].as_array().into_iter().flatten().cloned());
        } else {
            objects.items.push(document);
        }
    }
    Ok(())
}
