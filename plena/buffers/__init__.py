"""Where buffers lie in their memories: groups of buffers and live intervals."""
