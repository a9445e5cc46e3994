//! The test cases of ONNX's Python package in RTen and in the real ONNX Runtime: which of them each computes, and why it does
//! not compute the others. The table is `docs/onnx.md`.
//!
//! `HEQIS_BLESS=1 cargo test -p heqis-infer --test conformance` rewrites it.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use heqis_infer::ort::{OrtFault, Provider};
use heqis_infer::{BackendKind, CpuEngine, Engine, InferError, OrtEngine, TensorView};
use prost::Message;

/// The parts of ONNX's files that these cases need.
#[derive(Clone, PartialEq, Message)]
struct ModelFile {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphPart>,
}

#[derive(Clone, PartialEq, Message)]
struct GraphPart {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodePart>,
}

#[derive(Clone, PartialEq, Message)]
struct NodePart {
    #[prost(string, tag = "4")]
    op_type: String,
}

#[derive(Clone, PartialEq, Message)]
struct TensorFile {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(float, repeated, tag = "4")]
    float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    int32_data: Vec<i32>,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

impl TensorFile {
    fn read(path: &Path) -> Self {
        TensorFile::decode(fs::read(path).unwrap().as_slice()).unwrap()
    }

    fn shape(&self) -> Vec<usize> {
        let dims = self.dims.iter();
        dims.map(|&dim| usize::try_from(dim).unwrap()).collect()
    }

    fn words(&self) -> impl Iterator<Item = [u8; 4]> {
        self.raw_data.as_chunks::<4>().0.iter().copied()
    }

    fn floats(&self) -> Vec<f32> {
        let raw = self.words().map(f32::from_le_bytes);
        self.float_data.iter().copied().chain(raw).collect()
    }

    fn ints(&self) -> Vec<i32> {
        let raw = self.words().map(i32::from_le_bytes);
        self.int32_data.iter().copied().chain(raw).collect()
    }
}

/// The outcome of a case in a runtime.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Computed,
    /// The model has inputs or outputs that no engine accepts.
    Border,
    /// The runtime lacks an operator, and the error names it.
    Operator(String),
    /// The runtime refuses the model or the values for another reason.
    Refused(String),
    /// Another result than ONNX's.
    Differs,
}

impl Outcome {
    fn of(error: &InferError) -> Self {
        match error {
            InferError::Onnx(_) | InferError::Tensor { .. } => Outcome::Border,
            InferError::OperatorNotSupported { operator, .. } => {
                Outcome::Operator(operator.clone())
            }
            InferError::ModelNotLoaded { reason, .. } | InferError::RunFailed { reason, .. } => {
                Outcome::Refused(reason.clone())
            }
            other => panic!("{other}"),
        }
    }

    fn of_ort(fault: &OrtFault) -> Self {
        match fault {
            OrtFault::Signature(_) => Outcome::Border,
            OrtFault::Operator(operator) => Outcome::Operator(operator.clone()),
            OrtFault::Model(words) => Outcome::Refused(words.clone()),
            other => panic!("{other}"),
        }
    }
}

/// Runs a case: every data set that it has.
fn compute(case: &Path, mut engine: Box<dyn Engine>) -> Outcome {
    let mut sets: Vec<PathBuf> = fs::read_dir(case)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    sets.sort();
    for set in sets {
        let read = |kind: &str, count: usize| -> Vec<TensorFile> {
            let file = |i: usize| TensorFile::read(&set.join(format!("{kind}_{i}.pb")));
            (0..count).map(file).collect()
        };
        let inputs = read("input", engine.inputs().len());
        let expected = read("output", engine.outputs().len());
        let tensors: Vec<_> = inputs
            .iter()
            .map(|tensor| (tensor.shape(), tensor.floats(), tensor.ints()))
            .collect();
        let views: Vec<_> = engine
            .inputs()
            .iter()
            .zip(&tensors)
            .map(|(spec, (shape, floats, ints))| match spec.dtype {
                heqis_infer::Dtype::F32 => TensorView::f32(shape, floats),
                heqis_infer::Dtype::I32 => TensorView::i32(shape, ints),
                other => unreachable!("{other:?}"),
            })
            .collect();
        let mut outputs = vec![Vec::new(); expected.len()];
        if let Err(error) = engine.run(&views, &mut outputs) {
            return Outcome::of(&error);
        }
        for (expected, got) in expected.iter().zip(&outputs) {
            let expected = expected.floats();
            // ONNX's own tolerances.
            let near = |(a, b): (&f32, &f32)| {
                // NaN and infinities must agree.
                a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-7 + 1e-3 * a.abs()
            };
            if expected.len() != got.len() || !expected.iter().zip(got).all(near) {
                return Outcome::Differs;
            }
        }
    }
    Outcome::Computed
}

fn rten(case: &Path, model: &[u8]) -> Outcome {
    match CpuEngine::load(model) {
        Ok(engine) => compute(case, Box::new(engine)),
        Err(error) => Outcome::of(&error),
    }
}

fn ort(library: &Path, case: &Path, model: &[u8]) -> Outcome {
    match OrtEngine::load(library, model, Provider::Cpu, Path::new("")) {
        Ok(engine) => compute(case, Box::new(engine)),
        Err(fault) => Outcome::of_ort(&fault),
    }
}

/// The directory of the cases in the tests' Python.
fn cases() -> PathBuf {
    let python = std::env::var_os("HEQIS_TEST_PYTHON")
        .expect("HEQIS_TEST_PYTHON must name a python with onnx; `./test` makes one");
    let script = "import onnx, os; print(os.path.join(os.path.dirname(onnx.__file__), 'backend/test/data'), end='')";
    let output = Command::new(python).args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().into()
}

