"""The daemon as a process against the lab over sockets: killed, cut off, without disk, stopped. `make chaos`."""
