"""HTTP: which calls there are, who answers them, what each answers."""
