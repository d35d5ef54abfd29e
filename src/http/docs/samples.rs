//! A real request for each operation, as a line for a terminal: `x-codeSamples` of the description.
//!
//! It is made of the examples that the operation's path, its required parameters and its body have, where the operation
//! does not bring its own. Where one of these is missing there is no request, which a test does not let pass; another
//! test pastes every request into a shell.

use serde_json::{Value, json};
use utoipa::Modify;
use utoipa::openapi::OpenApi;
use utoipa::openapi::extensions::ExtensionsBuilder;

use super::schema::example;
use super::text;

const KEY: &str = "x-codeSamples";
const MAIN: &str = "http://127.0.0.1:8080";

/// Adds a request to each operation that has none and is described well enough.
pub(in crate::http) struct Sampled;

impl Modify for Sampled {
    fn modify(&self, description: &mut OpenApi) {
        let json = serde_json::to_value(&*description).unwrap_or_default();
        for (path, item) in &mut description.paths.paths {
            let of_path = &json["paths"][path];
            let operations = [
                ("get", &mut item.get),
                ("put", &mut item.put),
                ("post", &mut item.post),
                ("delete", &mut item.delete),
                ("patch", &mut item.patch),
            ];
            for (method, operation) in operations {
                let (Some(operation), value) = (operation, &of_path[method]) else {
                    continue;
                };
                if value.get(KEY).is_some() {
                    continue;
                }
                let Some(source) = line(&json, path, method, of_path) else {
                    continue;
                };
                let samples = json!([{ "lang": "Shell", "label": "curl", "source": source }]);
                let extensions = ExtensionsBuilder::new().add(KEY, samples).build();
                operation
                    .extensions
                    .get_or_insert_default()
                    .merge(extensions);
            }
        }
    }
}

fn line(description: &Value, path: &str, method: &str, of_path: &Value) -> Option<String> {
    let operation = &of_path[method];
    let body = match operation.get("requestBody") {
        Some(content) => Some(body(description, content)?),
        None => None,
    };
    let mut parts = vec![match streams(operation) {
        true => "curl -N".to_owned(),
        false => "curl -sS".to_owned(),
    }];
    // With a body, curl posts by itself.
    if method != "get" && !(method == "post" && body.is_some()) {
        parts.push(format!("-X {}", method.to_uppercase()));
    }
    match &body {
        Some((content_type, body)) if content_type == "application/json" => {
            parts.push(format!("--json {}", quote(body)));
        }
        Some((content_type, body)) => {
            parts.push(format!(
                "-H {}",
                quote(&format!("Content-Type: {content_type}"))
            ));
            parts.push(format!("--data-binary {}", quote(body)));
        }
        None => {}
    }
    parts.push(word(&address(path, operation, of_path)?));
    Some(parts.join(" "))
}

/// The whole address, with examples in the place of parameters.
fn address(path: &str, operation: &Value, of_path: &Value) -> Option<String> {
    let servers = operation.get("servers").or(of_path.get("servers"));
    let server = servers.map_or("", |servers| text(&servers[0]["url"]));
    let mut address = path.to_owned();
    let mut query = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = text(&parameter["name"]);
        if parameter["required"] == true {
            parameter.get("example")?;
        }
        match text(&parameter["in"]) {
            "path" => {
                let value = plain(&parameter["example"]);
                address = address.replace(&format!("{{{name}}}"), &value);
            }
            "query" if parameter["required"] == true => match &parameter["example"] {
                Value::Array(values) => {
                    query.extend(
                        values
                            .iter()
                            .map(|value| format!("{name}={}", plain(value))),
                    );
                }
                value => query.push(format!("{name}={}", plain(value))),
            },
            _ => {}
        }
    }
    let mark = if query.is_empty() { "" } else { "?" };
    let server = if server.is_empty() { MAIN } else { server };
    let whole = format!("{server}{address}{mark}{}", query.join("&"));
    (!whole.contains('{')).then_some(whole)
}

/// A body with its content type: one that is an example, or one of the form that it has.
fn body(description: &Value, body: &Value) -> Option<(String, String)> {
    let contents = body["content"].as_object()?;
    let given = |content: &Value| content.get("example").cloned();
    let made = |content: &Value| example(description, content.get("schema")?);
    let first = |of: &dyn Fn(&Value) -> Option<Value>| {
        let mut bodies = contents.iter().filter_map(|(content_type, content)| {
            let body = plain(&of(content)?);
            Some((content_type.clone(), body.trim_end().to_owned()))
        });
        bodies.next()
    };
    first(&given).or_else(|| first(&made))
}

fn streams(operation: &Value) -> bool {
    let content = &operation["responses"]["200"]["content"];
    content.get("text/event-stream").is_some()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// One word for a shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn word(text: &str) -> String {
    match text.contains(['?', '&', '\'', ' ', '*']) {
        true => quote(text),
        false => text.to_owned(),
    }
}
