//! The guide shows what the commands print.
//!
//! Every console block of docs/user-guide/peer-pods.md whose command begins with `osc peerpods` is run, in the order of the
//! page: on an embedded cluster of the cloud of its heading, in a directory that keeps the files of the section.
//! `UPDATE_GUIDE=1 cargo test -p osc --test peerpods the_guide` writes the guide anew.

use osc_api::peerpods::Provider;

use crate::fixture::{Cluster, filled, root, stderr, stdout};

const GUIDE: &str = "docs/user-guide/peer-pods.md";
/// What the address of an embedded cluster is replaced by.
const ADDRESS: &str = "https://api.shop.example.com:6443/";

fn provider(heading: &str) -> Option<Provider> {
    match heading.trim() {
        "AWS" => Some(Provider::Aws),
        "Azure" => Some(Provider::Azure),
        "Google Cloud" => Some(Provider::Gcp),
        "libvirt" => Some(Provider::Libvirt),
        _ => None,
    }
}

/// A command of the guide, with backslashes at the ends of lines, and how many lines it has.
fn command(block: &str) -> (String, usize) {
    let mut command = String::new();
    for (number, line) in block.lines().enumerate() {
        let Some(part) = line.strip_suffix('\\') else {
            command.push_str(line);
            return (command, number + 1);
        };
        command.push_str(part);
    }
    (command, block.lines().count())
}

/// Runs one block; what it is to show.
async fn shown(cluster: &Cluster, block: &str) -> String {
    let (typed, lines) = command(block);
    let arguments: Vec<&str> = typed.strip_prefix("$ osc peerpods ").unwrap().split_whitespace().collect();
    let output = cluster.osc(&arguments).await;
    assert!(matches!(output.status.code(), Some(0 | 2)), "{typed}: {}", stderr(&output));
    let head: Vec<&str> = block.lines().take(lines).collect();
    let printed = format!("{}{}", stdout(&output), stderr(&output));
    let address = cluster.server.url().unwrap();
    format!("{}\n{}", head.join("\n"), printed.replace(&format!("{address}/"), ADDRESS))
}

/// `oc apply -f FILE` of a block.
async fn apply(cluster: &Cluster, block: &str) {
    for file in block.lines().filter_map(|line| line.strip_prefix("$ oc apply -f ")) {
        let text = std::fs::read_to_string(cluster.directory().join(file)).unwrap();
        cluster.apply(&text).await;
    }
}

/// Files that a person has: the examples of the provider, filled in, but without its config map.
fn files(cluster: &Cluster, provider: Provider) {
    let folder = root().join("docs/examples/peerpods").join(provider.name());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_file() && name != "peer-pods-cm.yaml" {
            std::fs::write(cluster.directory().join(name), filled(&std::fs::read_to_string(path).unwrap()))
                .unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_shows_what_is_printed() {
    let path = root().join(GUIDE);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut written = String::new();
    let mut blocks = 0;
    for (number, section) in text.split("\n## ").enumerate() {
        if number > 0 {
            written.push_str("\n## ");
        }
        let heading = section.lines().next().unwrap_or_default();
        let Some(provider) = provider(heading) else {
            assert!(
                !section.contains("\n$ osc peerpods check -f") || number > 0,
                "a command without a cluster"
            );
            written.push_str(section);
            continue;
        };
        let cluster = Cluster::start(provider).await;
        files(&cluster, provider);
        let mut parts = section.split("```console\n");
        written.push_str(parts.next().unwrap());
        for part in parts {
            let (block, rest) = part.split_once("```").unwrap();
            written.push_str("```console\n");
            if block.starts_with("$ osc peerpods ") {
                blocks += 1;
                written.push_str(&shown(&cluster, block).await);
            } else {
                apply(&cluster, block).await;
                written.push_str(block);
            }
            written.push_str("```");
            written.push_str(rest);
        }
        cluster.server.stop().await;
    }
    assert!(blocks >= 6, "the guide shows the commands");
    if std::env::var_os("UPDATE_GUIDE").is_some() {
        std::fs::write(&path, &written).unwrap();
        return;
    }
    let differing = text.lines().zip(written.lines()).find(|(guide, printed)| guide != printed);
    assert!(
        text == written,
        "{GUIDE} shows other output than the commands print, first here: {differing:?}; write it anew with \
         UPDATE_GUIDE=1 cargo test -p osc --test peerpods the_guide"
    );
}
