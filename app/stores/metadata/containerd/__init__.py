"""containerd's metadata: namespaces, images, containers, leases and content."""
