"""How the tables of budgets came about."""
