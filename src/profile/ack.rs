//! Platform acks as data: a platform that answers an uplink on a topic of its own, and how the two are matched.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::json::{Kind, Members, ObjectError, quoted};
use super::template::Template;

/// `[ack]`: how a platform answers an uplink after the broker has confirmed it. Such an answer may also never come.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AckRules {
    /// The topic of a device's answers, without wildcards.
    pub filter: Template,
    /// The member of an uplink's JSON object that carries its id.
    pub id_member: String,
    /// The member of an answer that repeats that id.
    pub match_member: String,
    /// The member of an answer with the platform's code.
    pub code_member: String,
    /// The codes that mean "accepted": numbers, or ranges like `"200-299"`.
    pub success: Vec<Codes>,
    /// The member of an answer with its reasons, a text or a list of them. Default: there is none.
    #[serde(default)]
    pub messages_member: Option<String>,
}

/// One code or a range of codes, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub struct Codes {
    first: i64,
    last: i64,
}

/// An uplink with the id that its answer will carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// The body to publish.
    pub body: Bytes,
    /// The id to wait for.
    pub id: String,
    /// Whether the client had put it in itself: then it may not be unique, and the body is the client's own.
    pub by_client: bool,
}

/// One answer of a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformAnswer {
    /// The uplink's id, where the answer has one.
    pub id: Option<String>,
    /// The platform's code, where the answer has one. Without it nothing is known: see [`Self::is_refused`].
    pub code: Option<i64>,
    /// Whether the code means "accepted".
    pub accepted: bool,
    /// The platform's reasons: at most [`MAX_MESSAGES`], each of at most [`MAX_MESSAGE_BYTES`].
    pub messages: Vec<String>,
}

/// The most reasons that are kept of one answer.
pub const MAX_MESSAGES: usize = 16;
/// The most that is kept of one reason, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1024;

/// Why an uplink cannot carry an id, or an answer cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// The body is JSON, but no object.
    #[error(
        "the body is not a JSON object, which alone can carry {member:?}, by which the platform's answer is known"
    )]
    NotObject {
        /// The member that carries the id.
        member: String,
    },
    /// The client's own id is none.
    #[error(
        "the body's member {member:?} is a string or a whole number that is not empty, and there once: leave it out and one is made"
    )]
    Id {
        /// The member that carries the id.
        member: String,
    },
    /// An answer that is neither an object nor an array of them.
    #[error("the answer is neither a JSON object nor an array of objects")]
    Answer,
}

impl AckRules {
    /// Puts an id into an uplink's JSON object and leaves every other byte as it is. A client's own id is kept.
    pub fn insert_id(&self, body: &Bytes, id: &str) -> Result<Marked, AckError> {
        let member = || self.id_member.clone();
        let members = Members::read(body).map_err(|error| match error {
            ObjectError::Syntax(error) => AckError::NotJson(error),
            ObjectError::Kind => AckError::NotObject { member: member() },
        })?;
        let mut own = members.all(&self.id_member);
        match (own.next(), own.next()) {
            (None, _) => {}
            (Some(value), None) => {
                let id = own_id(value).ok_or(AckError::Id { member: member() })?;
                let body = body.clone();
                return Ok(Marked {
                    body,
                    id,
                    by_client: true,
                });
            }
            (Some(_), Some(_)) => return Err(AckError::Id { member: member() }),
        }
        let inside = 1 + body
            .iter()
            .position(|byte| *byte == b'{')
            .unwrap_or_default();
        let separator = if members.is_empty() { "" } else { "," };
        let inserted = format!("{}:{}{separator}", quoted(&self.id_member), quoted(id));
        let body = [&body[..inside], inserted.as_bytes(), &body[inside..]].concat();
        Ok(Marked {
            body: body.into(),
            id: id.to_owned(),
            by_client: false,
        })
    }

