"""Where services run, one package a platform; siblings do not know each other."""
