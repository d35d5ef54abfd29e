//! A measure as SAP's gateway checks it, and its answer.

use bytes::Bytes;
use serde_json::{Map, Value, json};

/// What the gateway finds in a measure.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// `measureMessageId`, which the answer repeats.
    message_id: Option<String>,
    sensor: Option<String>,
    /// Empty when the measure is taken.
    pub(super) problems: Vec<String>,
}

/// Looks at a payload.
pub(super) fn check(payload: &[u8]) -> Findings {
    let mut findings = Findings::default();
    match serde_json::from_slice::<Value>(payload) {
        Ok(Value::Object(measure)) => findings.examine(&measure),
        Ok(_) => findings.complain("the measure is not a JSON object"),
        Err(error) => findings.complain(format!("the measure is not JSON: {error}")),
    }
    findings
}

impl Findings {
    /// The answer: an array with one object.
    pub(super) fn ack(&self) -> Bytes {
        let mut ack = Map::new();
        let code = if self.problems.is_empty() { 202 } else { 400 };
        ack.insert("code".to_owned(), json!(code));
        for (name, value) in [
            ("id", &self.message_id),
            ("sensorAlternateId", &self.sensor),
        ] {
            if let Some(value) = value {
                ack.insert(name.to_owned(), json!(value));
            }
        }
        if !self.problems.is_empty() {
            ack.insert("messages".to_owned(), json!(self.problems));
        }
        Bytes::from(json!([ack]).to_string())
    }

    fn examine(&mut self, measure: &Map<String, Value>) {
        self.message_id = self.text(measure, "measureMessageId");
        self.sensor = self.text(measure, "sensorAlternateId");
        let sensor_type = self.text(measure, "sensorTypeAlternateId");
        if !measure.contains_key("sensorAlternateId") && sensor_type.is_none() {
            self.complain("'sensorAlternateId' (or 'sensorTypeAlternateId') is missing");
        }
        if self.text(measure, "capabilityAlternateId").is_none()
            && !measure.contains_key("capabilityAlternateId")
        {
            self.complain("'capabilityAlternateId' is missing");
        }
        if measure
            .get("timestamp")
            .is_some_and(|t| t.as_u64().is_none())
        {
            self.complain("'timestamp' is not a number of milliseconds since 1970");
        }
        match measure.get("measures").map(Value::as_array) {
            None => self.complain("'measures' is missing"),
            Some(None) => self.complain("'measures' is not an array"),
            Some(Some(rows)) if rows.is_empty() => self.complain("'measures' is empty"),
            Some(Some(rows)) => {
                for (index, row) in rows.iter().enumerate() {
                    if !is_row(row) {
                        self.complain(format!(
                            "'measures[{index}]' is neither an object nor an array with values"
                        ));
                    }
                }
            }
        }
    }

    /// A field that is a text if it is there.
    fn text(&mut self, measure: &Map<String, Value>, name: &str) -> Option<String> {
        match measure.get(name)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            _ => {
                self.complain(format!("'{name}' is not a text"));
                None
            }
        }
    }

    fn complain(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }
}

/// Values by the properties' names, or in the properties' order.
fn is_row(row: &Value) -> bool {
    match row {
        Value::Object(values) => !values.is_empty(),
        Value::Array(values) => !values.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"capabilityAlternateId": "c", "sensorAlternateId": "s",
        "measures": [{"t": 1}], "measureMessageId": "7"}"#;

    fn ack(payload: &str) -> Value {
        serde_json::from_slice(&check(payload.as_bytes()).ack()).unwrap()
    }

    #[test]
    fn a_good_measure_is_taken_and_its_id_repeated() {
        assert_eq!(
            ack(GOOD),
            json!([{"code": 202, "id": "7", "sensorAlternateId": "s"}])
        );
        for good in [
            r#"{"capabilityAlternateId": "c", "sensorTypeAlternateId": "s", "measures": [[1, "a"]]}"#,
            r#"{"capabilityAlternateId": "c", "sensorAlternateId": "s", "measures": [{"t": 1}], "timestamp": 0}"#,
        ] {
            assert_eq!(
                check(good.as_bytes()).problems,
                Vec::<String>::new(),
                "{good}"
            );
        }
    }

    #[test]
    fn every_fault_is_named() {
        for (bad, problem) in [
            ("{", "not JSON"),
            ("[]", "not a JSON object"),
            (
                r#"{"sensorAlternateId": "s", "measures": [{"t": 1}]}"#,
                "'capabilityAlternateId' is missing",
            ),
            (
                r#"{"capabilityAlternateId": "c", "measures": [{"t": 1}]}"#,
                "'sensorAlternateId'",
            ),
            (
                r#"{"capabilityAlternateId": "c", "sensorAlternateId": "s"}"#,
                "'measures' is missing",
            ),
            (&GOOD.replace(r#"[{"t": 1}]"#, "[]"), "'measures' is empty"),
            (
                &GOOD.replace(r#"[{"t": 1}]"#, "{}"),
                "'measures' is not an array",
            ),
            (&GOOD.replace(r#"[{"t": 1}]"#, "[[1], 2]"), "'measures[1]'"),
            (
                &GOOD.replace(r#""c""#, "1"),
                "'capabilityAlternateId' is not a text",
            ),
            (
                &GOOD.replace(r#""7""#, "7"),
                "'measureMessageId' is not a text",
            ),
            (
                &GOOD.replace("}]", r#"}], "timestamp": "now""#),
                "'timestamp'",
            ),
        ] {
            let problems = check(bad.as_bytes()).problems;
            assert_eq!(problems.len(), 1, "{bad}: {problems:?}");
            assert!(problems[0].contains(problem), "{bad}: {problems:?}");
            assert_eq!(ack(bad)[0]["code"], json!(400));
            assert_eq!(ack(bad)[0]["messages"], json!(problems));
        }
    }
}