    /// Reads a message from the ack topic: one answer or a list of them. Members that are missing or of another type
    /// are left out, and so is what is no object.
    pub fn read(&self, payload: &[u8]) -> Result<Vec<PlatformAnswer>, AckError> {
        let items = match serde_json::from_slice(payload) {
            Ok(Value::Array(items)) => items,
            Ok(item @ Value::Object(_)) => vec![item],
            _ => return Err(AckError::Answer),
        };
        let objects = items.iter().filter(|item| item.is_object());
        Ok(objects.map(|item| self.answer(item)).collect())
    }

    fn answer(&self, item: &Value) -> PlatformAnswer {
        let code = item.get(&self.code_member).and_then(code);
        let messages = self
            .messages_member
            .as_ref()
            .and_then(|name| item.get(name));
        PlatformAnswer {
            id: item.get(&self.match_member).and_then(id),
            code,
            accepted: code.is_some_and(|code| self.success.iter().any(|codes| codes.contain(code))),
            messages: messages.map(reasons).unwrap_or_default(),
        }
    }
}

impl PlatformAnswer {
    /// Whether the platform refused the uplink. An answer without a code says neither that nor the opposite.
    pub fn is_refused(&self) -> bool {
        self.code.is_some() && !self.accepted
    }
}

impl Codes {
    fn contain(self, code: i64) -> bool {
        (self.first..=self.last).contains(&code)
    }
}

impl TryFrom<toml::Value> for Codes {
    type Error = &'static str;

    fn try_from(value: toml::Value) -> Result<Self, Self::Error> {
        let ends = match &value {
            toml::Value::Integer(code) => Some((*code, *code)),
            toml::Value::String(text) => text.split_once('-').and_then(|(first, last)| {
                Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
            }),
            _ => None,
        };
        match ends {
            Some((first, last)) if first <= last => Ok(Self { first, last }),
            _ => Err("a code is a number, or a range like \"200-299\""),
        }
    }
}

/// A client's own id as the platform's answer will be compared with it.
fn own_id(value: &RawValue) -> Option<String> {
    let parsed = serde_json::from_str(value.get()).ok()?;
    match parsed {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Number(_) if Kind::Integer.takes(value) => Some(value.get().to_owned()),
        _ => None,
    }
}

fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn code(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn reasons(value: &Value) -> Vec<String> {
    let one = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(cut(text)),
        other => Some(cut(&other.to_string())),
    };
    match value {
        Value::Array(list) => list.iter().filter_map(one).take(MAX_MESSAGES).collect(),
        single => one(single).into_iter().collect(),
    }
}

