"""What each simulated cloud demands and fills in, as tables: one module per cloud."""
