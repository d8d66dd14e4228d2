//! Which runtime classes there are, for every combination of what they depend on. The guide shows the same table:
//! `UPDATE_GUIDE=1 cargo test -p osc-engine --test it the_guide` writes it there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use osc_engine::NodeView;
use osc_engine::catalog::{ClassSpec, Tee};
use osc_engine::gates::FeatureGates;
use osc_engine::offer::{Demand, Offer};
use osc_engine::selector::Selector;
use osc_engine::spec::ValidSpec;

const GUIDE: &str = "docs/user-guide/runtime-classes.md";
const BEGIN: &str = "<!-- The tables below come from crates/engine/tests/it/matrix.rs. -->";
const CLASSES: [&str; 4] = ["kata", "kata-nvidia-gpu", "kata-cc", "kata-cc-nvidia-gpu"];

type Labels = &'static [(&'static str, &'static str)];

const KATA: &[(&str, &str)] = &[("feature.node.kubernetes.io/runtime.kata", "true")];
const GPU: &[(&str, &str)] = &[
    ("nvidia.com/gpu.present", "true"),
    ("nvidia.com/gpu.deploy.vfio-manager", "true"),
    ("nvidia.com/gpu.deploy.kata-sandbox-device-plugin", "true"),
];
const PLAIN_GPU: &[(&str, &str)] =
    &[("nvidia.com/cc.mode.state", "off"), ("nvidia.com/cc.ready.state", "false")];
const CONFIDENTIAL_GPU: &[(&str, &str)] = &[
    ("nvidia.com/cc.mode.state", "on"),
    ("nvidia.com/cc.ready.state", "true"),
    ("nvidia.com/gpu.deploy.cc-manager", "true"),
];

/// What the nodes are labelled with, beside the kind of confidential hardware.
const LABELS: [(&str, &[Labels]); 4] = [
    ("none", &[]),
    ("Kata", &[KATA]),
    ("Kata, GPU", &[KATA, GPU, PLAIN_GPU]),
    ("Kata, confidential GPU", &[KATA, GPU, CONFIDENTIAL_GPU]),
];

const HARDWARE: [(&str, &[Tee]); 5] = [
    ("none", &[]),
    ("TDX", &[Tee::Tdx]),
    ("SEV-SNP", &[Tee::Snp]),
    ("Secure Execution", &[Tee::Se]),
    ("TDX and SEV-SNP", &[Tee::Tdx, Tee::Snp]),
];

fn nodes(labels: &[&[(&str, &str)]], hardware: &[Tee]) -> Vec<NodeView> {
    let node = |tee: Option<&Tee>| {
        let own = labels
            .iter()
            .flat_map(|set| set.iter())
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let tee = tee.map(|tee| (tee.label().to_owned(), "true".to_owned()));
        NodeView { labels: own.chain(tee).collect(), ..NodeView::default() }
    };
    if hardware.is_empty() { vec![node(None)] } else { hardware.iter().map(|tee| node(Some(tee))).collect() }
}

fn spec(check: bool) -> ValidSpec {
    ValidSpec {
        selector: Selector::default(),
        selects_explicitly: false,
        check_node_eligibility: check,
        log_level: "info".to_owned(),
        peer_pods: false,
    }
}

/// Long after the labels were put there.
fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

fn offer(check: bool, confidential: bool, nodes: &[NodeView]) -> Offer {
    let gates = FeatureGates { confidential, ..FeatureGates::default() };
    let members: Vec<&NodeView> = nodes.iter().collect();
    Offer::of(&Demand {
        gates: &gates,
        spec: &spec(check),
        peer_pods: false,
        installed: members.clone(),
        members,
        now: now(),
        grace: SignedDuration::from_mins(5),
    })
}