fn cut(text: &str) -> String {
    let mut ends = (0..=MAX_MESSAGE_BYTES).rev();
    let end = ends.find(|at| text.is_char_boundary(*at));
    text[..end.unwrap_or_default()].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules() -> AckRules {
        toml::from_str(
            "filter = \"ack/{device}\"\nid_member = \"mid\"\nmatch_member = \"id\"\ncode_member = \"code\"\n\
             success = [200, \"202-204\"]\nmessages_member = \"messages\"",
        )
        .unwrap()
    }

    fn marked(body: &str) -> Result<(String, String, bool), AckError> {
        let marked = rules().insert_id(&Bytes::copy_from_slice(body.as_bytes()), "u\"1")?;
        let text = String::from_utf8(marked.body.to_vec()).unwrap();
        Ok((text, marked.id, marked.by_client))
    }

    #[test]
    fn an_id_is_put_in_and_all_else_stays_as_it_was() {
        let put = |body: &str| marked(body).unwrap();
        let (text, id, by_client) = put(" {\"v\" : 1.10, \"z\":12345678901234567890}\n");
        assert_eq!(
            text,
            " {\"mid\":\"u\\\"1\",\"v\" : 1.10, \"z\":12345678901234567890}\n"
        );
        assert_eq!((id.as_str(), by_client), ("u\"1", false));
        assert_eq!(put("{ }").0, "{\"mid\":\"u\\\"1\" }");
    }

    #[test]
    fn a_clients_own_id_is_kept() {
        for (body, own) in [
            ("{\"mid\": \"mine\"}", "mine"),
            ("{\"a\":1,\"m\\u0069d\":7}", "7"),
        ] {
            assert_eq!(marked(body), Ok((body.to_owned(), own.to_owned(), true)));
        }
        for bad in [
            "{\"mid\":null}",
            "{\"mid\":\"\"}",
            "{\"mid\":1.5}",
            "{\"mid\":1,\"mid\":2}",
        ] {
            assert_eq!(
                marked(bad),
                Err(AckError::Id {
                    member: "mid".to_owned()
                }),
                "{bad}"
            );
        }
        assert!(matches!(marked("[{}]"), Err(AckError::NotObject { .. })));
        assert!(matches!(marked("{"), Err(AckError::NotJson(_))));
    }

    #[test]
    fn answers_are_read_with_whatever_they_have() {
        let answer = |id: Option<&str>, code, accepted, messages: &[&str]| PlatformAnswer {
            id: id.map(str::to_owned),
            code,
            accepted,
            messages: messages.iter().map(|text| (*text).to_owned()).collect(),
        };
        let cases: [(&str, Vec<PlatformAnswer>); 7] = [
            (
                "[{\"id\":\"a\",\"code\":200}]",
                vec![answer(Some("a"), Some(200), true, &[])],
            ),
            (
                "{\"code\":\"400\",\"id\":7,\"messages\":[\"bad\",{\"x\":1},null]}",
                vec![answer(Some("7"), Some(400), false, &["bad", "{\"x\":1}"])],
            ),
            (
                "[{\"id\":\"a\",\"messages\":\"why\"}]",
                vec![answer(Some("a"), None, false, &["why"])],
            ),
            (
                "[{\"code\":203},{\"code\":201.5}]",
                vec![
                    answer(None, Some(203), true, &[]),
                    answer(None, None, false, &[]),
                ],
            ),
            ("[1, null, {}]", vec![answer(None, None, false, &[])]),
            ("[]", vec![]),
            ("{\"code\":205}", vec![answer(None, Some(205), false, &[])]),
        ];
        for (payload, expected) in cases {
            assert_eq!(rules().read(payload.as_bytes()), Ok(expected), "{payload}");
        }
        for bad in ["", "ok", "1", "\"x\"", "{"] {
            assert_eq!(rules().read(bad.as_bytes()), Err(AckError::Answer), "{bad}");
        }
        assert!(!answer(None, None, false, &[]).is_refused());
        assert!(answer(None, Some(400), false, &[]).is_refused());
    }

    #[test]
    fn what_is_kept_of_reasons_is_bounded() {
        let many = serde_json::json!({ "messages": vec!["é".repeat(2000); 100] }).to_string();
        let answers = rules().read(many.as_bytes()).unwrap();
        assert_eq!(answers[0].messages.len(), MAX_MESSAGES);
        assert!(
            answers[0]
                .messages
                .iter()
                .all(|text| text.len() <= MAX_MESSAGE_BYTES)
        );
    }

    #[test]
    fn codes_are_numbers_or_ranges() {
        for bad in ["\"2xx\"", "\"299-200\"", "true", "\"200\""] {
            let text = format!("codes = {bad}");
            let parsed = toml::from_str::<std::collections::BTreeMap<String, Codes>>(&text);
            assert!(parsed.is_err(), "{bad} was taken");
        }
    }

    proptest! {
        #[test]
        fn any_id_comes_back_as_it_went_in(id in "\\PC{1,40}", value in any::<f64>()) {
            let body = serde_json::json!({ "v": value }).to_string();
            let value: Value = serde_json::from_str(&body).unwrap();
            let marked = rules().insert_id(&body.into(), &id).unwrap();
            let mut read: Value = serde_json::from_slice(&marked.body).unwrap();
            prop_assert_eq!(read["mid"].as_str(), Some(id.as_str()));
            read.as_object_mut().unwrap().remove("mid");
            prop_assert_eq!(read, value);
        }
    }
}
