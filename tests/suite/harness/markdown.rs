//! The project's own pages: their blocks of code, their links and their headings.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One page.
#[derive(Debug)]
pub struct Page {
    /// Where it is, from the project's folder.
    pub path: PathBuf,
    /// Its blocks of code, in order.
    pub blocks: Vec<Block>,
    /// The text between them.
    prose: String,
}

/// One block of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What stands behind the opening fence: `sh`, `toml`, `text`.
    pub language: String,
    /// Its lines, each with its end.
    pub text: String,
    /// The line of the page that it begins in, counted from 1.
    pub line: usize,
    /// Whether it is shown as what the block before it prints: a `text` with no other block between.
    pub is_output: bool,
}

impl Block {
    /// What its first line says, if that is a comment.
    pub fn remark(&self) -> &str {
        let first = self.text.lines().next().unwrap_or_default();
        first.strip_prefix("# ").unwrap_or_default()
    }
}

/// Where the project is.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Page {
    /// Reads a page, named from the project's folder.
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(project().join(path))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Self {
        let (mut blocks, mut prose) = (Vec::<Block>::new(), String::new());
        let mut open: Option<(Block, usize)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    let language = language.to_owned();
                    let block = Block {
                        is_output: language == "text" && !blocks.is_empty(),
                        language,
                        text: String::new(),
                        line: number + 1,
                    };
                    open = Some((block, indent));
                }
                (Some(_), Some(_)) => blocks.extend(open.take().map(|(block, _)| block)),
                (None, Some((block, indent))) => {
                    block.text += line.get(*indent..).unwrap_or_default();
                    block.text.push('\n');
                }
                (None, None) => {
                    prose += line;
                    prose.push('\n');
                }
            }
        }
        assert!(open.is_none(), "{}: a fence is left open", path.display());
        let path = path.to_owned();
        Self {
            path,
            blocks,
            prose,
        }
    }

    /// The targets of its links, as they are written.
    pub fn links(&self) -> Vec<&str> {
        let targets = self.prose.split("](").skip(1);
        targets
            .map(|rest| rest.split(')').next().unwrap_or_default())
            .collect()
    }

    /// What a link may name behind `#`, in the form that code hosts and mdBook agree on.
    pub fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|line| anchor(line.trim_start_matches('#').trim()))
            .collect()
    }
}

fn anchor(heading: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || c == ' ' || c == '-' || c == '_';
    let text: String = heading.chars().filter(|c| kept(*c)).collect();
    text.to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# Title: `[a.NAME]`
See [this](b.md#c) and [that](https://example.org).

```text
a picture
```

```sh
# needs root
ls
```

- In a list:

  ```toml
  [x]
    y = 1
  ```
";

    #[test]
    fn blocks_links_and_anchors() {
        let page = Page::parse("x.md".as_ref(), TEXT);
        let block = |language: &str, text: &str, line, is_output| Block {
            language: language.to_owned(),
            text: text.to_owned(),
            line,
            is_output,
        };
        assert_eq!(
            page.blocks,
            [
                block("text", "a picture\n", 4, false),
                block("sh", "# needs root\nls\n", 8, false),
                block("toml", "[x]\n  y = 1\n", 15, false),
            ]
        );
        assert_eq!(page.blocks[1].remark(), "needs root");
        assert_eq!(page.blocks[2].remark(), "");
        assert_eq!(page.links(), ["b.md#c", "https://example.org"]);
        assert!(page.anchors().contains("title-aname"));
    }
}
