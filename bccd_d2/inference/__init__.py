"""From image files to cells: reading, and several answers to one image made into one."""
