"""What runs at the far end, and the bytes that both ends agree on."""
