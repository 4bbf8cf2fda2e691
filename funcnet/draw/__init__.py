"""Pictures of a computational graph with every value and every gradient, and the same in words."""
