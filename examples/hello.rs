//! The smallest graph: a source, a stage, a sink.
//!
//! ```sh
//! cargo run --example hello
//! ```

use std::time::Duration;

use heqis::prelude::*;

#[derive(Payload)]
struct Word(String);

#[expect(clippy::print_stdout, reason = "the example shows its result")]
fn main() -> Result<(), GraphError> {
    let report = GraphBuilder::new("hello")
        .source_iter(
            "words",
            ["hello", "", "graph"].map(|word| Word(word.into())),
        )
        .filter("written", |word: &Frame<Word>| !word.0.is_empty())
        .sink_fn("print", |word: &Frame<Word>| println!("{}", word.0))
        .chain(&["words", "written", "print"])
        .run(Duration::from_secs(1))?;
    assert!(report.is_clean(), "every frame is delivered");
    Ok(())
}
