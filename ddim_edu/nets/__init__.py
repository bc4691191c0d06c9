"""Networks: torch only, they know no schedule."""
