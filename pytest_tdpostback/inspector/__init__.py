"""Layer 6: what a person sees of the fake server outside pytest."""
