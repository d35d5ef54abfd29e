//! Templates: read, shown again, rendered at once or in two steps.
#![no_main]

use causeway::profile::{Scope, Template};
use libfuzzer_sys::fuzz_target;

struct Values(bool);

impl Scope for Values {
    fn value(&self, variable: &str) -> Option<&str> {
        match variable {
            "device" => Some("pump-1"),
            // A value is text, whatever it looks like.
            "secret" => Some("{device}[{host}]"),
            "host" if self.0 => Some("mqtt.example"),
            _ => None,
        }
    }
}

fuzz_target!(|text: &str| {
    let Ok(template) = Template::parse(text) else {
        return;
    };
    assert_eq!(template.source(), text);
    for known in [false, true] {
        let scope = Values(known);
        let at_once = template.render(&scope);
        let in_steps = template.bind(&Values(false)).render(&scope);
        // A half-bound optional part may only be left out later, never change what is rendered.
        if let (Ok(at_once), Ok(in_steps)) = (&at_once, &in_steps) {
            assert_eq!(at_once, in_steps, "{text:?}");
        }
        assert_eq!(at_once.is_ok(), in_steps.is_ok(), "{text:?}");
        if template.variables().next().is_none() && !text.contains('[') {
            assert!(at_once.is_ok());
        }
    }
});
