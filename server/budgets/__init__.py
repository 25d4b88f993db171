"""The office of budgets: who may spend what, and what becomes of conversations when it runs out."""
