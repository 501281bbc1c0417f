"""What would go, what that frees and means, or why it may not go; nothing here changes anything."""
