//! The tables of docs/user-guide/peer-pods-settings.md come from the schema:
//! `UPDATE_GUIDE=1 cargo test -p osc --test peerpods the_tables` writes them anew.

use std::fmt::Write as _;

use osc_api::peerpods::Provider;
use osc_api::peerpods::keys::{self, Key, Need, Shape};
use osc_engine::peerpods::shape;

use crate::fixture::root;

const GUIDE: &str = "docs/user-guide/peer-pods-settings.md";
const BEGIN: &str = "<!-- The tables below come from crates/api/src/peerpods/keys. -->";

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

fn value(key: &Key) -> String {
    match key.shape {
        Shape::OneOf(allowed) => allowed.iter().map(|word| code(word)).collect::<Vec<_>>().join(", "),
        Shape::Flag => "`true`, `false`".to_owned(),
        Shape::YesNo => "`yes`, `no`".to_owned(),
        Shape::Text => "text".to_owned(),
        shape => shape::expected(shape).replace('|', "\\|"),
    }
}

fn need(key: &Key) -> &'static str {
    match key.need {
        Need::Required => "yes",
        Need::Written => "by the image job",
        Need::Brought => "yes, an image of your own",
        Need::Optional | Need::Credential => "-",
    }
}

fn cell(text: Option<String>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}

fn settings(text: &mut String, provider: Provider) {
    text.push_str("| Key | Meaning | Value | Default | Required | Read by | Older spelling |\n|---|---|---|---|---|---|---|\n");
    for key in keys::settings(provider) {
        let readers: Vec<&str> = key.readers.iter().map(|reader| reader.word()).collect();
        let aliases: Vec<String> = key.aliases.iter().map(|alias| code(alias)).collect();
        let row = [
            code(key.name),
            key.meaning.to_owned(),
            value(key),
            cell(key.default.map(code)),
            need(key).to_owned(),
            readers.join(", "),
            cell(Some(aliases.join(", "))),
        ];
        writeln!(text, "| {} |", row.join(" | ")).unwrap();
    }
}

fn credentials(text: &mut String, provider: Provider) {
    let ways: Vec<String> = keys::logins(provider)
        .iter()
        .map(|way| way.iter().map(|key| code(key)).collect::<Vec<_>>().join(", "))
        .collect();
    writeln!(text, "\nSecret `peer-pods-secret`. It needs {}.\n", ways.join("; or ")).unwrap();
    text.push_str("| Key | Meaning | Value |\n|---|---|---|\n");
    for key in keys::credentials(provider) {
        writeln!(text, "| {} | {} | {} |", code(key.name), key.meaning, value(key)).unwrap();
    }
}

fn image(text: &mut String, provider: Provider) {
    let names: Vec<String> = provider.image_maps().iter().map(|name| code(name)).collect();
    writeln!(text, "\nConfig map {}: what the image job makes.\n", names.join(", or ")).unwrap();
    text.push_str("| Key | Meaning | Value | Default |\n|---|---|---|---|\n");
    for key in keys::image(provider) {
        writeln!(
            text,
            "| {} | {} | {} | {} |",
            code(key.name),
            key.meaning,
            value(key),
            cell(key.default.map(code))
        )
        .unwrap();
    }
}

fn tables() -> String {
    let mut text = format!("{BEGIN}\n");
    for provider in Provider::ALL {
        write!(
            text,
            "\n## {}\n\nConfig map `peer-pods-cm` with `CLOUD_PROVIDER: \"{}\"`.\n\n",
            provider.title(),
            provider.name()
        )
        .unwrap();
        settings(&mut text, provider);
        credentials(&mut text, provider);
        image(&mut text, provider);
    }
    let retired: Vec<String> = keys::RETIRED.iter().map(|key| code(key)).collect();
    write!(
        text,
        "\n## Keys of older releases\n\nNobody reads these any more, in any image config map: {}.\n",
        retired.join(", ")
    )
    .unwrap();
    text
}

#[test]
fn the_tables_of_the_guide_are_those_of_the_schema() {
    let path = root().join(GUIDE);
    let found = std::fs::read_to_string(&path).unwrap();
    let (before, _) = found.split_once(BEGIN).unwrap_or_else(|| panic!("{GUIDE} has no line {BEGIN}"));
    let wanted = format!("{before}{}", tables());
    if std::env::var_os("UPDATE_GUIDE").is_some() {
        std::fs::write(&path, wanted).unwrap();
    } else {
        assert!(
            found == wanted,
            "{GUIDE} is old; write it anew: UPDATE_GUIDE=1 cargo test -p osc --test peerpods the_tables"
        );
    }
}

/// A meaning is a phrase that can stand in a cell and behind a colon.
#[test]
fn meanings_fit_into_a_table() {
    for provider in Provider::ALL {
        let all = keys::settings(provider).chain(keys::credentials(provider)).chain(keys::image(provider));
        for key in all {
            assert!(!key.meaning.is_empty() && !key.meaning.contains(['|', '\n']), "{}", key.name);
            assert!(!key.meaning.ends_with('.'), "{}", key.name);
        }
    }
}
