"""Gates, losses, regularizers and the nets made of them."""
