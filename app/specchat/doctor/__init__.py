"""What this machine offers, what a pair needs, what speculation gains here, and what holds it back."""
