//! Order execution at the open of a bar.

use heqis_quant::Date;
use heqis_quant::rules::{FeeBill, Limits, Trade};

use super::{Broker, Fill, OrderRequest, Reason, Size, Trip, add};
use crate::error::BacktestError;

/// A possible fill, not yet booked.
struct ProposedFill {
    shares: u64,
    price: i64,
    amount: i64,
    bill: FeeBill,
    limits: Limits,
}

/// The effect of an open on an order.
enum OpenResult {
    /// Stays pending, for this reason, or until the next bar of its stock.
    Wait(Option<Reason>),
    /// Ends without a fill.
    End(Reason),
    /// Fills. A partial fill has a reason, and whether the rest stays pending.
    Fill(ProposedFill, Option<(Reason, bool)>),
}

impl Broker<'_> {
    /// Tries to fill an order at the open of the bar that ends at a step.
    pub(super) fn try_order(
        &mut self,
        id: usize,
        step: u32,
        date: Date,
    ) -> Result<(), BacktestError> {
        let request = self.ledger.orders[id].request;
        let day = self.day();
        let order = &mut self.ledger.orders[id];
        if order.opened.replace(day) != Some(day) {
            order.opens += 1;
        }
        if let Size::All = request.size {
            let order = &mut self.ledger.orders[id];
            order.wanted_shares =
                order.filled_shares + self.stocks[request.stock].position.shares();
        }
        let waits = match self.try_open(id, step, day)? {
            OpenResult::Wait(reason) => {
                if let Some(reason) = reason {
                    self.note(id, reason);
                }
                true
            }
            OpenResult::End(reason) => {
                self.note(id, reason);
                false
            }
            OpenResult::Fill(offer, rest) => {
                self.book_fill(id, &offer, step, date)?;
                if let Some((reason, _)) = rest {
                    self.note(id, reason);
                }
                rest.is_some_and(|(_, waits)| waits)
            }
        };
        let order = &self.ledger.orders[id];
        let expired = request.trade == Trade::Buy
            && order.opens >= self.config.buy_days
            && self.market.closes_day(step);
        if !waits || expired {
            self.set_final_status(id);
            self.remove_waiting(id);
        }
        Ok(())
    }

    /// Computes the effect of the open of a bar on an order. Changes only the cursor of the stock.
    fn try_open(&mut self, id: usize, step: u32, day: u32) -> Result<OpenResult, BacktestError> {
        let wait = |reason| Ok(OpenResult::Wait(Some(reason)));
        let order = &self.ledger.orders[id];
        let (OrderRequest { stock, trade, .. }, left) =
            (order.request, order.wanted_shares - order.filled_shares);
        let listing = &self.market.stocks()[stock];
        if listing.is_delisted(day) {
            return Ok(OpenResult::End(Reason::Delisted));
        }
        let held = self.stocks[stock].position.shares();
        if trade == Trade::Sell && held == 0 {
            return Ok(match self.stocks[stock].waiting_buys {
                0 => OpenResult::End(Reason::NoPosition),
                _ => OpenResult::Wait(Some(Reason::TPlusOne)),
            });
        }
        if trade == Trade::Buy && held == 0 && self.held.len() >= self.max_positions {
            return wait(Reason::MaxPositions);
        }
        let Some(bar) = self.bar(stock, step) else {
            let bars = &listing.bars()[..self.stocks[stock].bar];
            let traded = bars.last().is_some_and(|bar| bar.day == day);
            // Of bars shorter than a day, only a day without any bar is a suspension.
            let suspended = self.market.closes_day(step) && !traded;
            return Ok(OpenResult::Wait(suspended.then_some(Reason::Suspended)));
        };
        let time_ns = self.market.steps()[step as usize].time_ns;
        if self.market.is_intraday() && !listing.market().is_in_session(time_ns) {
            return wait(Reason::OutsideSession);
        }
        let rules = self.market.rules(self.markets, stock, step)?;
        let Some(limits) = listing.limits(&bar, &rules)? else {
            return wait(Reason::UnknownLimit);
        };
        if let Limits::Band { up, down } = limits {
            match trade {
                Trade::Buy if bar.open >= up => return wait(Reason::LimitUp),
                Trade::Sell if bar.open <= down => return wait(Reason::LimitDown),
                _ => {}
            }
        }
        let account = &self.stocks[stock];
        let used = account.traded_at(step);
        let most = u128::from(bar.volume) * u128::from(self.config.participation_e4) / 10_000;
        // At most the volume, since the participation is at most 1.
        let most = most as u64;
        let cap = most.saturating_sub(used);
        let price = |shares| {
            let slippage = self.config.slippage;
            slippage.price(
                trade,
                bar.open,
                shares,
                bar.volume,
                limits,
                rules.order.tick,
            )
        };
        let offer = |shares: u64, price: i64| -> Result<ProposedFill, BacktestError> {
            let amount = listing.amount_cents(price, shares)?;
            Ok(ProposedFill {
                shares,
                price,
                amount,
                bill: rules.fees.bill(trade, amount, shares)?,
                limits,
            })
        };
        let sellable = account.position.sellable(day, rules.order.sell_after_days);
        // The reason against a full fill, and whether the rest can be filled another day.
        let (wanted, cut) = match trade {
            Trade::Buy => (left, None),
            Trade::Sell => match left.min(sellable) {
                0 => return wait(Reason::TPlusOne),
                wanted if wanted == left => (wanted, None),
                wanted if sellable < held || account.waiting_buys > 0 => {
                    (wanted, Some((Reason::TPlusOne, true)))
                }
                wanted => (wanted, Some((Reason::NoPosition, false))),
            },
        };
        let cut = match wanted > cap {
            true => Some((Reason::VolumeCap, true)),
            false => cut,
        };
        let allowed = wanted.min(cap);
        let shares = match trade {
            Trade::Buy => rules.order.buyable(allowed),
            Trade::Sell => rules.order.sellable(allowed, sellable),
        };
        let cut = if shares < allowed && cut.is_none() {
            Some((Reason::LotSize, false))
        } else {
            cut
        };
        if shares == 0 {
            return Ok(match cut {
                Some((reason, true)) => OpenResult::Wait(Some(reason)),
                Some((reason, false)) => OpenResult::End(reason),
                None => OpenResult::End(Reason::LotSize),
            });
        }
        let first = offer(shares, price(shares)?)?;
        let fees = first.bill.total_cents();
        if trade == Trade::Sell {
            if add(add(self.cash, first.amount)?, -fees)? < 0 {
                return wait(Reason::FeesAboveProceeds);
            }
            return Ok(OpenResult::Fill(first, cut));
        }
        if add(first.amount, fees)? <= self.cash {
            return Ok(OpenResult::Fill(first, cut));
        }
        // Fewer shares have less slippage, so what is affordable at this price is affordable at its own.
        let shares = rules.affordable(self.cash, first.price)?.min(shares);
        if shares == 0 {
            return wait(Reason::Cash);
        }
        let fewer = offer(shares, price(shares)?)?;
        Ok(OpenResult::Fill(fewer, Some((Reason::Cash, true))))
    }

    fn book_fill(
        &mut self,
        id: usize,
        offer: &ProposedFill,
        step: u32,
        date: Date,
    ) -> Result<(), BacktestError> {
        let OrderRequest { stock, trade, .. } = self.ledger.orders[id].request;
        let open = self.bar(stock, step).map_or(offer.price, |bar| bar.open);
        let day = self.day();
        let fees = offer.bill.total_cents();
        let account = &mut self.stocks[stock];
        let used = account.traded_at(step);
        account.traded = (step, used + offer.shares);
        let position = &mut account.position;
        self.today.fees = add(self.today.fees, fees)?;
        match trade {
            Trade::Buy => {
                let cost = add(offer.amount, fees)?;
                self.cash = add(self.cash, -cost)?;
                self.today.bought = add(self.today.bought, offer.amount)?;
                if position.shares() == 0
                    && let Err(at) = self.held.binary_search(&stock)
                {
                    self.held.insert(at, stock);
                }
                position.add(day, offer.shares);
                let trip = position.trip.get_or_insert(Trip {
                    stock,
                    opened: date,
                    closed: date,
                    bought_shares: 0,
                    spent_cents: 0,
                    earned_cents: 0,
                    open: false,
                });
                trip.bought_shares += offer.shares;
                trip.spent_cents = add(trip.spent_cents, cost)?;
            }
            Trade::Sell => {
                let gain = add(offer.amount, -fees)?;
                self.cash = add(self.cash, gain)?;
                self.today.sold = add(self.today.sold, offer.amount)?;
                position.remove(offer.shares);
                if let Some(trip) = &mut position.trip {
                    trip.earned_cents = add(trip.earned_cents, gain)?;
                    trip.closed = date;
                }
                if position.shares() == 0 {
                    self.ledger.trips.extend(position.trip.take());
                    self.held.retain(|held| *held != stock);
                }
            }
        }
        self.ledger.orders[id].filled_shares += offer.shares;
        self.ledger.fills.push(Fill {
            order: id,
            stock,
            date,
            step,
            trade,
            shares: offer.shares,
            open,
            price: offer.price,
            amount_cents: offer.amount,
            bill: offer.bill,
            limits: offer.limits,
        });
        Ok(())
    }
}
