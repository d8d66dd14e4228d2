//! `osc peerpods check` on files.

use osc_api::peerpods::{Provider, keys};
use rstest::rstest;
use serde_json::Value;

use crate::fixture::{PLANTED, check, findings, osc, reasons, root, setup, stderr, stdout};

/// A setting in another line of the config map; by an older spelling, it is there by that alone.
fn with(provider: Provider, line: &str) -> String {
    let key = line.split(':').next().unwrap();
    let text = setup(provider);
    let named = keys::settings(provider).find(|known| known.aliases.contains(&key));
    let goes = |line: &str| {
        [Some(key), named.map(|known| known.name)]
            .into_iter()
            .flatten()
            .any(|key| line.trim_start().starts_with(&format!("{key}:")))
    };
    let kept: Vec<&str> = text.lines().filter(|line| !goes(line)).collect();
    let (before, after) = {
        let text = kept.join("\n");
        let at = text.find("name: peer-pods-cm").unwrap();
        let data = at + text[at..].find("data:\n").unwrap() + "data:\n".len();
        (text[..data].to_owned(), text[data..].to_owned())
    };
    if line.ends_with(": -") { format!("{before}{after}\n") } else { format!("{before}  {line}\n{after}\n") }
}

#[rstest]
#[case::port_is_no_number(Provider::Aws, "VXLAN_PORT: \"udp\"", 2, "WrongValue")]
#[case::number_without_quotes(Provider::Aws, "VXLAN_PORT: 9000", 2, "NotText")]
#[case::subnet_missing(Provider::Aws, "AWS_SUBNET_ID: -", 2, "SettingMissing")]
#[case::zone_for_region(Provider::Aws, "AWS_REGION: \"eu-west-1a\"", 2, "ZoneForRegion")]
#[case::two_subnets(Provider::Aws, "AWS_SUBNET_ID: \"subnet-1,subnet-2\"", 2, "WrongValue")]
#[case::misspelt(Provider::Aws, "VXLAN_PROT: \"9001\"", 0, "UnknownKey")]
#[case::not_in_its_list(Provider::Aws, "PODVM_INSTANCE_TYPES: \"t2.small,t3.large\"", 0, "SizeNotAllowed")]
#[case::own_image(Provider::Aws, "PODVM_AMI_ID: \"ami-0a\"", 0, "ImageOfYourOwn")]
#[case::short_subnet(Provider::Azure, "AZURE_SUBNET_ID: \"worker\"", 2, "WrongValue")]
#[case::size(Provider::Azure, "AZURE_INSTANCE_SIZE: \"Standard_D8as_v5\"", 0, "SizeNotAllowed")]
#[case::other_provider(Provider::Azure, "GCP_ZONE: \"europe-west1-b\"", 0, "OtherProvider")]
#[case::region_for_zone(Provider::Gcp, "GCP_ZONE: \"europe-west1\"", 2, "RegionForZone")]
#[case::network_missing(Provider::Gcp, "GCP_NETWORK: -", 2, "SettingMissing")]
#[case::older(Provider::Gcp, "GCP_IMAGE_NAME: \"podvm\"", 0, "OlderSpelling")]
#[case::tunnel(Provider::Gcp, "VXLAN_PORT: \"4789\"", 0, "TunnelPortTaken")]
#[case::directory(Provider::Libvirt, "LIBVIRT_DIR_NAME: \"images\"", 2, "WrongValue")]
#[case::shared(Provider::Libvirt, "LIBVIRT_DIR_NAME: \"/var/lib/libvirt/images\"", 0, "DirectoryShared")]
#[case::small_disk(Provider::Libvirt, "ROOT_VOLUME_SIZE: \"5\"", 2, "WrongValue")]
#[case::limit(Provider::Libvirt, "PEERPODS_LIMIT_PER_NODE: \"0\"", 0, "NoCapacity")]
fn what_is_wrong_is_told_with_an_exit_code(
    #[case] provider: Provider,
    #[case] line: &str,
    #[case] code: i32,
    #[case] reason: &str,
) {
    let text = with(provider, line);
    let (found_code, found) = findings(&text);
    assert_eq!(found_code, Some(code), "{found:#?}");
    let told =
        found.iter().find(|finding| finding["reason"] == reason).unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(told["severity"] == "blocks", code == 2);
    assert!(told["what"].as_str().unwrap().contains(line.split(':').next().unwrap()), "{told}");
    for field in ["why", "do"] {
        assert!(told[field].as_str().is_some_and(|text| !text.is_empty()), "{told}");
    }
    let text = stdout(&check(&text, &[]));
    assert!(
        text.contains(if code == 2 { "stands in the way" } else { "nothing stands in the way" }),
        "{text}"
    );
}

