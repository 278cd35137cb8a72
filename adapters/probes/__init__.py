"""How addresses are asked whether they answer."""
