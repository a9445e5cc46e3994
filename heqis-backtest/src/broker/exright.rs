//! Dividends and new shares for the holdings of the last close, credited before the open.

use heqis_quant::Date;
use heqis_quant::adjust::reference_units;

use super::{Broker, Entitled, add};
use crate::error::BacktestError;

impl Broker<'_> {
    /// Credits the entitlements of a stock on a day, and adjusts its mark to the new reference price.
    pub(super) fn entitle(
        &mut self,
        stock: usize,
        day: u32,
        date: Date,
    ) -> Result<(), BacktestError> {
        let listing = &self.market.stocks()[stock];
        let (all, rules) = (listing.entitlements(), listing.market());
        // The product of millionths of a CNY and quantity units that is one cent of dividend.
        let per_cent = 10_000 * i128::from(rules.units_per_share());
        let account = &mut self.stocks[stock];
        while all
            .get(account.entitlement)
            .is_some_and(|due| due.day < day)
        {
            account.entitlement += 1;
        }
        let from = account.entitlement;
        let due = all[from..].iter().take_while(|due| due.day == day);
        let mut count = 0;
        let position = &mut account.position;
        // All events of one day apply to the same shares, as announced.
        let held_shares = position.shares();
        for due in due {
            count += 1;
            // Rounded half up to cents. The product of two i64 fits an i128.
            let gross = i128::from(held_shares) * i128::from(due.cash_micro);
            let cash_cents = i64::try_from((gross + per_cent / 2) / per_cent)
                .map_err(|_| BacktestError::too_large("dividend", gross))?;
            let taxed = i128::from(cash_cents) * i128::from(self.config.dividend_tax_e4);
            // At most the dividend itself, since the rate is at most 1.
            let tax_cents = ((taxed + 5_000) / 10_000) as i64;
            self.cash = add(self.cash, cash_cents - tax_cents)?;
            self.today.dividends = add(self.today.dividends, cash_cents - tax_cents)?;
            if let Some(trip) = &mut position.trip {
                trip.earned_cents = add(trip.earned_cents, cash_cents - tax_cents)?;
            }
            self.ledger.entitled.push(Entitled {
                stock,
                date,
                held_shares,
                cash_cents,
                tax_cents,
                new_shares: 0,
                rights_lapsed: due.event.rights > 0.0,
            });
        }
        if count == 0 {
            return Ok(());
        }
        account.entitlement += count;
        let due = &all[from..from + count];
        let new_shares = position.grow(due.iter().map(|due| due.shares_micro).sum());
        if let Some(last) = self.ledger.entitled.last_mut() {
            last.new_shares = new_shares;
        }
        let moving = due.iter().filter(|due| due.moves_reference());
        let moving = moving.map(|due| &due.event);
        position.mark = reference_units(position.mark, rules.price_decimals, moving)?;
        Ok(())
    }
}
