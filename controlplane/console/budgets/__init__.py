"""Pages of budgets: limits on scopes, their tree, overrides and resets, the books behind them."""
