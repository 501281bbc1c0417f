"""Pictures of the explorer, and the script that draws them."""