/// The handler of each class, `-` for one that there is not.
fn cells(check: bool, confidential: bool, labels: &[&[(&str, &str)]], hardware: &[Tee]) -> Vec<String> {
    let offer = offer(check, confidential, &nodes(labels, hardware));
    let cell = |name: &&str| {
        let wanted = offer.wanted.iter().find(|class| class.name == *name);
        let kept = offer.kept.iter().any(|kept| kept == name);
        match wanted {
            Some(class) => format!("`{}`", class.handler),
            None if kept => "as it is".to_owned(),
            None => "-".to_owned(),
        }
    };
    CLASSES.iter().map(cell).collect()
}

/// Rows of equal content are told once, as "any".
fn rows() -> Vec<[String; 8]> {
    let mut rows = Vec::new();
    for check in [false, true] {
        for confidential in [false, true] {
            let mut seen: BTreeSet<(String, Vec<String>)> = BTreeSet::new();
            for (label, labels) in LABELS {
                for (name, hardware) in HARDWARE {
                    let cells = cells(check, confidential, labels, hardware);
                    // Without the check labels do not matter, and without the gate the hardware does not.
                    let label = if check { label } else { "any" };
                    let name = if confidential { name } else { "any" };
                    if seen.insert((format!("{label}/{name}"), cells.clone())) {
                        let [a, b, c, d] = cells.try_into().unwrap();
                        let word = |value: bool| format!("`{value}`");
                        rows.push([
                            word(check),
                            word(confidential),
                            label.to_owned(),
                            name.to_owned(),
                            a,
                            b,
                            c,
                            d,
                        ]);
                    }
                }
            }
        }
    }
    rows
}

fn tables() -> String {
    let mut text = format!(
        "{BEGIN}\n\n| `checkNodeEligibility` | gate `confidential` | labels of the nodes | confidential hardware | {} |\n|---|---|---|---|---|---|---|---|\n",
        CLASSES.map(|class| format!("`{class}`")).join(" | ")
    );
    for row in rows() {
        writeln!(text, "| {} |", row.join(" | ")).unwrap();
    }
    text.push_str(
        "\n| Class | Hardware | Handler | Overhead | Labels that a node needs |\n|---|---|---|---|---|\n",
    );
    let mut classes = vec![("any", ClassSpec::kata()), ("any", ClassSpec::gpu())];
    for (name, tee) in [("TDX", Tee::Tdx), ("SEV-SNP", Tee::Snp), ("Secure Execution", Tee::Se)] {
        classes.push((name, ClassSpec::confidential(tee)));
        classes.extend(ClassSpec::confidential_gpu(tee).map(|class| (name, class)));
    }
    for (hardware, class) in classes {
        let resource = class.resource.map_or(String::new(), |resource| format!(", `{resource}` 1"));
        let labels: Vec<String> =
            class.labels.iter().map(|(key, value)| format!("`{key}={value}`")).collect();
        writeln!(
            text,
            "| `{}` | {hardware} | `{}` | CPU {}, memory {}{resource} | {} |",
            class.name,
            class.handler,
            class.cpu,
            class.memory,
            labels.join(", ")
        )
        .unwrap();
    }
    text
}

#[test]
fn the_guide_shows_the_classes_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(GUIDE);
    let found = std::fs::read_to_string(&path).unwrap();
    let (before, _) = found.split_once(BEGIN).unwrap_or_else(|| panic!("{GUIDE} has no line {BEGIN}"));
    let wanted = format!("{before}{}", tables());
    if std::env::var_os("UPDATE_GUIDE").is_some() {
        std::fs::write(&path, wanted).unwrap();
    } else {
        assert!(
            found == wanted,
            "{GUIDE} is old; write it anew: UPDATE_GUIDE=1 cargo test -p osc-engine --test it the_guide"
        );
    }
}

/// "any" in the guide's table is no lie: every combination of what it stands for gives the same classes.
#[test]
fn the_matrix_has_one_answer_for_every_combination() {
    let rows = rows();
    let distinct: BTreeSet<&[String]> = rows.iter().map(|row| &row[..4]).collect();
    assert_eq!(distinct.len(), rows.len());
    assert_eq!(rows.len(), 1 + 5 + 4 + 20);
}