/// Operators with a random result, which cannot be compared.
const RANDOM: [&str; 2] = ["Bernoulli", "RandomUniformLike"];

/// The backends that compute ONNX files in 32-bit floats, a column of the table each.
const RUNTIMES: [BackendKind; 2] = [BackendKind::Cpu, BackendKind::Ort];

/// The results of one operator.
#[derive(Default)]
struct Line {
    cases: usize,
    computed: [usize; 2],
    /// The reasons of the failures in each runtime, with their counts.
    misses: [BTreeMap<String, usize>; 2],
}

fn table(all: &BTreeMap<String, Line>, border: usize) -> String {
    let sum = |count: &dyn Fn(&Line) -> usize| all.values().map(count).sum::<usize>();
    let mut text = format!(
        "# ONNX operators\n\n\
         Written by `heqis-infer/tests/conformance.rs`, which computes ONNX's own test cases (the folders `node`, `simple`,\n\
         `pytorch-operator` and `pytorch-converted` of the Python package) in both runtimes, to ONNX's tolerance of 1e-3,\n\
         relative. {border} cases lie outside what an engine here takes and gives: `f32` or `i32` tensors of static shapes in,\n\
         `f32` tensors out. Of the {} others, RTen (`cpu`) computes {} and ONNX Runtime (`ort`) {}.\n\n\
         What is not computed is refused with the operator's name or a reason, before anything runs or at the first row. An\n\
         operator is missing in its version as well: ONNX Runtime begins with opset 7. \"differs\" is another value than ONNX's,\n\
         without a word; a bundle's golden windows find that out when it is opened.\n\n\
         | operator | cases | `cpu` | `ort` | what is missing |\n|---|---|---|---|---|\n",
        sum(&|line| line.cases),
        sum(&|line| line.computed[0]),
        sum(&|line| line.computed[1]),
    );
    for (operator, line) in all {
        let misses = RUNTIMES.iter().zip(&line.misses);
        let misses: Vec<String> = misses
            .flat_map(|(runtime, misses)| {
                let say = move |(words, count): (&String, &usize)| {
                    format!("`{runtime}`, {count}: {words}")
                };
                misses.iter().map(say)
            })
            .collect();
        let Line {
            cases, computed, ..
        } = line;
        let [rten, ort] = computed;
        writeln!(
            text,
            "| {operator} | {cases} | {rten} | {ort} | {} |",
            misses.join("; ")
        )
        .unwrap();
    }
    text
}

/// The specific part of a reason, on one line of a table.
fn short(words: &str) -> String {
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    // RTen adds the shapes of the case, ONNX Runtime begins with the place in its source.
    let words = words.split(". Inputs were").next().unwrap_or_default();
    let words = words.rsplit("was false. ").next().unwrap_or_default();
    let words = words
        .strip_prefix("operator \"\" failed: ")
        .unwrap_or(words);
    let words = words.replace('|', "/");
    match words.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

#[test]
fn the_table_says_which_operators_each_runtime_computes() {
    let library = common::onnx_runtime();
    let exact = BackendKind::ALL.iter().filter(|kind| kind.info().is_exact);
    assert!(exact.eq(&RUNTIMES), "an exact backend has no column");
    let data = cases();
    let (mut all, mut border) = (BTreeMap::<String, Line>::new(), 0);
    for folder in ["node", "pytorch-converted", "pytorch-operator", "simple"] {
        let mut found: Vec<PathBuf> = fs::read_dir(data.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        found.sort();
        assert!(!found.is_empty());
        for case in found {
            let model = fs::read(case.join("model.onnx")).unwrap();
            let file = ModelFile::decode(model.as_slice()).unwrap();
            let nodes = file.graph.unwrap_or_default().node;
            let operators: BTreeSet<&str> = nodes.iter().map(|node| &*node.op_type).collect();
            if RANDOM.iter().any(|random| operators.contains(random)) {
                continue;
            }
            let outcomes = [rten(&case, &model), ort(&library, &case, &model)];
            if outcomes.contains(&Outcome::Border) {
                border += 1;
                continue;
            }
            let operators: Vec<&str> = operators.into_iter().collect();
            let name = match operators[..] {
                [one] => one,
                _ => "(several together)",
            };
            let line = all.entry(name.to_owned()).or_default();
            line.cases += 1;
            for (runtime, outcome) in outcomes.into_iter().enumerate() {
                let words = match outcome {
                    Outcome::Computed => {
                        line.computed[runtime] += 1;
                        continue;
                    }
                    Outcome::Operator(named) => {
                        let plain = named.rsplit(['.', '/', ':']).next().unwrap_or_default();
                        assert!(
                            operators.contains(&plain),
                            "{}: {named} is none of {operators:?}",
                            case.display()
                        );
                        format!("no operator {named}")
                    }
                    Outcome::Refused(words) => {
                        assert!(!words.is_empty(), "{}", case.display());
                        short(&words)
                    }
                    Outcome::Differs => "differs".to_owned(),
                    Outcome::Border => continue,
                };
                *line.misses[runtime].entry(words).or_default() += 1;
            }
        }
    }
    let text = table(&all, border);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/onnx.md");
    if std::env::var_os("HEQIS_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    for (got, kept) in text.lines().zip(kept.lines()) {
        assert_eq!(got, kept);
    }
    assert_eq!(text.lines().count(), kept.lines().count());
}