#[test]
fn objects_are_told_one_by_one_the_gravest_first() {
    let text = with(Provider::Aws, "VXLAN_PROT: \"1\"").replace("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY");
    let output = check(&text, &[]);
    insta::assert_snapshot!(stdout(&output));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_settings_that_hold_are_shown_with_their_origin() {
    let text = with(Provider::Gcp, "GCP_IMAGE_NAME: \"podvm\"");
    let output = check(&text, &["--show"]);
    let shown = stdout(&output);
    let row = |words: [&str; 3]| {
        let found = shown.lines().any(|line| line.split_whitespace().take(3).eq(words));
        assert!(found, "{words:?} is not in\n{shown}");
    };
    row(["GCP_ZONE", "europe-west1-b", "peer-pods-cm"]);
    row(["PODVM_IMAGE_NAME", "podvm", "peer-pods-cm,"]);
    row(["GCP_DISK_TYPE", "pd-standard", "default"]);
    let value: Value = serde_json::from_slice(&check(&text, &["--show", "-o", "json"]).stdout).unwrap();
    let settings = value["settings"].as_array().unwrap();
    let image = settings.iter().find(|setting| setting["key"] == "PODVM_IMAGE_NAME").unwrap();
    assert_eq!(image["from"], "peer-pods-cm, as GCP_IMAGE_NAME");
    assert_eq!((&value["provider"], &value["blocked"]), (&Value::from("gcp"), &Value::from(false)));
}

/// Whatever is wrong, and however it is shown.
#[test]
fn no_output_has_a_value_of_a_secret() {
    for provider in Provider::ALL {
        let whole = setup(provider);
        assert!(whole.contains(PLANTED));
        let broken = [
            whole.clone(),
            whole.replace(PLANTED, &format!("{PLANTED} ")),
            whole.replace("stringData:", "data:"),
            whole.replace(PLANTED, &format!("<{PLANTED}>")),
            whole.replace(
                "stringData:\n",
                &format!("stringData:\n  VXLAN_PORT: {PLANTED}\n  MINE: {PLANTED}\n  TAGS: {PLANTED}\n"),
            ),
            whole.replace("  namespace: openshift-sandboxed-containers-operator\n", ""),
            format!("{whole}---\nthis: [is, {PLANTED}\n"),
            format!("{whole}---\n\"{PLANTED}\": &{PLANTED} *{PLANTED}\n"),
        ];
        for text in broken {
            for arguments in [&["--show"][..], &["--show", "-o", "json"], &["--show", "-o", "yaml"]] {
                let output = check(&text, arguments);
                let printed = format!("{}{}", stdout(&output), stderr(&output));
                assert!(!printed.contains(PLANTED), "{provider:?} {arguments:?}:\n{printed}");
            }
        }
    }
}

#[test]
fn files_directories_and_lists_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let text = setup(Provider::Azure);
    write("all.yaml", &text);
    write("notes.txt", "not read");
    let run = |arguments: &[&str]| osc(directory.path(), None, &[&["check"], arguments].concat(), "");
    let expected = stdout(&run(&["-f", "all.yaml"]));
    assert!(expected.contains("Peer pods on Microsoft Azure: nothing stands in the way."), "{expected}");
    assert_eq!(stdout(&run(&["-f", "."])), expected);
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": documents});
    write("list.json", &list.to_string());
    assert_eq!(stdout(&run(&["-f", "list.json"])), expected);
    for (number, document) in documents.iter().enumerate() {
        write(&format!("{number}.one"), &document.to_string());
    }
    let names: Vec<String> = (0..documents.len()).map(|number| format!("{number}.one")).collect();
    let flags: Vec<&str> = names.iter().flat_map(|name| ["-f", name.as_str()]).collect();
    assert_eq!(stdout(&run(&flags)), expected);
}

#[rstest]
#[case::absent("none.yaml", "cannot read none.yaml")]
#[case::empty("empty.yaml", "there is nothing of peer pods in empty.yaml")]
#[case::other("other.yaml", "there is nothing of peer pods in other.yaml")]
#[case::no_yaml("broken.yaml", "broken.yaml is no YAML")]
#[case::no_json("broken.json", "broken.json is no JSON: line 1, column")]
#[case::no_object("plain.yaml", "plain.yaml has a document that is no Kubernetes object")]
#[case::folder("folder", "folder has no file that ends with .yaml, .yml or .json")]
fn what_cannot_be_read_is_refused(#[case] file: &str, #[case] words: &str) {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("empty.yaml", "");
    write("other.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n");
    write("broken.yaml", "a: [b");
    write("broken.json", "{\"a\": ");
    write("plain.yaml", "CLOUD_PROVIDER: aws\n");
    std::fs::create_dir(directory.path().join("folder")).unwrap();
    let output = osc(directory.path(), None, &["check", "-f", file], "");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(stderr(&output).contains(words), "{}", stderr(&output));
}

#[test]
fn only_the_secret_is_not_enough_and_the_config_map_alone_misses_it() {
    let part = |kind: &str| {
        let all = setup(Provider::Gcp);
        let fitting: Vec<&str> = all.split("---\n").filter(|part| part.contains(kind)).collect();
        fitting.join("---\n")
    };
    let (code, found) = findings(&part("kind: Secret"));
    assert_eq!((code, reasons(&found, "blocks")), (Some(2), vec!["SettingsMissing".to_owned()]));
    let (code, found) = findings(&part("kind: ConfigMap"));
    assert_eq!((code, reasons(&found, "blocks")), (Some(2), vec!["CredentialsMissing".to_owned()]));
}

#[test]
fn without_files_and_without_a_cluster_that_is_told() {
    let output = osc(&root(), None, &["check"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no cluster to talk to"), "{}", stderr(&output));
}
