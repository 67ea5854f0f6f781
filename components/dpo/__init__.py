"""Direct preference optimization, offline and in online rounds."""
