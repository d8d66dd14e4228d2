//! The guide and the code say the same.

use std::collections::BTreeSet;

use super::root;

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// String literals that are one CamelCase word, outside of tests.
fn camel_case_literals(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let is_word = |text: &&str| {
        text.len() > 3
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.chars().all(|c| c.is_ascii_alphanumeric())
            && text.chars().any(|c| c.is_ascii_lowercase())
    };
    code.split('"').filter(is_word).map(str::to_owned).collect()
}

#[test]
fn every_reason_is_explained() {
    let guide = text("docs/user-guide/troubleshooting.md");
    let mut reasons = BTreeSet::new();
    for file in [
        "status",
        "trouble",
        "install",
        "uninstall",
        "decide",
        "mode",
        "offer",
        "workload",
        "agent/config",
        "agent/install",
        "agent/trouble",
    ] {
        reasons.extend(camel_case_literals(&text(&format!("crates/engine/src/{file}.rs"))));
    }
    // Among words of Kubernetes, which objects are full of.
    for file in ["adaptor", "conditions", "image", "install", "limit", "removal", "webhook"] {
        let words = camel_case_literals(&text(&format!("crates/engine/src/peerpods/{file}.rs")));
        let own = |word: &String| ["Peer", "PodVM", "Unknown"].iter().any(|start| word.starts_with(start));
        reasons.extend(words.into_iter().filter(own));
    }
    assert!(reasons.contains("NodeDegraded") && reasons.contains("Installing"), "{reasons:?}");
    // Words of other interfaces.
    for word in ["None", "DaemonSet", "MachineConfig", "RuntimeClass"] {
        reasons.remove(word);
    }
    let missing: Vec<&String> =
        reasons.iter().filter(|reason| !guide.contains(&format!("`{reason}`"))).collect();
    assert!(missing.is_empty(), "docs/user-guide/troubleshooting.md does not explain {missing:?}");
}

#[test]
fn every_metric_and_alert_is_described() {
    let guide = text("docs/metrics.md");
    let source = text("crates/operator/src/metrics.rs");
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let metrics: BTreeSet<&str> =
        code.split('"').filter(|word| word.starts_with("osc_") || word.starts_with("kata_")).collect();
    assert!(metrics.len() > 5, "{metrics:?}");
    let rules = text("xtask/src/manifests/monitoring.rs");
    let alerts = camel_case_literals(&rules).into_iter().filter(|word| word.starts_with("Kata"));
    let names: BTreeSet<String> = metrics.into_iter().map(str::to_owned).chain(alerts).collect();
    let missing: Vec<&String> = names.iter().filter(|name| !guide.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/metrics.md does not describe {missing:?}");
}

#[test]
fn examples_are_kataconfigs_that_parse() {
    for file in ["example-kataconfig.yaml", "kataconfig-selected-nodes.yaml"] {
        let example: osc_api::KataConfig =
            serde_saphyr::from_str(&text(&format!("docs/examples/{file}"))).unwrap();
        assert_eq!(example.metadata.name.as_deref(), Some("example-kataconfig"), "{file}");
        assert!(example.spec.is_some(), "{file}");
    }
}

#[test]
fn links_between_documents_lead_to_files() {
    let mut documents = vec!["README.md".into(), "CONTRIBUTING.md".into(), "CHANGELOG.md".into()];
    for folder in ["docs", "docs/user-guide", "docs/decisions"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.contains(".md") {
                documents.push(format!("{folder}/{name}"));
            }
        }
    }
    for document in documents {
        let folder = root().join(&document).parent().unwrap().to_path_buf();
        let content = text(&document);
        for link in content.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(folder.join(path).exists(), "{document}: link to {link} leads nowhere");
        }
    }
}
