"""Who owns it? Reads what Docker keeps on disk and what the engine answers; knows no sizes."""
