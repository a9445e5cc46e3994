//! Every defect that a bundle can have by itself, with its message.

use std::fs;

use serde_json::json;

use super::{
    Case, FEATURES, Net, WINDOW, edit, forget_scaler, replace_file, replace_model, replace_scaler,
};

/// Returns the defects.
pub(crate) fn cases() -> Vec<Case> {
    let case = |name, task, make, message: &str| Case {
        name,
        task,
        make,
        message: message.to_owned(),
    };
    let mut cases = vec![
        case(
            "no manifest",
            "factors",
            |dir| fs::remove_file(dir.join("manifest.json")).unwrap(),
            "bundle file DIR/manifest.json: does not exist",
        ),
        case(
            "no model",
            "direction",
            |dir| fs::remove_file(dir.join("model.onnx")).unwrap(),
            "bundle file DIR/model.onnx: does not exist",
        ),
        case(
            "no scaler",
            "factors",
            |dir| fs::remove_file(dir.join("scaler_params.json")).unwrap(),
            "bundle file DIR/scaler_params.json: does not exist",
        ),
        case(
            "another version",
            "direction",
            |dir| edit(dir, |manifest| manifest["schema"] = json!(2)),
            "bundle file DIR/manifest.json: schema must be 1, got 2",
        ),
        case(
            "an unknown key",
            "factors",
            |dir| edit(dir, |manifest| manifest["colour"] = json!("green")),
            "bundle file DIR/manifest.json: unknown field `colour`",
        ),
        case(
            "a wrong hash",
            "direction",
            |dir| {
                let mut model = fs::read(dir.join("model.onnx")).unwrap();
                model[100] ^= 1;
                fs::write(dir.join("model.onnx"), model).unwrap();
            },
            "bundle file DIR/model.onnx: sha256 must be ",
        ),
        case(
            "a scaler of another model",
            "factors",
            |dir| replace_scaler(dir, &FEATURES, WINDOW + 1),
            "bundle file DIR/model.onnx: the model was trained with the scaler of sha256 ",
        ),
        case(
            "a shape unlike the model's",
            "factors",
            |dir| {
                edit(dir, |manifest| {
                    manifest["outputs"][0]["shape"] = json!([1, 3]);
                    manifest["golden"]["windows"][0]["outputs"]["factors"] = json!([0.0, 0.0, 0.0]);
                });
            },
            "bundle file DIR/model.onnx: output must be factors f32 [1, 3] by the manifest, the model has factors f32 [1, 2]",
        ),
        case(
            "another task",
            "factors",
            |dir| edit(dir, |manifest| manifest["task"] = json!("poetry")),
            "bundle DIR: task must be factors or direction, got poetry",
        ),
        case(
            "the task of the other role",
            "direction",
            |dir| edit(dir, |manifest| manifest["task"] = json!("factors")),
            "bundle DIR: task must be direction, got factors",
        ),
        case(
            "a name that leaves the directory",
            "direction",
            |dir| edit(dir, |manifest| manifest["name"] = json!("../../evil")),
            "bundle file DIR/manifest.json: name must be a plain name of at most 100 letters, digits and any of `._-+ `, \
             beginning with a letter or digit, got \"../../evil\"",
        ),
        case(
            "a manifest in a list",
            "factors",
            |dir| {
                let manifest = fs::read_to_string(dir.join("manifest.json")).unwrap();
                fs::write(dir.join("manifest.json"), format!("[{manifest}]")).unwrap();
            },
            "bundle file DIR/manifest.json: must be an object, got a list",
        ),
        case(
            "a tolerance that allows everything",
            "factors",
            |dir| {
                edit(dir, |manifest| {
                    manifest["golden"]["tolerance"] = json!(1e30)
                })
            },
            "bundle file DIR/manifest.json: golden.tolerance must be finite, at least 0 and at most 0.01, or 1 % of the largest \
             golden output where that is more, got ",
        ),
        case(
            "a measurement of no window",
            "direction",
            |dir| {
                edit(dir, |manifest| {
                    manifest["verified"] = json!({ "cpu": {
                        "by": "a test", "windows": 0, "max_abs_error": 0.0, "mean_abs_error": 0.0, "tolerance": 1e-5,
                        "passed": true,
                    }});
                });
            },
            "bundle file DIR/manifest.json: verified.cpu.windows must be at least 1, got 0",
        ),
        case(
            "a measurement that allows everything",
            "direction",
            |dir| {
                edit(dir, |manifest| {
                    manifest["verified"] = json!({ "cpu": {
                        "by": "a test", "windows": 1, "max_abs_error": 9.0, "mean_abs_error": 0.0, "tolerance": 1e38,
                        "passed": true,
                    }});
                });
            },
            "bundle file DIR/manifest.json: verified.cpu.tolerance must be finite, at least 0 and at most 0.01, or 1 % of the \
             largest golden output where that is more, got ",
        ),
        case(
            "a day that no calendar has",
            "factors",
            |dir| {
                edit(dir, |manifest| {
                    manifest["training_span"]["to"] = json!("2015-99-99")
                })
            },
            "bundle file DIR/manifest.json: training_span.to must be a date YYYY-MM-DD of the years 1900 to 2199, got 2015-99-99",
        ),
        case(
            "a rule with an unknown key",
            "direction",
            |dir| {
                edit(dir, |manifest| {
                    let rule =
                        json!({ "enter": 0.01, "exit": 0.0, "min_confidence": 0.4, "mood": 1 });
                    manifest["figures"]["rule"] = rule;
                });
            },
            "bundle DIR: figures.rule must be a decision rule, got unknown field `mood`",
        ),
        case(
            "a rule of another type",
            "direction",
            |dir| edit(dir, |manifest| manifest["figures"]["rule"] = json!("buy")),
            "bundle DIR: figures.rule must be a decision rule, got invalid type: string \"buy\"",
        ),
        case(
            "a rule that sells above where it buys",
            "direction",
            |dir| {
                edit(dir, |manifest| {
                    let rule = json!({ "enter": 0.01, "exit": 0.02, "min_confidence": 0.4 });
                    manifest["figures"]["rule"] = rule;
                });
            },
            "bundle DIR: figures.rule must be a decision rule, got decision rule: exit: must lie below enter = 0.01, got 0.02",
        ),
        case(
            "fitted to no day",
            "direction",
            |dir| {
                edit(dir, |manifest| {
                    manifest["figures"]["fitted_to"] = json!("2014-99-99")
                })
            },
            "bundle DIR: figures.fitted_to must be a day, YYYY-MM-DD of the years 1900 to 2199, got \"2014-99-99\"",
        ),
        case(
            "fitted to a number",
            "factors",
            |dir| {
                edit(dir, |manifest| {
                    manifest["figures"]["fitted_to"] = json!(2014)
                })
            },
            "bundle DIR: figures.fitted_to must be a day, YYYY-MM-DD of the years 1900 to 2199, got 2014",
        ),
        case(
            "validated to no day",
            "direction",
            |dir| {
                edit(dir, |manifest| {
                    manifest["figures"]["samples"] = json!({ "validation": { "to": "soon" } });
                });
            },
            "bundle DIR: figures.samples.validation.to must be a day, YYYY-MM-DD of the years 1900 to 2199, got \"soon\"",
        ),
        case(
            "a window whose length overflows",
            "direction",
            |dir| {
                replace_scaler(dir, &FEATURES, usize::MAX);
                forget_scaler(dir);
            },
            "bundle DIR: window_bars must be 18446744073709551615 + 2, the scaler's window of 18446744073709551615 and the \
             model's further rows, got 6",
        ),
        case(
            "a window that fits no memory",
            "direction",
            |dir| {
                replace_scaler(dir, &FEATURES, 1 << 40);
                forget_scaler(dir);
                edit(dir, |manifest| {
                    manifest["window_bars"] = json!((1_u64 << 40) + 2)
                });
            },
            "bundle DIR: a window of the model must hold at most 2^24 values, got 1099511627776 rows of 2",
        ),
        case(
            "a long list of names",
            "factors",
            |dir| {
                edit(dir, |manifest| {
                    let names: Vec<String> = (0..200_000).map(|k| format!("name_{k}")).collect();
                    manifest["feature_names"] = json!(names);
                });
            },
            "bundle DIR: feature_names[0] must be return_1 among 2 names, by the scaler, got name_0 among 200000",
        ),
        case(
            "another input of a feature model",
            "factors",
            |dir| {
                replace_model(
                    dir,
                    &Net {
                        input: "bars",
                        ..Net::factors()
                    },
                )
            },
            "bundle DIR: the model must have one f32 input window of shape [1, bars, features], got bars f32 [1, 4, 2]",
        ),
        case(
            "another output of a feature model",
            "factors",
            |dir| {
                replace_model(
                    dir,
                    &Net {
                        output: "codes",
                        ..Net::factors()
                    },
                )
            },
            "bundle DIR: the model must have one output factors of shape [1, factors], got codes f32 [1, 2]",
        ),
        case(
            "a feature model of another width",
            "factors",
            |dir| {
                replace_model(
                    dir,
                    &Net {
                        width: 3,
                        ..Net::factors()
                    },
                )
            },
            "bundle DIR: a row of the model's input must hold 2 values, by feature_names, got 3",
        ),
        case(
            "a feature model of another window",
            "factors",
            |dir| {
                replace_model(
                    dir,
                    &Net {
                        rows: 5,
                        ..Net::factors()
                    },
                )
            },
            "bundle DIR: window_size of the scaler must be 5, the model's window, got 4",
        ),
        case(
            "window bars unlike the window",
            "factors",
            |dir| edit(dir, |manifest| manifest["window_bars"] = json!(17)),
            "bundle DIR: window_bars must be 4, the model's window, got 17",
        ),
        case(
            "a feature model with a renamed feature",
            "factors",
            |dir| {
                edit(dir, |manifest| {
                    manifest["feature_names"][0] = json!("return_5")
                })
            },
            "bundle DIR: feature_names[0] must be return_1 among 2 names, by the scaler, got return_5 among 2",
        ),
        case(
            "another input of a direction model",
            "direction",
            |dir| {
                replace_model(
                    dir,
                    &Net {
                        input: "rows",
                        ..Net::direction()
                    },
                )
            },
            "bundle DIR: the model must have one f32 input features of shape [1, width] or [1, rows, width], got rows f32 [1, 3, 4]",
        ),
        case(
            "no probabilities",
            "direction",
            |dir| {
                replace_model(
                    dir,
                    &Net {
                        second: "odds",
                        ..Net::direction()
                    },
                )
            },
            "bundle DIR: the model must have an output probabilities of shape [1, 3], got predicted_return f32 [1, 1], odds f32 [1, 3]",
        ),
        case(
            "two classes",
            "direction",
            |dir| {
                replace_model(
                    dir,
                    &Net {
                        classes: 2,
                        ..Net::direction()
                    },
                )
            },
            "bundle DIR: the model must have an output probabilities of shape [1, 3], got predicted_return f32 [1, 1], \
             probabilities f32 [1, 2]",
        ),
        case(
            "a direction model with a state",
            "direction",
            |dir| {
                replace_model(
                    dir,
                    &Net {
                        state: true,
                        ..Net::direction()
                    },
                )
            },
            "bundle DIR: the model must carry no state, which a compute node could not restore, got one",
        ),
        case(
            "a direction model of another width",
            "direction",
            |dir| {
                replace_model(
                    dir,
                    &Net {
                        width: 5,
                        ..Net::direction()
                    },
                )
            },
            "bundle DIR: a row of the model's input must hold 4 values, by feature_names, got 5",
        ),
        case(
            "too few feature names",
            "direction",
            |dir| {
                edit(dir, |manifest| {
                    manifest["feature_names"] = json!(["range_ratio"])
                })
            },
            "bundle DIR: feature_names[0] must be return_1 among 2 names, by the scaler, got range_ratio among 1",
        ),
        case(
            "factors after the features",
            "direction",
            |dir| {
                edit(dir, |manifest| {
                    let names = ["return_1", "range_ratio", "factor_0", "factor_1"];
                    manifest["feature_names"] = json!(names);
                });
            },
            "bundle DIR: feature_names[0] must be factor_0 among 4 names, by the scaler, got return_1 among 4",
        ),
        case(
            "another number of rows",
            "direction",
            |dir| {
                replace_model(
                    dir,
                    &Net {
                        rows: 4,
                        ..Net::direction()
                    },
                )
            },
            "bundle DIR: window_bars must be 7, the scaler's window of 4 and the model's further rows, got 6",
        ),
    ];
    // Of both roles: what lies in the scaler and in the model's file.
    for task in ["factors", "direction"] {
        let of = |name: &'static str, make, message: &str| case(name, task, make, message);
        cases.extend([
            of(
                match task {
                    "factors" => "a feature model without a scaler",
                    _ => "a direction model without a scaler",
                },
                |dir| replace_file(dir, "scaler_params.json", b"{}"),
                "bundle DIR: scaler_params.json must be a scaler, got ",
            ),
            of(
                match task {
                    "factors" => "a feature that nothing computes",
                    _ => "a feature that nothing computes for a direction model",
                },
                |dir| {
                    let names = ["return_1", "mood_5"];
                    replace_scaler(dir, &names, WINDOW);
                    forget_scaler(dir);
                },
                "bundle DIR: the scaler's features must be ones that HEQIS computes, got ",
            ),
            of(
                match task {
                    "factors" => "a scaler of another width",
                    _ => "a scaler of another width than a direction model's",
                },
                |dir| {
                    replace_scaler(dir, &["return_1", "range_ratio", "body_ratio"], WINDOW);
                    forget_scaler(dir);
                },
                match task {
                    "factors" => "bundle DIR: feature_names[2] must be body_ratio among 3 names, by the scaler, got none among 2",
                    _ => "bundle DIR: feature_names[1] must be return_1 among 4 names, by the scaler, got factor_1 among 4",
                },
            ),
            of(
                match task {
                    "factors" => "another operator set",
                    _ => "another operator set of a direction model",
                },
                |dir| {
                    let mut model = fs::read(dir.join("model.onnx")).unwrap();
                    // The writer ends the graph with the operator set, version 13.
                    let opset = b"\x42\x02\x10\x0d";
                    let at = model.windows(4).rposition(|bytes| bytes == opset).unwrap();
                    model[at + 3] = 99;
                    replace_file(dir, "model.onnx", &model);
                },
                "bundle file DIR/model.onnx: the operator set must be of version 7 to 25, got 99",
            ),
        ]);
    }
    cases
}
