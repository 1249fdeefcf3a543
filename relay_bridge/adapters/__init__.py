"""What touches the world: sockets, disks, HTTP. One outside thing a module."""
