//! How text becomes HTML: nothing of it is ever taken for markup but what stands here.

use std::fmt::{self, Write as _};

/// A text in an element or in an attribute between double quotes.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A line of a description: what stands between backticks is code.
pub(super) fn inline(text: &str) -> String {
    let mut html = String::new();
    for (at, part) in text.split('`').enumerate() {
        // Writing to a String cannot fail.
        let _ = match at % 2 {
            0 => write!(html, "{}", Text(part)),
            _ => write!(html, "<code>{}</code>", Text(part)),
        };
    }
    html
}

/// A description of several paragraphs, parted by empty lines; one whose lines begin with dashes is a list.
pub(super) fn prose(text: &str) -> String {
    let mut html = String::new();
    for block in text.split("\n\n").map(str::trim) {
        if block.is_empty() {
            continue;
        }
        match block.strip_prefix("- ") {
            Some(list) => {
                html.push_str("<ul>\n");
                for item in list.split("\n- ") {
                    let _ = writeln!(html, "<li>{}</li>", inline(&joined(item)));
                }
                html.push_str("</ul>\n");
            }
            None => {
                let _ = writeln!(html, "<p>{}</p>", inline(&joined(block)));
            }
        }
    }
    html
}

/// Code in a box of its own, with a button that copies it.
pub(super) fn code(text: &str, label: &str) -> String {
    format!(
        "<div class=\"code\"><pre tabindex=\"0\" aria-label=\"{}\">{}</pre><button type=\"button\">Copy</button></div>\n",
        Text(label),
        Text(text)
    )
}

/// Lines of one paragraph.
fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_paragraphs_and_lists_become_markup() {
        let text = "Needs `a<b>` & \"c\".\nOn.\n\n- `x`:\n  one\n- <i>two</i>\n\nEnd";
        let html = "<p>Needs <code>a&lt;b&gt;</code> &amp; &quot;c&quot;. On.</p>\n\
                    <ul>\n<li><code>x</code>: one</li>\n<li>&lt;i&gt;two&lt;/i&gt;</li>\n</ul>\n<p>End</p>\n";
        assert_eq!(prose(text), html);
    }
}
