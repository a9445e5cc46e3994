//! Invariants of the rotary embedding.

use burn::tensor::{Device, Tensor, TensorData};
use heqis_train::nets::layers::rope::Rope;

use crate::common::{elements, random};

const ROWS: usize = 12;
const WIDTH: usize = 6;

#[test]
fn a_rotation_keeps_the_norm_of_every_pair() {
    let device = Device::flex();
    let x = random(1, [1, ROWS, 1, WIDTH], &device);
    let (before, after) = (
        elements(x.clone()),
        elements(Rope::new(ROWS, WIDTH).forward(x)),
    );
    for (row, (before, after)) in before.chunks(WIDTH).zip(after.chunks(WIDTH)).enumerate() {
        for pair in 0..WIDTH / 2 {
            let norm = |x: &[f32]| x[pair].hypot(x[pair + WIDTH / 2]);
            assert!((norm(before) - norm(after)).abs() < 1e-5, "row {row}");
        }
        assert_eq!(before == after, row == 0, "only position 0 is unchanged");
    }
}

#[test]
fn products_of_queries_and_keys_depend_only_on_their_distance() {
    let device = Device::flex();
    // The same query, and the same key, at every position.
    let rotated = |seed| {
        let x = random(seed, [1, 1, 1, WIDTH], &device).repeat_dim(1, ROWS);
        elements(Rope::new(ROWS, WIDTH).forward(x))
    };
    let (queries, keys) = (rotated(1), rotated(2));
    let score = |query: usize, key: usize| -> f32 {
        let row = |x: &[f32], row: usize| x[row * WIDTH..][..WIDTH].to_vec();
        let (q, k) = (row(&queries, query), row(&keys, key));
        q.iter().zip(&k).map(|(q, k)| q * k).sum()
    };
    let mut distances = std::collections::BTreeSet::new();
    for query in 0..ROWS {
        for key in 0..ROWS {
            let base = query.min(key);
            let shifted = score(query - base, key - base);
            assert!((score(query, key) - shifted).abs() < 1e-5);
            distances.insert(shifted.to_bits());
        }
    }
    assert!(distances.len() > ROWS, "products depend on the distance");
}

#[test]
fn the_angles_are_those_of_the_paper() {
    // Width 4: pair 0 rotates by 1 radian a row, pair 1 by 10000^(-1/2) = 0.01.
    let device = Device::flex();
    let rows = [[0.0; 4], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]].concat();
    let x = Tensor::<4>::from_data(TensorData::new(rows, [1, 3, 1, 4]), &device);
    let rotated = elements(Rope::new(3, 4).forward(x));
    let expected = [
        [0.0; 4],
        [1.0_f32.cos(), 0.0, 1.0_f32.sin(), 0.0],
        [0.0, -0.02_f32.sin(), 0.0, 0.02_f32.cos()],
    ]
    .concat();
    for (rotated, expected) in rotated.iter().zip(&expected) {
        assert!((rotated - expected).abs() < 1e-6, "{rotated} {expected}");
    }
}
