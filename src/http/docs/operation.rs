//! One operation on the page.

use std::fmt::Write as _;

use serde_json::Value;

use super::html::{Text, code, inline, prose};
use super::schema::{self, example};
use super::{referred, resolved, text};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// An operation of the description.
pub(super) struct Operation<'a> {
    description: &'a Value,
    /// In capitals.
    pub(super) method: String,
    pub(super) path: &'a str,
    pub(super) tag: &'a str,
    value: &'a Value,
}

impl<'a> Operation<'a> {
    /// All of them, by path.
    pub(super) fn all(description: &'a Value) -> Vec<Self> {
        let paths = description["paths"].as_object().into_iter().flatten();
        let operations = paths.flat_map(|(path, item)| {
            METHODS.iter().filter_map(move |method| {
                let value = item.get(method)?;
                Some((path, method.to_uppercase(), value))
            })
        });
        operations
            .map(|(path, method, value)| Self {
                description,
                method,
                path,
                tag: text(&value["tags"][0]),
                value,
            })
            .collect()
    }

    /// Where it is on the page.
    pub(super) fn anchor(&self) -> String {
        format!("operation-{}", text(&self.value["operationId"]))
    }

    pub(super) fn summary(&self) -> &'a str {
        text(&self.value["summary"])
    }

    /// Requests to paste into a terminal.
    pub(super) fn samples(&self) -> impl Iterator<Item = &'a str> {
        let samples = self.value["x-codeSamples"].as_array();
        let samples = samples.into_iter().flatten();
        samples.map(|sample| text(&sample["source"]))
    }

    pub(super) fn write(&self, page: &mut String) {
        let _ = write!(
            page,
            "<article class=\"operation\" aria-labelledby=\"{0}\">\n<h3 id=\"{0}\">{1} <a class=\"self\" href=\"#{0}\" aria-label=\"Link to this operation\">#</a></h3>\n\
             <p class=\"route\"><span class=\"method\" data-method=\"{2}\">{2}</span> <code>{3}</code></p>\n{4}",
            Text(&self.anchor()),
            Text(self.summary()),
            Text(&self.method),
            Text(self.path),
            prose(text(&self.value["description"]))
        );
        for sample in self.samples() {
            page.push_str(&code(sample, "Example"));
        }
        self.write_parameters(page);
        self.write_body(page);
        self.write_answers(page);
        page.push_str("</article>\n");
    }

    fn write_parameters(&self, page: &mut String) {
        let parameters = self.value["parameters"].as_array();
        let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) else {
            return;
        };
        page.push_str("<h4>Parameters</h4>\n<div class=\"table\"><table>\n<thead><tr><th scope=\"col\">Name</th><th scope=\"col\">In</th><th scope=\"col\">Form</th><th scope=\"col\">Meaning</th></tr></thead>\n<tbody>\n");
        for parameter in parameters {
            let parameter = resolved(self.description, parameter);
            let optional = match parameter["required"].as_bool() {
                Some(true) => "",
                _ => " <small>optional</small>",
            };
            let _ = writeln!(
                page,
                "<tr><th scope=\"row\"><code>{}</code>{optional}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
                Text(text(&parameter["name"])),
                Text(text(&parameter["in"])),
                schema::kind(&parameter["schema"]),
                inline(text(&parameter["description"]))
            );
        }
        page.push_str("</tbody>\n</table></div>\n");
    }

    fn write_body(&self, page: &mut String) {
        let Some(body) = self.value.get("requestBody") else {
            return;
        };
        let _ = write!(page, "<h4>Body</h4>\n{}", prose(text(&body["description"])));
        self.write_forms(page, body);
    }

    fn write_answers(&self, page: &mut String) {
        page.push_str("<h4>Answers</h4>\n<dl class=\"answers\">\n");
        for (status, answer) in self.value["responses"].as_object().into_iter().flatten() {
            let answer = resolved(self.description, answer);
            let _ = write!(
                page,
                "<dt><code data-status=\"{}\">{}</code></dt>\n<dd>{}",
                Text(status.get(..1).unwrap_or_default()),
                Text(status),
                prose(text(&answer["description"]))
            );
            for (name, header) in answer["headers"].as_object().into_iter().flatten() {
                let _ = writeln!(
                    page,
                    "<p class=\"more\"><code>{}</code>: {}</p>",
                    Text(name),
                    inline(text(&header["description"]))
                );
            }
            if !status.starts_with(['4', '5']) {
                self.write_forms(page, answer);
            }
            page.push_str("</dd>\n");
        }
        page.push_str("</dl>\n");
    }

    /// Each content type with its form, and an example.
    fn write_forms(&self, page: &mut String, value: &Value) {
        for (content_type, content) in value["content"].as_object().into_iter().flatten() {
            let _ = write!(page, "<p><code>{}</code>", Text(content_type));
            if let Some(schema) = content.get("schema").filter(|schema| names_a_form(schema)) {
                let _ = write!(page, ": {}", schema::kind(schema));
            }
            page.push_str("</p>\n");
            let example = match content.get("example") {
                Some(example) => Some(example.clone()),
                None => content
                    .get("schema")
                    .filter(|schema| names_a_form(schema))
                    .and_then(|schema| example(self.description, schema)),
            };
            if let Some(example) = example {
                page.push_str("<details><summary>Example</summary>\n");
                page.push_str(&code(&shown(&example), "Example"));
                page.push_str("</details>\n");
            }
        }
    }
}

/// Whether a schema is, or is made of, one of the description's forms.
fn names_a_form(schema: &Value) -> bool {
    referred(schema).is_some()
        || schema.get("items").is_some_and(names_a_form)
        || (schema["oneOf"].as_array()).is_some_and(|forms| forms.iter().any(names_a_form))
}

/// An example as it would be sent.
fn shown(example: &Value) -> String {
    match example {
        Value::String(text) => text.trim_end().to_owned(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}
