"""containerd's overlayfs snapshotter: numbered directories with a database of their own."""
