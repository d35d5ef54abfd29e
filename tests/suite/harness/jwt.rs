//! Tokens, found in what clients sent to a broker.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// A token as it went over the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct Jwt {
    /// All three parts.
    pub text: String,
    /// What it claims.
    pub claims: Value,
}

/// Every token that stands in a string of MQTT (two bytes of length, then the text), in order.
pub fn find(captured: &[u8]) -> Vec<Jwt> {
    let starts = captured.windows(5).enumerate();
    let starts = starts.filter(|(_, window)| window[2..] == *b"eyJ");
    starts.filter_map(|(at, _)| read(&captured[at..])).collect()
}

fn read(bytes: &[u8]) -> Option<Jwt> {
    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let text = std::str::from_utf8(bytes.get(2..2 + length)?).ok()?;
    let [_, claims, _] = text.split('.').collect::<Vec<_>>()[..] else {
        return None;
    };
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    Some(Jwt {
        text: text.to_owned(),
        claims: serde_json::from_slice(&claims).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_between_other_bytes() {
        let token = |claims: &str| format!("eyJ9.{}.sig", URL_SAFE_NO_PAD.encode(claims));
        let (one, two) = (token(r#"{"iat":1}"#), token(r#"{"iat":2}"#));
        let mut bytes = b"\x10eyJ".to_vec();
        for token in [&one, &two] {
            bytes.extend_from_slice(&u16::try_from(token.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(token.as_bytes());
            // The next packet's first byte could be part of a token.
            bytes.push(b'2');
        }
        let found = find(&bytes);
        assert_eq!(found.len(), 2);
        assert_eq!((&found[0].text, &found[1].text), (&one, &two));
        assert_eq!(found[1].claims["iat"], 2);
    }
}
