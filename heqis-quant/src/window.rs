//! The last W feature rows of one series, as the flat array that a model reads.

use serde::{Deserialize, Serialize};

use crate::error::QuantError;

const PLACE: &str = "window";
/// 64 MiB of `f32`: far above any model here, and a bound on the memory that a configuration can request.
const MAX_VALUES: usize = 1 << 24;

/// A rolling window of `window_rows` rows of `n_features` values, row after row, the oldest first.
///
/// ```
/// use heqis_quant::RowWindow;
///
/// let mut window = RowWindow::new(2, 2)?;
/// assert_eq!(window.push(&[0.1, 0.2])?, None);
/// assert_eq!(window.push(&[0.3, 0.4])?, Some(&[0.1, 0.2, 0.3, 0.4][..]));
/// assert!(window.push(&[0.5]).is_err());
/// # Ok::<(), heqis_quant::QuantError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved")]
pub struct RowWindow {
    window_rows: usize,
    n_features: usize,
    values: Vec<f32>,
}

/// A window as written, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    window_rows: usize,
    n_features: usize,
    values: Vec<f32>,
}

impl TryFrom<Saved> for RowWindow {
    type Error = QuantError;

    fn try_from(saved: Saved) -> Result<Self, QuantError> {
        let mut window = Self::new(saved.window_rows, saved.n_features)?;
        let len = saved.values.len();
        if len > saved.window_rows * saved.n_features || !len.is_multiple_of(saved.n_features) {
            return Err(QuantError::value(
                PLACE,
                "values",
                "must be whole rows that fit the window",
                len,
            ));
        }
        window.values.extend(saved.values);
        Ok(window)
    }
}

impl RowWindow {
    /// Makes an empty window.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a size is 0 or the window would hold more than 2^24 values.
    pub fn new(window_rows: usize, n_features: usize) -> Result<Self, QuantError> {
        for (field, size) in [("window_rows", window_rows), ("n_features", n_features)] {
            if size == 0 {
                return Err(QuantError::value(PLACE, field, "must be at least 1", size));
            }
        }
        match window_rows.checked_mul(n_features) {
            Some(values) if values <= MAX_VALUES => Ok(Self {
                window_rows,
                n_features,
                values: Vec::with_capacity(values),
            }),
            _ => Err(QuantError::value(
                PLACE,
                "window_rows",
                format!("times n_features must be at most {MAX_VALUES}"),
                format!("{window_rows} x {n_features}"),
            )),
        }
    }

    /// Adds a row, drops the oldest beyond the window, and returns the window `[window_rows * n_features]` once it is
    /// full. Nothing is allocated.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`], and leaves the window as it was, when the row has another length.
    pub fn push(&mut self, row: &[f32]) -> Result<Option<&[f32]>, QuantError> {
        if row.len() != self.n_features {
            return Err(QuantError::value(
                PLACE,
                "row",
                format!("must have {} values", self.n_features),
                row.len(),
            ));
        }
        if self.values.len() >= self.window_rows * self.n_features {
            self.values.copy_within(self.n_features.., 0);
            self.values
                .truncate((self.window_rows - 1) * self.n_features);
        }
        self.values.extend_from_slice(row);
        Ok(self.flat())
    }

    /// Returns the window `[window_rows * n_features]`, or `None` while rows are missing.
    #[must_use]
    pub fn flat(&self) -> Option<&[f32]> {
        (self.values.len() == self.window_rows * self.n_features).then_some(&self.values)
    }

    /// Returns the newest row.
    #[must_use]
    pub fn last_row(&self) -> Option<&[f32]> {
        self.values.rchunks_exact(self.n_features).next()
    }

    /// Returns the number of rows in the window.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.values.len() / self.n_features
    }

    /// Removes all rows.
    pub fn clear(&mut self) {
        self.values.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_and_rows_of_the_wrong_length_are_refused() {
        assert!(RowWindow::new(0, 1).is_err());
        assert!(RowWindow::new(1, 0).is_err());
        assert!(RowWindow::new(usize::MAX, 2).is_err());
        let mut window = RowWindow::new(2, 2).unwrap();
        assert!(window.push(&[1.0]).is_err());
        assert_eq!(window.rows(), 0);
    }

    #[test]
    fn a_saved_window_continues_where_it_stopped_and_a_broken_one_is_refused() {
        let mut window = RowWindow::new(2, 2).unwrap();
        for i in 0..3 {
            window.push(&[i as f32, 0.1]).unwrap();
        }
        let mut restored: RowWindow =
            serde_json::from_str(&serde_json::to_string(&window).unwrap()).unwrap();
        assert_eq!(
            restored.push(&[3.0, 0.1]).unwrap(),
            Some(&[2.0, 0.1, 3.0, 0.1][..])
        );
        for broken in [
            r#"{"window_rows":2,"n_features":0,"values":[]}"#,
            r#"{"window_rows":2,"n_features":2,"values":[1.0]}"#,
            r#"{"window_rows":1,"n_features":2,"values":[1.0,1.0,1.0,1.0]}"#,
        ] {
            assert!(
                serde_json::from_str::<RowWindow>(broken).is_err(),
                "{broken}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_window_is_always_the_end_of_the_pushed_rows(
            window_rows in 1usize..6, n_features in 1usize..5, pushed in 0usize..20
        ) {
            let mut window = RowWindow::new(window_rows, n_features).unwrap();
            let mut all: Vec<f32> = Vec::new();
            for i in 0..pushed {
                let row: Vec<f32> = (0..n_features).map(|f| (i * n_features + f) as f32).collect();
                all.extend(&row);
                let expected = (i + 1 >= window_rows).then(|| all[all.len() - window_rows * n_features..].to_vec());
                prop_assert_eq!(window.push(&row).unwrap().map(<[f32]>::to_vec), expected);
                prop_assert_eq!(window.last_row().unwrap(), &row[..]);
            }
            prop_assert_eq!(window.rows(), pushed.min(window_rows));
        }
    }
}
