"""Data sets behind one specification string."""
