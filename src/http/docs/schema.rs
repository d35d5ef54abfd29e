//! The forms of bodies and answers on the page.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::html::{Text, inline, prose};
use super::{referred, resolved, text};

/// How deep examples go: a form may contain itself.
const DEPTH: usize = 8;

/// All forms, each with its members.
pub(super) fn write_all(page: &mut String, description: &Value) {
    page.push_str("<section aria-labelledby=\"schemas\">\n<h2 id=\"schemas\">Forms</h2>\n<p>What is sent and answered as JSON.</p>\n");
    let schemas = description["components"]["schemas"].as_object();
    for (name, schema) in schemas.into_iter().flatten() {
        let _ = write!(
            page,
            "<article aria-labelledby=\"schema-{0}\">\n<h3 id=\"schema-{0}\">{0}</h3>\n{1}",
            Text(name),
            prose(text(&schema["description"]))
        );
        write_members(page, schema);
        page.push_str("</article>\n");
    }
    page.push_str("</section>\n");
}

fn write_members(page: &mut String, schema: &Value) {
    for (words, key) in [("One of", "oneOf"), ("All of", "allOf")] {
        let forms = schema[key].as_array().into_iter().flatten();
        let (named, others): (Vec<_>, Vec<_>) = forms.partition(|form| !is_object(form));
        let named: Vec<_> = named.into_iter().map(kind).collect();
        if !named.is_empty() {
            let _ = writeln!(page, "<p>{words}: {}</p>", named.join(", "));
        }
        for other in others {
            write_members(page, other);
        }
    }
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    let required = schema["required"].as_array();
    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|n| n == name));
    page.push_str("<div class=\"table\"><table>\n<thead><tr><th scope=\"col\">Member</th><th scope=\"col\">Form</th><th scope=\"col\">Meaning</th></tr></thead>\n<tbody>\n");
    for (name, property) in properties {
        let optional = match is_required(name) {
            true => "",
            false => " <small>optional</small>",
        };
        let about = match text(&property["description"]) {
            // Of a form that may be absent, the description is beside the reference.
            "" => text(&property["oneOf"][0]["description"]),
            about => about,
        };
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\"><code>{}</code>{optional}</th><td>{}</td><td>{}</td></tr>",
            Text(name),
            kind(property),
            inline(about)
        );
    }
    page.push_str("</tbody>\n</table></div>\n");
}

fn is_object(schema: &Value) -> bool {
    schema.get("properties").is_some()
}

/// What a value is, in a few words with links to forms.
pub(super) fn kind(schema: &Value) -> String {
    if let Some(name) = referred(schema) {
        return format!("<a href=\"#schema-{0}\">{0}</a>", Text(name));
    }
    if let Some(forms) = schema["oneOf"].as_array() {
        let forms = forms.iter().filter(|form| form["type"] != "null");
        return forms.map(kind).collect::<Vec<_>>().join(" or ");
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(text).find(|kind| *kind != "null"),
        kind => kind.as_str(),
    };
    match kind.unwrap_or("any") {
        "array" => format!("list of {}", self::kind(&schema["items"])),
        "string" if schema["format"] == "date-time" => "time".to_owned(),
        "string" if schema.get("enum").is_some() => {
            let values = schema["enum"].as_array().into_iter().flatten();
            let values = values.map(|value| format!("<code>{}</code>", Text(text(value))));
            values.collect::<Vec<_>>().join(", ")
        }
        "string" => "text".to_owned(),
        "integer" => bounded("whole number", schema),
        "number" => bounded("number", schema),
        "boolean" => "<code>true</code> or <code>false</code>".to_owned(),
        "object" => "object".to_owned(),
        other => Text(other).to_string(),
    }
}

fn bounded(what: &str, schema: &Value) -> String {
    match (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
        (Some(least), Some(most)) => format!("{least} to {most}"),
        (Some(least), None) if least > 0 => format!("{what} from {least}"),
        _ => what.to_owned(),
    }
}

/// A value of a form, made of the examples of its members.
pub(super) fn example(description: &Value, schema: &Value) -> Option<Value> {
    of_depth(description, schema, DEPTH)
}

fn of_depth(description: &Value, schema: &Value, depth: usize) -> Option<Value> {
    let schema = resolved(description, schema);
    let depth = depth.checked_sub(1)?;
    if let Some(example) = schema.get("example") {
        return Some(example.clone());
    }
    if let Some(forms) = schema["oneOf"].as_array() {
        let mut examples = forms
            .iter()
            .filter_map(|form| of_depth(description, form, depth));
        return examples.next();
    }
    if let Some(forms) = schema["allOf"].as_array() {
        let examples = forms
            .iter()
            .filter_map(|form| of_depth(description, form, depth));
        let mut whole = Map::new();
        for example in examples {
            whole.extend(example.as_object().cloned().unwrap_or_default());
        }
        return Some(Value::Object(whole));
    }
    if let Some(items) = schema.get("items") {
        return of_depth(description, items, depth).map(|item| Value::Array(vec![item]));
    }
    if let Some(properties) = schema["properties"].as_object() {
        let members = properties.iter().filter_map(|(name, property)| {
            let member = of_depth(description, property, depth)?;
            // An example that is nothing says that the member is mostly left out.
            let is_nothing = member.is_null() || member.as_object().is_some_and(Map::is_empty);
            (!is_nothing).then(|| (name.clone(), member))
        });
        return Some(Value::Object(members.collect()));
    }
    match text(&schema["type"]) {
        "boolean" => Some(Value::Bool(false)),
        "integer" => Some(Value::from(schema["minimum"].as_u64().unwrap_or(0))),
        _ => None,
    }
}
