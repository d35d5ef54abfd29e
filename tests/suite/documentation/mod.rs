//! The documentation is true: its commands run, its configurations are valid, its links lead somewhere.

mod followed;
mod lists;
mod pages;

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::markdown::{Block, Page, project};

const BOOK: &str = "docs/src";

/// Every page that users read.
fn pages() -> Vec<Page> {
    let mut paths: Vec<PathBuf> = ["README.md", "profiles/README.md"].map(Into::into).into();
    for entry in fs::read_dir(project().join(BOOK)).unwrap() {
        let name = entry.unwrap().file_name();
        if Path::new(&name).extension().is_some_and(|e| e == "md") {
            paths.push(Path::new(BOOK).join(name));
        }
    }
    paths.sort();
    paths.iter().map(|path| Page::read(path)).collect()
}

fn page(name: &str) -> Page {
    Page::read(&Path::new(BOOK).join(name))
}

fn place(page: &Page, block: &Block) -> String {
    format!("{}:{}", page.path.display(), block.line)
}
