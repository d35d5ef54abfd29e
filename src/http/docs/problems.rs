//! The kinds of problems on the page: what the `type` of an error answer leads to.

use std::fmt::Write as _;

use super::html::{Text, inline};
use crate::http::problem::Kind;

pub(super) fn write_all(page: &mut String) {
    page.push_str(
        "<section aria-labelledby=\"problems\">\n<h2 id=\"problems\">Problems</h2>\n\
         <p>What is no success is answered with <code>application/problem+json</code> (RFC 9457). Its <code>type</code> leads \
         here, and does not change; its <code>detail</code> says what happened this time. Whatever the problem, the request \
         has no later effect: an uplink that was answered with one is not delivered later.</p>\n",
    );
    for kind in Kind::ALL {
        let _ = write!(
            page,
            "<article class=\"problem\" aria-labelledby=\"problem-{0}\">\n\
             <h3 id=\"problem-{0}\">{1} <a class=\"self\" href=\"#problem-{0}\" aria-label=\"Link to this problem\">#</a></h3>\n\
             <p class=\"route\"><code data-status=\"{2}\">{3}</code> <code>{0}</code></p>\n<p>{4}</p>\n</article>\n",
            Text(kind.slug()),
            Text(kind.title()),
            kind.status().as_u16() / 100,
            kind.status().as_u16(),
            inline(kind.about())
        );
    }
    page.push_str("</section>\n");
}
