//! Tables as the API server makes them for `kubectl get`, printed as `kubectl` prints them.

use http::Request;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

/// A server-side table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Table {
    column_definitions: Vec<Column>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Column {
    name: String,
    priority: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Row {
    cells: Vec<Value>,
}

impl Table {
    /// Asks the server for the table of a path, for instance `/api/v1/nodes`.
    pub async fn get(client: &Client, path: &str) -> Result<Self, kube::Error> {
        let request = Request::get(path)
            .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        client.request(request).await
    }

    /// Column titles, without those that only `-o wide` shows.
    pub fn columns(&self) -> Vec<String> {
        let narrow = self.column_definitions.iter().filter(|column| column.priority == 0);
        narrow.map(|column| column.name.to_uppercase()).collect()
    }

    /// Cells as text, in the order of the columns.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let narrow: Vec<usize> = (0..self.column_definitions.len())
            .filter(|index| self.column_definitions[*index].priority == 0)
            .collect();
        self.rows.iter().map(|row| narrow.iter().map(|index| text(row.cells.get(*index))).collect()).collect()
    }
}

fn text(cell: Option<&Value>) -> String {
    match cell {
        None | Some(Value::Null) => "<none>".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Columns of text, padded to the widest cell, three spaces apart.
pub fn aligned(columns: &[String], rows: &[Vec<String>]) -> Vec<String> {
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.set_header(columns);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_printed_as_kubectl_prints_it() {
        let table: Table = serde_json::from_value(json!({
            "kind": "Table",
            "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "Wide", "priority": 1},
                                  {"name": "Completed", "priority": 0}, {"name": "Age", "priority": 0}],
            "rows": [{"cells": ["example-kataconfig", "w", 3, "34m"]}, {"cells": ["b", "w", null, ""]}]
        }))
        .unwrap();
        assert_eq!(
            aligned(&table.columns(), &table.rows()),
            [
                "NAME                 COMPLETED   AGE",
                "example-kataconfig   3           34m",
                "b                    <none>"
            ]
        );
    }
}
