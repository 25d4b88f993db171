"""Wire encodings to samples and back."""