/// What the documentation says, in its words: section 3.5.1.
#[test]
fn the_contract_of_the_documentation_holds() {
    for row in rows() {
        let [check, confidential, labels, hardware, kata, gpu, cc, cc_gpu] = &row;
        let there = |cell: &String| cell.starts_with('`');
        let checked = check == "`true`";
        // "always creates the kata and kata-nvidia-gpu runtime classes"
        assert!(checked || there(kata) && there(gpu), "{row:?}");
        // "created only if nodes with the required base and GPU labels exist"
        if checked {
            assert_eq!(there(kata), labels.starts_with("Kata"), "{row:?}");
            assert_eq!(there(gpu), labels == "Kata, GPU", "{row:?}");
        }
        let one_kind = ["TDX", "SEV-SNP", "Secure Execution"].contains(&hardware.as_str());
        let on = confidential == "`true`";
        // "the Operator still depends on the TEE label for identification"
        assert_eq!(there(cc), on && one_kind && (!checked || labels.starts_with("Kata")), "{row:?}");
        let with_gpu = hardware != "Secure Execution" && (!checked || labels == "Kata, confidential GPU");
        assert_eq!(there(cc_gpu), on && one_kind && with_gpu, "{row:?}");
    }
}

#[test]
fn labels_that_changed_a_moment_ago_take_no_class_away() {
    let mut nodes = nodes(&[], &[]);
    nodes[0].labels_changed_at = now() - SignedDuration::from_mins(4);
    let settling = offer(true, true, &nodes);
    assert_eq!(settling.wanted, []);
    let all = ["kata", "kata-nvidia-gpu", "kata-cc", "kata-cc-nvidia-gpu"];
    assert_eq!(settling.kept, all);
    assert_eq!(settling.wake_at, Some(now() + SignedDuration::from_mins(1)));
    nodes[0].labels_changed_at = now() - SignedDuration::from_mins(5);
    let settled = offer(true, true, &nodes);
    assert_eq!((settled.kept.as_slice(), settled.wake_at), (&[][..], None));
}

#[test]
fn a_node_that_is_not_ready_for_pods_keeps_a_class_and_makes_none() {
    let nodes = nodes(&[KATA], &[Tee::Tdx]);
    let gates = FeatureGates { confidential: true, ..FeatureGates::default() };
    let members: Vec<&NodeView> = nodes.iter().collect();
    let spec = spec(true);
    let demand = Demand {
        gates: &gates,
        spec: &spec,
        peer_pods: false,
        members,
        installed: Vec::new(),
        now: now(),
        grace: SignedDuration::from_mins(5),
    };
    let offer = Offer::of(&demand);
    assert_eq!(
        (offer.wanted.len(), offer.kept.contains(&"kata"), offer.kept.contains(&"kata-cc")),
        (0, true, true)
    );
}

#[test]
fn there_is_no_gpu_class_on_s390x() {
    let mut nodes = nodes(&[], &[]);
    nodes[0].labels.insert("kubernetes.io/arch".to_owned(), "s390x".to_owned());
    let names: Vec<&str> = offer(false, false, &nodes).wanted.iter().map(|class| class.name).collect();
    assert_eq!(names, ["kata"]);
}

#[test]
fn missing_and_mixed_hardware_is_told_with_the_nodes() {
    let told = |hardware: &[Tee]| {
        let mut nodes = nodes(&[KATA], hardware);
        for (index, node) in nodes.iter_mut().enumerate() {
            node.name = format!("worker-{index}");
        }
        offer(false, true, &nodes).troubles
    };
    assert!(told(&[Tee::Tdx]).is_empty());
    assert_eq!(told(&[])[0].reason, "TeeNotFound");
    let mixed = told(&[Tee::Tdx, Tee::Snp]);
    assert_eq!(mixed[0].reason, "SeveralTees");
    assert!(
        mixed[0].message.contains("(Intel TDX on worker-0; AMD SEV-SNP on worker-1)"),
        "{}",
        mixed[0].message
    );
}
