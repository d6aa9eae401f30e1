//! Sums of money per currency.

use crate::Money;

/// Adds an amount to the entry of its currency; entries stand in the order of the currency.
///
/// Sums wrap rather than saturate: wrapping addition gives the same sum in every order.
pub(crate) fn add(sums: &mut Vec<Money>, money: Money) {
    match sums.binary_search_by_key(&money.currency, |sum| sum.currency) {
        Ok(position) => {
            if let Some(sum) = sums.get_mut(position) {
                sum.amount_micros = sum.amount_micros.wrapping_add(money.amount_micros);
            }
        }
        Err(position) => sums.insert(position, money),
    }
}
