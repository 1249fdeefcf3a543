"""What wakes the operator, and the daily report."""
