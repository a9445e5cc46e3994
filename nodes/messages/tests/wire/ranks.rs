//! Ranks of a decision, and cross-sections.

use heqis_messages::{CrossSection, DecisionMessage};
use heqis_portfolio::{Row, Section};
use heqis_quant::decision::{Moments, PortfolioOrder, Ranked};
use heqis_quant::{BarRef, MarketSnapshot};
use proptest::prelude::*;

use crate::oracle::{CrossSectionLayout, RankedLayout, RowOfSection};
use crate::{
    bar_refs, bincode, decode, finite, parts, predictions, ref_layout, snapshot_layout, symbols,
};

pub(crate) fn ranked_bytes(message: &DecisionMessage) -> Option<Vec<u8>> {
    let ranked = message.decision.ranked?;
    let order = |order: PortfolioOrder| (order.since, order.weight, order.amount);
    let moments = |one: Moments| (one.count, one.variance, one.covariance, one.market);
    let layout = RankedLayout {
        section: ranked.section,
        rank: ranked.rank,
        of: ranked.of,
        missing: ranked.missing,
        numbers: (ranked.score, ranked.weight, ranked.value, ranked.cash),
        order: ranked.order.map(order),
        unfilled: ranked.unfilled.map(order),
        moments: ranked.moments.map(moments),
        names: message.missing.iter().map(|one| one.as_key()).collect(),
    };
    Some(bincode(&layout))
}

fn orders() -> impl Strategy<Value = Option<PortfolioOrder>> {
    let order = (any::<u64>(), finite(), finite());
    prop::option::of(order.prop_map(|(since, weight, amount)| PortfolioOrder {
        since,
        weight,
        amount,
    }))
}

prop_compose! {
    pub(crate) fn ranked()(
        section in any::<u64>(),
        rank in any::<Option<u32>>(),
        [of, missing, count] in any::<[u32; 3]>(),
        [score, weight, value, cash] in [finite(), finite(), finite(), finite()],
        [order, unfilled] in [orders(), orders()],
        moments in prop::option::of([finite(), finite(), finite()]),
    ) -> Ranked {
        let moments = moments.map(|[variance, covariance, market]| Moments { count, variance, covariance, market });
        Ranked { section, rank, of, missing, score, weight, value, cash, order, unfilled, moments }
    }
}

prop_compose! {
    fn sections()(
        bar in bar_refs(),
        number in any::<u64>(),
        scores in prop::collection::btree_map(symbols(), (finite(), predictions()), 1..5),
        missing in prop::collection::vec(symbols(), 0..3),
        is_late in any::<bool>(),
    ) -> CrossSection {
        let row = |(symbol, (score, prediction))| {
            let bar = BarRef { symbol, ..bar };
            Row { bar, snapshot: MarketSnapshot::of_close(bar.date, bar.close), prediction, score }
        };
        let rows = scores.into_iter().map(row).collect();
        CrossSection(Section { number, time_ns: bar.time_ns, rows, missing, is_late })
    }
}

proptest! {
    #[test]
    fn a_cross_section_crosses_unchanged_in_the_bytes_of_bincode(section in sections()) {
        let (meta, tensor) = parts(&section);
        prop_assert!(tensor.is_empty());
        let Section { number, time_ns, rows, missing, is_late } = &section.0;
        let row = |row: &Row| {
            let [down, flat, up] = row.prediction.probabilities;
            RowOfSection {
                bar: ref_layout(&row.bar),
                snapshot: snapshot_layout(&row.snapshot),
                predicted_return: row.prediction.predicted_return,
                probabilities: (down, flat, up),
                score: row.score,
            }
        };
        let layout = CrossSectionLayout {
            number: *number,
            time_ns: *time_ns,
            rows: rows.iter().map(row).collect(),
            missing: missing.iter().map(|one| one.as_key()).collect(),
            is_late: *is_late,
        };
        prop_assert_eq!(&meta, &bincode(&layout));
        prop_assert_eq!(decode::<CrossSection>(&meta).unwrap(), section);
    }
}
