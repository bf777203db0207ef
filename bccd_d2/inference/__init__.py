"""From image files to cells: reading, tiling, and several answers made into one."""
