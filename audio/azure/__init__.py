"""What the Azure Speech adapters for recognition and synthesis share."""
