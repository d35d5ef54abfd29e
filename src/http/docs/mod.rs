//! `/docs`: the API page, written once from the OpenAPI description. It is plain HTML: it reads without scripts, and
//! every operation, form and kind of problem has an anchor of its own.
//!
//! - `samples`: a request for each operation, as a line for a terminal; part of the description
//! - `operation`, `schema`, `problems`: the parts of the page
//! - `html`: how text becomes HTML

mod html;
mod operation;
mod problems;
mod samples;
mod schema;

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use serde_json::Value;

use super::openapi::openapi;
use super::page::{self, File};
use html::{Text, prose};
use operation::Operation;
pub(super) use samples::Sampled;

pub(super) fn router() -> Router {
    static PAGE: LazyLock<File> = LazyLock::new(|| {
        let description = serde_json::to_value(openapi()).unwrap_or_default();
        File::new(page::HTML, render(&description).into())
    });
    let style = include_str!("docs.css").as_bytes().into();
    Router::new()
        .route(
            "/docs",
            get(async |headers: HeaderMap| PAGE.answer(&headers)),
        )
        .merge(page::serve("/page/docs.css", page::CSS, style))
}

/// The whole page.
fn render(description: &Value) -> String {
    let operations = Operation::all(description);
    let mut page = String::with_capacity(256 * 1024);
    page.push_str(include_str!("head.html"));
    write_contents(&mut page, description, &operations);
    page.push_str("<main id=\"main\">\n");
    write_introduction(&mut page, description);
    for (tag, about) in tags(description) {
        let _ = write!(
            page,
            "<section aria-labelledby=\"{0}\">\n<h2 id=\"{0}\">{1}</h2>\n<p>{2}.</p>\n",
            Text(&format!("tag-{tag}")),
            Text(&capitalized(tag)),
            Text(about)
        );
        for operation in operations.iter().filter(|operation| operation.tag == tag) {
            operation.write(&mut page);
        }
        page.push_str("</section>\n");
    }
    schema::write_all(&mut page, description);
    problems::write_all(&mut page);
    page.push_str("</main>\n</div>\n</body>\n</html>\n");
    page
}

/// What is on the page, at its side.
fn write_contents(page: &mut String, description: &Value, operations: &[Operation<'_>]) {
    page.push_str("<nav class=\"contents\" aria-label=\"On this page\">\n");
    for (tag, _) in tags(description) {
        let _ = write!(
            page,
            "<p><a href=\"#tag-{}\">{}</a></p>\n<ul>\n",
            Text(tag),
            Text(&capitalized(tag))
        );
        for operation in operations.iter().filter(|operation| operation.tag == tag) {
            let _ = writeln!(
                page,
                "<li><a href=\"#{}\"><span class=\"method\" data-method=\"{1}\">{1}</span> {2}</a></li>",
                Text(&operation.anchor()),
                Text(&operation.method),
                Text(operation.summary())
            );
        }
        page.push_str("</ul>\n");
    }
    page.push_str(
        "<p><a href=\"#schemas\">Forms</a></p>\n<p><a href=\"#problems\">Problems</a></p>\n</nav>\n",
    );
}

fn write_introduction(page: &mut String, description: &Value) {
    let info = &description["info"];
    let _ = write!(
        page,
        "<h1>The HTTP interface</h1>\n<p class=\"more\">Version {}. For programs: <a href=\"/openapi.json\">openapi.json</a> (OpenAPI {}).</p>\n{}",
        Text(text(&info["version"])),
        Text(text(&description["openapi"])),
        prose(text(&info["description"]))
    );
    page.push_str(include_str!("introduction.html"));
}

/// Groups of operations, with what they are about.
fn tags(description: &Value) -> impl Iterator<Item = (&str, &str)> {
    let tags = description["tags"].as_array().into_iter().flatten();
    tags.map(|tag| (text(&tag["name"]), text(&tag["description"])))
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// A text of the description; empty where there is none.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What a value stands for: itself, or what it refers to.
fn resolved<'a>(description: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = text(&value["$ref"]).strip_prefix('#');
    match pointer.and_then(|pointer| description.pointer(pointer)) {
        Some(value) => value,
        None => value,
    }
}

/// The last part of a reference: the name of what it refers to.
fn referred(value: &Value) -> Option<&str> {
    value["$ref"].as_str()?.rsplit('/').next()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::http::problem::Kind;

    fn page() -> String {
        render(&serde_json::to_value(openapi()).unwrap())
    }

    fn anchors(page: &str) -> Vec<&str> {
        let ids = page.split(" id=\"").skip(1);
        ids.filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn every_kind_of_problem_has_the_anchor_that_its_type_names() {
        let page = page();
        let anchors: HashSet<_> = anchors(&page).into_iter().collect();
        for kind in Kind::ALL {
            let anchor = format!("problem-{}", kind.slug());
            assert!(anchors.contains(&*anchor), "{anchor}");
        }
    }

    #[test]
    fn every_link_on_the_page_leads_somewhere_and_every_anchor_is_one() {
        let page = page();
        let all = anchors(&page);
        let anchors: HashSet<_> = all.iter().copied().collect();
        assert_eq!(anchors.len(), all.len(), "an anchor is there twice");
        let mut links = 0;
        for link in page.split("href=\"#").skip(1) {
            let link = link.split('"').next().unwrap();
            assert!(anchors.contains(link), "{link}");
            links += 1;
        }
        assert!(links > 100, "{links}");
    }

    #[test]
    fn every_operation_has_a_request_to_paste() {
        let description = serde_json::to_value(openapi()).unwrap();
        let operations = Operation::all(&description);
        assert!(operations.len() > 15, "{}", operations.len());
        for operation in operations {
            let samples: Vec<_> = operation.samples().collect();
            let what = format!("{} {}", operation.method, operation.path);
            assert!(
                !samples.is_empty(),
                "{what}: a parameter or the body has no example"
            );
            for sample in samples {
                assert!(sample.starts_with("curl "), "{sample}");
                assert!(!sample.contains('{') || sample.contains('\''), "{sample}");
            }
        }
    }
}
