//! What the OpenAPI description says of operations that ask for a scope: in one place, so that no handler repeats it.

use serde_json::Value;
use utoipa::Modify;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref, RefOr};

/// The scheme that operations name in `security`.
const TOKEN: &str = "token";
/// The other way to be let in; it is added to each of them.
const CERTIFICATE: &str = "certificate";

const ABOUT_TOKEN: &str = "A token of the configuration's `[access.tokens]`, with the scope that the operation names. \
    Where no tokens and certificates are configured, none is needed";
const ABOUT_CERTIFICATE: &str = "A client certificate that the configuration's `[access.certificates]` maps to scopes and devices";

/// Answers that every such operation may give.
const ANSWERS: [(&str, &str); 3] = [
    ("401", "Unauthorized"),
    ("403", "Forbidden"),
    ("429", "TooMany"),
];

pub(super) struct Secured;

impl Modify for Secured {
    fn modify(&self, description: &mut OpenApi) {
        let components = description.components.get_or_insert_default();
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(ABOUT_TOKEN))
            .build();
        let certificate = SecurityScheme::MutualTls {
            description: Some(ABOUT_CERTIFICATE.to_owned()),
            deprecated: None,
            extensions: None,
        };
        components.add_security_scheme(TOKEN, SecurityScheme::Http(token));
        components.add_security_scheme(CERTIFICATE, certificate);
        for path in description.paths.paths.values_mut() {
            let operations = [
                &mut path.get,
                &mut path.put,
                &mut path.post,
                &mut path.delete,
                &mut path.patch,
            ];
            operations.into_iter().flatten().for_each(secure);
        }
    }
}

fn secure(operation: &mut Operation) {
    let Some(security) = &mut operation.security else {
        return;
    };
    let scopes: Vec<_> = security.iter().flat_map(scopes).collect();
    security.push(SecurityRequirement::new(CERTIFICATE, &scopes));
    let asks = format!("Needs the scope `{}`.", scopes.join("`, `"));
    operation.description = Some(match operation.description.take() {
        Some(text) if !text.is_empty() => format!("{text}\n\n{asks}"),
        _ => asks,
    });
    for (status, name) in ANSWERS {
        let response = RefOr::Ref(Ref::from_response_name(name));
        let responses = &mut operation.responses.responses;
        responses.entry(status.to_owned()).or_insert(response);
    }
}

/// The scopes of a requirement, which only tells them as JSON.
fn scopes(requirement: &SecurityRequirement) -> Vec<String> {
    let json = serde_json::to_value(requirement).unwrap_or_default();
    let scopes = json.get(TOKEN).and_then(Value::as_array);
    let texts = scopes.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}
