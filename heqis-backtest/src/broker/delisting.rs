//! The write-off of delisted stocks, before the open.
//!
//! A delisted stock no longer has a price on its exchange. Some continue to trade elsewhere at a price that no table of bars
//! has, so the account writes off what it could not sell, which is the conservative choice. The ledger lists each write-off.

use heqis_quant::Date;

use super::{Broker, WrittenOff};
use crate::error::BacktestError;

impl Broker<'_> {
    /// Writes off the shares of stocks that are no longer listed.
    pub(super) fn write_off(&mut self, day: u32, date: Date) -> Result<(), BacktestError> {
        let delisted = |stock: &usize| self.market.stocks()[*stock].is_delisted(day);
        let delisted: Vec<usize> = self.held.iter().copied().filter(delisted).collect();
        for stock in delisted {
            let position = &mut self.stocks[stock].position;
            let shares = position.shares();
            self.ledger.written_off.push(WrittenOff {
                stock,
                date,
                shares,
                mark: position.mark,
                value_cents: self.market.stocks()[stock].amount_cents(position.mark, shares)?,
            });
            position.remove(shares);
            if let Some(trip) = &mut position.trip {
                trip.closed = date;
            }
            self.ledger.trips.extend(position.trip.take());
            self.held.retain(|held| *held != stock);
        }
        Ok(())
    }
}
