"""What each role's hosts run: one pure function `bundle` for each role."""
